package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
)

// fetched collects what Fetch shows, as strings, which outlive the call.
func fetched(t *testing.T, m Mailbox, seqs mailbox.Set, need Need) ([]string, error) {
	t.Helper()
	var got []string
	err := m.Fetch(t.Context(), seqs, need, func(msg *Message) error {
		s := fmt.Sprintf("%d uid %d", msg.Seq, msg.UID)
		if !msg.Flags.Empty() {
			s += " " + msg.Flags.String()
		}
		for _, p := range [][]byte{msg.Envelope, msg.Headers, msg.Preview} {
			if p != nil {
				s += " " + string(p)
			}
		}
		if need&NeedIdentity != 0 {
			s += " " + msg.EmailID[:7] + msg.ThreadID[:3] + fmt.Sprint(msg.Saved.Unix())
		}
		if need&NeedBytes != 0 {
			s += " " + readAll(t, msg)
		}
		got = append(got, s)
		return nil
	})
	return got, err
}

func TestFetchShowsWhatIsNeeded(t *testing.T) {
	w, b := inboxWorld(t, 5)
	w.expunge(b, 2)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	w.flags(b, 3, flag.Make(flag.Seen, "new")) // after the view
	for _, tt := range []struct {
		seqs mailbox.Set
		need Need
		want []string
	}{
		{mailbox.SetOf[uint32](1, 2, 4), 0, []string{"1 uid 1", "2 uid 3 \\Seen new", "4 uid 5"}},
		{mailbox.SetOf[uint32](2), NeedEnvelope, []string{"2 uid 3 \\Seen new (envelope 3)"}},
		{mailbox.SetOf[uint32](1, 3), NeedPreview | NeedHeaders, []string{
			"1 uid 1 Subject: message 1\r\n preview 1", "3 uid 4 Subject: message 4\r\n preview 4"}},
		{mailbox.SetOf[uint32](4), NeedIdentity, []string{"4 uid 5 E010005T025"}},
		{mailbox.SetOf[uint32](4), NeedBytes | NeedIdentity, []string{"4 uid 5 E010005T025 " + string(w.raw(5))}},
		{mailbox.Set{{First: 4, Last: ^uint32(0)}}, 0, []string{"4 uid 5"}},
		{nil, NeedEnvelope, nil},
	} {
		got, err := fetched(t, m, tt.seqs, tt.need)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v %b: %q %v, want %q", tt.seqs, tt.need, got, err, tt.want)
		}
	}
	if w.fetches != 0 {
		t.Error("the upstream was asked for what is here")
	}
}

func TestFetchSkipsWhatIsGone(t *testing.T) {
	w, b := inboxWorld(t, 6)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	w.expunge(b, 2, 5)
	for _, need := range []Need{0, NeedEnvelope, NeedIdentity, NeedBytes, NeedPreviewLazy} {
		got, err := fetched(t, m, m.View().All(), need)
		if err != nil || len(got) != 4 || m.View().Len() != 6 {
			t.Errorf("need %b: %q %v", need, got, err)
		}
	}
}

func TestFetchOfManyBatchesIsInOrder(t *testing.T) {
	w, b := inboxWorld(t, 1000)
	w.mu.Lock()
	for uid, c := range b.content {
		c.Envelope = fmt.Appendf(nil, "%09d%8000d", uid, 0) // more than a batch may hold
		b.content[uid] = c
	}
	w.mu.Unlock()
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	n := uint32(0)
	err := m.Fetch(t.Context(), m.View().All(), NeedEnvelope|NeedIdentity, func(msg *Message) error {
		n++
		if msg.Seq != n || string(msg.Envelope[:9]) != fmt.Sprintf("%09d", msg.UID) || len(msg.Envelope) != 8009 {
			t.Fatalf("message %d: seq %d, %.20s", n, msg.Seq, msg.Envelope)
		}
		if msg.EmailID != (mailbox.ObjectID{1, byte(msg.UID >> 8), byte(msg.UID)}).Wire('E') {
			t.Fatalf("message %d has the identity %s", n, msg.EmailID)
		}
		return nil
	})
	if err != nil || n != 1000 {
		t.Errorf("%d messages, %v", n, err)
	}
}

