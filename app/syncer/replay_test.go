package syncer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// editor is a client of the rig's account, which writes as sessions do.
type editor struct {
	*rig
	lenient bool // mailboxes may be gone
}

func (r *rig) edits() editor { return editor{rig: r} }

func (e editor) id(name string) mailbox.ID {
	e.t.Helper()
	boxes, err := e.db.Mailboxes(e.t.Context(), e.acc.ID)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, b := range boxes {
		if b.Name == name {
			return b.ID
		}
	}
	if !e.lenient {
		e.t.Fatalf("there is no mailbox %q", name)
	}
	return 0
}

// done tells replay of a change, and says whether there was one.
func (e editor) done(err error) bool {
	e.t.Helper()
	if e.lenient && fault.Is(err, fault.NotFound) {
		return false
	}
	if err != nil {
		e.t.Fatal(err)
	}
	if e.m != nil {
		e.m.Changed(e.acc.ID)
	}
	return true
}

func (e editor) flags(name string, mode metadata.FlagMode, uids mailbox.Set, flags ...string) {
	e.t.Helper()
	_, err := e.db.EditFlags(e.t.Context(), e.acc.ID, metadata.FlagEdit{
		Mailbox: e.id(name), UIDs: uids, Mode: mode, Flags: flag.Parse(flags...), Now: time.Now(),
	})
	e.done(err)
}

func (e editor) append(name, raw string, flags ...string) mailbox.UID {
	e.t.Helper()
	m, err := e.message(raw, flags...)
	if err != nil {
		e.t.Fatal(err)
	}
	added, err := e.db.AddMessages(e.t.Context(), e.acc.ID, metadata.AddEdit{
		Mailbox: e.id(name), Messages: []metadata.NewMessage{m}, Now: time.Now(),
	})
	if !e.done(err) {
		return 0
	}
	return added.UIDs[0]
}

// message stores a message's bytes and describes it.
func (e editor) message(raw string, flags ...string) (metadata.NewMessage, error) {
	keys, err := e.blobs.Put(e.t.Context(), []byte(raw))
	if err != nil {
		return metadata.NewMessage{}, err
	}
	date := time.Unix(1e9+int64(len(raw)), 0).UTC()
	c := &metadata.Content{Blob: keys[0], Size: int64(len(raw))}
	if c.Fragments, err = message.Parse(stringReader(raw), c.Size); err != nil {
		return metadata.NewMessage{}, err
	}
	return metadata.NewMessage{
		Flags: flag.Parse(flags...), Size: c.Size, Date: date.Unix(), Identity: message.Identify([]byte(raw), c.Size, date), Content: c,
	}, nil
}

func (e editor) copy(from, to string, move bool, uids ...mailbox.UID) []mailbox.UID {
	e.t.Helper()
	return e.copied(from, to, move, uids...).Target
}

// copied is copy with what was copied.
func (e editor) copied(from, to string, move bool, uids ...mailbox.UID) metadata.Copied {
	e.t.Helper()
	done, err := e.db.CopyMessages(e.t.Context(), e.acc.ID, metadata.CopyEdit{
		From: e.id(from), To: e.id(to), UIDs: mailbox.SetOf(uids...), Move: move, Now: time.Now(),
	})
	e.done(err)
	return done
}

func (e editor) expunge(name string, uids ...mailbox.UID) mailbox.Set {
	e.t.Helper()
	done, err := e.db.RemoveMessages(e.t.Context(), e.acc.ID, metadata.RemoveEdit{
		Mailbox: e.id(name), UIDs: mailbox.SetOf(uids...), Now: time.Now(),
	})
	e.done(err)
	return done.UIDs
}

func (e editor) create(name string) {
	e.t.Helper()
	_, err := e.db.CreateMailbox(e.t.Context(), e.acc.ID, name, 0, time.Now())
	e.done(err)
}

func (e editor) delete(name string) {
	e.t.Helper()
	e.done(e.db.DeleteMailbox(e.t.Context(), e.acc.ID, e.id(name), time.Now()))
}

func (e editor) rename(from, to string) {
	e.t.Helper()
	renames := []metadata.Rename{{ID: e.id(from), Name: to}}
	boxes, err := e.db.Mailboxes(e.t.Context(), e.acc.ID)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, b := range boxes {
		if len(b.Name) > len(from) && b.Name[:len(from)+1] == from+"/" {
			renames = append(renames, metadata.Rename{ID: b.ID, Name: to + b.Name[len(from):]})
		}
	}
	e.done(e.db.RenameMailboxes(e.t.Context(), e.acc.ID, renames, time.Now()))
}

