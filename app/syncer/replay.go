package syncer

import (
	"context"
	"errors"
	"sync"

	"imapped/app/replay"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/nodes"
	"imapped/ports/upstream"
)

// Changed says that a client changed something in an account, which is to be carried out upstream. It never blocks.
func (m *Manager) Changed(acc account.ID) {
	r, err := m.runner(acc)
	if err != nil { // whoever owns the account next looks by itself
		m.call(nodes.Call{What: nodes.Queue, Account: acc})
		return
	}
	r.owner.replay.Wake()
}

// replaying carries out an account's queue, by a goroutine that lives only while there is something to do, or to wait for.
type replaying struct {
	*replay.Replayer
	o *owner

	mu      sync.Mutex
	ctx     context.Context // of begin; nil before it, and after end
	lost    context.CancelFunc
	running bool
	wg      sync.WaitGroup

	place *place // of its connection; nil: none. It belongs to the goroutine
}

func newReplay(o *owner) *replaying {
	return &replaying{o: o, Replayer: replay.New(replay.Ports{
		Queue: o.m.Queue, Edits: o.m.Edits, Mirror: o.m.Mirror, Blobs: o.blobs, Clock: o.m.Clock, Log: o.log,
	}, replay.Config{
		Delay: o.m.cfg.Delay, Grace: o.m.cfg.Grace, Linger: o.m.cfg.Linger, RetryMin: o.m.cfg.RetryMin, RetryMax: o.m.cfg.RetryMax,
	}, replayHost{o}, o.fence)}
}

// begin looks at the queue, now and whenever it is woken, until ctx is done; end has to be called then. It calls lost when
// the lease is.
func (p *replaying) begin(ctx context.Context, lost context.CancelFunc) {
	p.mu.Lock()
	p.ctx, p.lost = ctx, lost
	p.mu.Unlock()
	p.Wake()
}

func (p *replaying) end() {
	p.mu.Lock()
	p.ctx = nil
	p.mu.Unlock()
	p.wg.Wait()
}

// Wake is Replayer.Wake.
func (p *replaying) Wake() {
	p.Replayer.Wake()
	p.attend()
}

// Resume is Replayer.Resume.
func (p *replaying) Resume() {
	p.Replayer.Resume()
	p.attend()
}

// Idle says whether nothing is being carried out now.
func (p *replaying) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.running || p.Replayer.Idle()
}

// attend sees to it that the goroutine runs.
func (p *replaying) attend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.running {
		return
	}
	p.running = true
	ctx, lost := p.ctx, p.lost
	p.wg.Go(func() {
		for {
			p.run(ctx, lost)
			// Who wakes it from now on finds that it does not run.
			p.mu.Lock()
			p.running = ctx.Err() == nil && p.Woken()
			over := !p.running
			p.mu.Unlock()
			if over {
				return
			}
		}
	})
}

func (p *replaying) run(ctx context.Context, lost context.CancelFunc) {
	for ctx.Err() == nil {
		err := p.Run(ctx)
		if err == nil {
			return
		}
		if p.o.lostLease(ctx) {
			lost()
			return
		}
		p.o.log.Warn("replay", "error", err)
		p.o.pause(ctx, p.o.m.cfg.RetryMax, false)
	}
}

// replayHost is what replay gets of the owner.
type replayHost struct{ o *owner }

// Enter implements replay.Host.
func (h replayHost) Enter(ctx context.Context) (err error) {
	if p := h.o.replay; p.place == nil {
		p.place, err = h.o.places.take(ctx, p.Replayer.Wake)
	}
	return err
}

// Wanted implements replay.Host.
func (h replayHost) Wanted() bool { return h.o.replay.place.wanted() }

// Leave implements replay.Host.
func (h replayHost) Leave() {
	h.o.replay.place.leave()
	h.o.replay.place = nil
}

// Dial implements replay.Host.
func (h replayHost) Dial(ctx context.Context) (replay.Conn, error) {
	l, err := h.o.connect(ctx)
	var step *upstream.StepError
	if errors.As(err, &step) && fault.Is(err, fault.Unavailable) && (step.Step == upstream.StepGreeting || step.Step == upstream.StepLogin) {
		// It may allow no more connections: changes matter more than hearing of news at once.
		h.o.note(func() { h.o.crowded = min(h.o.crowded+1, h.o.m.cfg.Push) })
		h.o.reconsider()
	}
	if err != nil {
		return nil, err
	}
	down := false
	if h.o.note(func() { down = h.o.status.State == account.StateBackoff }); down {
		h.o.wake() // the upstream is back
	}
	return replayConn{l, h.o}, nil
}

// Turn implements replay.Host.
func (h replayHost) Turn(ctx context.Context, id mailbox.ID) (func(), error) {
	return (&box{turn: h.o.turn(id)}).take(ctx)
}

// TryTurn implements replay.Host.
func (h replayHost) TryTurn(id mailbox.ID) (func(), bool) {
	return (&box{turn: h.o.turn(id)}).try()
}

// Placed implements replay.Host.
func (h replayHost) Placed(id mailbox.ID) {
	h.o.note(func() {
		if b := h.o.boxes[id]; b != nil {
			b.placed = true
		}
	})
}

// Look implements replay.Host.
func (h replayHost) Look(id mailbox.ID) { h.look(id, false) }

// Compare implements replay.Host.
func (h replayHost) Compare(id mailbox.ID) { h.look(id, true) }

func (h replayHost) look(id mailbox.ID, full bool) {
	h.o.note(func() {
		if b := h.o.boxes[id]; b != nil {
			b.due, b.full = true, b.full || full
		} else {
			h.o.relist = true
		}
	})
	h.o.wake()
}

// Changed implements replay.Host.
func (h replayHost) Changed(id mailbox.ID, seq mailbox.ModSeq) { h.o.hint(id, seq) }

// replayConn is a connection as replay uses it.
type replayConn struct {
	l *link
	o *owner
}

// Server implements replay.Conn.
func (c replayConn) Server() upstream.Server { return c.l.server }

// Do implements replay.Conn.
func (c replayConn) Do(ctx context.Context, cmds ...upstream.Command) error {
	if err := c.o.guard(ctx); err != nil {
		return refuse(err, cmds)
	}
	err := c.l.do(ctx, cmds...)
	if late := c.o.held(); late != nil {
		// What was sent may have been sent too late. What became of it is recorded only if the lease is still held.
		c.o.log.Warn("the lease ran out while changes were being sent", "error", late)
	}
	return err
}

// Held implements replay.Conn.
func (c replayConn) Held() error { return c.o.held() }

// Touch implements replay.Conn.
func (c replayConn) Touch() { c.l.touch() }

// Close implements replay.Conn.
func (c replayConn) Close() error {
	err := c.l.Close()
	c.o.note(func() { c.o.crowded = 0 })
	c.o.reconsider()
	return err
}
