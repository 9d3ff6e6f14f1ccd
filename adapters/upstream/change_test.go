package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

func uids(nums ...uint32) mailbox.Set { return mailbox.SetOf(nums...) }

// message returns an Append of the text.
func message(name, text string) *port.Append {
	return &port.Append{Name: name, Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

// change is a command that changes something: what it says, with the capabilities it needs. line is the command
// without its tag; what follows it, if anything, is the lines of a literal that does not wait.
type change struct {
	name, caps, line string
	literal          []string
	cmd              func() port.Command
}

var zone = time.FixedZone("", -7*3600)

func changes() []change {
	return []change{
		{name: "store", line: `UID STORE 1:3,9 +FLAGS.SILENT (\Deleted \Seen $Junk)`, cmd: func() port.Command {
			return &port.Store{UIDs: uids(1, 2, 3, 9), Flags: flag.Parse(`\Seen`, `\Deleted`, "$Junk")}
		}},
		{name: "store removes", line: `UID STORE 4294967295 -FLAGS.SILENT (\Seen)`, cmd: func() port.Command {
			return &port.Store{UIDs: uids(4294967295), Flags: flag.Parse(`\Seen`), Remove: true}
		}},
		{
			name: "append", caps: "LITERAL+", line: `APPEND "a b" (\Seen work) "17-Jul-1996 02:44:25 -0700" {14+}`,
			literal: []string{"A: b", "", "body", ""}, cmd: func() port.Command {
				a := message("a b", "A: b\r\n\r\nbody\r\n")
				a.Flags, a.Date = flag.Parse(`\Seen`, "work"), time.Date(1996, 7, 17, 2, 44, 25, 0, zone)
				return a
			},
		},
		{
			name: "append without flags and date", caps: "LITERAL-", line: `APPEND INBOX {4+}`, literal: []string{"body"},
			cmd: func() port.Command { return message("INBOX", "body") },
		},
		{name: "copy", line: `UID COPY 1:3 "a b"`, cmd: func() port.Command {
			return &port.Copy{UIDs: uids(1, 2, 3), To: "a b"}
		}},
		{name: "move", caps: "MOVE", line: `UID MOVE 1:3 Trash`, cmd: func() port.Command {
			return &port.Copy{UIDs: uids(1, 2, 3), To: "Trash", Move: true}
		}},
		{name: "uid expunge", caps: "UIDPLUS", line: `UID EXPUNGE 5,7`, cmd: func() port.Command {
			return &port.Expunge{UIDs: uids(5, 7)}
		}},
		{name: "expunge", line: `EXPUNGE`, cmd: func() port.Command { return &port.Expunge{All: true} }},
		{name: "create", line: `CREATE "a b"`, cmd: func() port.Command { return &port.Create{Name: "a b", Use: mailbox.Sent} }},
		{name: "create with a use", caps: "CREATE-SPECIAL-USE", line: `CREATE X (USE (\Drafts \Sent))`, cmd: func() port.Command {
			return &port.Create{Name: "X", Use: mailbox.Sent | mailbox.Drafts | mailbox.Marked}
		}},
		{name: "create without a use", caps: "CREATE-SPECIAL-USE", line: `CREATE X`, cmd: func() port.Command {
			return &port.Create{Name: "X", Use: mailbox.NoInferiors}
		}},
		{name: "delete", line: `DELETE X`, cmd: func() port.Command { return &port.Delete{Name: "X"} }},
		{name: "rename", line: `RENAME X "Y&-Z/\"q\""`, cmd: func() port.Command {
			return &port.Rename{From: "X", To: `Y&-Z/"q"`}
		}},
		{name: "subscribe", line: `SUBSCRIBE ""`, cmd: func() port.Command { return &port.Subscribe{} }},
		{name: "unsubscribe", line: `UNSUBSCRIBE X`, cmd: func() port.Command { return &port.Subscribe{Name: "X", Off: true} }},
	}
}

// expects returns the script lines that expect the command, with the tag's name.
func (c *change) expects(tag string) string {
	s := "C: " + tag + " " + c.line + "\n"
	for _, l := range c.literal {
		s += "c: " + l + "\n"
	}
	return s
}

// octets is how long the command is on the wire, with a tag of two octets.
func (c *change) octets() int {
	n := len("A1 " + c.line + "\r\n")
	for _, l := range c.literal {
		n += len(l) + 2
	}
	return n
}

func TestChanges(t *testing.T) {
	for _, tc := range changes() {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := dial(t, dialer(), script(tc.caps, tc.expects("a")+"S: a OK done\n"+
				tc.expects("b")+"S: b NO [OVERQUOTA] full\n"+tc.expects("c")+"S: c BAD what?\n"+
				tc.expects("d")+"S: * NO [WHATEVER \nS: d OK [APPENDUID COPYUID\n"+
				tc.expects("e")+"S: e NO no\nC: f NOOP\nS: f OK"))
			cmd := tc.cmd()
			do(t, conn, cmd)
			out := cmd.Result()
			if ok(t, cmd); !out.Sent || out.Uncertain() {
				t.Errorf("OK: %+v", out)
			}
			for _, kind := range []fault.Kind{fault.Limit, fault.Invalid} {
				do(t, conn, cmd) // a command is used again
				var refused *port.Refusal
				if !errors.As(out.Err, &refused) || !fault.Is(out.Err, kind) || !out.Sent || out.Uncertain() || refused.Vague {
					t.Errorf("refused: %+v", out)
				}
			}
			do(t, conn, cmd)
			ok(t, cmd) // whatever the code was meant to say
			do(t, conn, cmd)
			if r := new(port.Refusal); !errors.As(out.Err, &r) || !r.Vague || out.Uncertain() {
				t.Errorf("refused without a reason: %+v", out)
			}
			noop := &port.Noop{}
			do(t, conn, noop)
			ok(t, noop)
		})
	}
}

