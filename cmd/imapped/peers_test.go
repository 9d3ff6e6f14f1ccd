package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"imapped/domain/account"
	"imapped/ports/events"
	"imapped/ports/nodes"
)

// TestPeersLoseRedis: calls and hints pass between two nodes with Redis, when one of them has lost it, and when both have;
// who loses it or finds it again looks at everything.
func TestPeersLoseRedis(t *testing.T) {
	red := miniredis.RunT(t)
	v, through := newValve(t, "redis://"+red.Addr())
	url := database.URL(t)
	join := func(redis string) *peers {
		p, err := openPeers(configOf(t, "DATABASE_URL="+url, "REDIS_URL="+redis, "OBJECT_STORE_PATH="+t.TempDir()), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.close(); err != nil {
				t.Error(err)
			}
		})
		return p
	}
	a, b := join(through), join("redis://"+red.Addr())
	calls := make(chan nodes.Call, 10_000)
	defer b.Receive(func(c nodes.Call) { calls <- c })()
	box := b.Subscribe(7, 8)
	defer box.Close()
	last := account.ID(0)
	passes := func(when string) {
		t.Helper()
		last++
		await(t, "a call, "+when, func() bool {
			a.Send(nodes.Call{What: nodes.Round, Account: last})
			for {
				select {
				case c := <-calls:
					if c.What == nodes.Round && c.Account == last {
						return true
					}
				default:
					return false
				}
			}
		})
		select {
		case <-box.C():
		default:
		}
		a.Publish(events.Hint{Account: 7, Mailbox: 8})
		await(t, "a hint, "+when, func() bool { return len(box.C()) > 0 })
	}
	connected := func(wantA, wantB bool) {
		t.Helper()
		await(t, "the state", func() bool { return a.connected() == wantA && b.connected() == wantB })
	}
	alive := func(p *peers, want int) {
		t.Helper()
		await(t, "the list of nodes", func() bool {
			names, err := p.presence.Nodes(t.Context())
			return len(names) == want && (err == nil) == (want > 0)
		})
	}
	await(t, "the database", func() bool { return a.database.Up() && b.database.Up() })
	connected(true, true)
	alive(a, 2)
	alive(b, 2)
	passes("with Redis")

	v.set(true)
	connected(false, true)
	passes("with one that lost Redis")
	alive(a, 0)

	red.Close()
	connected(false, false)
	passes("without Redis")
	alive(b, 0)

	v.set(false)
	if err := red.Restart(); err != nil {
		t.Fatal(err)
	}
	connected(true, true)
	alive(a, 2)
	alive(b, 2)
	passes("with Redis again")

	a.leave()
	alive(b, 1)
	passes("after it left")
}

// TestPeersPoll: while nothing connects the nodes, everybody looks for themselves.
func TestPeersPoll(t *testing.T) {
	conf := configOf(t, "DATABASE_URL=postgres://nobody@127.0.0.1:1/none?sslmode=disable", "OBJECT_STORE_PATH="+t.TempDir())
	p, err := openPeers(conf, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	box := p.Subscribe(7, 8)
	calls := make(chan nodes.Call, 100)
	stop := p.Receive(func(c nodes.Call) { calls <- c })
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(done)
		p.poll(ctx)
	}()
	for range 2 {
		select {
		case <-box.C():
		case <-time.After(time.Minute):
			t.Fatal("sessions do not look")
		}
	}
	for _, want := range nodes.Missed() {
		select {
		case c := <-calls:
			if c.What != want.What {
				t.Errorf("%+v, want %+v", c, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("the node does not look")
		}
	}
	cancel()
	<-done
	stop()
	box.Close()
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// await waits until done says so.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}
