package syncer

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// A batch is one UID FETCH; a group of batches is sent in one flush. The next group is sent when the first answer of
// the one before arrives, so that between groupBatches and twice as many batches are under way and the pipe never
// drains; what arrives faster than it can be stored waits in the network (Config.Memory).
const (
	batchBytes   = 1 << 20
	batchBodies  = 100
	groupBatches = 6
)

// job is one batch of one mailbox.
type job struct {
	b        *box
	validity uint32 // the UIDVALIDITY in which the batch's UIDs mean something
	wanted   []mirror.Body
}

// bodies fetches every body that is missing and has an upstream UID from from on; those that failed before only when
// their time has come, or when somebody asked for a round.
func (o *owner) bodies(ctx context.Context, l *link, boxes []*box, from uint32, asked bool) error {
	at := o.m.Clock.Now()
	if asked {
		at = at.Add(distant)
	}
	infos, err := o.m.Mirror.Mirrored(ctx, o.account.ID)
	if err != nil {
		return fault.Wrap("read mailboxes", err)
	}
	missing := map[mailbox.ID]bool{}
	o.note(func() {
		for _, info := range infos {
			missing[info.ID] = info.Bodies < info.Messages
			if b := o.boxes[info.ID]; b != nil {
				b.bodies = info.Bodies
			}
		}
	})
	var failed error
	// What failed before comes last: it may break the connection again.
	jobs := func(yield func(job) bool) {
		var doubtful []job
		for _, b := range boxes {
			if !missing[b.id] {
				continue
			}
			js, err := o.jobs(ctx, b, from, at)
			if err != nil {
				failed = err
				return
			}
			for _, j := range js {
				if j.wanted[0].Attempts > 0 {
					doubtful = append(doubtful, j)
				} else if !yield(j) {
					return
				}
			}
		}
		for _, j := range doubtful {
			if !yield(j) {
				return
			}
		}
	}
	// What failed for the first time is asked for again at once, each message on its own.
	for range 3 {
		again, err := o.fetchAll(ctx, l, jobs)
		switch {
		case err != nil:
			return err
		case failed != nil || !again:
			return failed
		}
	}
	return nil
}

// lacksBodies says whether a message of the account had no body when its mailbox was looked at last.
func (o *owner) lacksBodies() (yes bool) {
	o.note(func() {
		for _, b := range o.order {
			yes = yes || b.info.Bodies < b.info.Messages
		}
	})
	return yes
}

// pending returns a mailbox's missing bodies that may be tried at the time, and the UIDVALIDITY to which their UIDs
// belong.
func (o *owner) pending(ctx context.Context, id mailbox.ID, at time.Time) ([]metadata.PendingBody, uint32, error) {
	validity := func() (uint32, error) {
		infos, err := o.m.Mirror.Mirrored(ctx, o.account.ID)
		if err != nil {
			return 0, fault.Wrap("read mailboxes", err)
		}
		for _, info := range infos {
			if info.ID == id {
				return info.Upstream.UIDValidity, nil
			}
		}
		return 0, fault.New(fault.NotFound, "read mailboxes", "the mailbox is gone")
	}
	for {
		before, err := validity()
		if err != nil {
			return nil, 0, err
		}
		ps, err := o.m.Bodies.Pending(ctx, o.account.ID, id, at)
		if err != nil {
			return nil, 0, fault.Wrap("read missing bodies", err)
		}
		after, err := validity()
		if err != nil || before == after {
			return ps, after, err
		}
	}
}

// jobs cuts a mailbox's missing bodies into batches, newest first.
func (o *owner) jobs(ctx context.Context, b *box, from uint32, at time.Time) ([]job, error) {
	pending, validity, err := o.pending(ctx, b.id, at)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var size int64
	bodies := make([]mirror.Body, 0, len(pending))
	for _, p := range pending {
		if p.Upstream >= max(from, 1) {
			bodies = append(bodies, mirror.Body(p))
			size += p.Size
		}
	}
	if from == 0 {
		o.note(func() { b.pending, b.came = size, 0 })
	}
	var js []job
	for batch := range mirror.Batches(bodies, batchBytes, batchBodies) {
		js = append(js, job{b, validity, batch})
	}
	return js, nil
}

