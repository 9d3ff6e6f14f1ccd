package suites

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
	"imapped/tools/recorder"
)

// recorded starts a complete mirror that reaches its upstream through a recorder.
func recorded(t *testing.T, user string, boxes []harness.Box) (*world, *recorder.Recorder, *harness.Process) {
	t.Helper()
	w := theWorld(t)
	rec, err := recorder.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { rec.Close() })
	p := synced(t, account(t, w, user, rec.Addr(), boxes), boxes)
	must(t, p.Force(t.Context()))
	return w, rec, p
}

// counted returns the recorded commands without IDLE, which only waits for news.
func counted(rec *recorder.Recorder) []string {
	var all []string
	for _, c := range rec.Commands() {
		if c.Verb != "IDLE" {
			all = append(all, c.String())
		}
	}
	return all
}

// TestUIDValidityReset: the upstream forgets its UIDs. Nothing that clients rely on changes, and no body is downloaded.
func TestUIDValidityReset(t *testing.T) {
	boxes := harness.Account(theWorld(t).raw[:800], 6)
	w, rec, p := recorded(t, "reset", boxes)
	c := login(t, p.Login)
	before := snapshot(t, c, boxes, itemsBody)
	validity := map[string]string{}
	names := []string{"INBOX", "Work", "Lists/go-nuts"}
	for _, name := range names {
		validity[name] = status(t, c, name, "UIDVALIDITY")
	}
	rec.Reset()
	for i, name := range names {
		must(t, w.dovecot.ResetUIDValidity(t.Context(), "reset", name, 2_000_000+uint32(i), 70_000))
	}
	must(t, p.Force(t.Context()))
	must(t, harness.Eventually(t.Context(), time.Minute, "the mirror is healed", func() (bool, error) {
		s, err := p.Status(t.Context())
		return s.Text == "" && s.Messages == s.Bodies, err
	}))
	after := snapshot(t, c, boxes, itemsBody)
	sameUIDs(t, before, after)
	sameMail(t, after, before)
	for _, name := range names {
		if now := status(t, c, name, "UIDVALIDITY"); now != validity[name] {
			t.Errorf("%s: UIDVALIDITY %s, was %s", name, now, validity[name])
		}
	}
	got := rec.Totals()
	t.Logf("figure: UIDVALIDITY reset of %d mailboxes: %d bodies downloaded, %d commands", len(names), got.Bodies, len(counted(rec)))
	if got.Bodies != 0 {
		t.Errorf("%d bodies of %d bytes were downloaded again", got.Bodies, got.BodyBytes)
	}

	// New mail after the reset finds its place.
	up := upstreamLogin(t, w, "reset")
	cmd(t, up, "APPEND INBOX ", []byte("Subject: after the reset\r\n\r\nnew\r\n"))
	must(t, harness.Eventually(t.Context(), time.Minute, "new mail arrives", func() (bool, error) {
		rows, err := fetchBox(c, "INBOX", itemsLight)
		return len(rows) == len(before["INBOX"])+1, err
	}))
}

// status returns one item of a mailbox's STATUS.
func status(t *testing.T, c *imapc.Client, name, item string) string {
	t.Helper()
	for _, u := range cmd(t, c, "STATUS "+wire(name)+" ("+item+")").Untagged {
		if u.Name != "STATUS" || len(u.Data) != 2 {
			continue
		}
		pairs, err := u.Data[1].Pairs()
		must(t, err)
		return pairs[item].Text
	}
	t.Fatalf("STATUS %s without %s", name, item)
	return ""
}

// TestCommandCounts counts what being in step costs the upstream.
func TestCommandCounts(t *testing.T) {
	boxes := harness.Account(theWorld(t).raw[:400], 8)
	w, rec, p := recorded(t, "counts", boxes)
	if len(boxes) != 20 {
		t.Fatalf("%d mailboxes, want 20", len(boxes))
	}
	rec.Reset()
	must(t, p.Force(t.Context()))
	quiet := counted(rec)
	t.Logf("figure: nothing changed in 20 mailboxes: %d commands, %d connections", len(quiet), rec.Totals().Connections)
	if len(quiet) != 1 {
		t.Errorf("nothing changed, and %d commands were sent, want 1: %q", len(quiet), quiet)
	}

	up := upstreamLogin(t, w, "counts")
	for _, k := range []int{1, 7, 60} {
		rec.Reset()
		for i := range k {
			cmd(t, up, "APPEND Work (\\Seen) ", fmt.Appendf(nil, "Subject: new %d of %d\r\n\r\n%s\r\n", i, k, strings.Repeat("x", 100*i)))
		}
		must(t, p.Force(t.Context()))
		must(t, harness.Eventually(t.Context(), time.Minute, "new mail arrives", func() (bool, error) {
			s, err := p.Status(t.Context())
			return s.Messages == s.Bodies, err
		}))
		got := counted(rec)
		t.Logf("figure: %d new messages in one mailbox: %d commands", k, len(got))
		if len(got) > 4 {
			t.Errorf("%d new messages cost %d commands, more than 4: %q", k, len(got), got)
		}
		if n := rec.Totals().Bodies; n != int64(k) {
			t.Errorf("%d bodies were downloaded for %d new messages", n, k)
		}
	}

	// A change of flags by somebody else costs no body, and not one command per message.
	rec.Reset()
	cmd(t, up, "SELECT Archive")
	cmd(t, up, `STORE 1:* +FLAGS ($Changed)`)
	must(t, p.Force(t.Context()))
	if got := counted(rec); len(got) > 4 || rec.Totals().Bodies != 0 {
		t.Errorf("a change of flags cost %d bodies and the commands %q", rec.Totals().Bodies, got)
	}
	c := login(t, p.Login)
	cmd(t, c, "EXAMINE Archive")
	if n, want := len(found(cmd(t, c, "SEARCH KEYWORD $Changed"))), len(boxes[1].Messages); n != want {
		t.Errorf("%d messages carry the new keyword, want %d", n, want)
	}
}
