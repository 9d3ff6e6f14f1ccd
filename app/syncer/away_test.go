package syncer_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imapped/app/syncer"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/clock"
	"imapped/ports/metadata"
	"imapped/ports/nodes"
	"imapped/ports/upstream"
)

// pair starts two nodes with one account that has a message whose body was not given at first.
func pair(t *testing.T, raw string, adjust ...func(*syncer.Ports, *syncer.Config)) (f *fleet, owner, other *node, id mailbox.ID) {
	t.Helper()
	w := newWorld()
	w.server.Idle = false
	w.change(func() { w.noBody[raw] = true })
	w.deliver("INBOX", raw)
	w.deliver("INBOX", mail(2, 10))
	f = newFleet(t, w, 1)
	owner = f.start("a", adjust...)
	other = f.start("b", adjust...)
	if err := owner.m.Force(t.Context(), f.acc.ID, nil); err == nil {
		t.Fatal("the body came")
	}
	w.change(func() { w.noBody, w.bodies = map[string]bool{}, map[string]int{} })
	return f, owner, other, f.mirrored()["INBOX"].ID
}

func (f *fleet) fetched(raw string) int {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.bodies[raw]
}

// TestBodyIsFetchedOnceForAllNodes: who waits for a body on another node than the owner's waits for the owner's fetch.
func TestBodyIsFetchedOnceForAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := mail(1, 5000)
		f, owner, other, id := pair(t, raw)
		slow := make(chan struct{})
		f.w.change(func() { f.w.slow = slow })
		var wg sync.WaitGroup
		for range 8 {
			for _, n := range []*node{owner, other} {
				wg.Go(func() {
					if err := n.m.Fetch(t.Context(), f.acc.ID, id, []mailbox.UID{1, 2}); err != nil {
						t.Errorf("%s: %v", n.name, err)
					}
				})
			}
		}
		wg.Go(func() {
			b, err := other.m.Stream(t.Context(), f.acc.ID, id, 1)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
			if err != nil || string(got) != raw {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		close(slow)
		wg.Wait()
		if n := f.fetched(raw); n != 1 {
			t.Errorf("fetched %d times", n)
		}
		f.compare()
		if err := other.m.Fetch(t.Context(), f.acc.ID, id, []mailbox.UID{99}); err != nil && !fault.Is(err, fault.NotFound) {
			t.Errorf("a message that does not exist: %v", err)
		}
	})
}

// TestBodyWithoutTheOwner: when the owner does not hear, this node fetches by itself, once for all that wait here; the owner
// goes on as if it had done so.
func TestBodyWithoutTheOwner(t *testing.T) {
	for name, adjust := range map[string]func(*syncer.Ports, *syncer.Config){"no calls": silent, "lost calls": deaf} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				raw := mail(1, 300_000)
				f, owner, other, id := pair(t, raw, adjust)
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						if err := other.m.Fetch(t.Context(), f.acc.ID, id, []mailbox.UID{1}); err != nil {
							t.Error(err)
						}
					})
				}
				b, err := other.m.Stream(t.Context(), f.acc.ID, id, 1)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
				if err != nil || string(got) != raw {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				wg.Wait()
				if n := f.fetched(raw); n != 1 {
					t.Errorf("fetched %d times", n)
				}
				if err := owner.m.Force(t.Context(), f.acc.ID, nil); err != nil {
					t.Error(err)
				}
				if n := f.fetched(raw); n != 1 {
					t.Errorf("fetched %d times, after a round of the owner", n)
				}
				f.compare()
				open := func() int { f.w.mu.Lock(); defer f.w.mu.Unlock(); return f.w.open }
				f.within(2*time.Minute, "the guest's connection ends", func() bool { return open() == 1 })
			})
		})
	}
}

// flagged makes a change on our side, as a session does.
func (f *fleet) flagged(id mailbox.ID, on *node) {
	f.t.Helper()
	if _, err := f.db.EditFlags(context.Background(), f.acc.ID, metadata.FlagEdit{
		Mailbox: id, UIDs: mailbox.SetOf[uint32](2), Mode: metadata.AddFlags, Flags: flag.Make(flag.Flagged), Now: time.Now(),
	}); err != nil {
		f.t.Fatal(err)
	}
	on.m.Changed(f.acc.ID)
}

// TestChangeOnAnotherNode: a change that a client makes on another node than the owner's goes upstream soon, also when
// nobody hears of it.
func TestChangeOnAnotherNode(t *testing.T) {
	for name, tc := range map[string]struct {
		adjust func(*syncer.Ports, *syncer.Config)
		within time.Duration
	}{"calls": {func(*syncer.Ports, *syncer.Config) {}, time.Second}, "lost calls": {deaf, 2 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, other, id := pair(t, mail(1, 10), tc.adjust)
				time.Sleep(3 * time.Second)
				f.flagged(id, other)
				f.within(tc.within, "the change is upstream", func() bool {
					f.w.mu.Lock()
					defer f.w.mu.Unlock()
					return f.w.boxes["INBOX"].find(2).flags.String() == `\Flagged`
				})
			})
		})
	}
}

