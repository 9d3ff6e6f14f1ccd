// Package imapc is a small, strict IMAP client for tests. It shares no code with the program under test, accepts nothing
// that RFC 9051's grammar does not, and hands answers over as trees.
//
// Invariants:
//  1. Any deviation in the answers (a bare LF, two spaces, an unclosed list) is an error, never repaired.
//  2. Every read has a deadline.
//  3. NIL, "" and the atom "NIL" in a quoted string stay apart.
package imapc
