package syncer

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"imapped/app/session"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/blob"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// demand gets the bodies that somebody waits for, on a connection of its own, ahead of everything else. A goroutine serves
// it only while there is something to do, and while its connection is kept for more.
type demand struct {
	o  *owner
	wg sync.WaitGroup

	mu      sync.Mutex
	ctx     context.Context // of begin
	flights map[flightKey]*flight
	queue   []*flight     // not taken yet
	wake    chan struct{} // capacity 1
	serving bool
	closed  bool
}

type flightKey struct {
	box mailbox.ID
	uid mailbox.UID
}

func newDemand(o *owner) *demand {
	return &demand{o: o, flights: map[flightKey]*flight{}, wake: make(chan struct{}, 1)}
}

// begin lets it serve until ctx is done; end has to be called then.
func (d *demand) begin(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = ctx
	d.attend()
}

// attend sees to it that somebody serves what waits; d.mu is held.
func (d *demand) attend() {
	if d.serving || d.ctx == nil || d.closed || len(d.queue) == 0 {
		return
	}
	d.serving = true
	ctx := d.ctx
	d.wg.Go(func() { d.serve(ctx) })
}

// nudge makes who serves look at what waits, and whether somebody waits for its connection's place.
func (d *demand) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// join returns the flight of a body, a new one when there is none.
func (d *demand) join(id mailbox.ID, uid mailbox.UID, stream bool) (*flight, error) {
	const op = "fetch body from the upstream"
	var status account.Status
	if d.o.note(func() { status = d.o.status }); status.State == account.StateAuthFail {
		return nil, fault.New(fault.Unavailable, op, status.Text)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fault.New(fault.Unavailable, op, "stopping")
	}
	key := flightKey{id, uid}
	f := d.flights[key]
	if f == nil {
		f = newFlight(key)
		d.flights[key] = f
		d.queue = append(d.queue, f)
		d.nudge()
		d.attend()
	}
	if stream {
		f.attach()
	}
	return f, nil
}

// size is how many bodies somebody waits for.
func (d *demand) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.flights)
}

// has says whether the body is coming on demand.
func (d *demand) has(id mailbox.ID, uid mailbox.UID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flights[flightKey{id, uid}] != nil
}

