package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"imapped/adapters/memory"
	"imapped/adapters/postgres"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/events/eventstest"
	"imapped/ports/nodes"
	"imapped/ports/nodes/nodestest"
)

func openBus(t *testing.T, url string) *postgres.Bus {
	t.Helper()
	b, err := postgres.NewBus(url, &memory.Bus{})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, b.Connected(ctx))
	return b
}

// heard waits for a hint that must come.
func heard(t *testing.T, s events.Subscription, what string) {
	t.Helper()
	select {
	case <-s.C():
	case <-time.After(30 * time.Second):
		t.Fatalf("no hint came: %s", what)
	}
}

func TestBus(t *testing.T) {
	url := server.URL(t)
	eventstest.Run(t, func(t *testing.T) events.Bus { return openBus(t, url) })
}

func TestCalls(t *testing.T) {
	url := server.URL(t)
	nodestest.RunCalls(t, func(t *testing.T, n int) []nodes.Calls {
		ends := make([]nodes.Calls, n)
		for i := range ends {
			ends[i] = openBus(t, url)
		}
		return ends
	})
}

// called waits for a call, and passes others over.
func called(t *testing.T, calls <-chan nodes.Call, want nodes.Call) (others int) {
	t.Helper()
	over := time.NewTimer(30 * time.Second)
	defer over.Stop()
	for {
		select {
		case c := <-calls:
			if c.What == want.What && c.Account == want.Account && c.Mailbox == want.Mailbox && slices.Equal(c.UIDs, want.UIDs) {
				return others
			}
			others++
		case <-over.C:
			t.Fatalf("%+v is not heard", want)
		}
	}
}

// receive returns what a bus hears of calls.
func receive(t *testing.T, b *postgres.Bus) <-chan nodes.Call {
	t.Helper()
	calls := make(chan nodes.Call, 200_000)
	t.Cleanup(b.Receive(func(c nodes.Call) { calls <- c }))
	return calls
}

// TestCallsAtTheEnd: what was called just before the end is heard, hints too, and what other programs say is not believed.
func TestCallsAtTheEnd(t *testing.T) {
	url := server.URL(t)
	there := openBus(t, url)
	heardAll(t, there)
	calls, box := receive(t, there), there.Subscribe(7, 8)
	defer box.Close()
	for i := range 10 {
		here := openBus(t, url)
		queue := nodes.Call{What: nodes.Queue, Account: account.ID(i + 1)}
		here.Send(queue)
		here.Publish(events.Hint{Account: 7, Mailbox: 8})
		must(t, here.Close())
		called(t, calls, queue)
		heard(t, box, "at the end")
		here.Send(queue) // to nobody
	}
	c := connect(t, url)
	for _, payload := range []string{"", " ", "x", "*", "1.1.0.0", "1.9.0.0.", "2.1.0.0.", "1.6.1.1.3:1", "1.1.0.0. x", strings.Repeat("1", 7999)} {
		_, err := c.Exec(t.Context(), "SELECT pg_notify('imapped_calls', $1)", payload)
		must(t, err)
	}
	must(t, postgres.Tell(t.Context(), url, nil, nodes.Call{What: nodes.Round, Account: 3}))
	if others := called(t, calls, nodes.Call{What: nodes.Round, Account: 3}); others != 1 {
		t.Errorf("%d calls are heard, want the one that can be read", others)
	}
}

// TestTell: a process without a bus reaches all buses, with more than one notification holds.
func TestTell(t *testing.T) {
	url := server.URL(t)
	here, there := openBus(t, url), openBus(t, url)
	heardAll(t, here)
	heardAll(t, there)
	var hints []events.Hint
	for i := range 3000 {
		hints = append(hints, events.Hint{Account: account.ID(1<<62 + i), Mailbox: 9})
	}
	var uids []uint32
	for n := range uint32(nodes.MaxRanges) {
		uids = append(uids, n*2+1_000_000_000)
	}
	bodies := nodes.Call{What: nodes.Bodies, Account: 1, Mailbox: 2, UIDs: mailbox.SetOf(uids...)}
	type end struct {
		calls <-chan nodes.Call
		sub   events.Subscription
	}
	var ends []end
	for _, b := range []*postgres.Bus{here, there} {
		ends = append(ends, end{receive(t, b), b.Subscribe(1<<62+2999, 9)})
	}
	must(t, postgres.Tell(t.Context(), url, hints, nodes.Call{What: nodes.Accounts}, bodies))
	for _, e := range ends {
		heard(t, e.sub, "from a process without a bus")
		called(t, e.calls, bodies)
	}
	must(t, postgres.Tell(t.Context(), url, make([]events.Hint, 50_000)))
	for _, e := range ends {
		heard(t, e.sub, "of everything")
		called(t, e.calls, nodes.Call{What: nodes.Accounts})
	}
	fails(t, postgres.Tell(t.Context(), "postgres://nobody@127.0.0.1:1/none?sslmode=disable", nil), fault.Unavailable)
}

