package suites

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// packet sends text in one piece and reads answers until all the tags have been answered, in their order; a
// continuation counts as the tag "+". It returns the untagged ones.
func packet(t *testing.T, c *imapc.Client, text string, tags ...string) []imapc.Response {
	t.Helper()
	must(t, c.Write([]byte(text)))
	var untagged []imapc.Response
	for _, tag := range tags {
		for {
			r, err := c.Read()
			must(t, err)
			if r.Tag == "*" {
				untagged = append(untagged, r)
				continue
			}
			if r.Tag != tag || tag != "+" && r.Name != "OK" {
				t.Fatalf("%q: waiting for %s, got %+v", text, tag, r)
			}
			break
		}
	}
	return untagged
}

// TestPhone does what a phone does: it idles, ends that in the packet that brings the next command, files messages by a
// STORE and a MOVE in one go, and idles again; upstream reachable, gone, and back.
func TestPhone(t *testing.T) {
	w := theWorld(t)
	var boxes []harness.Box
	for i, name := range []string{"INBOX", "Archive", "Trash"} {
		boxes = append(boxes, harness.Box{Name: name, UIDValidity: uint32(i + 1)})
	}
	for i := range 40 {
		boxes[0].Messages = append(boxes[0].Messages, harness.Message{
			Raw: mail(fmt.Sprintf("phone-%d", i), 400), UID: uint32(i + 1), Date: time.Date(2003, 2, 3, 0, i, 0, 0, time.UTC),
		})
	}
	s := paired(t, w, "phone", boxes)
	phone, desk := s.ours(t), s.ours(t)
	cmd(t, desk, "SELECT INBOX")
	packet(t, phone, "a SELECT INBOX\r\nb IDLE\r\n", "a", "+")

	swipe := func(n int) {
		t.Helper()
		// Done, file two messages, delete a third, look at the fourth, and idle again: one packet.
		text := fmt.Sprintf("DONE\r\nn%d UID STORE %d:%d +FLAGS.SILENT (\\Seen)\r\nm%[1]d UID MOVE %[2]d:%[3]d Archive\r\n"+
			"s%[1]d UID STORE %[4]d +FLAGS (\\Flagged)\r\nd%[1]d UID MOVE %[4]d Trash\r\nf%[1]d UID FETCH %[5]d (UID BODY[TEXT])\r\nb IDLE\r\n",
			n, n, n+1, n+2, n+3)
		tag := fmt.Sprint(n)
		untagged := packet(t, phone, text, "b", "n"+tag, "m"+tag, "s"+tag, "d"+tag, "f"+tag, "+")
		gone := 0
		for _, u := range untagged {
			if u.Name == "EXPUNGE" {
				gone++
			}
		}
		if gone != 3 {
			t.Errorf("swipe %d: %d messages were expunged, want 3", n, gone)
		}
		// The other client sees it at its next command.
		seen := 0
		for _, u := range cmd(t, desk, "NOOP").Untagged {
			if u.Name == "EXPUNGE" {
				seen++
			}
		}
		if seen != 3 {
			t.Errorf("swipe %d: the other client heard of %d, want 3", n, seen)
		}
	}
	swipe(1)
	s.offline(t)
	swipe(5)
	// What another client does comes to the idling phone at once, also without an upstream.
	cmd(t, desk, `UID STORE 9 +FLAGS (\Answered)`)
	awaits(t, phone, "FETCH")
	cmd(t, desk, "APPEND INBOX ", mail("from the desk", 100))
	awaits(t, phone, "EXISTS")
	swipe(9)
	s.online(t)
	swipe(13)
	packet(t, phone, "DONE\r\nz UNSELECT\r\n", "b", "z")

	all, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
	if len(all["INBOX"]) != 40-12+1 || len(all["Archive"]) != 8 || len(all["Trash"]) != 4 {
		t.Errorf("%d messages in INBOX, %d in Archive, %d in Trash", len(all["INBOX"]), len(all["Archive"]), len(all["Trash"]))
	}
	for name, flags := range map[string][]string{"Archive": {`(\Seen)`, `(\Answered \Seen)`}, "Trash": {`(\Flagged)`}} {
		for _, l := range all[name] {
			if _, have, _ := strings.Cut(l, " ("); !slices.Contains(flags, "("+have) {
				t.Errorf("%s has %s", name, l)
			}
		}
	}
}
