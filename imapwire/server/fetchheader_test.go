package server

import (
	"strings"
	"testing"
)

// TestHeaderFieldsTooLargeToKeep: fields that are too large to be kept apart come from the message itself, and a message
// without any of them gives the blank line alone.
func TestHeaderFieldsTooLargeToKeep(t *testing.T) {
	f := newFake()
	huge := "To: " + strings.Repeat("someone@example.org,\r\n ", 20_000) + "end@example.org\r\n"
	f.deliverRaw("INBOX", []byte(huge+"Subject: huge\r\n\r\nbody\r\n"))
	f.deliverRaw("INBOX", []byte("X-Other: yes\r\n\r\nbody\r\n"))
	ts := startServer(t, f, nil)
	c := dial(t, ts.listen(t, PlainMode)).login("INBOX")
	got := strings.Join(c.do("FETCH 1:2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"), "\n")
	for _, want := range []string{"BODY[HEADER.FIELDS (SUBJECT)] {17}", "Subject: huge", "BODY[HEADER.FIELDS (SUBJECT)] {2}"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}
