package server

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/message"
	"imapped/imapwire/syntax"
)

// scratch is the memory that answering a FETCH takes, message by message. It is pooled.
type scratch struct {
	values []value
	header []byte // a header that is selected from
	picked []byte // header lines that were selected
}

func (s *scratch) release(srv *Server) {
	const keep = 64 << 10
	if cap(s.header) > keep {
		s.header = nil
	}
	if cap(s.picked) > keep {
		s.picked = nil
	}
	clear(s.values[:cap(s.values)])
	srv.scratch.Put(s)
}

// value is what an item of a message gives when it is about the message's octets: a range of the raw message, octets in
// scratch.picked, a decoded stream, a number, or nothing.
type value struct {
	kind valueKind
	off  int64 // in the raw message, in picked, or in the decoded stream
	n    int64
	span message.Span // the encoded octets of a decoded stream
	enc  string
}

type valueKind uint8

const (
	valueNone    valueKind = iota // not about octets
	valueNIL                      // there is no such part
	valueRaw                      // n octets of the raw message from off on
	valuePicked                   // n octets of picked from off on
	valueDecoded                  // n octets of the decoded stream from off on
	valueNumber                   // n
)

// cut applies a partial (RFC 9051 section 6.4.5): what begins past the end is empty, what ends past it is shorter.
func (v *value) cut(p syntax.Partial) {
	if !p.Set {
		return
	}
	start := min(p.Offset, uint64(v.n))
	v.off += int64(start)
	v.n = int64(min(p.Length, uint64(v.n)-start))
}

// message answers one message. What can fail or wait for the upstream comes first, so that a response that was begun
// can be ended. A message that cannot be had is left out, and the others go on.
func (f *fetcher) message(m *session.Message) error {
	var raw session.Bytes
	if f.bytes {
		var err error
		if raw, err = m.Open(f.c.ctx); err != nil {
			return f.missing(m, err)
		}
		defer func() { _ = raw.Close() }()
	}
	if err := f.values(m, raw); err != nil {
		return f.missing(m, err)
	}
	marked := f.seen.marked(&m.Row)
	if marked {
		f.seen.shown = append(f.seen.shown, m.UID)
	}
	o := &f.c.out
	o.begin()
	defer o.end()
	o.text("* ")
	o.number(uint64(m.Seq))
	o.text(" FETCH (")
	for i := range f.items {
		if i > 0 {
			o.text(" ")
		}
		f.write(m, raw, &f.items[i], &f.scratch.values[i])
	}
	if marked && !f.flags {
		o.text(" ")
		o.flags(m.Row, m.Recent)
	}
	if marked && !f.modSeq && f.c.enabled.has(extCondStore) {
		o.text(" MODSEQ (")
		o.number(uint64(m.ModSeq))
		o.text(")")
	}
	o.text(")\r\n")
	return o.failed
}

// missing notes that a message could not be had, and ends the command when the next one could not either.
func (f *fetcher) missing(m *session.Message, err error) error {
	if f.c.ctx.Err() != nil {
		return err
	}
	f.c.log.Warn("message left out of FETCH", "uid", uint32(m.UID), "err", err)
	if f.failed == nil {
		f.failed = err
	}
	return nil
}

// values works out the items that are about octets.
func (f *fetcher) values(m *session.Message, raw session.Bytes) error {
	s := f.scratch
	s.values, s.picked = slices.Grow(s.values[:0], len(f.items))[:len(f.items)], s.picked[:0]
	clear(s.values)
	var ix *message.Index
	if f.parts {
		var err error
		if ix, err = message.DecodeIndex(m.Parts); err != nil {
			return err
		}
	}
	for i := range f.items {
		it, v := &f.items[i], &s.values[i]
		var err error
		switch it.Kind {
		case syntax.FetchRFC822, syntax.FetchRFC822Header, syntax.FetchRFC822Text, syntax.FetchBodySection:
			err = f.section(m, raw, ix, it, v)
		case syntax.FetchBinary, syntax.FetchBinarySize:
			err = f.binary(raw, ix, it, v)
		}
		if err != nil {
			return err
		}
		v.cut(it.Partial)
	}
	return nil
}

func (f *fetcher) section(m *session.Message, raw session.Bytes, ix *message.Index, it *item, v *value) error {
	s := f.scratch
	if it.stored && len(m.Headers) == 0 {
		// None of the fields is there, or there is too much of them to be kept apart: the message itself knows.
		return f.unstored(m, it, v)
	}
	if it.stored {
		v.kind, v.off = valuePicked, int64(len(s.picked))
		s.picked = message.FilterHeader(s.picked, m.Headers, it.fields, false)
		v.n = int64(len(s.picked)) - v.off
		return nil
	}
	span, found := message.Span{Len: sizeOf(raw)}, true
	if ix != nil && (it.part != message.SectionWhole || len(it.path) > 0) {
		span, found = ix.Section(it.path, it.part)
	}
	switch {
	case !found:
		v.kind = valueNIL
		return nil
	case span.Off < 0 || span.Len < 0 || span.Off > sizeOf(raw) || span.Len > sizeOf(raw)-span.Off:
		return fault.New(fault.Corrupt, "fetch section", "the part index does not fit the message")
	case it.fields == nil:
		*v = value{kind: valueRaw, off: span.Off, n: span.Len}
		return nil
	}
	if int64(cap(s.header)) < span.Len {
		s.header = make([]byte, span.Len)
	}
	s.header = s.header[:span.Len]
	if n, err := raw.ReadAt(s.header, span.Off); int64(n) < span.Len {
		return fmt.Errorf("read header: %w", err)
	}
	v.kind, v.off = valuePicked, int64(len(s.picked))
	s.picked = message.FilterHeader(s.picked, s.header, it.fields, it.Section.Spec == syntax.SpecHeaderFieldsNot)
	v.n = int64(len(s.picked)) - v.off
	if len(s.picked) > maxPicked {
		return fault.New(fault.Limit, "fetch section", "too many header fields are asked for at once")
	}
	return nil
}

