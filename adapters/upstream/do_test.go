package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"imapped/adapters/upstream"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

func do(t *testing.T, c port.Conn, cmds ...port.Command) {
	t.Helper()
	if err := c.Do(deadline(t), cmds...); err != nil {
		t.Fatal(err)
	}
}

func ok(t *testing.T, cmds ...port.Command) {
	t.Helper()
	for _, cmd := range cmds {
		if err := cmd.Result().Err; err != nil {
			t.Fatalf("%T: %v", cmd, err)
		}
	}
}

func TestListStatusIsOneCommand(t *testing.T) {
	var lines strings.Builder
	lines.WriteString(`C: a LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ))` + "\n")
	for i := range 20 {
		fmt.Fprintf(&lines, "S: * LIST (\\HasNoChildren) \"/\" \"box %d\"\n", i)
		fmt.Fprintf(&lines, "S: * STATUS \"box %d\" (MESSAGES %d UIDNEXT 7 UIDVALIDITY 8 HIGHESTMODSEQ 9)\n", i, i)
	}
	lines.WriteString(`S: * LIST (\\NonExistent \\HasChildren) "/" gone
S: * LIST (\\Sent \\Subscribed) NIL {3}
S: S&T
S: a OK`)
	conn, _ := dial(t, dialer(), script("LIST-STATUS LIST-EXTENDED SPECIAL-USE CONDSTORE", lines.String()))
	before := usage(conn).Commands
	list := &port.List{Status: true}
	do(t, conn, list)
	ok(t, list)
	if n := usage(conn).Commands - before; n != 1 {
		t.Errorf("%d commands", n)
	}
	if len(list.Mailboxes) != 22 {
		t.Fatalf("%d mailboxes", len(list.Mailboxes))
	}
	want := port.Status{Name: "box 19", Messages: 19, UIDNext: 7, UIDValidity: 8, HighestModSeq: 9}
	if m := list.Mailboxes[19]; m.Name != "box 19" || m.Delimiter != '/' || m.Status == nil || *m.Status != want {
		t.Errorf("%+v", m)
	}
	if m := list.Mailboxes[20]; !m.NonExist || m.Attrs&mailbox.NoSelect == 0 || m.Status != nil {
		t.Errorf("%+v", m)
	}
	if m := list.Mailboxes[21]; m.Name != "S&T" || m.Delimiter != 0 || m.Attrs != mailbox.Sent {
		t.Errorf("%+v", m)
	}
}

func TestListFallsBack(t *testing.T) {
	conn, _ := dial(t, dialer(), script("LIST-STATUS SPECIAL-USE", `
C: a LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY))
S: a BAD what is RETURN?
C: b LIST "" "*"
S: * LIST () "." INBOX
S: b OK
C: c LIST "" "*"
S: c OK`))
	list := &port.List{Status: true}
	do(t, conn, list)
	ok(t, list)
	if len(list.Mailboxes) != 1 || list.Mailboxes[0].Status != nil {
		t.Errorf("%+v", list.Mailboxes)
	}
	do(t, conn, list)
	if !fault.Is(list.Err, fault.Unavailable) {
		t.Errorf("an empty listing: %v", list.Err)
	}
}

func TestSelect(t *testing.T) {
	conn, _ := dial(t, dialer(), script("CONDSTORE", `
C: a EXAMINE "a b" (CONDSTORE)
S: * 17 EXISTS
S: * 2 RECENT
S: * FLAGS (\\Answered \\Seen)
S: * OK [PERMANENTFLAGS (\\Answered \\Seen $x \\*)] Limited
S: * OK [UIDVALIDITY 3857529045] UIDs valid
S: * OK [UIDNEXT 4392] Predicted
S: * OK [HIGHESTMODSEQ 715194045007]
S: a OK [READ-ONLY]
C: b SELECT gone (CONDSTORE)
S: b NO [NONEXISTENT] no such
`))
	sel := &port.Select{Name: "a b", ReadOnly: true}
	do(t, conn, sel)
	ok(t, sel)
	if sel.Messages != 17 || sel.UIDNext != 4392 || sel.UIDValidity != 3857529045 || sel.HighestModSeq != 715194045007 ||
		!sel.AnyKeyword || !sel.Permanent.Equal(flag.Parse(`\Answered`, `\Seen`, "$x")) {
		t.Errorf("%+v", sel)
	}
	sel = &port.Select{Name: "gone"}
	do(t, conn, sel)
	var refused *port.Refusal
	if !fault.Is(sel.Err, fault.NotFound) || !errors.As(sel.Err, &refused) || refused.Code != "NONEXISTENT" {
		t.Errorf("%v", sel.Err)
	}
}

