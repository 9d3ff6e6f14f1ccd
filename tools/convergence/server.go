package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/upstream"
	"imapped/tools/convergence/realimap"
	"imapped/tools/convergence/upstreamsim"
)

// server is the upstream of one history: what our processes dial, the other client, and what goes wrong.
type server interface {
	upstream.Dialer
	Log(log func(format string, args ...any)) // before the first Dial
	Close() error
	// Err is a failure of the server itself.
	Err() error

	Boxes() []upstreamsim.State
	Find(validity, uid uint32) *upstreamsim.Message
	Deliver(b *upstreamsim.Box, raw string, date time.Time, flags flag.Set) *upstreamsim.Message
	SetFlags(b *upstreamsim.Box, m *upstreamsim.Message, op flag.Op) bool
	Expunge(b *upstreamsim.Box, m *upstreamsim.Message) bool
	Copy(b *upstreamsim.Box, m *upstreamsim.Message, to *upstreamsim.Box, move bool) *upstreamsim.Message
	Create(name string, attrs mailbox.Attr) *upstreamsim.Box
	Remove(b *upstreamsim.Box) ([]*upstreamsim.Message, bool)
	Rename(b *upstreamsim.Box, to string) bool
	Reset(b *upstreamsim.Box, first uint32) bool
	Unlucky() []*upstreamsim.Message
	// Still makes what is called before release one moment, as far as the server can.
	Still() (release func())
	// Drain waits until nothing has an effect any more that came by connections that are closed.
	Drain()

	Arm(f upstreamsim.Fault)
	Calm()
	Step()
	Release()
	Cut()
	Commands() (int, <-chan struct{})
}

// servers opens the upstreams of histories: in this process, or, where Addr is given, on IMAP servers with one user for
// each history.
type servers struct {
	Addr, Dot string // host:port of one with "/" between the levels of names, and of one with "."
	Password  string
	Shell     string // the commands of a shell, for Addr and for Dot, that are given scripts
	DotShell  string
	Home      string // of a user, %u, there
}

// users is how many users there were.
var users atomic.Int64

// pace is how much slower than in this process everything is.
func (s servers) pace() int {
	if s.Addr == "" {
		return 1
	}
	return 20
}

// open makes the upstream of a history.
func (s servers) open(h History) (server, error) {
	if s.Addr == "" {
		return inProcess{newUpstream(h.Variant)}, nil
	}
	v := h.Variant
	user := fmt.Sprintf("h%d-%d-%d", h.Seed, os.Getpid(), users.Add(1))
	c := realimap.Config{
		Addr: s.Addr, User: user, Password: s.Password, Delimiter: '/', Seed: h.Seed,
		Hide: upstream.Server{
			CondStore: v.NoCond, QResync: v.NoQResync, ListStatus: v.NoStatus, Idle: v.NoIdle, UIDPlus: v.NoUIDPlus, Move: v.NoMove,
			LiteralPlus: h.Seed%3 == 0, ESearch: h.Seed%5 == 0, Unselect: h.Seed%7 == 0,
		},
		Home: strings.ReplaceAll(s.Home, "%u", user),
	}
	shell := s.Shell
	if v.Dot {
		c.Addr, c.Delimiter, shell = s.Dot, '.', s.DotShell
	}
	if v.NoKeywords {
		c.Only = []string{"$Work"}
	}
	c.Shell = func(ctx context.Context, script string) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", shell) //nolint:gosec // it is the caller's wish
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", shell, err, out)
		}
		return nil
	}
	r, err := realimap.New(c)
	if err != nil {
		return nil, err
	}
	return overIMAP{r}, nil
}

// inProcess is an upstream in this process.
type inProcess struct{ *upstreamsim.Server }

func (inProcess) Close() error  { return nil }
func (inProcess) Still() func() { return func() {} } // each call is a moment
func (inProcess) Drain()        {}                   // what has no effect when a connection ends never has
func (inProcess) Err() error    { return nil }

// overIMAP is an upstream on an IMAP server.
type overIMAP struct{ *realimap.Server }

// Close takes the user's mail away.
func (s overIMAP) Close() error {
	s.Server.Close()
	return s.Clear()
}

func newUpstream(v Variant) *upstreamsim.Server {
	c := upstreamsim.Config{
		Features: upstream.Server{
			CondStore: !v.NoCond, QResync: !v.NoCond && !v.NoQResync, ListStatus: !v.NoStatus, Idle: !v.NoIdle,
			UIDPlus: !v.NoUIDPlus, Move: !v.NoMove, ESearch: true, Unselect: true, LiteralPlus: true,
		},
		AnyKeyword: !v.NoKeywords, Parents: v.Parents,
	}
	if v.NoKeywords {
		c.Keywords = []string{"$Work"}
	}
	if v.Dot {
		c.Delimiter = '.'
	}
	return upstreamsim.New(c)
}
