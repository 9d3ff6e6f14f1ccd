package fsm

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// rfc is what the RFCs say of each command, written by hand from their text and not from the table.
var rfc = []struct {
	name string
	// where it is valid: RFC 9051 sections 6.1 (any state), 6.2, 6.3, 6.4
	notAuth, auth, selected bool
}{
	// 6.1: any state
	{"CAPABILITY", true, true, true}, {"NOOP", true, true, true}, {"LOGOUT", true, true, true},
	{"ID", true, true, true}, // RFC 2971 section 3.1: at any time
	// 6.2: not authenticated state
	{"STARTTLS", true, false, false}, {"AUTHENTICATE", true, false, false}, {"LOGIN", true, false, false},
	// 6.3: authenticated state, and selected (6.4: the commands of 6.3 are valid there too)
	{"ENABLE", false, true, true}, {"SELECT", false, true, true}, {"EXAMINE", false, true, true},
	{"CREATE", false, true, true}, {"DELETE", false, true, true}, {"RENAME", false, true, true},
	{"SUBSCRIBE", false, true, true}, {"UNSUBSCRIBE", false, true, true}, {"LIST", false, true, true},
	{"LSUB", false, true, true}, {"NAMESPACE", false, true, true}, {"STATUS", false, true, true},
	{"APPEND", false, true, true}, {"IDLE", false, true, true},
	{"COMPRESS", false, true, true},                                      // RFC 4978 section 5: command-auth
	{"GETQUOTA", false, true, true}, {"GETQUOTAROOT", false, true, true}, // RFC 9208 section 4.1
	// 6.4: selected state
	{"CLOSE", false, false, true}, {"UNSELECT", false, false, true}, {"EXPUNGE", false, false, true},
	{"SEARCH", false, false, true}, {"FETCH", false, false, true}, {"STORE", false, false, true},
	{"COPY", false, false, true}, {"MOVE", false, false, true},
	{"REPLACE", false, false, true}, {"UID REPLACE", false, false, true}, // RFC 8508 section 3
	{"CHECK", false, false, true}, // RFC 3501 section 6.4.1
	{"UID FETCH", false, false, true}, {"UID STORE", false, false, true}, {"UID SEARCH", false, false, true},
	{"UID COPY", false, false, true}, {"UID MOVE", false, false, true}, {"UID EXPUNGE", false, false, true},
}

func command(t *testing.T, name string) Command {
	t.Helper()
	i := slices.IndexFunc(rows[:], func(r Row) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("the table has no %s", name)
	}
	return Command(i)
}

func open() Env {
	return Env{Secure: true, Caps: AllCaps, Enabled: func(string) bool { return true }}
}

func TestStatesOfCommands(t *testing.T) {
	if len(rfc) != Commands-1 {
		t.Errorf("the table has %d commands, the list from the RFCs %d", Commands-1, len(rfc))
	}
	for _, r := range rfc {
		for s, want := range []bool{r.notAuth, r.auth, r.selected, false} {
			if got := Judge(State(s), command(t, r.name), open()) == Run; got != want {
				t.Errorf("%s in state %s: runs %t, want %t", r.name, State(s), got, want)
			}
		}
	}
}

