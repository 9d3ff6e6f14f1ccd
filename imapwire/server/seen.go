package server

import (
	"context"
	"slices"
	"time"

	"imapped/app/session"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
)

// undoTime is how long taking \Seen back may take: the client may be gone already.
const undoTime = 10 * time.Second

// marks says whether the item sets \Seen (RFC 9051 section 6.4.5, RFC 3516 section 4.2).
func marks(it *syntax.FetchItem) bool {
	switch it.Kind {
	case syntax.FetchRFC822, syntax.FetchBodySection, syntax.FetchBinary:
		return !it.Peek
	case syntax.FetchRFC822Text:
		return true
	}
	return false
}

// seenMarks is \Seen set by a FETCH.
type seenMarks struct {
	stored session.Stored
	shown  []mailbox.UID // of stored.Changed, those that the client was shown
}

// mark sets \Seen on those of the messages that do not have it, all at once and before any of them is shown, so that the
// answer about a message can tell it. A store that cannot take it does not keep the client from reading.
func (f *fetcher) mark(box session.Mailbox, v *mailbox.View, seqs mailbox.Set) {
	var unseen []mailbox.UID
	f.c.jobs.mu.Lock()
	for _, row := range v.Rows(seqs) {
		if !f.c.sel.known(row).flags.Has(flag.Seen) {
			unseen = append(unseen, row.UID)
		}
	}
	f.c.jobs.mu.Unlock()
	if len(unseen) == 0 {
		return
	}
	var err error
	f.seen.stored, err = box.Store(f.c.ctx, session.StoreRequest{
		UIDs: mailbox.SetOf(unseen...), Mode: session.StoreAdd, Flags: flag.Make(flag.Seen),
	})
	if err != nil {
		f.seen.stored = session.Stored{}
		f.c.log.Warn("setting \\Seen failed", "err", err)
	}
}

// marked says whether this FETCH has set \Seen on the message; then the row has it.
func (s *seenMarks) marked(row *mailbox.Row) bool {
	if !s.stored.Changed.Contains(uint32(row.UID)) {
		return false
	}
	i, found := slices.BinarySearchFunc(s.stored.Rows, row.UID, func(r mailbox.Row, uid mailbox.UID) int {
		return int(int64(r.UID) - int64(uid))
	})
	if found && s.stored.Rows[i].ModSeq > row.ModSeq {
		*row = s.stored.Rows[i]
	}
	return found
}

// settle notes which of the marked messages the client has been told of, and takes \Seen back from those that could not
// be shown.
func (f *fetcher) settle(box session.Mailbox, v *mailbox.View) {
	s := &f.seen
	if len(s.stored.Changed) == 0 {
		return
	}
	shown := mailbox.SetOf(s.shown...)
	f.c.jobs.mu.Lock()
	for _, row := range s.stored.Rows {
		if shown.Contains(uint32(row.UID)) {
			f.c.sel.learn(v.At(v.Seq(row.UID)), row)
		}
	}
	f.c.jobs.mu.Unlock()
	hidden := s.stored.Changed.Minus(shown)
	if len(hidden) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.c.ctx), undoTime)
	defer cancel()
	_, err := box.Store(ctx, session.StoreRequest{
		UIDs: hidden, Mode: session.StoreRemove, Flags: flag.Make(flag.Seen),
	})
	if err != nil {
		f.c.log.Warn("taking \\Seen back failed", "err", err)
	}
}
