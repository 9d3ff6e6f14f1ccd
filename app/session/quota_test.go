package session_test

import (
	"bytes"
	"fmt"
	"testing"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// used returns what an account holds, as a session tells it.
func (r *rig) used(s session.Session, acc int) int64 {
	r.Helper()
	q, err := s.Quota(r.Context(), r.accounts[acc].Email)
	r.check(err)
	return q.Used
}

// octetsOf returns a message of n octets.
func octetsOf(n int) []byte { return bytes.Repeat([]byte("x"), n) }

func TestQuotaRoots(t *testing.T) {
	r := newRig(t, "mirrored", "local")
	r.deliver(0, r.mirror(0, "Box", '/'), false, octetsOf(1000), octetsOf(24))
	s := r.login()
	if roots, err := s.QuotaRoots(t.Context(), "INBOX"); err != nil || len(roots) != 0 {
		t.Errorf("without a quota: %+v, %v", roots, err)
	}
	_, err := s.Quota(t.Context(), "ann1@example.org")
	isFault(t, "a quota root without a quota", err, fault.NotFound)

	r.quota = 5000
	r.reopen()
	s = r.login()
	for name, want := range map[string]session.Quota{
		"INBOX": {Root: "ann1@example.org", Used: 1024, Limit: 5000}, "Box": {Root: "ann1@example.org", Used: 1024, Limit: 5000},
		"not/there": {Root: "ann1@example.org", Used: 1024, Limit: 5000}, "Acc2": {Root: "ann2@example.org", Limit: 5000},
		"Acc2/INBOX": {Root: "ann2@example.org", Limit: 5000}, "Acc2/not/there": {Root: "ann2@example.org", Limit: 5000},
	} {
		if roots, err := s.QuotaRoots(t.Context(), name); err != nil || len(roots) != 1 || roots[0] != want {
			t.Errorf("%s: %+v, %v, want %+v", name, roots, err, want)
		}
		if q, err := s.Quota(t.Context(), want.Root); err != nil || q != want {
			t.Errorf("%s: %+v, %v", want.Root, q, err)
		}
	}
	for _, root := range []string{"", "ANN1@example.org", "Acc2", "ann3@example.org"} {
		_, err := s.Quota(t.Context(), root)
		isFault(t, fmt.Sprintf("the quota root %q", root), err, fault.NotFound)
	}
}

// TestQuotaOfAppend: a message is refused before it comes when there is no room for it and those before it, and at the
// commit when the room has gone meanwhile.
func TestQuotaOfAppend(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		id := r.mirror(0, "Box", '/')
		r.deliver(0, id, true, octetsOf(400))
		r.quota = 1000
		r.reopen()
		s, ctx := r.login(), t.Context()
		m := r.selectBox(s, "Box")
		begin := func() session.Append {
			a, err := s.Append(ctx, "INBOX")
			r.check(err)
			return a
		}
		add := func(a session.Append, n int) {
			t.Helper()
			r.check(a.Add(ctx, bytes.NewReader(octetsOf(n)), int64(n), flags(), testTime))
		}
		a := begin()
		isFault(t, "more than there is room for", a.Fits(ctx, 601, nil, 0), fault.OverQuota)
		r.check(a.Fits(ctx, 600, nil, 0))
		add(a, 500)
		isFault(t, "a second one", a.Fits(ctx, 101, nil, 0), fault.OverQuota)
		r.check(a.Fits(ctx, 100, nil, 0))
		add(a, 100)
		_, err := a.Commit(ctx, nil, 0)
		r.check(err)
		if got := r.used(s, 0); got != 1000 {
			t.Errorf("%d octets are used", got)
		}

		// What is replaced makes room.
		a = begin()
		isFault(t, "a larger replacement", a.Fits(ctx, 401, m, 1), fault.OverQuota)
		isFault(t, "no replacement", a.Fits(ctx, 1, m, 0), fault.OverQuota)
		isFault(t, "the replacement of what is not there", a.Fits(ctx, 1, m, 2), fault.NotFound)
		r.check(a.Fits(ctx, 400, m, 1))
		add(a, 300)
		r.check(a.Fits(ctx, 100, m, 1))
		_, err = a.Commit(ctx, m, 1)
		r.check(err)
		if got := r.used(s, 0); got != 900 {
			t.Errorf("%d octets are used", got)
		}

		// Mail comes in although there is no room for it, and takes what a client was promised.
		a, other := begin(), begin()
		r.check(a.Fits(ctx, 100, nil, 0))
		add(a, 100)
		r.deliver(0, id, true, octetsOf(700))
		r.wakes(0)
		_, err = a.Commit(ctx, nil, 0)
		isFault(t, "the commit", err, fault.OverQuota)
		isFault(t, "one octet", other.Fits(ctx, 1, nil, 0), fault.OverQuota)
		if got := r.used(s, 0); got != 1600 {
			t.Errorf("%d octets are used", got)
		}
		if n := r.wakes(0); n != 0 {
			t.Errorf("what was refused wakes replay %d times", n)
		}
		a.Close()
		other.Close()
	})
}