// lane fetches jobs over one connection.
type lane struct {
	o      *owner
	l      *link
	stored sync.WaitGroup // arrivals that the store has not finished

	mu     sync.Mutex
	failed error // the first error of the store
	again  bool  // something is to be tried once more at once
	stale  bool  // a selection turned out to be worthless
}

// fetchAll fetches the jobs and returns when everything that came is stored. again says that something failed that may
// be tried again at once.
func (o *owner) fetchAll(ctx context.Context, l *link, jobs iter.Seq[job]) (again bool, err error) {
	ln := &lane{o: o, l: l}
	next, stop := iter.Pull(jobs)
	defer stop()
	var running []*group // at most two, in the order in which they were sent
	for err == nil {
		if len(running) == 2 {
			err = running[0].wait()
			running = running[1:]
		}
		if len(running) == 1 {
			running[0].underway()
		}
		if l.place.wanted() && l.place.of == o.places { // listeners keep theirs
			for ; len(running) > 0 && err == nil; running = running[1:] {
				err = running[0].wait()
			}
			if err == nil {
				err = o.makeRoom(ctx, l)
			}
		}
		if err != nil {
			break
		}
		g := ln.gather(ctx, next)
		if g == nil || err != nil {
			break
		}
		go g.run(ctx)
		running = append(running, g)
	}
	for _, g := range running {
		if e := g.wait(); err == nil {
			err = e
		}
	}
	ln.stored.Wait()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.stale {
		l.forget()
	}
	if ln.failed != nil {
		return false, ln.failed // the connection may have ended because of it
	}
	return ln.again, err
}

// group is the commands of one flush.
type group struct {
	ln      *lane
	cmds    []upstream.Command
	batches []*batchFetch
	started chan struct{} // closed by the first answer: everything has been sent
	once    sync.Once
	done    chan struct{}
	err     error
}

// batchFetch is one UID FETCH under way.
type batchFetch struct {
	job
	g       *group
	open    *opening
	fetch   upstream.Fetch
	waiting map[uint32]mirror.Body // by upstream UID, those that did not come yet
	cut     uint32                 // the upstream UID that was being read when the connection broke
}

// gather makes the next group; nil when there are no more jobs. The previous group has been sent, so that it is known
// which mailbox will be selected.
func (ln *lane) gather(ctx context.Context, next func() (job, bool)) *group {
	g := &group{ln: ln, started: make(chan struct{}), done: make(chan struct{})}
	for len(g.batches) < groupBatches {
		j, ok := next()
		if !ok {
			break
		}
		open, sel := ln.l.open(j.b)
		b := &batchFetch{job: j, g: g, open: open, waiting: make(map[uint32]mirror.Body, len(j.wanted))}
		uids := make([]uint32, 0, len(j.wanted))
		for _, w := range j.wanted {
			b.waiting[w.Upstream] = w
			uids = append(uids, w.Upstream)
		}
		b.fetch = upstream.Fetch{UIDs: mailbox.SetOf(uids...), Items: upstream.ItemBody}
		b.fetch.OnMessage = func(m upstream.Message) error { return b.heard(ctx, m) }
		g.cmds = append(append(g.cmds, sel...), &b.fetch)
		g.batches = append(g.batches, b)
	}
	if len(g.batches) == 0 {
		return nil
	}
	return g
}

// underway waits until the whole group has been sent, or has ended.
func (g *group) underway() {
	select {
	case <-g.started:
	case <-g.done:
	}
}

func (g *group) wait() error {
	<-g.done
	return g.err
}

