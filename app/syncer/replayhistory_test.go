package syncer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// writers plays random changes on both sides.
type writers struct {
	*history
	e       editor
	want    map[string]int  // how often a message that was appended here is to be there
	tainted map[string]bool // both sides did things to it that decide how often, or its mailbox was deleted
	boxes   int
	odd     map[*mbox]string // what was done to a mailbox upstream since both sides were the same
}

// once notes that a mailbox was reset or renamed upstream. A mailbox to which both was done cannot be known again: it is
// gone, and another one is there, with everything that was not expunged there yet.
func (h *writers) once(name, what string) {
	h.w.mu.Lock()
	b := h.w.boxes[name]
	was := h.odd[b]
	h.odd[b] = what
	h.w.mu.Unlock()
	if was != "" && was != what {
		h.taint(name) // what was expunged here is perhaps still in it
		for _, b := range h.here() {
			h.taint(b.Name)
		}
	}
}

// here returns the selectable mailboxes here.
func (h *writers) here() []mailbox.Info {
	boxes, err := h.e.db.Mailboxes(context.Background(), h.e.acc.ID)
	if err != nil {
		h.e.t.Fatal(err)
	}
	return slices.DeleteFunc(boxes, func(b mailbox.Info) bool { return b.Attrs&mailbox.NoSelect != 0 })
}

// some returns up to three random messages of a mailbox here.
func (h *writers) some(id mailbox.ID) (out []local) {
	all := h.e.local(id)
	for range min(len(all), 1+h.rnd.IntN(3)) {
		l := all[h.rnd.IntN(len(all))]
		if !slices.ContainsFunc(out, func(x local) bool { return x.uid == l.uid }) {
			out = append(out, l)
		}
	}
	return out
}

func uidsOf(ls []local) (uids []mailbox.UID) {
	for _, l := range ls {
		uids = append(uids, l.uid)
	}
	return uids
}

// local changes something here.
func (h *writers) local() string {
	boxes := h.here()
	b, to := boxes[h.rnd.IntN(len(boxes))], boxes[h.rnd.IntN(len(boxes))]
	flags := [][]string{{`\Seen`}, {`\Flagged`}, {"$Work", `\Answered`}, {`\Deleted`, "b"}}[h.rnd.IntN(4)]
	ls := h.some(b.ID)
	switch k := h.rnd.IntN(100); {
	case k < 25:
		mode := []metadata.FlagMode{metadata.AddFlags, metadata.RemoveFlags, metadata.ReplaceFlags}[h.rnd.IntN(3)]
		h.e.flags(b.Name, mode, mailbox.SetOf(uidsOf(ls)...), flags...)
		return fmt.Sprint("local flags ", b.Name, uidsOf(ls), mode, flags)
	case k < 45:
		h.n++
		raw := "X-Ours: 1\r\n" + mail(h.n, h.rnd.IntN(3000))
		uid := h.e.append(b.Name, raw, flags...)
		if uid != 0 {
			h.want[raw]++
		}
		return fmt.Sprint("local append ", b.Name, uid)
	case k < 60:
		got := h.e.copied(b.Name, to.Name, false, uidsOf(ls)...)
		for _, l := range ls {
			if slices.Contains(got.Source, l.uid) {
				h.want[l.raw]++
			}
		}
		return fmt.Sprint("local copy ", b.Name, got.Source, " to ", to.Name, got.Target)
	case k < 75:
		got := h.e.copy(b.Name, to.Name, true, uidsOf(ls)...)
		return fmt.Sprint("local move ", b.Name, uidsOf(ls), " to ", to.Name, got)
	case k < 87:
		gone := h.e.expunge(b.Name, uidsOf(ls)...)
		for _, l := range ls {
			if gone.Contains(uint32(l.uid)) {
				h.want[l.raw]--
			}
		}
		return fmt.Sprint("local expunge ", b.Name, gone)
	case k < 92 && len(boxes) < 10:
		h.boxes++
		name := fmt.Sprintf("%smade%d", []string{"", "Work/", "a&b/"}[h.rnd.IntN(3)], h.boxes)
		h.e.create(name)
		return "local create " + name
	case k < 96 && b.Name != "INBOX":
		h.boxes++
		name := fmt.Sprintf("moved%d", h.boxes)
		h.e.rename(b.Name, name)
		return "local rename " + b.Name + " to " + name
	case b.Name != "INBOX" && len(boxes) > 3:
		h.taint(b.Name)
		h.e.delete(b.Name)
		return "local delete " + b.Name
	}
	return "nothing"
}

