package blobcache_test

import (
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

// TestUsers: what is cached of one user's blobs is not there for another, also when it is the same, and each removes their own.
func TestUsers(t *testing.T) {
	dir, mail := t.TempDir(), message(5000, 1)
	c := open(t, dir, 1<<30)
	first, second := newBehind(t), newBehind(t)
	one, other := c.OverUser(first, 1), c.OverUser(second, 2)
	put(t, one, mail)
	holds(t, c.OverUser(first, 1), mail)
	for name, s := range map[string]blob.Store{"another user": other, "all": c.Over(second)} {
		if _, err := s.Open(t.Context(), keyOf(mail)); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s finds it: %v", name, err)
		}
	}
	put(t, other, mail)
	if n := len(cached(t, dir)); n != 2 {
		t.Errorf("%d files, want one of each user", n)
	}
	must(t, one.Delete(t.Context(), time.Now().Add(time.Hour), keyOf(mail)))
	if _, err := one.Open(t.Context(), keyOf(mail)); !fault.Is(err, fault.NotFound) {
		t.Errorf("what was deleted is found: %v", err)
	}
	must(t, second.Delete(t.Context(), time.Now().Add(time.Hour), keyOf(mail))) // behind the cache
	holds(t, open(t, dir, 1<<30).OverUser(second, 2), mail)                     // is read from the file
}
