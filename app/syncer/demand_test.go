package syncer_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

// withhold mirrors a mailbox with one message whose body the upstream does not give, and then gives.
func withhold(t *testing.T, raw string) (*rig, mailbox.ID, mailbox.UID) {
	w := newWorld()
	w.server.Idle = false
	w.change(func() { w.noBody[raw] = true })
	w.deliver("INBOX", raw)
	w.deliver("INBOX", mail(2, 10))
	r := newRig(t, w)
	r.start()
	if err := r.try(); err == nil {
		t.Fatal("the body came")
	}
	w.change(func() { w.noBody, w.bodies = map[string]bool{}, map[string]int{} })
	return r, r.mirrored()["INBOX"].ID, 1
}

func TestDemandFetchesOnce(t *testing.T) {
	raw := mail(1, 5000)
	r, id, uid := withhold(t, raw)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	slow := make(chan struct{})
	r.w.change(func() { r.w.slow = slow })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := r.m.Fetch(ctx, r.acc.ID, id, []mailbox.UID{uid, 2}); err != nil {
				t.Error(err)
			}
		})
	}
	r.until("asked", func() bool { r.w.mu.Lock(); defer r.w.mu.Unlock(); return r.w.bodies[raw] > 0 })
	close(slow)
	wg.Wait()
	r.w.change(func() {
		if n := r.w.bodies[raw]; n != 1 {
			t.Errorf("fetched %d times", n)
		}
	})
	r.compare()
	b, err := r.m.Stream(ctx, r.acc.ID, id, uid) // stored by now
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || string(got) != raw {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.m.Stream(ctx, r.acc.ID, id, 99); !fault.Is(err, fault.NotFound) {
		t.Errorf("a message that does not exist: %v", err)
	}
}

func TestStreamReadsAlong(t *testing.T) {
	raw := mail(1, 200_000)
	r, id, uid := withhold(t, raw)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	slow := make(chan struct{})
	r.w.change(func() { r.w.slow = slow })
	b, err := r.m.Stream(ctx, r.acc.ID, id, uid)
	if err != nil {
		t.Fatal(err)
	}
	if b.Size() != int64(len(raw)) {
		t.Errorf("size %d, want %d", b.Size(), len(raw))
	}
	first := make([]byte, 1000)
	if _, err := b.ReadAt(first, 0); err != nil || string(first) != raw[:1000] {
		t.Fatalf("the beginning cannot be read before the end has come: %v", err)
	}
	tail := make(chan string)
	go func() {
		p := make([]byte, 100)
		n, err := b.ReadAt(p, int64(len(raw)-60))
		if n != 60 || err != io.EOF {
			t.Errorf("the tail: %d bytes, %v", n, err)
		}
		tail <- string(p[:n])
	}()
	close(slow)
	if got := <-tail; got != raw[len(raw)-60:] {
		t.Error("the tail has other bytes")
	}
	if err := r.m.Fetch(ctx, r.acc.ID, id, []mailbox.UID{uid}); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	r.compare()
}

func TestStreamResumesAfterACut(t *testing.T) {
	raw := mail(1, 2<<20)
	r, id, uid := withhold(t, raw)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dials := 0
	r.w.change(func() {
		r.w.budget = func() int {
			if dials++; dials <= 3 {
				return 12 // SELECT, and some pieces of 64 KiB
			}
			return -1
		}
	})
	b, err := r.m.Stream(ctx, r.acc.ID, id, uid)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil || string(got) != raw {
		t.Errorf("%d bytes of %d, %v", len(got), len(raw), err)
	}
	if err := r.m.Fetch(ctx, r.acc.ID, id, []mailbox.UID{uid}); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	r.w.change(func() {
		if dials < 4 {
			t.Errorf("%d connections: nothing was cut", dials)
		}
	})
	r.compare()
}

func TestDemandOnADeadUpstream(t *testing.T) {
	r, id, uid := withhold(t, mail(1, 5000))
	r.w.change(func() { r.w.down = fault.New(fault.Unavailable, "TCP", "connection refused") })
	if err := r.m.Fetch(t.Context(), r.acc.ID, id, []mailbox.UID{uid}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Fetch: %v", err)
	}
	if _, err := r.m.Stream(t.Context(), r.acc.ID, id, uid); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Stream: %v", err)
	}
	r.w.change(func() { r.w.down = nil })
	if err := r.m.Fetch(t.Context(), r.acc.ID, id, []mailbox.UID{uid}); err != nil {
		t.Error(err)
	}
	r.compare()
}
