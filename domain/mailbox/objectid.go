package mailbox

import "encoding/hex"

// The kinds of object identifiers: the letter with which the wire form begins (RFC 8474 section 4).
const (
	EmailKind  = 'E'
	ThreadKind = 'T'
)

// Wire returns the identifier as clients see it: the kind's letter and hexadecimal digits; "" for none.
func (o ObjectID) Wire(kind byte) string {
	if o == (ObjectID{}) {
		return ""
	}
	var b [1 + 2*len(o)]byte
	b[0] = kind
	hex.Encode(b[1:], o[:])
	return string(b[:])
}

// ParseObjectID reads what Wire wrote; false for anything else, which names no object.
func ParseObjectID(kind byte, s string) (o ObjectID, ok bool) {
	if len(s) != 1+2*len(o) || s[0] != kind {
		return ObjectID{}, false
	}
	if _, err := hex.Decode(o[:], []byte(s[1:])); err != nil || o.Wire(kind) != s {
		return ObjectID{}, false
	}
	return o, true
}
