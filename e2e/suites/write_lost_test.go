package suites

import (
	"bytes"
	"testing"
	"time"

	"imapped/e2e/harness"
)

// lostAnswer is a row of docs/conflicts.md that needs an answer to be lost: "here" is done online, and the connection
// breaks when the upstream has carried it out and says so. "since" is what is changed here after that, "there" upstream.
type lostAnswer struct {
	conflict
	answer string // of Dovecot's
	since  string
}

var lostAnswers = []lostAnswer{
	{conflict{"append-same-flag", `A+n1`, `A: STORE 4 +FLAGS (\Flagged); A: STORE 4 -FLAGS (\Flagged)`,
		`A[m1 m2(\Seen) m3 n1(\Flagged)]`, "", false}, "Append completed", `A: STORE 4 +FLAGS (\Flagged)`},
	{conflict{"append-other-flag", `A+n1`, `A: STORE 4 +FLAGS (\Answered)`,
		`A[m1 m2(\Seen) m3 n1(\Answered \Flagged)]`, "", false}, "Append completed", `A: STORE 4 +FLAGS (\Flagged)`},
	{conflict{"append-expunged", `A+n1`, `A: STORE 4 +FLAGS (\Deleted); A: EXPUNGE`,
		`A[m1 m2(\Seen) m3 n1]`, "", false}, "Append completed", ``},
	{conflict{"append-moved", `A+n1`, `A: MOVE 4 {D}`, `A[m1 m2(\Seen) m3 n1] D[n1]`, "", false}, "Append completed", ``},
	{conflict{"append-copied", `A+n1`, `A: COPY 4 {D}`, `A[m1 m2(\Seen) m3 n1] D[n1]`, "", false}, "Append completed", ``},
	{conflict{"append-new-mail/lost", `A+n1`, `A+n2`, `A[m1 m2(\Seen) m3 n1 n2]`, "", false}, "Append completed", ``},
	{conflict{"append-reset/lost", `A+n1`, `A!`, `A[m1 m2(\Seen) m3 n1]`, "", false}, "Append completed", ``},
	{conflict{"append-expunged/here", `A+n1`, ``, `A[m1 m2(\Seen) m3]`, "", false}, "Append completed",
		`A: STORE 4 +FLAGS (\Deleted); A: EXPUNGE`},
	{conflict{"copy-same-flag/again", `A+n1`, `A: STORE 4 +FLAGS (\Deleted); A: EXPUNGE`,
		`A[m1 m2(\Seen) m3 n1(\Flagged)] B[n1]`, "", false}, "Append completed", `A: COPY 4 {B}; A: STORE 4 +FLAGS (\Flagged)`},
	{conflict{"copy-copied/lost", `A: COPY 1 {B}`, `A: COPY 1 {B}`, `A[m1 m2(\Seen) m3] B[m1 m1]`, "", false}, "Copy completed", ``},
	{conflict{"copy-expunged/lost", `A: COPY 1 {B}`, `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A[m2(\Seen) m3] B[m1]`, "", false},
		"Copy completed", ``},
	{conflict{"copy-reset/lost", `A: COPY 1 {B}`, `B!`, `A[m1 m2(\Seen) m3] B[m1]`, "", false}, "Copy completed", ``},
	{conflict{"move-new-mail/lost", `A: MOVE 1 {B}`, `B+n1`, `A[m2(\Seen) m3] B[m1 n1]`, "", false}, "Move completed", ``},
	{conflict{"move-reset/lost", `A: MOVE 1 {B}`, `B!`, `A[m2(\Seen) m3] B[m1]`, "", false}, "Move completed", ``},
	{conflict{"move-same-flag/lost", `A: MOVE 1 {B}`, `B: STORE 1 +FLAGS (\Answered)`, `A[m2(\Seen) m3] B[m1(\Answered \Flagged)]`, "", false},
		"Move completed", `B: STORE 1 +FLAGS (\Flagged)`},
	{conflict{"expunge-new-mail/lost", `A: STORE 1 +FLAGS (\Deleted); A: EXPUNGE`, `A+n1; A: STORE 1 +FLAGS (\Deleted)`,
		`A[m2(\Deleted \Seen) m3 n1]`, "", false}, "Expunge completed", ``},
	{conflict{"create-deleted", `CREATE {C}`, `DELETE {C}`, `A[m1 m2(\Seen) m3] C[]`, "", false}, "Create completed", ``},
	{conflict{"create-new-mail/lost", `CREATE {C}`, `C+n1`, `A[m1 m2(\Seen) m3] C[n1]`, "", false}, "Create completed", ``},
	{conflict{"delete-deleted/lost", `DELETE {A}`, ``, ``, "", false}, "Delete completed", ``},
	{conflict{"rename-new-mail/lost", `RENAME {A} {C}`, `C+n1`, `C[m1 m2(\Seen) m3 n1]`, "", false}, "Rename completed", ``},
}

// TestConflictsAfterLostAnswers provokes the rows of docs/conflicts.md that need an answer to be lost.
func TestConflictsAfterLostAnswers(t *testing.T) {
	w := theWorld(t)
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 1}}
	for i, x := range lostAnswers {
		boxes = append(boxes, x.boxes(uint32(100*(i+1)))...)
	}
	f := filtered(t, w.dovecot.Addr)
	s := pairedBy(t, w, "lostanswers", f.Addr().String(), boxes)
	c := s.ours(t)
	for i, x := range lostAnswers {
		t.Run(x.name, func(t *testing.T) {
			f.set(func(line []byte) ([]byte, bool) { return line, bytes.Contains(line, []byte(x.answer)) })
			x.run(t, c, x.here, nil)
			select {
			case <-f.losses:
			case <-time.After(time.Minute):
				t.Fatalf("the upstream did not say %q", x.answer)
			}
			x.run(t, s.theirs(t), x.there, func(box string) {
				must(t, w.dovecot.ResetUIDValidity(t.Context(), s.user, box, uint32(1_000_000+i), 500))
			})
			x.run(t, c, x.since, nil)
			f.set(nil)
			f.refuse(false)
			s.force(t)
			left := s.stuck(t)
			s.force(t)
			up := s.theirs(t)
			ours, err := listing(c)
			must(t, err)
			theirs, err := listing(up)
			must(t, err)
			if got := x.found(t, c, ours); got != x.want {
				t.Errorf("here  %s\nwant  %s", got, x.want)
			}
			if got := x.found(t, up, theirs); got != x.want {
				t.Errorf("there %s\nwant  %s", got, x.want)
			}
			if len(left) > 0 {
				t.Errorf("left: %+v", left)
			}
		})
	}
}
