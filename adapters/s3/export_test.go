package s3

import "time"

// SetClock has the Store read the time elsewhere for its deletions.
func SetClock(s *Store, now func() time.Time) { s.now = now }
