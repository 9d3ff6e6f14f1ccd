package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"imapped/app/auth"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
)

// world is users, accounts, a clock and the counts of failures.
type world struct {
	mu       sync.Mutex
	now      time.Time
	users    []account.User
	accounts []account.Account
	counts   map[string]count
	broken   bool // the counts cannot be reached
	log      bytes.Buffer
	config   auth.Config
}

type count struct {
	n     int
	until time.Time
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) User(_ context.Context, name string) (account.User, error) {
	for _, u := range w.users {
		if strings.ToLower(u.Name) == strings.ToLower(name) { //nolint:staticcheck // not the same as EqualFold
			return u, nil
		}
	}
	return account.User{}, fault.New(fault.NotFound, "user", "none")
}

func (w *world) Users(context.Context) ([]account.User, error) { panic("not used") }
func (w *world) CreateUser(context.Context, account.User) (account.User, error) {
	panic("not used")
}
func (w *world) UpdateUser(context.Context, account.User) error { panic("not used") }

func (w *world) Logins(_ context.Context, email string, limit int) (found []metadata.Login, _ error) {
	for _, acc := range w.accounts {
		if strings.ToLower(acc.Email) == strings.ToLower(email) && len(found) < limit { //nolint:staticcheck // not the same as EqualFold
			found = append(found, metadata.Login{User: w.users[acc.User-1], Account: acc})
		}
	}
	return found, nil
}

func (w *world) Add(_ context.Context, key string, window time.Duration) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.counts[key]
	if !w.now.Before(c.until) {
		c.n = 0
	}
	c.n, c.until = c.n+1, w.now.Add(window)
	w.counts[key] = c
	return c.n, nil
}

func (w *world) Count(_ context.Context, key string) (int, time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return 0, 0, errors.New("unreachable")
	}
	c := w.counts[key]
	if !w.now.Before(c.until) {
		return 0, 0, nil
	}
	return c.n, c.until.Sub(w.now), nil
}

func (w *world) Clear(_ context.Context, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.counts, key)
	return nil
}

// cheap hashes at a cost that keeps the tests short.
func cheap(password string) string {
	key := argon2.IDKey([]byte(password), []byte("somesalt"), 1, 64, 1, 32)
	return "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + base64.RawStdEncoding.EncodeToString(key)
}

// start returns a world with the users ann, bob and eve (disabled); each one's password is the name, reversed.
func start(t testing.TB, change ...func(*auth.Config)) (*world, *auth.Auth) {
	w := &world{now: time.Unix(1_800_000_000, 0), counts: map[string]count{}}
	c := auth.Config{
		Users: w, Logins: w, Limits: w, Usual: w, Clock: w, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Failures: auth.DefaultFailures, Window: auth.DefaultWindow, Remember: auth.DefaultRemember,
	}
	for _, f := range change {
		f(&c)
	}
	w.config = c
	a := auth.New(c)
	for i, name := range []string{"ann", "bob", "eve"} {
		password := []byte(name)
		password[0], password[2] = password[2], password[0]
		w.users = append(w.users, account.User{
			ID: account.UserID(i + 1), Name: name, PasswordHash: cheap(string(password) + "-pw"), Disabled: name == "eve",
		})
	}
	return w, a
}

