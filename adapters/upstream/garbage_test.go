package upstream_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/adapters/upstream"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

// TestGarbage changes octets of good answers at random: every call returns, with an error or a result, and what is
// left of the connection can be closed. IMAPPED_SEED replays a run.
func TestGarbage(t *testing.T) {
	rnd := seeded(t)
	answers := "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nA1 OK [READ-ONLY] done\r\n" +
		"* SEARCH 4 5 9\r\nA2 OK done\r\n" +
		"* 1 FETCH (UID 4 FLAGS (\\Seen \"x\") BODY[] {2500}\r\n" + strings.Repeat("b", 2500) + " RFC822.SIZE 2500)\r\n" +
		"* 2 FETCH (BODY[] {4}\r\nabcd UID 5)\r\nA3 OK done\r\n" +
		"* LIST (\\HasNoChildren) \"/\" {3}\r\nabc\r\n* STATUS abc (MESSAGES 4)\r\nA4 OK done\r\n"
	for run := range 200 {
		conn, _ := dial(t, dialer(), script("", "C: a EXAMINE INBOX\nC: b UID SEARCH ALL\nC: c UID FETCH 4:5 (UID FLAGS RFC822.SIZE BODY.PEEK[])\n"+
			"C: d LIST \"\" \"*\"\n! may-end\nS- "+damage(rnd, answers)+"\n! close"))
		sel, enum, list := &port.Select{Name: "INBOX", ReadOnly: true}, &port.Enumerate{}, &port.List{}
		fetch := &port.Fetch{UIDs: mailbox.Set{{First: 4, Last: 5}}, Items: port.ItemFlags | port.ItemSize | port.ItemBody}
		fetch.OnMessage = func(m port.Message) error {
			if m.Body == nil {
				return nil
			}
			n, err := io.Copy(io.Discard, m.Body)
			if err == nil && n != m.BodySize {
				t.Errorf("run %d: %d octets of %d, and no error", run, n, m.BodySize)
			}
			return err
		}
		err := conn.Do(deadline(t), sel, enum, fetch, list)
		if err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("run %d: %v", run, err)
		}
		if err != nil && sel.Err == nil && enum.Err == nil && fetch.Err == nil && list.Err == nil {
			t.Errorf("run %d: %v, and every command is fine", run, err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("run %d: %v", run, err)
		}
	}
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("IMAPPED_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = v
	}
	t.Logf("IMAPPED_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// damage changes, drops, inserts or repeats octets of a stream, and returns it escaped for a script.
func damage(rnd *rand.Rand, answers string) string {
	const alphabet = "\r\n\x00 (){}[]<>\"\\*+~.,:0123456789ABCDEFGOKNUIDLTS\xff"
	stream := []byte(answers)
	for range 1 + rnd.IntN(4) {
		at := rnd.IntN(len(stream))
		switch c := alphabet[rnd.IntN(len(alphabet))]; rnd.IntN(4) {
		case 0:
			stream[at] = c
		case 1:
			stream = append(stream[:at], stream[min(at+1+rnd.IntN(20), len(stream)):]...)
		case 2:
			stream = append(stream[:at], append([]byte{c}, stream[at:]...)...)
		case 3: // something from elsewhere
			from := rnd.IntN(len(stream))
			piece := string(stream[from:min(from+rnd.IntN(40), len(stream))])
			stream = append(stream[:at], append([]byte(piece), stream[at:]...)...)
		}
		if len(stream) == 0 {
			stream = []byte(" ")
		}
	}
	var escaped strings.Builder
	for _, c := range stream {
		fmt.Fprintf(&escaped, `\x%02x`, c)
	}
	return escaped.String()
}

// TestChangeGarbage: whatever is answered to changes, pairs are among what was asked for, each once, and what has no
// clear answer is uncertain.
func TestChangeGarbage(t *testing.T) {
	rnd := seeded(t)
	const answers = "A1 OK [APPENDUID 7 12] done\r\nA2 OK [COPYUID 7 1:3,9 20:22,30] done\r\n" +
		"* OK [COPYUID 8 1:3 4:6] moving\r\n* VANISHED 1:3\r\n* OK [COPYUID 8 9 7]\r\n* 5 EXPUNGE\r\nA3 OK done\r\n" +
		"* 2 FETCH (UID 2 FLAGS (\\Deleted))\r\nA4 OK done\r\n* 1 EXPUNGE\r\nA5 NO [TRYCREATE] x\r\n* SEARCH 5 6\r\nA6 OK\r\n"
	set := uids(1, 2, 3, 9)
	for run := range 400 {
		conn, _ := dial(t, dialer(), script("MOVE UIDPLUS LITERAL+", "C: a APPEND X {3+}\nc: abc\nC: b UID COPY 1:3,9 X\n"+
			"C: c UID MOVE 1:3,9 X\nC: d UID STORE 1:3,9 +FLAGS.SILENT (\\Deleted)\nC: e UID EXPUNGE 1:3,9\nC: f UID SEARCH DELETED\n"+
			"! may-end\nS- "+damage(rnd, answers)+"\n! close"))
		a, cp, mv := message("X", "abc"), &port.Copy{UIDs: set, To: "X"}, &port.Copy{UIDs: set, To: "X", Move: true}
		store, expunge := &port.Store{UIDs: set, Flags: flag.Make(flag.Deleted)}, &port.Expunge{UIDs: set}
		err := conn.Do(deadline(t), a, cp, mv, store, expunge, &port.Deleted{})
		for _, cmd := range []port.Command{a, cp, mv, store, expunge} {
			out := cmd.Result()
			var refused *port.Refusal
			if answered := out.Err == nil || errors.As(out.Err, &refused) && refused.Status != "BYE"; !out.Sent || out.Uncertain() == answered {
				t.Errorf("run %d: %T: %+v", run, cmd, out)
			}
		}
		if err != nil && !fault.Is(err, fault.Unavailable) || (a.UID == 0) != (a.UIDValidity == 0) {
			t.Errorf("run %d: %v, %+v", run, err, a)
		}
		for _, c := range []*port.Copy{cp, mv} {
			var from, to []uint32
			for _, p := range c.Pairs {
				from, to = append(from, p.From), append(to, p.To)
			}
			n := uint64(len(c.Pairs))
			if (n == 0) != (c.UIDValidity == 0) || len(mailbox.SetOf(from...).Minus(set)) > 0 || uids(from...).Len() != n ||
				uids(to...).Len() != n || mailbox.SetOf(to...).Contains(0) || (c.Err == nil) != (len(c.Done) > 0) {
				t.Errorf("run %d: %+v", run, c)
			}
		}
	}
}

// TestHostile: answers that are too large fail what they may have been the answer to, in bounded memory.
func TestHostile(t *testing.T) {
	for _, tc := range []struct{ name, lines string }{
		{"a line of 17 MB", "S- * SEARCH 1 \n! may-end\n! big 17000000 1\nS: \nS: a OK\n! silent"},
		{"a literal of 4 GB", "! may-end\nS: * LIST () \"/\" {4294967295}\n! silent"},
		{"a literal of too many digits", "! may-end\nS: * LIST () \"/\" {99999999999999999999999}\nS: x\n! silent"},
		{"a header of 4 GB", "! may-end\nS: * 1 FETCH (UID 5 BODY[HEADER.FIELDS (DATE)] {4294967295}\n! silent"},
		{"a body of 4 EB", "! may-end\nS: * 1 FETCH (UID 5 BODY[] {4611686018427387904}\n! silent"},
		{"no end of noise", "! may-end\n" + strings.Repeat("S: nonsense\n", 100) + "! silent"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := dial(t, &upstream.Dialer{Silence: time.Hour}, script("", "C: a UID SEARCH ALL\n"+tc.lines))
			enum := &port.Enumerate{}
			if err := conn.Do(deadline(t), enum); !fault.Is(err, fault.Unavailable) || enum.Err == nil || enum.UIDs != nil {
				t.Errorf("%v, %v, %v", err, enum.Err, enum.UIDs)
			}
		})
	}
	t.Run("names and flags", func(t *testing.T) {
		conn, _ := dial(t, dialer(), script("", "C: a LIST \"\" \"*\"\nS: * LIST () \"/\" {5000}\n! big 5000 x\nS: \n"+
			"S: * LIST () \"/\" ok\nS: a OK\nC: b UID FETCH 1 (UID FLAGS)\nS: * 1 FETCH (UID 1 FLAGS (\\\\Seen "+
			strings.Repeat("y", 300)+strings.Repeat(" z", 1000)+"))\nS: b OK"))
		list, fetch := &port.List{}, &port.Fetch{UIDs: mailbox.SetOf[uint32](1), Items: port.ItemFlags}
		var got *[]string
		fetch.OnMessage, got = gather()
		do(t, conn, list)
		do(t, conn, fetch)
		ok(t, list, fetch)
		if len(list.Mailboxes) != 1 || list.Mailboxes[0].Name != "ok" || len(*got) != 1 || (*got)[0] != `uid 1 flags \Seen z` {
			t.Errorf("%+v, %q", list.Mailboxes, *got)
		}
	})
}
