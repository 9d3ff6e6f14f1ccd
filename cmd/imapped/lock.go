package main

import (
	"errors"
	"os"
	"syscall"

	"imapped/domain/fault"
)

// lockDir makes this process the only server of a data directory until unlock; the kernel frees the lock when the
// process ends, however it ends.
func lockDir(path string) (unlock func(), err error) {
	const op = "lock data directory"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.As(fault.Unavailable, op, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fault.New(fault.Conflict, op, "another imapped runs on this data directory")
	} else {
		err = fault.As(fault.Unavailable, op, err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing is unlocking; there is nothing to do about a failure
}