// taint takes what is in a mailbox, on either side, out of what is counted.
func (h *writers) taint(name string) {
	for _, b := range h.here() {
		if b.Name == name {
			for _, l := range h.e.local(b.ID) {
				h.tainted[l.raw] = true
			}
		}
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if b := h.w.boxes[name]; b != nil {
		for _, m := range b.msgs {
			h.tainted[m.raw] = true
		}
	}
}

// remote changes something upstream.
func (h *writers) remote() string {
	names := h.names()
	name := names[h.rnd.IntN(len(names))]
	uid := h.uid(name)
	if k := h.rnd.IntN(100); k >= 60 && k < 80 { // expunge what is not ours, so that ours can be counted
		h.w.mu.Lock()
		m := h.w.boxes[name].find(uid)
		theirs := m != nil && !strings.HasPrefix(m.raw, "X-Ours")
		h.w.mu.Unlock()
		if theirs {
			h.w.expunge(name, uid)
		}
		return fmt.Sprint("remote expunge ", name, uid)
	} else if k >= 80 && k < 84 && name != "INBOX" && len(names) > 3 {
		h.taint(name)
		for _, b := range h.here() { // it may have another name here now
			h.taint(b.Name)
		}
		h.w.remove(name)
		return "remote remove " + name
	}
	flags := [][]string{nil, {`\Seen`}, {`\Flagged`, "$Work"}, {`\Deleted`, `\Answered`, "a"}}[h.rnd.IntN(4)]
	switch k := h.rnd.IntN(100); {
	case k < 40:
		h.n++
		h.w.deliver(name, mail(h.n, h.rnd.IntN(2000)), flags...)
		return "remote deliver " + name
	case k < 80:
		if h.w.noKeywords {
			flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f[0] != '\\' })
		}
		h.w.setFlags(name, uid, flags...)
		return fmt.Sprint("remote flags ", name, uid, flags)
	case k < 86 && len(names) < 10:
		h.made++
		box := fmt.Sprintf("%sbox%d", []string{"", "Work/"}[h.rnd.IntN(2)], h.made)
		h.w.create(box, '/')
		return "remote create " + box
	case k < 92 && name != "INBOX":
		h.made++
		to := fmt.Sprintf("renamed%d", h.made)
		h.once(name, "rename")
		h.w.change(func() { h.w.move(name, to) })
		return "remote rename " + name + " to " + to
	case k < 96 && h.resets < 7:
		h.resets++
		h.once(name, "reset")
		h.w.reset(name, 1+uint32(h.rnd.IntN(500)))
		return "remote reset " + name
	}
	return "nothing"
}

// TestWriters plays random histories of changes on both sides, with connections that break, commands that are refused,
// and a process that dies, and checks that both sides end up the same, and that nothing is lost or doubled.
func TestWriters(t *testing.T) {
	playSeeds(t, 16, 4, playWriters)
}

func playWriters(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	w := newWorld()
	w.server.CondStore = rnd.IntN(3) > 0
	w.server.QResync = w.server.CondStore && rnd.IntN(2) == 0
	w.server.ListStatus = rnd.IntN(2) == 0
	w.server.Idle = rnd.IntN(2) == 0
	w.server.UIDPlus = rnd.IntN(3) > 0
	w.server.Move = rnd.IntN(3) > 0
	t.Logf("condstore %v qresync %v uidplus %v move %v no keywords %v", w.server.CondStore, w.server.QResync, w.server.UIDPlus, w.server.Move, w.noKeywords)
	r := newRig(t, w).quick()
	dies := &mortal{left: -1}
	r.ports.Queue, r.ports.Edits, r.ports.Mirror = mortalQueue{r.db, dies}, mortalEdits{r.db, dies}, mortalMirror{r.db, dies}
	h := &writers{history: &history{w: w, rnd: rnd}, e: editor{rig: r, lenient: true}, want: map[string]int{}, tainted: map[string]bool{}}
	r.start()
	r.settle()
	faults := rand.New(rand.NewPCG(rnd.Uint64(), 6)) // used under w.mu
	given := map[string]string{}
	for round := range 8 {
		broken := rnd.IntN(3) > 0
		h.odd = map[*mbox]string{}
		w.change(func() { w.budget, w.refuse, w.ghost = nil, nil, nil })
		if broken {
			w.change(func() {
				w.budget = func() int { return faults.IntN(60) }
				w.ghost = func() bool { return faults.IntN(2) == 0 }
				w.refuse = func(cmd upstream.Command) error {
					if !isChange(cmd) || faults.IntN(12) > 0 {
						return nil
					}
					return fault.As(fault.Unavailable, "refused", &upstream.Refusal{Status: "NO", Code: "UNAVAILABLE", Text: "not now"})
				}
			})
		}
		for range 1 + rnd.IntN(12) {
			what := ""
			if rnd.IntN(2) == 0 {
				what = h.local()
			} else {
				what = h.remote()
			}
			t.Logf("round %d: %s", round, what)
			switch rnd.IntN(5) {
			case 0:
				_ = r.try()
			case 1:
				if broken && rnd.IntN(3) == 0 {
					r.halt()
					dies.at(rnd.IntN(40), rnd.IntN(2) == 0)
					r.start()
				}
			}
		}
		if dies.dead() {
			r.halt()
			dies.never()
			r.start()
		}
		dies.never()
		w.change(func() { w.budget, w.refuse, w.ghost = nil, nil, nil })
		r.drained()
		r.settle()
		r.drained()
		r.settle()
		r.agree()
		h.counted()
		for _, m := range r.mirrored() {
			for _, l := range r.local(m.ID) {
				key := fmt.Sprint(m.ID, "/", l.uid)
				if was, ok := given[key]; ok && was != l.raw {
					t.Errorf("mailbox %s: UID %d was given to another message", m.Name, l.uid)
				}
				given[key] = l.raw
			}
		}
		if t.Failed() {
			for _, line := range r.showQueue() {
				t.Log(line)
			}
			return
		}
	}
}

