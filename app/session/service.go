package session

import (
	"context"
	"log/slog"
	"runtime"
	"sync"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/audit"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/events"
	"imapped/ports/metadata"
)

// DefaultMemory is the snapshot budget where Config has none: 32 MiB, about a million messages.
const DefaultMemory = 32 << 20

// Checker says who a client is; app/auth is one. Its errors are those of Server.Login. An account that is not nil is
// the only one that the session shows.
type Checker interface {
	Check(ctx context.Context, name, password, remote string) (account.User, *account.Account, error)
}

// Upstreams tells how mailboxes are called upstream; a metadata.Mirror does.
type Upstreams interface {
	Mirrored(ctx context.Context, acc account.ID) ([]metadata.Mirrored, error)
}

// Config is what a Service works on.
type Config struct {
	Auth      Checker
	Accounts  metadata.Accounts
	Mailboxes metadata.Mailboxes
	Messages  metadata.Messages
	Blobs     blob.Stores
	Bus       events.Bus
	Edits     metadata.Edits
	Folders   metadata.Folders
	// Upstreams says how the upstream separates the parts of a name, so that a name that it cannot have is refused at
	// once. nil: nobody knows, and such a name is refused when it gets there.
	Upstreams Upstreams
	Bodies    BodySource // nil: a body that is not stored is unavailable
	// Drop makes the owner of the account forget that a body is stored, because it turned out to be corrupt
	// (metadata.Bodies.DropContent). nil: a corrupt body stays unavailable.
	Drop func(ctx context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) error
	// Watch hears which mailboxes are open, so that their news comes sooner, until the returned function is called. nil:
	// nobody wants to know.
	Watch func(acc account.ID, id mailbox.ID) (stop func())
	// Changed hears of every commit that put something into an account's mutation queue, so that it goes upstream at
	// once. It must not block. nil: nobody wants to know.
	Changed func(acc account.ID)
	// Audit gets a record of every login. nil: nobody does.
	Audit audit.Log
	// OnLookup hears what became of each look at what is kept here: of cache "snapshot" (of a mailbox) "current", "advanced"
	// by what came after it, or "loaded" whole; of cache "body" "stored", or "fetched" or "streamed" from the upstream. It must
	// not block. nil: nobody wants to know.
	OnLookup func(cache, result string)
	Quota    int64 // octets of mail that an account may hold; 0: any number
	Clock    clock.Clock
	Log      *slog.Logger // nil: slog.Default
	Memory   int64        // octets for snapshots of mailboxes that no session has open; 0: DefaultMemory
	Searches int          // how many searches compute at the same time; 0: one less than the processors
}

// Service lets clients in. Any number of goroutines may use it.
type Service struct {
	c         Config
	snapshots *snapshots
	gate      *gate
}

var _ Server = (*Service)(nil)

// New returns the service. It starts nothing and needs no closing.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.Searches == 0 {
		c.Searches = max(1, runtime.GOMAXPROCS(0)-1)
	}
	s := &Service{
		c:         c,
		snapshots: newSnapshots(c.Mailboxes, c.Messages, c.Memory),
		gate:      newGate(c.Clock, c.Searches),
	}
	s.snapshots.looked = s.looked
	return s
}

// Login implements Server.
func (s *Service) Login(ctx context.Context, c Credentials) (Session, error) {
	user, scope, err := s.c.Auth.Check(ctx, c.User, c.Password, c.Remote)
	if s.c.Audit != nil {
		s.c.Audit.Record(ctx, audit.Record{
			Action: "log in", Actor: audit.Clip(c.User), Subject: user.Name, Remote: c.Remote, Session: c.Session, Outcome: audit.Outcome(err),
		})
	}
	if err != nil {
		return nil, fault.Wrap("log in", err)
	}
	return &login{svc: s, user: user, scope: scope, blobs: blob.Of(s.c.Blobs, user.ID)}, nil
}

// looked tells Config.OnLookup.
func (s *Service) looked(cache, result string) {
	if s.c.OnLookup != nil {
		s.c.OnLookup(cache, result)
	}
}

// login is one logged-in client.
type login struct {
	svc   *Service
	user  account.User
	scope *account.Account // the only account shown; nil: all of the user's
	blobs blob.Store       // the user's

	mu    sync.Mutex
	known []known // where names led before, at most maxKnown; each is checked when it is used
}

// known is where a name led.
type known struct {
	asked   string // as the client wrote it
	name    string // as place has it
	stored  string // the mailbox's name in its account then
	account account.ID
	mailbox mailbox.ID
	local   bool
	inbox   int
}

// User implements Session.
func (l *login) User() string { return l.user.Name }

// Close implements Session. Mailboxes are closed by whoever opened them.
func (l *login) Close() {}

// Status implements Session.
func (l *login) Status(ctx context.Context, name string) (Status, error) {
	const op = "status"
	p, err := l.find(ctx, name)
	if err != nil {
		return Status{}, fault.Wrap(op, err)
	}
	if p.placeholder() {
		return Status{}, fault.New(fault.Invalid, op, onlyHolds)
	}
	st, err := l.svc.status(ctx, p.info)
	return st, fault.Wrap(op, err)
}

// publish tells the sessions of the process that a client changed mailboxes of one account (0: its list of mailboxes),
// and, unless the account is a local one, that there is something to do upstream.
func (s *Service) publish(acc account.ID, local bool, hints ...events.Hint) {
	for _, h := range hints {
		h.Account = acc
		s.c.Bus.Publish(h)
	}
	if !local && s.c.Changed != nil {
		s.c.Changed(acc)
	}
}

// status returns the counters that info gives, and counts what it does not: the recent messages.
func (s *Service) status(ctx context.Context, info mailbox.Info) (Status, error) {
	st := Status{
		Messages: info.Messages, Unseen: info.Unseen, Deleted: info.Deleted, UIDNext: info.UIDNext,
		UIDValidity: info.UIDValidity, HighestModSeq: info.HighestModSeq, Size: info.Size,
		DeletedSize: info.DeletedSize,
		MailboxID:   mailboxID(info.ID),
	}
	switch {
	case info.RecentFrom <= 1:
		st.Recent = info.Messages
	case info.RecentFrom < info.UIDNext && info.Messages > 0:
		recent := mailbox.Set{{First: uint32(info.RecentFrom), Last: uint32(info.UIDNext) - 1}}
		err := s.c.Messages.Identities(ctx, info.Account, info.ID, recent, func(metadata.Identity) error {
			st.Recent++
			return nil
		})
		if err != nil {
			return Status{}, fault.Wrap("count recent messages", err)
		}
		st.Recent = min(st.Recent, st.Messages)
	}
	return st, nil
}