// TestQuotaOfCopy: within an account a copy needs room and a move does not; into another account both do, and nothing is
// fetched for one that is refused.
func TestQuotaOfCopy(t *testing.T) {
	r := newRig(t, "mirrored", "local")
	id := r.mirror(0, "Box", '/')
	r.deliver(0, id, false, octetsOf(400), octetsOf(300), octetsOf(250))
	r.quota = 1000
	r.reopen()
	s, ctx := r.login(), t.Context()
	m := r.selectBox(s, "Box")
	r.advance(m)
	for _, to := range []string{"Box", "INBOX"} {
		_, err := m.Copy(ctx, set(3), to, false)
		isFault(t, "a copy to "+to, err, fault.OverQuota)
	}
	_, err := m.Copy(ctx, set(3), "INBOX", true)
	r.check(err)
	if got := r.used(s, 0); got != 950 {
		t.Errorf("%d octets are used", got)
	}
	done, err := m.Copy(ctx, set(99), "INBOX", false)
	if r.check(err); len(done.Source) > 0 {
		t.Errorf("%+v is copied", done)
	}

	f := r.fences[1]
	inbox, err := r.db.Mailboxes(ctx, f.Account)
	r.check(err)
	r.deliver(1, inbox[0].ID, true, octetsOf(650))
	r.advance(m)
	for _, move := range []bool{false, true} {
		_, err := m.Copy(ctx, set(1), "Acc2/INBOX", move)
		isFault(t, "into another account", err, fault.OverQuota)
	}
	if len(r.fetched) > 0 {
		t.Errorf("the bodies of %v were fetched", r.fetched)
	}
	if _, err := m.Copy(ctx, set(2), "Acc2/INBOX", true); err != nil || r.used(s, 0) != 650 || r.used(s, 1) != 950 {
		t.Errorf("%v, and %d and %d octets are used", err, r.used(s, 0), r.used(s, 1))
	}
	// A replacement in another account makes no room there, and needs none here.
	a, err := s.Append(ctx, "Acc2/INBOX")
	r.check(err)
	isFault(t, "a replacement in another account", a.Fits(ctx, 100, m, 1), fault.OverQuota)
	r.check(a.Fits(ctx, 50, m, 1))
	r.check(a.Add(ctx, bytes.NewReader(octetsOf(50)), 50, flags(), testTime))
	if _, err := a.Commit(ctx, m, 1); err != nil || r.used(s, 0) != 250 || r.used(s, 1) != 1000 {
		t.Errorf("%v, and %d and %d octets are used", err, r.used(s, 0), r.used(s, 1))
	}
}

// TestQuotaSizeOfBodies: what the upstream said of a size is put right when the body comes.
func TestQuotaSizeOfBodies(t *testing.T) {
	r := newRig(t, "mirrored")
	r.quota = 1000
	r.reopen()
	id := r.mirror(0, "Box", '/')
	done, err := r.db.Apply(t.Context(), r.fences[0], metadata.Update{Mailbox: id, New: []metadata.NewMessage{
		{Upstream: 1, Size: 5000, Flags: flags(`\Deleted`)}, {Upstream: 2, Size: 1 << 62},
	}})
	r.check(err)
	s := r.login()
	if st, err := s.Status(t.Context(), "Box"); err != nil || st.DeletedSize != 5000 {
		t.Errorf("%+v, %v", st, err)
	}
	for i, uid := range done.UIDs {
		r.bodies[uid] = octetsOf(100 * (i + 1))
	}
	r.check(r.Fetch(t.Context(), r.accounts[0].ID, id, []mailbox.UID{1, 2}))
	if st, err := s.Status(t.Context(), "Box"); err != nil || st.DeletedSize != 100 || st.Size != 300 || r.used(s, 0) != 300 {
		t.Errorf("%+v, %v, and %d octets are used", st, err, r.used(s, 0))
	}
}
