package session

import (
	"context"
	"errors"
	"io"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/search"
	"imapped/ports/metadata"
)

// Outcomes of asking for a message's content that are no failure of the search.
var (
	errLacksBody = errors.New("the body is not stored")
	errGone      = errors.New("the message is gone")
)

// searcher is one Search.
type searcher struct {
	m       *selected
	ctx     context.Context // of the Search, for content: search.Content has no place for one
	program *search.Program
	view    *mailbox.View
	turn    *turn
	batch   batch
	found   []uint32 // sequence numbers, not in order
	modSeq  mailbox.ModSeq

	candidate search.Candidate // used again for each message, as is content
	content   content
}

// Search implements Mailbox. The view's rows decide what they can; for the rest identities, headers and raw messages
// are read, in batches. Bodies that are not stored are fetched first: what cannot be looked at makes the search fail.
func (m *selected) Search(ctx context.Context, q *search.Query) (mailbox.Set, mailbox.ModSeq, error) {
	const op = "search"
	t, err := m.svc.gate.enter(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer t.leave()
	s := &searcher{
		m: m, ctx: ctx, program: search.Compile(q, m.svc.c.Clock.Now()), view: m.view.Load(), turn: t,
		batch: batch{m: m},
	}
	n := 0
	for seq, row := range s.view.Rows(s.view.All()) {
		if n++; n%256 == 0 {
			if err := t.tick(ctx); err != nil {
				return nil, 0, err
			}
		}
		s.candidate = search.Candidate{Row: row, Seq: seq, Recent: s.view.IsRecent(row.UID)}
		switch s.program.Quick(&s.candidate) {
		case search.Yes:
			s.hit(seq, row)
		case search.Unknown:
			s.batch.items = append(s.batch.items, item{seq: seq, row: row})
			if len(s.batch.items) == batchRows {
				if err := s.flush(); err != nil {
					return nil, 0, fault.Wrap(op, err)
				}
			}
		}
	}
	if err := s.flush(); err != nil {
		return nil, 0, fault.Wrap(op, err)
	}
	return mailbox.SetOf(s.found...), s.modSeq, nil
}

func (s *searcher) hit(seq uint32, row mailbox.Row) {
	s.found = append(s.found, seq)
	s.modSeq = max(s.modSeq, row.ModSeq)
}

// flush decides the batch and empties it.
func (s *searcher) flush() error {
	items := s.batch.items
	needs := s.program.Needs()
	if needs&search.NeedIdentity != 0 && len(items) > 0 {
		if err := s.batch.identify(s.ctx, items); err != nil {
			return err
		}
	}
	var want metadata.Want
	if needs&search.NeedHeaders != 0 {
		want = metadata.WantHeaders
	}
	for len(items) > 0 {
		n, err := len(items), error(nil)
		if needs&(search.NeedHeaders|search.NeedBytes) != 0 {
			if n, err = s.batch.read(s.ctx, items, want); err != nil {
				return err
			}
		}
		if err := s.decide(items[:n]); err != nil {
			return err
		}
		if n, err = s.complete(items[:n], want); err != nil {
			return err
		}
		items = items[n:]
	}
	s.batch.items = s.batch.items[:0]
	return nil
}

// complete fetches bodies that items wait for and decides them. It returns how many of the items are decided now.
func (s *searcher) complete(items []item, want metadata.Want) (int, error) {
	s.turn.leave() // others may compute while this one waits for the upstream
	n, asked, err := s.batch.supply(s.ctx, items)
	if err != nil {
		return 0, err
	}
	if err := s.turn.enter(s.ctx); err != nil || asked == 0 {
		return n, err
	}
	if n, err = s.batch.read(s.ctx, items[:n], want); err != nil {
		return 0, err
	}
	if err := s.decide(items[:n]); err != nil {
		return 0, err
	}
	switch still, err := s.batch.lacking(s.ctx, items[:n]); {
	case err != nil:
		return 0, err
	case len(still) > 0:
		return 0, errNoBody
	}
	return n, nil
}

// decide evaluates the query on the items that are not done. Those that would need a body that is not stored stay so.
func (s *searcher) decide(items []item) error {
	for i := range items {
		it := &items[i]
		if it.done {
			continue
		}
		if err := s.turn.tick(s.ctx); err != nil {
			return err
		}
		s.content = content{s: s, it: it}
		s.candidate = search.Candidate{
			Row: it.row, Seq: it.seq, Recent: s.view.IsRecent(it.row.UID), Content: &s.content,
		}
		ok, err := s.program.Match(&s.candidate)
		s.content.close()
		switch {
		case errors.Is(err, errLacksBody):
			continue
		case errors.Is(err, errGone):
		case err != nil:
			return err
		case ok:
			s.hit(it.seq, it.row)
		}
		it.done = true
	}
	return nil
}

// content is an item as search asks about it.
type content struct {
	s      *searcher
	it     *item
	opened Bytes
}

// Identity implements search.Content.
func (c *content) Identity() (search.Identity, error) {
	if !c.it.exists {
		return search.Identity{}, errGone
	}
	id := &c.it.identity
	return search.Identity{Email: id.EmailID, Thread: id.ThreadID, Saved: id.Saved}, nil
}

// Headers implements search.Content.
func (c *content) Headers() ([]byte, error) {
	if !c.it.stored {
		return nil, errLacksBody
	}
	return c.it.Headers, nil
}

// Open implements search.Content.
func (c *content) Open() (io.ReaderAt, int64, error) {
	if !c.it.stored {
		return nil, 0, errLacksBody
	}
	if c.opened == nil {
		b, err := c.s.m.openBlob(c.s.ctx, c.it.row.UID, c.it.blob)
		if err != nil {
			return nil, 0, err
		}
		c.opened = b
	}
	return c.opened, c.opened.Size(), nil
}

func (c *content) close() {
	if c.opened != nil {
		// Reading is over: an error in closing changes nothing.
		_ = c.opened.Close()
	}
}
