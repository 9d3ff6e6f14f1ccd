package metadatatest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// testInstallation: a store has an id that stays.
func testInstallation(t *testing.T, h Harness) {
	id, err := h.Store.Installation(t.Context())
	if err != nil || id == (blob.Installation{}) {
		t.Fatalf("the id is %v, %v", id, err)
	}
	same := func(s Store) {
		t.Helper()
		if again, err := s.Installation(t.Context()); err != nil || again != id {
			t.Errorf("the id is %v, %v, and was %v", again, err, id)
		}
	}
	_, err = h.Store.CreateUser(t.Context(), account.User{Name: "ann", Created: now})
	if err != nil {
		t.Fatal(err)
	}
	same(h.Store)
	if h.Reopen != nil {
		same(h.Reopen(t))
	}
}

func testUsers(t *testing.T, h Harness) {
	f := &fixture{Store: h.Store, t: t, ctx: t.Context()}
	ann, err := f.CreateUser(f.ctx, account.User{Name: "Ann@Example.org", PasswordHash: "$argon2id$x", Created: now})
	f.ok(err)
	bob, err := f.CreateUser(f.ctx, account.User{Name: "bob", Disabled: true, Created: now})
	f.ok(err)
	if ann.ID == 0 || ann.ID == bob.ID {
		t.Fatalf("ids %d and %d", ann.ID, bob.ID)
	}
	_, err = f.CreateUser(f.ctx, account.User{Name: "ann@example.ORG"})
	f.fails(err, fault.Exists)

	got, err := f.User(f.ctx, "ANN@example.org")
	f.ok(err)
	equal(t, "user by name in another case", got, ann)
	_, err = f.User(f.ctx, "ann")
	f.fails(err, fault.NotFound)

	ann.PasswordHash, ann.Disabled = "$argon2id$y", true
	renamed := ann
	renamed.Name = "not written"
	f.ok(f.UpdateUser(f.ctx, renamed))
	f.fails(f.UpdateUser(f.ctx, account.User{ID: 999}), fault.NotFound)
	all, err := f.Users(f.ctx)
	f.ok(err)
	equal(t, "users", all, []account.User{ann, bob})
}

func testAccounts(t *testing.T, h Harness) {
	f := newFixture(t, h)
	bob, err := f.CreateUser(f.ctx, account.User{Name: "bob"})
	f.ok(err)
	second, err := f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "work@example.org"))
	f.ok(err)
	bobs, err := f.CreateAccount(f.ctx, sampleAccount(bob.ID, "ann@example.org"))
	f.ok(err)
	if f.acc.Position >= second.Position {
		t.Fatalf("positions %d, %d: not in the order of creation", f.acc.Position, second.Position)
	}

	same := sampleAccount(f.user.ID, "Work@Example.org")
	same.Display = "another"
	_, err = f.CreateAccount(f.ctx, same)
	f.fails(err, fault.Exists)
	same = sampleAccount(f.user.ID, "third@example.org")
	same.Display = second.Display
	_, err = f.CreateAccount(f.ctx, same)
	f.fails(err, fault.Exists)
	_, err = f.CreateAccount(f.ctx, sampleAccount(999, "x@example.org"))
	f.fails(err, fault.NotFound)

	second.Display, second.Paused, second.Secret = "renamed", true, account.Secret{KeyID: "k2", Sealed: []byte("new")}
	second.Upstream = account.Endpoint{Host: "::1", Port: 143, TLS: account.TLSStart}
	f.ok(f.UpdateAccount(f.ctx, second))
	clash := second
	clash.Email = f.acc.Email
	f.fails(f.UpdateAccount(f.ctx, clash), fault.Exists)
	clash.ID = 999
	f.fails(f.UpdateAccount(f.ctx, clash), fault.NotFound)

	got, err := f.Accounts(f.ctx, f.user.ID)
	f.ok(err)
	equal(t, "a user's accounts", got, []account.Account{f.acc, second})
	got, err = f.Accounts(f.ctx, 0)
	f.ok(err)
	equal(t, "all accounts", got, []account.Account{f.acc, second, bobs})
	got, err = f.Accounts(f.ctx, 999)
	f.ok(err)
	equal(t, "nobody's accounts", len(got), 0)
}