func TestFetchStopsWithTheCallersError(t *testing.T) {
	w, _ := inboxWorld(t, 10)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	stop := errors.New("stop")
	for _, need := range []Need{0, NeedEnvelope} {
		n := 0
		err := m.Fetch(t.Context(), m.View().All(), need, func(*Message) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("need %b: %v after %d calls", need, err, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Fetch(ctx, m.View().All(), NeedEnvelope, func(*Message) error { return nil }); !fault.Is(err, fault.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestMissingBodiesAreFetchedTogether(t *testing.T) {
	w, b := inboxWorld(t, 3)
	w.add(b, 100, false)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	if got, err := fetched(t, m, m.View().All(), NeedPreviewLazy|NeedIdentity); err != nil || len(got) != 103 || w.fetches != 0 {
		t.Errorf("lazy preview: %d messages, %v, %d fetches", len(got), err, w.fetches)
	}
	got, err := fetched(t, m, m.View().All(), NeedEnvelope)
	if err != nil || len(got) != 103 || got[102] != "103 uid 103 (envelope 103)" {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	if w.fetches != 2 || len(w.asked) != 100 {
		t.Errorf("%d fetches of %d bodies", w.fetches, len(w.asked))
	}
	if got, err := fetched(t, m, m.View().All(), NeedBytes); err != nil || got[9] != "10 uid 10 "+string(w.raw(10)) || w.fetches != 2 {
		t.Errorf("%v, %d fetches", err, w.fetches)
	}
}

func TestUnavailableBodiesDoNotHideTheOthers(t *testing.T) {
	w, b := inboxWorld(t, 3)
	w.add(b, 200, false)
	delete(w.upstream, 5) // known, but the upstream does not give it
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	got, err := fetched(t, m, m.View().All(), NeedEnvelope)
	if !fault.Is(err, fault.Unavailable) || len(got) != 202 {
		t.Errorf("%d messages, %v", len(got), err)
	}
	w.mu.Lock()
	for uid := range b.content {
		if uid > 3 {
			delete(b.content, uid)
		}
	}
	w.down, w.fetches = true, 0
	w.mu.Unlock()
	for _, need := range []Need{NeedEnvelope, NeedBytes, NeedHeaders | NeedBytes} {
		got, err = fetched(t, m, m.View().All(), need)
		if !fault.Is(err, fault.Unavailable) || len(got) != 3 {
			t.Errorf("need %b with the upstream down: %q %v", need, got, err)
		}
	}
	if w.fetches != 3 {
		t.Errorf("an upstream that is down was asked %d times in 3 commands", w.fetches)
	}
	none := open(t, w.login(t, w.service(func(c *Config) { c.Bodies = nil }), "ann"), "INBOX", OpenOptions{})
	if got, err = fetched(t, none, none.View().All(), NeedEnvelope); !fault.Is(err, fault.Unavailable) || len(got) != 3 {
		t.Errorf("without an upstream: %q %v", got, err)
	}
}

func TestOneMissingBodyIsStreamed(t *testing.T) {
	w, b := inboxWorld(t, 0)
	w.add(b, 3, false)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	got, err := fetched(t, m, mailbox.SetOf[uint32](2), NeedBytes)
	if err != nil || len(got) != 1 || got[0] != "2 uid 2 "+string(w.raw(2)) || w.streams != 1 || w.fetches != 0 {
		t.Errorf("%q %v, %d streams, %d fetches", got, err, w.streams, w.fetches)
	}
	w.mu.Lock()
	row := b.rows[3]
	row.Size = 1 << 20
	b.rows[3] = row
	w.mu.Unlock()
	m = open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	if got, err = fetched(t, m, m.View().All(), NeedBytes); err != nil || len(got) != 3 || w.streams != 2 || w.fetches != 1 {
		t.Errorf("%q %v, %d streams, %d fetches", got, err, w.streams, w.fetches)
	}
}

func TestDamagedBlobIsFetchedAgain(t *testing.T) {
	w, b := inboxWorld(t, 2)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	damage := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.corrupt[b.content[1].Blob] = true
		delete(w.blobs, b.content[2].Blob)
	}
	damage()
	got, err := fetched(t, m, m.View().All(), NeedBytes)
	if err != nil || len(got) != 2 || got[0] != "1 uid 1 "+string(w.raw(1)) || got[1] != "2 uid 2 "+string(w.raw(2)) || w.drops != 2 {
		t.Errorf("%q %v, %d drops", got, err, w.drops)
	}
	damage()
	w.down = true
	err = m.Fetch(t.Context(), m.View().All(), NeedBytes, func(msg *Message) error {
		b, err := msg.Open(t.Context())
		if err == nil {
			t.Errorf("message %d: damaged bytes of size %d", msg.Seq, b.Size())
		}
		return err
	})
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("damaged, and the upstream down: %v", err)
	}
}

func TestDamagedBlobOfALocalAccountIsKeptOnRecord(t *testing.T) {
	w, b := inboxWorld(t, 1)
	w.accounts[0].Local = true
	w.corrupt = map[blob.Key]bool{b.content[1].Blob: true}
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	err := m.Fetch(t.Context(), m.View().All(), NeedBytes, func(msg *Message) error {
		_, err := msg.Open(t.Context())
		return err
	})
	if !fault.Is(err, fault.Unavailable) || w.drops != 0 || w.fetches != 0 {
		t.Errorf("%v, %d drops", err, w.drops)
	}
}

func TestFetchOfRowsDoesNotAllocatePerMessage(t *testing.T) {
	w, _ := inboxWorld(t, 3000)
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	all := m.View().All()
	n := testing.AllocsPerRun(10, func() {
		_ = m.Fetch(context.Background(), all, 0, func(*Message) error { return nil })
	})
	if n > 30 {
		t.Errorf("%v allocations for 3000 messages", n)
	}
}

func TestEmptyPreviewIsNotAnUnknownOne(t *testing.T) {
	w, b := inboxWorld(t, 1)
	w.add(b, 1, false)
	c := b.content[1]
	c.Preview = nil // as a store may give an empty value
	b.content[1] = c
	m := open(t, w.login(t, w.service(), "ann"), "INBOX", OpenOptions{})
	err := m.Fetch(t.Context(), m.View().All(), NeedPreviewLazy, func(msg *Message) error {
		if known := msg.Preview != nil; known != (msg.UID == 1) || len(msg.Preview) > 0 {
			t.Errorf("message %d: preview %q, known %v", msg.UID, msg.Preview, known)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
