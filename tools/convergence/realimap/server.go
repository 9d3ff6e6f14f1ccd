package realimap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	adapter "imapped/adapters/upstream"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/upstream"
	"imapped/tools/convergence/upstreamsim"
)

// Config says where the server is, and what our processes get to see of it.
type Config struct {
	Addr           string // host:port, without TLS
	User, Password string
	Delimiter      byte
	Hide           upstream.Server // true: such a capability is hidden from our processes
	Only           []string        // the keywords that our processes may set; nil: any
	Seed           uint64          // of where connections are cut
	// Shell runs a script where the server keeps the mail, as somebody who may write it.
	Shell func(ctx context.Context, script string) error
	Home  string // the user's Maildir there
}

// ErrStalled says that the server left a command without an answer for so long, or answered it so, that nobody can say any
// more whether it takes effect. Dovecot does so now and then, when several sessions are busy with a mailbox that one of them
// deletes or renames.
var ErrStalled = errors.New("the server does not say what it did")

// patience is how long the server may take for anything.
const patience = 10 * time.Second

// Server is the account of one user on an IMAP server.
type Server struct {
	upstreamsim.Schedule

	c        Config
	direct   adapter.Dialer // of the other client
	ours     adapter.Dialer // of our processes
	listener net.Listener
	ended    sync.WaitGroup // of everything that the proxy runs
	opening  sync.RWMutex   // held while a connection is opened; Reset holds it against that

	acting sync.Mutex // held while the other client does something
	conn   upstream.Conn

	mu       sync.Mutex
	links    map[*link]bool
	commands int
	still    int           // while it is not 0, nothing of ours is sent on
	changed  chan struct{} // closed and replaced at each change
	rnd      *rand.Rand
	shadow   shadow
	err      error
	log      func(format string, args ...any)
}

// New connects to the server, where the account must be empty.
func New(c Config) (*Server, error) {
	s := &Server{
		c: c, links: map[*link]bool{}, changed: make(chan struct{}), rnd: rand.New(rand.NewPCG(c.Seed, 12)), //nolint:gosec // not a secret
		direct: adapter.Dialer{Silence: patience}, ours: adapter.Dialer{Silence: patience, Drain: 500 * time.Millisecond},
		shadow: newShadow(), log: func(string, ...any) {},
	}
	var err error
	if s.listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.ended.Go(s.accept)
	if boxes := s.Boxes(); s.Err() == nil && (len(boxes) != 1 || len(boxes[0].Messages) > 0) {
		s.fail(fmt.Errorf("the account of %s is not empty: %d mailboxes", c.User, len(boxes)))
	}
	if err := s.Err(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Log makes the server tell what it does. It is called before the first Dial.
func (s *Server) Log(log func(format string, args ...any)) { s.log = log }

// Err returns what the server did that no server should, or how it cannot be reached; nil: nothing of the kind.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail notes the first error.
func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("the upstream: %w", err)
	}
}

// Close loses all connections and waits for what served them.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.Calm()
	s.Cut()
	s.ended.Wait()
	s.acting.Lock()
	defer s.acting.Unlock()
	s.hangUp()
}

// target is where and as whom to log in.
func (s *Server) target(addr string) (upstream.Target, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return upstream.Target{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return upstream.Target{
		Endpoint: account.Endpoint{Host: host, Port: uint16(n), TLS: account.TLSPlain},
		Username: s.c.User, Password: []byte(s.c.Password),
	}, err
}

// Dial implements upstream.Dialer, for our processes.
func (s *Server) Dial(ctx context.Context, _ upstream.Target) (upstream.Conn, error) {
	if f := s.Take(upstreamsim.ClassDial); f != nil {
		if f.Told != nil {
			f.Told("dial")
		}
		if f.Do == upstreamsim.BlackHole {
			<-ctx.Done()
			return nil, &upstream.StepError{Step: upstream.StepTCP, Err: fault.As(fault.Unavailable, "dial", context.Cause(ctx))}
		}
		return nil, &upstream.StepError{Step: upstream.StepTCP, Err: fault.New(fault.Unavailable, "dial", "connection refused")}
	}
	t, err := s.target(s.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	return s.ours.Dial(ctx, t)
}

// accept serves connections until the listener is closed.
func (s *Server) accept() {
	for {
		client, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.ended.Go(func() { s.serve(client) })
	}
}

// serve passes on what a connection says, until it ends.
func (s *Server) serve(client net.Conn) {
	s.Drain()
	s.opening.RLock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	server, err := new(net.Dialer).DialContext(ctx, "tcp", s.c.Addr)
	cancel()
	if err != nil {
		s.opening.RUnlock()
		_ = client.Close()
		s.fail(err)
		return
	}
	l := newLink(s, client, server)
	s.mu.Lock()
	s.links[l] = true
	s.mu.Unlock()
	s.opening.RUnlock()
	lost := l.run()
	s.mu.Lock()
	delete(s.links, l)
	s.mu.Unlock()
	s.touch(lost)
}

// Cut loses every connection of our processes.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		l.hangUp()
	}
}

// Commands returns how many commands of our processes were answered, or lost, so far, and a channel that is closed at the
// next change.
func (s *Server) Commands() (int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands, s.changed
}

// touch tells of a change, which may be the end of some commands.
func (s *Server) touch(commands int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands += commands
	close(s.changed)
	s.changed = make(chan struct{})
}

// random returns a number below n.
func (s *Server) random(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

// hangUp ends the other client's connection; s.acting is held.
func (s *Server) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// do sends commands of the other client; s.acting is held. Its error is the connection's end.
func (s *Server) do(cmds ...upstream.Command) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.conn == nil {
		t, err := s.target(s.c.Addr)
		if err != nil {
			return err
		}
		if s.conn, err = s.direct.Dial(ctx, t); err != nil {
			s.conn = nil
			return err
		}
	}
	err := s.conn.Do(ctx, cmds...)
	if err != nil {
		s.hangUp()
	}
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		s.fail(ErrStalled)
	}
	return err
}
