// Package message computes what IMAP shows of a message from its raw bytes.
package message
