package blobfs

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"imapped/domain/fault"
)

const (
	// holdWait bounds how long a call waits for the folder's lock, which nobody holds for longer than a few calls of the file
	// system take: a process that was stopped with it in hand does not stop the others for ever.
	holdWait = 10 * time.Second
	holdPoll = 20 * time.Millisecond // the longest pause between two attempts
)

// hold locks the folder against other processes, and other goroutines of this one, until release. Each call opens the file
// anew: a lock belongs to the opening.
func (s *Store) hold(ctx context.Context, how locking) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(holdWait)
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, holdPoll) {
		if err = lock(f, how|atOnce); err == nil {
			return func() { _ = f.Close() }, nil // closing is unlocking; there is nothing to do about a failure
		}
		if !isHeld(err) {
			break
		}
		if time.Now().After(end) {
			err = fault.New(fault.Unavailable, "", "another process keeps the messages' directory locked")
			break
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(wait):
			continue
		}
		break
	}
	_ = f.Close() // it holds nothing
	return nil, err
}