func testLogins(t *testing.T, h Harness) {
	f := newFixture(t, h)
	bob, err := f.CreateUser(f.ctx, account.User{Name: "bob", PasswordHash: "$argon2id$x", Disabled: true, Created: now})
	f.ok(err)
	eve, err := f.CreateUser(f.ctx, account.User{Name: "eve"})
	f.ok(err)
	_, err = f.CreateAccount(f.ctx, sampleAccount(eve.ID, "anna@example.org"))
	f.ok(err)
	eves, err := f.CreateAccount(f.ctx, sampleAccount(eve.ID, "Ann@Example.org"))
	f.ok(err)
	bobs, err := f.CreateAccount(f.ctx, sampleAccount(bob.ID, "ann@example.org"))
	f.ok(err)
	want := []metadata.Login{{User: f.user, Account: f.acc}, {User: bob, Account: bobs}, {User: eve, Account: eves}}
	for _, email := range []string{"ann@example.org", "ANN@example.org"} {
		got, err := f.Logins(f.ctx, email, 10)
		f.ok(err)
		equal(t, "who has the address "+email, got, want)
	}
	got, err := f.Logins(f.ctx, "ann@example.org", 2)
	f.ok(err)
	equal(t, "two of them", got, want[:2])
	// U+017F is an s to who folds case, and is not in lower case.
	for _, email := range []string{"", "ann", "ann@example.org\x00", "\xff", "bob", "ann@example.org%", "ann@e\u017fample.org"} {
		got, err := f.Logins(f.ctx, email, 10)
		f.ok(err)
		equal(t, "who has the address "+email, len(got), 0)
	}
	f.ok(f.DeleteAccount(f.ctx, bobs.ID))
	f.acc.Email = "other@example.org"
	f.ok(f.UpdateAccount(f.ctx, f.acc))
	got, err = f.Logins(f.ctx, "ann@example.org", 10)
	f.ok(err)
	equal(t, "who has the address still", got, want[2:])
}

func testReseal(t *testing.T, h Harness) {
	f := newFixture(t, h)
	second, err := f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "work@example.org"))
	f.ok(err)
	from, to := second.Secret, account.Secret{KeyID: "k2", Sealed: []byte("sealed anew")}
	f.fails(f.Reseal(f.ctx, second.ID, account.Secret{KeyID: from.KeyID, Sealed: []byte("other")}, to), fault.Conflict)
	f.fails(f.Reseal(f.ctx, second.ID, account.Secret{KeyID: "other", Sealed: from.Sealed}, to), fault.Conflict)
	f.fails(f.Reseal(f.ctx, 999, from, to), fault.NotFound)
	second.Paused = true // what others change meanwhile stays
	f.ok(f.UpdateAccount(f.ctx, second))
	f.ok(f.Reseal(f.ctx, second.ID, from, to))
	f.fails(f.Reseal(f.ctx, second.ID, from, to), fault.Conflict)
	second.Secret = to
	got, err := f.Accounts(f.ctx, 0)
	f.ok(err)
	equal(t, "accounts", got, []account.Account{f.acc, second})
}

func testDeleteAccount(t *testing.T, h Harness) {
	f := newFixture(t, h)
	other := *f
	var err error
	other.acc, err = f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "other@example.org"))
	f.ok(err)
	other.fence, err = f.Acquire(f.ctx, other.acc.ID, "node-1", now, time.Minute)
	f.ok(err)
	other.inbox = other.create("INBOX")
	for _, x := range []*fixture{f, &other} {
		x.add(x.inbox, 1, 2, 3)
		x.ok(x.StoreContents(x.ctx, x.fence, []metadata.Content{body(x.inbox, 1, 1001, 1)}))
		x.ok(x.Unfetchable(x.ctx, x.fence, x.inbox, 2, "refused", now))
		x.apply(x.inbox, metadata.Update{Expunge: mailbox.SetOf[uint32](3)})
		x.ok(x.SetStatus(x.ctx, x.fence, account.Status{State: account.StateIdle, Since: now}))
	}
	f.ok(f.DeleteAccount(f.ctx, f.acc.ID))
	f.fails(f.DeleteAccount(f.ctx, f.acc.ID), fault.NotFound)
	_, err = f.Mailboxes(f.ctx, f.acc.ID)
	f.fails(err, fault.NotFound)
	_, err = f.Changes(f.ctx, f.acc.ID, f.inbox, 0)
	f.fails(err, fault.NotFound)
	_, err = f.Status(f.ctx, f.acc.ID)
	f.fails(err, fault.NotFound)
	f.fails(f.SetStatus(f.ctx, f.fence, account.Status{}), fault.NotFound)

	// Its address and name are free again, its ids are not used again, and the other account has everything.
	again, err := f.CreateAccount(f.ctx, sampleAccount(f.user.ID, "ann@example.org"))
	f.ok(err)
	if again.ID == f.acc.ID {
		t.Fatal("an account's id was used again")
	}
	equal(t, "the other account's messages", len(other.changes(other.inbox, 0).Rows), 2)
	equal(t, "the other account's contents", len(other.contents(other.inbox)), 1)
	equal(t, "the other account's tombstones", other.changes(other.inbox, 1).Expunged.String(), "3")
	pending, err := other.Pending(f.ctx, other.acc.ID, other.inbox, now)
	f.ok(err)
	equal(t, "the other account's failures", pending[0].Attempts, 1)
}

