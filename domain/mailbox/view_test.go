package mailbox

import (
	"math/rand/v2"
	"slices"
	"testing"

	"imapped/domain/flag"
)

// client is what a client knows of a mailbox from what it was told: the UID of each sequence number (0: told to exist,
// not asked about yet) and flags.
type client struct {
	uids  []UID
	flags map[UID]flag.Set
}

// hear applies the answers in the order in which they are sent.
func (c *client) hear(t *testing.T, v *View, ch Changes) {
	t.Helper()
	var vanished []UID
	for i, seq := range ch.Expunged {
		if i > 0 && seq >= ch.Expunged[i-1] {
			t.Fatalf("EXPUNGE answers are not descending: %v", ch.Expunged)
		}
		if seq == 0 || int(seq) > len(c.uids) {
			t.Fatalf("EXPUNGE %d of %d", seq, len(c.uids))
		}
		vanished = append(vanished, c.uids[seq-1])
		c.uids = slices.Delete(c.uids, int(seq)-1, int(seq))
	}
	if got := SetOf(vanished...).String(); got != ch.Vanished.String() {
		t.Fatalf("VANISHED %s, EXPUNGE meant %s", ch.Vanished, got)
	}
	if int(ch.Exists) < len(c.uids) || ch.Grew != (int(ch.Exists) > len(c.uids)) {
		t.Fatalf("EXISTS %d (grew %v) with %d known", ch.Exists, ch.Grew, len(c.uids))
	}
	for seq := len(c.uids) + 1; seq <= int(ch.Exists); seq++ { // FETCH of the new messages
		row := v.At(uint32(seq))
		c.uids = append(c.uids, row.UID)
		c.flags[row.UID] = row.Flags
	}
	for seq := range ch.Flags.All {
		row := v.At(seq)
		if c.uids[seq-1] != row.UID {
			t.Fatalf("FETCH %d FLAGS is about UID %d, the client means %d", seq, row.UID, c.uids[seq-1])
		}
		c.flags[row.UID] = row.Flags
	}
}

func TestClientsFollowTheMailbox(t *testing.T) {
	rnd := seeded(t)
	for range 8 {
		w := newWorld(rnd)
		w.add(rnd.IntN(2000))
		s := NewSnapshot(w.delta(0))
		type session struct {
			view *View
			client
		}
		var sessions []*session
		for range 4 {
			ss := &session{view: NewView(s, 1, 1), client: client{flags: map[UID]flag.Set{}}}
			for _, row := range ss.view.Rows(ss.view.All()) {
				ss.uids, ss.flags[row.UID] = append(ss.uids, row.UID), row.Flags
			}
			sessions = append(sessions, ss)
		}
		for step := range 40 {
			w.step()
			if rnd.IntN(8) == 0 { // evicted and loaded again: nothing is shared
				s = NewSnapshot(w.delta(0))
			} else {
				s = s.Apply(w.delta(s.ModSeq()))
			}
			for _, ss := range sessions {
				if step < 39 && rnd.IntN(3) == 0 {
					continue
				}
				expunge := step == 39 || rnd.IntN(2) == 0
				before := ss.view
				loses := slices.ContainsFunc(ss.uids, func(u UID) bool { _, ok := w.rows[u]; return !ok })
				next, ch := ss.view.Advance(s, expunge)
				if loses && !expunge {
					if next != before || !ch.Empty() || ch.ModSeq != before.HighestModSeq() {
						t.Fatal("the view moved past an expunge that must not be told yet")
					}
					continue
				}
				ss.view = next
				ss.hear(t, next, ch)
				if ch.ModSeq != w.modSeq || next.HighestModSeq() != w.modSeq {
					t.Fatalf("the view is at %d, the store at %d", ch.ModSeq, w.modSeq)
				}
				for seq, uid := range ss.uids {
					if row := next.At(uint32(seq) + 1); row != w.rows[uid] || ss.flags[uid] != row.Flags || next.Seq(uid) != uint32(seq)+1 {
						t.Fatalf("message %d: the client has %d %q, the view %+v, the store %+v",
							seq+1, uid, ss.flags[uid], row, w.rows[uid])
					}
				}
				if len(ss.uids) != len(w.rows) {
					t.Fatalf("the client has %d messages, the store %d", len(ss.uids), len(w.rows))
				}
				if again, ch := next.Advance(s, true); again != next || !ch.Empty() {
					t.Fatal("nothing new, and the view moved")
				}
			}
		}
	}
}