// TestChangesCut cuts the connection at every octet of every command and of its answer: nothing is taken for done, and
// nothing that may have been done is taken for undone.
func TestChangesCut(t *testing.T) {
	uncertain := func(t *testing.T, conn port.Conn, cmd port.Command, at int) {
		t.Helper()
		err, out := conn.Do(deadline(t), cmd), cmd.Result()
		if !fault.Is(err, fault.Unavailable) || out.Err == nil || !out.Sent || !out.Uncertain() {
			t.Fatalf("cut at %d: %v, %+v", at, err, out)
		}
		if err := conn.Do(deadline(t), cmd); err == nil || out.Err == nil || out.Sent || out.Uncertain() {
			t.Fatalf("on a lost connection: %v, %+v", err, out)
		}
	}
	for _, tc := range changes() {
		t.Run(tc.name, func(t *testing.T) {
			for n := 1; n < tc.octets(); n++ {
				conn, _ := dial(t, dialer(), script(tc.caps, fmt.Sprintf("! take %d\n! close", n)))
				uncertain(t, conn, tc.cmd(), n)
			}
			for _, answer := range []string{"* OK [COPYUID 9 1:3 4:6] x\r\nA1 OK [APPENDUID 9 4] x\r\n", "A1 NO [OVERQUOTA] x\r\n"} {
				escaped := strings.ReplaceAll(answer, "\r\n", `\r\n`)
				for n := 1; n < len(answer); n++ {
					conn, _ := dial(t, dialer(), script(tc.caps, tc.expects("a")+fmt.Sprintf("! cut %d\nS- %s", n, escaped)))
					uncertain(t, conn, tc.cmd(), n)
				}
			}
		})
	}
}

