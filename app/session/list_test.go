package session

import (
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

// render writes answers as "name flags", so that tables stay readable: N nonexistent, S subscribed, C has children,
// I CHILDINFO, x \Noselect, u special use.
func render(items []Listed) []string {
	var out []string
	for _, i := range items {
		s := ""
		for _, f := range []struct {
			on   bool
			mark string
		}{
			{i.NonExistent, "N"}, {i.Subscribed, "S"}, {i.HasChildren, "C"}, {i.ChildInfo, "I"},
			{i.Attrs&mailbox.NoSelect != 0, "x"}, {i.Attrs&mailbox.SpecialUse != 0, "u"},
		} {
			if f.on {
				s += f.mark
			}
		}
		out = append(out, strings.TrimSpace(i.Name+" "+s))
	}
	return out
}

// boxes makes mailboxes from names; "+" before a name subscribes it.
func boxes(w *world, names string) {
	acc := w.account("Home", "ann@example.org")
	for name := range strings.FieldsSeq(names) {
		name, subscribed := strings.CutPrefix(name, "+")
		w.box(acc, name, 0, subscribed)
	}
}

func TestList(t *testing.T) {
	fruit := "+INBOX Fruit Fruit/Apple +Fruit/Banana Tofu +Vegetable +Vegetable/Broccoli Vegetable/Corn"
	foo := "Foo +Foo/Bar Foo/Baz Moo"
	both := "+Foo +Foo/Bar Foo/Baz Moo"
	self := "+Foo Foo/Baz +Moo"
	bars := "foo2 +foo2/bar1 +foo2/bar2 baz2 +baz2/bar2 +baz2/bar22 +baz2/bar222 +eps2 +eps2/mamba +qux2/bar2"
	sub, rec := ListRequest{Subscribed: true}, ListRequest{Subscribed: true, Recursive: true}
	for _, tt := range []struct {
		what, boxes string
		r           ListRequest
		patterns    string
		want        string // separated by ", "
	}{
		// RFC 5258 section 5.
		{"1", fruit, ListRequest{}, "*", "Fruit C, Fruit/Apple, Fruit/Banana S, INBOX S, Tofu, Vegetable SC, Vegetable/Broccoli S, Vegetable/Corn"},
		{"2", fruit, sub, "*", "Fruit/Banana S, INBOX S, Vegetable SC, Vegetable/Broccoli S"},
		{"3", fruit, ListRequest{}, "%", "Fruit C, INBOX S, Tofu, Vegetable SC"},
		{"7", "INBOX foo2/bar a/b", ListRequest{}, "INBOX a/% foo%", "INBOX, a/b, foo2 NC"},
		{"8a", foo, rec, "%", "Foo CI"},
		{"8b", both, rec, "%", "Foo SCI"},
		{"8c", self, rec, "%", "Foo SC, Moo S"},
		{"9", bars, rec, "*2", "baz2/bar2 S, baz2/bar22 S, baz2/bar222 S, eps2 SCI, foo2 CI, foo2/bar2 S, qux2/bar2 S"},
		{"9 %", bars, rec, "%", "baz2 CI, eps2 SCI, foo2 CI, qux2 NCI"},
		// LSUB, RFC 3501 section 6.3.9: a parent stands for subscribed names that the pattern hides.
		{"lsub %", foo, ListRequest{LSUB: true}, "%", "Foo Cx"},
		{"lsub *", foo, ListRequest{LSUB: true}, "*", "Foo/Bar S"},
		{"lsub parent", "+a/b/c", ListRequest{LSUB: true}, "%", "a NCx"},
		{"lsub deep", "+a/b/c", ListRequest{LSUB: true}, "a/%", "a/b NCx"},
		// Parents that are no mailboxes.
		{"parents", "a/b/c a/d", ListRequest{}, "*", "a NC, a/b NC, a/b/c, a/d"},
		{"parents %", "a/b/c a/d", ListRequest{}, "%", "a NC"},
		{"parents a/%", "a/b/c a/d", ListRequest{}, "a/%", "a/b NC, a/d"},
		{"not subscribed", "a/b", sub, "*", ""},
		// Wildcards, references, INBOX.
		{"reference", fruit, ListRequest{Reference: "Fruit/"}, "%", "Fruit/Apple, Fruit/Banana S"},
		{"reference star", fruit, ListRequest{Reference: "F"}, "*a", "Fruit/Banana S"},
		{"prefix", "Work Work/Sub Worker", ListRequest{}, "W*", "Work C, Work/Sub, Worker"},
		{"suffix", "Work Work/Sub", ListRequest{}, "*Sub", "Work/Sub"},
		{"no globs", "a[b] axb a?b", ListRequest{}, "a[b] a?b", "a?b, a[b]"},
		{"inbox", "INBOX INBOX/x Inboxes", ListRequest{}, "inbox*", "INBOX C, INBOX/x"},
		{"inbox exact", "INBOX", ListRequest{}, "iNbOx", "INBOX"},
		{"other names keep case", "Work work", ListRequest{}, "work", "work"},
		{"utf8", "Привет Привет/мир", ListRequest{}, "П%", "Привет C"},
		{"twice", "a", ListRequest{}, "a * %", "a"},
		{"nothing", "a", ListRequest{}, "b", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newWorld(t)
			boxes(w, tt.boxes)
			tt.r.Patterns = strings.Fields(tt.patterns)
			got, err := w.login(t, w.service(), "ann").List(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if s := strings.Join(render(got), ", "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

func TestListDelimiter(t *testing.T) {
	w := newWorld(t)
	boxes(w, "INBOX")
	for _, r := range []ListRequest{{Patterns: []string{""}}, {Reference: "x/", Patterns: []string{""}}, {Patterns: []string{""}, LSUB: true}} {
		got, err := w.login(t, w.service(), "ann").List(t.Context(), r)
		if err != nil || len(got) != 1 || got[0].Name != "" || got[0].Attrs != mailbox.NoSelect {
			t.Errorf("%+v: %+v %v", r, got, err)
		}
	}
}

func TestListSpecialUseAndStatus(t *testing.T) {
	w := newWorld(t)
	acc := w.account("Home", "ann@example.org")
	w.add(w.box(acc, "INBOX", 0, true), 3, true)
	w.box(acc, "Sent Items", mailbox.Sent, true)
	w.box(acc, "Folder", mailbox.NoSelect, false)
	s := w.login(t, w.service(), "ann")
	got, err := s.List(t.Context(), ListRequest{Patterns: []string{"*"}, SpecialUse: true})
	if err != nil || strings.Join(render(got), ", ") != "Sent Items Su" {
		t.Errorf("special use: %v %v", render(got), err)
	}
	got, err = s.List(t.Context(), ListRequest{Patterns: []string{"*"}, Status: true})
	if err != nil || len(got) != 3 {
		t.Fatalf("%v %v", render(got), err)
	}
	if got[0].Status != nil {
		t.Error("a mailbox that cannot be selected has a status")
	}
	if st := got[1].Status; st == nil || st.Messages != 3 || st.Unseen != 3 || st.Recent != 3 || st.UIDNext != 4 || st.MailboxID == "" {
		t.Errorf("status %+v", got[1].Status)
	}
}

func TestSeveralAccounts(t *testing.T) {
	w := newWorld(t)
	home, work, third := w.account("Home", "ann@example.org"), w.account("Work", "ann@work.example"), w.account("Home", "ann/3@x")
	w.box(home, "INBOX", 0, true)
	w.box(home, "Home/old", 0, true)
	w.add(w.box(work, "INBOX", 0, true), 2, true)
	w.box(work, "Projects/A", 0, true)
	w.box(third, "INBOX", 0, true)
	svc := w.service()
	s := w.login(t, svc, "ann")
	got, err := s.List(t.Context(), ListRequest{Patterns: []string{"*"}})
	if err != nil {
		t.Fatal(err)
	}
	// The third account's display name is taken by a mailbox of the first: its address stands in.
	want := "Home NC, Home/old S, INBOX S, Work Cx, Work/INBOX S, Work/Projects NC, Work/Projects/A S, ann_3@x Cx, ann_3@x/INBOX S"
	if s := strings.Join(render(got), ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	for name, messages := range map[string]uint32{"inbox": 0, "Work/INBOX": 2, "Work/inBox": 2} {
		if st, err := s.Status(t.Context(), name); err != nil || st.Messages != messages {
			t.Errorf("%s: %+v %v", name, st, err)
		}
	}
	for name, kind := range map[string]fault.Kind{
		"Work": fault.Invalid, "Home": fault.NotFound, "work/INBOX": fault.NotFound, "": fault.NotFound, "INBOX/": fault.NotFound,
	} {
		if _, err := s.Status(t.Context(), name); !fault.Is(err, kind) {
			t.Errorf("STATUS %q: %v, want %v", name, err, kind)
		}
		if _, err := s.Open(t.Context(), name, OpenOptions{}); !fault.Is(err, kind) {
			t.Errorf("SELECT %q: %v, want %v", name, err, kind)
		}
	}
	alone := w.login(t, svc, "ann@work.example")
	got, err = alone.List(t.Context(), ListRequest{Patterns: []string{"*"}})
	if s := strings.Join(render(got), ", "); err != nil || s != "INBOX S, Projects NC, Projects/A S" {
		t.Errorf("the account alone: %s %v", s, err)
	}
}

func TestNamesAreLookedUpAnew(t *testing.T) {
	w := newWorld(t)
	acc := w.account("Home", "ann@example.org")
	b := w.box(acc, "a", 0, true)
	s := w.login(t, w.service(), "ann")
	first, err := s.Status(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	b.info.Name = "b" // renamed, and another one takes the name
	other := w.box(acc, "a", 0, true)
	w.add(other, 1, true)
	if st, err := s.Status(t.Context(), "a"); err != nil || st.MailboxID == first.MailboxID || st.Messages != 1 {
		t.Errorf("%+v %v", st, err)
	}
	if st, err := s.Status(t.Context(), "b"); err != nil || st.MailboxID != first.MailboxID {
		t.Errorf("%+v %v", st, err)
	}
	delete(w.boxes, other.info.ID)
	if _, err := s.Status(t.Context(), "a"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a removed mailbox: %v", err)
	}
}

func TestPatternFollowsTheModel(t *testing.T) {
	rnd := seeded(t)
	word := func(alphabet string, n int) string {
		var b strings.Builder
		for range rnd.IntN(n) {
			b.WriteByte(alphabet[rnd.IntN(len(alphabet))])
		}
		return b.String()
	}
	for range 30000 {
		p, name := word("ab/*%", 9), word("ab/", 10)
		expr := strings.NewReplacer(`\*`, ".*", "%", "[^/]*").Replace(regexp.QuoteMeta(p))
		want := regexp.MustCompile("^(?:" + expr + ")$").MatchString(name)
		if got := newPattern(p).match(name, -1); got != want {
			t.Fatalf("%q matches %q: %v, want %v", p, name, got, want)
		}
	}
}

func TestPatternIsNotExponential(t *testing.T) {
	name := strings.Repeat("a", 2000)
	for _, p := range []string{
		strings.Repeat("*%", 500) + "b", strings.Repeat("*a", 900) + "b", strings.Repeat("%a", 900) + "b",
		strings.Repeat("*a%", 600) + "/",
	} {
		if newPattern(p).match(name, -1) { // would take ages if it tried every way
			t.Errorf("%.20q... matches", p)
		}
	}
}

func seeded(t testing.TB) *rand.Rand {
	s := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("IMAPPED_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 3))
}

func TestParents(t *testing.T) {
	if got := slices.Collect(parents("a/b/c")); !slices.Equal(got, []string{"a/b", "a"}) {
		t.Errorf("%q", got)
	}
	if got := slices.Collect(parents("/a")); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