func testStatuses(t *testing.T, h Harness) {
	f := newFixture(t, h)
	st, err := f.Status(f.ctx, f.acc.ID)
	f.ok(err)
	equal(t, "status of a new account", st, account.Status{State: account.StateNew})
	for _, want := range []account.Status{
		{State: account.StateBackoff, Text: "refused", Since: now, NextRetry: now.Add(time.Minute)},
		{State: account.StateIdle, Since: now.Add(time.Second), LastSync: now},
	} {
		f.ok(f.SetStatus(f.ctx, f.fence, want))
		st, err = f.Status(f.ctx, f.acc.ID)
		f.ok(err)
		equal(t, "status", st, want)
	}
}

func testLeases(t *testing.T, h Harness) {
	f := newFixture(t, h)
	id := f.acc.ID
	if f.fence.Account != id || f.fence.Owner != "node-1" || f.fence.Token < 1 {
		t.Fatalf("fence %+v", f.fence)
	}
	_, err := f.Acquire(f.ctx, id, "node-2", now.Add(59*time.Second), time.Minute)
	f.fails(err, fault.Conflict)
	f.ok(f.Renew(f.ctx, f.fence, now.Add(50*time.Second), time.Minute))
	_, err = f.Acquire(f.ctx, id, "node-2", now.Add(70*time.Second), time.Minute)
	f.fails(err, fault.Conflict)

	// The same owner may ask again; a late renewal holds as long as nobody else came.
	again, err := f.Acquire(f.ctx, id, "node-1", now.Add(70*time.Second), time.Minute)
	f.ok(err)
	if again.Token < f.fence.Token {
		t.Fatalf("the token went from %d to %d", f.fence.Token, again.Token)
	}
	f.ok(f.Renew(f.ctx, again, now.Add(time.Hour), time.Minute))

	later := now.Add(2 * time.Hour)
	taken, err := f.Acquire(f.ctx, id, "node-2", later, time.Minute)
	f.ok(err)
	if taken.Token <= again.Token {
		t.Fatalf("the token went from %d to %d with a new owner", again.Token, taken.Token)
	}
	f.fails(f.Renew(f.ctx, again, later, time.Minute), fault.Conflict)
	f.ok(f.Release(f.ctx, again)) // lost already
	f.ok(f.Renew(f.ctx, taken, later, time.Minute))

	f.ok(f.Release(f.ctx, taken))
	f.fails(f.Renew(f.ctx, taken, later, time.Minute), fault.Conflict)
	last, err := f.Acquire(f.ctx, id, "node-1", later, time.Minute)
	f.ok(err)
	if last.Token <= taken.Token {
		t.Fatalf("the token went from %d to %d after a release", taken.Token, last.Token)
	}
	_, err = f.Acquire(f.ctx, 999, "node-1", now, time.Minute)
	f.fails(err, fault.NotFound)
}

