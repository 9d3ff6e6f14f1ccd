package suites

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/tools/recorder"
)

var placementCode = regexp.MustCompile(`\[(APPENDUID|COPYUID) [^\]]*\] `)

// TestWritingToVariants changes mail through upstreams that lack what makes it easy. Messages that somebody else marked
// \Deleted survive each expunge, with their mark.
func TestWritingToVariants(t *testing.T) {
	base := "IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE ESEARCH UNSELECT"
	for _, v := range []variant{
		{"without UIDPLUS", harness.DovecotOptions{Capability: base + " MOVE CONDSTORE QRESYNC"}},
		{"without MOVE", harness.DovecotOptions{Capability: base + " UIDPLUS CONDSTORE QRESYNC"}},
		{"without CONDSTORE", harness.DovecotOptions{Capability: base + " UIDPLUS MOVE"}},
		{"IMAP4rev1 alone", harness.DovecotOptions{Separator: ".", Capability: "IMAP4rev1"}},
	} {
		t.Run(v.name, v.written)
	}
}

func (v variant) written(t *testing.T) {
	w := *theWorld(t)
	rng := randomly(t)
	var err error
	w.dovecot, err = harness.StartDovecot(t.Context(), v.DovecotOptions)
	must(t, err)
	t.Cleanup(func() { w.dovecot.Close() })
	names := []string{"INBOX", "A", "B"}
	var boxes []harness.Box
	for i, name := range names {
		b := harness.Box{Name: name, UIDValidity: uint32(i + 1)}
		for j := range 4 {
			b.Messages = append(b.Messages, harness.Message{
				Raw: mail(fmt.Sprintf("%s-%d", name, j), 100), UID: uint32(j + 1), Date: time.Date(2003, 2, 3, 0, j, 0, 0, time.UTC),
			})
		}
		boxes = append(boxes, b)
	}
	rec, err := recorder.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { rec.Close() })
	f := filtered(t, rec.Addr())
	if !slices.Contains(strings.Fields(v.Capability), "UIDPLUS") {
		f.set(func(line []byte) ([]byte, bool) { return placementCode.ReplaceAll(line, nil), false })
	}
	s := pairedBy(t, &w, "variant", f.Addr().String(), boxes)

	// In each mailbox the first is marked before it is known here, the second while this side is cut off.
	up := s.theirs(t)
	for _, name := range names {
		inTurn(t, up, "SELECT "+name, `STORE 1 +FLAGS (\Deleted)`)
	}
	must(t, s.p.Force(t.Context()))
	f.refuse(true)
	for _, name := range names {
		inTurn(t, up, "SELECT "+name, `STORE 2 +FLAGS (\Deleted $Theirs)`)
	}
	cmd(t, up, "SELECT INBOX")
	c := s.ours(t)
	for _, name := range names {
		inTurn(t, c, "SELECT "+name, `UID STORE 3 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 3", "UNSELECT")
	}
	model := newWriter(rng, names...)
	model.known(boxes)
	model.change(t, c, 40)
	f.refuse(false)
	model.change(t, c, 10)
	_, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
	model.change(t, c, 10)
	_, parked = s.agree(t, time.Minute)
	nothingParked(t, parked)
	model.theirs(boxes)
	model.check(t, s)
	v.onlyOffered(t, rec)
}

// known adds what the mailboxes have, as far as the writer may change it: the last message of each.
func (w *writer) known(boxes []harness.Box) {
	for _, b := range boxes {
		last := b.Messages[len(b.Messages)-1]
		id := "loaded-" + b.Name
		w.ids[sum(last.Raw)] = id
		w.has[b.Name][fmt.Sprint(last.UID)] = &written{id, map[string]bool{}}
	}
}

// theirs adds what the writer left alone: the first two messages of each mailbox, which somebody else marked.
func (w *writer) theirs(boxes []harness.Box) {
	for _, b := range boxes {
		for i, flags := range []map[string]bool{{`\Deleted`: true}, {`\Deleted`: true, "$Theirs": true}} {
			id := fmt.Sprintf("theirs-%s-%d", b.Name, i)
			w.ids[sum(b.Messages[i].Raw)] = id
			w.has[b.Name][fmt.Sprint(b.Messages[i].UID)] = &written{id, flags}
		}
	}
}
