package suites

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// awaits reads answers until one has the name, and returns it.
func awaits(t *testing.T, c *imapc.Client, name string) imapc.Response {
	t.Helper()
	for {
		r, err := c.Read()
		must(t, err)
		if r.Name == name {
			return r
		}
	}
}

// TestNewMailReachesIdlingClients measures how long a message takes from the upstream's OK to an idling client.
func TestNewMailReachesIdlingClients(t *testing.T) {
	w := theWorld(t)
	boxes := harness.Account(w.raw[:200], 9)
	p := synced(t, account(t, w, "idle", "", boxes), boxes)
	up := upstreamLogin(t, w, "idle")
	for _, name := range []string{"INBOX", "Work"} {
		c := login(t, p.Login)
		cmd(t, c, "SELECT "+wire(name))
		tag, err := c.Idle()
		must(t, err)
		var took []time.Duration
		for i := range 15 {
			cmd(t, up, "APPEND "+wire(name)+" ", fmt.Appendf(nil, "Subject: push %d\r\n\r\nhello\r\n", i))
			start := time.Now()
			awaits(t, c, "EXISTS")
			took = append(took, time.Since(start))
		}
		_, err = c.Done(tag)
		must(t, err)
		slices.Sort(took)
		median := took[len(took)/2]
		t.Logf("figure: new mail upstream in %s reaches an idling client within %s (median of %d, worst %s)",
			name, median.Round(time.Microsecond), len(took), took[len(took)-1].Round(time.Microsecond))
		if median > 5*time.Second {
			t.Errorf("%s: the median is %s", name, median)
		}
	}
}

// TestExpungeIsToldByTheRules: while commands with sequence numbers run, a session's numbers stay.
func TestExpungeIsToldByTheRules(t *testing.T) {
	w := theWorld(t)
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 9, Messages: harness.Dress(w.raw[:30], 10)}}
	p := synced(t, account(t, w, "expunge", "", boxes), boxes)
	a, b := login(t, p.Login), login(t, p.Login)
	rows, err := fetchBox(a, "INBOX", itemsLight)
	must(t, err)
	cmd(t, b, "SELECT INBOX")
	cmd(t, a, "SELECT INBOX")

	up := upstreamLogin(t, w, "expunge")
	cmd(t, up, "SELECT INBOX")
	cmd(t, up, `STORE 1:* -FLAGS.SILENT (\Deleted)`)
	cmd(t, up, `STORE 3,10:12,30 +FLAGS.SILENT (\Deleted)`)
	cmd(t, up, "EXPUNGE")
	cmd(t, up, "APPEND INBOX ", []byte("Subject: one more\r\n\r\nx\r\n"))

	// b hears of it at NOOP.
	expunged, exists := 0, uint32(30) // as a client counts: the new message may be told before or after the others go
	must(t, harness.Eventually(t.Context(), time.Minute, "the other client hears of it", func() (bool, error) {
		r, err := b.Cmd("NOOP")
		if err != nil {
			return false, err
		}
		for _, u := range r.Untagged {
			switch u.Name {
			case "EXPUNGE":
				expunged++
				exists--
			case "EXISTS":
				exists = u.Num
			}
		}
		return expunged == 5 && exists == 26, nil
	}))

	// a has only sent commands during which nothing may be expunged: the old numbers still mean the old messages.
	for _, text := range []string{"FETCH 1:30 (UID)", "SEARCH ALL", "FETCH 30 (FLAGS UID)", "SEARCH 1:* UNDELETED", "STORE 1 +FLAGS (\\Seen)"} {
		r, err := a.Cmd(text)
		if err != nil && !strings.HasPrefix(text, "STORE") {
			t.Fatal(err)
		}
		for _, u := range r.Untagged {
			if u.Name == "EXPUNGE" || u.Name == "VANISHED" {
				t.Errorf("%s was answered with %s %d", text, u.Name, u.Num)
			}
			if u.Name == "FETCH" {
				pairs, err := u.Data[0].Pairs()
				must(t, err)
				if want := fmt.Sprint(rows[u.Num-1].uid); pairs["UID"].Text != "" && pairs["UID"].Text != want {
					t.Errorf("%s: number %d is UID %s, want %s", text, u.Num, pairs["UID"].Text, want)
				}
			}
		}
	}
	// NOOP tells a, in numbers that shrink as they are told.
	left := slices.Clone(rows)
	for _, u := range cmd(t, a, "NOOP").Untagged {
		if u.Name == "EXPUNGE" {
			if int(u.Num) > len(left) || u.Num == 0 {
				t.Fatalf("EXPUNGE %d of %d", u.Num, len(left))
			}
			left = slices.Delete(left, int(u.Num)-1, int(u.Num))
		}
	}
	now, err := fetchBox(login(t, p.Login), "INBOX", itemsLight)
	must(t, err)
	if len(now) != len(left)+1 {
		t.Fatalf("%d messages are left, want %d and a new one", len(now), len(left))
	}
	for i, m := range left {
		if now[i].uid != m.uid {
			t.Errorf("number %d is UID %d, by the EXPUNGEs told it is %d", i+1, now[i].uid, m.uid)
		}
	}
	if last := now[len(now)-1].uid; last <= rows[len(rows)-1].uid {
		t.Errorf("the new message got UID %d, after %d", last, rows[len(rows)-1].uid)
	}
}

// TestUpstreamChangesAreFollowed changes mailboxes upstream: created, deleted, renamed.
func TestUpstreamChangesAreFollowed(t *testing.T) {
	w := theWorld(t)
	boxes := harness.Account(w.raw[:300], 11)
	p := synced(t, account(t, w, "changes", "", boxes), boxes)
	c := login(t, p.Login)
	before, err := fetchBox(c, "Archive/2002", itemsBody)
	must(t, err)
	up := upstreamLogin(t, w, "changes")
	cmd(t, up, "CREATE New/Box")
	cmd(t, up, "APPEND New/Box ", []byte("Subject: first\r\n\r\nx\r\n"))
	cmd(t, up, "DELETE Junk")
	cmd(t, up, "RENAME Archive/2002 Elsewhere")
	must(t, p.Force(t.Context()))
	must(t, harness.Eventually(t.Context(), time.Minute, "the new mailbox is here", func() (bool, error) {
		rows, err := fetchBox(c, "New/Box", itemsBody)
		return len(rows) == 1, err
	}))
	names := listed(t, c)
	if _, ok := names["Junk"]; ok {
		t.Error("Junk, deleted upstream, is still listed")
	}
	after, err := fetchBox(c, "Elsewhere", itemsBody)
	must(t, err)
	if len(after) != len(before) {
		t.Fatalf("%d messages after the rename, before %d", len(after), len(before))
	}
	for i, m := range after {
		if m.uid != before[i].uid || m.sha != before[i].sha {
			t.Errorf("message %d: UID %d after the rename, before %d", i+1, m.uid, before[i].uid)
		}
	}
}
