package server

import (
	"slices"
	"strings"

	"imapped/app/session"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// Fetch answers FETCH (RFC 9051 section 6.4.5).
func (c *conn) Fetch(j *job) answer { return c.fetch(j, false) }

// UIDFetch answers UID FETCH (RFC 9051 section 6.4.9).
func (c *conn) UIDFetch(j *job) answer { return c.fetch(j, true) }

func (c *conn) fetch(j *job, uid bool) answer {
	args := &j.args.Fetch
	if args.Vanished {
		if refused := c.param(j.cmd, "VANISHED"); refused != nil {
			return *refused
		}
	}
	f := &fetcher{c: c, args: args}
	f.plan(uid)
	box := c.sel.box
	v := box.View()
	seqs, valid := c.resolve(v, j.args.Set, uid)
	if !valid {
		return bad("No such message")
	}
	if args.HasChangedSince {
		if args.Vanished {
			asked := uidSet(v, j.args.Set.Ranges)
			if j.args.Set.Saved {
				asked = c.sel.saved
			}
			if len(asked) > 0 {
				gone, err := box.Vanished(c.ctx, mailbox.ModSeq(args.ChangedSince), asked)
				if err != nil {
					return c.failure(j.cmd, err)
				}
				c.writeVanished("VANISHED (EARLIER) ", gone)
			}
		}
		if args.ChangedSince > 0 {
			seqs = seqs.Intersect(v.ChangedSince(mailbox.ModSeq(args.ChangedSince)))
		}
	}
	if f.modSeq && c.srv.caps.Has(fsm.CapCondstore) {
		c.enabled.add(extCondStore) // RFC 7162 section 3.1.1
	}
	if len(seqs) > 0 {
		f.scratch = c.srv.scratch.Get().(*scratch)
		if f.marks && !box.ReadOnly() {
			f.mark(box, v, seqs)
		}
		err := box.Fetch(c.ctx, seqs, f.need, f.message)
		f.settle(box, v)
		f.scratch.release(c.srv)
		if err == nil {
			err = f.failed
		}
		if err != nil {
			return c.failure(j.cmd, err)
		}
	}
	return ok("Fetch completed")
}

// fetcher answers one FETCH.
type fetcher struct {
	c      *conn
	args   *syntax.FetchArgs
	items  []item
	need   session.Need
	bytes  bool  // the raw message is needed
	parts  bool  // the part index is needed
	flags  bool  // FLAGS is among the items
	modSeq bool  // MODSEQ is among the items
	marks  bool  // an item sets \Seen
	failed error // the first message that could not be had; the others are sent nevertheless

	seen    seenMarks
	scratch *scratch
}

// item is a FETCH item with what is the same for every message.
type item struct {
	*syntax.FetchItem
	label  string   // what stands before the value, with its space
	fields []string // HEADER.FIELDS and HEADER.FIELDS.NOT
	stored bool     // the fields are all in Fragments.Headers
	path   []uint32
	part   message.SectionKind
}

// plan works out what the items need.
func (f *fetcher) plan(uid bool) {
	f.items = make([]item, 0, len(f.args.Items)+2)
	has := func(k syntax.FetchKind) bool {
		return slices.ContainsFunc(f.args.Items, func(i syntax.FetchItem) bool { return i.Kind == k })
	}
	if uid && !has(syntax.FetchUID) {
		f.add(&syntax.FetchItem{Kind: syntax.FetchUID})
	}
	for i := range f.args.Items {
		f.add(&f.args.Items[i])
	}
	if f.args.HasChangedSince && !has(syntax.FetchModSeq) {
		f.add(&syntax.FetchItem{Kind: syntax.FetchModSeq}) // RFC 7162 section 3.1.4.1
	}
}

var fetchLabels = [...]string{
	syntax.FetchFlags: "FLAGS ", syntax.FetchInternalDate: "INTERNALDATE ", syntax.FetchRFC822Size: "RFC822.SIZE ",
	syntax.FetchEnvelope: "ENVELOPE ", syntax.FetchBody: "BODY ", syntax.FetchBodyStructure: "BODYSTRUCTURE ",
	syntax.FetchUID: "UID ", syntax.FetchModSeq: "MODSEQ ", syntax.FetchEmailID: "EMAILID ",
	syntax.FetchThreadID: "THREADID ", syntax.FetchSaveDate: "SAVEDATE ", syntax.FetchPreview: "PREVIEW ",
	syntax.FetchRFC822: "RFC822 ", syntax.FetchRFC822Header: "RFC822.HEADER ", syntax.FetchRFC822Text: "RFC822.TEXT ",
	syntax.FetchBodySection: "BODY", syntax.FetchBinary: "BINARY", syntax.FetchBinarySize: "BINARY.SIZE",
}

func (f *fetcher) add(fi *syntax.FetchItem) {
	it := item{FetchItem: fi, label: fetchLabels[fi.Kind], path: fi.Section.Part}
	f.marks = f.marks || marks(fi)
	switch fi.Kind {
	case syntax.FetchFlags:
		f.flags = true
	case syntax.FetchModSeq:
		f.modSeq = true
	case syntax.FetchEmailID, syntax.FetchThreadID, syntax.FetchSaveDate:
		f.need |= session.NeedIdentity
	case syntax.FetchEnvelope:
		f.need |= session.NeedEnvelope
	case syntax.FetchBody:
		f.need |= session.NeedBody
	case syntax.FetchBodyStructure:
		f.need |= session.NeedBodyStructure
	case syntax.FetchPreview:
		if fi.Lazy {
			f.need |= session.NeedPreviewLazy
		} else {
			f.need |= session.NeedPreview
		}
	case syntax.FetchRFC822:
		f.need |= session.NeedBytes
	case syntax.FetchRFC822Header:
		it.part = message.SectionHeader
		f.need |= session.NeedBytes | session.NeedParts
	case syntax.FetchRFC822Text:
		it.part = message.SectionText
		f.need |= session.NeedBytes | session.NeedParts
	case syntax.FetchBodySection, syntax.FetchBinary, syntax.FetchBinarySize:
		f.addSection(&it)
	}
	f.items = append(f.items, it)
	f.bytes = f.need&session.NeedBytes != 0
	f.parts = f.need&session.NeedParts != 0
}

var sectionParts = [...]message.SectionKind{
	syntax.SpecAll: message.SectionWhole, syntax.SpecHeader: message.SectionHeader,
	syntax.SpecHeaderFields: message.SectionHeader, syntax.SpecHeaderFieldsNot: message.SectionHeader,
	syntax.SpecText: message.SectionText, syntax.SpecMIME: message.SectionMIME,
}

func (f *fetcher) addSection(it *item) {
	s := &it.Section
	it.part = sectionParts[s.Spec]
	it.label = sectionLabel(it.label, s, it.Partial)
	if s.Spec == syntax.SpecHeaderFields || s.Spec == syntax.SpecHeaderFieldsNot {
		it.stored = s.Spec == syntax.SpecHeaderFields && len(s.Part) == 0
		for _, name := range s.Fields {
			it.fields = append(it.fields, name.Text())
			it.stored = it.stored && isCommon(name.Bytes)
		}
	}
	switch {
	case it.stored:
		f.need |= session.NeedHeaders
	case it.part == message.SectionWhole && len(s.Part) == 0:
		f.need |= session.NeedBytes
	default:
		f.need |= session.NeedBytes | session.NeedParts
	}
}

// isCommon says whether Fragments.Headers has the field.
func isCommon(name []byte) bool {
	return slices.ContainsFunc(message.CommonFields[:], func(f string) bool { return strings.EqualFold(f, string(name)) })
}

// sectionLabel returns an item's name as the response has it (RFC 9051 section 7.5.2): without PEEK, with the field
// names as the client wrote them, and of a partial the origin alone.
func sectionLabel(name string, s *syntax.BodySection, p syntax.Partial) string {
	b := append([]byte(name), '[')
	for i, n := range s.Part {
		if i > 0 {
			b = append(b, '.')
		}
		b = syntax.AppendUint(b, n)
	}
	if s.Spec != syntax.SpecAll && len(s.Part) > 0 {
		b = append(b, '.')
	}
	switch s.Spec {
	case syntax.SpecHeader:
		b = append(b, "HEADER"...)
	case syntax.SpecHeaderFields:
		b = append(b, "HEADER.FIELDS "...)
	case syntax.SpecHeaderFieldsNot:
		b = append(b, "HEADER.FIELDS.NOT "...)
	case syntax.SpecText:
		b = append(b, "TEXT"...)
	case syntax.SpecMIME:
		b = append(b, "MIME"...)
	}
	if s.Spec == syntax.SpecHeaderFields || s.Spec == syntax.SpecHeaderFieldsNot {
		sep := byte('(')
		for _, f := range s.Fields {
			b = syntax.AppendAString(append(b, sep), f.Bytes, false)
			sep = ' '
		}
		b = append(b, ')')
	}
	b = append(b, ']')
	if p.Set {
		b = append(b, '<')
		b = syntax.AppendUint(b, p.Offset)
		b = append(b, '>')
	}
	return string(append(b, ' '))
}