// testFences tries every write with fences that are not the current one.
func testFences(t *testing.T, h Harness) {
	f := newFixture(t, h)
	f.add(f.inbox, 1, 2)
	old := f.fence
	current, err := f.Acquire(f.ctx, f.acc.ID, "node-2", now.Add(time.Hour), time.Minute)
	f.ok(err)
	f.fence = current
	f.ok(f.StoreContents(f.ctx, current, []metadata.Content{body(f.inbox, 1, 1001, 1)}))
	f.deliver(f.inbox, 1)
	before := f.everything()

	wrongOwner := current
	wrongOwner.Owner = old.Owner
	future := current
	future.Token++
	for _, bad := range []metadata.Fence{old, wrongOwner, future, {Account: f.acc.ID}} {
		for name, write := range map[string]func() error{
			"SetStatus":     func() error { return f.SetStatus(f.ctx, bad, account.Status{State: account.StateIdle}) },
			"RemoveMailbox": func() error { return f.RemoveMailbox(f.ctx, bad, f.inbox) },
			"DropContent":   func() error { return f.DropContent(f.ctx, bad, f.inbox, 1) },
			"Settle": func() error {
				_, err := f.Settle(f.ctx, bad, now, []metadata.Outcome{{ID: f.queue()[0].ID}})
				return err
			},
			"Intend": func() error {
				_, err := f.Intend(f.ctx, bad, []metadata.Intended{{ID: f.queue()[0].ID}})
				return err
			},
			"Unfetchable": func() error { return f.Unfetchable(f.ctx, bad, f.inbox, 2, "why", now) },
			"StoreContents": func() error {
				return f.StoreContents(f.ctx, bad, []metadata.Content{body(f.inbox, 2, 1, 1)})
			},
			"SaveMailbox": func() error {
				_, err := f.SaveMailbox(f.ctx, bad, metadata.Mirrored{Info: mailbox.Info{Name: "New"}})
				return err
			},
			"Apply": func() error {
				_, err := f.Apply(f.ctx, bad, metadata.Update{
					Mailbox: f.inbox, Expunge: mailbox.SetOf[uint32](1), New: []metadata.NewMessage{sample(3)},
					Checkpoint: &metadata.Checkpoint{UIDNext: 9},
				})
				return err
			},
		} {
			if err := write(); !fault.Is(err, fault.Conflict) {
				t.Errorf("%s with the fence %+v: %v, want a conflict", name, bad, err)
			}
		}
	}
	equal(t, "what the store holds", f.everything(), before)
}

// everything is all that the port shows of the fixture's account.
type everything struct {
	Status     account.Status
	Mirrored   []metadata.Mirrored
	Deltas     []mailbox.Delta
	Rows       []metadata.UpstreamRow
	Contents   []metadata.Content
	Pending    []metadata.PendingBody
	Identities []metadata.Identity
	Queue      []metadata.Queued
	Retained   []metadata.Retained
}

func (f *fixture) everything() (e everything) {
	f.t.Helper()
	var err error
	e.Status, err = f.Status(f.ctx, f.acc.ID)
	f.ok(err)
	e.Mirrored, err = f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	e.Queue, e.Retained = f.queue(), f.retained("", time.Time{})
	for _, m := range e.Mirrored {
		if m.Deleting {
			continue
		}
		e.Deltas = append(e.Deltas, f.changes(m.ID, 0), f.changes(m.ID, 1))
		e.Rows = append(e.Rows, f.upstreamRows(m.ID)...)
		e.Contents = append(e.Contents, f.contents(m.ID)...)
		e.Identities = append(e.Identities, f.identities(m.ID, everyUID)...)
		pending, err := f.Pending(f.ctx, f.acc.ID, m.ID, now)
		f.ok(err)
		e.Pending = append(e.Pending, pending...)
	}
	return e
}

// everyUID is 1:*.
var everyUID = mailbox.Set{{First: 1, Last: 1<<32 - 1}}

func (f *fixture) upstreamRows(id mailbox.ID) (rows []metadata.UpstreamRow) {
	f.t.Helper()
	f.ok(f.UpstreamRows(f.ctx, f.acc.ID, id, func(r metadata.UpstreamRow) error {
		rows = append(rows, r)
		return nil
	}))
	return rows
}

func (f *fixture) identities(id mailbox.ID, uids mailbox.Set) (all []metadata.Identity) {
	f.t.Helper()
	f.ok(f.Identities(f.ctx, f.acc.ID, id, uids, func(v metadata.Identity) error {
		all = append(all, v)
		return nil
	}))
	return all
}

// contents returns all contents of a mailbox, copied.
func (f *fixture) contents(id mailbox.ID) (all []metadata.Content) {
	f.t.Helper()
	f.ok(f.Contents(f.ctx, f.acc.ID, id, everyUID, metadata.WantAll, func(v *metadata.Content) error {
		all = append(all, clone(v))
		return nil
	}))
	return all
}

func clone(v *metadata.Content) metadata.Content {
	c := *v
	for _, p := range []*[]byte{&c.Envelope, &c.Body, &c.BodyStructure, &c.Headers, &c.Preview, &c.Parts} {
		*p = slices.Clone(*p)
	}
	return c
}

// equal compares what a store said with what was expected.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}
