package server

import (
	"io"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/message"
)

// unstored answers a section of header fields from the message itself.
func (f *fetcher) unstored(m *session.Message, it *item, v *value) error {
	const op = "read header"
	raw, err := m.Open(f.c.ctx)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }() // only read from
	frags, err := message.Parse(io.NewSectionReader(raw, 0, raw.Size()), raw.Size())
	if err != nil {
		return fault.Wrap(op, err)
	}
	ix, err := message.DecodeIndex(frags.Parts)
	if err != nil {
		return fault.Wrap(op, err)
	}
	whole := *it
	whole.stored = false
	return f.section(m, raw, ix, &whole, v)
}
