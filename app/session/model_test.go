package session_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// modelBox is what a mailbox should be.
type modelBox struct {
	next mailbox.UID
	rows []modelRow
}

type modelRow struct {
	uid   mailbox.UID
	flags flag.Set
	raw   int // the number of rawMessage
}

func (b *modelBox) add(raw int, f flag.Set) mailbox.UID {
	b.next++
	b.rows = append(b.rows, modelRow{b.next, f, raw})
	return b.next
}

// take removes the messages for which choose is true and returns them.
func (b *modelBox) take(choose func(modelRow) bool) (gone []modelRow) {
	b.rows = slices.DeleteFunc(b.rows, func(m modelRow) bool {
		if choose(m) {
			gone = append(gone, m)
			return true
		}
		return false
	})
	return gone
}

func seedOf(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("IMAPPED_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 9))
}

// modelClient is a session on one of the mailboxes.
type modelClient struct {
	session.Session
	session.Mailbox
	name string
}

// TestAgainstModel does random changes in several sessions, whose views lag behind, and compares the mailboxes with an
// obvious model; at the end also after a restart.
func TestAgainstModel(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		rnd := seedOf(t)
		r := newRig(t, kind)
		names := []string{"INBOX", "Box", "Other"}
		r.mirror(0, "Box", '/')
		r.mirror(0, "Other", '/')
		model := map[string]*modelBox{}
		for _, name := range names {
			model[name] = &modelBox{}
		}
		var clients []modelClient
		for i := range 6 {
			s := r.login()
			clients = append(clients, modelClient{s, r.selectBox(s, names[i%3]), names[i%3]})
		}
		raw := 0
		for range 250 {
			c := clients[rnd.IntN(len(clients))]
			if rnd.IntN(3) == 0 {
				r.advance(c.Mailbox)
				r.compareView(c, model[c.name])
			}
			raw = r.randomChange(rnd, c, model, names, raw)
		}
		check := func() {
			for _, name := range names {
				var want []string
				for _, m := range model[name].rows {
					want = append(want, fmt.Sprintf("%d (%s) %x", m.uid, m.flags, sha256.Sum256(rawMessage(m.raw))))
				}
				got := r.shown(name)
				for i := range got {
					f := strings.Fields(got[i])
					got[i] = strings.Join(slices.Delete(f, len(f)-2, len(f)-1), " ") // without the date
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s has\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
		check()
		for _, c := range clients {
			r.advance(c.Mailbox)
			r.compareView(c, model[c.name])
		}
		r.reopen()
		check()
	})
}

// compareView compares a view that was just advanced with the model.
func (r *rig) compareView(c modelClient, want *modelBox) {
	r.Helper()
	if int(c.View().Len()) != len(want.rows) {
		r.Fatalf("%s: %d messages, want %d", c.name, c.View().Len(), len(want.rows))
	}
	for i, m := range want.rows {
		if row := c.View().At(uint32(i) + 1); row.UID != m.uid || !row.Flags.Equal(m.flags) {
			r.Fatalf("%s message %d: %d (%s), want %d (%s)", c.name, i+1, row.UID, row.Flags, m.uid, m.flags)
		}
	}
}

// randomChange does one thing in a session and in the model. raw is the number of messages made so far.
func (r *rig) randomChange(rnd *rand.Rand, c modelClient, model map[string]*modelBox, names []string, raw int) int {
	ctx, box := r.Context(), model[c.name]
	view := c.View().UIDs(c.View().All())
	var uids mailbox.Set
	for uid := range view.All {
		if rnd.IntN(3) == 0 {
			uids = append(uids, mailbox.Range{First: uid, Last: uid})
		}
	}
	uids = mailbox.Normalize(uids)
	in := func(m modelRow) bool { return uids.Contains(uint32(m.uid)) }
	flags := flag.Make(flag.System(rnd.IntN(32)), []string{"a", "b", "c"}[:rnd.IntN(4)]...)
	to := names[rnd.IntN(len(names))]
	switch op := rnd.IntN(6); op {
	case 0: // STORE
		mode := session.StoreMode(rnd.IntN(3))
		_, err := c.Store(ctx, session.StoreRequest{UIDs: uids, Mode: mode, Flags: flags})
		r.check(err)
		for i := range box.rows {
			if m := &box.rows[i]; in(*m) {
				m.flags = [...]flag.Set{m.flags.Union(flags), m.flags.Minus(flags), flags}[mode]
			}
		}
	case 1, 2: // COPY, MOVE
		done, err := c.Copy(ctx, uids, to, op == 2)
		r.check(err)
		moved := slices.Collect(func(yield func(modelRow) bool) {
			for _, m := range box.rows {
				if in(m) && !yield(m) {
					return
				}
			}
		})
		if op == 2 {
			box.take(in)
		}
		for i, m := range moved {
			if uid := model[to].add(m.raw, m.flags); done.Source[i] != m.uid || done.Target[i] != uid {
				r.Fatalf("COPYUID %v %v, want %d to be %d", done.Source, done.Target, m.uid, uid)
			}
		}
	case 3: // EXPUNGE
		gone, err := c.Expunge(ctx, nil)
		r.check(err)
		var want []mailbox.UID
		for _, m := range box.take(func(m modelRow) bool { return m.flags.Has(flag.Deleted) && view.Contains(uint32(m.uid)) }) {
			want = append(want, m.uid)
		}
		if gone.String() != mailbox.SetOf(want...).String() {
			r.Fatalf("expunged %q, want %v", gone, want)
		}
	default: // APPEND, REPLACE
		replaced, exists := mailbox.UID(0), true
		if op == 5 && len(uids) > 0 {
			replaced = mailbox.UID(uids[0].First)
			exists = slices.ContainsFunc(box.rows, func(m modelRow) bool { return m.uid == replaced })
		}
		a, err := c.Append(ctx, to)
		r.check(err)
		defer a.Close()
		var added []int
		for range 1 + rnd.IntN(3) {
			raw++
			added = append(added, raw)
			r.check(a.Add(ctx, bytes.NewReader(rawMessage(raw)), int64(len(rawMessage(raw))), flags, testTime))
		}
		done, err := a.Commit(ctx, c.Mailbox, replaced)
		if !exists {
			isFault(r, "replace what is gone", err, fault.NotFound)
			break
		}
		r.check(err)
		for i, n := range added {
			if uid := model[to].add(n, flags); done.UIDs[i] != uid {
				r.Fatalf("APPENDUID %v, want %d", done.UIDs, uid)
			}
		}
		box.take(func(m modelRow) bool { return m.uid == replaced })
	}
	return raw
}

// TestMovesAtTheSameTime: sessions move the same messages to and fro at the same time. Each message stays exactly one.
func TestMovesAtTheSameTime(t *testing.T) {
	r := newRig(t, "mirrored")
	box := r.mirror(0, "Box", '/')
	r.mirror(0, "Other", '/')
	var raws [][]byte
	for n := range 50 {
		raws = append(raws, rawMessage(n))
	}
	r.deliver(0, box, true, raws...)
	names := []string{"Box", "Other"}
	var wg sync.WaitGroup
	for i := range 4 {
		s := r.login()
		m := r.selectBox(s, names[i%2])
		wg.Go(func() {
			for range 10 {
				if _, err := m.Advance(t.Context(), true); err != nil {
					t.Error(err)
				}
				if _, err := m.Copy(t.Context(), mailbox.Set{{First: 1, Last: 1 << 31}}, names[(i+1)%2], true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, name := range names {
		for _, l := range r.shown(name) {
			f := strings.Fields(l)
			seen[f[len(f)-1]]++
		}
	}
	for _, raw := range raws {
		if n := seen[fmt.Sprintf("%x", sha256.Sum256(raw))]; n != 1 {
			t.Errorf("%.60q is there %d times", raw, n)
		}
	}
}
