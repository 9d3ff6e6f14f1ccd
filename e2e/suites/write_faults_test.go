package suites

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
	"imapped/tools/faultproxy"
)

// writer makes random changes, and knows what was acknowledged: for each mailbox, by UID, a message and its flags.
type writer struct {
	rng   *rand.Rand
	boxes []string
	has   map[string]map[string]*written
	ids   map[[sha256.Size]byte]string
	maybe map[string]bool // appended, and not acknowledged
	last  int
	log   []string
}

type written struct {
	id    string
	flags map[string]bool
}

func newWriter(rng *rand.Rand, boxes ...string) *writer {
	w := &writer{rng: rng, boxes: boxes, has: map[string]map[string]*written{}, ids: map[[sha256.Size]byte]string{}, maybe: map[string]bool{}}
	for _, b := range boxes {
		w.has[b] = map[string]*written{}
	}
	return w
}

// fresh returns a new message and its name.
func (w *writer) fresh() (string, []byte) {
	w.last++
	id := fmt.Sprintf("w%d", w.last)
	raw := mail(id, w.rng.IntN(3000))
	w.ids[sum(raw)] = id
	return id, raw
}

// note keeps what was done to a message, for the report of a failure.
func (w *writer) note(id, format string, args ...any) {
	w.log = append(w.log, time.Now().Format("15:04:05.000")+" "+id+": "+fmt.Sprintf(format, args...))
}

func sum(raw []byte) [sha256.Size]byte { return sha256.Sum256(raw) }

// any returns a random mailbox.
func (w *writer) any() string { return w.boxes[w.rng.IntN(len(w.boxes))] }

// change makes n random changes; each is acknowledged.
func (w *writer) change(t *testing.T, c *imapc.Client, n int) {
	t.Helper()
	for range n {
		box := w.any()
		uids := slices.Sorted(maps.Keys(w.has[box]))
		if len(uids) == 0 || w.rng.IntN(5) < 2 {
			w.append(t, c, box)
			continue
		}
		uid := uids[w.rng.IntN(len(uids))]
		m := w.has[box][uid]
		cmd(t, c, "SELECT "+box)
		switch w.rng.IntN(5) {
		case 0:
			to := w.any()
			w.placed(t, cmd(t, c, "UID COPY "+uid+" "+to), to, m)
			w.note(m.id, "COPY %s/%s to %s", box, uid, to)
		case 1:
			to := w.any()
			delete(w.has[box], uid)
			w.placed(t, cmd(t, c, "UID MOVE "+uid+" "+to), to, m)
			w.note(m.id, "MOVE %s/%s to %s", box, uid, to)
		case 2:
			cmd(t, c, "UID STORE "+uid+` +FLAGS.SILENT (\Deleted)`)
			cmd(t, c, "UID EXPUNGE "+uid)
			delete(w.has[box], uid)
			w.note(m.id, "EXPUNGE %s/%s", box, uid)
		default:
			flag := []string{`\Flagged`, `\Seen`, `\Answered`, "$One", "$Two"}[w.rng.IntN(5)]
			sign := "+"
			if m.flags[flag] {
				sign = "-"
			}
			m.flags[flag] = sign == "+"
			cmd(t, c, "UID STORE "+uid+" "+sign+"FLAGS.SILENT ("+flag+")")
			w.note(m.id, "STORE %s/%s %s%s", box, uid, sign, flag)
		}
	}
}

// append appends one to three messages at once.
func (w *writer) append(t *testing.T, c *imapc.Client, box string) {
	t.Helper()
	parts := []any{"APPEND " + box}
	var all []*written
	for range 1 + w.rng.IntN(3) {
		id, raw := w.fresh()
		parts = append(parts, ` (\Seen) `, raw)
		all = append(all, &written{id, map[string]bool{`\Seen`: true}})
	}
	fields := strings.Fields(cmd(t, c, parts...).Code)
	if len(fields) != 3 || fields[0] != "APPENDUID" {
		t.Fatalf("APPEND was answered with %q", fields)
	}
	for i, uid := range uidSet(t, fields[2]) {
		w.has[box][uid] = all[i]
		w.note(all[i].id, "APPEND %s/%s", box, uid)
	}
}

