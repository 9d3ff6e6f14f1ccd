package upstreamsim

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/upstream"
)

// Config is what a Server offers.
type Config struct {
	Features  upstream.Server
	Delimiter byte
	// Keywords are those that mailboxes keep. AnyKeyword: all are (PERMANENTFLAGS has \*).
	Keywords   []string
	AnyKeyword bool
	Parents    bool // LIST shows names that only hold others, as \NonExistent
}

// Server is the model of an IMAP server, for one user.
type Server struct {
	Schedule

	c Config

	mu       sync.Mutex
	boxes    map[string]*Box
	names    map[[2]uint32]*Message // every message that ever was, by UIDVALIDITY and UID
	validity uint32
	changed  chan struct{} // closed and replaced at each change
	conns    map[*conn]bool
	commands int
	unlucky  []*Message // see Unlucky
	log      func(format string, args ...any)
}

// Box is a mailbox. Its pointer names it, whatever it is called.
type Box struct {
	name     string
	attrs    mailbox.Attr
	validity uint32
	next     uint32
	modseq   uint64
	msgs     []*Message // in the order of UIDs
	vanished []gone
	removed  bool
}

type gone struct {
	uid    uint32
	modseq uint64
}

// Message is a message in a mailbox. Its pointer names it, also when its UID changes with the UIDVALIDITY.
type Message struct {
	Raw  string // never changed
	Date time.Time
	From *Message // what it was copied or moved from; nil: it was delivered or appended

	uid    uint32
	flags  flag.Set
	modseq uint64
	born   int // the count of commands when the direct client put it there
	marked int // the same when it marked it \Deleted
}

// New returns a server with an empty INBOX.
func New(c Config) *Server {
	if c.Delimiter == 0 {
		c.Delimiter = '/'
	}
	s := &Server{
		c: c, boxes: map[string]*Box{}, names: map[[2]uint32]*Message{}, validity: 1000, changed: make(chan struct{}), conns: map[*conn]bool{},
		log: func(string, ...any) {},
	}
	s.make("INBOX", 0)
	return s
}

// Log makes the server tell what it does. It is called before the first Dial.
func (s *Server) Log(log func(format string, args ...any)) { s.log = log }

// Dial implements upstream.Dialer.
func (s *Server) Dial(ctx context.Context, _ upstream.Target) (upstream.Conn, error) {
	if f := s.Take(ClassDial); f != nil {
		if f.Do == BlackHole {
			<-ctx.Done()
			return nil, &upstream.StepError{Step: upstream.StepTCP, Err: fault.As(fault.Unavailable, "dial", context.Cause(ctx))}
		}
		return nil, &upstream.StepError{Step: upstream.StepTCP, Err: fault.New(fault.Unavailable, "dial", "connection refused")}
	}
	c := &conn{s: s, dead: make(chan struct{}), looked: map[*Box]int{}, called: map[string]*Box{}}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	return c, nil
}

// touch tells of a change; s.mu is held.
func (s *Server) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// make creates a mailbox; s.mu is held, or s is nobody else's yet.
func (s *Server) make(name string, attrs mailbox.Attr) *Box {
	s.validity++
	b := &Box{name: name, attrs: attrs, validity: s.validity, next: 1, modseq: 1}
	s.boxes[name] = b
	return b
}

// add puts a message at the end of a mailbox.
func (s *Server) add(b *Box, m *Message) {
	b.modseq++
	m.uid, m.modseq = b.next, b.modseq
	b.next++
	b.msgs = append(b.msgs, m)
	s.names[[2]uint32{b.validity, m.uid}] = m
}

// drop expunges a message.
func (b *Box) drop(m *Message) {
	b.modseq++
	b.vanished = append(b.vanished, gone{m.uid, b.modseq})
	b.msgs = slices.DeleteFunc(b.msgs, func(x *Message) bool { return x == m })
}

// set gives a message flags.
func (b *Box) set(m *Message, flags flag.Set) {
	if !flags.Equal(m.flags) {
		b.modseq++
		m.flags, m.modseq = flags, b.modseq
	}
}

func (b *Box) version() [3]uint64 { return [3]uint64{uint64(b.next), uint64(len(b.msgs)), b.modseq} }

// below says whether name is in the hierarchy under parent.
func (s *Server) below(name, parent string) bool {
	return strings.HasPrefix(name, parent+string(s.c.Delimiter))
}

// permanent is what the server keeps of flags.
func (s *Server) permanent() flag.Set { return flag.Make(flag.AllSystem, s.c.Keywords...) }

func (s *Server) keep(f flag.Set) flag.Set {
	if s.c.AnyKeyword {
		return f
	}
	return f.Minus(f.Minus(s.permanent()))
}
