package syncer_test

import (
	"context"
	"sync"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// mortal is a process that dies at a call of the store: that call, before or after its effect, and all after it fail.
type mortal struct {
	mu    sync.Mutex
	left  int // calls until then; negative: it does not
	after bool
}

// at makes the process die at the n-th call from now; after says whether that call still has its effect.
func (m *mortal) at(n int, after bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.after = n, after
}

func (m *mortal) never() { m.at(-1, false) }

func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left == 0
}

var errDied = fault.New(fault.Unavailable, "store", "the process has died")

// call makes a call, unless the process is dead.
func (m *mortal) call(fn func() error) error {
	m.mu.Lock()
	last := m.left == 1
	dead := m.left == 0 || last && !m.after
	if m.left > 0 {
		m.left--
	}
	m.mu.Unlock()
	if dead {
		return errDied
	}
	if err := fn(); err != nil {
		return err
	}
	if last {
		return errDied
	}
	return nil
}

type mortalQueue struct {
	metadata.Queue
	m *mortal
}

func (q mortalQueue) Mutations(ctx context.Context, acc account.ID, after mutation.ID, limit int) (out []metadata.Queued, err error) {
	err = q.m.call(func() error {
		out, err = q.Queue.Mutations(ctx, acc, after, limit)
		return err
	})
	return out, err
}

func (q mortalQueue) Intend(ctx context.Context, f metadata.Fence, in []metadata.Intended) (out []mutation.ID, err error) {
	err = q.m.call(func() error {
		out, err = q.Queue.Intend(ctx, f, in)
		return err
	})
	return out, err
}

func (q mortalQueue) Settle(ctx context.Context, f metadata.Fence, now time.Time, in []metadata.Outcome) (out []metadata.Applied, err error) {
	err = q.m.call(func() error {
		out, err = q.Queue.Settle(ctx, f, now, in)
		return err
	})
	return out, err
}

type mortalEdits struct {
	metadata.Edits
	m *mortal
}

func (e mortalEdits) EditFlags(ctx context.Context, acc account.ID, in metadata.FlagEdit) (out metadata.FlagsEdited, err error) {
	err = e.m.call(func() error {
		out, err = e.Edits.EditFlags(ctx, acc, in)
		return err
	})
	return out, err
}

type mortalMirror struct {
	metadata.Mirror
	m *mortal
}

func (r mortalMirror) Mirrored(ctx context.Context, acc account.ID) (out []metadata.Mirrored, err error) {
	err = r.m.call(func() error {
		out, err = r.Mirror.Mirrored(ctx, acc)
		return err
	})
	return out, err
}

func (r mortalMirror) SaveMailbox(ctx context.Context, f metadata.Fence, in metadata.Mirrored) (out metadata.Mirrored, err error) {
	err = r.m.call(func() error {
		out, err = r.Mirror.SaveMailbox(ctx, f, in)
		return err
	})
	return out, err
}

func (r mortalMirror) RemoveMailbox(ctx context.Context, f metadata.Fence, id mailbox.ID) error {
	return r.m.call(func() error { return r.Mirror.RemoveMailbox(ctx, f, id) })
}

func (r mortalMirror) UpstreamRows(ctx context.Context, acc account.ID, id mailbox.ID, fn func(metadata.UpstreamRow) error) error {
	return r.m.call(func() error { return r.Mirror.UpstreamRows(ctx, acc, id, fn) })
}

func (r mortalMirror) Apply(ctx context.Context, f metadata.Fence, in metadata.Update) (out metadata.Applied, err error) {
	err = r.m.call(func() error {
		out, err = r.Mirror.Apply(ctx, f, in)
		return err
	})
	return out, err
}
