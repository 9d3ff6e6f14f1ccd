package upstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

func pairs(nums ...uint32) (p []port.Pair) {
	for i := 0; i < len(nums); i += 2 {
		p = append(p, port.Pair{From: nums[i], To: nums[i+1]})
	}
	return p
}

func TestCopyUID(t *testing.T) {
	for _, tc := range []struct {
		name, lines string
		move        bool
		validity    uint32
		want        []port.Pair
	}{
		{"in the answer", "S: a OK [COPYUID 7 1:3 11:13]", false, 7, pairs(1, 11, 2, 12, 3, 13)},
		{"not all exist", "S: a OK [COPYUID 7 2 4294967295]", false, 7, pairs(2, 4294967295)},
		{"in the order of the sets", "S: a OK [COPYUID 7 3,1:2 20,30:31]", false, 7, pairs(3, 20, 1, 30, 2, 31)},
		{"ranges that do not meet", "S: a OK [COPYUID 7 1:3 5,9:10]", false, 7, pairs(1, 5, 2, 9, 3, 10)},
		{"a MOVE's, before the end", "S: * OK [COPYUID 7 1:2 11:12]\nS: * VANISHED 1:2\nS: a OK done", true, 7, pairs(1, 11, 2, 12)},
		{"a MOVE's, in two", "S: * OK [COPYUID 7 1 11]\nS: * 1 EXPUNGE\nS: * OK [COPYUID 7 2 12]\nS: * 1 EXPUNGE\nS: a OK", true, 7,
			pairs(1, 11, 2, 12)},
		{"a MOVE's, at the end", "S: * 1 EXPUNGE\nS: a OK [COPYUID 7 1 11]", true, 7, pairs(1, 11)},
		{"a MOVE's, twice", "S: * OK [COPYUID 7 1 11]\nS: a OK [COPYUID 7 1 11]", true, 7, pairs(1, 11)},
		{"a COPY's is in the answer only", "S: * OK [COPYUID 7 1 11]\nS: a OK", false, 0, nil},
		{"none", "S: a OK done", false, 0, nil},
		{"sizes differ", "S: a OK [COPYUID 7 1:3 11:12]", false, 0, nil},
		{"Cyrus behind a proxy", "S: a OK [COPYUID 7 11:13]", false, 0, nil},
		{"UIDVALIDITY 0", "S: a OK [COPYUID 0 1:3 11:13]", false, 0, nil},
		{"not what was asked for", "S: a OK [COPYUID 7 3:5 11:13]", false, 0, nil},
		{"more than was asked for", "S: a OK [COPYUID 7 1:4 11:14]", false, 0, nil},
		{"everything", "S: a OK [COPYUID 7 1:4294967295 1:4294967295]", false, 0, nil},
		{"a source twice", "S: a OK [COPYUID 7 1,1 11:12]", false, 0, nil},
		{"a target twice", "S: a OK [COPYUID 7 1:2 11,11]", false, 0, nil},
		{"backwards", "S: a OK [COPYUID 7 3:1 11:13]", false, 0, nil},
		{"a star", "S: a OK [COPYUID 7 1:3 11:*]", false, 0, nil},
		{"junk", "S: a OK [COPYUID x y z]", false, 0, nil},
		{"two that differ", "S: * OK [COPYUID 7 1 11]\nS: * OK [COPYUID 8 2 12]\nS: a OK", true, 0, nil},
		{"one good, one not", "S: * OK [COPYUID 7 1 11]\nS: * OK [COPYUID 7 2 y]\nS: a OK", true, 0, nil},
		{"of another code", "S: a OK [APPENDUID 7 11]", false, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			verb := map[bool]string{true: "MOVE", false: "COPY"}[tc.move]
			conn, _ := dial(t, dialer(), script("MOVE", "C: a UID "+verb+" 1:3 X\n"+tc.lines))
			cp := &port.Copy{UIDs: uids(1, 2, 3), To: "X", Move: tc.move, UIDValidity: 5, Pairs: pairs(1, 1), Done: uids(8)}
			do(t, conn, cp)
			if ok(t, cp); cp.UIDValidity != tc.validity || !slices.Equal(cp.Pairs, tc.want) || cp.Done.String() != "1:3" {
				t.Errorf("%+v", cp)
			}
		})
	}
}

