package message

import (
	"bytes"
	"errors"
	"io"
)

// Decoder undoes a Content-Transfer-Encoding piece by piece (RFC 2045 section 6). Malformed content is decoded as far
// as it makes sense.
type Decoder interface {
	// Decode appends what src decodes to.
	Decode(dst, src []byte) []byte
	// Flush appends what is still to come when the content has ended, and makes the decoder ready for another.
	Flush(dst []byte) []byte
}

// NewDecoder returns a decoder for the encoding, in any case; "" is 7bit. ok is false for an unknown one.
func NewDecoder(encoding string) (d Decoder, ok bool) {
	switch internLower([]byte(encoding)) {
	case "", "7bit", "8bit", "binary":
		return identity{}, true
	case "base64":
		return new(base64Decoder), true
	case "quoted-printable":
		return new(qpDecoder), true
	}
	return nil, false
}

type identity struct{}

// Decode implements Decoder.
func (identity) Decode(dst, src []byte) []byte { return append(dst, src...) }

// Flush implements Decoder.
func (identity) Flush(dst []byte) []byte { return dst }

// base64Decoder skips what is not in the alphabet (RFC 2045 section 6.8) and stops at padding.
type base64Decoder struct {
	bits uint32
	n    uint8 // characters in bits
	done bool
}

var base64Values = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = int8(i)
	}
	return t
}()

// Decode implements Decoder.
func (d *base64Decoder) Decode(dst, src []byte) []byte {
	if d.done {
		return dst
	}
	for len(src) > 0 {
		for d.n == 0 && len(src) >= 4 { // four characters at once
			a, b, c, e := base64Values[src[0]], base64Values[src[1]], base64Values[src[2]], base64Values[src[3]]
			if a|b|c|e < 0 {
				break
			}
			v := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(e)
			dst = append(dst, byte(v>>16), byte(v>>8), byte(v))
			src = src[4:]
		}
		if len(src) == 0 {
			break
		}
		c := src[0]
		src = src[1:]
		v := base64Values[c]
		if v < 0 {
			if c == '=' && d.n > 1 {
				dst = d.rest(dst)
				d.done = true
				return dst
			}
			continue
		}
		d.bits = d.bits<<6 | uint32(v)
		if d.n++; d.n == 4 {
			dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
			d.bits, d.n = 0, 0
		}
	}
	return dst
}

// rest appends the octets that two or three characters are.
func (d *base64Decoder) rest(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return dst
}

// Flush implements Decoder.
func (d *base64Decoder) Flush(dst []byte) []byte {
	dst = d.rest(dst)
	*d = base64Decoder{}
	return dst
}

// qpDecoder drops white space at line ends (RFC 2045 section 6.7 rule 3) and leaves malformed escapes as they are.
type qpDecoder struct {
	held []byte // "=", "=X" or white space (and a CR) whose meaning the next octets decide
}

// maxHeld bounds white space that may be dropped; a longer run is content.
const maxHeld = 1 << 10

// Decode implements Decoder.
func (d *qpDecoder) Decode(dst, src []byte) []byte {
	for len(src) > 0 {
		if len(d.held) > 0 {
			dst = d.octet(dst, src[0])
			src = src[1:]
			continue
		}
		i := bytes.IndexAny(src, "=\n")
		if i >= 0 && src[i] == '=' {
			dst, src, d.held = append(dst, src[:i]...), src[i+1:], append(d.held, '=')
			continue
		}
		line, rest := src, src[len(src):]
		if i >= 0 {
			line, rest = src[:i], src[i:] // with the line feed
		}
		text := bytes.TrimRight(bytes.TrimSuffix(line, cr), " \t")
		dst, src = append(dst, text...), rest
		for _, c := range line[len(text):] {
			dst = d.octet(dst, c)
		}
		if len(d.held) == 0 && i >= 0 {
			dst, src = append(dst, '\n'), src[1:]
		}
	}
	return dst
}

func (d *qpDecoder) octet(dst []byte, c byte) []byte {
	h := d.held
	switch {
	case len(h) == 0:
		if c == '=' || c == ' ' || c == '\t' || c == '\r' {
			d.held = append(h, c)
			return dst
		}
		return append(dst, c)
	case h[0] == '=':
		return d.escape(dst, c)
	case c == '\n': // the line ends: its trailing white space goes, its line break stays
		if h[len(h)-1] == '\r' {
			dst = append(dst, '\r')
		}
		d.held = h[:0]
		return append(dst, '\n')
	case (c == ' ' || c == '\t' || c == '\r') && h[len(h)-1] != '\r' && len(h) < maxHeld:
		d.held = append(h, c)
		return dst
	}
	dst = append(dst, h...)
	d.held = h[:0]
	return d.octet(dst, c)
}

// escape goes on with what began with "=".
func (d *qpDecoder) escape(dst []byte, c byte) []byte {
	h := d.held
	soft := len(h) == 1 || h[1] == ' ' || h[1] == '\t' || h[1] == '\r' // so far it can be a soft line break
	switch {
	case soft && c == '\n':
		d.held = h[:0]
		return dst
	case soft && (c == ' ' || c == '\t' || c == '\r') && h[len(h)-1] != '\r' && len(h) < maxHeld:
		d.held = append(h, c)
		return dst
	case len(h) == 1 && hexValue(c) >= 0:
		d.held = append(h, c)
		return dst
	case len(h) == 2 && !soft && hexValue(c) >= 0:
		d.held = h[:0]
		return append(dst, byte(hexValue(h[1])<<4|hexValue(c)))
	}
	dst = append(dst, h...)
	d.held = h[:0]
	return d.octet(dst, c)
}

// Flush implements Decoder.
func (d *qpDecoder) Flush(dst []byte) []byte {
	if len(d.held) > 0 && d.held[0] == '=' {
		if len(d.held) == 2 && hexValue(d.held[1]) >= 0 {
			dst = append(dst, d.held...)
		}
	}
	d.held = d.held[:0]
	return dst
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// DecodedReader returns a reader of r's content without its transfer encoding (RFC 3516 BINARY). The error is
// ErrUnknownEncoding, which a client sees as [UNKNOWN-CTE]; reading never fails because of malformed content.
func DecodedReader(r io.Reader, encoding string) (io.Reader, error) {
	d, ok := NewDecoder(encoding)
	if !ok {
		return nil, ErrUnknownEncoding
	}
	if _, same := d.(identity); same {
		return r, nil
	}
	return &decodedReader{r: r, d: d}, nil
}

type decodedReader struct {
	r    io.Reader
	d    Decoder
	in   [4096]byte
	out  []byte // decoded; what is left of it is out[next:]
	next int
	err  error
}

// Read implements io.Reader.
func (r *decodedReader) Read(p []byte) (int, error) {
	for r.next == len(r.out) {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.r.Read(r.in[:])
		r.out, r.next = r.d.Decode(r.out[:0], r.in[:n]), 0
		if r.err = err; errors.Is(err, io.EOF) {
			r.out = r.d.Flush(r.out)
		}
	}
	n := copy(p, r.out[r.next:])
	r.next += n
	return n, nil
}

// DecodedSize returns how many octets DecodedReader yields: BINARY.SIZE. Its errors are DecodedReader's and r's own.
func DecodedSize(r io.Reader, encoding string) (int64, error) {
	d, err := DecodedReader(r, encoding)
	if err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, d)
}
