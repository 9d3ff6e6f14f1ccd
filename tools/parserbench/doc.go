// Package parserbench measures how fast command lines are read, next to github.com/emersion/go-imap/v2. It is a module
// of its own, so that imapped does not depend on go-imap. Run it with
//
//	go test -bench . -benchmem
//
// Two figures a line, over the same in-memory connection that hands out the line again and again:
//
//   - imapped: framer, parser into a reused Command, and a tagged OK written back.
//   - go-imap: its decoder is internal, so its whole server is run, with a session that does nothing. The figure holds
//     its decoding, its state check, the call of the session and the response.
//
// The two are therefore not the same work. To take out most of what is not decoding, compare each go-imap line with its
// NOOP line: the difference is what the arguments cost. The metric args-ns/op is
// that difference, for both sides; for go-imap's SELECT, STATUS and SEARCH it also holds their untagged responses.
package parserbench
