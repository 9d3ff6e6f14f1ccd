package s3

import (
	"bytes"
	"context"

	"imapped/domain/fault"
)

// What the object "form" may say of the bucket's blobs.
const (
	inTheClear = "clear"
	areSealed  = "sealed"
)

func (s *Store) users() string { return s.prefix + "users/" }

// Claim makes sure that all blobs of the bucket are sealed, each under a key of its user (Users), or that all are in the
// clear, now and from here on: whoever comes first writes down which. fault.Conflict says that it is the other way.
func (s *Store) Claim(ctx context.Context, sealed bool) error {
	const op = "look how the object store holds messages"
	mine, others := inTheClear, s.users()
	if sealed {
		mine, others = areSealed, s.blobs()
	}
	return mapErr(ctx, op, s.claim(ctx, mine, others))
}

func (s *Store) claim(ctx context.Context, mine, others string) error {
	name := s.prefix + "form"
	for n := 0; ; n++ {
		switch _, form, err := s.begin(ctx, name); {
		case err == nil && string(form) == mine:
			return nil
		case err == nil:
			return otherForm(mine)
		case !isMissing(err):
			return err
		}
		for _, err := range s.list(ctx, others) {
			if err != nil {
				return err
			}
			return otherForm(mine) // it is older than what is written down, or that was deleted
		}
		err := s.put(ctx, name, bytes.NewReader([]byte(mine)), int64(len(mine)), true)
		if !isThere(err) && !isRace(err) || n == rounds {
			return err
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
}

func otherForm(mine string) error {
	if mine == areSealed {
		return fault.New(fault.Conflict, "", "its messages are not encrypted, and stay so: use another bucket")
	}
	return fault.New(fault.Conflict, "", "its messages are encrypted, and stay so")
}