// TestAskedOnAnotherNode: rounds, open mailboxes and pauses work on any node.
func TestAskedOnAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, owner, other, _ := pair(t, mail(1, 10))
		f.w.create("Work", '/')
		f.w.deliver("INBOX", mail(3, 10))
		if err := other.m.Force(t.Context(), f.acc.ID, nil); err != nil {
			t.Fatal(err)
		}
		f.compare()
		stop := other.m.Watch(f.acc.ID, f.mirrored()["Work"].ID)
		f.w.deliver("Work", mail(4, 10))
		f.within(40*time.Second, "news of a mailbox that is open elsewhere", func() bool { return len(f.uids("Work")) == 1 })
		time.Sleep(2 * time.Minute)
		f.w.deliver("Work", mail(5, 10))
		f.within(40*time.Second, "it is still open", func() bool { return len(f.uids("Work")) == 2 })
		stop()
		if err := other.m.Pause(t.Context(), f.acc.ID); err != nil {
			t.Fatal(err)
		}
		f.within(time.Second, "the owner stops", func() bool {
			_, runs := owner.m.Status(f.acc.ID)
			return !runs && f.stored().State == account.StatePaused
		})
		if err := other.m.Resume(t.Context(), f.acc.ID); err != nil {
			t.Fatal(err)
		}
		f.within(5*time.Second, "somebody runs it again", f.together)
	})
}

// jumping is a node's clock.
type jumping struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *jumping) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clock.System{}.Now().Add(c.ahead)
}

// TestPausedNodeSendsNothing: a node that is paused just after the store allowed it to upload a message, and wakes when
// another has done so, sends nothing.
func TestPausedNodeSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, owner, other, id := pair(t, mail(1, 10))
		paused, wake := make(chan struct{}), make(chan struct{})
		var once sync.Once
		owner.store.intended = func() {
			once.Do(func() {
				owner.store.cut.Store(true) // what is paused renews nothing
				close(paused)
				<-wake
				owner.store.cut.Store(false)
			})
		}
		raw := mail(7, 100)
		message, err := editor{rig: f.rig}.message(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.db.AddMessages(t.Context(), f.acc.ID, metadata.AddEdit{
			Mailbox: id, Messages: []metadata.NewMessage{message}, Now: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		owner.m.Changed(f.acc.ID)
		<-paused
		there := func() (n int) {
			f.w.mu.Lock()
			defer f.w.mu.Unlock()
			for _, m := range f.w.boxes["INBOX"].msgs {
				if m.raw == raw {
					n++
				}
			}
			return n
		}
		var sent int
		f.w.change(func() {
			f.w.before = func(cmd upstream.Command) {
				if _, ok := cmd.(*upstream.Append); ok {
					sent++
				}
			}
		})
		f.within(time.Minute, "the other has taken over and uploaded", func() bool { return there() == 1 })
		close(wake)
		time.Sleep(time.Minute)
		f.w.change(func() {
			if sent != 1 {
				t.Errorf("the message was sent %d times", sent)
			}
		})
		if n := there(); n != 1 {
			t.Errorf("the message is there %d times", n)
		}
		f.within(time.Minute, "somebody runs the account", f.together) // perhaps the one that slept, by and by
		if err := other.m.Force(t.Context(), f.acc.ID, nil); err != nil {
			t.Error(err)
		}
		f.compare()
	})
}

// TestSuspendedNodeDropsItsConnection: a node whose clock jumps, because the machine slept, and whose lease nobody took, goes
// on with a new connection.
func TestSuspendedNodeDropsItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &jumping{}
		f, owner, _, id := pair(t, mail(1, 10), func(p *syncer.Ports, cfg *syncer.Config) { p.Clock, cfg.LeaseTTL = c, time.Hour })
		f.flagged(id, owner)
		flags := func(want string) func() bool {
			return func() bool {
				f.w.mu.Lock()
				defer f.w.mu.Unlock()
				return f.w.boxes["INBOX"].find(2).flags.String() == want
			}
		}
		f.within(time.Second, "the change is upstream", flags(`\Flagged`))
		dials := func() int { f.w.mu.Lock(); defer f.w.mu.Unlock(); return f.w.dials }
		before := dials()
		c.mu.Lock()
		c.ahead = 2 * time.Hour
		c.mu.Unlock()
		if _, err := f.db.EditFlags(t.Context(), f.acc.ID, metadata.FlagEdit{
			Mailbox: id, UIDs: mailbox.SetOf[uint32](2), Mode: metadata.RemoveFlags, Flags: flag.Make(flag.Flagged), Now: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		owner.m.Changed(f.acc.ID)
		f.within(10*time.Second, "the next change is upstream", flags(``))
		if n := dials() - before; n != 1 {
			t.Errorf("%d new connections, want 1", n)
		}
	})
}

var _ nodes.Calls = lost{}
