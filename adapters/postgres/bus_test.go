package postgres_test

import (
	"context"
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
	s := there.Subscribe(1, 2)
	here.Publish(events.Hint{Account: 1, Mailbox: 2})
	heard(t, s, "before")
	c := connect(t, url)
	_, err := c.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'imapped hints'`)
	must(t, err)
	heard(t, s, "with the new connection")
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
