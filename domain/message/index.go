package message

import (
	"encoding/binary"

	"imapped/domain/fault"
)

// Index is a message's parts as byte ranges in the raw message: what FETCH needs to answer BODY[1.2.HEADER] and the
// like by reading one range. It is stored encoded as Fragments.Parts.
//
// The encoding is a version octet and, for each part in the order of the message, unsigned varints: kind + 4 * (number
// of the encoding), the encoding's length and text where its number says "other", the number of children, and the
// offsets of header, body and end, each as the distance from the one before it (header: from the last part's header).
type Index struct {
	parts []part // parts[0] is the message itself
}

// part is one entity. Offsets are in octets from the start of the raw message.
type part struct {
	kids     []int32 // indexes into Index.parts; for an Enclosing part its one child is the enclosed message
	header   int64   // where its header starts
	body     int64   // where its body starts: after the blank line
	end      int64   // where its body ends
	kind     Kind
	encoding string // Content-Transfer-Encoding in lower case; "" for none
}

const indexVersion = 1

// The numbers of the encodings in the stored form.
var encodingNames = [...]string{"", "7bit", "8bit", "binary", "quoted-printable", "base64"}

const otherEncoding = len(encodingNames)

func (c *composer) appendIndex(dst []byte) []byte {
	dst = append(dst, indexVersion)
	last := int64(0)
	for i := range c.nodes {
		n := &c.nodes[i]
		enc := otherEncoding
		for k, name := range encodingNames {
			if name == n.encoding {
				enc = k
			}
		}
		dst = binary.AppendUvarint(dst, uint64(n.kind)+4*uint64(enc))
		if enc == otherEncoding {
			dst = binary.AppendUvarint(dst, uint64(len(n.encoding)))
			dst = append(dst, n.encoding...)
		}
		kids := uint64(0)
		for k := n.first; k != 0; k = c.nodes[k].next {
			kids++
		}
		dst = binary.AppendUvarint(dst, kids)
		dst = binary.AppendUvarint(dst, uint64(n.header-last))
		dst = binary.AppendUvarint(dst, uint64(n.body-n.header))
		dst = binary.AppendUvarint(dst, uint64(n.end-n.body))
		last = n.header
	}
	return dst
}

// DecodeIndex reads what Fragments.Parts holds. The error (fault.Corrupt) says that b is not that, or of another
// version: the message is to be parsed again.
func DecodeIndex(b []byte) (*Index, error) {
	if len(b) < 2 || b[0] != indexVersion {
		return nil, corruptIndex()
	}
	d := indexDecoder{b: b[1:], ok: true}
	// A part takes at least five octets, so the input bounds what is allocated.
	d.ix.parts = make([]part, 0, len(d.b)/5+1)
	d.part(0, 0)
	if !d.ok || len(d.b) != 0 {
		return nil, corruptIndex()
	}
	return &d.ix, nil
}

func corruptIndex() error {
	return fault.New(fault.Corrupt, "decode part index", "not a part index of this version")
}

type indexDecoder struct {
	b    []byte
	ix   Index
	last int64
	ok   bool
}

func (d *indexDecoder) number() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > 1<<62 {
		d.ok = false
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

// part reads one part and what is in it, and returns its index.
func (d *indexDecoder) part(depth int, limit int64) int32 {
	i := int32(len(d.ix.parts))
	var p part
	head := d.number()
	p.kind = Kind(head & 3)
	switch enc := head >> 2; {
	case enc < int64(otherEncoding):
		p.encoding = encodingNames[enc]
	case enc == int64(otherEncoding):
		n := d.number()
		if n > int64(len(d.b)) {
			d.ok = false
			return 0
		}
		p.encoding, d.b = string(d.b[:n]), d.b[n:]
	default:
		d.ok = false
	}
	kids := d.number()
	p.header = d.last + d.number()
	p.body = p.header + d.number()
	p.end = p.body + d.number()
	d.last = p.header
	if !d.ok || depth > maxDepth+1 || kids > maxParts || p.kind > Enclosing || p.end < 0 ||
		p.kind == Leaf && kids != 0 || p.kind == Enclosing && kids != 1 ||
		depth > 0 && p.end > limit {
		d.ok = false
		return 0
	}
	d.ix.parts = append(d.ix.parts, p)
	if kids > 0 {
		list := make([]int32, 0, min(int(kids), len(d.b)/5+1))
		for range kids {
			if !d.ok {
				return 0
			}
			list = append(list, d.part(depth+1, p.end))
		}
		d.ix.parts[i].kids = list
	}
	return i
}
