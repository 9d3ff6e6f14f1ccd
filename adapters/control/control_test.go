package control

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"imapped/domain/account"
	"imapped/domain/fault"
)

type fake struct {
	reloads int
	forced  account.ID
	changed account.ID
	fail    error
}

func (f *fake) Reload(context.Context) error { f.reloads++; return nil }

func (f *fake) Changed(_ context.Context, id account.ID) error { f.changed = id; return f.fail }

func (f *fake) Force(_ context.Context, id account.ID, progress func(Progress)) error {
	f.forced = id
	progress(Progress{Messages: 10, Bodies: 3, Pending: 99, Text: "INBOX"})
	progress(Progress{Messages: 10, Bodies: 10, Pending: 99})
	return f.fail
}

func TestClientAndServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	c := Dial(path)
	defer c.Close()
	if err := c.Reload(t.Context()); !errors.Is(err, ErrNoServer) {
		t.Fatalf("Reload without a server: %v", err)
	}
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	f := &fake{}
	go func() { served <- Serve(ctx, l, f) }()
	if err := c.Reload(t.Context()); err != nil || f.reloads != 1 {
		t.Errorf("Reload: %v, %d reloads", err, f.reloads)
	}
	if err := c.Changed(t.Context(), 9); err != nil || f.changed != 9 {
		t.Errorf("Changed: %v, account %d", err, f.changed)
	}
	var got []Progress
	if err := c.Force(t.Context(), 7, func(p Progress) { got = append(got, p) }); err != nil || f.forced != 7 {
		t.Errorf("Force: %v, account %d", err, f.forced)
	}
	if want := []Progress{{10, 3, 99, "INBOX"}, {10, 10, 99, ""}}; !reflect.DeepEqual(got, want) {
		t.Errorf("progress %v, want %v", got, want)
	}
	f.fail = fault.New(fault.Denied, "log in", "the upstream says no")
	if err := c.Force(t.Context(), 7, func(Progress) {}); !fault.Is(err, fault.Denied) || err.Error() != "log in: the upstream says no" {
		t.Errorf("failing Force: %v", err)
	}
	if err := c.Changed(t.Context(), 9); !fault.Is(err, fault.Unavailable) {
		t.Errorf("failing Changed: %v", err)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := c.Reload(t.Context()); !errors.Is(err, ErrNoServer) {
		t.Errorf("Reload after the end: %v", err)
	}
	if l, err = Listen(t.Context(), path); err != nil {
		t.Errorf("listening in place of an old socket: %v", err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
}
