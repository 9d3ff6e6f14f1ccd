// Package syntax is the IMAP4 wire format without I/O: a framer that cuts a byte stream into frames, a parser that
// turns one frame into a Command, and an encoder, for both directions (RFC 9051 section 9, RFC 3501 section 9).
//
// Invariants:
//  1. Nothing here reads or writes a connection, reads a clock or starts a goroutine; the one exception in form is
//     LiteralReader, which reads from the io.Reader that its caller gives it.
//  2. No input makes this package panic, and no number that the peer sends is turned into memory before as many bytes
//     have arrived. Everything that grows is bounded by Limits.
//  3. What a Command or a Frame refers to lives in the framer's buffer (or in the Command's own arenas) until the frame
//     is released: by Framer.Release, or by the next Framer.Next or Framer.Reserve. Whatever outlives that is copied
//     first: String.Clone, Frame.CopyFrom. Under the build tag "invariants" released octets are overwritten.
//  4. The number of octets that a frame takes from the stream depends only on its literal headers, never on whether its
//     grammar, its size or its meaning were accepted: the rest of a refused frame is never read as another command.
//     The one exception is the protocol's own: a synchronizing literal that was not asked for is not part of the stream.
//  5. NIL, "", {0} and the atoms stay apart (StringKind).
//  6. Parse never writes to the frame, so that it can run again over the same frame (Probe, then Parse).
//  7. Errors never contain octets of an argument: they may be logged.
package syntax
