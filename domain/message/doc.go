// Package message computes what IMAP shows of a message from its raw bytes: the envelope, the body structure, where
// each part is, a preview, and what identifies it before its body is known.
//
// Invariants:
//  1. Every sequence of octets is a message. Nothing here panics or fails because of content; the only errors are those
//     of the reader that gives the bytes.
//  2. Time is linear in the number of octets. Memory is bounded by limits.go, whatever the message's size: a walk holds
//     one buffer, never a body.
//  3. Offsets count raw octets as stored. A part lies inside its parent, parts are in the order of the message, and
//     header <= body <= end for each.
//  4. The line break before a boundary belongs to the boundary (RFC 2046 section 5.1.1), so it is in no part, unless it
//     ends another boundary line.
//  5. What is rendered is complete IMAP syntax: no CR, LF, NUL or octet above 127 outside a literal.
//  6. Where the RFCs leave broken mail undefined, the reading is Dovecot's, so that clients see the same structure
//     whether they ask the mirror or such an upstream.
package message
