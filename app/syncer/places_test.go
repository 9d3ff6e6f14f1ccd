package syncer_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// TestConnectionsAreBounded: however few connections an account may have, there are never more, and rounds, replay and reading
// all go on.
func TestConnectionsAreBounded(t *testing.T) {
	for _, c := range []struct{ limit, most, listening int }{{1, 1, 0}, {2, 2, 0}, {3, 3, 0}, {4, 4, 1}, {0, 7, 4}, {9, 9, 6}} {
		t.Run(fmt.Sprint(c.limit), func(t *testing.T) {
			w := newWorld()
			names := []string{"INBOX", "A", "B", "C", "D", "E", "F"}
			for _, name := range names {
				if name != "INBOX" {
					w.create(name, '/')
				}
				w.deliver(name, name+mail(1, 10))
			}
			r := newRig(t, w)
			r.cfg.Connections = c.limit
			r.start()
			r.sync()
			for _, name := range names {
				defer r.m.Watch(r.acc.ID, r.mirrored()[name].ID)()
			}
			r.until("listening", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.idling == c.listening })
			e := r.edits()
			for n := range 3 {
				e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), fmt.Sprint("tag", n))
				r.until("replay", func() bool { return len(r.queue()) == 0 })
				w.deliver("INBOX", mail(100+n, 10))
				r.sync()
			}
			r.compare()
			// The body that a round would fetch last is wanted while it fetches the others.
			w.change(func() { w.slow = make(chan struct{}) })
			for n := range 3000 {
				w.deliver("F", mail(1000+n, 10))
			}
			ended := make(chan error, 1)
			go func() { ended <- r.try() }()
			r.until("the messages are known", func() bool { return r.mirrored()["F"].Messages == 3001 })
			id, read := r.mirrored()["F"].ID, make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				b, err := r.m.Stream(ctx, r.acc.ID, id, 2) // UID 1 came before; the round goes from 3001 downwards
				if err == nil {
					_, err = io.Copy(io.Discard, io.NewSectionReader(b, 0, b.Size()))
					_ = b.Close()
				}
				if n := r.mirrored()["F"].Bodies; n > 2500 { // all but what is read, if it waited for the rest
					t.Error("the round gave way to nobody")
				}
				read <- err
			}()
			e.flags("A", metadata.AddFlags, mailbox.SetOf[uint32](1), "late")
			w.change(func() { close(w.slow); w.slow = nil })
			for _, ch := range []chan error{read, ended} {
				if err := <-ch; err != nil {
					t.Error(err)
				}
			}
			r.until("replay, again", func() bool { return len(r.queue()) == 0 })
			r.sync()
			r.compare()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.peak > c.most || w.peak < c.listening+1 {
				t.Errorf("%d connections at a time, want at most %d", w.peak, c.most)
			}
		})
	}
}
