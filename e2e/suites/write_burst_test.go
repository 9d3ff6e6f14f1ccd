package suites

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/tools/recorder"
)

// burst returns n changes of flags, each of one message; turn says which flag.
func burst(n, turn int) []string {
	flags := []string{`\Flagged`, "$Burst", `\Answered`, "$Later"}
	commands := make([]string, n)
	for i := range commands {
		commands[i] = fmt.Sprintf("UID STORE %d +FLAGS (%s)", i+1, flags[(i+turn)%2+2*(turn%2)])
	}
	return commands
}

// TestStoreBurst sends 1,000 changes of flags in one burst. Each that was acknowledged survives a kill -9 right after the
// last; the upstream gets all of them in a few commands.
func TestStoreBurst(t *testing.T) {
	const n = 1000
	w := theWorld(t)
	box := harness.Box{Name: "INBOX", UIDValidity: 1}
	for i := range n {
		box.Messages = append(box.Messages, harness.Message{
			Raw: mail(fmt.Sprintf("burst-%d", i), 500), UID: uint32(i + 1), Date: time.Date(2003, 2, 3, 0, 0, i, 0, time.UTC),
		})
	}
	rec, err := recorder.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { rec.Close() })
	s := pairedBy(t, w, "burst", rec.Addr(), []harness.Box{box})

	rec.Reset()
	c := s.ours(t)
	cmd(t, c, "SELECT INBOX")
	var took []time.Duration
	start := time.Now()
	must(t, pipeline(c, func(int) { took = append(took, time.Since(start)) }, burst(n, 0)...))
	whole := time.Since(start)
	_, err = s.p.Settled(t.Context(), time.Minute)
	must(t, err)
	sent := counted(rec)
	slices.Sort(took)
	t.Logf("figure: %d UID STOREs in one burst, each durable: %s, %.0f a second, p99 %s; %d commands upstream", n,
		whole.Round(time.Millisecond), n/whole.Seconds(), took[n*99/100].Round(time.Millisecond), len(sent))
	if len(sent) > 20 {
		t.Errorf("%d commands were sent upstream, want at most 20: %q", len(sent), sent)
	}
	s.flagged(t, n, `\Flagged`, "$Burst")

	// Once more, and the program is killed when the last is acknowledged.
	cmd(t, c, "NOOP")
	must(t, pipeline(c, func(int) {}, burst(n, 1)...))
	s.restart(t, true)
	c = s.ours(t)
	rows, err := fetchBox(c, "INBOX", itemsLight)
	must(t, err)
	for i, r := range rows {
		one, other := `$Later \Flagged`, `$Burst \Answered`
		if i%2 == 1 {
			one, other = other, one
		}
		if r.flags != one {
			t.Fatalf("UID %d has the flags (%s) after the kill, want (%s) or so, not (%s)", r.uid, r.flags, one, other)
		}
	}
	_, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
}

// flagged checks that the upstream has the flags, each on half of the messages.
func (s *pair) flagged(t *testing.T, n int, even, odd string) {
	t.Helper()
	rows, err := fetchBox(s.theirs(t), "INBOX", itemsLight)
	must(t, err)
	for i, r := range rows {
		if want := []string{even, odd}[i%2]; r.flags != want {
			t.Fatalf("UID %d has the flags (%s) upstream, want (%s)", r.uid, r.flags, want)
		}
	}
	if len(rows) != n {
		t.Errorf("%d messages upstream, want %d", len(rows), n)
	}
}