func TestSelectResync(t *testing.T) {
	conn, _ := dial(t, dialer(), script("ENABLE QRESYNC", `
C: e ENABLE QRESYNC
S: * ENABLED QRESYNC CONDSTORE
S: e OK
C: a SELECT INBOX
S: * 3 EXISTS
S: * OK [UIDVALIDITY 7]
S: a OK
C: b SELECT work (QRESYNC (7 90))
S: * 9 EXISTS
S: * OK [CLOSED] previous
S: * 5 EXISTS
S: * OK [UIDVALIDITY 7]
S: * OK [HIGHESTMODSEQ 99]
S: * VANISHED (EARLIER) 3:5,9
S: * 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (95))
S: * 2 FETCH (UID 6 FLAGS () MODSEQ (96))
S: b OK
C: c SELECT INBOX (QRESYNC (7 90))
S: * 3 EXISTS
S: * VANISHED (EARLIER) 1:*
S: c OK
C: d SELECT INBOX (QRESYNC (7 90))
S: d OK`))
	sel := &port.Select{Name: "INBOX"}
	do(t, conn, sel)
	ok(t, sel)
	var got []string
	sel = &port.Select{Name: "work"}
	*sel = port.Select{
		Name: "work", Resync: &port.Resync{UIDValidity: 7, ModSeq: 90},
		OnChange: func(m port.Message) error {
			if sel.Err != nil {
				t.Errorf("Err while the answer comes: %v", sel.Err)
			}
			got = append(got, fmt.Sprintf("%d %v %d", m.UID, m.Flags, m.ModSeq))
			return nil
		},
	}
	do(t, conn, sel)
	ok(t, sel)
	if sel.Messages != 5 || sel.Vanished.String() != "3:5,9" || strings.Join(got, ";") != `2 \Seen 95;6  96` {
		t.Errorf("%+v, %q", sel, got)
	}
	sel = &port.Select{Name: "INBOX", Resync: &port.Resync{UIDValidity: 7, ModSeq: 90}}
	do(t, conn, sel)
	if sel.Err == nil || len(sel.Vanished) != 0 {
		t.Errorf("a malformed VANISHED: %v, %v", sel.Err, sel.Vanished)
	}
	do(t, conn, sel)
	if sel.Err == nil {
		t.Error("no EXISTS, and no error")
	}
}

func TestResyncBeforeFetchOfTheSameMessages(t *testing.T) {
	// What QRESYNC reports is the SELECT's, also when a pipelined FETCH asks for the same message.
	conn, _ := dial(t, dialer(), script("ENABLE QRESYNC", `
C: e ENABLE QRESYNC
S: * ENABLED QRESYNC CONDSTORE
S: e OK
C: a SELECT INBOX (QRESYNC (7 90))
C: b UID FETCH 6:* (UID FLAGS MODSEQ)
S: * 2 EXISTS
S: * OK [UIDVALIDITY 7]
S: * 2 FETCH (UID 6 FLAGS () MODSEQ (96))
S: a OK
S: * 2 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (96))
S: b OK`))
	var got []string
	note := func(what string) func(port.Message) error {
		return func(m port.Message) error {
			got = append(got, fmt.Sprintf("%s %d (%v)", what, m.UID, m.Flags))
			return nil
		}
	}
	sel := &port.Select{Name: "INBOX", Resync: &port.Resync{UIDValidity: 7, ModSeq: 90}, OnChange: note("select")}
	fetch := &port.Fetch{UIDs: mailbox.SetOf[uint32](6), Open: true, Items: port.ItemFlags, OnMessage: note("fetch")}
	do(t, conn, sel, fetch)
	ok(t, sel, fetch)
	if want := `select 6 ();fetch 6 (\Seen)`; strings.Join(got, ";") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPipelineIsOneFlush(t *testing.T) {
	// The server reads all commands before it answers the first.
	conn, _ := dial(t, dialer(), script("CONDSTORE", `
C: a SELECT INBOX (CONDSTORE)
C: b UID FETCH 4:6 (UID FLAGS MODSEQ) (CHANGEDSINCE 8)
C: c UID SEARCH ALL
C: d STATUS x (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)
C: e NOOP
S: * 3 EXISTS
S: * OK [UIDVALIDITY 7]
S: a OK
S: * 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (9))
S: b OK
S: * SEARCH 4 5 6
S: c OK
S: * STATUS X (MESSAGES 4 UIDNEXT 5 UIDVALIDITY 6 HIGHESTMODSEQ 7) 
S: d OK
S: * 4 EXISTS
S: e OK`))
	var uids []uint32
	sel, enum, st, noop := &port.Select{Name: "INBOX"}, &port.Enumerate{}, &port.Status{Name: "x"}, &port.Noop{}
	fetch := &port.Fetch{
		UIDs: mailbox.Set{{First: 4, Last: 6}}, Items: port.ItemFlags, ChangedSince: 8,
		OnMessage: func(m port.Message) error { uids = append(uids, m.UID); return nil },
	}
	do(t, conn, sel, fetch, enum, st, noop)
	ok(t, sel, fetch, enum, st, noop)
	if len(uids) != 1 || enum.UIDs.String() != "4:6" || st.HighestModSeq != 7 || st.Messages != 4 {
		t.Errorf("%v, %v, %+v", uids, enum.UIDs, st)
	}
	if ev := conn.(port.News).TakeNews(); ev != (port.Event{Exists: true}) {
		t.Errorf("news: %+v", ev)
	}
	if ev := conn.(port.News).TakeNews(); ev != (port.Event{}) {
		t.Errorf("news again: %+v", ev)
	}
}

func TestConcurrentCallers(t *testing.T) {
	var lines strings.Builder
	for range 100 {
		lines.WriteString("C: a NOOP\nS: a OK\n")
	}
	conn, _ := dial(t, dialer(), script("", lines.String()))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 10 {
				noop := &port.Noop{}
				if err := conn.Do(t.Context(), noop); err != nil || noop.Err != nil {
					t.Errorf("%v, %v", err, noop.Err)
				}
			}
		})
	}
	wg.Wait()
}