func TestModSeqAloneIsNewsAndSizeAloneIsNot(t *testing.T) {
	s := NewSnapshot(Delta{ModSeq: 2, UIDNext: 3, Rows: []Row{{UID: 1, ModSeq: 1, Size: 5}, {UID: 2, ModSeq: 2, Size: 5}}})
	v := NewView(s, 1, 1)
	_, ch := v.Advance(s.Apply(Delta{ModSeq: 3, UIDNext: 3, Rows: []Row{{UID: 1, ModSeq: 3, Size: 5}}}), false)
	if ch.Flags.String() != "1" {
		t.Errorf("flags changed to and fro: %q told", ch.Flags)
	}
	_, ch = v.Advance(s.Apply(Delta{ModSeq: 3, UIDNext: 3, Rows: []Row{{UID: 2, ModSeq: 3, Size: 9}}}), false)
	if !ch.Empty() {
		t.Errorf("a corrected size is told as %+v", ch)
	}
}

func TestInsertedMessageChangesNoMeaning(t *testing.T) {
	rows := func(uids ...UID) (out []Row) {
		for _, u := range uids {
			out = append(out, Row{UID: u, ModSeq: 1})
		}
		return out
	}
	old := NewSnapshot(Delta{ModSeq: 1, UIDNext: 10, Rows: rows(1, 3, 5)})
	v := NewView(old, 1, 1)
	// No store does this; a view must hold nevertheless.
	now := NewSnapshot(Delta{ModSeq: 2, UIDNext: 10, Rows: rows(1, 2, 3, 5)})
	next, ch := v.Advance(now, true)
	c := client{uids: []UID{1, 3, 5}, flags: map[UID]flag.Set{}}
	c.hear(t, next, ch)
	if !slices.Equal(c.uids, []UID{1, 2, 3, 5}) {
		t.Errorf("the client ends with %v", c.uids)
	}
	// A delta cannot bring one in at all.
	if s := old.Apply(Delta{ModSeq: 2, UIDNext: 10, Rows: rows(2)}); s.Len() != 3 {
		t.Errorf("a message below UIDNEXT came in")
	}
}

func TestResolve(t *testing.T) {
	s := NewSnapshot(Delta{ModSeq: 1, UIDNext: 20, Rows: []Row{{UID: 2}, {UID: 3}, {UID: 7}, {UID: 11}}})
	full, empty := NewView(s, 1, 1), NewView(NewSnapshot(Delta{ModSeq: 1, UIDNext: 5}), 1, 1)
	for _, tt := range []struct {
		view   *View
		ranges []Range
		seqs   string
		ok     bool
		byUID  string
	}{
		{full, []Range{{1, 4294967295}}, "1:4", false, "1:4"},
		{full, []Range{{1, 0}}, "1:4", true, "1:4"},
		{full, []Range{{0, 0}}, "4", true, "4"},
		{full, []Range{{0, 2}}, "2:4", true, "1:4"},
		{full, []Range{{12, 0}}, "4", false, "4"}, // UID 12:* holds the last message
		{full, []Range{{4, 3}, {1, 1}, {3, 3}}, "1,3:4", true, "2"},
		{full, []Range{{5, 5}}, "", false, ""},
		{full, []Range{{7, 7}, {2, 2}}, "2", false, "1,3"},
		{full, []Range{{4294967295, 4294967295}}, "", false, ""},
		{full, nil, "", true, ""},
		{empty, []Range{{0, 0}}, "", false, ""},
		{empty, []Range{{1, 0}}, "", false, ""},
		{empty, []Range{{1, 4294967295}}, "", false, ""},
	} {
		got, ok := tt.view.Seqs(tt.ranges)
		if got.String() != tt.seqs || ok != tt.ok {
			t.Errorf("Seqs(%v) = %q %v, want %q %v", tt.ranges, got, ok, tt.seqs, tt.ok)
		}
		if got := tt.view.SeqsOfUIDs(tt.ranges).String(); got != tt.byUID {
			t.Errorf("SeqsOfUIDs(%v) = %q, want %q", tt.ranges, got, tt.byUID)
		}
	}
	if got := full.UIDs(SetOf[uint32](1, 2, 4)).String(); got != "2:3,11" {
		t.Errorf("UIDs = %q", got)
	}
	if full.UID(5) != 0 || full.UID(0) != 0 || full.Seq(4) != 0 || full.Seq(7) != 3 {
		t.Error("UID or Seq is wrong")
	}
}

