package admin

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/upstream"
)

// NewAccount is what an operator says of a new account.
type NewAccount struct {
	User     string // the login name of the user it belongs to
	Email    string // the account's own address; also the login that shows it alone
	Display  string // the name that further accounts appear under; empty: Email
	Endpoint account.Endpoint
	Auth     string
	Username string // empty: Email
	Secret   []byte
}

// AddAccount stores an account with its sealed secret. Nothing is asked of the upstream: TestUpstream does that.
func (s *Service) AddAccount(ctx context.Context, n NewAccount) (_ account.Account, err error) {
	defer s.record(ctx, "add account", n.User+" "+n.Email, &err)
	const op = "add account"
	u, err := s.user(ctx, op, n.User)
	if err != nil {
		return account.Account{}, err
	}
	if n.Display == "" {
		n.Display = n.Email
	}
	if n.Username == "" {
		n.Username = n.Email
	}
	if err := checkAccount(op, n); err != nil {
		return account.Account{}, err
	}
	a := account.Account{
		User: u.ID, Display: n.Display, Email: n.Email, Upstream: n.Endpoint, Auth: n.Auth, Username: n.Username,
		Created: s.c.Clock.Now(),
	}
	if a.Secret, err = s.c.Sealer.Seal(n.Secret, a.SecretContext()); err != nil {
		return account.Account{}, fault.Wrap(op, err)
	}
	a, err = s.c.Accounts.CreateAccount(ctx, a)
	if fault.Is(err, fault.Exists) {
		return a, fault.Newf(fault.Exists, op, "user %q has an account with the address %q or the display name %q already",
			n.User, n.Email, n.Display)
	}
	return a, fault.Wrap(op, err)
}

func checkAccount(op string, n NewAccount) error {
	switch {
	case n.Endpoint.Host == "" || n.Endpoint.Port == 0:
		return fault.New(fault.Invalid, op, "the upstream needs a host and a port")
	case strings.Contains(n.Display, "/"):
		return fault.New(fault.Invalid, op, "a display name must not contain '/': it becomes a mailbox name")
	case strings.EqualFold(n.Display, "INBOX"):
		return fault.New(fault.Invalid, op, "a display name must not be INBOX")
	case len(n.Secret) == 0:
		return fault.New(fault.Invalid, op, "the upstream password is empty")
	case len(n.Secret) > maxPassword:
		return fault.Newf(fault.Invalid, op, "the upstream password is longer than %d bytes", maxPassword)
	}
	switch n.Endpoint.TLS {
	case account.TLSImplicit, account.TLSStart, account.TLSPlain:
	default:
		return fault.Newf(fault.Invalid, op, "unknown TLS mode %q: tls, starttls or plain", n.Endpoint.TLS)
	}
	if err := checkName(op, n.Email); err != nil {
		return err
	}
	return checkName(op, n.Display)
}

// Account returns the account with the address, or with the number for "#12"; fault.NotFound when there is none,
// fault.Invalid when several users have one with the address.
func (s *Service) Account(ctx context.Context, email string) (account.Account, error) {
	const op = "find account"
	all, err := s.c.Accounts.Accounts(ctx, 0)
	if err != nil {
		return account.Account{}, fault.Wrap(op, err)
	}
	var found []account.Account
	for _, a := range all {
		if strings.EqualFold(a.Email, email) || email == "#"+strconv.FormatInt(int64(a.ID), 10) {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return account.Account{}, fault.Newf(fault.NotFound, op, "there is no account %q; list-accounts shows what there is", email)
	case 1:
		return found[0], nil
	}
	return account.Account{}, fault.Newf(fault.Invalid, op, "several users have an account %q: name it by its number (#ID)", email)
}

// Accounts returns the accounts of the user with the name, or all for "".
func (s *Service) Accounts(ctx context.Context, user string) ([]account.Account, error) {
	const op = "list accounts"
	var id account.UserID
	if user != "" {
		u, err := s.user(ctx, op, user)
		if err != nil {
			return nil, err
		}
		id = u.ID
	}
	as, err := s.c.Accounts.Accounts(ctx, id)
	return as, fault.Wrap(op, err)
}

// DeleteAccount removes an account and its mirror. The mail at the upstream stays.
func (s *Service) DeleteAccount(ctx context.Context, email string) (err error) {
	defer s.record(ctx, "delete account", email, &err)
	a, err := s.Account(ctx, email)
	if err != nil {
		return err
	}
	return fault.Wrap("delete account", s.c.Accounts.DeleteAccount(ctx, a.ID))
}

// SetPaused stops or resumes an account's mirroring; clients go on reading what is there.
func (s *Service) SetPaused(ctx context.Context, email string, paused bool) (_ account.Account, err error) {
	defer s.record(ctx, word(paused, "pause account", "resume account"), email, &err)
	a, err := s.Account(ctx, email)
	if err != nil {
		return a, err
	}
	a.Paused = paused
	return a, fault.Wrap("pause account", s.c.Accounts.UpdateAccount(ctx, a))
}

// TestUpstream connects to the account's upstream, logs in and returns what the server says of itself. A failure is
// an *upstream.StepError, somewhere in the chain.
func (s *Service) TestUpstream(ctx context.Context, a account.Account) (upstream.Server, error) {
	const op = "test upstream"
	password, err := s.c.Sealer.Open(a.Secret, a.SecretContext())
	if err != nil {
		return upstream.Server{}, fault.Wrap(op, err)
	}
	return s.Probe(ctx, upstream.Target{Endpoint: a.Upstream, Auth: a.Auth, Username: a.Username, Password: password})
}

// Probe is TestUpstream for a target that is not stored.
func (s *Service) Probe(ctx context.Context, t upstream.Target) (upstream.Server, error) {
	conn, err := s.c.Dialer.Dial(ctx, t)
	if err != nil {
		return upstream.Server{}, fault.Wrap("test upstream", err)
	}
	server := conn.Server()
	return server, fault.Wrap("test upstream", conn.Close())
}

// UpdateUpstream takes over where an account's upstream is and the password there.
func (s *Service) UpdateUpstream(ctx context.Context, a account.Account, e account.Endpoint, password []byte) (_ account.Account, err error) {
	defer s.record(ctx, "update account", a.Email, &err)
	const op = "update account"
	if a.Upstream == e {
		if old, err := s.c.Sealer.Open(a.Secret, a.SecretContext()); err == nil && bytes.Equal(old, password) {
			return a, nil
		}
	}
	a.Upstream = e
	if a.Secret, err = s.c.Sealer.Seal(password, a.SecretContext()); err != nil {
		return a, fault.Wrap(op, err)
	}
	return a, fault.Wrap(op, s.c.Accounts.UpdateAccount(ctx, a))
}

// AddLocal stores an account without an upstream: mail comes into it by delivery only.
func (s *Service) AddLocal(ctx context.Context, u account.User, email string) (_ account.Account, err error) {
	defer s.record(ctx, "add local account", email, &err)
	a, err := s.c.Accounts.CreateAccount(ctx, account.Account{
		User: u.ID, Display: email, Email: email, Local: true, Created: s.c.Clock.Now(),
	})
	return a, fault.Wrap("add local account", err)
}
