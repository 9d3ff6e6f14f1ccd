// Package search holds what a SEARCH asks (a query tree) and decides whether a message matches.
package search