func TestEnumerate(t *testing.T) {
	const open = "C: s SELECT INBOX\nS: * %d EXISTS\nS: s OK\n"
	for _, tc := range []struct {
		name, caps string
		exists     int
		lines      string
		want       string
		fails      bool
	}{
		{"SEARCH", "", 4, "C: a UID SEARCH ALL\nS: * SEARCH 9 3 4 5\nS: a OK", "3:5,9", false},
		{"SEARCH in two lines", "", 4, "C: a UID SEARCH ALL\nS: * SEARCH 3 4\nS: * SEARCH 5\nS: a OK", "3:5", false},
		{"SEARCH malformed", "", 4, "C: a UID SEARCH ALL\nS: * SEARCH 3 4 x\nS: a OK", "", true},
		{"nothing for no messages", "", 0, "C: a UID SEARCH ALL\nS: a OK", "", false},
		{"nothing for messages", "", 4, "C: a UID SEARCH ALL\nS: a OK", "", true},
		{"empty for messages", "", 4, "C: a UID SEARCH ALL\nS: * SEARCH\nS: a OK", "", true},
		{"refused", "", 4, "C: a UID SEARCH ALL\nS: * SEARCH 3\nS: a NO [UNAVAILABLE] x", "", true},
		{"ESEARCH", "ESEARCH", 4, "C: a UID SEARCH RETURN (ALL) ALL\nS: * ESEARCH (TAG \"a\") UID ALL 3:5,9\nS: a OK", "3:5,9", false},
		{"ESEARCH without UID (Cyrus 2.4, Purelymail)", "ESEARCH", 4,
			"C: a UID SEARCH RETURN (ALL) ALL\nS: * ESEARCH (TAG \"a\") ALL 3:5,9\nS: a OK", "3:5,9", false},
		{"ESEARCH answered by SEARCH", "ESEARCH", 2, "C: a UID SEARCH RETURN (ALL) ALL\nS: * SEARCH 1 2\nS: a OK", "1:2", false},
		{"ESEARCH empty", "ESEARCH", 0, "C: a UID SEARCH RETURN (ALL) ALL\nS: * ESEARCH (TAG \"a\") UID\nS: a OK", "", false},
		{"ESEARCH malformed", "ESEARCH", 4, "C: a UID SEARCH RETURN (ALL) ALL\nS: * ESEARCH (TAG \"a\") UID ALL 1:*\nS: a OK", "", true},
		{"ESEARCH refused", "ESEARCH", 2, "C: a UID SEARCH RETURN (ALL) ALL\nS: a BAD no\nC: b UID SEARCH ALL\nS: * SEARCH 1 2\nS: b OK",
			"1:2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := dial(t, dialer(), script(tc.caps, fmt.Sprintf(open, tc.exists)+tc.lines))
			sel, enum := &port.Select{Name: "INBOX"}, &port.Enumerate{}
			do(t, conn, sel)
			do(t, conn, enum)
			if (enum.Err != nil) != tc.fails || enum.UIDs.String() != tc.want {
				t.Errorf("%v, %v", enum.UIDs, enum.Err)
			}
		})
	}
}

