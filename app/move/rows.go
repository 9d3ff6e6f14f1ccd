package move

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/transfer"
)

func hidden(t transfer.Table) bool { return !t.Last }

// copyRows copies the tables that nobody sees yet, from where an earlier attempt ended.
func (m *mover) copyRows(ctx context.Context, at transfer.Progress) error {
	total, err := m.count(ctx, hidden)
	if err != nil {
		return err
	}
	m.begin(Metadata, total)
	all := slices.DeleteFunc(slices.Clone(m.Source.Tables()), func(t transfer.Table) bool { return t.Last })
	first := 0
	if at.Table != "" {
		if first = slices.IndexFunc(all, func(t transfer.Table) bool { return t.Name == at.Table }); first < 0 {
			return fault.New(fault.Internal, "", "the move was begun by another version of this program: begin it anew, with an empty database")
		}
	}
	for i, t := range all {
		switch from := at.Next; {
		case i < first:
			n, err := m.Source.Count(ctx, t.Name)
			if err != nil {
				return err
			}
			m.advance(n, 0)
		default:
			if i > first {
				from = nil
			}
			if err := m.copyTable(ctx, t.Name, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyTable copies one table. While a batch is written the next one is read.
func (m *mover) copyTable(ctx context.Context, table string, from transfer.Position) error {
	g, ctx := errgroup.WithContext(ctx)
	read := make(chan transfer.Batch)
	g.Go(func() error {
		defer close(read)
		return m.each(ctx, table, from, func(b transfer.Batch) error {
			select {
			case read <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	g.Go(func() error {
		for b := range read {
			if err := m.Sink.Write(ctx, b); err != nil {
				return err
			}
			m.advance(int64(len(b.Rows)), 0)
		}
		return nil
	})
	return g.Wait()
}

// each calls fn for the batches of a table of the source.
func (m *mover) each(ctx context.Context, table string, from transfer.Position, fn func(transfer.Batch) error) error {
	for {
		b, err := m.Source.Read(ctx, table, from, m.Rows, m.Bytes)
		if err != nil || len(b.Rows) == 0 {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
		from = b.Next
	}
}

// digest is rows, in any order: how many, and the sum of their hashes, which are taken as four numbers each.
type digest struct {
	rows int64
	sum  [4]uint64
}

func (d digest) with(row []any) digest {
	d.rows++
	h := transfer.Hash(row)
	for i := range d.sum {
		d.sum[i] += binary.BigEndian.Uint64(h[8*i:])
	}
	return d
}

// digests is the digests of a table's rows, by account; 0 for rows that belong to none.
type digests map[account.ID]digest

// adder returns what adds a row of the table.
func (d digests) adder(t transfer.Table) func(row []any) {
	name := "account_id"
	if t.Name == "accounts" {
		name = "id"
	}
	i := slices.Index(t.Columns, name)
	return func(row []any) {
		var id int64
		if i >= 0 {
			id, _ = row[i].(int64)
		}
		d[account.ID(id)] = d[account.ID(id)].with(row)
	}
}

// differing returns the accounts whose rows are not equal.
func differing(a, b digests) []account.ID {
	var ids []account.ID
	for _, d := range []digests{a, b} {
		for id := range d {
			if a[id] != b[id] && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// comparison is what both sides turned out to hold.
type comparison struct {
	tables map[string]digests // as the source has them
	wrong  []string           // what is not equal
}

// add notes what both have of a table.
func (c *comparison) add(t transfer.Table, here, there digests) {
	c.tables[t.Name] = here
	for _, id := range differing(here, there) {
		c.wrong = append(c.wrong, fmt.Sprintf("%s of account %d (%d rows, %d here)", t.Name, id, there[id].rows, here[id].rows))
	}
}

// err is fault.Corrupt unless everything was equal.
func (c *comparison) err() error {
	if len(c.wrong) == 0 {
		return nil
	}
	const most = 10
	more := ""
	if n := len(c.wrong) - most; n > 0 {
		c.wrong, more = c.wrong[:most], fmt.Sprintf(", and %d more", n)
	}
	return fault.New(fault.Corrupt, "compare", "the copy is not equal to the original: "+strings.Join(c.wrong, ", ")+more)
}

// finish compares both sides, and shows everybody what was copied.
func (m *mover) finish(ctx context.Context) error {
	found := &comparison{tables: map[string]digests{}}
	total, err := m.count(ctx, hidden)
	if err != nil {
		return err
	}
	m.begin(Compare, total)
	for _, t := range m.Source.Tables() {
		if t.Last {
			continue
		}
		if err := m.compare(ctx, t, found); err != nil {
			return err
		}
	}
	err = found.err()
	if err == nil {
		err = m.show(ctx, found)
	}
	if fault.Is(err, fault.Corrupt) {
		if spoil := m.Sink.Spoil(context.WithoutCancel(ctx)); spoil != nil {
			return fault.New(fault.Corrupt, "", err.Error()+"; "+spoil.Error())
		}
	}
	if err == nil {
		m.report.Accounts = m.counted(found)
	}
	return err
}

// compare reads a table on both sides at once.
func (m *mover) compare(ctx context.Context, t transfer.Table, found *comparison) error {
	here, there := digests{}, digests{}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		add := here.adder(t)
		return m.each(ctx, t.Name, nil, func(b transfer.Batch) error {
			for _, row := range b.Rows {
				add(row)
			}
			m.advance(int64(len(b.Rows)), 0)
			return nil
		})
	})
	g.Go(func() error {
		add := there.adder(t)
		return m.Sink.Rows(ctx, t.Name, func(row []any) error {
			add(row)
			return nil
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	found.add(t, here, there)
	return nil
}

// show writes the tables that show the others, compares these too, and ends the transfer.
func (m *mover) show(ctx context.Context, found *comparison) error {
	e := transfer.End{Now: m.Clock.Now()}
	for _, l := range m.report.Lost {
		if l.Fetched() {
			e.Lost = append(e.Lost, l.Body)
		}
	}
	var err error
	if e.Sequences, err = m.Source.Sequences(ctx); err != nil {
		return err
	}
	if err := m.leave(); err != nil {
		return err
	}
	return m.Sink.Finish(ctx, e, func(w transfer.Writer) error {
		for _, t := range m.Source.Tables() {
			if !t.Last {
				continue
			}
			here, there := digests{}, digests{}
			add := here.adder(t)
			if err := m.each(ctx, t.Name, nil, func(b transfer.Batch) error {
				for _, row := range b.Rows {
					add(row)
				}
				return w.Write(ctx, b)
			}); err != nil {
				return err
			}
			add = there.adder(t)
			if err := w.Rows(ctx, t.Name, func(row []any) error {
				add(row)
				return nil
			}); err != nil {
				return err
			}
			found.add(t, here, there)
		}
		return found.err()
	})
}

// counted returns what was moved, by account.
func (m *mover) counted(found *comparison) []Account {
	known := map[account.ID]account.Account{}
	for _, a := range m.Accounts {
		known[a.ID] = a
	}
	var all []Account
	for _, id := range slices.Sorted(maps.Keys(found.tables["accounts"])) {
		rows := func(table string) int64 { return found.tables[table][id].rows }
		all = append(all, Account{
			Account: known[id], Mailboxes: rows("mailboxes"), Messages: rows("messages"), Bodies: rows("contents"),
			Mutations: rows("mutations"), Removed: rows("retained"),
		})
	}
	return all
}