func TestRecent(t *testing.T) {
	s := NewSnapshot(Delta{ModSeq: 1, UIDNext: 20, Rows: []Row{{UID: 2, ModSeq: 1}, {UID: 7, ModSeq: 1}, {UID: 11, ModSeq: 1}}})
	v := NewView(s, 7, 20)
	if v.Recent() != 2 || v.IsRecent(2) || !v.IsRecent(11) {
		t.Errorf("%d recent", v.Recent())
	}
	v, ch := v.Advance(s.Apply(Delta{ModSeq: 2, UIDNext: 23, Rows: []Row{{UID: 21, ModSeq: 2}, {UID: 22, ModSeq: 2}}, Expunged: SetOf[uint32](7)}), true)
	if ch.Recent != 1 {
		t.Errorf("%d recent before the claim", ch.Recent)
	}
	if v = v.WithRecent(22, 23); v.Recent() != 2 || v.IsRecent(21) || !v.IsRecent(22) {
		t.Errorf("%d recent after the claim", v.Recent())
	}
	if w := v.WithRecent(23, 23); w != v {
		t.Error("an empty claim changed the view")
	}
}

func big(n int) *Snapshot {
	w := newWorld(rand.New(rand.NewPCG(1, 1)))
	w.add(n)
	return NewSnapshot(w.delta(0))
}

func TestHugeSetsCostNoMemory(t *testing.T) {
	v := NewView(big(50_000), 1, 1)
	ranges := []Range{{1, 4294967295}}
	if n := testing.AllocsPerRun(20, func() { v.SeqsOfUIDs(ranges); v.Seqs(ranges) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}

func TestKeywords(t *testing.T) {
	rows := []Row{
		{UID: 1, ModSeq: 1, Flags: flag.Make(flag.Seen, "b", "$Junk")}, {UID: 2, ModSeq: 1, Flags: flag.Make(0, "A", "$Junk")},
		{UID: 3, ModSeq: 1, Flags: flag.Make(0, "$JUNK")}, {UID: 4, ModSeq: 1},
	}
	v := NewView(NewSnapshot(Delta{ModSeq: 1, UIDNext: 5, Rows: rows}), 1, 1)
	if got := v.Keywords(); !slices.Equal(got, []string{"$JUNK", "A", "b"}) {
		t.Errorf("%q", got)
	}
	if got := NewView(NewSnapshot(Delta{ModSeq: 1, UIDNext: 1}), 1, 1).Keywords(); len(got) != 0 {
		t.Errorf("an empty mailbox has %q", got)
	}
}

func TestObjectIDsReadBack(t *testing.T) {
	o := ObjectID{1, 2, 0xfe}
	w := o.Wire(EmailKind)
	if got, ok := ParseObjectID(EmailKind, w); !ok || got != o {
		t.Errorf("%q reads back as %x %v", w, got, ok)
	}
	for _, bad := range []string{"", "E", "T" + w[1:], w + "0", w[:len(w)-1], "E" + "zz" + w[3:], "E" + "FE" + w[3:]} {
		if got, ok := ParseObjectID(EmailKind, bad); ok || got != (ObjectID{}) {
			t.Errorf("%q is taken for %x", bad, got)
		}
	}
	if (ObjectID{}).Wire(ThreadKind) != "" {
		t.Error("no object has a name")
	}
}