func TestEnumerationCutShort(t *testing.T) {
	const lines = "C: s SELECT INBOX\nS: * 4 EXISTS\nS: s OK\nC: a UID SEARCH ALL\n! cut %d\nS: * SEARCH 1 2 3 4\nS: a OK"
	for n := 1; n < len("* SEARCH 1 2 3 4\r\nA2 OK\r\n"); n++ {
		conn, _ := dial(t, dialer(), script("", fmt.Sprintf(lines, n)))
		sel, enum := &port.Select{Name: "INBOX"}, &port.Enumerate{}
		do(t, conn, sel)
		err := conn.Do(deadline(t), enum)
		if err == nil || enum.Err == nil || len(enum.UIDs) != 0 || !fault.Is(err, fault.Unavailable) {
			t.Fatalf("cut at %d: %v, %v, %v", n, err, enum.Err, enum.UIDs)
		}
	}
}

func TestSilence(t *testing.T) {
	d := dialer()
	d.Silence = 500 * time.Millisecond
	conn, _ := dial(t, d, script("", "C: a NOOP\nS: a OK\n! pause 800ms\nC: a NOOP\n! silent"))
	do(t, conn, &port.Noop{})
	noop := &port.Noop{} // a connection that owes nothing may be silent for longer than that
	if err := conn.Do(deadline(t), noop); !fault.Is(err, fault.Unavailable) || noop.Err == nil {
		t.Errorf("%v, %v", err, noop.Err)
	}
	if err := conn.Do(deadline(t), noop); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a lost connection: %v", err)
	}
}

func TestBye(t *testing.T) {
	conn, _ := dial(t, dialer(), script("", "C: a NOOP\nS: * BYE Session expired, please login again\n! silent"))
	begin := time.Now()
	err := conn.Do(deadline(t), &port.Noop{}) // the server says BYE and hangs
	var refused *port.Refusal
	if !errors.As(err, &refused) || refused.Status != "BYE" || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("noticed after %v", took)
	}
}

func TestUntaggedNoise(t *testing.T) {
	conn, _ := dial(t, dialer(), script("", "C: a NOOP\nS: Server Unavailable. 15\n! close"))
	if err := conn.Do(deadline(t), &port.Noop{}); err == nil || !strings.Contains(err.Error(), "Server Unavailable. 15") {
		t.Errorf("%v", err)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		line  string
		kind  fault.Kind
		retry time.Duration
	}{
		{"NO [USEATTR] x", fault.Invalid, 0},
		{"NO [HASCHILDREN] x", fault.Conflict, 0},
		{"NO [TRYCREATE] x", fault.NotFound, 0},
		{"NO [TOOBIG] x", fault.Limit, 0},
		{"NO Mailbox already exists", fault.Exists, 0},
		{"NO Message exceeds the size limit", fault.Limit, 0},
		{"NO Quota exceeded (mailbox for user is full)", fault.Limit, 0},
		{"NO [UNAVAILABLE] UID FETCH Server error", fault.Unavailable, 0},
		{"NO [INUSE] x", fault.Unavailable, 0},
		{"NO [SERVERBUG] x", fault.Unavailable, 0},
		{"NO [THROTTLED] slow down", fault.Unavailable, 10 * time.Second},
		{"NO [OVERQUOTA] Account exceeded command or bandwidth limits.", fault.Unavailable, 10 * time.Minute},
		{"NO [OVERQUOTA] mailbox full", fault.Limit, 0},
		{"NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", fault.Unavailable, 299961 * time.Millisecond},
		{"NO Please try again in 5 minutes", fault.Unavailable, 5 * time.Minute},
		{"NO Too many requests, retry after 99999999999999 s", fault.Unavailable, 24 * time.Hour},
		{"BAD User is authenticated but not connected.", fault.Unavailable, 0},
		{"NO [AUTHENTICATIONFAILED] x", fault.Denied, 0},
		{"NO [AUTHORIZATIONFAILED] x", fault.Denied, 0},
		{"NO [EXPIRED] x", fault.Denied, 0},
		{"NO [NONEXISTENT] x", fault.NotFound, 0},
		{"NO Mailbox doesn't exist: x", fault.NotFound, 0},
		{"NO [NOPERM] x", fault.Forbidden, 0},
		{"NO [LIMIT] x", fault.Limit, 0},
		{"NO [ALREADYEXISTS] x", fault.Exists, 0},
		{"NO [CANNOT] x", fault.Invalid, 0},
		{"NO [CORRUPTION] x", fault.Corrupt, 0},
		{"BAD syntax", fault.Invalid, 0},
		{"NO", fault.Unavailable, 0},
		{"NO [WHATEVER] x", fault.Unavailable, 0},
	} {
		t.Run(tc.line, func(t *testing.T) {
			conn, _ := dial(t, dialer(), script("", "C: a NOOP\nS: a "+tc.line))
			noop := &port.Noop{}
			do(t, conn, noop)
			var refused *port.Refusal
			if !errors.As(noop.Err, &refused) || fault.KindOf(noop.Err) != tc.kind || refused.Retry != tc.retry {
				t.Errorf("%v: kind %v, %+v", noop.Err, fault.KindOf(noop.Err), refused)
			}
			if vague := tc.line == "NO" || tc.line == "NO [WHATEVER] x"; refused != nil && refused.Vague != vague {
				t.Errorf("vague: %v", refused.Vague)
			}
		})
	}
}