// TestMoveInPart: what a MOVE says it did before it fails is kept.
func TestMoveInPart(t *testing.T) {
	for _, end := range []string{"S: a NO [OVERQUOTA] full", "! close"} {
		conn, _ := dial(t, dialer(), script("MOVE", "C: a UID MOVE 1:3 X\nS: * OK [COPYUID 7 1 11]\nS: * 1 EXPUNGE\n"+end))
		mv := &port.Copy{UIDs: uids(1, 2, 3), To: "X", Move: true}
		_ = conn.Do(deadline(t), mv)
		if mv.Err == nil || mv.UIDValidity != 7 || !slices.Equal(mv.Pairs, pairs(1, 11)) || mv.Done != nil {
			t.Errorf("%+v", mv)
		}
		if cut := end == "! close"; mv.Uncertain() != cut {
			t.Errorf("uncertain: %v", mv.Uncertain())
		}
	}
	conn, _ := dial(t, dialer(), script("", "C: a UID COPY 1:3 X\nS: a NO [COPYUID 7 1 11] refused"))
	cp := &port.Copy{UIDs: uids(1, 2, 3), To: "X"}
	do(t, conn, cp)
	if cp.Err == nil || cp.UIDValidity != 0 || cp.Pairs != nil || cp.Done != nil {
		t.Errorf("a COPY is all or nothing: %+v", cp)
	}
}

// sparse returns a set that does not fit into one command, and its parts as commands have them.
func sparse() (set mailbox.Set, first, second mailbox.Set) {
	for n := uint32(100_000); n < 104_000; n += 2 {
		set = append(set, mailbox.Range{First: n, Last: n})
	}
	const digits = 7 // with the comma
	return set, set[:8001/digits], set[8001/digits:]
}

func TestLongSets(t *testing.T) {
	set, first, second := sparse()
	name := func(s mailbox.Set) string { return s.String()[:60] + "..." }
	shift := func(s mailbox.Set, by uint32) mailbox.Set {
		out := make(mailbox.Set, len(s))
		for i, r := range s {
			out[i] = mailbox.Range{First: r.First + by, Last: r.Last + by}
		}
		return out
	}
	copyUID := func(validity int, s mailbox.Set, by uint32) string {
		return fmt.Sprintf("OK [COPYUID %d %s %s]", validity, s, shift(s, by))
	}
	for _, tc := range []struct {
		name, first, second string
		done                mailbox.Set
		pairs               int
		kind                string
		uncertain           bool
	}{
		{"both", "S: a " + copyUID(7, first, 1), "S: b " + copyUID(7, second, 1), set, len(set), "", false},
		{"the first refused", "S: a NO [OVERQUOTA] x", "S: b " + copyUID(7, second, 1), second, len(second), "limit", false},
		{"the second refused", "S: a " + copyUID(7, first, 1), "S: b NO [TRYCREATE] x", first, len(first), "not found", false},
		{"both refused", "S: a NO [TRYCREATE] x", "S: b NO [OVERQUOTA] x", nil, 0, "not found", false},
		{"one without COPYUID", "S: a OK", "S: b " + copyUID(7, second, 1), set, len(second), "", false},
		{"different UIDVALIDITY", "S: a " + copyUID(7, first, 1), "S: b " + copyUID(8, second, 1), set, 0, "", false},
		{"the second lost", "S: a " + copyUID(7, first, 1), "! close", first, len(first), "unavailable", true},
		{"one refused, one lost", "S: a NO [OVERQUOTA] x", "! close", nil, 0, "unavailable", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := dial(t, dialer(), script("", "C: a UID COPY "+name(first)+"\nC: b UID COPY "+name(second)+"\n"+tc.first+"\n"+tc.second))
			cp := &port.Copy{UIDs: set, To: "X"}
			_ = conn.Do(deadline(t), cp)
			kind := ""
			if cp.Err != nil {
				kind = fault.KindOf(cp.Err).String()
			}
			if kind != tc.kind || cp.Uncertain() != tc.uncertain || len(cp.Pairs) != tc.pairs || !slices.Equal(cp.Done, tc.done) {
				t.Errorf("%v, uncertain %v, %d pairs, done %v", cp.Err, cp.Uncertain(), len(cp.Pairs), cp.Done)
			}
			for _, p := range cp.Pairs {
				if p.To != p.From+1 {
					t.Fatalf("%+v", p)
				}
			}
		})
	}
	t.Run("store and expunge", func(t *testing.T) {
		var lines strings.Builder
		for _, verb := range []string{"STORE", "EXPUNGE"} {
			for _, part := range []mailbox.Set{first, second} {
				fmt.Fprintf(&lines, "C: x%d UID %s %s\n", lines.Len(), verb, name(part))
			}
		}
		var answers strings.Builder
		for i, line := range strings.Split(strings.TrimSpace(lines.String()), "\n") {
			answers.WriteString("S: " + strings.Fields(line)[1] + map[bool]string{true: " NO [LIMIT] x\n", false: " OK\n"}[i == 1])
		}
		conn, _ := dial(t, dialer(), script("UIDPLUS", lines.String()+answers.String()))
		store, expunge := &port.Store{UIDs: set, Flags: flag.Make(flag.Seen)}, &port.Expunge{UIDs: set}
		do(t, conn, store, expunge)
		if ok(t, expunge); !fault.Is(store.Err, fault.Limit) || store.Uncertain() {
			t.Errorf("%+v", store.Outcome)
		}
	})
}