// TestChangesPipelined sends all of them in one flush; the server answers when it has read the last, and one refusal
// changes nothing for the others.
func TestChangesPipelined(t *testing.T) {
	all := changes()
	for refused := range all {
		var caps, expects, answers strings.Builder
		var cmds []port.Command
		for i, tc := range all {
			if !strings.Contains(caps.String(), tc.caps) {
				caps.WriteString(" " + tc.caps)
			}
			tag := fmt.Sprintf("t%d", i)
			if tc.name == "create" {
				tc.line += ` (USE (\Sent))`
			}
			expects.WriteString(tc.expects(tag))
			if i == refused {
				answers.WriteString("S: " + tag + " NO [TRYCREATE] no\n")
			} else {
				answers.WriteString("S: * 1 FETCH (FLAGS ())\nS: " + tag + " OK\n")
			}
			cmds = append(cmds, tc.cmd())
		}
		conn, _ := dial(t, dialer(), script(caps.String(), expects.String()+answers.String()))
		do(t, conn, cmds...)
		for i, cmd := range cmds {
			out := cmd.Result()
			if got := fault.Is(out.Err, fault.NotFound); got != (i == refused) || (out.Err != nil) != got || !out.Sent || out.Uncertain() {
				t.Errorf("%s: %+v", all[i].name, out)
			}
		}
	}
}

func TestSelectAndChangeInOneFlush(t *testing.T) {
	conn, _ := dial(t, dialer(), script("UIDPLUS", `
C: a SELECT INBOX
C: b UID STORE 2 +FLAGS.SILENT (\Deleted)
C: c UID COPY 2,4 Archive
C: d UID EXPUNGE 2
C: e UID SEARCH ALL
S: * 3 EXISTS
S: * OK [UIDVALIDITY 7]
S: a OK [READ-WRITE]
S: * 2 FETCH (UID 2 FLAGS (\\Deleted))
S: b OK
S: * OK [COPYUID 1 99 99] of nobody's MOVE
S: c OK [COPYUID 8 2,4 11:12]
S: * 2 EXPUNGE
S: d OK
S: * SEARCH 1 4
S: e OK`))
	sel := &port.Select{Name: "INBOX"}
	store := &port.Store{UIDs: uids(2), Flags: flag.Make(flag.Deleted)}
	cp := &port.Copy{UIDs: uids(2, 4), To: "Archive"}
	expunge, enum := &port.Expunge{UIDs: uids(2)}, &port.Enumerate{}
	do(t, conn, sel, store, cp, expunge, enum)
	ok(t, sel, store, cp, expunge, enum)
	if cp.UIDValidity != 8 || !slices.Equal(cp.Pairs, []port.Pair{{From: 2, To: 11}, {From: 4, To: 12}}) {
		t.Errorf("%+v", cp)
	}
	if ev := conn.(port.News).TakeNews(); ev != (port.Event{Expunge: true, Flags: true}) {
		t.Errorf("news: %+v", ev)
	}
	if enum.UIDs.String() != "1,4" {
		t.Errorf("%v", enum.UIDs)
	}
}

// TestAnswersBeforeTheEnd is what Dovecot 2.3 says to a pipeline: several commands are carried out before the first is
// said to be.
func TestAnswersBeforeTheEnd(t *testing.T) {
	conn, _ := dial(t, dialer(), script("UIDPLUS ESEARCH MOVE", `
C: a SELECT A
C: b UID STORE 1:5 +FLAGS.SILENT (\Deleted)
C: c UID SEARCH RETURN (ALL) DELETED
C: d UID EXPUNGE 2:3
C: e UID SEARCH RETURN (ALL) DELETED
C: f UID MOVE 4 B
C: g UID MOVE 5:6 B
C: h UID SEARCH RETURN (ALL) ALL
S: * 7 EXISTS
S: a OK
S: * ESEARCH (TAG "c") UID ALL 1:5
S: * ESEARCH (TAG "e") UID ALL 1,4:5
S: * OK [COPYUID 9 4 1] Moved
S: * OK [COPYUID 9 5:6 2:3] Moved
S: * 3 EXPUNGE
S: * 2 EXPUNGE
S: * ESEARCH (TAG "h") UID ALL 1,7
S: b OK
S: c OK
S: d OK
S: e OK
S: f OK
S: * VANISHED 4:6
S: g OK
S: h OK`))
	sel, store := &port.Select{Name: "A"}, &port.Store{UIDs: uids(1, 2, 3, 4, 5), Flags: flag.Make(flag.Deleted)}
	first, second, enum := &port.Deleted{}, &port.Deleted{}, &port.Enumerate{}
	one, two := &port.Copy{UIDs: uids(4), To: "B", Move: true}, &port.Copy{UIDs: uids(5, 6), To: "B", Move: true}
	expunge := &port.Expunge{UIDs: uids(2, 3)}
	do(t, conn, sel, store, first, expunge, second, one, two, enum)
	ok(t, sel, store, first, expunge, second, one, two, enum)
	if first.UIDs.String() != "1:5" || second.UIDs.String() != "1,4:5" || enum.UIDs.String() != "1,7" {
		t.Errorf("%v; %v; %v", first.UIDs, second.UIDs, enum.UIDs)
	}
	if !slices.Equal(one.Pairs, pairs(4, 1)) || !slices.Equal(two.Pairs, pairs(5, 2, 6, 3)) {
		t.Errorf("%v; %v", one.Pairs, two.Pairs)
	}
}

