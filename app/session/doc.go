// Package session is what a logged-in client can do.
package session
