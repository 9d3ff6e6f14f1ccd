package message

import "time"

// Identify computes a message's identity from the raw lines of its IdentFields, its RFC822.SIZE and its INTERNALDATE:
// what every upstream gives before the body. Header lines may come in any order and folding; other lines are ignored.
func Identify(header []byte, size int64, date time.Time) Identity {
	panic("to be written")
}
