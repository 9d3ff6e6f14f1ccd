package postgres

import (
	"context"
	"time"

	"imapped/domain/account"
	"imapped/ports/metadata"
)

// MigrateFor is Migrate with another patience.
func MigrateFor(ctx context.Context, url string, patience time.Duration) error {
	return migrate(ctx, url, patience)
}

// Hold runs a transaction of an account's owner that has taken its locks, stands still during fn, and then writes.
func Hold(ctx context.Context, s *Store, f metadata.Fence, fn func()) error {
	return s.update(ctx, "hold", func(t *tx) error {
		if err := t.fenced(ctx, f); err != nil {
			return err
		}
		fn()
		t.later(`UPDATE account_counters SET uidvalidity = uidvalidity + 1 WHERE account_id = $1`, int64(f.Account))
		return nil
	})
}

// AtGate returns how many calls have the turn at an account's gate, or wait for it.
func AtGate(s *Store, acc account.ID) int {
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	if g := s.gates.of[acc]; g != nil {
		return g.users
	}
	return 0
}

// SetSilence sets how long a server may say nothing, in any transaction and in one about a whole account or mailbox.
func SetSilence(s *Store, silence, long time.Duration) { s.silence, s.longSilence = silence, long }
