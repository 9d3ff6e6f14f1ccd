package server

import (
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// charsets is what BADCHARSET names: what is certainly understood.
const charsets = "BADCHARSET (US-ASCII UTF-8 ISO-8859-1)"

// Search answers SEARCH (RFC 9051 section 6.4.4, RFC 4731, RFC 5182).
func (c *conn) Search(j *job) answer { return c.search(j, false) }

// UIDSearch answers UID SEARCH.
func (c *conn) UIDSearch(j *job) answer { return c.search(j, true) }

func (c *conn) search(j *job, uid bool) answer {
	args := &j.args.Search
	a := c.find(j, args, uid)
	if a.result == fsm.NO && args.Return&syntax.ReturnSave != 0 {
		c.sel.saved = nil // RFC 5182 section 2.1
	}
	return a
}

func (c *conn) find(j *job, args *syntax.SearchArgs, uid bool) answer {
	box := c.sel.box
	v := box.View()
	b := queryBuilder{view: v, saved: c.sel.saved, keys: args.Keys}
	if args.Charset.Present() {
		if c.enabled.has(extUTF8) {
			return bad("No CHARSET after UTF8=ACCEPT was enabled") // RFC 6855 section 3
		}
		if b.charset = args.Charset.Text(); !message.KnowsCharset(b.charset) {
			return no(charsets, "Unknown charset")
		}
		if syntax.EqualFold(args.Charset.Bytes, "UTF-8") || syntax.EqualFold(args.Charset.Bytes, "US-ASCII") {
			b.charset = ""
		}
	}
	q := b.build(0)
	if b.wrong != "" {
		return no("CANNOT", b.wrong)
	}
	if b.modSeq && c.srv.caps.Has(fsm.CapCondstore) {
		c.enabled.add(extCondStore)
	}
	seqs, modSeq, err := box.Search(c.ctx, &q)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	r := result{seqs: seqs, uid: uid, ret: args.Return}
	if b.modSeq && len(seqs) > 0 {
		r.modSeq = modSeq
	}
	if args.Return&syntax.ReturnSave != 0 {
		c.sel.saved = v.UIDs(r.toSave())
	}
	switch {
	case !args.HasReturn:
		c.writeSearch(v, &r)
	case args.Return != syntax.ReturnSave:
		c.writeESearch(v, &r, j.tag)
	}
	return ok("Search completed")
}

// result is what a search found.
type result struct {
	seqs   mailbox.Set
	uid    bool
	ret    syntax.SearchReturn
	modSeq mailbox.ModSeq // 0: not to be told
}

// ends returns the first and the last number; seqs is not empty.
func (r *result) ends() (first, last uint32) { return r.seqs[0].First, r.seqs[len(r.seqs)-1].Last }

// toSave returns what SAVE keeps: what MIN and MAX tell when only they are asked for, else everything (RFC 5182 section
// 2.4).
func (r *result) toSave() mailbox.Set {
	if len(r.seqs) == 0 || r.ret&(syntax.ReturnAll|syntax.ReturnCount) != 0 {
		return r.seqs
	}
	first, last := r.ends()
	switch r.ret & (syntax.ReturnMin | syntax.ReturnMax) {
	case syntax.ReturnMin:
		return mailbox.SetOf(first)
	case syntax.ReturnMax:
		return mailbox.SetOf(last)
	case syntax.ReturnMin | syntax.ReturnMax:
		return mailbox.SetOf(first, last)
	}
	return r.seqs
}

// writeSearch writes the SEARCH response (RFC 3501 section 7.2.5).
func (c *conn) writeSearch(v *mailbox.View, r *result) {
	o := &c.out
	o.begin()
	defer o.end()
	o.text("* SEARCH")
	one := func(n uint32) {
		o.text(" ")
		o.number(uint64(n))
		if len(o.b) > outputBuffer-64 {
			o.send()
		}
	}
	if r.uid {
		for _, row := range v.Rows(r.seqs) {
			one(uint32(row.UID))
		}
	} else {
		for n := range r.seqs.All {
			one(n)
		}
	}
	if r.modSeq > 0 {
		o.text(" (MODSEQ ")
		o.number(uint64(r.modSeq))
		o.text(")")
	}
	o.text("\r\n")
}

// writeESearch writes the ESEARCH response (RFC 9051 section 7.3.4).
func (c *conn) writeESearch(v *mailbox.View, r *result, tag []byte) {
	o := &c.out
	o.begin()
	defer o.end()
	o.text("* ESEARCH (TAG ")
	o.b = syntax.AppendQuoted(o.b, tag)
	o.text(")")
	if r.uid {
		o.text(" UID")
	}
	name := func(seq uint32) uint64 {
		if r.uid {
			return uint64(v.UID(seq))
		}
		return uint64(seq)
	}
	if len(r.seqs) > 0 {
		first, last := r.ends()
		if r.ret&syntax.ReturnMin != 0 {
			o.text(" MIN ")
			o.number(name(first))
		}
		if r.ret&syntax.ReturnMax != 0 {
			o.text(" MAX ")
			o.number(name(last))
		}
		if r.ret&syntax.ReturnAll != 0 {
			set := r.seqs
			if r.uid {
				set = v.UIDs(set)
			}
			o.text(" ALL ")
			o.set(set)
		}
	}
	if r.ret&syntax.ReturnCount != 0 {
		o.text(" COUNT ")
		o.number(r.seqs.Len())
	}
	if r.modSeq > 0 {
		o.text(" MODSEQ ")
		o.number(uint64(r.told(v)))
	}
	o.text("\r\n")
}

// told returns the mod-sequence to name: of MIN and MAX alone, that of the messages they name (RFC 4731 section 3.2).
func (r *result) told(v *mailbox.View) mailbox.ModSeq {
	if r.ret&(syntax.ReturnAll|syntax.ReturnCount) != 0 {
		return r.modSeq
	}
	first, last := r.ends()
	m := mailbox.ModSeq(0)
	if r.ret&syntax.ReturnMin != 0 {
		m = v.At(first).ModSeq
	}
	if r.ret&syntax.ReturnMax != 0 {
		m = max(m, v.At(last).ModSeq)
	}
	return max(m, 1)
}