// RFC 9051 section 3: the numbered transitions of its diagram.
func TestNextStates(t *testing.T) {
	for _, c := range []struct {
		from   State
		name   string
		result Result
		to     State
	}{
		{NotAuthenticated, "LOGIN", OK, Authenticated},        // (4)
		{NotAuthenticated, "AUTHENTICATE", OK, Authenticated}, // (4)
		{NotAuthenticated, "LOGIN", NO, NotAuthenticated},
		{NotAuthenticated, "AUTHENTICATE", BAD, NotAuthenticated},
		{NotAuthenticated, "STARTTLS", OK, NotAuthenticated},
		{Authenticated, "SELECT", OK, Selected},     // (5)
		{Authenticated, "EXAMINE", OK, Selected},    // (5)
		{Selected, "SELECT", OK, Selected},          // closes and opens
		{Selected, "SELECT", NO, Authenticated},     // (6) a failed SELECT
		{Selected, "EXAMINE", NO, Authenticated},    // (6)
		{Selected, "SELECT", BAD, Selected},         // never attempted
		{Selected, "CLOSE", OK, Authenticated},      // (6)
		{Selected, "UNSELECT", OK, Authenticated},   // (6)
		{NotAuthenticated, "LOGOUT", OK, LoggedOut}, // (7)
		{Authenticated, "LOGOUT", OK, LoggedOut},    // (7)
		{Selected, "LOGOUT", OK, LoggedOut},         // (7)
		{Selected, "FETCH", NO, Selected},
		{Selected, "EXPUNGE", OK, Selected},
		{Authenticated, "SELECT", NO, Authenticated},
	} {
		if got := command(t, c.name).Row().After(c.from, c.result); got != c.to {
			t.Errorf("%s in state %s answered %s leads to %s, want %s", c.name, c.from, c.result, got, c.to)
		}
	}
	moves := []string{"LOGIN", "AUTHENTICATE", "SELECT", "EXAMINE", "CLOSE", "UNSELECT", "LOGOUT"}
	for c := range Command(Commands) {
		for s := range State(States) {
			for r := range Result(3) {
				if c.Row().After(s, r) != s && !slices.Contains(moves, c.String()) {
					t.Errorf("%s %s moves the state", c, r)
				}
			}
		}
	}
}

// RFC 9051 section 7.5.1: not while responding to FETCH, STORE or SEARCH; the UID forms are different commands. The
// rest of the list are commands after which the mailbox is not selected, or before which it cannot be.
func TestExpungeIsForbidden(t *testing.T) {
	forbidden := []string{"FETCH", "STORE", "SEARCH", "LOGOUT", "STARTTLS", "AUTHENTICATE", "LOGIN", "SELECT", "EXAMINE",
		"COMPRESS", "CLOSE", "UNSELECT"}
	for _, r := range rfc {
		if got, want := command(t, r.name).Row().Has(MayExpunge), !slices.Contains(forbidden, r.name); got != want {
			t.Errorf("%s may send EXPUNGE: %t, want %t", r.name, got, want)
		}
	}
}

