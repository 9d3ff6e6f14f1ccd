package suites

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// TestWritingOffline changes everything that can be changed while the upstream is away, with a restart and a kill -9 in
// between. When the upstream is back, everything is there within 10 s, exactly once.
func TestWritingOffline(t *testing.T) {
	t.Run("refused", func(t *testing.T) { offline(t, "offline", (*pair).offline) })
	t.Run("silent", func(t *testing.T) { offline(t, "silent", (*pair).silent) })
}

func offline(t *testing.T, user string, away func(*pair, *testing.T)) {
	w := theWorld(t)
	boxes := harness.Account(w.raw[:300], 31)
	s := paired(t, w, user, boxes)
	away(s, t)
	c := s.ours(t)
	start := time.Now()

	// Reading, with \Seen set by it.
	cmd(t, c, "SELECT INBOX")
	cmd(t, c, "FETCH 1:40 (BODY[TEXT])")
	// Flags.
	inTurn(t, c, `STORE 41:60 +FLAGS (\Flagged $Offline)`, `STORE 45:50 -FLAGS.SILENT (\Flagged)`, `STORE 61 FLAGS (\Answered)`,
		`UID STORE 1:* -FLAGS.SILENT (\Deleted)`)
	// Moves and copies, one of them back and forth.
	inTurn(t, c, "MOVE 1:5 Archive", "COPY 1:5 Work", `COPY 10 "With space"`, "UID MOVE * Trash")
	// Deletions.
	inTurn(t, c, `STORE 20:24 +FLAGS (\Deleted)`, "EXPUNGE", `STORE 20 +FLAGS (\Deleted)`, "CLOSE")
	cmd(t, c, "SELECT Archive")
	inTurn(t, c, `STORE 1:* -FLAGS.SILENT (\Deleted)`, "MOVE 2 INBOX", "COPY 3 Archive")

	s.restart(t, true)
	c = s.ours(t)
	counted := s.queued(t, 1, start)

	// 500 messages: 300 one by one, 200 in lots of 20.
	for i := range 300 {
		box := []string{"INBOX", "Sent", "Drafts"}[i%3]
		cmd(t, c, "APPEND "+box+` (\Seen $Sent) "05-Feb-2003 10:00:00 +0100" `, mail(fmt.Sprintf("single-%d", i), 10*i))
	}
	for i := range 10 {
		parts := []any{"APPEND Junk"}
		for j := range 20 {
			parts = append(parts, ` (\Draft) `, mail(fmt.Sprintf("multi-%d-%d", i, j), 500))
		}
		cmd(t, c, parts...)
	}
	counted = s.queued(t, counted+500, start)

	// Mailboxes: made, filled, renamed with what is below, removed with what is in them.
	inTurn(t, c, "CREATE Neu", `CREATE "Neu/&AOQ- &- b"`, "CREATE Empty2", "RENAME Archive/2002 Elsewhere", "RENAME Neu Newer", "DELETE A",
		"DELETE work", "DELETE Empty2", "CREATE Stay", "UNSUBSCRIBE B", "SUBSCRIBE B", "UNSUBSCRIBE Zuletzt")
	cmd(t, c, `APPEND "Newer/&AOQ- &- b" `, mail("in the new one", 100))
	cmd(t, c, "SELECT Elsewhere/Q3")
	cmd(t, c, "COPY 1:* Newer")
	cmd(t, c, "SELECT Newer")
	cmd(t, c, `STORE 1 +FLAGS (\Flagged)`)

	acknowledged, err := s.here(t)
	must(t, err)
	rows := s.rows(t, acknowledged)
	counted = s.queued(t, counted, start)
	s.restart(t, false)
	again, err := s.here(t)
	must(t, err)
	if diff := differences(again, acknowledged); len(diff) > 0 {
		t.Fatalf("after the restart: %q", diff)
	}
	s.queued(t, counted, start)

	back := time.Now()
	s.online(t)
	var diff []string
	if err := harness.Eventually(t.Context(), 30*time.Second, "everything is there", func() (bool, error) {
		there, err := s.there(t)
		diff = differences(acknowledged, there)
		return len(diff) == 0, err
	}); err != nil {
		t.Errorf("%v: %q", err, diff)
	}
	took := time.Since(back)
	t.Logf("figure: %d changes made offline are upstream %s after it is back", counted, took.Round(10*time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("it took %s, more than 10s", took)
	}
	now, parked := s.agree(t, 30*time.Second)
	nothingParked(t, parked)
	if diff := differences(now, acknowledged); len(diff) > 0 {
		t.Errorf("what was acknowledged has changed: %q", diff)
	}
	sameUIDs(t, rows, s.rows(t, now))
	if list := subscribed(t, s.theirs(t)); !slices.Contains(list, "Stay") || !slices.Contains(list, "B") || slices.Contains(list, "Zuletzt") {
		t.Errorf("subscribed upstream: %q", list)
	}
	if q, err := s.p.Status(t.Context()); err != nil || q.Queue.Oldest != nil {
		t.Errorf("the queue is empty, and show-sync-status says %+v, %v", q.Queue, err)
	}
}

// queued checks what show-sync-status and "mutations list" say of the queue while the upstream is away, and returns how
// many changes there are: at least as many as given.
func (s *pair) queued(t *testing.T, atLeast int, since time.Time) int {
	t.Helper()
	st, err := s.p.Status(t.Context())
	must(t, err)
	rows, err := s.p.Mutations(t.Context())
	must(t, err)
	n := st.Queue.Waiting + st.Queue.Sent
	if n < atLeast || len(rows) != n || st.Queue.Parked != 0 {
		t.Errorf("show-sync-status counts %+v, mutations list %d, want at least %d", st.Queue, len(rows), atLeast)
	}
	if o := st.Queue.Oldest; o == nil || o.Before(since.Add(-time.Second)) || o.After(time.Now()) {
		t.Errorf("the oldest change is of %v, and the test began at %s", o, since)
	}
	last := int64(0)
	for _, m := range rows {
		if m.ID <= last || m.Kind == "" || m.What == "" && m.Kind != "expunge" {
			t.Errorf("mutations list, after %d: %+v", last, m)
		}
		last = m.ID
	}
	return n
}

// rows returns the rows of the mailboxes that the content has, as the mirror serves them.
func (s *pair) rows(t *testing.T, all content) map[string][]row {
	t.Helper()
	c := s.ours(t)
	out := map[string][]row{}
	for name := range maps.Keys(all) {
		var err error
		out[name], err = fetchNamed(c, imapc.Quote(name), itemsLight)
		must(t, err)
	}
	return out
}

// subscribed returns the subscribed names as they are sent.
func subscribed(t *testing.T, c *imapc.Client) []string {
	t.Helper()
	var names []string
	for _, u := range cmd(t, c, `LSUB "" "*"`).Untagged {
		if u.Name == "LSUB" && len(u.Data) > 2 {
			names = append(names, u.Data[2].Text)
		}
	}
	return names
}
