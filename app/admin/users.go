package admin

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"imapped/domain/account"
	"imapped/domain/fault"
)

// Limits on what a user may be called and how long a password may be, in bytes.
const (
	maxName     = 255
	maxPassword = 1024
)

// CreateUser stores a new user with the password. fault.Exists when there is one with the name, fault.Invalid for a
// name or password that cannot be used.
func (s *Service) CreateUser(ctx context.Context, name string, password []byte) (_ account.User, err error) {
	defer s.record(ctx, "create user", name, &err)
	const op = "create user"
	if err := checkName(op, name); err != nil {
		return account.User{}, err
	}
	hash, err := s.hash(op, password)
	if err != nil {
		return account.User{}, err
	}
	u, err := s.c.Users.CreateUser(ctx, account.User{Name: name, PasswordHash: hash, Created: s.c.Clock.Now()})
	if fault.Is(err, fault.Exists) {
		return account.User{}, fault.Newf(fault.Exists, op, "there is a user %q already", name)
	}
	return u, fault.Wrap(op, err)
}

// Bootstrap creates a user with the password, or with the hash of one where there is no password, unless there is a user
// of that name: that one stays as it is. It says whether it created one.
func (s *Service) Bootstrap(ctx context.Context, name string, password []byte, hash string) (created bool, err error) {
	const op = "create the first user"
	defer func() {
		if created || err != nil { // else nothing was done, as at every start but the first
			s.record(ctx, op, name, &err)
		}
	}()
	if _, err := s.c.Users.User(ctx, name); !fault.Is(err, fault.NotFound) {
		return false, fault.Wrap(op, err)
	}
	if err := checkName(op, name); err != nil {
		return false, err
	}
	if len(password) > 0 {
		if hash, err = s.hash(op, password); err != nil {
			return false, err
		}
	}
	_, err = s.c.Users.CreateUser(ctx, account.User{Name: name, PasswordHash: hash, Created: s.c.Clock.Now()})
	if fault.Is(err, fault.Exists) {
		return false, nil // another process was faster
	}
	return err == nil, fault.Wrap(op, err)
}

// SetPassword changes a user's password.
func (s *Service) SetPassword(ctx context.Context, name string, password []byte) (err error) {
	defer s.record(ctx, "set password", name, &err)
	const op = "set password"
	u, err := s.user(ctx, op, name)
	if err != nil {
		return err
	}
	if u.PasswordHash, err = s.hash(op, password); err != nil {
		return err
	}
	return fault.Wrap(op, s.c.Users.UpdateUser(ctx, u))
}

// SetDisabled locks a user out, or lets them in again. Nothing of theirs is removed and mirroring goes on.
func (s *Service) SetDisabled(ctx context.Context, name string, disabled bool) (err error) {
	defer s.record(ctx, word(disabled, "disable user", "enable user"), name, &err)
	const op = "disable user"
	u, err := s.user(ctx, op, name)
	if err != nil {
		return err
	}
	u.Disabled = disabled
	return fault.Wrap(op, s.c.Users.UpdateUser(ctx, u))
}

// Users returns all users.
func (s *Service) Users(ctx context.Context) ([]account.User, error) {
	us, err := s.c.Users.Users(ctx)
	return us, fault.Wrap("list users", err)
}

func (s *Service) user(ctx context.Context, op, name string) (account.User, error) {
	u, err := s.c.Users.User(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return u, fault.Newf(fault.NotFound, op, "there is no user %q; list-users shows who there is", name)
	}
	return u, fault.Wrap(op, err)
}

func (s *Service) hash(op string, password []byte) (string, error) {
	switch {
	case len(password) == 0:
		return "", fault.New(fault.Invalid, op, "the password is empty")
	case len(password) > maxPassword:
		return "", fault.Newf(fault.Invalid, op, "the password is longer than %d bytes", maxPassword)
	}
	hash, err := s.c.Hash(string(password))
	return hash, fault.Wrap(op, err)
}

func checkName(op, name string) error {
	switch {
	case name == "" || strings.TrimSpace(name) != name:
		return fault.New(fault.Invalid, op, "a name must not be empty, nor begin or end with a space")
	case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fault.Newf(fault.Invalid, op, "a name has at most %d bytes of UTF-8, without control characters", maxName)
	}
	return nil
}