// fetch implements Manager.Fetch.
func (d *demand) fetch(ctx context.Context, id mailbox.ID, uids []mailbox.UID) error {
	var flights []*flight
	for _, uid := range uids {
		f, err := d.join(id, uid, false)
		if err != nil {
			return err
		}
		flights = append(flights, f)
	}
	var first error
	for _, f := range flights {
		if err := f.wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// stream implements Manager.Stream.
func (d *demand) stream(ctx context.Context, id mailbox.ID, uid mailbox.UID) (session.Bytes, error) {
	f, err := d.join(id, uid, true)
	if err != nil {
		return nil, err
	}
	streaming, err := f.sized(ctx)
	if err != nil || !streaming {
		f.detach()
		if err != nil {
			return nil, err
		}
		return d.o.m.stored(ctx, d.o.account, id, uid)
	}
	return &reader{f: f}, nil
}

// stored opens a body that is stored.
func (m *Manager) stored(ctx context.Context, a account.Account, id mailbox.ID, uid mailbox.UID) (session.Bytes, error) {
	var found *metadata.Content
	err := m.Messages.Contents(ctx, a.ID, id, mailbox.SetOf(uid), 0, func(c *metadata.Content) error {
		found = &metadata.Content{Blob: c.Blob}
		return nil
	})
	switch {
	case err != nil:
		return nil, fault.Wrap("open body", err)
	case found == nil:
		return nil, fault.New(fault.NotFound, "open body", "the message is gone")
	}
	b, err := blob.Of(m.Blobs, a.User).Open(ctx, found.Blob)
	return b, fault.Wrap("open body", err)
}

// serve gets what is asked for until ctx is done, or nothing was for a while.
func (d *demand) serve(ctx context.Context) {
	var l *link
	defer func() {
		if l != nil {
			_ = l.Close()
		}
	}()
	linger := time.NewTimer(d.o.m.cfg.Linger)
	defer linger.Stop()
	for {
		if l != nil && l.place.wanted() {
			_ = l.Close()
			l = nil
		}
		if flights := d.take(); len(flights) > 0 {
			l = d.get(ctx, d.o, l, flights)
			linger.Reset(d.o.m.cfg.Linger)
			continue
		}
		select {
		case <-ctx.Done():
			d.fail(fault.New(fault.Unavailable, "fetch body from the upstream", "stopping"))
			return
		case <-d.wake:
		case <-linger.C:
			d.mu.Lock()
			done := len(d.queue) == 0
			d.serving = !done
			d.mu.Unlock()
			if done {
				return
			}
		}
	}
}

// takeMost is how many bodies are asked for in one go.
const takeMost = 200

// take takes what waits for the mailbox that was asked for first.
func (d *demand) take() []*flight {
	d.mu.Lock()
	defer d.mu.Unlock()
	var taken, rest []*flight
	for _, f := range d.queue {
		if len(taken) < takeMost && (len(taken) == 0 || taken[0].key.box == f.key.box) {
			taken = append(taken, f)
		} else {
			rest = append(rest, f)
		}
	}
	d.queue = rest
	return taken
}

// finish ends a flight: its body is stored, or err says why not.
func (d *demand) finish(f *flight, err error) {
	d.mu.Lock()
	delete(d.flights, f.key)
	d.mu.Unlock()
	f.end(err)
}

// fail ends everything that waits.
func (d *demand) fail(err error) {
	d.mu.Lock()
	queue := d.queue
	d.queue = nil
	d.mu.Unlock()
	for _, f := range queue {
		d.finish(f, err)
	}
}

// end refuses everything from now on, and waits for who serves. The context of begin is done.
func (d *demand) end() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.fail(fault.New(fault.Unavailable, "fetch body from the upstream", "stopping"))
	d.wg.Wait()
}

// getAttempts is how many connections in a row may break without a byte of what somebody waits for.
const getAttempts = 4

// get fetches the flights' bodies, all of one mailbox, and returns the connection for the next ones (nil when it
// broke).
func (d *demand) get(ctx context.Context, o *owner, l *link, flights []*flight) *link {
	const op = "fetch body from the upstream"
	var last error
	for attempt := 0; attempt < getAttempts && ctx.Err() == nil; attempt++ {
		var err error
		if flights, err = d.resolve(ctx, o, flights); err != nil || len(flights) == 0 {
			last = err
			break
		}
		if l == nil {
			if l, err = o.dial(ctx, o.places, d.nudge); err != nil {
				last = err
				break
			}
		}
		var progress bool
		if progress, err = d.ask(ctx, o, l, flights); err == nil {
			flights = slices.DeleteFunc(flights, func(f *flight) bool { return f.landed() })
			for _, f := range flights {
				d.finish(f, fault.New(fault.Unavailable, op, f.why))
			}
			return l
		}
		last = err
		_ = l.Close()
		l = nil
		if progress {
			attempt = 0
		}
		flights = slices.DeleteFunc(flights, func(f *flight) bool { return f.landed() })
	}
	last = cmp.Or(last, ctx.Err())
	for _, f := range flights {
		if !f.landed() {
			d.finish(f, fault.As(fault.Unavailable, op, last))
		}
	}
	return l
}

// distant is after every retry time.
const distant = 100 * 365 * 24 * time.Hour

// resolve finds the flights' upstream UIDs and ends those that need no fetching.
func (d *demand) resolve(ctx context.Context, o *owner, flights []*flight) ([]*flight, error) {
	id := flights[0].key.box
	pending, validity, err := o.pending(ctx, id, o.m.Clock.Now().Add(distant))
	if err != nil {
		return flights, err
	}
	var left []*flight
	for _, f := range flights {
		i := slices.IndexFunc(pending, func(p metadata.PendingBody) bool { return p.UID == f.key.uid })
		switch {
		case f.landed():
		case i < 0:
			b, err := o.m.stored(ctx, o.account, id, f.key.uid)
			if err == nil {
				_ = b.Close()
			}
			d.finish(f, err)
		case pending[i].Upstream == 0:
			d.finish(f, fault.New(fault.Unavailable, "fetch body from the upstream", "the upstream does not have the message"))
		case f.have() > 0 && (validity != f.validity || pending[i].Upstream != f.want.Upstream):
			d.finish(f, errStale)
		default:
			f.want, f.validity, f.why = mirror.Body(pending[i]), validity, "it gave no body"
			left = append(left, f)
		}
	}
	return left, nil
}

// ask sends the commands for the flights and takes what comes. It fails when the connection broke; progress says
// whether anything came.
func (d *demand) ask(ctx context.Context, o *owner, l *link, flights []*flight) (progress bool, err error) {
	b := o.box(flights[0].key.box)
	if o.guest || b == nil { // nobody else keeps the list of mailboxes up to date
		if _, err := o.loadBoxes(ctx); err != nil {
			return false, err
		}
		b = o.box(flights[0].key.box)
	}
	if b == nil {
		return false, fault.New(fault.NotFound, "open", "the mailbox is gone")
	}
	open, cmds := l.open(b)
	byUID := map[uint32]*flight{}
	var fetches []*upstream.Fetch
	send := func(f upstream.Fetch) {
		f.Items = upstream.ItemBody
		f.OnMessage = func(m upstream.Message) error {
			l.touch()
			fl := byUID[m.UID]
			if fl == nil || m.Body == nil || fl.landed() {
				return nil
			}
			if open.Err != nil || open.UIDValidity != fl.validity {
				return errStale
			}
			progress = true
			return d.receive(ctx, o, l, fl, m)
		}
		fetches = append(fetches, &f)
		cmds = append(cmds, fetches[len(fetches)-1])
	}
	var small []mirror.Body
	for _, f := range flights {
		byUID[f.want.Upstream] = f
		if f.streaming() || f.want.Size > maxWhole {
			send(upstream.Fetch{UIDs: mailbox.SetOf(f.want.Upstream), Offset: f.have()})
		} else {
			small = append(small, f.want)
		}
	}
	for batch := range mirror.Batches(small, batchBytes, batchBodies) {
		var uids []uint32
		for _, w := range batch {
			uids = append(uids, w.Upstream)
		}
		send(upstream.Fetch{UIDs: mailbox.SetOf(uids...)})
	}
	if err := l.do(ctx, cmds...); err != nil {
		return progress, err
	}
	if open.Err != nil {
		l.forget()
		for _, f := range flights {
			f.why = open.Err.Error()
		}
		return progress, nil
	}
	if open.UIDValidity != flights[0].validity {
		l.forget()
	}
	for _, f := range fetches {
		if f.Err != nil {
			for _, fl := range flights {
				if f.UIDs.Contains(fl.want.Upstream) {
					fl.why = f.Err.Error()
				}
			}
		}
	}
	return progress, nil
}

// receive takes one body that arrives for a flight.
func (d *demand) receive(ctx context.Context, o *owner, l *link, f *flight, m upstream.Message) error {
	if m.BodySize == 0 && f.want.Size > 0 && f.have() == 0 {
		return nil
	}
	var a *arrival
	if f.streaming() || m.BodySize > maxWhole || f.have() > 0 {
		if err := f.copy(ctx, o, l, m); err != nil {
			return err
		}
		a = &arrival{w: f.w, size: f.size}
	} else {
		var err error
		if a, err = o.receive(ctx, l, m.Body, m.BodySize); err != nil {
			return err
		}
	}
	a.box, a.uid, a.claimed = f.key.box, f.key.uid, f.want.Size
	a.done = func(err error) { d.finish(f, err) }
	f.land()
	o.store.put(ctx, a)
	return nil
}
