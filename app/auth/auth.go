package auth

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/clock"
	"imapped/ports/limits"
	"imapped/ports/metadata"
)

// What a configuration without wishes uses.
const (
	DefaultFailures = 5
	DefaultWindow   = time.Minute
	DefaultHashes   = 4
	DefaultRemember = time.Hour
)

const (
	// userFactor and addressFactor say how many times Config.Failures a user, and an address, may have altogether.
	userFactor    = 20
	addressFactor = 10
	// addressTime is how long an address stays one from which the user has logged in.
	addressTime = 30 * 24 * time.Hour
	// maxPassword bounds what is hashed.
	maxPassword = 1024
	// maxCandidates bounds how many users a name is tried for: an account's address may belong to several.
	maxCandidates = 3
)

// Config is what an Auth works on.
type Config struct {
	Users  metadata.Users
	Logins metadata.Logins
	Limits limits.Failures
	// Usual counts logins from an address where Limits are shared: it keeps for all nodes, and over restarts, which
	// addresses are a user's usual ones. nil: this process remembers them alone.
	Usual limits.Failures
	Clock clock.Clock
	Log   *slog.Logger // nil: slog.Default
	// Failures is how many wrong passwords a user may have at an address until both have to wait for Window; 0 switches
	// counting off.
	Failures int
	Window   time.Duration
	Hashes   int           // how many hashes may be computed at a time, at 19 MiB each; 0: DefaultHashes
	Remember time.Duration // how long a right password needs no Argon2id; 0: never
}

// Auth checks logins. Any number of goroutines may use it.
type Auth struct {
	c        Config
	hashes   chan struct{} // a token for each hash being computed
	verified *verified
	decoy    string // what the password of a name that does not exist is checked against
}

// New returns an Auth. It starts nothing and needs no closing.
func New(c Config) *Auth {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Hashes == 0 {
		c.Hashes = DefaultHashes
	}
	decoy := phc{params: current, salt: make([]byte, saltLen), key: make([]byte, keyLen)}
	return &Auth{c: c, hashes: make(chan struct{}, c.Hashes), verified: newVerified(), decoy: decoy.String()}
}

// candidate is somebody whom a name may mean.
type candidate struct {
	user  account.User
	scope *account.Account // the account whose address the name is; nil for the user's own name
}

// Check says who logs in with the name and password from the IP address remote. The name is a user's, or the address
// of one of a user's accounts: that account is returned then, and the session is to show it alone. Errors:
// fault.Denied when name or password are wrong, or the user has had too many failures by other names; fault.Limit after too many failures, fault.Forbidden for a disabled
// user with the right password.
func (a *Auth) Check(ctx context.Context, name, password, remote string) (account.User, *account.Account, error) {
	k := keysOf(name, remote)
	u, scope, err := a.check(ctx, k, name, password)
	outcome, level := "ok", slog.LevelInfo
	if err != nil {
		outcome, level = fault.KindOf(err).String(), slog.LevelWarn
	}
	a.c.Log.LogAttrs(ctx, level, "login", slog.String("user", clip(name)), slog.String("ip", remote),
		slog.String("outcome", outcome))
	return u, scope, err
}

const op = "log in"

func (a *Auth) check(ctx context.Context, k keys, name, password string) (account.User, *account.Account, error) {
	none := account.User{}
	locked := func() error { return a.locked(ctx, k) }
	if err := locked(); err != nil {
		return none, nil, err
	}
	candidates, err := a.candidates(ctx, name)
	if err != nil {
		return none, nil, err
	}
	if len(password) > maxPassword {
		password, candidates = "", nil
	}
	candidates = slices.DeleteFunc(candidates, func(c candidate) bool { return a.exhausted(ctx, k, c.user.ID) })
	for _, c := range candidates {
		mark := a.verified.mark(c.user, password)
		ok := a.verified.password(mark, a.c.Clock.Now())
		if !ok {
			ok, err = a.verify(ctx, c.user.PasswordHash, password, locked)
			if fault.Is(err, fault.Corrupt) {
				a.c.Log.ErrorContext(ctx, "a stored password hash cannot be read", "user", c.user.Name)
				continue
			}
			if err != nil {
				return none, nil, err
			}
		}
		if !ok {
			continue
		}
		if c.user.Disabled {
			return none, nil, fault.New(fault.Forbidden, op, "this user is disabled")
		}
		a.succeeded(ctx, k, mark)
		return c.user, c.scope, nil
	}
	if len(candidates) == 0 {
		if _, err := a.verify(ctx, a.decoy, password, locked); err != nil {
			return none, nil, err
		}
	}
	a.failed(ctx, k, candidates)
	return none, nil, fault.New(fault.Denied, op, "wrong name or password")
}