// placed notes the result of a COPY or a MOVE: the latter says COPYUID before its end (RFC 6851 section 4.3).
func (w *writer) placed(t *testing.T, r *imapc.Reply, to string, m *written) {
	t.Helper()
	for _, u := range append(r.Untagged, r.Response) {
		if fields := strings.Fields(u.Code); len(fields) == 4 && fields[0] == "COPYUID" {
			w.has[to][fields[3]] = &written{m.id, maps.Clone(m.flags)}
			return
		}
	}
	t.Fatalf("no COPYUID in %+v", r)
}

// uidSet returns the UIDs of a set as APPENDUID has it.
func uidSet(t *testing.T, set string) []string {
	t.Helper()
	var out []string
	for part := range strings.SplitSeq(set, ",") {
		var a, b uint32
		if n, err := fmt.Sscanf(part, "%d:%d", &a, &b); n == 1 {
			b = a
		} else if err != nil {
			t.Fatalf("UIDs %q: %v", set, err)
		}
		for u := a; u <= b; u++ {
			out = append(out, fmt.Sprint(u))
		}
	}
	return out
}

// check compares what both sides have with what was acknowledged.
func (w *writer) check(t *testing.T, s *pair) {
	t.Helper()
	c, up := s.ours(t), s.theirs(t)
	unsure := map[string]int{}
	for _, box := range w.boxes {
		here, err := fetchNamed(c, box, itemsBody)
		must(t, err)
		there, err := fetchNamed(up, box, itemsBody)
		must(t, err)
		var want, gotHere, gotThere []string
		for uid, m := range w.has[box] {
			on := slices.DeleteFunc(slices.Sorted(maps.Keys(m.flags)), func(f string) bool { return !m.flags[f] })
			want = append(want, fmt.Sprintf("%s %s(%s)", uid, m.id, strings.Join(on, " ")))
		}
		var theirWant []string
		for _, m := range here {
			id := w.ids[m.sha]
			if id == "" {
				t.Errorf("%s: UID %d is a message that nobody wrote", box, m.uid)
			}
			if w.maybe[id] {
				unsure[id]++
			} else {
				gotHere = append(gotHere, fmt.Sprintf("%d %s(%s)", m.uid, id, m.flags))
			}
			theirWant = append(theirWant, fmt.Sprintf("%s(%s)", id, m.flags))
		}
		for _, m := range there {
			gotThere = append(gotThere, fmt.Sprintf("%s(%s)", w.ids[m.sha], m.flags))
		}
		for _, list := range [][]string{want, gotHere, gotThere, theirWant} {
			slices.Sort(list)
		}
		if lost, more := minus(want, gotHere), minus(gotHere, want); len(lost)+len(more) > 0 {
			t.Errorf("%s: here %d messages, %d were acknowledged; missing %q, too many %q\n%s", box, len(gotHere), len(want), lost, more,
				w.history(append(lost, more...)))
		}
		if lost, more := minus(theirWant, gotThere), minus(gotThere, theirWant); len(lost)+len(more) > 0 {
			t.Errorf("%s: upstream %d messages, here %d; missing %q, too many %q", box, len(gotThere), len(theirWant), lost, more)
		}
	}
	for id, n := range unsure {
		if n > 1 {
			t.Errorf("%s, appended once without an answer, is there %d times", id, n)
		}
	}
}

// history returns what was done to the messages of lines like "UID ID(FLAGS)".
func (w *writer) history(lines []string) string {
	var out []string
	for _, l := range lines {
		_, id, _ := strings.Cut(l, " ")
		id, _, _ = strings.Cut(id, "(")
		for _, entry := range w.log {
			if strings.Contains(entry, " "+id+": ") {
				out = append(out, entry)
			}
		}
	}
	return strings.Join(out, "\n")
}