// RFC 9051 section 5.5, and RFC 2177, 4978, 3501 6.2.1 for what must stand alone.
func TestPipelining(t *testing.T) {
	for _, c := range []struct {
		a, b     string
		conflict bool
	}{
		{"FETCH", "FETCH", false}, {"FETCH", "UID FETCH", false}, {"FETCH", "SEARCH", false},
		{"FETCH", "STATUS", false}, {"FETCH", "LIST", false}, {"FETCH", "CAPABILITY", false},
		{"STATUS", "STATUS", false}, {"LIST", "STATUS", false}, {"UID FETCH", "UID SEARCH", false},
		{"FETCH", "NOOP", true},   // NOOP may send EXPUNGE, which renumbers what FETCH answers
		{"SEARCH", "NOOP", true},  // the same
		{"FETCH", "CHECK", true},  // the same
		{"FETCH", "STORE", true},  // "a FETCH and a STORE" of section 5.5
		{"STORE", "FETCH", true},  //
		{"STORE", "SEARCH", true}, //
		{"COPY", "SEARCH", true},  //
		{"FETCH", "EXPUNGE", true}, {"UID EXPUNGE", "UID FETCH", true}, {"MOVE", "FETCH", true},
		{"SEARCH", "SEARCH", true}, {"SEARCH", "UID SEARCH", true}, {"LIST", "LIST", true}, // answers look the same
		{"SELECT", "FETCH", true}, {"FETCH", "SELECT", true}, {"CLOSE", "FETCH", true}, {"FETCH", "UNSELECT", true},
		{"LOGIN", "SELECT", true}, {"STARTTLS", "CAPABILITY", true}, {"AUTHENTICATE", "NOOP", true},
		{"IDLE", "NOOP", true}, {"COMPRESS", "NOOP", true}, {"ENABLE", "SELECT", true}, {"FETCH", "LOGOUT", true},
		{"CREATE", "LIST", true}, {"DELETE", "STATUS", true}, {"APPEND", "STATUS", true},
		// FETCH answers name their message, and the server keeps two STOREs of one message apart
		{"STORE", "STORE", false}, {"STORE", "UID STORE", false}, {"UID STORE", "UID STORE", false},
		{"UID STORE", "UID FETCH", true}, {"STORE", "STATUS", true}, {"UID STORE", "NOOP", true},
		{"UID STORE", "EXPUNGE", true}, {"UID STORE", "UID COPY", true}, {"UID COPY", "UID COPY", true},
		{"APPEND", "APPEND", true}, {"REPLACE", "FETCH", true}, {"UID REPLACE", "UID STORE", true},
	} {
		if got := Conflict(command(t, c.a), command(t, c.b)); got != c.conflict {
			t.Errorf("%s then %s: conflict %t, want %t", c.a, c.b, got, c.conflict)
		}
	}
	for a := range Command(Commands) {
		for b := range Command(Commands) {
			if Conflict(a, b) != Conflict(b, a) {
				t.Errorf("conflict of %s and %s is not symmetric", a, b)
			}
			if (a.Row().Has(Barrier) || b.Row().Has(Barrier)) && !Conflict(a, b) {
				t.Errorf("%s and %s overlap although one is a barrier", a, b)
			}
		}
	}
	if !Conflict(Unknown, command(t, "NOOP")) || !Conflict(Command(200), command(t, "NOOP")) {
		t.Error("an unknown command overlaps")
	}
}

func TestJudgeConditions(t *testing.T) {
	none := func(string) bool { return false }
	for _, c := range []struct {
		name  string
		state State
		env   Env
		want  Verdict
	}{
		{"LOGIN", NotAuthenticated, Env{Caps: AllCaps}, NeedTLS},
		{"AUTHENTICATE", NotAuthenticated, Env{Caps: AllCaps}, NeedTLS},
		{"LOGIN", NotAuthenticated, Env{Secure: true}, Run},
		{"CAPABILITY", NotAuthenticated, Env{}, Run},
		{"LOGIN", Authenticated, Env{Caps: AllCaps}, WrongState},
		{"IDLE", Authenticated, Env{Secure: true, Caps: AllCaps.Without(CapIdle)}, UnknownCommand},
		{"IDLE", Authenticated, Env{Secure: true, Caps: AllCaps}, Run},
		{"STARTTLS", NotAuthenticated, Env{Caps: AllCaps.Without(CapStarttls)}, UnknownCommand},
	} {
		if got := Judge(c.state, command(t, c.name), c.env); got != c.want {
			t.Errorf("%s in state %s: %s, want %s", c.name, c.state, got, c.want)
		}
	}
	if got := Judge(Selected, Unknown, open()); got != UnknownCommand {
		t.Errorf("unknown command: %s", got)
	}
	off := Env{Caps: AllCaps, Enabled: none}
	on := Env{Caps: AllCaps, Enabled: func(x string) bool { return x == "QRESYNC" }}
	gone := Env{Caps: AllCaps.Without(CapQresync), Enabled: on.Enabled}
	for _, c := range []struct {
		name, param string
		env         Env
		want        Verdict
	}{
		{"SELECT", "QRESYNC", off, NotEnabled}, {"SELECT", "QRESYNC", on, Run}, {"SELECT", "QRESYNC", gone, UnknownCommand},
		{"EXAMINE", "QRESYNC", off, NotEnabled}, {"UID FETCH", "VANISHED", off, NotEnabled},
		{"SELECT", "CONDSTORE", off, Run}, {"FETCH", "CHANGEDSINCE", off, Run},
	} {
		if got := JudgeParam(command(t, c.name), c.param, c.env); got != c.want {
			t.Errorf("%s (%s): %s, want %s", c.name, c.param, got, c.want)
		}
	}
}

