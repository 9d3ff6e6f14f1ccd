package blobfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"imapped/ports/blob"
)

var _ blob.Claimable = (*Store)(nil)

// OwnerFile is the name of the file that says whose the blobs are. Where it is deleted, the next who claims them has them.
const OwnerFile = "installation"

// Claim implements blob.Claimable.
func (s *Store) Claim(ctx context.Context, by blob.Installation) error {
	const op = "claim the blob store"
	release, err := s.hold(ctx, exclusive)
	if err != nil {
		return mapErr(op, err)
	}
	defer release()
	err = s.claimedBy(by)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.writeOwner(by)
	}
	return mapErr(op, err)
}

// ClaimedBy implements blob.Claimable.
func (s *Store) ClaimedBy(ctx context.Context, by blob.Installation) error {
	const op = "look whose the blob store is"
	if err := ctx.Err(); err != nil {
		return mapErr(op, err)
	}
	return mapErr(op, s.claimedBy(by))
}

func (s *Store) claimedBy(by blob.Installation) error {
	said, err := os.ReadFile(filepath.Join(s.dir, OwnerFile))
	if err != nil {
		return err
	}
	return by.Owns(string(said))
}

// writeOwner writes down whose the blobs are, at once and durably. The folder's lock is held.
func (s *Store) writeOwner(by blob.Installation) error {
	f, err := s.temp()
	if err != nil {
		return err
	}
	_, err = f.WriteString(by.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, OwnerFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(s.dir)
}