// TestKilledReplay kills the program without warning at random moments while it carries changes upstream. What was
// acknowledged is there exactly once, on both sides.
func TestKilledReplay(t *testing.T) {
	w := theWorld(t)
	rng := randomly(t)
	s := paired(t, w, "replaykill", []harness.Box{{Name: "INBOX", UIDValidity: 1}, {Name: "A", UIDValidity: 2}, {Name: "B", UIDValidity: 3}})
	must(t, s.proxy.Set(faultproxy.RoundTrip(8*time.Millisecond))) // so that there are moments between an effect and its answer
	model := newWriter(rng, "INBOX", "A", "B")
	kills := harness.Size("IMAPPED_E2E_REPLAY_KILLS", 100, 20)
	busy := 0
	for range kills {
		c := s.ours(t)
		model.change(t, c, 3+rng.IntN(12))
		unanswered := rng.IntN(3) == 0
		if unanswered {
			id, raw := model.fresh()
			model.maybe[id] = true
			_, err := c.Send("APPEND "+model.any()+" ", raw)
			must(t, err)
		}
		kill := time.NewTimer(time.Duration(rng.Int64N(int64(800 * time.Millisecond))))
		select {
		case <-kill.C:
		case <-s.p.Ended():
			t.Fatalf("imapped ended by itself:\n%s", s.p.Log())
		}
		s.p.Kill()
		if q, err := s.p.Status(t.Context()); err == nil && q.Queue.Waiting+q.Queue.Sent > 0 {
			busy++
		}
		p, err := s.p.Mirror.Start(context.WithoutCancel(t.Context()))
		must(t, err)
		s.p = p
	}
	_, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
	model.check(t, s)
	t.Logf("figure: killed %d times while changes went upstream, %d of them with some on the way: %d messages written, each exactly once",
		kills, busy, model.last)
}

// TestCutReplay cuts connections at random bytes, of either direction, while changes are carried upstream.
func TestCutReplay(t *testing.T) {
	w := theWorld(t)
	rng := randomly(t)
	s := paired(t, w, "replaycut", []harness.Box{{Name: "INBOX", UIDValidity: 1}, {Name: "A", UIDValidity: 2}, {Name: "B", UIDValidity: 3}})
	model := newWriter(rng, "INBOX", "A", "B")
	c := s.ours(t)
	want := int64(harness.Size("IMAPPED_E2E_REPLAY_CUTS", 60, 12))
	for s.proxy.Stats().Cuts < want {
		cuts := s.proxy.Stats().Cuts
		at := 1 + rng.Int64N(1+rng.Int64N(12_000)) // small ones are likelier
		f := faultproxy.Faults{Up: faultproxy.Flow{CutAt: at}}
		if rng.IntN(2) == 0 {
			f = faultproxy.Faults{Down: faultproxy.Flow{CutAt: 1 + at/3}} // what comes back is shorter
		}
		must(t, s.proxy.Set(f))
		model.change(t, c, 3+rng.IntN(12))
		if err := harness.Eventually(t.Context(), 10*time.Second, "a cut, or the end of the changes", func() (bool, error) {
			if s.proxy.Stats().Cuts > cuts {
				return true, nil
			}
			st, err := s.p.Status(t.Context())
			return st.Queue.Waiting+st.Queue.Sent == 0, err
		}); err != nil {
			// After many cuts in a row it leaves the upstream alone for longer: a look at it shows that it is there.
			must(t, s.proxy.Set(faultproxy.Faults{}))
			s.force(t)
		}
	}
	must(t, s.proxy.Set(faultproxy.Faults{}))
	s.force(t)
	_, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
	model.check(t, s)
	t.Logf("figure: %d connections cut while changes went upstream: %d messages written, each exactly once", s.proxy.Stats().Cuts, model.last)
}
