package server

import (
	"errors"
	"io"
)

// errDeflate says that the client's compressed data is not DEFLATE (RFC 1951).
var errDeflate = errors.New("malformed compressed data")

// inflater decompresses a DEFLATE stream (RFC 1951). Unlike the one in the standard library it gives out every byte
// that can be decoded from what has arrived, whatever kind of flush the client ended it with, and its memory grows with
// what was decoded: a connection that sent little holds little.
//
// It works in steps (a symbol, a block header) and undoes a step for which the input does not suffice.
type inflater struct {
	src io.Reader // compressed
	in  []byte    // compressed bytes that were read and not used; bounded by inflateInput
	pos int       // in in

	bits  uint64 // the next bits of the stream, the first one lowest
	nbits uint

	window []byte // the last bytes decoded, a ring once it has inflateWindow bytes
	head   int    // where the next byte goes in a full window
	copyN  int    // what is left to do of a match
	copyD  int

	block  int // which kind of block we are in
	stored int // bytes left of a stored block
	final  bool
	lit    *huffman
	dist   *huffman
	err    error
}

const (
	inflateWindow = 32 << 10
	inflateInput  = 4 << 10 // more than the longest block header
)

const (
	betweenBlocks = iota
	inStored
	inCompressed
)

func newInflater(src io.Reader) *inflater { return &inflater{src: src} }

