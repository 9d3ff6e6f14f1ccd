//go:build unix

package blobfs

import (
	"errors"
	"os"
	"syscall"
)

// locking says how a file or folder is locked.
type locking int

const (
	shared    locking = syscall.LOCK_SH
	exclusive locking = syscall.LOCK_EX
	atOnce    locking = syscall.LOCK_NB // or not at all: isHeld
)

// lock locks an open file or folder until it is closed or the process ends.
func lock(f *os.File, how locking) error {
	for {
		err := syscall.Flock(int(f.Fd()), int(how))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// isHeld says whether a lock was not got because another has it.
func isHeld(err error) bool { return errors.Is(err, syscall.EWOULDBLOCK) }

// isFull says whether an error means that there is no room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// isReadOnly says whether an error means that what may be read must not be written.
func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}
