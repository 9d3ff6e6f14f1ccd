package admin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
	"imapped/ports/secrets"
)

// Resealed is what Reseal did.
type Resealed struct {
	Accounts int // that have a secret
	DataKeys int // of users
	Changed  int // secrets of accounts that were sealed anew by this call
	Renewed  int // data keys that were
}

// Secrets is what holds sealed secrets.
type Secrets interface {
	metadata.Secrets
	secrets.SealedDataKeys
}

// Reseal seals every account's secret, and every user's data key, under the key of fresh, which knows that key and no other;
// the Service's own Sealer opens what is sealed under older ones. Each is one step, checked before and after it is stored, so
// that a call that was interrupted is made again, and does the rest. It returns nil only when each of them, read again at the
// end, opens with fresh alone: then nothing needs an older key. The error names every one of which that is not so.
func (s *Service) Reseal(ctx context.Context, store Secrets, fresh secrets.Sealer) (done Resealed, err error) {
	const op = "seal secrets anew"
	defer s.record(ctx, "rotate key", "all secrets", &err)
	all, err := s.sealed(ctx, store)
	if err != nil {
		return done, fault.Wrap(op, err)
	}
	failed := map[any]error{}
	for _, i := range all {
		changed, err := s.reseal(ctx, fresh, i)
		failed[i.id] = err // whether it matters is seen at the end
		switch {
		case !changed || err != nil:
		case i.dataKey():
			done.Renewed++
		default:
			done.Changed++
		}
	}
	var errs []error
	if all, err = s.sealed(ctx, store); err != nil {
		return done, fault.Wrap(op, err)
	}
	for _, i := range all {
		if i.dataKey() {
			done.DataKeys++
		} else {
			done.Accounts++
		}
		plain, err := fresh.Open(i.secret, i.context)
		clear(plain)
		if err == nil {
			continue
		}
		if failed[i.id] != nil {
			err = failed[i.id]
		}
		errs = append(errs, fault.Wrap(op+" of "+i.name, err))
	}
	return done, errors.Join(errs...)
}

// sealedSecret is a secret as it is stored.
type sealedSecret struct {
	id       any // whose it is: an account.ID, or of a data key an account.UserID
	name     string
	secret   account.Secret
	context  []byte
	exchange func(ctx context.Context, from, to account.Secret) error
}

func (i sealedSecret) dataKey() bool {
	_, ok := i.id.(account.UserID)
	return ok
}

// sealed returns all sealed secrets.
func (s *Service) sealed(ctx context.Context, store Secrets) (all []sealedSecret, err error) {
	accounts, err := s.c.Accounts.Accounts(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if a.Local {
			continue
		}
		all = append(all, sealedSecret{
			id: a.ID, name: "account " + a.Email, secret: a.Secret, context: a.SecretContext(),
			exchange: func(ctx context.Context, from, to account.Secret) error { return store.Reseal(ctx, a.ID, from, to) },
		})
	}
	keys, err := store.AllDataKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, user := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, sealedSecret{
			id: user, name: fmt.Sprintf("the data key of user %d", user), secret: keys[user], context: secrets.DataKeyContext(user),
			exchange: func(ctx context.Context, from, to account.Secret) error {
				return store.ResealDataKey(ctx, user, from, to)
			},
		})
	}
	return all, nil
}

// reseal does one secret; it says whether there was something to do.
func (s *Service) reseal(ctx context.Context, fresh secrets.Sealer, i sealedSecret) (bool, error) {
	if plain, err := fresh.Open(i.secret, i.context); err == nil {
		clear(plain)
		return false, nil
	}
	plain, err := s.c.Sealer.Open(i.secret, i.context)
	if err != nil {
		return false, err
	}
	defer clear(plain)
	sealed, err := fresh.Seal(plain, i.context)
	if err != nil {
		return false, err
	}
	again, err := fresh.Open(sealed, i.context)
	defer clear(again)
	if err == nil && subtle.ConstantTimeCompare(plain, again) != 1 {
		err = fault.New(fault.Corrupt, "check the new secret", "it does not open to what was sealed")
	}
	if err != nil {
		return false, err
	}
	return true, i.exchange(ctx, i.secret, sealed)
}