// spent returns how many bytes f allocates: what Argon2id takes shows in it, and nothing else does.
func spent(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestCheck(t *testing.T) {
	w, a := start(t)
	w.accounts = []account.Account{
		{ID: 1, User: 1, Email: "ann@example.org"}, {ID: 2, User: 2, Email: "shared@example.org"}, {ID: 3, User: 1, Email: "Shared@example.org"},
	}
	for _, tt := range []struct {
		name, password string
		user           string
		scope          account.ID
		kind           fault.Kind
	}{
		{"ann", "nna-pw", "ann", 0, 0},
		{"ANN", "nna-pw", "ann", 0, 0},
		{"ann@example.org", "nna-pw", "ann", 1, 0},
		{"shared@example.org", "bob-pw", "bob", 2, 0},
		{"shared@example.org", "nna-pw", "ann", 3, 0},
		{"ann", "bob-pw", "", 0, fault.Denied},
		{"ann", "", "", 0, fault.Denied},
		{"nobody", "nna-pw", "", 0, fault.Denied},
		{"", "", "", 0, fault.Denied},
		{"nobody@example.org", "nna-pw", "", 0, fault.Denied},
		{"eve", "eve-pw", "", 0, fault.Forbidden},
		{"eve", "wrong", "", 0, fault.Denied},
		{"bob", strings.Repeat("x", 1<<20), "", 0, fault.Denied},
	} {
		u, scope, err := a.Check(t.Context(), tt.name, tt.password, "192.0.2.1")
		var got account.ID
		if scope != nil {
			got = scope.ID
		}
		if u.Name != tt.user || got != tt.scope || (tt.kind != 0) != (err != nil) || err != nil && !fault.Is(err, tt.kind) {
			t.Errorf("%s/%.10s: %q scope %d, %v", tt.name, tt.password, u.Name, got, err)
		}
	}
	log := w.log.String()
	if strings.Contains(log, "-pw") || strings.Contains(log, "wrong") || strings.Contains(log, "argon2id") {
		t.Errorf("the log tells a password: %s", log)
	}
	for _, want := range []string{"user=ann ip=192.0.2.1 outcome=ok", "outcome=denied", "outcome=forbidden"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

func hash(t testing.TB, a *auth.Auth, password string) string {
	t.Helper()
	h, err := a.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestWrongNameAndWrongPasswordLookTheSame(t *testing.T) {
	w, a := start(t)
	w.users[1].PasswordHash = hash(t, a, "bob-pw")
	var errs []error
	var costs []uint64
	for _, name := range []string{"bob", "nobody", "nobody@example.org"} {
		costs = append(costs, spent(func() {
			_, _, err := a.Check(t.Context(), name, "x", "192.0.2.1")
			errs = append(errs, err)
		}))
	}
	for i := range errs {
		if errs[i] == nil || errs[i].Error() != errs[0].Error() {
			t.Errorf("%q and %q", errs[i], errs[0])
		}
		if costs[i] < 19<<20 || costs[i] > 20<<20 {
			t.Errorf("attempt %d took %d bytes", i, costs[i])
		}
	}
}

func TestLockout(t *testing.T) {
	w, a := start(t)
	try := func(name, password, ip string) fault.Kind {
		_, _, err := a.Check(t.Context(), name, password, ip)
		return fault.KindOf(err)
	}
	const ok = fault.Internal // KindOf nil
	for i := range 5 {
		if k := try("bob", "guess", "192.0.2.1"); k != fault.Denied {
			t.Fatalf("guess %d: %v", i, k)
		}
	}
	_, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1")
	if !fault.Is(err, fault.Limit) || !strings.Contains(err.Error(), "try again in") {
		t.Errorf("after 5 failures the right password gives %v", err)
	}
	if k := try("BOB", "bob-pw", "::ffff:192.0.2.1"); k != fault.Limit {
		t.Errorf("another spelling of name and address: %v", k)
	}
	if k := try("bob", "bob-pw", "198.51.100.7"); k != ok {
		t.Errorf("from elsewhere: %v", k)
	}
	if k := try("ann", "nna-pw", "192.0.2.1"); k != ok {
		t.Errorf("another user at the address: %v", k)
	}
	w.pass(61 * time.Second)
	if k := try("bob", "bob-pw", "192.0.2.1"); k != ok {
		t.Errorf("after the window: %v", k)
	}
	// A success starts the count anew.
	for range 3 {
		for range 4 {
			if k := try("bob", "guess", "192.0.2.1"); k != fault.Denied {
				t.Fatalf("guess: %v", k)
			}
		}
		if k := try("bob", "bob-pw", "192.0.2.1"); k != ok {
			t.Fatalf("after 4 failures: %v", k)
		}
	}
}

// TestNobodyIsLockedOutFromAfar: nor on a node where the user has not logged in, be it because it was started again.
func TestNobodyIsLockedOutFromAfar(t *testing.T) {
	w, a := start(t)
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	guessed := func() { // from a hundred addresses
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, key := range []string{"user/bob", "id/2"} {
			w.counts[key] = count{100, w.now.Add(time.Minute)}
		}
	}
	for node, a := range map[string]*auth.Auth{"this": a, "another": auth.New(w.config)} {
		guessed()
		if _, _, err := a.Check(t.Context(), "bob", "guess", "203.0.113.9"); !fault.Is(err, fault.Limit) {
			t.Errorf("%s node: the hundred and first address: %v", node, err)
		}
		if _, _, err := a.Check(t.Context(), "ann", "nna-pw", "203.0.113.9"); err != nil {
			t.Errorf("%s node: another user there: %v", node, err)
		}
		if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
			t.Errorf("%s node: the user's own address: %v", node, err)
		}
	}
	w.pass(31 * 24 * time.Hour)
	guessed()
	if _, _, err := auth.New(w.config).Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); !fault.Is(err, fault.Limit) {
		t.Errorf("an address of long ago: %v", err)
	}
	// Counts of this process alone go with its own memory of addresses.
	w.config.Usual = nil
	a = auth.New(w.config)
	w.pass(time.Hour)
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	guessed()
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
		t.Errorf("the user's own address, remembered here: %v", err)
	}
}

// TestNamesShareOneAllowance: who guesses at a user by all their names, and all spellings of these, has as many guesses as
// with one, and does not learn which names are one user's.
func TestNamesShareOneAllowance(t *testing.T) {
	w, a := start(t)
	w.accounts = []account.Account{{ID: 1, User: 2, Email: "boss@example.org"}, {ID: 2, User: 2, Email: "bob@example.org"}}
	names := []string{"bob", "boss@example.org", "Boss@Example.org", "BOB", "bob@example.org"}
	for i := range 100 {
		if _, _, err := a.Check(t.Context(), names[i%len(names)], "guess", fmt.Sprintf("198.51.100.%d", i)); !fault.Is(err, fault.Denied) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	_, _, wrong := a.Check(t.Context(), "nobody", "guess", "203.0.113.1")
	for _, name := range names {
		if _, _, err := a.Check(t.Context(), name, "bob-pw", "203.0.113.2"); err == nil || err.Error() != wrong.Error() {
			t.Errorf("%s after a hundred guesses: %v", name, err)
		}
	}
	if !strings.Contains(w.log.String(), "by all names of a user") {
		t.Error("the log does not say why")
	}
	w.pass(2 * time.Minute)
	for _, name := range names {
		if _, _, err := a.Check(t.Context(), name, "bob-pw", "203.0.113.2"); err != nil {
			t.Errorf("%s after the window: %v", name, err)
		}
	}
	// What is the same only to who folds case is another name: U+017F is an s then.
	for _, name := range []string{"bo\u017fs@example.org", "bos\u017f@example.org"} {
		if _, _, err := a.Check(t.Context(), name, "bob-pw", "203.0.113.3"); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A long name counts as what it is in lower case, in which U+212A is a k.
	w.accounts = []account.Account{{ID: 3, User: 2, Email: strings.Repeat("k", 100) + "@example.org"}}
	for i := range 5 {
		name := strings.Repeat("k", 95-i) + strings.Repeat("\u212a", 5+i) + "@example.org"
		_, _, _ = a.Check(t.Context(), strings.Replace(name, "k", "\u212a", 90-10*i), "guess", "203.0.113.4")
	}
	if _, _, err := a.Check(t.Context(), w.accounts[0].Email, "bob-pw", "203.0.113.4"); !fault.Is(err, fault.Limit) {
		t.Errorf("after five guesses by spellings of one long name: %v", err)
	}
}

func TestAddressIsLockedForAllUsers(t *testing.T) {
	w, a := start(t)
	w.counts["ip/2001:db8:1:2::/64"] = count{50, w.now.Add(time.Minute)}
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "2001:db8:1:2:3::4"); !fault.Is(err, fault.Limit) {
		t.Errorf("the same network: %v", err)
	}
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "2001:db8:1:3::4"); err != nil {
		t.Errorf("another network: %v", err)
	}
}

func TestCountingCanBeSwitchedOffAndMayFail(t *testing.T) {
	w, a := start(t, func(c *auth.Config) { c.Failures = 0 })
	for range 7 {
		_, _, _ = a.Check(t.Context(), "bob", "guess", "192.0.2.1")
	}
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil || len(w.counts) != 0 {
		t.Errorf("switched off: %v, counts %v", err, w.counts)
	}
	w, a = start(t)
	w.broken = true
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
		t.Errorf("counts that cannot be reached: %v", err)
	}
}

