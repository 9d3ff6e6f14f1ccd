package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/adapters/upstream/upstreamtest"
	"imapped/domain/fault"
	port "imapped/ports/upstream"
)

// idle runs Idle in the background.
func idle(t *testing.T, c port.Conn) (events <-chan port.Event, stop func() error) {
	ctx, cancel := context.WithCancel(deadline(t))
	evs, done := make(chan port.Event, 16), make(chan error, 1)
	go func() {
		done <- c.Idle(ctx, func(ev port.Event) bool {
			evs <- ev
			return true
		})
	}()
	return evs, func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("Idle does not return")
		}
	}
}

func next(t *testing.T, evs <-chan port.Event) port.Event {
	t.Helper()
	select {
	case ev := <-evs:
		return ev
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
		return port.Event{}
	}
}

const selected = "C: s SELECT INBOX\nS: * 3 EXISTS\nS: s OK\n"

func TestIdle(t *testing.T) {
	conn, s := dial(t, dialer(), script("IDLE", selected+`C: i IDLE
S: + idling
S: * OK Still here
S: * 3 EXISTS
! wait one
S: * 4 EXISTS
! wait two
S: * 2 EXPUNGE
! wait three
S: * 1 FETCH (FLAGS (\\Seen))
c: DONE
S: i OK
C: n NOOP
S: n OK`))
	do(t, conn, &port.Select{Name: "INBOX"})
	evs, stop := idle(t, conn)
	for _, step := range []struct {
		signal string
		want   port.Event
	}{{"one", port.Event{Exists: true}}, {"two", port.Event{Expunge: true}}, {"three", port.Event{Flags: true}}} {
		s.Signal(step.signal)
		if ev := next(t, evs); ev != step.want {
			t.Errorf("%s: %+v", step.signal, ev)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	noop := &port.Noop{}
	do(t, conn, noop)
	ok(t, noop)
}

func TestIdleTellsEarlierNews(t *testing.T) {
	conn, _ := dial(t, dialer(), script("IDLE", selected+`C: n NOOP
S: * 4 EXISTS
S: n OK`))
	do(t, conn, &port.Select{Name: "INBOX"})
	do(t, conn, &port.Noop{})
	calls := 0
	err := conn.Idle(deadline(t), func(ev port.Event) bool {
		calls++
		return ev != port.Event{Exists: true}
	})
	if err != nil || calls != 1 {
		t.Errorf("%v, %d calls", err, calls)
	}
}

func TestIdleIsKeptAlive(t *testing.T) {
	d := dialer()
	d.Silence, d.KeepAlive = 500*time.Millisecond, 800*time.Millisecond // IDLE may be silent for longer than a command
	conn, _ := dial(t, d, script("IDLE", selected+`C: i IDLE
S: + idling
c: DONE
S: i OK
C: i IDLE
S: + idling
S: * 5 EXISTS
c: DONE
S: i OK`))
	do(t, conn, &port.Select{Name: "INBOX"})
	evs, stop := idle(t, conn)
	next(t, evs)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestIdleMakesWay(t *testing.T) {
	conn, s := dial(t, dialer(), script("IDLE", selected+`C: i IDLE
S: + idling
S: * 4 EXISTS
c: DONE
S: i OK
C: n NOOP
S: n OK
C: i IDLE
S: + idling
! wait more
S: * 5 EXISTS
c: DONE
S: i OK`))
	do(t, conn, &port.Select{Name: "INBOX"})
	evs, stop := idle(t, conn)
	next(t, evs)
	noop := &port.Noop{}
	do(t, conn, noop)
	ok(t, noop)
	s.Signal("more")
	next(t, evs)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestIdleFailures(t *testing.T) {
	conn, _ := dial(t, dialer(), script("", ""))
	if err := conn.Idle(deadline(t), nil); !fault.Is(err, fault.Invalid) {
		t.Errorf("without IDLE: %v", err)
	}
	conn, _ = dial(t, dialer(), script("IDLE", "C: i IDLE\nS: i NO [UNAVAILABLE] later"))
	if err := conn.Idle(deadline(t), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("refused: %v", err)
	}
	conn, _ = dial(t, dialer(), script("IDLE", strings.Repeat("C: i IDLE\nS: + go\nS: i OK over\n", 4)))
	if err := conn.Idle(deadline(t), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("ended at once: %v", err)
	}
	conn, _ = dial(t, dialer(), script("IDLE", "C: i IDLE\nS: + go\nS: * BYE idle for too long\n! close"))
	var refused *port.Refusal
	if err := conn.Idle(deadline(t), nil); !errors.As(err, &refused) || refused.Status != "BYE" {
		t.Errorf("BYE: %v", err)
	}
	d := dialer()
	d.Silence, d.KeepAlive = 500*time.Millisecond, 50*time.Millisecond
	conn, _ = dial(t, d, script("IDLE", "C: i IDLE\nS: + go\n! silent"))
	if err := conn.Idle(deadline(t), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a connection that died: %v", err)
	}
}

// BenchmarkIdle is the time from the server's line to the callback, and a line of the script between.
func BenchmarkIdle(b *testing.B) {
	const steps = 1000
	var lines strings.Builder
	lines.WriteString("C: i IDLE\nS: + idling\n")
	for i := range steps {
		fmt.Fprintf(&lines, "! wait %d\nS: * %d EXISTS\n", i, i+1)
	}
	lines.WriteString("c: DONE\nS: i OK")
	for b.Loop() {
		s := upstreamtest.New(b, script("IDLE", lines.String()))
		conn, err := dialer().Dial(b.Context(), s.Target())
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		s.Signal("0")
		seen := 0
		begin := time.Now()
		err = conn.Idle(ctx, func(port.Event) bool {
			seen++
			s.Signal(strconv.Itoa(seen))
			return seen < steps
		})
		b.ReportMetric(float64(time.Since(begin).Microseconds())/steps, "us/event")
		cancel()
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
}
