package upstream_test

import (
	"context"
	"io"
	"testing"

	"imapped/adapters/upstream/upstreamtest"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

func TestLiteralThatWaits(t *testing.T) {
	const name = "caf\xc3\xa9 \x80"
	conn, _ := dial(t, dialer(), script("", "C: a SELECT {7}\nS: * 1 EXISTS\nS: + go\nc: "+name+"\nS: * 4 EXISTS\nS: a OK\n"+
		"C: b NOOP\nS: b OK\nC: c EXAMINE {7}\nS: c NO no such name\nC: d NOOP\nS: d OK"))
	sel, noop := &port.Select{Name: name}, &port.Noop{}
	do(t, conn, sel, noop)
	if ok(t, sel, noop); sel.Messages != 4 {
		t.Errorf("%+v", sel)
	}
	refused := &port.Select{Name: name, ReadOnly: true} // answered before its literal: the literal is not sent
	do(t, conn, refused, noop)
	if ok(t, noop); refused.Err == nil {
		t.Error("no error")
	}
}

func TestCloseEndsWhatIsPending(t *testing.T) {
	conn, _ := dial(t, dialer(), script("IDLE", `
C: a UID FETCH 1 (UID BODY.PEEK[])
S: * 1 FETCH (UID 1 BODY[] {10000}
! big 5000 x
! silent`))
	reading, done := make(chan struct{}), make(chan error, 1)
	fetch := &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 1}}, Items: port.ItemBody, OnMessage: func(m port.Message) error {
		close(reading)
		_, err := io.Copy(io.Discard, m.Body)
		return err
	}}
	go func() { done <- conn.Do(deadline(t), fetch) }()
	<-reading
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !fault.Is(err, fault.Unavailable) || fetch.Err == nil {
		t.Errorf("%v, %v", err, fetch.Err)
	}
	if err := conn.Do(deadline(t), &port.Noop{}); err == nil {
		t.Error("a closed connection works")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsIdle(t *testing.T) {
	conn, _ := dial(t, dialer(), script("IDLE", "C: i IDLE\nS: + go\nS: * 5 EXISTS\n! silent"))
	idling, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- conn.Idle(deadline(t), func(port.Event) bool {
			close(idling)
			return true
		})
	}()
	<-idling
	_ = conn.Close()
	if err := <-done; !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}

// TestCanceledBodyOverTLS: interrupting a read leaves TLS in step.
func TestCanceledBodyOverTLS(t *testing.T) {
	cfg, pool := certificate(t)
	s := upstreamtest.NewTLS(t, cfg, true, script("", `
C: a UID FETCH 1 (UID BODY.PEEK[])
S: * 1 FETCH (UID 1 BODY[] {100000}
! big 50000 x
! wait canceled
! big 50000 y
S: )
S: a OK
C: b NOOP
S: b OK`))
	d := dialer()
	d.Roots = pool
	target := s.Target()
	target.TLS = account.TLSImplicit
	conn, err := d.Dial(deadline(t), target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(deadline(t))
	fetch := &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 1}}, Items: port.ItemBody, OnMessage: func(m port.Message) error {
		if _, err := io.ReadFull(m.Body, make([]byte, 50000)); err != nil {
			t.Error(err)
		}
		cancel()
		_, err := io.ReadAll(m.Body)
		return err
	}}
	if err := conn.Do(ctx, fetch); !fault.Is(err, fault.Canceled) || !fault.Is(fetch.Err, fault.Canceled) {
		t.Fatalf("%v, %v", err, fetch.Err)
	}
	s.Signal("canceled")
	noop := &port.Noop{}
	do(t, conn, noop)
	ok(t, noop)
}

// TestLeaving: a mailbox is left without a chance that anything in it is expunged.
func TestLeaving(t *testing.T) {
	for _, tc := range []struct {
		caps     string
		readOnly bool
		want     string
	}{
		{"UNSELECT", true, "UNSELECT"},
		{"UNSELECT", false, "UNSELECT"},
		{"", true, "CLOSE"},
		{"", false, "NOOP"},
	} {
		open := map[bool]string{true: "EXAMINE", false: "SELECT"}[tc.readOnly]
		conn, _ := dial(t, dialer(), script(tc.caps, "C: a "+open+" X\nS: * 4 EXISTS\nS: a OK\nC: b "+tc.want+"\nS: b OK"))
		sel, leave := &port.Select{Name: "X", ReadOnly: tc.readOnly}, &port.Unselect{}
		do(t, conn, sel, leave)
		ok(t, sel, leave)
	}
}