// queue returns the account's queue.
func (r *rig) queue() []metadata.Queued {
	r.t.Helper()
	q, err := r.db.Mutations(r.t.Context(), r.acc.ID, 0, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

func (r *rig) showQueue() (out []string) {
	for _, q := range r.queue() {
		out = append(out, fmt.Sprintf("%d %s %s %v source %v up %d/%d departed %v attempts %d op %v name %q to %q intent %v next %v: %s", q.ID, q.Kind, q.State,
			q.Ref, q.Source, q.Upstream, q.SourceUpstream, q.Departed, q.Attempts, q.Op, q.Name, q.To, q.Intent, q.Next, q.Reason))
	}
	return out
}

// drained waits until nothing is left in the queue but what is parked.
func (r *rig) drained() {
	r.t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for range 5000 {
		sum, err := r.db.QueueSummary(r.t.Context(), r.acc.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		if sum.Waiting+sum.Sent == 0 || sum.Parked > 0 && r.stuck() {
			return
		}
		<-look.C
	}
	for _, line := range r.showQueue() {
		r.t.Log(line)
	}
	r.t.Fatal("the queue is not drained")
}

// stuck says whether nothing waits but what depends on something parked.
func (r *rig) stuck() bool {
	parked := map[mutation.Ref]bool{}
	for _, q := range r.queue() {
		switch {
		case q.State == mutation.Parked:
			parked[q.Ref] = true
		case q.State == mutation.Sent, !parked[q.Ref] && !parked[q.Source]:
			return false
		default:
			parked[q.Ref] = true
		}
	}
	return true
}

// converge drains the queue, brings everything in step and compares.
func (r *rig) converge() {
	r.t.Helper()
	r.drained()
	r.settle()
	r.drained()
	r.compare()
}

// quick makes replay fit for tests.
func (r *rig) quick() *rig {
	r.cfg.Delay, r.cfg.Grace = time.Millisecond, time.Millisecond
	return r
}

// variants runs a test against upstreams that offer different things.
func variants(t *testing.T, run func(t *testing.T, w *world)) {
	for _, v := range []struct {
		name string
		set  func(*world)
	}{
		{"everything", func(*world) {}},
		{"no UIDPLUS", func(w *world) { w.server.UIDPlus = false }},
		{"no MOVE", func(w *world) { w.server.Move = false }},
		{"no CONDSTORE", func(w *world) { w.server.CondStore, w.server.QResync = false, false }},
		{"bare", func(w *world) {
			w.server = upstream.Server{}
		}},
		{"no keywords", func(w *world) { w.noKeywords = true }},
	} {
		t.Run(v.name, func(t *testing.T) {
			w := newWorld()
			v.set(w)
			run(t, w)
		})
	}
}

// TestReplay makes every kind of change on a healthy upstream.
func TestReplay(t *testing.T) {
	variants(t, func(t *testing.T, w *world) {
		w.create("Work", '/')
		w.create("Work/Old", '/')
		for i := range 10 {
			w.deliver("INBOX", mail(i, 100))
		}
		r := newRig(t, w).quick()
		r.start()
		r.sync()
		e := r.edits()
		e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1, 2, 3), `\Seen`)
		e.flags("INBOX", metadata.ReplaceFlags, mailbox.SetOf[uint32](2), `\Flagged`)
		e.append("Work", mail(100, 50), `\Seen`)
		e.copy("INBOX", "Work", false, 1, 4)
		e.copy("INBOX", "Work/Old", true, 5, 6)
		e.expunge("INBOX", 7, 8)
		e.create("New")
		e.append("New", mail(101, 2000), `\Flagged`)
		e.rename("Work", "Job")
		e.append("Job/Old", mail(102, 10))
		r.converge()
		if n := len(w.boxes["Job"].msgs); n != 3 {
			t.Errorf("Job has %d messages", n)
		}
		if n := len(w.boxes["INBOX"].msgs); n != 6 {
			t.Errorf("INBOX has %d messages", n)
		}
		e.delete("New")
		e.expunge("Job", 1)
		r.converge()
		if w.boxes["New"] != nil || w.boxes["Job/Old"] == nil {
			t.Error("the wrong mailbox was deleted")
		}
	})
}

// TestReplayIsNotNews: what replay has done costs no bodies and no more commands than other changes, and gets no UID a
// second time.
func TestReplayIsNotNews(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	w.create("Work", '/')
	for i := range 10 {
		w.deliver("INBOX", mail(i, 100))
	}
	r := newRig(t, w).quick()
	r.start()
	r.sync()
	w.change(func() { w.bodies = map[string]int{} })
	e := r.edits()
	work := []mailbox.UID{e.append("Work", mail(50, 10)), e.append("Work", mail(51, 10))}
	work = append(work, e.copy("INBOX", "Work", true, 3, 4)...)
	e.flags("INBOX", metadata.AddFlags, mailbox.SetOf[uint32](1), `\Seen`)
	r.drained()
	w.commands()
	r.sync()
	if n, what := w.commands(); n > 8 {
		t.Errorf("%d commands: %s", n, what)
	}
	r.sync()
	if n, what := w.commands(); n != 1 {
		t.Errorf("%d commands: %s, want 1", n, what)
	}
	r.compare()
	if got := r.uids("Work"); !slices.Equal(got, work) {
		t.Errorf("UIDs are %v, want %v", got, work)
	}
	if len(w.bodies) > 0 {
		t.Errorf("%d bodies were fetched", len(w.bodies))
	}
}

// TestReplayBatches: a thousand changes of flags are a handful of commands.
func TestReplayBatches(t *testing.T) {
	w := newWorld()
	w.server.Idle = false
	for i := range 1000 {
		w.deliver("INBOX", mail(i, 10))
	}
	r := newRig(t, w)
	r.start()
	r.sync()
	w.commands()
	e := r.edits()
	for i := range 1000 {
		e.flags("INBOX", metadata.AddFlags, mailbox.SetOf(uint32(i+1)), [][]string{{`\Seen`}, {`\Flagged`, "a"}, {`\Seen`, `\Answered`}}[i%3]...)
	}
	r.drained()
	if n, what := w.commands(); n > 20 {
		t.Errorf("%d commands: %s", n, what)
	}
	r.converge()
}

// ids of parked mutations, with their reasons.
func (r *rig) parked() (out []string) {
	for _, q := range r.queue() {
		if q.State == mutation.Parked {
			out = append(out, q.Kind.String()+": "+q.Reason)
		}
	}
	return out
}
