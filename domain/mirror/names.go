package mirror

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"imapped/domain/fault"
)

// Codec maps the names of one upstream onto the names that clients see, and back.
//
// Clients see UTF-8 with '/' between components. What cannot be said so is escaped with '=':
//
//	=XX  one byte (upper-case hex): '/' inside a component, control characters, '=' where it would read as an escape
//	=-   a component that is empty
//	=!   in front of a component that is not in the upstream's encoding: what follows is its bytes
//	=~N  behind a whole name: the N-th mailbox of that name (names that clash; see Names)
//
// A first component that is INBOX in any case is shown as "INBOX".
type Codec struct {
	Delimiter byte // 0 is NIL: a flat name
	UTF8      bool // names are UTF-8 (UTF8=ACCEPT is enabled), not modified UTF-7
}

// inbox is the one name that IMAP compares without case (RFC 9051 section 5.1).
const inbox = "INBOX"

// Client returns the name that clients see for an upstream's name. It is defined for all bytes.
func (c Codec) Client(raw string) string {
	components := []string{raw}
	if c.Delimiter != 0 {
		components = strings.Split(raw, string([]byte{c.Delimiter}))
	}
	for i, comp := range components {
		switch {
		case i == 0 && strings.EqualFold(comp, inbox) && strings.IndexByte(inbox, c.Delimiter) < 0:
			components[i] = inbox
		case comp == "":
			components[i] = "=-"
		case c.UTF8 && utf8.ValidString(comp):
			components[i] = escape(comp)
		case c.UTF8:
			components[i] = "=!" + escape(comp)
		default:
			if text, ok := decodeUTF7(comp); ok {
				components[i] = escape(text)
			} else {
				components[i] = "=!" + escape(comp)
			}
		}
	}
	return strings.Join(components, "/")
}

// Raw returns the upstream's name for a name that a client sees or wants: the inverse of Client but for the case of a
// first component INBOX. It fails with fault.Invalid for a name that the upstream cannot have.
func (c Codec) Raw(client string) (string, error) {
	const op = "translate mailbox name"
	components := strings.Split(base(client), "/")
	if c.Delimiter == 0 && len(components) > 1 {
		return "", fault.New(fault.Invalid, op, "the upstream has no mailboxes below mailboxes")
	}
	for i, comp := range components {
		switch rest, verbatim := strings.CutPrefix(comp, "=!"); {
		case comp == "=-":
			components[i] = ""
		case comp == "":
			return "", fault.New(fault.Invalid, op, "a part of the name is empty")
		case verbatim:
			components[i] = unescape(rest)
		default:
			text := unescape(comp)
			if !utf8.ValidString(text) {
				return "", fault.New(fault.Invalid, op, "the name is not UTF-8")
			}
			if !c.UTF8 {
				text = encodeUTF7(text)
			}
			components[i] = text
		}
		if c.Delimiter != 0 && strings.IndexByte(components[i], c.Delimiter) >= 0 {
			return "", fault.Newf(fault.Invalid, op, "the upstream separates mailboxes with %q", c.Delimiter)
		}
	}
	if c.Delimiter == 0 {
		return components[0], nil
	}
	return strings.Join(components, string([]byte{c.Delimiter})), nil
}

const hexDigits = "0123456789ABCDEF"

func isHex(b byte) bool { return b >= '0' && b <= '9' || b >= 'A' && b <= 'F' }

// escape makes a component fit to be shown: valid UTF-8 without controls and without '/'.
func escape(s string) string {
	out := make([]byte, 0, len(s))
	hex := func(b byte) { out = append(out, '=', hexDigits[b>>4], hexDigits[b&15]) }
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, r < 0x20, r == 0x7f, r == '/':
			hex(s[i])
		case r == '=' && startsToken(s[i+1:]):
			hex('=')
		default:
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return string(out)
}

// startsToken says whether '=' in front of rest reads as an escape.
func startsToken(rest string) bool {
	switch {
	case rest == "":
		return false
	case rest[0] == '!', rest[0] == '-', rest[0] == '~':
		return true
	}
	return len(rest) >= 2 && isHex(rest[0]) && isHex(rest[1])
}

func unescape(s string) string {
	if !strings.Contains(s, "=") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			out = append(out, byte(strings.IndexByte(hexDigits, s[i+1])<<4|strings.IndexByte(hexDigits, s[i+2])))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

// base returns the name without its mark as the N-th of its name.
func base(client string) string {
	i := strings.LastIndex(client, "=~")
	if i < 0 || i+2 == len(client) || strings.Trim(client[i+2:], "0123456789") != "" {
		return client
	}
	return client[:i]
}

// nth returns the n-th name for mailboxes that would share one; the first is the name itself.
func nth(name string, n int) string {
	if n == 1 {
		return name
	}
	return name + "=~" + strconv.Itoa(n)
}
