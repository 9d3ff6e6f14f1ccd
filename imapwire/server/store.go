package server

import (
	"strconv"

	"imapped/app/session"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// maxKeyword bounds a keyword's length in octets: it is repeated in every answer about its message.
const maxKeyword = 255

// flagsOf returns the flags of a STORE or APPEND. What a client cannot set (\Recent, and what is no flag of RFC 9051) is
// passed over, as RFC 9051 section 7.1 allows for flags that are not among PERMANENTFLAGS.
func flagsOf(flags []syntax.Flag) (flag.Set, *answer) {
	names := make([]string, 0, len(flags))
	for _, f := range flags {
		if len(f.Name) > maxKeyword {
			a := no("LIMIT", "A keyword is too long")
			return flag.Set{}, &a
		}
		names = append(names, string(f.Name))
	}
	return flag.Parse(names...), nil
}

// isReadOnly returns the answer to a command that would change the selected mailbox, when that was opened by EXAMINE;
// else nil. It has no response code: NOPERM (RFC 5530) is about rights, and the client itself asked for this.
func (c *conn) isReadOnly() *answer {
	if !c.sel.box.ReadOnly() {
		return nil
	}
	a := no("", "The mailbox is open for reading only")
	return &a
}

// Store answers STORE (RFC 9051 section 6.4.6).
func (c *conn) Store(j *job) answer { return c.store(j, false) }

// UIDStore answers UID STORE.
func (c *conn) UIDStore(j *job) answer { return c.store(j, true) }

var storeModes = [...]session.StoreMode{
	syntax.StoreReplace: session.StoreReplace, syntax.StoreAdd: session.StoreAdd, syntax.StoreRemove: session.StoreRemove,
}

func (c *conn) store(j *job, uid bool) answer {
	args := &j.args.Store
	if args.HasUnchangedSince {
		if refused := c.param(j.cmd, "UNCHANGEDSINCE"); refused != nil {
			return *refused
		}
	}
	if refused := c.isReadOnly(); refused != nil {
		return *refused
	}
	flags, refused := flagsOf(args.Flags)
	if refused != nil {
		return *refused
	}
	if !j.valid {
		return bad("No such message")
	}
	r := session.StoreRequest{Mode: storeModes[args.Action], Flags: flags}
	if args.HasUnchangedSince {
		c.enabled.add(extCondStore) // RFC 7162 section 3.1.1
		since := mailbox.ModSeq(args.UnchangedSince)
		r.Unchanged = &since
	}
	if len(j.seqs) == 0 {
		return ok("Store completed, no message")
	}
	v := c.sel.box.View() // it stays: no other command moves it while this one runs
	r.UIDs = v.UIDs(j.seqs)
	st, err := c.sel.box.Store(c.ctx, r)
	if err != nil {
		return c.failure(j.cmd, err)
	}
	c.tellStored(v, &st, &r, args.Silent, uid)
	return stored(v, &st, j.seqs.Len(), uid, args.HasUnchangedSince)
}

// stored returns the answer to a STORE that changed what it could of the asked messages. A conditional one names those
// that somebody else changed, and is NO when messages with the sequence numbers are gone (RFC 7162 section 3.1.3);
// another one hints at those (RFC 5530). UIDs that are gone are nothing special.
func stored(v *mailbox.View, st *session.Stored, asked uint64, uid, conditional bool) answer {
	a := ok("Store completed")
	if len(st.Modified) > 0 {
		set := st.Modified
		if !uid {
			set = v.SeqsOfUIDs(set)
		}
		a = okCode("MODIFIED "+set.String(), "Conditional store failed for some")
	}
	if uid || uint64(len(st.Rows))+st.Modified.Len() >= asked {
		return a
	}
	if conditional {
		a.result = fsm.NO
	}
	if a.code == "" {
		a.code = "EXPUNGEISSUED"
	}
	a.text = "Some of the messages no longer exist"
	return a
}

// tellStored tells the flags, or with .SILENT what of them the client cannot know (RFC 9051 section 6.4.6) and the
// mod-sequences (RFC 7162 section 3.1.3), from what the store did: the view may have to stay where it is.
func (c *conn) tellStored(v *mailbox.View, st *session.Stored, r *session.StoreRequest, silent, uid bool) {
	c.jobs.mu.Lock()
	defer c.jobs.mu.Unlock()
	items := flagItems{uid: uid || c.enabled.has(extQResync), modSeq: c.enabled.has(extCondStore)}
	for _, row := range st.Rows {
		seq := v.Seq(row.UID)
		if seq == 0 {
			continue
		}
		old := v.At(seq)
		items.flags = !silent || !row.Flags.Equal(applied(r, c.sel.known(old).flags))
		if items.flags {
			c.announce(row.Flags)
		}
		c.sel.learn(old, row)
		if items.flags || items.modSeq {
			c.writeFetch(seq, row, v.IsRecent(row.UID), items)
		}
	}
}

// applied returns the flags that a message with old has after the request.
func applied(r *session.StoreRequest, old flag.Set) flag.Set {
	switch r.Mode {
	case session.StoreAdd:
		return old.Union(r.Flags)
	case session.StoreRemove:
		return old.Minus(r.Flags)
	}
	return r.Flags
}

// known is what the client knows of a message's flags.
type known struct {
	modSeq mailbox.ModSeq
	flags  flag.Set
}

// known returns what the client knows of the message: as in the view's row, or what it was told, or asked for itself,
// since. jobs.mu is held.
func (s *selected) known(row mailbox.Row) known {
	if k, is := s.told[row.UID]; is && k.modSeq > row.ModSeq {
		return k
	}
	return known{row.ModSeq, row.Flags}
}

// learn notes that the client knows row, where the view has old. jobs.mu is held.
func (s *selected) learn(old, row mailbox.Row) {
	if row.ModSeq <= old.ModSeq {
		return
	}
	if s.told == nil {
		s.told = map[mailbox.UID]known{}
	}
	s.told[row.UID] = known{row.ModSeq, row.Flags}
}

// news returns those of the changed messages that the client has not been told of as they are in the view.
func (s *selected) news(v *mailbox.View, changed mailbox.Set) mailbox.Set {
	if len(s.told) == 0 {
		return changed
	}
	var known []uint32
	for seq, row := range v.Rows(changed) {
		if k, is := s.told[row.UID]; is && k.modSeq >= row.ModSeq {
			known = append(known, seq)
		}
	}
	return changed.Minus(mailbox.SetOf(known...))
}

// forget drops what the view itself has come to know.
func (s *selected) forget(v *mailbox.View) {
	for uid, k := range s.told {
		if k.modSeq <= v.HighestModSeq() {
			delete(s.told, uid)
		}
	}
	if len(s.told) == 0 {
		s.told = nil // a map keeps the size that it once had
	}
}

// announce writes FLAGS anew when flags has a keyword that the client has not heard of. jobs.mu is held.
func (c *conn) announce(flags flag.Set) {
	added := flag.FromStored(0, flags.KeywordString())
	if added.Minus(c.sel.keywords).Empty() {
		return
	}
	c.sel.keywords = c.sel.keywords.Union(added)
	c.out.begin()
	c.writeFlags()
	c.out.end()
}

// flagItems is what a FETCH response about a message's flags has.
type flagItems struct{ uid, flags, modSeq bool }

// writeFetch writes a FETCH response about a message's flags.
func (c *conn) writeFetch(seq uint32, row mailbox.Row, recent bool, items flagItems) {
	o := &c.out
	o.begin()
	defer o.end()
	o.text("* ")
	o.number(uint64(seq))
	o.text(" FETCH ")
	sep := "("
	if items.uid {
		o.text(sep + "UID ")
		o.number(uint64(row.UID))
		sep = " "
	}
	if items.flags {
		o.text(sep)
		o.flags(row, recent)
		sep = " "
	}
	if items.modSeq {
		o.text(sep + "MODSEQ (")
		o.number(uint64(max(row.ModSeq, 1)))
		o.text(")")
	}
	o.text(")\r\n")
}

// appendUIDs appends UIDs as a uid-set that keeps their order, so that those of a COPYUID correspond (RFC 4315 section
// 3).
func appendUIDs(dst []byte, uids []mailbox.UID) []byte {
	for i := 0; i < len(uids); {
		n := i + 1
		for n < len(uids) && uids[n] == uids[n-1]+1 {
			n++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(uids[i]), 10)
		if n > i+1 {
			dst = strconv.AppendUint(append(dst, ':'), uint64(uids[n-1]), 10)
		}
		i = n
	}
	return dst
}