// The golden file is the generator's reading of the table; Judge is the program's.
func TestVerdictsGolden(t *testing.T) {
	f, err := os.Open("testdata/verdicts.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		lines++
		cells := strings.Split(sc.Text(), " | ")
		var secure, offered, enabled bool
		if _, err := fmt.Sscanf(cells[2], "secure=%t offered=%t enabled=%t", &secure, &offered, &enabled); err != nil {
			t.Fatal(err)
		}
		c := command(t, cells[1])
		e := Env{Secure: secure, Caps: AllCaps, Enabled: func(string) bool { return enabled }}
		if !offered {
			e.Caps = e.Caps.Without(c.Row().Capability)
		}
		s := slices.IndexFunc([]State{NotAuthenticated, Authenticated, Selected, LoggedOut}, func(s State) bool {
			return s.String() == cells[0]
		})
		if got := Judge(State(s), c, e); got.String() != cells[3] {
			t.Errorf("%s: %s", sc.Text(), got)
		}
	}
	if lines < States*(Commands-1) {
		t.Errorf("the golden file has %d lines, want at least %d", lines, States*(Commands-1))
	}
}

func TestAnnounce(t *testing.T) {
	const common = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE"
	for _, c := range []struct {
		place       Place
		tls, packed bool
		want        string
	}{
		{Plain, true, false, common + " STARTTLS LOGINDISABLED"},
		{Plain, false, false, common + " LOGINDISABLED"},
		{Open, true, false, common + " STARTTLS AUTH=PLAIN"},
		{Open, false, false, common + " AUTH=PLAIN"},
	} {
		if got := Announce(c.place, AllCaps, Offer{TLS: c.tls, Deflate: c.packed}); got != c.want {
			t.Errorf("place %d, tls %t: %q, want %q", c.place, c.tls, got, c.want)
		}
	}
	authed := Announce(Authed, AllCaps, Offer{TLS: true, AppendLimit: 12345})
	for _, want := range []string{"IMAP4rev1", "LITERAL+", "ID", "NAMESPACE", "CHILDREN", "LIST-EXTENDED", "LIST-STATUS",
		"STATUS=SIZE", "SPECIAL-USE", "ENABLE", "UNSELECT", "IDLE", "UIDPLUS", "ESEARCH", "SEARCHRES", "WITHIN",
		"CONDSTORE", "QRESYNC", "OBJECTID", "BINARY", "PREVIEW", "SAVEDATE", "UTF8=ACCEPT", "COMPRESS=DEFLATE",
		"MOVE", "REPLACE", "MULTIAPPEND", "CREATE-SPECIAL-USE", "APPENDLIMIT=12345"} {
		if !slices.Contains(strings.Fields(authed), want) {
			t.Errorf("after login %s is not announced: %s", want, authed)
		}
	}
	for _, never := range []string{"STARTTLS", "LOGINDISABLED", "AUTH=PLAIN"} {
		if slices.Contains(strings.Fields(authed), never) {
			t.Errorf("after login %s is announced", never)
		}
	}
	if strings.Contains(Announce(Authed, AllCaps, Offer{Deflate: true}), "COMPRESS") {
		t.Error("COMPRESS is announced on a compressed connection (RFC 4978 section 3)")
	}
	idle, ok := ParseCap("idle")
	if !ok || strings.Contains(Announce(Authed, AllCaps.Without(idle), Offer{}), "IDLE") {
		t.Error("a capability that is switched off is announced")
	}
	if _, ok := ParseCap("SORT"); ok {
		t.Error("SORT is no capability of this server")
	}
}
