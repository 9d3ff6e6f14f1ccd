package sample

import (
	"bytes"
	"net/mail"
	"testing"
	"time"
)

func TestSampleIsWholeAndParses(t *testing.T) {
	boxes, err := Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	if boxes[0].Name != "INBOX" {
		t.Errorf("first mailbox is %q, want INBOX", boxes[0].Name)
	}
	total, names := 0, map[string]bool{}
	for _, b := range boxes {
		if names[b.Name] {
			t.Errorf("mailbox %q twice", b.Name)
		}
		names[b.Name] = true
		for i, m := range b.Messages {
			total++
			if _, err := mail.ReadMessage(bytes.NewReader(m.Raw)); err != nil {
				t.Errorf("%s message %d: %v", b.Name, i+1, err)
			}
			if bytes.Contains(bytes.ReplaceAll(m.Raw, []byte("\r\n"), nil), []byte("\n")) {
				t.Errorf("%s message %d has a bare LF", b.Name, i+1)
			}
			if m.Date.IsZero() {
				t.Errorf("%s message %d has no date", b.Name, i+1)
			}
		}
	}
	if total < 55 || len(boxes) < 8 {
		t.Errorf("%d messages in %d mailboxes, want about 60 in several", total, len(boxes))
	}
}

func TestNextDiffersEachTime(t *testing.T) {
	now := time.Date(2026, 8, 22, 9, 0, 0, 0, time.UTC)
	if bytes.Equal(Next(0, now).Raw, Next(6, now).Raw) {
		t.Error("messages 0 and 6 are the same")
	}
	if _, err := mail.ReadMessage(bytes.NewReader(Next(3, now).Raw)); err != nil {
		t.Error(err)
	}
}