// Read decodes into p what can be decoded, and reads more of the source only when that is nothing.
func (f *inflater) Read(p []byte) (int, error) {
	for len(p) > 0 {
		n := f.decode(p)
		if n > 0 {
			return n, nil
		}
		if f.err != nil {
			return 0, f.err
		}
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// fill reads more compressed bytes.
func (f *inflater) fill() error {
	f.in = f.in[:copy(f.in, f.in[f.pos:])]
	f.pos = 0
	if len(f.in) >= inflateInput {
		f.err = errDeflate // a step that does not fit into the input is none of DEFLATE's
		return f.err
	}
	if len(f.in) == 0 {
		// Nothing is left over: wait with as little memory as a command needs.
		f.in = make([]byte, 0, 512)
	} else if cap(f.in) < inflateInput {
		f.in = append(make([]byte, 0, inflateInput), f.in...)
	}
	n, err := f.src.Read(f.in[len(f.in):cap(f.in)])
	f.in = f.in[:len(f.in)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// mark is a place in the input to go back to.
type mark struct {
	pos   int
	bits  uint64
	nbits uint
}

func (f *inflater) mark() mark  { return mark{f.pos, f.bits, f.nbits} }
func (f *inflater) back(m mark) { f.pos, f.bits, f.nbits = m.pos, m.bits, m.nbits }

// need makes n (at most 32) bits available and says whether there were as many.
func (f *inflater) need(n uint) bool {
	for f.nbits < n {
		if f.pos == len(f.in) {
			return false
		}
		f.bits |= uint64(f.in[f.pos]) << f.nbits
		f.pos++
		f.nbits += 8
	}
	return true
}

func (f *inflater) take(n uint) uint {
	v := uint(f.bits & (1<<n - 1))
	f.bits >>= n
	f.nbits -= n
	return v
}

// decode decodes into p until p is full or a step lacks input, and returns how many bytes it put there.
func (f *inflater) decode(p []byte) int {
	n := 0
	for n < len(p) && f.err == nil {
		switch {
		case f.copyN > 0:
			b := f.at(f.copyD)
			f.copyN--
			p[n] = b
			f.put(b)
			n++
			continue
		case f.block == inStored && f.stored > 0:
			if !f.need(8) {
				return n
			}
			b := byte(f.take(8))
			f.stored--
			p[n] = b
			f.put(b)
			n++
			continue
		case f.block == inStored:
			f.endBlock()
			continue
		}
		m := f.mark()
		ok := false
		if f.block == betweenBlocks {
			ok = f.blockHeader()
		} else {
			var b byte
			var isByte bool
			if b, isByte, ok = f.symbol(); isByte {
				p[n] = b
				f.put(b)
				n++
			}
		}
		if !ok && f.err == nil {
			f.back(m)
			return n
		}
	}
	return n
}

func (f *inflater) put(b byte) {
	if len(f.window) < inflateWindow {
		f.window = append(f.window, b)
		return
	}
	f.window[f.head] = b
	f.head = (f.head + 1) % inflateWindow
}

// at returns the byte that was decoded d (at least 1, at most the window's length) bytes ago.
func (f *inflater) at(d int) byte {
	i := len(f.window) - d
	if len(f.window) == inflateWindow {
		i = (f.head - d + inflateWindow) % inflateWindow
	}
	return f.window[i]
}

func (f *inflater) endBlock() {
	f.block, f.lit, f.dist = betweenBlocks, nil, nil
	if f.final {
		f.err = io.EOF
	}
}

func (f *inflater) blockHeader() bool {
	if !f.need(3) {
		return false
	}
	final, kind := f.take(1) == 1, f.take(2)
	switch kind {
	case 0:
		f.take(f.nbits % 8)
		if !f.need(32) {
			return false
		}
		size, check := f.take(16), f.take(16)
		if size != ^check&0xffff {
			f.err = errDeflate
			return false
		}
		f.block, f.stored = inStored, int(size)
	case 1:
		f.block, f.lit, f.dist = inCompressed, fixedLit, fixedDist
	case 2:
		if !f.dynamic() {
			return false
		}
		f.block = inCompressed
	default:
		f.err = errDeflate
		return false
	}
	f.final = final
	return true
}

var codeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the codes of a block with dynamic codes (RFC 1951 section 3.2.7).
func (f *inflater) dynamic() bool {
	if !f.need(14) {
		return false
	}
	nlit, ndist, ncode := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if nlit > 286 || ndist > 30 {
		f.err = errDeflate
		return false
	}
	var lengths [286 + 30]uint8
	for _, i := range codeOrder[:ncode] {
		if !f.need(3) {
			return false
		}
		lengths[i] = uint8(f.take(3))
	}
	codes, ok := newHuffman(lengths[:19])
	if !ok {
		f.err = errDeflate
		return false
	}
	lengths = [286 + 30]uint8{}
	for i := 0; i < nlit+ndist; {
		s := codes.next(f)
		if s < 0 {
			return false
		}
		if s < 16 {
			lengths[i] = uint8(s)
			i++
			continue
		}
		var fill uint8
		rep, extra := 3, uint(2)
		switch s {
		case 16:
			if i == 0 {
				f.err = errDeflate
				return false
			}
			fill = lengths[i-1]
		case 17:
			extra = 3
		default:
			rep, extra = 11, 7
		}
		if !f.need(extra) {
			return false
		}
		rep += int(f.take(extra))
		if i+rep > nlit+ndist {
			f.err = errDeflate
			return false
		}
		for range rep {
			lengths[i] = fill
			i++
		}
	}
	lit, ok1 := newHuffman(lengths[:nlit])
	dist, ok2 := newHuffman(lengths[nlit : nlit+ndist])
	if !ok1 || !ok2 || lengths[256] == 0 {
		f.err = errDeflate
		return false
	}
	f.lit, f.dist = lit, dist
	return true
}

// symbol decodes one symbol: a byte, a match (which it leaves in copyN and copyD), or the end of the block.
func (f *inflater) symbol() (b byte, isByte, ok bool) {
	s := f.lit.next(f)
	switch {
	case s < 0:
		return 0, false, false
	case s < 256:
		return byte(s), true, true
	case s == 256:
		f.endBlock()
		return 0, false, true
	case s > 285:
		f.err = errDeflate
		return 0, false, false
	}
	l := lengthCodes[s-257]
	if !f.need(uint(l.extra)) {
		return 0, false, false
	}
	n := int(l.base) + int(f.take(uint(l.extra)))
	s = f.dist.next(f)
	if s < 0 {
		return 0, false, false
	}
	if s > 29 {
		f.err = errDeflate
		return 0, false, false
	}
	d := distCodes[s]
	if !f.need(uint(d.extra)) {
		return 0, false, false
	}
	dist := int(d.base) + int(f.take(uint(d.extra)))
	if dist > len(f.window) {
		f.err = errDeflate
		return 0, false, false
	}
	f.copyN, f.copyD = n, dist
	return 0, false, true
}

type extraCode struct{ base, extra uint16 }

var lengthCodes, distCodes = matchCodes()

// matchCodes returns the tables of RFC 1951 section 3.2.5.
func matchCodes() (l [29]extraCode, d [30]extraCode) {
	base := uint16(3)
	for i := range l {
		extra := uint16(0)
		if i >= 8 {
			extra = uint16(i/4 - 1)
		}
		l[i] = extraCode{base, extra}
		base += 1 << extra
	}
	l[28] = extraCode{258, 0}
	base = 1
	for i := range d {
		extra := uint16(0)
		if i >= 4 {
			extra = uint16(i/2 - 1)
		}
		d[i] = extraCode{base, extra}
		base += 1 << extra
	}
	return l, d
}

// huffman is a canonical code (RFC 1951 section 3.2.2), decoded a bit at a time: commands are small.
type huffman struct {
	count   [16]uint16 // codes of each length
	symbols []uint16   // in the order of their codes
}

var fixedLit, fixedDist = fixedCodes()

func fixedCodes() (lit, dist *huffman) {
	var l [288]uint8
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	lit, _ = newHuffman(l[:])
	dist, _ = newHuffman([]uint8{
		5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
	})
	return lit, dist
}

// newHuffman makes the code with the lengths. It refuses codes that are over-subscribed, and incomplete ones except for
// a single code of one bit or none at all, which encoders write for distances that are not used.
func newHuffman(lengths []uint8) (*huffman, bool) {
	h := &huffman{}
	used := 0
	for _, l := range lengths {
		if l > 0 {
			h.count[l]++
			used++
		}
	}
	left := 1
	for l := 1; l < 16; l++ {
		left = left<<1 - int(h.count[l])
		if left < 0 {
			return nil, false
		}
	}
	if left > 0 && used > 0 && (used != 1 || h.count[1] != 1) {
		return nil, false
	}
	var offset [16]int
	for l := 1; l < 15; l++ {
		offset[l+1] = offset[l] + int(h.count[l])
	}
	h.symbols = make([]uint16, used)
	for s, l := range lengths {
		if l > 0 {
			h.symbols[offset[l]] = uint16(s)
			offset[l]++
		}
	}
	return h, true
}

// next decodes a symbol; -1 when the input does not suffice or holds no code (then f.err is set).
func (h *huffman) next(f *inflater) int {
	code, first, index := 0, 0, 0
	for l := 1; l < 16; l++ {
		if !f.need(1) {
			return -1
		}
		code |= int(f.take(1))
		count := int(h.count[l])
		if code-count < first {
			return int(h.symbols[index+code-first])
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	f.err = errDeflate
	return -1
}