func TestGuessesMadeTogetherAreCountedTogether(t *testing.T) {
	_, a := start(t, func(c *auth.Config) { c.Hashes = 1 })
	var wg sync.WaitGroup
	var mu sync.Mutex
	kinds := map[fault.Kind]int{}
	for i := range 20 {
		wg.Go(func() {
			_, _, err := a.Check(t.Context(), "bob", fmt.Sprint("guess", i), "192.0.2.1")
			mu.Lock()
			defer mu.Unlock()
			kinds[fault.KindOf(err)]++
		})
	}
	wg.Wait()
	// One hash at a time: a guess that waited sees the failures of those before it, save the one being counted.
	if kinds[fault.Denied] > 6 || kinds[fault.Denied]+kinds[fault.Limit] != 20 {
		t.Errorf("%v", kinds)
	}
}

func TestPasswordChangeIsSeenAtOnce(t *testing.T) {
	w, a := start(t)
	for range 2 {
		if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	w.users[1].PasswordHash = hash(t, a, "other")
	if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); !fault.Is(err, fault.Denied) {
		t.Errorf("the old password: %v", err)
	}
	if _, _, err := a.Check(t.Context(), "bob", "other", "192.0.2.1"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	w.users[1].Disabled = true
	if _, _, err := a.Check(t.Context(), "bob", "other", "192.0.2.1"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("disabled: %v", err)
	}
}

func TestReconnectingCostsNoHash(t *testing.T) {
	w, a := start(t)
	w.users[1].PasswordHash = hash(t, a, "bob-pw")
	check := func() {
		if _, _, err := a.Check(t.Context(), "bob", "bob-pw", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	check()
	n := spent(func() {
		for range 20 {
			check()
		}
	})
	if n > 1<<20 { // one computation takes 19 MiB
		t.Errorf("20 remembered logins took %d bytes", n)
	}
	w.pass(2 * time.Hour)
	check() // forgotten, and right nevertheless
}

func TestStoredHashes(t *testing.T) {
	w, a := start(t)
	good := hash(t, a, "bob-pw")
	if !strings.HasPrefix(good, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %q", good)
	}
	if hash(t, a, "bob-pw") == good {
		t.Error("two hashes of one password are equal")
	}
	parts := strings.Split(good, "$")
	for _, bad := range []string{
		"", "bob-pw", "$argon2id$v=19$m=19456,t=2,p=1$$", "$argon2i$" + strings.Join(parts[2:], "$"),
		"$argon2id$v=16$" + strings.Join(parts[3:], "$"), good + "$x", "$argon2id$v=19$m=4294967295,t=2,p=1$" + parts[4] + "$" + parts[5],
		"$argon2id$v=19$m=19456,t=4000000000,p=1$" + parts[4] + "$" + parts[5],
		"$argon2id$v=19$m=19456,t=2,p=0$" + parts[4] + "$" + parts[5], "$argon2id$v=19$m=19456,t=2,p=1$!!$" + parts[5],
		"$argon2id$v=19$m=19456,t=2,p=1$" + parts[4] + "$", "$2b$12$abcdefghijklmnopqrstuv",
	} {
		w.users[1].PasswordHash = bad
		for _, password := range []string{"", "bob-pw", "x"} {
			if _, _, err := a.Check(t.Context(), "bob", password, ""); err == nil {
				t.Errorf("the hash %q lets in with %q", bad, password)
			}
		}
		w.pass(time.Hour)
	}
	// Another cost, as another program may have chosen it.
	key := argon2.IDKey([]byte("password"), []byte("somesalt"), 3, 64, 2, 24)
	w.users[1].PasswordHash = "$argon2id$v=19$m=64,t=3,p=2$c29tZXNhbHQ$" + base64.RawStdEncoding.EncodeToString(key)
	if _, _, err := a.Check(t.Context(), "bob", "password", ""); err != nil {
		t.Errorf("another cost: %v", err)
	}
}

func BenchmarkLoginFirst(b *testing.B) {
	w, a := start(b, func(c *auth.Config) { c.Remember = 0 })
	w.users[1].PasswordHash = hash(b, a, "bob-pw")
	for b.Loop() {
		_, _, _ = a.Check(b.Context(), "bob", "bob-pw", "192.0.2.1")
	}
}

func BenchmarkLoginAgain(b *testing.B) {
	_, a := start(b)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = a.Check(b.Context(), "bob", "bob-pw", "192.0.2.1")
	}
}
