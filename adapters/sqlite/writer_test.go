package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
)

func openWriter(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "meta.db"), Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// hold keeps the writer busy with one call, so that what comes meanwhile is in that call's transaction. It returns when
// that runs; release ends it with an error or nil.
func hold(t *testing.T, s *Store) (release func(error) error) {
	t.Helper()
	runs, outcome, done := make(chan struct{}), make(chan error), make(chan error, 1)
	go func() {
		done <- s.update(context.Background(), "hold", func(c *conn) error {
			if err := addUser(c, "holder"); err != nil {
				return err
			}
			close(runs)
			return <-outcome
		})
	}()
	<-runs
	return func(err error) error {
		outcome <- err
		return <-done
	}
}

func addUser(c *conn, name string) error {
	_, err := c.exec(context.Background(), `INSERT INTO users (name, name_key, password_hash, disabled, created)
		VALUES (?1, ?1, '', 0, 0)`, name)
	return err
}

// start submits a call, and returns what waits for its outcome.
func start(ctx context.Context, t *testing.T, s *Store, fn func(c *conn) error) (wait func() error) {
	t.Helper()
	w := &writeCall{ctx: ctx, fn: fn, done: make(chan error, 1)}
	if err := s.submit(w, nil); err != nil {
		t.Fatal(err)
	}
	return func() error { return mapErr("write", s.wait(w, nil)) }
}

func users(t *testing.T, s *Store) map[string]bool {
	t.Helper()
	all, err := s.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, u := range all {
		names[u.Name] = true
	}
	return names
}

// TestGroup: calls that are made while the writer is busy commit together, and each is all or nothing by itself.
func TestGroup(t *testing.T) {
	for _, first := range []error{nil, errors.New("the first fails")} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			s := openWriter(t)
			release := hold(t, s)
			var checks []func()
			call := func(ctx context.Context, name string, fn func(c *conn) error, check func(error) bool) {
				wait := start(ctx, t, s, func(c *conn) error {
					if err := addUser(c, name); err != nil {
						return err
					}
					return fn(c)
				})
				checks = append(checks, func() {
					if err := wait(); !check(err) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			good := func(err error) bool { return err == nil }
			fine := func(*conn) error { return nil }
			call(context.Background(), "a", fine, good)
			refused := fault.New(fault.Limit, "", "refused")
			call(context.Background(), "b", func(*conn) error { return refused }, func(err error) bool { return errors.Is(err, refused) })
			call(context.Background(), "c", fine, good)
			ctx, cancel := context.WithCancel(context.Background())
			call(ctx, "d", func(*conn) error { cancel(); return nil }, func(err error) bool { return fault.Is(err, fault.Canceled) })
			call(context.Background(), "e", func(c *conn) error { return addUser(c, "a") }, func(err error) bool { return fault.Is(err, fault.Exists) })
			left, leave := context.WithCancel(context.Background())
			call(left, "f", fine, func(err error) bool { return fault.Is(err, fault.Canceled) })
			call(context.Background(), "g", fine, good)
			leave()
			checks[5]() // at once, while the first holds the writer
			if err := release(first); !errors.Is(err, first) {
				t.Errorf("the first: %v", err)
			}
			for _, check := range slices.Delete(checks, 5, 6) {
				check()
			}
			got := users(t, s)
			want := map[string]bool{"a": true, "c": true, "g": true}
			if first == nil {
				want["holder"] = true
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("there are %v, want %v", got, want)
			}
		})
	}
}

// TestGroupPanic: a call's panic is its caller's.
func TestGroupPanic(t *testing.T) {
	s := openWriter(t)
	func() {
		defer func() {
			if recover() != "oops" {
				t.Error("no panic")
			}
		}()
		_ = s.update(t.Context(), "panic", func(c *conn) error {
			if err := addUser(c, "p"); err != nil {
				t.Error(err)
			}
			panic("oops")
		})
	}()
	if _, err := s.CreateUser(t.Context(), account.User{Name: "after"}); err != nil {
		t.Error(err)
	}
	if got := users(t, s); len(got) != 1 || !got["after"] {
		t.Errorf("there are %v", got)
	}
}

// TestGroupBroken: when the transaction is lost under a call, those that ran in it before fail with it, and the next
// begin anew.
func TestGroupBroken(t *testing.T) {
	s := openWriter(t)
	release := hold(t, s)
	var waits []func() error
	for _, fn := range []func(c *conn) error{
		func(c *conn) error { return addUser(c, "a") },
		func(c *conn) error { // as SQLite does by itself when the disk is full
			_, err := c.exec(context.Background(), "ROLLBACK")
			return errors.Join(err, fault.New(fault.Unavailable, "", "the disk is full"))
		},
		func(c *conn) error { return addUser(c, "b") },
	} {
		waits = append(waits, start(context.Background(), t, s, fn))
	}
	held := release(nil)
	errs := []error{waits[0](), waits[1](), waits[2]()}
	for _, err := range []error{held, errs[0], errs[1]} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v, want the broken transaction's error", err)
		}
	}
	if errs[2] != nil {
		t.Errorf("the next: %v", errs[2])
	}
	if got := users(t, s); len(got) != 1 || !got["b"] {
		t.Errorf("there are %v", got)
	}
}

// TestLate: a call whose turn does not come in time is given up and never run; one that runs may take longer.
func TestLate(t *testing.T) {
	s := openWriter(t)
	release := hold(t, s) // whose own turn came
	s.patience = time.Millisecond
	for i := range maxGroup + 2 { // more than the writer's channel holds
		err := s.update(context.Background(), "write", func(c *conn) error { return addUser(c, fmt.Sprint(i)) })
		if !fault.Is(err, fault.Unavailable) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if err := release(nil); err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	s.patience = patience
	if err := s.update(context.Background(), "write", func(c *conn) error { return addUser(c, "next") }); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if got := users(t, s); len(got) != 2 || !got["holder"] || !got["next"] {
		t.Errorf("there are %v", got)
	}
}

// TestCloseWhileWriting: calls that run end well, those that wait are refused.
func TestCloseWhileWriting(t *testing.T) {
	s := openWriter(t)
	release := hold(t, s)
	wait := start(context.Background(), t, s, func(c *conn) error { return addUser(c, "x") })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := wait(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the call that waited: %v", err)
	}
	if err := release(nil); err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