// TestSearchesDoNotMix: answers to SEARCH do not say whose they are, so that there is only one to answer.
func TestSearchesDoNotMix(t *testing.T) {
	conn, s := dial(t, dialer(), script("", `
C: a UID SEARCH DELETED
C: b NOOP
S: * SEARCH 4
S: b OK
S: a OK
C: c UID SEARCH ALL
C: d NOOP
S: * SEARCH 4 5
S: c OK
S: d OK
C: e UID SEARCH ALL
! wait canceled
S: * SEARCH 1
S: e OK
C: f NOOP
S: f OK`))
	deleted, enum := &port.Deleted{}, &port.Enumerate{}
	do(t, conn, deleted, &port.Noop{}, enum, &port.Noop{})
	if ok(t, deleted, enum); deleted.UIDs.String() != "4" || enum.UIDs.String() != "4:5" {
		t.Errorf("%v, %v", deleted.UIDs, enum.UIDs)
	}
	ctx, cancel := context.WithCancel(deadline(t))
	read := make(chan error, 1)
	go func() { read <- conn.Do(ctx, enum, deleted) }()
	cancel() // before, while or after the first is sent: the second never is
	if err := <-read; !fault.Is(err, fault.Canceled) || deleted.Err == nil || deleted.Sent {
		t.Errorf("%v, %+v", err, deleted.Outcome)
	}
	s.Signal("canceled")
	if !enum.Sent {
		do(t, conn, enum)
	}
	noop := &port.Noop{}
	do(t, conn, noop)
	ok(t, noop)
}

// TestChangesNotSent: what cannot be right is refused here.
func TestChangesNotSent(t *testing.T) {
	conn, _ := dial(t, dialer(), script("APPENDLIMIT=5", "C: a APPEND X {5}\nS: + go\nc: 12345\nS: a OK"))
	if s := conn.Server(); s.AppendLimit != 5 || s.LiteralPlus || s.CreateSpecialUse || s.UIDPlus || s.Move {
		t.Errorf("%+v", s)
	}
	for _, tc := range []struct {
		cmd  port.Command
		kind fault.Kind
	}{
		{&port.Expunge{}, fault.Invalid},
		{&port.Expunge{UIDs: mailbox.Set{}}, fault.Invalid},
		{&port.Expunge{UIDs: uids(1), All: true}, fault.Invalid},
		{&port.Expunge{UIDs: uids(1)}, fault.Invalid}, // no UIDPLUS
		{&port.Copy{UIDs: uids(1), To: "X", Move: true}, fault.Invalid},
		{&port.Append{Name: "X", Size: 1}, fault.Invalid},
		{&port.Append{Name: "X", Size: -1, Open: func() (io.ReadCloser, error) { return nil, nil }}, fault.Invalid},
		{message("X", "123456"), fault.Limit},
	} {
		do(t, conn, tc.cmd)
		if out := tc.cmd.Result(); !fault.Is(out.Err, tc.kind) || out.Sent || out.Uncertain() {
			t.Errorf("%+v: %+v", tc.cmd, out)
		}
	}
	for _, cmd := range []port.Command{
		&port.Store{Flags: flag.Make(flag.Seen)}, &port.Store{UIDs: uids(1)}, &port.Copy{To: "X"},
	} {
		do(t, conn, cmd)
		if ok(t, cmd); cmd.Result().Sent {
			t.Errorf("%+v was sent", cmd)
		}
	}
	five := message("X", "12345")
	do(t, conn, five)
	ok(t, five)
}