// candidates returns whom the name may mean: the user with the name, or else those users who have an account with that
// address.
func (a *Auth) candidates(ctx context.Context, name string) ([]candidate, error) {
	u, err := a.c.Users.User(ctx, name)
	if err == nil {
		return []candidate{{user: u}}, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, fault.Wrap(op, err)
	}
	if !strings.Contains(name, "@") {
		return nil, nil
	}
	logins, err := a.c.Logins.Logins(ctx, name, maxCandidates)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	out := make([]candidate, len(logins))
	for i := range logins {
		out[i] = candidate{user: logins[i].User, scope: &logins[i].Account}
	}
	return out, nil
}

// keys is what failures are counted by.
type keys struct{ pair, user, address string }

// keysOf returns the keys of an attempt. A name counts in lower case, as it is looked up. An IPv6 address counts as its /64
// network, which is what one customer has.
func keysOf(name, remote string) keys {
	if ip, err := netip.ParseAddr(remote); err == nil {
		ip = ip.Unmap().WithZone("")
		if remote = ip.String(); ip.Is6() {
			if p, err := ip.Prefix(64); err == nil {
				remote = p.String()
			}
		}
	}
	name, remote = clip(strings.ToLower(name)), clip(remote)
	return keys{pair: "login/" + remote + "/" + name, user: "user/" + name, address: "ip/" + remote}
}

// usual is what logins of the user from the address are counted by.
func (k keys) usual() string { return "usual/" + k.pair }

// userKey is what the failures of all names of a user are counted by.
func userKey(id account.UserID) string { return "id/" + strconv.FormatInt(int64(id), 10) }

// clip bounds what a stranger can put into the log and the counts.
func clip(s string) string { return s[:min(len(s), 256)] }

// locked returns fault.Limit while the attempt must not be made.
func (a *Auth) locked(ctx context.Context, k keys) error {
	if a.c.Failures == 0 {
		return nil
	}
	wait, full := a.full(ctx, k.pair, a.c.Failures)
	if !full {
		wait, full = a.full(ctx, k.address, addressFactor*a.c.Failures)
	}
	if !full {
		wait, full = a.full(ctx, k.user, userFactor*a.c.Failures)
		full = full && !a.usual(ctx, k)
	}
	if !full {
		return nil
	}
	return fault.Newf(fault.Limit, op, "too many failed logins; try again in %d seconds", int(wait.Seconds())+1)
}

// exhausted says whether all names of the user together have had too many failures. The user is as if not there then: to say
// more would tell who tries them one after the other which names are one user's, and that there is one.
func (a *Auth) exhausted(ctx context.Context, k keys, id account.UserID) bool {
	if a.c.Failures == 0 {
		return false
	}
	if _, full := a.full(ctx, userKey(id), userFactor*a.c.Failures); !full || a.usual(ctx, k) {
		return false
	}
	a.c.Log.WarnContext(ctx, "too many failed logins by all names of a user", "id", int64(id))
	return true
}

// full says whether a key has so many failures, and for how long.
func (a *Auth) full(ctx context.Context, key string, most int) (time.Duration, bool) {
	n, wait, err := a.c.Limits.Count(ctx, key)
	if err != nil {
		a.c.Log.ErrorContext(ctx, "login failures cannot be counted", "err", err)
		return 0, false
	}
	return wait, n >= most
}

// usual says whether the user has logged in from the address before: what others do elsewhere does not lock them out from it.
func (a *Auth) usual(ctx context.Context, k keys) bool {
	if a.verified.address(k.pair, a.c.Clock.Now()) {
		return true
	}
	if a.c.Usual == nil {
		return false
	}
	n, _, err := a.c.Usual.Count(ctx, k.usual())
	if err != nil {
		a.c.Log.ErrorContext(ctx, "usual addresses cannot be looked up", "err", err)
	}
	return n > 0 || err != nil
}

// failed counts a failure, also for those whom the name may mean.
func (a *Auth) failed(ctx context.Context, k keys, candidates []candidate) {
	if a.c.Failures == 0 {
		return
	}
	all := []string{k.pair, k.address, k.user}
	for _, c := range candidates {
		all = append(all, userKey(c.user.ID))
	}
	for _, key := range all {
		if _, err := a.c.Limits.Add(ctx, key, a.c.Window); err != nil {
			a.c.Log.ErrorContext(ctx, "a login failure cannot be counted", "err", err)
		}
	}
}

// succeeded forgets the failures of the user at the address, and remembers the address; those of either alone stay, so that
// somebody with a password of their own cannot keep guessing others'.
func (a *Auth) succeeded(ctx context.Context, k keys, mark [32]byte) {
	now := a.c.Clock.Now()
	if a.c.Remember == 0 {
		mark = [32]byte{}
	}
	a.verified.remember(mark, now.Add(a.c.Remember), k.pair, now.Add(addressTime), now)
	if a.c.Failures == 0 {
		return
	}
	if err := a.c.Limits.Clear(ctx, k.pair); err != nil {
		a.c.Log.ErrorContext(ctx, "login failures cannot be forgotten", "err", err)
	}
	if a.c.Usual == nil {
		return
	}
	if _, err := a.c.Usual.Add(ctx, k.usual(), addressTime); err != nil {
		a.c.Log.ErrorContext(ctx, "a usual address cannot be remembered", "err", err)
	}
}