func TestCanceledCommandKeepsTheConnection(t *testing.T) {
	conn, s := dial(t, dialer(), script("", `
C: a UID FETCH 1:5 (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS ())
! wait canceled
S: * 2 FETCH (UID 2 FLAGS ())
S: a OK
C: b NOOP
S: b OK`))
	ctx, cancel := context.WithCancel(deadline(t))
	calls := 0
	fetch := &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 5}}, Items: port.ItemFlags, OnMessage: func(port.Message) error {
		calls++
		cancel()
		return nil
	}}
	if err := conn.Do(ctx, fetch); !fault.Is(err, fault.Canceled) || !fault.Is(fetch.Err, fault.Canceled) {
		t.Fatalf("%v, %v", err, fetch.Err)
	}
	s.Signal("canceled")
	noop := &port.Noop{}
	do(t, conn, noop)
	ok(t, noop)
	if calls != 1 {
		t.Errorf("%d callbacks", calls)
	}
}

func TestCanceledBodyKeepsTheConnection(t *testing.T) {
	conn, s := dial(t, dialer(), script("", `
C: a UID FETCH 1 (UID BODY.PEEK[])
S: * 1 FETCH (UID 1 BODY[] {10000}
! big 5000 x
! wait canceled
! big 5000 y
S: )
S: a OK
C: b NOOP
S: b OK`))
	ctx, cancel := context.WithCancel(deadline(t))
	fetch := &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 1}}, Items: port.ItemBody, OnMessage: func(m port.Message) error {
		if _, err := io.ReadFull(m.Body, make([]byte, 5000)); err != nil {
			t.Error(err)
		}
		cancel()
		_, err := io.ReadAll(m.Body) // blocks, until it is interrupted
		return err
	}}
	if err := conn.Do(ctx, fetch); !fault.Is(err, fault.Canceled) {
		t.Fatalf("%v", err)
	}
	s.Signal("canceled")
	noop := &port.Noop{}
	do(t, conn, noop)
	ok(t, noop)
}

func TestCanceledCommandThatNeverEnds(t *testing.T) {
	d := &upstream.Dialer{Silence: 10 * time.Second, Drain: 50 * time.Millisecond}
	conn, _ := dial(t, d, script("", "C: a NOOP\n! silent"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := conn.Do(ctx, &port.Noop{}); !fault.Is(err, fault.Canceled) {
		t.Fatalf("%v", err)
	}
	if err := conn.Do(deadline(t), &port.Noop{}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the connection lives: %v", err)
	}
}

func TestCallbackErrorKeepsTheConnection(t *testing.T) {
	conn, _ := dial(t, dialer(), script("", `
C: a UID FETCH 1:2 (UID BODY.PEEK[])
S: * 1 FETCH (UID 1 BODY[] {5000}
! big 5000 x
S: )
S: * 2 FETCH (UID 2 BODY[] {5000}
! big 5000 x
S: )
S: a OK
C: b NOOP
S: b OK`))
	stop := errors.New("enough")
	calls := 0
	fetch := &port.Fetch{UIDs: mailbox.Set{{First: 1, Last: 2}}, Items: port.ItemBody, OnMessage: func(port.Message) error {
		calls++
		return stop
	}}
	noop := &port.Noop{}
	do(t, conn, fetch, noop)
	ok(t, noop)
	if !errors.Is(fetch.Err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", fetch.Err, calls)
	}
}