func TestDeleted(t *testing.T) {
	const cm = "X-CM-EXT-1"
	for _, tc := range []struct {
		name, caps, lines, want string
		fails                   bool
	}{
		{"SEARCH", "", "C: a UID SEARCH DELETED\nS: * SEARCH 9 3 4\nS: a OK", "3:4,9", false},
		{"none", "", "C: a UID SEARCH DELETED\nS: * SEARCH\nS: a OK", "", false},
		{"no answer", "", "C: a UID SEARCH DELETED\nS: a OK", "", true},
		{"malformed", "", "C: a UID SEARCH DELETED\nS: * SEARCH 3 x\nS: a OK", "", true},
		{"refused", "", "C: a UID SEARCH DELETED\nS: * SEARCH 3\nS: a NO x", "", true},
		{"BAD", "", "C: a UID SEARCH DELETED\nS: a BAD x", "", true},
		{"ESEARCH", "ESEARCH", "C: a UID SEARCH RETURN (ALL) DELETED\nS: * ESEARCH (TAG \"a\") UID ALL 3:4\nS: a OK", "3:4", false},
		{"ESEARCH, none", "ESEARCH", "C: a UID SEARCH RETURN (ALL) DELETED\nS: * ESEARCH (TAG \"a\") UID\nS: a OK", "", false},
		{"ESEARCH refused", "ESEARCH",
			"C: a UID SEARCH RETURN (ALL) DELETED\nS: a BAD x\nC: b UID SEARCH DELETED\nS: * SEARCH 3\nS: b OK", "3", false},
		{"SEARCH that finds everything", cm, "C: a UID FETCH 1:* (UID FLAGS)\nS: * 1 FETCH (UID 4 FLAGS (\\\\Deleted))\n" +
			"S: * 2 FETCH (UID 5 FLAGS (\\\\Seen))\nS: * 3 FETCH (FLAGS (\\\\DELETED \\\\Seen) UID 7)\nS: a OK", "4,7", false},
		{"SEARCH that finds everything, refused", cm, "C: a UID FETCH 1:* (UID FLAGS)\nS: * 1 FETCH (UID 4 FLAGS (\\\\Deleted))\n" +
			"S: a NO x", "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := tc.lines
			if tc.caps == cm {
				lines = "C: i ID (\"name\" \"imapped\")\nS: i OK\n" + lines
			}
			conn, _ := dial(t, dialer(), script(tc.caps, lines))
			deleted := &port.Deleted{UIDs: uids(77)}
			do(t, conn, deleted)
			if (deleted.Err != nil) != tc.fails || deleted.UIDs.String() != tc.want || !deleted.Sent {
				t.Errorf("%v, %+v", deleted.UIDs, deleted.Outcome)
			}
		})
	}
	const answer = "* SEARCH 1 2 3 4\r\nA1 OK\r\n"
	for n := 1; n < len(answer); n++ {
		conn, _ := dial(t, dialer(), script("", fmt.Sprintf("C: a UID SEARCH DELETED\n! cut %d\nS- %s", n,
			strings.ReplaceAll(answer, "\r\n", `\r\n`))))
		deleted := &port.Deleted{}
		if err := conn.Do(deadline(t), deleted); err == nil || deleted.Err == nil || deleted.UIDs != nil {
			t.Fatalf("cut at %d: %v, %+v", n, err, deleted)
		}
	}
}
