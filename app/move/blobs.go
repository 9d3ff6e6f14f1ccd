package move

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/transfer"
)

const (
	// group is how many messages a worker is given at a time.
	group = 64
	// small is up to which size a blob is held in memory, and together how much of a group: with one wait for durability.
	small    = 1 << 20
	together = 4 << 20
	// suspicious is how many blobs must be missing, all others too, to say that it is the wrong store that was looked into.
	suspicious = 10
)

// copyBlobs copies the blobs that the target lacks, and finds those that the source has lost.
func (m *mover) copyBlobs(ctx context.Context) error {
	total, err := m.count(ctx, func(t transfer.Table) bool { return t.Name == "contents" || t.Name == "retained" })
	if err != nil {
		return err
	}
	m.begin(Messages, total)
	g, ctx := errgroup.WithContext(ctx)
	groups := make(chan []transfer.Body)
	g.Go(func() error {
		defer close(groups)
		var next []transfer.Body
		give := func() error {
			if len(next) == 0 {
				return nil
			}
			select {
			case groups <- next:
				next = nil
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := m.Bodies.Bodies(ctx, func(b transfer.Body) error {
			if len(next) == group || len(next) > 0 && m.users[next[0].Account] != m.users[b.Account] {
				if err := give(); err != nil {
					return err
				}
			}
			next = append(next, b)
			return nil
		}); err != nil {
			return err
		}
		return give()
	})
	for range m.Workers {
		g.Go(func() error {
			for bodies := range groups {
				if err := m.copyGroup(ctx, bodies); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	m.sortLost()
	if len(m.report.Lost) >= suspicious && m.report.Copied == 0 && m.report.Present == 0 {
		return fault.New(fault.NotFound, "copy the messages", "not one of them was found: is it the right place that they are looked for in?")
	}
	return nil
}

// sortLost puts the lost ones in order. A store may have set a damaged blob aside when it was read: for the next message that
// names it, it was missing.
func (m *mover) sortLost() {
	damaged := map[blob.Key]bool{}
	for _, l := range m.report.Lost {
		damaged[l.Blob] = damaged[l.Blob] || l.Damaged
	}
	for i, l := range m.report.Lost {
		m.report.Lost[i].Damaged = damaged[l.Blob]
	}
	slices.SortFunc(m.report.Lost, func(a, b Lost) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.UID, b.UID),
			bytes.Compare(a.Blob[:], b.Blob[:]))
	})
}

// copyGroup copies the blobs of a few messages of one user.
func (m *mover) copyGroup(ctx context.Context, bodies []transfer.Body) error {
	names := map[blob.Key][]transfer.Body{}
	p := pile{to: blob.Of(m.To, m.users[bodies[0].Account])}
	present := int64(0)
	for _, b := range bodies {
		if names[b.Blob] = append(names[b.Blob], b); len(names[b.Blob]) > 1 {
			continue
		}
		there, err := has(ctx, p.to, b.Blob)
		if err != nil {
			return err
		}
		if there {
			present++
			continue
		}
		if err := p.add(ctx, m.From, b.Blob); err != nil {
			return fault.Wrap("copy the blob "+b.Blob.String(), err)
		}
	}
	if err := p.put(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	for _, lost := range p.lost {
		for _, b := range names[lost.Blob] {
			m.report.Lost = append(m.report.Lost, Lost{b, lost.Damaged})
		}
	}
	m.report.Present, m.report.Copied, m.report.Bytes = m.report.Present+present, m.report.Copied+p.copied, m.report.Bytes+p.bytes
	m.mu.Unlock()
	m.advance(int64(len(bodies)), p.bytes)
	return nil
}

// has says whether a store has a blob that is not damaged. It is read to its end: a store may check a large one only then.
func has(ctx context.Context, s blob.Store, key blob.Key) (bool, error) {
	b, err := s.Open(ctx, key)
	if err == nil {
		_, err = io.Copy(io.Discard, &source{ctx: ctx, r: io.NewSectionReader(b, 0, b.Size())})
		err = errors.Join(err, b.Close())
	}
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Corrupt) {
		return false, nil
	}
	return err == nil, err
}

// pile is blobs that are stored together.
type pile struct {
	to     blob.Store
	keys   []blob.Key
	blobs  [][]byte
	size   int
	copied int64
	bytes  int64
	lost   []Lost // of which only Blob and Damaged are known
}

// add copies a blob, now or with the next put.
func (p *pile) add(ctx context.Context, from blob.Store, key blob.Key) error {
	b, err := from.Open(ctx, key)
	if p.misses(key, err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // only read
	if b.Size() > small {
		return p.stream(ctx, key, b)
	}
	data := make([]byte, b.Size())
	if _, err := b.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		if p.misses(key, err) {
			return nil
		}
		return err
	}
	if sha256.Sum256(data) != key {
		p.lost = append(p.lost, lostBlob(key, true))
		return nil
	}
	p.keys, p.blobs, p.size = append(p.keys, key), append(p.blobs, data), p.size+len(data)
	if p.size >= together {
		return p.put(ctx)
	}
	return nil
}

// misses says whether err means that the source does not have the blob, and notes it then.
func (p *pile) misses(key blob.Key, err error) bool {
	damaged := fault.Is(err, fault.Corrupt)
	if !damaged && !fault.Is(err, fault.NotFound) {
		return false
	}
	p.lost = append(p.lost, lostBlob(key, damaged))
	return true
}

func lostBlob(key blob.Key, damaged bool) Lost {
	return Lost{transfer.Body{Blob: key}, damaged}
}

// stream copies a large blob.
func (p *pile) stream(ctx context.Context, key blob.Key, b blob.Blob) error {
	w, err := p.to.Create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }() // after a Commit there is nothing to do about a failure, without one it is given up
	h := sha256.New()
	src := &source{ctx: ctx, r: io.NewSectionReader(b, 0, b.Size())}
	if _, err := io.Copy(io.MultiWriter(w, h), src); err != nil {
		if src.err != nil && p.misses(key, src.err) {
			return nil
		}
		return err
	}
	if blob.Key(h.Sum(nil)) != key {
		p.lost = append(p.lost, lostBlob(key, true))
		return nil
	}
	if _, err := w.Commit(ctx); err != nil {
		return err
	}
	p.copied, p.bytes = p.copied+1, p.bytes+b.Size()
	return nil
}

// source reads until ctx ends, and keeps its own error apart from the writer's.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// put stores what is there.
func (p *pile) put(ctx context.Context) error {
	if len(p.blobs) == 0 {
		return nil
	}
	keys, err := p.to.Put(ctx, p.blobs...)
	if err != nil {
		return err
	}
	if !slices.Equal(keys, p.keys) {
		return fault.New(fault.Internal, "store blobs", "they were stored under other keys")
	}
	p.copied, p.bytes = p.copied+int64(len(keys)), p.bytes+int64(p.size)
	p.keys, p.blobs, p.size = nil, nil, 0
	return nil
}
