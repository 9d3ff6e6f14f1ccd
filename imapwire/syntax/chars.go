package syntax

// The character classes of RFC 9051 section 9 as bits of one table.
const (
	clsAtom    uint16 = 1 << iota // ATOM-CHAR
	clsAString                    // ASTRING-CHAR
	clsTag                        // tag: ASTRING-CHAR except "+"
	clsList                       // list-char
	clsQuoted                     // octets that stand for themselves in a quoted string: CHAR except CR, LF, '"', '\'
	clsText                       // TEXT-CHAR
	clsDigit                      // DIGIT
	clsAlpha                      // ALPHA
	clsBase64                     // base64-char, without the padding
	clsObject                     // objectid (RFC 8474 section 4)
	clsKeyword                    // what the names of commands, items, keys and options are made of
	clsMUTF7                      // base64-char of modified UTF-7 (RFC 3501 section 5.1.3)
)

var class = classes()

func classes() (t [256]uint16) {
	for i := range 256 {
		c := byte(i)
		ctl := c < 0x20 || c == 0x7f
		char := c >= 0x01 && c <= 0x7f
		alpha := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		special := ctl || !char || isOneOf(c, `(){ %*"\]`)
		set := func(on bool, bit uint16) {
			if on {
				t[i] |= bit
			}
		}
		set(!special, clsAtom)
		set(!special || c == ']', clsAString)
		set((!special || c == ']') && c != '+', clsTag)
		set(!special || isOneOf(c, "]%*"), clsList)
		set(char && !isOneOf(c, "\r\n\"\\"), clsQuoted)
		set(char && !isOneOf(c, "\r\n"), clsText)
		set(digit, clsDigit)
		set(alpha, clsAlpha)
		set(alpha || digit || isOneOf(c, "+/"), clsBase64)
		set(alpha || digit || isOneOf(c, "_-"), clsObject)
		set(alpha || digit || isOneOf(c, ".-=_"), clsKeyword)
		set(alpha || digit || isOneOf(c, "+,"), clsMUTF7)
	}
	return t
}

func isOneOf(c byte, set string) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

func is(c byte, cls uint16) bool { return class[c]&cls != 0 }

// upperInto writes b in upper case (ASCII letters only) to dst, which must have room for it, and returns it.
func upperInto(dst, b []byte) []byte {
	dst = dst[:len(b)]
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst[i] = c
	}
	return dst
}

// EqualFold says whether b is the name in upper, which is in upper case, in any case. Only ASCII letters fold.
func EqualFold(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}
