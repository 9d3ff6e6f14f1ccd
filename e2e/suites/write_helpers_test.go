package suites

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
	"imapped/tools/faultproxy"
)

// pair is an account of a mirror's and its upstream, with a line between them that can be broken.
type pair struct {
	w     *world
	user  string
	proxy *faultproxy.Proxy
	p     *harness.Process
}

// paired starts a mirror that is complete and reaches its upstream through a fault proxy.
func paired(t *testing.T, w *world, user string, boxes []harness.Box) *pair {
	t.Helper()
	proxy, err := faultproxy.Listen("127.0.0.1:0", w.dovecot.Addr)
	must(t, err)
	t.Cleanup(func() { proxy.Close() })
	s := pairedBy(t, w, user, proxy.Addr(), boxes)
	s.proxy = proxy
	return s
}

// pairedBy is paired with a way to the upstream of the test's own.
func pairedBy(t *testing.T, w *world, user, addr string, boxes []harness.Box) *pair {
	t.Helper()
	s := &pair{w: w, user: user}
	var err error
	s.p, err = account(t, w, user, addr, boxes).Start(context.WithoutCancel(t.Context()))
	must(t, err)
	t.Cleanup(func() {
		if err := s.p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of imapped:\n%s", s.p.Log())
		}
	})
	messages, _ := harness.Count(boxes)
	must(t, s.p.Synced(t.Context(), messages, 2*time.Minute))
	must(t, s.p.Force(t.Context()))
	return s
}

// offline takes the upstream away: what is connected is cut, and nothing connects.
func (s *pair) offline(t *testing.T) {
	t.Helper()
	must(t, s.proxy.Set(faultproxy.Faults{Refuse: true}))
	s.proxy.Cut()
}

// silent takes the upstream away as well: it accepts everything and answers nothing.
func (s *pair) silent(t *testing.T) {
	t.Helper()
	must(t, s.proxy.Set(faultproxy.Faults{BlackHole: true}))
}

// online gives it back.
func (s *pair) online(t *testing.T) {
	t.Helper()
	must(t, s.proxy.Set(faultproxy.Faults{}))
}

// force waits until the mirror is in step with an upstream that can be reached again: what runs already may end with the
// trouble of before.
func (s *pair) force(t *testing.T) {
	t.Helper()
	must(t, harness.Eventually(t.Context(), time.Minute, "the mirror is in step", func() (bool, error) {
		err := s.p.Force(t.Context())
		return err == nil, err
	}))
}

// restart ends the process, by kill -9 where hard, and starts it again on the same data.
func (s *pair) restart(t *testing.T, hard bool) {
	t.Helper()
	if hard {
		s.p.Kill()
	} else {
		must(t, s.p.Stop())
	}
	p, err := s.p.Mirror.Start(context.WithoutCancel(t.Context()))
	must(t, err)
	s.p = p
}

// ours and theirs return a client of the mirror and one of the upstream.
func (s *pair) ours(t *testing.T) *imapc.Client   { t.Helper(); return login(t, s.p.Login) }
func (s *pair) theirs(t *testing.T) *imapc.Client { t.Helper(); return upstreamLogin(t, s.w, s.user) }

// content is what an account has: for each mailbox, by its name as it is sent, a line for each message, sorted.
type content map[string][]string

// listing returns the selectable mailboxes of an account, by their names as they are sent.
func listing(c *imapc.Client) ([]string, error) {
	r, err := c.Cmd(`LIST "" "*"`)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range r.Untagged {
		if u.Name != "LIST" || len(u.Data) < 3 {
			continue
		}
		selectable := true
		for _, a := range u.Data[0].Texts() {
			if strings.EqualFold(a, `\Noselect`) || strings.EqualFold(a, `\NonExistent`) {
				selectable = false
			}
		}
		if selectable {
			names = append(names, u.Data[2].Text)
		}
	}
	return names, nil
}

// contents reads a whole account.
func contents(c *imapc.Client) (content, error) {
	names, err := listing(c)
	if err != nil {
		return nil, err
	}
	all := content{}
	for _, name := range names {
		rows, err := fetchNamed(c, imapc.Quote(name), itemsBody)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		lines := make([]string, len(rows))
		for i, m := range rows {
			if lines[i], err = line(m); err != nil {
				return nil, err
			}
		}
		slices.Sort(lines)
		all[name] = lines
	}
	return all, nil
}

