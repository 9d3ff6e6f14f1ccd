package message

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// TextDecoder turns text in a charset into UTF-8 piece by piece. What is not valid in the charset becomes U+FFFD. Where
// the charset is missing, unknown or us-ascii, octets that are not UTF-8 are read as windows-1252, which is what such
// mail most often is.
type TextDecoder struct {
	t       transform.Transformer // nil for UTF-8
	loose   bool                  // with t nil: windows-1252 for what is not UTF-8
	pending []byte                // octets of an unfinished character
}

// Reset makes the decoder ready for text in the charset.
func (d *TextDecoder) Reset(charset string) {
	d.t, d.loose, d.pending = nil, false, d.pending[:0]
	name := strings.ToLower(strings.Trim(charset, " \t'\""))
	switch name {
	case "utf-8", "utf8":
		return
	case "", "us-ascii", "ascii":
		d.loose = true
		return
	case "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7":
		d.t = new(utf7)
		return
	}
	enc, err := htmlindex.Get(name)
	if err != nil || enc == encoding.Replacement {
		// Charsets that browsers refuse, but mail has.
		enc, err = ianaindex.MIME.Encoding(name)
	}
	if err != nil || enc == nil || enc == encoding.Replacement {
		d.loose = true
		return
	}
	d.t = enc.NewDecoder()
}

// Decode appends src in UTF-8.
func (d *TextDecoder) Decode(dst, src []byte) []byte { return d.decode(dst, src, false) }

// Flush appends what is left when the text has ended.
func (d *TextDecoder) Flush(dst []byte) []byte {
	dst = d.decode(dst, nil, true)
	d.pending = d.pending[:0]
	if d.t != nil {
		d.t.Reset()
	}
	return dst
}

func (d *TextDecoder) decode(dst, src []byte, end bool) []byte {
	// An unfinished character is completed octet by octet, so that src need not be copied.
	for len(d.pending) > 0 && len(src) > 0 {
		d.pending = append(d.pending, src[0])
		src = src[1:]
		var n int
		if dst, n = d.convert(dst, d.pending, false); n > 0 || len(d.pending) >= 16 {
			d.pending = d.pending[:copy(d.pending, d.pending[n:])]
			if n == 0 { // no character is that long
				dst, _ = d.convert(dst, d.pending, true)
				d.pending = d.pending[:0]
			}
		}
	}
	if len(src) > 0 {
		var n int
		dst, n = d.convert(dst, src, false)
		d.pending = append(d.pending, src[n:]...)
	}
	if end {
		dst, _ = d.convert(dst, d.pending, true)
	}
	return dst
}

// convert appends what it can of src, and returns how much that is.
func (d *TextDecoder) convert(dst, src []byte, end bool) ([]byte, int) {
	if d.t == nil {
		return d.utf8(dst, src, end)
	}
	done := 0
	for {
		if cap(dst)-len(dst) < 64 {
			dst = append(dst, make([]byte, max(64, len(src)-done))...)[:len(dst)]
		}
		nd, ns, err := d.t.Transform(dst[len(dst):cap(dst)], src[done:], end)
		dst, done = dst[:len(dst)+nd], done+ns
		if !errors.Is(err, transform.ErrShortDst) {
			return dst, done
		}
		if nd == 0 && ns == 0 && cap(dst)-len(dst) >= 64 {
			return dst, len(src) // cannot happen with a decoder: no character is 64 octets
		}
	}
}

func (d *TextDecoder) utf8(dst, src []byte, end bool) ([]byte, int) {
	i := 0
	for i < len(src) {
		start := i
		for len(src)-i >= 8 && binary.LittleEndian.Uint64(src[i:])&0x8080808080808080 == 0 {
			i += 8
		}
		for i < len(src) && src[i] < utf8.RuneSelf {
			i++
		}
		dst = append(dst, src[start:i]...)
		if i == len(src) {
			break
		}
		r, n := utf8.DecodeRune(src[i:])
		switch {
		case r != utf8.RuneError || n > 1:
			dst = append(dst, src[i:i+n]...)
		case !end && !utf8.FullRune(src[i:]):
			return dst, i
		case d.loose:
			dst = utf8.AppendRune(dst, charmap.Windows1252.DecodeByte(src[i]))
		default:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		}
		i += n
	}
	return dst, i
}