// run sends the group, waits for its answers and records what did not come.
func (g *group) run(ctx context.Context) {
	defer close(g.done)
	g.err = g.ln.l.do(ctx, g.cmds...)
	lost := g.err != nil
	for _, b := range g.batches {
		if err := b.judge(ctx, lost); g.err == nil {
			g.err = err
		}
	}
}

// heard takes a body that arrives.
func (b *batchFetch) heard(ctx context.Context, m upstream.Message) error {
	ln := b.g.ln
	ln.l.touch()
	b.g.once.Do(func() { close(b.g.started) })
	if b.open.Err != nil || b.open.UIDValidity != b.validity {
		return errStale
	}
	want, ok := b.waiting[m.UID]
	if !ok || m.Body == nil || m.BodySize == 0 && want.Size > 0 {
		return nil
	}
	if ln.o.demand.has(b.b.id, want.UID) {
		delete(b.waiting, m.UID) // somebody waits for it, and it is coming another way already
		return nil
	}
	if err := ln.broken(); err != nil {
		return err
	}
	b.cut = m.UID
	a, err := ln.o.receive(ctx, ln.l, m.Body, m.BodySize)
	if err != nil {
		return err
	}
	b.cut = 0
	delete(b.waiting, m.UID)
	a.box, a.uid, a.claimed = b.b.id, want.UID, want.Size
	ln.stored.Add(1)
	a.done = func(err error) {
		defer ln.stored.Done()
		a.close(err)
		if err != nil {
			ln.mu.Lock()
			defer ln.mu.Unlock()
			if ln.failed == nil {
				ln.failed = err
			}
		}
	}
	ln.o.store.put(ctx, a)
	return nil
}

// broken returns why nothing more can be stored.
func (ln *lane) broken() error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.failed
}

// judge records what did not come, and why. It returns what concerns more than this mailbox.
func (b *batchFetch) judge(ctx context.Context, lost bool) error {
	ln, err := b.g.ln, b.fetch.Err
	if lost {
		// Whoever was being read may be what the connection broke on: it is tried alone from now on.
		if want, ok := b.waiting[b.cut]; ok && b.cut != 0 {
			return b.unfetchable(ctx, want, "the connection broke", retryAfter(want.Attempts-brokenAtOnce))
		}
		return nil
	}
	var refusal *upstream.Refusal
	switch {
	case b.open.Err != nil || b.open.UIDValidity != b.validity:
		ln.mu.Lock()
		ln.stale = true
		ln.again = ln.again || b.open.Err == nil // another connection healed the mailbox meanwhile
		ln.mu.Unlock()
		return nil // a round will find out what became of the mailbox
	case err != nil && !errors.As(err, &refusal):
		return err
	case err != nil && diagnose(err).state == account.StateThrottle:
		return err
	}
	why := "the upstream gave no body"
	if err != nil {
		why = err.Error()
	}
	for _, want := range b.waiting {
		if err := b.unfetchable(ctx, want, why, retryAfter(want.Attempts)); err != nil {
			return err
		}
	}
	if n := len(b.waiting); n > 0 {
		ln.o.note(func() { b.b.trouble = plural(uint64(n), "body") + " could not be fetched: " + why })
	}
	return nil
}

// brokenAtOnce is how many times a body on which connections break is tried again without waiting: mostly it is not
// the body's fault.
const brokenAtOnce = 4

// unfetchable records a failed attempt.
func (b *batchFetch) unfetchable(ctx context.Context, want mirror.Body, why string, delay time.Duration) error {
	o := b.g.ln.o
	if delay == 0 {
		b.g.ln.mu.Lock()
		b.g.ln.again = true
		b.g.ln.mu.Unlock()
	}
	err := o.m.Bodies.Unfetchable(ctx, o.fence, b.b.id, want.UID, why, o.m.Clock.Now().Add(delay))
	if fault.Is(err, fault.NotFound) {
		return nil // it was expunged meanwhile
	}
	return fault.Wrap("record a missing body", err)
}
