package ledger_test

import (
	"strings"
	"testing"

	"imapped/e2e/ledger"
)

var (
	inbox   = ledger.Box{Account: "a", Name: "INBOX"}
	archive = ledger.Box{Account: "a", Name: "Archive"}
)

// expect fails unless there is one complaint for each of the texts, which it holds.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d complaints, want %d: %q", len(got), len(want), got)
	}
	for i, text := range want {
		if !strings.Contains(got[i], text) {
			t.Errorf("complaint %q, want one of %q", got[i], text)
		}
	}
}

func seen(uid uint32, token string, flags ...string) ledger.Seen {
	return ledger.Seen{UID: uid, Token: token, Flags: flags}
}

// show checks an account with an INBOX and an Archive.
func show(l *ledger.Ledger, in, arch []ledger.Seen) []string {
	return l.Check("a", map[string][]ledger.Seen{"INBOX": in, "Archive": arch})
}

func list(all ...ledger.Seen) []ledger.Seen { return all }

// appended notes a message in INBOX for whose keyword "$k" somebody is responsible.
func appended(l *ledger.Ledger, token string, uid uint32) *ledger.Copy {
	return l.Appending(inbox, []string{token}, "$k").Done(uid)[0]
}

func TestAcknowledged(t *testing.T) {
	l := ledger.New()
	appended(l, "x", 7)
	expect(t, show(l, list(seen(7, "x")), nil))
	expect(t, show(l, nil, nil), "acknowledged and is lost")
	expect(t, show(l, list(seen(7, "x"), seen(8, "x")), nil), "too many")
	expect(t, show(l, list(seen(7, "x"), seen(7, "x")), nil), "there twice")
	expect(t, show(l, list(seen(8, "x")), nil), "acknowledged and is lost", "too many")
	expect(t, show(l, list(seen(7, "y")), nil), "promised to be x")
	expect(t, show(l, list(seen(7, "x", "$K")), nil), "promised to be false")
	expect(t, show(l, list(seen(7, "x"), seen(8, "nobody's")), nil), "too many")
	expect(t, show(l, list(seen(7, "x")), list(seen(1, "x"))), "a/Archive: x is there 1 times too many")
}

func TestRefused(t *testing.T) {
	l := ledger.New()
	x := appended(l, "x", 7)
	l.Appending(inbox, []string{"y"}).Refused()
	l.Moving(x, archive).Refused()
	l.Copying(x, archive).Refused()
	l.Removing(x).Refused()
	l.Setting(x, "$k", true).Refused()
	expect(t, show(l, list(seen(7, "x")), nil))
	expect(t, show(l, list(seen(7, "x"), seen(8, "y")), nil), "y is there 1 times too many")
	expect(t, show(l, nil, list(seen(1, "x"))), "too many", "acknowledged and is lost")
}

func TestUnanswered(t *testing.T) {
	for _, c := range []struct {
		name       string
		try        func(l *ledger.Ledger, x *ledger.Copy)
		in, arch   []ledger.Seen
		complaints []string
	}{
		{"append, done", lostAppend, list(seen(7, "x"), seen(9, "y")), nil, nil},
		{"append, not done", lostAppend, list(seen(7, "x")), nil, nil},
		{"append, twice", lostAppend, list(seen(7, "x"), seen(8, "y"), seen(9, "y")), nil, []string{"no more than 1"}},
		{"copy, done", lostCopy, list(seen(7, "x")), list(seen(1, "x")), nil},
		{"copy, not done", lostCopy, list(seen(7, "x")), nil, nil},
		{"copy, twice", lostCopy, list(seen(7, "x")), list(seen(1, "x"), seen(2, "x")), []string{"no more than 1"}},
		{"copy, source lost", lostCopy, nil, list(seen(1, "x")), []string{"acknowledged and is lost"}},
		{"move, done", lostMove, nil, list(seen(1, "x")), nil},
		{"move, not done", lostMove, list(seen(7, "x")), nil, nil},
		{"move, half", lostMove, list(seen(7, "x")), list(seen(1, "x")), []string{"too many"}},
		{"move, in neither", lostMove, nil, nil, []string{"in neither place"}},
		{"expunge, done", lostRemoval, nil, nil, nil},
		{"expunge, not done", lostRemoval, list(seen(7, "x")), nil, nil},
		{"flag, done", lostFlag, list(seen(7, "x", "$k")), nil, nil},
		{"flag, not done", lostFlag, list(seen(7, "x")), nil, nil},
		{"flag, message lost", lostFlag, nil, nil, []string{"acknowledged and is lost"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := ledger.New()
			c.try(l, appended(l, "x", 7))
			expect(t, show(l, c.in, c.arch), c.complaints...)
		})
	}
}

func lostAppend(l *ledger.Ledger, _ *ledger.Copy) { l.Appending(inbox, []string{"y"}).Lost() }
func lostCopy(l *ledger.Ledger, x *ledger.Copy)   { l.Copying(x, archive).Lost() }
func lostMove(l *ledger.Ledger, x *ledger.Copy)   { l.Moving(x, archive).Lost() }
func lostRemoval(l *ledger.Ledger, x *ledger.Copy) {
	l.Removing(x).Lost()
}
func lostFlag(l *ledger.Ledger, x *ledger.Copy) { l.Setting(x, "$k", true).Lost() }

