package message

import (
	"bytes"
	"iter"
	"slices"
	"strconv"
)

// params reads the parameters that follow a media type or a disposition, as they are shown in BODYSTRUCTURE: names and
// values in the source's case, RFC 2231 continuations joined under one name that ends in "*" when any of them was
// encoded; the joined ones come after the others. name and value are valid until the next step.
func (l *lexer) params() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		var pieces []piece
		var nameStore, valueStore [80]byte
		name, value := nameStore[:0], valueStore[:0]
		for n := 0; n < maxParams; {
			var st state
			if name, value, st = l.param(name[:0], value[:0]); st == stEnd {
				break
			}
			if st == stBad { // resynchronise at the next octet that can begin a parameter
				if l.i == len(l.s) {
					break
				}
				l.i++
				for l.i < len(l.s) && l.s[l.i] != ';' {
					l.i++
				}
				continue
			}
			n++
			if p, ok := splitPiece(name, value); ok {
				pieces = append(pieces, p)
				continue
			}
			if !yield(name, value) {
				return
			}
		}
		joinPieces(pieces, yield)
	}
}

// param reads ";", a name, "=" and a value, which may be missing.
func (l *lexer) param(name, value []byte) (_, _ []byte, st state) {
	if l.i == len(l.s) {
		return name, value, stEnd
	}
	if !l.at(';') {
		return name, value, stBad
	}
	l.i++
	if l.space() != stMore {
		return name, value, stBad
	}
	if name, st = l.token(name); st != stMore || !l.at('=') {
		return name, value, stBad
	}
	l.i++
	switch st = l.space(); {
	case st != stMore:
	case l.at('"'):
		value, st = l.quoted(value)
	case l.at('='): // an unquoted encoded word: name==?utf-8?b?...?=
		for l.i < len(l.s) && bytes.IndexByte([]byte("; \t\r\n"), l.s[l.i]) < 0 {
			value = append(value, l.s[l.i])
			l.i++
		}
	default:
		value, st = l.token(value)
	}
	if st == stBad {
		return name, value, stBad
	}
	return name, value, stMore
}

// piece is one parameter in the syntax of RFC 2231: name*0, name*1*, name*.
type piece struct {
	name    string
	n       uint32
	encoded bool
	value   []byte
}

func splitPiece(name, value []byte) (p piece, ok bool) {
	star := bytes.IndexByte(name, '*')
	if star < 0 {
		return p, false
	}
	rest := name[star:]
	if len(rest) > 1 {
		rest = rest[1:]
		for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
			p.n = p.n*10 + uint32(rest[0]-'0')
			rest = rest[1:]
		}
	}
	if len(rest) > 0 && rest[0] == '*' {
		p.encoded = true
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return p, false
	}
	p.name, p.value = string(name[:star]), bytes.Clone(value)
	return p, true
}

func joinPieces(pieces []piece, yield func(name, value []byte) bool) {
	slices.SortStableFunc(pieces, func(a, b piece) int {
		if c := bytes.Compare([]byte(a.name), []byte(b.name)); c != 0 {
			return c
		}
		return int(int64(a.n) - int64(b.n))
	})
	var name, value []byte
	for len(pieces) > 0 {
		first := pieces[0]
		n, complete, encoded := 0, true, false
		for n < len(pieces) && equalFold([]byte(pieces[n].name), first.name) {
			complete = complete && pieces[n].n == uint32(n)
			encoded = encoded || pieces[n].encoded
			n++
		}
		if !complete { // shown one by one
			for _, p := range pieces[:n] {
				name = strconv.AppendUint(append(append(name[:0], p.name...), '*'), uint64(p.n), 10)
				if p.encoded {
					name = append(name, '*')
				}
				if !yield(name, p.value) {
					return
				}
			}
			pieces = pieces[n:]
			continue
		}
		name, value = append(name[:0], first.name...), value[:0]
		if encoded {
			name = append(name, '*')
			if !first.encoded {
				value = append(value, "''"...)
			}
		}
		for _, p := range pieces[:n] {
			if encoded && !p.encoded {
				value = append(value, bytes.ReplaceAll(p.value, []byte{'%'}, []byte("%25"))...)
			} else {
				value = append(value, p.value...)
			}
		}
		if !yield(name, value) {
			return
		}
		pieces = pieces[n:]
	}
}
