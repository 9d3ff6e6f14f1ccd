package harness

import "testing"

func TestModifiedUTF7(t *testing.T) {
	for in, want := range map[string]string{
		"INBOX": "INBOX", "Entwürfe": "Entw&APw-rfe", "A & B": "A &- B", "日本語": "&ZeVnLIqe-", "": "",
		"~peter/mail/台北": "~peter/mail/&U,BTFw-",
	} {
		if got := ModifiedUTF7(in); got != want {
			t.Errorf("ModifiedUTF7(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAccountKeepsEveryMessage(t *testing.T) {
	raw := make([][]byte, 333)
	for i := range raw {
		raw[i] = []byte{byte(i), byte(i >> 8)}
	}
	seen := map[string]int{}
	for _, b := range Account(raw, 1) {
		last := uint32(0)
		for _, m := range b.Messages {
			seen[string(m.Raw)]++
			if m.UID <= last {
				t.Fatalf("%s: UID %d after %d", b.Name, m.UID, last)
			}
			last = m.UID
		}
	}
	for i, r := range raw {
		if seen[string(r)] != 1 {
			t.Errorf("message %d is there %d times", i, seen[string(r)])
		}
	}
}
