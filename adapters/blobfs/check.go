package blobfs

import (
	"context"
	"errors"
	"os"

	"imapped/domain/fault"
)

// Check says whether messages can be read and stored: the folder is there, and a file can be written. An error is
// fault.Unavailable.
func (s *Store) Check(ctx context.Context) error {
	const op = "check the blob store"
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := s.tryFile(); err != nil {
		return fault.As(fault.Unavailable, op, mapErr(op, err))
	}
	return nil
}

// tryFile writes a file, for an empty one needs no room, and removes it.
func (s *Store) tryFile() error {
	if _, err := os.Stat(s.folder([32]byte{})); err != nil {
		return err
	}
	f, err := s.temp()
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{0})
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