// agree checks that both sides are the same, but for what is parked.
func (r *rig) agree() {
	r.t.Helper()
	ops := map[mutation.Ref]flag.Op{}
	placing := map[mutation.Ref]bool{}
	named := map[mailbox.ID]bool{}
	hidden := map[string]bool{} // what is gone here, and parked upstream
	for _, q := range r.queue() {
		switch {
		case q.Kind == mutation.Expunge:
			hidden[fmt.Sprint(q.Ref.Mailbox, "/", q.Upstream)] = true
		case q.Kind == mutation.Move:
			hidden[fmt.Sprint(q.Source.Mailbox, "/", q.SourceUpstream)] = true
		}
		switch {
		case q.Kind == mutation.Flags:
			ops[q.Ref] = ops[q.Ref].Then(q.Op)
		case q.Kind.Places():
			placing[q.Ref] = true
		case q.Kind == mutation.Rename || q.Kind == mutation.Create:
			named[q.Ref.Mailbox] = true
		}
	}
	here := r.mirrored()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	byRaw := map[string]metadata.Mirrored{}
	for _, m := range here {
		if m.Upstream.Name == "" && !named[m.ID] {
			r.t.Errorf("mailbox %q is not upstream", m.Name)
		}
		if twin, ok := byRaw[m.Upstream.Name]; ok && m.Upstream.Name != "" {
			r.t.Errorf("mailboxes %q and %q are one upstream", m.Name, twin.Name)
		}
		byRaw[m.Upstream.Name] = m
		if m.Deleting || m.Uncertain {
			r.t.Errorf("mailbox %q: deleting %v, uncertain %v", m.Name, m.Deleting, m.Uncertain)
		}
		if c := (mirror.Codec{Delimiter: '/'}); m.Upstream.Name != "" && c.Client(m.Upstream.Name) != strings.TrimSuffix(m.Name, "=~2") && !named[m.ID] {
			r.t.Errorf("mailbox %q is %q upstream", m.Name, m.Upstream.Name)
		}
	}
	for name, b := range r.w.boxes {
		m, ok := byRaw[name]
		if !ok {
			r.t.Errorf("mailbox %q is not here", name)
			continue
		}
		rows := r.local(m.ID)
		byUp := map[uint32]local{}
		for _, l := range rows {
			if l.up == 0 && !placing[mutation.Ref{Mailbox: m.ID, UID: l.uid}] {
				r.t.Errorf("%s: UID %d is not upstream", name, l.uid)
			}
			byUp[l.up] = l
		}
		for _, msg := range b.msgs {
			l, ok := byUp[msg.uid]
			delete(byUp, msg.uid)
			want := ops[mutation.Ref{Mailbox: m.ID, UID: l.uid}].Apply(msg.flags).String()
			switch {
			case !ok && hidden[fmt.Sprint(m.ID, "/", msg.uid)]:
			case !ok:
				r.t.Errorf("%s: upstream UID %d is not here: %.60q", name, msg.uid, msg.raw)
			case l.raw != msg.raw:
				r.t.Errorf("%s: UID %d has other bytes (%d, want %d)", name, l.uid, len(l.raw), len(msg.raw))
			case l.flags != want:
				r.t.Errorf("%s: UID %d (upstream %d) has flags %q, want %q", name, l.uid, msg.uid, l.flags, want)
			}
		}
		for up, l := range byUp {
			if up != 0 {
				r.t.Errorf("%s: UID %d, upstream %d, is gone there", name, l.uid, up)
			}
		}
	}
}

// counted checks that every message that was appended here is there as often as it is to be.
func (h *writers) counted() {
	t := h.e.t
	t.Helper()
	there := map[string]int{}
	h.w.mu.Lock()
	for _, b := range h.w.boxes {
		for _, m := range b.msgs {
			there[m.raw]++
		}
	}
	h.w.mu.Unlock()
	for raw, n := range h.want {
		if strings.HasPrefix(raw, "X-Ours") && !h.tainted[raw] && there[raw] != n {
			subject := raw[strings.Index(raw, "Subject"):]
			t.Errorf("%.30q is there %d times, want %d", subject, there[raw], n)
		}
	}
}
