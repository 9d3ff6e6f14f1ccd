package s3

import (
	"bytes"
	"context"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

var _ blob.Claimable = (*Store)(nil)

// What the object "form" may say of the bucket's blobs.
const (
	inTheClear = "clear"
	areSealed  = "sealed"
)

// OwnerObject is the name, after the Store's prefix, of the object that says whose the blobs are. Where it is deleted, the
// next who claims the blobs has them.
const OwnerObject = "installation"

func (s *Store) users() string { return s.prefix + "users/" }

// Claim implements blob.Claimable.
func (s *Store) Claim(ctx context.Context, by blob.Installation) error {
	const op = "claim the object store"
	said, err := s.agree(ctx, s.prefix+OwnerObject, by.String(), func() error { return nil })
	if err == nil {
		err = by.Owns(said)
	}
	return mapErr(ctx, op, err)
}

// ClaimedBy implements blob.Claimable.
func (s *Store) ClaimedBy(ctx context.Context, by blob.Installation) error {
	const op = "look whose the object store is"
	_, said, err := s.begin(ctx, s.prefix+OwnerObject)
	if err == nil {
		err = by.Owns(string(said))
	}
	return mapErr(ctx, op, err)
}

// ClaimForm makes sure that all blobs of the bucket are sealed, each under a key of its user (Users), or that all are in the
// clear, now and from here on: whoever comes first writes down which. fault.Conflict says that it is the other way.
func (s *Store) ClaimForm(ctx context.Context, sealed bool) error {
	const op = "look how the object store holds messages"
	mine, others := inTheClear, s.users()
	if sealed {
		mine, others = areSealed, s.blobs()
	}
	said, err := s.agree(ctx, s.prefix+"form", mine, func() error {
		for _, err := range s.list(ctx, others, "") {
			if err != nil {
				return err
			}
			return otherForm(mine) // it is older than what is written down, or that was deleted
		}
		return nil
	})
	if err == nil && said != mine {
		err = otherForm(mine)
	}
	return mapErr(ctx, op, err)
}

// agree returns what the object says. Where there is none it is written first, with mine, unless may fails: whoever comes first
// decides for all.
func (s *Store) agree(ctx context.Context, name, mine string, may func() error) (string, error) {
	for n := 0; ; n++ {
		_, said, err := s.begin(ctx, name)
		if !isMissing(err) {
			return string(said), err
		}
		if err := may(); err != nil {
			return "", err
		}
		err = s.put(ctx, name, bytes.NewReader([]byte(mine)), int64(len(mine)), true)
		if err == nil {
			return mine, nil
		}
		if !isThere(err) && !isRace(err) || n == rounds {
			return "", err
		}
		if err := pause(ctx, n); err != nil {
			return "", err
		}
	}
}

func otherForm(mine string) error {
	if mine == areSealed {
		return fault.New(fault.Conflict, "", "its messages are not encrypted, and stay so: use another bucket")
	}
	return fault.New(fault.Conflict, "", "its messages are encrypted, and stay so")
}