// maxPicked bounds the header lines that are held for one message's answer: one huge header, asked for many times.
const maxPicked = 64 << 20

func sizeOf(b session.Bytes) int64 {
	if b == nil {
		return 0
	}
	return b.Size()
}

// binary works out BINARY and BINARY.SIZE (RFC 3516). BINARY[] is the message as it is.
func (f *fetcher) binary(raw session.Bytes, ix *message.Index, it *item, v *value) error {
	span, enc := message.Span{Len: sizeOf(raw)}, "7bit"
	if len(it.path) > 0 {
		var found bool
		span, found = ix.Section(it.path, message.SectionWhole)
		if found {
			enc, found = ix.Encoding(it.path)
		}
		if !found {
			v.kind = valueNIL
			if it.Kind == syntax.FetchBinarySize {
				v.kind = valueNumber
			}
			return nil
		}
	}
	*v = value{kind: valueRaw, off: span.Off, n: span.Len}
	if enc != "7bit" && enc != "8bit" && enc != "binary" {
		size, err := message.DecodedSize(io.NewSectionReader(raw, span.Off, span.Len), enc)
		if err != nil {
			return err
		}
		*v = value{kind: valueDecoded, n: size, span: span, enc: enc}
	}
	if it.Kind == syntax.FetchBinarySize {
		*v = value{kind: valueNumber, n: v.n}
	}
	return nil
}

// write appends an item; the output is locked.
func (f *fetcher) write(m *session.Message, raw session.Bytes, it *item, v *value) {
	o := &f.c.out
	if it.Kind == syntax.FetchFlags {
		o.flags(m.Row, m.Recent)
		return
	}
	o.text(it.label)
	switch it.Kind {
	case syntax.FetchUID:
		o.number(uint64(m.UID))
	case syntax.FetchInternalDate:
		o.b = syntax.AppendInternalDate(o.b, m.InternalDate())
	case syntax.FetchRFC822Size:
		o.number(uint64(max(m.Size, 0)))
	case syntax.FetchModSeq:
		o.text("(")
		o.number(uint64(max(m.ModSeq, 1)))
		o.text(")")
	case syntax.FetchEnvelope:
		o.b = append(o.b, m.Envelope...)
	case syntax.FetchBody:
		o.b = append(o.b, m.Body...)
	case syntax.FetchBodyStructure:
		o.b = append(o.b, m.BodyStructure...)
	case syntax.FetchEmailID:
		o.objectID(m.EmailID)
	case syntax.FetchThreadID:
		o.objectID(m.ThreadID)
	case syntax.FetchSaveDate:
		if m.Saved.IsZero() {
			o.text("NIL")
		} else {
			o.b = syntax.AppendInternalDate(o.b, m.Saved)
		}
	case syntax.FetchPreview:
		o.b = syntax.AppendNString(o.b, m.Preview, f.c.enabled.has(extUTF8))
	default:
		f.writeOctets(raw, it, v)
	}
}

// objectID appends an object identifier in parentheses (RFC 8474 section 5), or NIL.
func (o *output) objectID(id string) {
	if id == "" {
		o.text("NIL")
		return
	}
	o.text("(")
	o.text(id)
	o.text(")")
}

func (f *fetcher) writeOctets(raw session.Bytes, it *item, v *value) {
	o := &f.c.out
	switch {
	case v.kind == valueNIL:
		o.text("NIL")
		return
	case v.kind == valueNumber:
		o.number(uint64(v.n))
		return
	case v.n == 0:
		o.text(`""`)
		return
	case it.Kind == syntax.FetchBinary:
		o.b = syntax.AppendLiteral8Header(o.b, v.n)
	default:
		o.b = syntax.AppendLiteralHeader(o.b, v.n)
	}
	switch v.kind {
	case valuePicked:
		o.b = append(o.b, f.scratch.picked[v.off:v.off+v.n]...)
	case valueRaw:
		o.copyRange(raw, v.off, v.n)
	case valueDecoded:
		o.fail(f.writeDecoded(raw, v))
	}
}

// writeDecoded appends a part of a decoded stream, whose length has been announced.
func (f *fetcher) writeDecoded(raw session.Bytes, v *value) error {
	r, err := message.DecodedReader(io.NewSectionReader(raw, v.span.Off, v.span.Len), v.enc)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, v.off); err != nil {
		return err
	}
	o := &f.c.out
	for left := v.n; left > 0 && o.failed == nil; {
		room := o.space(int(min(left, outputBuffer/2)))
		n, err := io.ReadFull(r, room)
		o.b = o.b[:len(o.b)+n]
		left -= int64(n)
		if n < len(room) {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return nil
}
