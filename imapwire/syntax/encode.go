package syntax

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Octets is what the encoder takes for a string: either form is copied to the destination, never kept.
type Octets interface{ ~string | ~[]byte }

// maxQuoted is the longest string that is sent quoted; longer ones are sent as literals, which readers need not scan.
const maxQuoted = 1000

// AppendQuoted appends s as a quoted string (RFC 9051 section 9). s must be quotable: see CanQuote.
func AppendQuoted[S Octets](dst []byte, s S) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// CanQuote says whether s can be sent as a quoted string; with utf8ok also when it is UTF-8 beyond ASCII (RFC 9051
// section 9, RFC 6855 section 3).
func CanQuote[S Octets](s S, utf8ok bool) bool {
	if len(s) > maxQuoted {
		return false
	}
	ascii := true
	for i := range len(s) {
		if !is(s[i], clsQuoted) && s[i] != '"' && s[i] != '\\' {
			if s[i] < 0x80 || !utf8ok {
				return false
			}
			ascii = false
		}
	}
	return ascii || utf8.ValidString(string(s))
}

// AppendLiteralHeader appends the header of a literal of n octets as a server sends it, with its line end.
func AppendLiteralHeader(dst []byte, n int64) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "}\r\n"...)
}

// AppendLiteral8Header is AppendLiteralHeader for a literal that may hold NUL octets (RFC 3516 section 4.2).
func AppendLiteral8Header(dst []byte, n int64) []byte {
	return AppendLiteralHeader(append(dst, '~'), n)
}

// AppendLiteral appends s as a literal as a server sends it. NUL cannot stand in one (RFC 9051 section 9, CHAR8); it is
// sent as octet 0x80.
func AppendLiteral[S Octets](dst []byte, s S) []byte {
	dst = AppendLiteralHeader(dst, int64(len(s)))
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if c == 0 {
			dst[start+i] = 0x80
		}
	}
	return dst
}

// AppendString appends s as a string: quoted where that is possible, else as a literal.
func AppendString[S Octets](dst []byte, s S, utf8ok bool) []byte {
	if CanQuote(s, utf8ok) {
		return AppendQuoted(dst, s)
	}
	return AppendLiteral(dst, s)
}

// AppendNString is AppendString, and NIL for a nil slice; an empty one that is not nil is "".
func AppendNString(dst, s []byte, utf8ok bool) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s, utf8ok)
}

// AppendAString appends s as an astring: as an atom where that is possible and cannot be mistaken for NIL.
func AppendAString[S Octets](dst []byte, s S, utf8ok bool) []byte {
	if IsAtom(s) {
		return append(dst, s...)
	}
	return AppendString(dst, s, utf8ok)
}

// IsAtom says whether s can be sent as an atom anywhere: it consists of ATOM-CHARs and is not NIL.
func IsAtom[S Octets](s S) bool {
	for i := range len(s) {
		if !is(s[i], clsAtom) {
			return false
		}
	}
	isNIL := len(s) == 3 && s[0]|0x20 == 'n' && s[1]|0x20 == 'i' && s[2]|0x20 == 'l'
	return len(s) > 0 && !isNIL
}

// AppendMailbox appends a mailbox name, given in UTF-8: in modified UTF-7 as long as the client has not enabled UTF-8
// (RFC 3501 section 5.1.3, RFC 6855 section 3). INBOX keeps the case that it is given in.
func AppendMailbox[S Octets](dst []byte, name S, utf8ok bool) []byte {
	if utf8ok {
		return AppendAString(dst, name, true)
	}
	var room [128]byte
	return AppendAString(dst, EncodeUTF7(room[:0], name), false)
}

// AppendUint appends a number.
func AppendUint[N ~uint32 | ~uint64](dst []byte, n N) []byte {
	return strconv.AppendUint(dst, uint64(n), 10)
}

// AppendRange appends one element of a sequence set; 0 is "*".
func AppendRange(dst []byte, r Range) []byte {
	dst = appendNumber(dst, r.First)
	if r.First != r.Last {
		dst = appendNumber(append(dst, ':'), r.Last)
	}
	return dst
}

func appendNumber(dst []byte, n uint32) []byte {
	if n == 0 {
		return append(dst, '*')
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}

// AppendSet appends a sequence set; nothing for an empty one.
func AppendSet(dst []byte, s NumSet) []byte {
	if s.Saved {
		return append(dst, '$')
	}
	for i, r := range s.Ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendRange(dst, r)
	}
	return dst
}

// AppendFlags appends flags in parentheses.
func AppendFlags(dst []byte, flags []Flag) []byte {
	dst = append(dst, '(')
	for i, f := range flags {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, f.Name...)
	}
	return append(dst, ')')
}

// AppendInternalDate appends t as a date-time in quotes, in its own zone: "17-Jul-1996 02:44:25 -0700". Years outside
// of 0 to 9999 do not fit the form and are cut to its ends.
func AppendInternalDate(dst []byte, t time.Time) []byte {
	switch {
	case t.Year() < 0:
		t = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	case t.Year() > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	_, zone := t.Zone()
	return AppendDateTime(dst, DateTime{
		Date: Date{uint16(t.Year()), uint8(t.Month()), uint8(t.Day())},
		Hour: uint8(t.Hour()), Min: uint8(t.Minute()), Sec: uint8(t.Second()), Zone: int16(zone / 60),
	})
}

// AppendDateTime appends a date-time in quotes.
func AppendDateTime(dst []byte, d DateTime) []byte {
	dst = append(dst, '"')
	if d.Day < 10 {
		dst = append(dst, ' ', '0'+d.Day)
	} else {
		dst = append2(dst, int(d.Day))
	}
	dst = appendMonthYear(dst, d.Date)
	dst = append2(append(dst, ' '), int(d.Hour))
	dst = append2(append(dst, ':'), int(d.Min))
	dst = append2(append(dst, ':'), int(d.Sec))
	zone, sign := int(d.Zone), byte('+')
	if zone < 0 {
		zone, sign = -zone, '-'
	}
	dst = append2(append(dst, ' ', sign), zone/60)
	return append(append2(dst, zone%60), '"')
}

// AppendDate appends a date as SEARCH takes it: 1-Feb-1994.
func AppendDate(dst []byte, d Date) []byte {
	return appendMonthYear(strconv.AppendUint(dst, uint64(d.Day), 10), d)
}

func appendMonthYear(dst []byte, d Date) []byte {
	dst = append(dst, '-')
	dst = append(dst, monthNames[(d.Month+11)%12]...)
	dst = append2(append(dst, '-'), int(d.Year)/100)
	return append2(dst, int(d.Year)%100)
}

// append2 appends n, 0 to 99, in two digits.
func append2(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10%10), '0'+byte(n%10)) }