// TestManyCalls: when more calls were made than are kept, some are lost, and calls go on.
func TestManyCalls(t *testing.T) {
	url := server.URL(t)
	here, there := openBus(t, url), openBus(t, url)
	heardAll(t, there)
	calls := receive(t, there)
	const boxes = 100_000
	for range 3 {
		for i := range boxes {
			here.Send(nodes.Call{What: nodes.Watching, Account: 1 << 62, Mailbox: mailbox.ID(1<<62 + i)})
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for last := (nodes.Call{What: nodes.Round, Account: 5}); ; {
		here.Send(last) // there may be no room for it yet
		select {
		case c := <-calls:
			if c.What == last.What {
				return
			}
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("calls do not pass after there were too many")
		}
	}
}

// TestBusBetweenProcesses: a hint reaches the other processes' subscribers of its topic, and no others.
func TestBusBetweenProcesses(t *testing.T) {
	url := server.URL(t)
	here, there := openBus(t, url), openBus(t, url)
	heardAll(t, here)
	heardAll(t, there)
	box, list, other := there.Subscribe(7, 8), there.Subscribe(7, 0), there.Subscribe(7, 9)
	for range 20 {
		here.Publish(events.Hint{Account: 7, Mailbox: 8, ModSeq: 3})
		heard(t, box, "of a mailbox")
	}
	here.Publish(events.Hint{Account: 7, Mailbox: 0})
	heard(t, list, "of a list of mailboxes")
	select {
	case <-other.C():
		t.Fatal("a hint that is none of its business")
	default:
	}
	// More than one notification holds, and more than is kept waiting.
	for _, n := range []int64{3_000, 50_000} {
		for i := range n {
			here.Publish(events.Hint{Account: account.ID(1<<62 + i), Mailbox: mailbox.ID(1 << 62)})
		}
		here.Publish(events.Hint{Account: 7, Mailbox: 9})
		heard(t, other, "after many others")
	}
	must(t, here.Close())
	here.Publish(events.Hint{Account: 7, Mailbox: 8}) // to nobody else
}

// heardAll waits until the hint that comes with the connection is past.
func heardAll(t *testing.T, b *postgres.Bus) {
	t.Helper()
	s := b.Subscribe(1, 1)
	defer s.Close()
	b.Local.Publish(events.Hint{Account: 1, Mailbox: 1})
	heard(t, s, "of one's own")
}

// TestBusReconnects: when the connection was lost, every subscriber looks once it is there again, and hints pass again.
func TestBusReconnects(t *testing.T) {
	url := server.URL(t)
	here, there := openBus(t, url), openBus(t, url)
	s, calls := there.Subscribe(1, 2), receive(t, there)
	here.Publish(events.Hint{Account: 1, Mailbox: 2})
	heard(t, s, "before")
	c := connect(t, url)
	_, err := c.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'imapped hints'`)
	must(t, err)
	heard(t, s, "with the new connection")
	called(t, calls, nodes.Call{What: nodes.Accounts})
	called(t, calls, nodes.Call{What: nodes.Free})
	// Both are connected again at some time: then hints pass.
	deadline := time.Now().Add(30 * time.Second)
	for {
		here.Publish(events.Hint{Account: 1, Mailbox: 2})
		select {
		case <-s.C():
			return
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("hints do not pass after the connection was lost")
		}
	}
}

// TestBusWithoutServer: hints within the process need no database, and Close does not wait for one.
func TestBusWithoutServer(t *testing.T) {
	b, err := postgres.NewBus("postgres://nobody@127.0.0.1:1/none?sslmode=disable", &memory.Bus{})
	must(t, err)
	s := b.Subscribe(1, 2)
	b.Publish(events.Hint{Account: 1, Mailbox: 2})
	heard(t, s, "within the process")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	fails(t, b.Connected(ctx), fault.Canceled)
	must(t, b.Close())
	_, err = postgres.NewBus("postgres://%zz:secret@", &memory.Bus{})
	fails(t, err, fault.Invalid)
}

// connect opens a connection as another program would.
func connect(tb testing.TB, url string) *pgx.Conn {
	tb.Helper()
	c, err := pgx.Connect(tb.Context(), url)
	must(tb, err)
	tb.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
