package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/tools/convergence/upstreamsim"
)

// patience is how long anything may take that must come to an end.
const patience = 20 * time.Second

// rig plays one history.
type rig struct {
	h   History
	w   *world
	sim server
	acc account.ID
	ctx context.Context
	p   *proc
	old *proc // paused, while p has taken over; nil: none

	mu    sync.Mutex // held during each operation of a client, on either side
	m     *model
	past  *past
	trace func(format string, args ...any)
}

// template is what histories are played on.
type template struct {
	to  servers
	dbs databases
	out *outside
}

// stores is where the processes keep what they know: -store, -s3 and -redis.
type stores struct{ metadata, s3, redis string }

// newTemplate opens the stores.
func newTemplate(to servers, in stores) (*template, error) {
	out, err := openOutside(in.s3, in.redis)
	if err != nil {
		return nil, err
	}
	dbs, err := openDatabases(in.metadata)
	if err != nil {
		return nil, errors.Join(err, out.close())
	}
	return &template{to: to, dbs: dbs, out: out}, nil
}

func (t *template) remove() error { return errors.Join(t.dbs.remove(), t.out.close()) }

// play runs a history and returns what is wrong. Where out is not nil it gets told what happens.
func (t *template) play(h History, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, acc, err := t.dbs.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	sim, err := t.to.open(h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	r := &rig{h: h, acc: acc.ID, ctx: ctx, m: newModel(), past: newPast(), sim: sim, trace: func(string, ...any) {}}
	log := slog.New(slog.DiscardHandler)
	if out != nil {
		out = &lines{to: out}
		began := time.Now()
		r.trace = func(format string, args ...any) {
			at := float64(time.Since(began).Microseconds()) / 1000
			fmt.Fprintf(out, "%9.3fms %s\n", at, fmt.Sprintf(format, args...))
		}
		r.sim.Log(r.trace)
		log = slog.New(slog.NewTextHandler(out, nil))
	}
	r.w = &world{
		db: db, user: acc.User, out: t.out, disk: t.out.store(), clock: new(simClock), dialer: r.sim, log: log,
		pace: t.to.pace() * t.dbs.pace(),
	}
	err = r.run()
	r.trace("end: %v\n%s", err, r.showQueue())
	return err
}

// lines writes what several goroutines tell, one line at a time.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

// raw is a client's name as the upstream has it. Names of histories are ASCII.
func (r *rig) raw(name string) string {
	var out []byte
	for i := range len(name) {
		switch {
		case name[i] == '/' && r.h.Variant.Dot:
			out = append(out, '.')
		case name[i] == '&':
			out = append(out, "&-"...)
		default:
			out = append(out, name[i])
		}
	}
	return string(out)
}

// name is the reverse of raw.
func (r *rig) name(raw string) string {
	var out []byte
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] == '.' && r.h.Variant.Dot:
			out = append(out, '/')
		case raw[i] == '&':
			out = append(out, '&')
			i++
		default:
			out = append(out, raw[i])
		}
	}
	return string(out)
}

// run plays the history.
func (r *rig) run() (err error) {
	r.prepare()
	if r.p, err = r.w.start(r.newOwner(), r.h.Variant.Push); err != nil {
		return err
	}
	defer func() {
		r.sim.Calm()
		for _, p := range []*proc{r.old, r.p} {
			if p != nil {
				p.kill()
				if e := p.stop(); e != nil && err == nil {
					err = e
				}
			}
		}
	}()
	if err := r.settle(); err != nil {
		return fmt.Errorf("at first: %w", err)
	}
	for i, op := range r.h.Ops {
		r.trace("--- %d %s", i, op)
		r.sim.Step()
		if err := r.alive(); err != nil {
			return err
		}
		if err := errors.Join(r.play(op), r.sim.Err()); err != nil {
			return fmt.Errorf("operation %d (%s): %w", i, op.Kind, err)
		}
	}
	return nil
}

// prepare fills the upstream.
func (r *rig) prepare() {
	inbox := r.sim.Boxes()[0].Box
	boxes := []*upstreamsim.Box{inbox, r.sim.Create(r.raw("Work"), 0), r.sim.Create(r.raw("a&b/Old"), 0)}
	for i := range 12 {
		t := r.m.message(40 * i)
		box, flags := boxes[[]int{0, 0, 0, 1, 1, 2}[i%6]], flag.Parse(flagSets[i%6]...)
		if r.h.Variant.NoKeywords {
			flags = flags.Minus(localOnly)
		}
		r.m.addThere(r.sim.Deliver(box, t.raw, t.date, flags), box, flags)
	}
}

func (r *rig) newOwner() string {
	r.w.owners++
	return ownerOf(r.acc) + strconv.Itoa(r.w.owners)
}

// alive starts a new process where the present one was killed, or paused.
func (r *rig) alive() (err error) {
	switch {
	case r.p.isDead():
		r.p.hangUp()
		if err := r.p.stop(); err != nil {
			return err
		}
		r.sim.Drain()
		r.trace("process %s is dead", r.p.owner)
		r.p, err = r.w.start(r.p.owner, r.p.push)
		return err
	case r.p.isPaused():
		if r.old != nil {
			r.wake()
			if err := r.retire(); err != nil {
				return err
			}
		}
		r.trace("process %s is paused", r.p.owner)
		r.old = r.p
		for _, c := range r.old.clients {
			c.leave()
		}
		r.old.disarm()
		r.w.clock.jump(leaseTTL + time.Minute)
		// Until a lease has ended the upstream is done with what it was sent before.
		for until := time.Now().Add(r.w.span(10)); r.old.isUnderway() && time.Now().Before(until); time.Sleep(100 * time.Microsecond) {
			r.sim.Release()
		}
		r.p, err = r.w.start(r.newOwner(), r.old.push)
		return err
	}
	return nil
}

// wake lets a paused process go on. Its connections are lost by then: another process has its lease, and no server keeps them
// for so long.
func (r *rig) wake() {
	if r.old != nil {
		r.trace("process %s goes on", r.old.owner)
		r.old.hangUp()
		r.old.resume()
	}
}

// row is a message here.
type row struct {
	metadata.UpstreamRow
	tok *token // nil: nobody made such a message
}

// rows reads a mailbox, hidden or not. It returns nothing when there is none.
func (r *rig) rows(id mailbox.ID) (map[mailbox.UID]row, error) {
	out := map[mailbox.UID]row{}
	err := r.w.db.UpstreamRows(r.ctx, r.acc, id, func(u metadata.UpstreamRow) error {
		if !u.Departed {
			out[u.UID] = row{u, r.m.tokens[u.Email]}
		}
		return nil
	})
	if fault.Is(err, fault.NotFound) {
		err = nil
	}
	return out, err
}

// mirrored reads the mailboxes by id.
func (r *rig) mirrored() (map[mailbox.ID]metadata.Mirrored, error) {
	all, err := r.w.db.Mirrored(r.ctx, r.acc)
	out := map[mailbox.ID]metadata.Mirrored{}
	for _, m := range all {
		out[m.ID] = m
	}
	return out, err
}