func TestDone(t *testing.T) {
	l := ledger.New()
	x, y := appended(l, "x", 7), appended(l, "y", 8)
	l.Setting(x, "$k", true).Done()
	l.Copying(x, archive).Done(1)
	l.Moving(x, archive).Done(2)
	l.Removing(y).Done()
	expect(t, show(l, nil, list(seen(1, "x", "$k"), seen(2, "x", "$k"))))
	expect(t, show(l, list(seen(7, "x")), list(seen(1, "x", "$k"), seen(2, "x"))), "promised to be true", "UID 7 (x) was removed and is there")
	expect(t, show(l, list(seen(9, "y")), list(seen(1, "x", "$k"), seen(2, "x", "$k"))), "y is there 1 times too many")
}

func TestDelivered(t *testing.T) {
	l := ledger.New()
	d, e := l.Delivered("d", inbox, "$k"), l.Delivered("e", inbox)
	l.Setting(d, "$k", true).Done()
	expect(t, show(l, list(seen(3, "d", "$k"), seen(4, "e")), nil))
	expect(t, show(l, list(seen(3, "d")), nil), "promised to be true", "e was delivered and is lost")
	l.Removing(e).Done()
	expect(t, show(l, list(seen(3, "d", "$k"), seen(4, "e")), nil), "e is there 1 times too many")
	l.Located(d, 3)
	expect(t, show(l, list(seen(4, "d", "$k")), nil), "acknowledged and is lost", "too many")
}

func TestPromise(t *testing.T) {
	l := ledger.New()
	x, y, z := appended(l, "x", 7), appended(l, "y", 8), appended(l, "z", 9)
	l.Removing(z).Done()
	flag := l.Setting(y, "$k", true)
	p := l.Promised(inbox)
	expect(t, p.Broken(list(seen(7, "x"), seen(8, ""))))
	expect(t, p.Broken(nil), "UID 7 (x) was acknowledged and is not there")
	expect(t, p.Broken(list(seen(7, "", "$k"))), "promised to be false")
	expect(t, p.Broken(list(seen(7, ""), seen(9, ""))), "UID 9 (z) was removed and is there again")
	flag.Done()
	expect(t, p.Broken(list(seen(7, ""))))
	if on, known := l.Has(y, "$k"); !on || !known {
		t.Errorf("Has = %t, %t", on, known)
	}
	p = l.Promised(inbox)
	move := l.Moving(x, archive)
	expect(t, p.Broken(list(seen(8, "", "$k"))))
	move.Lost()
	expect(t, p.Broken(list(seen(8, "", "$k"))))
	expect(t, l.Promised(inbox).Broken(list(seen(7, ""), seen(8, ""))), "promised to be true")
	if _, known := l.Has(x, "$k"); known {
		t.Error("what an unanswered move may have taken away is known")
	}
}

func TestDifferences(t *testing.T) {
	ours, theirs := list(seen(1, "x", `\Seen`, "$k"), seen(2, "y")), list(seen(9, "y"), seen(10, "x", "$K", `\seen`))
	expect(t, ledger.Differences(ours, theirs))
	expect(t, ledger.Differences(ours, append(theirs, seen(11, "y"))), "1 times only upstream: y ()")
	expect(t, ledger.Differences(append(ours, seen(3, "x")), theirs), "1 times only here: x ()")
}

func TestContents(t *testing.T) {
	l := ledger.New()
	l.Write("x", []byte("content"))
	if token, ok := l.Token([]byte("content")); token != "x" || !ok {
		t.Errorf("Token = %q, %t", token, ok)
	}
	if token, ok := l.Token([]byte("other")); ok {
		t.Errorf("nobody wrote it, and it is %q", token)
	}
}

func TestMemory(t *testing.T) {
	m := ledger.NewMemory()
	at := ledger.Place{Box: inbox, UID: 7}
	for i, c := range []struct{ got, want string }{
		{m.Validity(inbox, 5), ""},
		{m.Validity(inbox, 5), ""},
		{m.Validity(archive, 6), ""},
		{m.Validity(inbox, 6), "was 5 and is 6"},
		{m.Meaning(at, 5, "E1", ""), ""},
		{m.Meaning(at, 5, "", "x"), ""},
		{m.Meaning(at, 5, "E1", "x"), ""},
		{m.Meaning(at, 5, "E2", ""), "was the message E1 and is E2"},
		{m.Meaning(at, 5, "", "y"), "was x and is y"},
		{m.Meaning(at, 6, "E2", "y"), ""},
		{m.Meaning(ledger.Place{Box: archive, UID: 1}, 5, "E3", "x"), "has the identity E3, and had E1"},
		{m.Highest(inbox, 0, 10), ""},
		{m.Highest(inbox, 10, 9), "HIGHESTMODSEQ is 9, after something of 10"},
	} {
		if c.got != c.want && (c.want == "" || !strings.Contains(c.got, c.want)) {
			t.Errorf("%d: %q, want %q", i, c.got, c.want)
		}
	}
	m.Heard(inbox, 12)
	if f := m.Floor(inbox); f != 12 {
		t.Errorf("Floor = %d", f)
	}
}
