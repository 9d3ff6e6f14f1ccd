package suites

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// conflict is a row of docs/conflicts.md, or one of its cases. Its world is the mailboxes A, with the messages m1, m2 and
// m3, and B and D, which are empty; C and E do not exist.
//
// A script is steps separated by "; ". "A: COMMAND" is a command with A selected, "A+n1" appends a message, "A!" resets
// the UIDVALIDITY of A (upstream only), anything else is a command; {A} stands for a mailbox's name.
type conflict struct {
	name        string
	here, there string
	want        string // what both sides have then; a mailbox that is not named does not exist
	wantThere   string // what the upstream has, where that is something else
	parked      bool   // a change stays parked
}

// The rows that need no lost answer. B and D are left out of want where they are empty.
var conflicts = []conflict{
	{"flags-same-flag", `A: STORE 1 +FLAGS (\Flagged)`, `A: STORE 1 +FLAGS (\Flagged); A: STORE 1 -FLAGS (\Flagged)`,
		`A[m1(\Flagged) m2(\Seen) m3]`, "", false},
	{"flags-other-flag", `A: STORE 1 +FLAGS (\Flagged); A: STORE 2 -FLAGS (\Seen)`, `A: STORE 1:2 +FLAGS (\Answered $There)`,
		`A[m1($There \Answered \Flagged) m2($There \Answered) m3]`, "", false},
	{"flags-expunged", `A: STORE 1 +FLAGS (\Flagged)`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A[m2(\Seen) m3]`, "", false},
	{"flags-moved", `A: STORE 1 +FLAGS (\Flagged)`, `A: MOVE 1 {B}`, `A[m2(\Seen) m3] B[m1]`, "", false},
	{"flags-copied", `A: STORE 1 +FLAGS (\Flagged)`, `A: COPY 1 {B}`, `A[m1(\Flagged) m2(\Seen) m3] B[m1]`, "", false},
	{"flags-new-mail", `A: STORE 1 +FLAGS (\Flagged)`, `A+n1`, `A[m1(\Flagged) m2(\Seen) m3 n1]`, "", false},
	{"flags-deleted", `A: STORE 1 +FLAGS (\Flagged)`, `DELETE {A}`, ``, "", false},
	{"flags-renamed", `A: STORE 1 +FLAGS (\Flagged)`, `RENAME {A} {C}`, `C[m1(\Flagged) m2(\Seen) m3]`, "", false},
	{"flags-created", `A: STORE 1 +FLAGS (\Flagged)`, `DELETE {A}; CREATE {A}; A+m1; A+n1`, `A[m1(\Flagged) n1]`, "", false},
	{"flags-reset", `A: STORE 1 +FLAGS (\Flagged)`, `A!`, `A[m1(\Flagged) m2(\Seen) m3]`, "", false},

	{"flags-replaced", `A: STORE 1 +FLAGS (\Flagged)`, `RENAME {A} {C}; CREATE {A}; A+n1`, `A[n1] C[m1(\Flagged) m2(\Seen) m3]`, "", false},
	{"rename-replaced", `RENAME {A} {E}; E: STORE 1 +FLAGS (\Flagged)`, `RENAME {A} {C}; CREATE {A}; A+n1`,
		`A[n1] E[m1(\Flagged) m2(\Seen) m3]`, "", false},
	{"expunge-replaced", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `RENAME {A} {C}; CREATE {A}; A+n1`, `A[n1] C[m2(\Seen) m3]`, "", false},
	{"move-replaced", `A: MOVE 1 {B}`, `RENAME {A} {C}; CREATE {A}; A+n1`, `A[n1] B[m1] C[m2(\Seen) m3]`, "", false},

	{"append-new-mail", `A+n1`, `A+n2`, `A[m1 m2(\Seen) m3 n1 n2]`, "", false},
	{"append-deleted", `A+n1`, `DELETE {A}`, `A[n1]`, "", false},
	{"append-renamed", `A+n1`, `RENAME {A} {C}`, `C[m1 m2(\Seen) m3 n1]`, "", false},
	{"append-created", `CREATE {C}; C+n1`, `CREATE {C}; C+n2`, `A[m1 m2(\Seen) m3] C[n1 n2]`, "", false},
	{"append-reset", `A+n1`, `A!`, `A[m1 m2(\Seen) m3 n1]`, "", false},

	{"copy-same-flag", `A: COPY 1 {B}; B: STORE 1 +FLAGS (\Flagged); B: STORE 1 -FLAGS (\Flagged)`,
		`A: STORE 1 +FLAGS (\Flagged \Answered)`, `A[m1(\Answered \Flagged) m2(\Seen) m3] B[m1(\Answered)]`, "", false},
	{"copy-same-flag/here", `A+n1; A: COPY 4 {B}; A: STORE 4 +FLAGS (\Flagged)`, ``, `A[m1 m2(\Seen) m3 n1(\Flagged)] B[n1]`, "", false},
	{"copy-other-flag", `A: COPY 1 {B}; B: STORE 1 +FLAGS (\Flagged)`, `A: STORE 1 +FLAGS (\Answered)`,
		`A[m1(\Answered) m2(\Seen) m3] B[m1(\Answered \Flagged)]`, "", false},
	{"copy-expunged", `A: COPY 1 {B}`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A[m2(\Seen) m3] B[m1]`, "", false},
	{"copy-moved", `A: COPY 1 {B}`, `A: MOVE 1 {D}`, `A[m2(\Seen) m3] B[m1] D[m1]`, "", false},
	{"copy-copied", `A: COPY 1 {B}`, `A: COPY 1 {B}`, `A[m1 m2(\Seen) m3] B[m1 m1]`, "", false},
	{"copy-new-mail", `A: COPY 1 {B}`, `B+n1`, `A[m1 m2(\Seen) m3] B[m1 n1]`, "", false},
	{"copy-deleted/target", `A: COPY 1 {B}`, `DELETE {B}`, `A[m1 m2(\Seen) m3] B[m1]`, "", false},
	{"copy-deleted/source", `A: COPY 1 {B}`, `DELETE {A}`, `B[m1]`, "", false},
	{"copy-renamed", `A: COPY 1 {B}`, `RENAME {A} {C}; RENAME {B} {E}`, `C[m1 m2(\Seen) m3] E[m1]`, "", false},
	{"copy-created", `CREATE {C}; A: COPY 1 {C}`, `CREATE {C}; C+n1`, `A[m1 m2(\Seen) m3] C[m1 n1]`, "", false},
	{"copy-reset/source", `A: COPY 1 {B}`, `A!`, `A[m1 m2(\Seen) m3] B[m1]`, "", false},
	{"copy-reset/target", `D: NOOP; A: COPY 1 {A}`, `A!`, `A[m1 m1 m2(\Seen) m3]`, "", false},

	{"move-same-flag", `A: MOVE 1 {B}; B: STORE 1 +FLAGS (\Flagged); B: STORE 1 -FLAGS (\Flagged)`,
		`A: STORE 1 +FLAGS (\Flagged \Answered)`, `A[m2(\Seen) m3] B[m1(\Answered)]`, "", false},
	{"move-other-flag", `A: MOVE 1 {B}; B: STORE 1 +FLAGS (\Flagged)`, `A: STORE 1 +FLAGS (\Answered)`,
		`A[m2(\Seen) m3] B[m1(\Answered \Flagged)]`, "", false},
	{"move-expunged", `A: MOVE 1 {B}`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A[m2(\Seen) m3] B[m1]`, "", false},
	{"move-moved", `A: MOVE 1 {B}`, `A: MOVE 1 {D}`, `A[m2(\Seen) m3] B[m1] D[m1]`, "", false},
	{"move-copied", `A: MOVE 1 {B}`, `A: COPY 1 {D}`, `A[m2(\Seen) m3] B[m1] D[m1]`, "", false},
	{"move-new-mail", `A: MOVE 1 {B}`, `A+n1; B+n2`, `A[m2(\Seen) m3 n1] B[m1 n2]`, "", false},
	{"move-deleted/target", `A: MOVE 1 {B}`, `DELETE {B}`, `A[m2(\Seen) m3] B[m1]`, "", false},
	{"move-deleted/source", `A: MOVE 1 {B}`, `DELETE {A}`, `B[m1]`, "", false},
	{"move-renamed", `A: MOVE 1 {B}`, `RENAME {A} {C}; RENAME {B} {E}`, `C[m2(\Seen) m3] E[m1]`, "", false},
	{"move-created", `CREATE {C}; A: MOVE 1 {C}`, `CREATE {C}; C+n1`, `A[m2(\Seen) m3] C[m1 n1]`, "", false},
	{"move-reset/source", `A: MOVE 1 {B}`, `A!`, `A[m2(\Seen) m3] B[m1]`, "", false},
	{"move-reset/target", `B+n1; B: MOVE 1 {A}`, `A!`, `A[m1 m2(\Seen) m3 n1]`, "", false},

	{"expunge-same-flag", `A: STORE 1 +FLAGS (\Deleted \Flagged); A: EXPUNGE`, `A: STORE 1 +FLAGS (\Flagged)`, `A[m2(\Seen) m3]`, "", false},
	{"expunge-other-flag", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A: STORE 1 +FLAGS (\Flagged)`, `A[m2(\Seen) m3]`, "", false},
	{"expunge-expunged", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A[m2(\Seen) m3]`, "", false},
	{"expunge-moved", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A: MOVE 1 {D}`, `A[m2(\Seen) m3] D[m1]`, "", false},
	{"expunge-copied", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A: COPY 1 {D}`, `A[m2(\Seen) m3] D[m1]`, "", false},
	{"expunge-new-mail", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A+n1; A: STORE 2 +FLAGS (\Deleted)`,
		`A[m2(\Deleted \Seen) m3 n1]`, "", false},
	{"expunge-deleted", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `DELETE {A}`, ``, "", false},
	{"expunge-renamed", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `RENAME {A} {C}`, `C[m2(\Seen) m3]`, "", false},
	{"expunge-reset", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A!`, `A[m2(\Seen) m3]`, "", false},

	{"create-copied", `CREATE {C}`, `CREATE {C}; A: COPY 1 {C}`, `A[m1 m2(\Seen) m3] C[m1]`, "", false},
	{"create-new-mail", `CREATE {C}`, `CREATE {C}; C+n1`, `A[m1 m2(\Seen) m3] C[n1]`, "", false},
	{"create-renamed", `CREATE {C}; C+n1`, `RENAME {A} {C}`, `C[m1 m2(\Seen) m3 n1]`, "", false},
	{"create-created", `CREATE {C}; C+n1`, `CREATE {C}; C+n2`, `A[m1 m2(\Seen) m3] C[n1 n2]`, "", false},

	{"delete-same-flag", `A: STORE 1 +FLAGS (\Flagged); DELETE {A}`, `A: STORE 1 +FLAGS (\Flagged)`, ``, "", false},
	{"delete-other-flag", `DELETE {A}`, `A: STORE 1 +FLAGS (\Flagged)`, ``, "", false},
	{"delete-expunged", `DELETE {A}`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, ``, "", false},
	{"delete-moved", `DELETE {A}`, `A: MOVE 1 {D}`, `D[m1]`, "", false},
	{"delete-copied/from", `DELETE {A}`, `A: COPY 1 {D}`, `D[m1]`, "", false},
	{"delete-copied/into", `DELETE {A}`, `D+n1; D: COPY 1 {A}`, `A[m1 m2(\Seen) m3 n1] D[n1]`, "", true},
	{"delete-new-mail", `DELETE {A}`, `A+n1`, `A[m1 m2(\Seen) m3 n1]`, "", true},
	{"delete-deleted", `DELETE {A}`, `DELETE {A}`, ``, "", false},
	{"delete-renamed", `DELETE {A}`, `RENAME {A} {C}`, ``, "", false},
	{"delete-created", `DELETE {A}`, `DELETE {A}; CREATE {A}; A+n1`, `A[n1]`, "", true},
	{"delete-reset", `DELETE {A}`, `A!`, `A[m1 m2(\Seen) m3]`, "", true},

	{"rename-same-flag", `RENAME {A} {C}; C: STORE 1 +FLAGS (\Flagged)`, `A: STORE 1 +FLAGS (\Flagged); A: STORE 1 -FLAGS (\Flagged)`,
		`C[m1(\Flagged) m2(\Seen) m3]`, "", false},
	{"rename-other-flag", `RENAME {A} {C}; C: STORE 1 +FLAGS (\Flagged)`, `A: STORE 1 +FLAGS (\Answered)`,
		`C[m1(\Answered \Flagged) m2(\Seen) m3]`, "", false},
	{"rename-expunged", `RENAME {A} {C}`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `C[m2(\Seen) m3]`, "", false},
	{"rename-moved", `RENAME {A} {C}`, `A: MOVE 1 {D}`, `C[m2(\Seen) m3] D[m1]`, "", false},
	{"rename-copied", `RENAME {A} {C}`, `A: COPY 1 {D}`, `C[m1 m2(\Seen) m3] D[m1]`, "", false},
	{"rename-new-mail", `RENAME {A} {C}`, `A+n1`, `C[m1 m2(\Seen) m3 n1]`, "", false},
	{"rename-deleted", `RENAME {A} {C}`, `DELETE {A}`, ``, "", false},
	{"rename-deleted/waiting", `RENAME {A} {C}; C+n1`, `DELETE {A}`, `C[n1]`, "", false},
	{"rename-renamed", `RENAME {A} {C}`, `RENAME {A} {E}`, `C[m1 m2(\Seen) m3]`, "", false},
	{"rename-created", `RENAME {A} {C}`, `CREATE {C}; C+n1`, `C[m1 m2(\Seen) m3] C=~2[n1]`, `A[m1 m2(\Seen) m3] C[n1]`, true},
	{"rename-reset", `RENAME {A} {C}`, `A!`, `C[m1 m2(\Seen) m3]`, "", false},
}

// box returns the name of a row's mailbox.
func (x conflict) box(letter string) string {
	return strings.ReplaceAll(x.name, "/", "-") + "_" + letter
}

// message returns the source of a row's message.
func (x conflict) message(id string) []byte { return mail(x.name+"-"+id, 200) }

// boxes returns what the row begins with.
func (x conflict) boxes(validity uint32) []harness.Box {
	a := harness.Box{Name: x.box("A"), UIDValidity: validity}
	for i, id := range []string{"m1", "m2", "m3"} {
		m := harness.Message{Raw: x.message(id), Date: time.Date(2003, 2, 3, 10, i, 0, 0, time.UTC), UID: uint32(i + 1)}
		if id == "m2" {
			m.Flags = []string{`\Seen`}
		}
		a.Messages = append(a.Messages, m)
	}
	return []harness.Box{a, {Name: x.box("B"), UIDValidity: validity + 1}, {Name: x.box("D"), UIDValidity: validity + 2}}
}

// run runs a script on one side; reset gives a mailbox another UIDVALIDITY.
func (x conflict) run(t *testing.T, c *imapc.Client, script string, reset func(box string)) {
	t.Helper()
	named := strings.NewReplacer("{A}", x.box("A"), "{B}", x.box("B"), "{C}", x.box("C"), "{D}", x.box("D"), "{E}", x.box("E"))
	for step := range strings.SplitSeq(script, "; ") {
		switch {
		case step == "":
		case len(step) == 2 && step[1] == '!':
			reset(x.box(step[:1]))
		case len(step) > 2 && step[1] == '+':
			at := ` "03-Feb-2003 10:00:00 +0000" ` // that of m1
			cmd(t, c, "APPEND "+x.box(step[:1])+at, x.message(step[2:]))
		case len(step) > 2 && step[1] == ':':
			cmd(t, c, "SELECT "+x.box(step[:1]))
			cmd(t, c, named.Replace(step[3:]))
			cmd(t, c, "UNSELECT")
		default:
			cmd(t, c, named.Replace(step))
		}
	}
}

// found says what a side has of the row's, as want does.
func (x conflict) found(t *testing.T, c *imapc.Client, names []string) string {
	t.Helper()
	ids := map[[sha256.Size]byte]string{}
	for _, id := range []string{"m1", "m2", "m3", "n1", "n2"} {
		ids[sha256.Sum256(x.message(id))] = id
	}
	var out []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		letter, ok := strings.CutPrefix(name, x.box(""))
		if !ok {
			continue
		}
		rows, err := fetchNamed(c, imapc.Quote(name), itemsBody)
		must(t, err)
		var mails []string
		for _, m := range rows {
			id := ids[m.sha]
			if id == "" {
				id = "?"
			}
			if m.flags != "" {
				id += "(" + m.flags + ")"
			}
			mails = append(mails, id)
		}
		slices.Sort(mails)
		if text := letter + "[" + strings.Join(mails, " ") + "]"; text != "B[]" && text != "D[]" {
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

// TestConflicts provokes the rows of docs/conflicts.md: while the upstream cannot be reached, both sides change; then it
// can be. All rows share an account and its time offline, so that they also show that they do not disturb one another.
func TestConflicts(t *testing.T) {
	w := theWorld(t)
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 1}}
	for i, x := range conflicts {
		boxes = append(boxes, x.boxes(uint32(100*(i+1)))...)
	}
	s := paired(t, w, "conflicts", boxes)
	s.offline(t)
	c, up := s.ours(t), s.theirs(t)
	for _, x := range conflicts {
		x.run(t, c, x.here, nil)
	}
	for i, x := range conflicts {
		x.run(t, up, x.there, func(box string) {
			must(t, w.dovecot.ResetUIDValidity(t.Context(), s.user, box, uint32(1_000_000+i), 500))
		})
	}
	s.online(t)
	s.stuck(t)
	s.force(t)
	parked := s.stuck(t)
	up = s.theirs(t)
	ourNames, err := listing(c)
	must(t, err)
	theirNames, err := listing(up)
	must(t, err)
	for _, x := range conflicts {
		t.Run(x.name, func(t *testing.T) {
			wantThere := x.wantThere
			if wantThere == "" {
				wantThere = x.want
			}
			if got := x.found(t, c, ourNames); got != x.want {
				t.Errorf("here  %s\nwant  %s", got, x.want)
			}
			if got := x.found(t, up, theirNames); got != wantThere {
				t.Errorf("there %s\nwant  %s", got, wantThere)
			}
			var mine []harness.Mutation
			for _, m := range parked {
				if strings.Contains(m.Mailbox+" "+m.What, x.box("")) {
					mine = append(mine, m)
				}
			}
			if x.parked != (len(mine) > 0) {
				t.Errorf("parked: %+v", mine)
			}
			for _, m := range mine {
				if m.State == "parked" && m.Reason == "" {
					t.Errorf("parked without a reason: %+v", m)
				}
			}
		})
	}
	s.sameNames(t)
}

// stuck waits until nothing is left but what is parked, and what waits for it, and returns all of it.
func (s *pair) stuck(t *testing.T) []harness.Mutation {
	t.Helper()
	row := func(m harness.Mutation) string { return m.Mailbox[:max(strings.LastIndexByte(m.Mailbox, '_'), 0)] }
	var left []harness.Mutation
	err := harness.Eventually(t.Context(), time.Minute, "the upstream gets all changes", func() (bool, error) {
		var err error
		if left, err = s.p.Mutations(t.Context()); err != nil {
			return false, err
		}
		return !slices.ContainsFunc(left, func(m harness.Mutation) bool {
			return m.State != "parked" && !slices.ContainsFunc(left, func(p harness.Mutation) bool {
				return p.State == "parked" && p.ID < m.ID && row(p) == row(m)
			})
		}), nil
	})
	if err != nil {
		t.Errorf("%v: %+v", err, left)
	}
	return left
}

// sameNames checks that a further round changes nothing.
func (s *pair) sameNames(t *testing.T) {
	t.Helper()
	before, err := s.here(t)
	must(t, err)
	s.force(t)
	after, err := s.here(t)
	must(t, err)
	if diff := differences(after, before); len(diff) > 0 {
		t.Errorf("another round changed %s", fmt.Sprint(diff))
	}
}
