package server

import (
	"unicode/utf8"

	"imapped/imapwire/syntax"
)

// mailboxName returns the name that the client means, in UTF-8. Names are modified UTF-7 until UTF8=ACCEPT is enabled
// (RFC 3501 section 5.1.3, RFC 6855 section 3). The answer is not nil when it is neither.
func (c *conn) mailboxName(s syntax.String) (string, *answer) {
	if s.IsInbox() {
		return "INBOX", nil
	}
	if c.enabled.has(extUTF8) {
		if utf8.Valid(s.Bytes) {
			return s.Text(), nil
		}
		a := no("CANNOT", "Mailbox name is not UTF-8")
		return "", &a
	}
	var room [128]byte
	name, err := syntax.DecodeUTF7(room[:0], s.Bytes)
	if err != nil {
		a := no("CANNOT", "Mailbox name is not modified UTF-7")
		return "", &a
	}
	return string(name), nil
}

// appendMailbox appends a mailbox name as the client wants it.
func (c *conn) appendMailbox(dst []byte, name string) []byte {
	return syntax.AppendMailbox(dst, name, c.enabled.has(extUTF8))
}