// whole reads a whole account over a connection of its own: a mailbox that goes while it is selected may end one.
func whole(ctx context.Context, in loginer) (content, error) {
	c, err := in(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return contents(c)
}

// here and there return what the mirror and the upstream have.
func (s *pair) here(t *testing.T) (content, error) { return whole(t.Context(), s.p.Login) }

func (s *pair) there(t *testing.T) (content, error) {
	return whole(t.Context(), func(ctx context.Context) (*imapc.Client, error) { return s.w.dovecot.Login(ctx, s.user) })
}

// line is a message without its UID.
func line(m row) (string, error) {
	at, err := time.Parse("02-Jan-2006 15:04:05 -0700", m.date)
	return fmt.Sprintf("%x %d octets of %d (%s)", m.sha[:6], m.length, at.Unix(), m.flags), err
}

// differences lists how two accounts differ, at most 20 lines of it.
func differences(ours, theirs content) []string {
	var out []string
	names := maps.Clone(ours)
	maps.Copy(names, theirs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		a, here := ours[name]
		b, there := theirs[name]
		switch {
		case !there:
			out = append(out, fmt.Sprintf("%s is only here, with %d messages", name, len(a)))
		case !here:
			out = append(out, fmt.Sprintf("%s is only there, with %d messages", name, len(b)))
		case !slices.Equal(a, b):
			out = append(out, fmt.Sprintf("%s: %d messages here, %d there; only here %q, only there %q", name, len(a), len(b),
				minus(a, b), minus(b, a)))
		}
	}
	if n := len(out); n > 20 {
		out = append(out[:20], fmt.Sprintf("and %d more", n-20))
	}
	return out
}

// minus returns the lines of a that b has not, counting equal ones, at most 5 of them.
func minus(a, b []string) []string {
	left := map[string]int{}
	for _, l := range b {
		left[l]++
	}
	var out []string
	for _, l := range a {
		if left[l]--; left[l] < 0 && len(out) < 5 {
			out = append(out, l)
		}
	}
	return out
}

// agree waits until both sides have the same mailboxes, messages, dates and flags, and nothing waits but what is parked,
// which it returns with what both sides have.
func (s *pair) agree(t *testing.T, within time.Duration) (content, []harness.Mutation) {
	t.Helper()
	parked, err := s.p.Settled(t.Context(), within)
	must(t, err)
	var here content
	var diff []string
	err = harness.Eventually(t.Context(), within, "both sides agree", func() (bool, error) {
		err := s.p.Force(t.Context())
		if err != nil {
			return false, err
		}
		if here, err = s.here(t); err != nil {
			return false, err
		}
		there, err := s.there(t)
		if err != nil {
			return false, err
		}
		diff = differences(here, there)
		return len(diff) == 0, nil
	})
	if err != nil {
		t.Fatalf("%v:\n%s\nparked: %+v", err, strings.Join(diff, "\n"), parked)
	}
	return here, parked
}

// nothingParked reports what is.
func nothingParked(t *testing.T, parked []harness.Mutation) {
	t.Helper()
	for _, m := range parked {
		t.Errorf("parked: %+v", m)
	}
}

// inTurn sends commands one after the other; all must be OK.
func inTurn(t *testing.T, c *imapc.Client, commands ...string) {
	t.Helper()
	for _, text := range commands {
		cmd(t, c, text)
	}
}

// pipeline sends commands in one burst and waits until all are OK, in whatever order (RFC 9051 section 5.5); answered is
// called for each that is.
func pipeline(c *imapc.Client, answered func(i int), commands ...string) error {
	var burst strings.Builder
	for i, text := range commands {
		fmt.Fprintf(&burst, "p%d %s\r\n", i, text)
	}
	sent := make(chan error, 1)
	go func() { sent <- c.Write([]byte(burst.String())) }()
	for range commands {
		r, err := c.Read()
		for err == nil && r.Tag == "*" {
			r, err = c.Read()
		}
		if err != nil {
			return err
		}
		i, err := strconv.Atoi(strings.TrimPrefix(r.Tag, "p"))
		if err != nil || i < 0 || i >= len(commands) || r.Name != "OK" {
			return fmt.Errorf("a burst of %d was answered with %+v", len(commands), r)
		}
		answered(i)
	}
	return <-sent
}

// mail returns a small message of its own.
func mail(id string, size int) []byte {
	head := "From: a@example.org\r\nTo: b@example.org\r\nDate: Mon, 03 Feb 2003 10:00:00 +0000\r\nSubject: " + id +
		"\r\nMessage-ID: <" + id + "@write.example>\r\n\r\n"
	return []byte(head + strings.Repeat(id+" and nothing but that.\r\n", 1+size/(len(id)+24)))
}
