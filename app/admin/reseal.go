package admin

import (
	"context"
	"crypto/subtle"
	"errors"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
	"imapped/ports/secrets"
)

// Resealed is what Reseal did.
type Resealed struct {
	Accounts int // that have a secret
	Changed  int // that were sealed anew by this call
}

// Reseal seals every account's secret under the key of fresh, which knows that key and no other; the Service's own Sealer
// opens what is sealed under older ones. Each account is one step, checked before and after it is stored, so that a call
// that was interrupted is made again, and does the rest. It returns nil only when each account's secret, read again at the
// end, opens with fresh alone: then nothing needs an older key. The error names every account of which that is not so.
func (s *Service) Reseal(ctx context.Context, store metadata.Secrets, fresh secrets.Sealer) (Resealed, error) {
	const op = "seal secrets anew"
	var done Resealed
	accounts, err := s.c.Accounts.Accounts(ctx, 0)
	if err != nil {
		return done, fault.Wrap(op, err)
	}
	failed := map[account.ID]error{}
	for _, a := range accounts {
		if a.Local {
			continue
		}
		changed, err := s.reseal(ctx, store, fresh, a)
		failed[a.ID] = err // whether it matters is seen at the end
		if changed && err == nil {
			done.Changed++
		}
	}
	var errs []error
	if accounts, err = s.c.Accounts.Accounts(ctx, 0); err != nil {
		return done, fault.Wrap(op, err)
	}
	for _, a := range accounts {
		if a.Local {
			continue
		}
		done.Accounts++
		plain, err := fresh.Open(a.Secret, a.SecretContext())
		clear(plain)
		if err == nil {
			continue
		}
		if failed[a.ID] != nil {
			err = failed[a.ID]
		}
		errs = append(errs, fault.Wrap(op+" of account "+a.Email, err))
	}
	return done, errors.Join(errs...)
}

// reseal does one account; it says whether there was something to do.
func (s *Service) reseal(ctx context.Context, store metadata.Secrets, fresh secrets.Sealer, a account.Account) (bool, error) {
	if plain, err := fresh.Open(a.Secret, a.SecretContext()); err == nil {
		clear(plain)
		return false, nil
	}
	plain, err := s.c.Sealer.Open(a.Secret, a.SecretContext())
	if err != nil {
		return false, err
	}
	defer clear(plain)
	sealed, err := fresh.Seal(plain, a.SecretContext())
	if err != nil {
		return false, err
	}
	again, err := fresh.Open(sealed, a.SecretContext())
	defer clear(again)
	if err == nil && subtle.ConstantTimeCompare(plain, again) != 1 {
		err = fault.New(fault.Corrupt, "check the new secret", "it does not open to what was sealed")
	}
	if err != nil {
		return false, err
	}
	return true, store.Reseal(ctx, a.ID, a.Secret, sealed)
}
