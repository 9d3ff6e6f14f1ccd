package main

import (
	"context"
	"io"
	"slices"
	"sync"

	"imapped/domain/fault"
)

// errDead is what every port says to a process that was killed.
var errDead = fault.New(fault.Unavailable, "call", "the process is dead")

// life is what a process is alive by: every call of every port passes through it.
type life struct {
	cancel context.CancelFunc // of the process's context

	mu       sync.Mutex
	dead     bool
	died     chan struct{} // closed with dead
	gate     chan struct{} // not nil: the process is paused until it is closed
	plans    []*plan
	active   chan struct{} // closed and replaced after each call
	conns    []io.Closer   // to the upstream
	underway int           // calls of Do that have not returned
}

// lane is how a part of the process calls: what clients do is free of pauses, as if it had come just before.
type lane struct {
	*life
	free bool
}

// plan is the end, or a pause, of a process at a call of one of its ports.
type plan struct {
	calls []string // of these methods; none: any that writes
	skip  int
	after bool // just after the call's effect, else just before it
	pause bool
}

func newLife(cancel context.CancelFunc) *life {
	return &life{cancel: cancel, died: make(chan struct{}), active: make(chan struct{})}
}

// kill is kill -9: nothing that the process calls from now on has an effect.
func (l *life) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed()
}

func (l *life) killed() {
	if !l.dead {
		l.dead = true
		close(l.died)
		go l.cancel() // what it runs may hold locks that canceling needs
	}
}

func (l *life) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *life) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gate != nil
}

// resume ends a pause.
func (l *life) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gate != nil {
		close(l.gate)
		l.gate = nil
	}
}

// keep notes a connection of the process.
func (l *life) keep(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
}

// hangUp loses the process's connections.
func (l *life) hangUp() {
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// depart is pass for commands that are sent now; they are under way until landed is called.
func (l lane) depart() error {
	for {
		if err := l.pass(); err != nil {
			return err
		}
		l.mu.Lock()
		ok := l.gate == nil || l.free
		if ok {
			l.underway++
		}
		l.mu.Unlock()
		if ok {
			return nil
		}
	}
}

func (l lane) landed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underway--
}

// isUnderway says whether the upstream has commands that it has not answered.
func (l *life) isUnderway() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.underway > 0
}

// disarm takes back what has not happened.
func (l *life) disarm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plans = nil
}

func (l *life) arm(p plan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plans = append(l.plans, &p)
}

// activity returns a channel that is closed after the next call.
func (l *life) activity() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active
}

// hits counts the call down in the plans, and carries one out; l.mu is held.
func (l *life) hits(call string, after bool) {
	for i, p := range l.plans {
		if p.after != after || len(p.calls) > 0 && !slices.Contains(p.calls, call) {
			continue
		}
		if p.skip > 0 {
			p.skip--
			continue
		}
		l.plans = slices.Delete(l.plans, i, i+1)
		if !p.pause {
			l.killed()
		} else if l.gate == nil {
			l.gate = make(chan struct{})
		}
		return
	}
}

// enter comes before a call's effect. Its error means that there is none. writes says whether the call changes anything.
func (l lane) enter(call string, writes bool) error {
	l.mu.Lock()
	if writes && !l.dead {
		l.hits(call, false)
	}
	l.mu.Unlock()
	return l.pass()
}

// exit comes after it. Its error means that nobody hears of it.
func (l lane) exit(call string, writes bool) error {
	l.mu.Lock()
	if writes && !l.dead {
		l.hits(call, true)
	}
	close(l.active)
	l.active = make(chan struct{})
	l.mu.Unlock()
	return l.pass()
}

// pass waits until the process is not paused.
func (l lane) pass() error {
	for {
		l.mu.Lock()
		gate, dead := l.gate, l.dead
		l.mu.Unlock()
		switch {
		case dead:
			return errDead
		case gate == nil || l.free:
			return nil
		}
		select {
		case <-gate:
		case <-l.died:
		}
	}
}

// call passes a call with a result through a life.
func call[T any](l lane, name string, writes bool, fn func() (T, error)) (T, error) {
	var zero T
	if err := l.enter(name, writes); err != nil {
		return zero, err
	}
	v, err := fn()
	if err := l.exit(name, writes); err != nil {
		return zero, err
	}
	return v, err
}

// do passes a call without a result through a life.
func do(l lane, name string, writes bool, fn func() error) error {
	_, err := call(l, name, writes, func() (struct{}, error) { return struct{}{}, fn() })
	return err
}
