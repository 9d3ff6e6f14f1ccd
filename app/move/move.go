// Package move copies an installation from the stores of one process into those of many: its metadata through
// ports/transfer, its messages from one blob store into another. Every UID, mod-sequence and entry of the queue stays what it
// is, so that no client and no upstream notices.
//
// Invariants:
//  1. Order. Secrets are tried first, then the target's blobs are claimed for the installation; then rows that nobody sees yet are copied, then the blobs that they name, then both
//     sides are compared; users, accounts and mailboxes, which show the rest, come last, in one transaction.
//  2. It can be ended at any moment and begun again: it goes on after the last batch, and with the blobs that are missing. When the
//     source has changed meanwhile, it begins anew.
//  3. A blob goes into the store of each user who has a message with it, under its key, and only if its bytes have that
//     hash. One that is missing or damaged in the source stops nothing: its message loses its body, which is fetched again,
//     unless the upstream does not have it.
//  4. Memory is bounded by the batches under way, and by the number of accounts and of blobs that are lost.
package move

import (
	"context"
	"sync"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/secrets"
	"imapped/ports/transfer"
)

// Config is what is moved, and where to.
type Config struct {
	Source   transfer.Source
	Bodies   transfer.Bodies
	Sink     transfer.Sink
	From     blob.Store
	To       blob.Stores       // its users are those of the source
	Accounts []account.Account // of the source
	Sealer   secrets.Sealer    // of the target
	Clock    clock.Clock
	// Claim, which may be nil, is called when the sink has let the move begin, before anything is put into To: it makes sure that
	// To belongs to the installation, whose id the target takes over.
	Claim func(ctx context.Context) error
	// Known is what Leave was given last; empty: it was never called.
	Known string
	// Leave, which may be nil, is called when everything is there but not to be seen yet, and again by a Run that finds
	// everything moved: it keeps transfer, and from its return on nobody writes to the source any more.
	Leave func(transfer string) error
	// Progress is told how far it is, by one goroutine at a time. It may be nil.
	Progress func(Progress)
	// Rows and Bytes bound a batch; Workers is how many groups of blobs are copied at a time. 4,000, 8 MiB and 8 by default.
	Rows, Bytes, Workers int
}

// Progress is how far one phase is.
type Progress struct {
	Phase       Phase
	Done, Total int64 // rows, or messages; Total is about right
	Bytes       int64 // of messages, that were copied
}

// Phase is what is being done.
type Phase string

// The phases, in their order.
const (
	Metadata Phase = "metadata"
	Messages Phase = "messages"
	Compare  Phase = "comparison"
)

// Report is what was moved.
type Report struct {
	// Already says that everything had been moved before: nothing was done, and the rest is empty.
	Already  bool
	Anew     bool // what an earlier attempt copied was thrown away
	Accounts []Account
	Copied   int64 // blobs
	Present  int64 // blobs that were there already
	Bytes    int64 // of those that were copied
	Lost     []Lost
}

// Account is what was moved of one account, and compared.
type Account struct {
	account.Account
	Mailboxes, Messages, Bodies, Mutations, Removed int64
}

// Lost is a message whose blob is missing or damaged in the source.
type Lost struct {
	transfer.Body
	Damaged bool // else it is missing
}

// Fetched says whether the body is fetched from the upstream again.
func (l Lost) Fetched() bool { return l.Upstream && l.Mailbox != 0 }

// Run moves everything. A failure leaves what was copied for the next Run, unless it is fault.Corrupt: then the two sides are not
// equal, and the next one begins anew.
func Run(ctx context.Context, c Config) (Report, error) {
	const op = "move the installation"
	m := &mover{Config: c, users: map[account.ID]account.UserID{}}
	for _, a := range c.Accounts {
		m.users[a.ID] = a.User
	}
	for _, limit := range []struct {
		n         *int
		byDefault int
	}{{&m.Rows, 4000}, {&m.Bytes, 8 << 20}, {&m.Workers, 8}} {
		if *limit.n <= 0 {
			*limit.n = limit.byDefault
		}
	}
	err := m.run(ctx)
	return m.report, fault.Wrap(op, err)
}

// mover is one Run.
type mover struct {
	Config
	report Report
	id     string // of the transfer
	users  map[account.ID]account.UserID

	mu   sync.Mutex // guards what follows, and the calls of Progress
	done Progress
}

func (m *mover) run(ctx context.Context) error {
	if err := TrySecrets(m.Sealer, m.Accounts); err != nil {
		return err
	}
	origin, err := m.Source.Origin(ctx)
	if err != nil {
		return err
	}
	at, err := m.Sink.Begin(ctx, transfer.Start{Origin: origin, Tables: m.Source.Tables(), Known: m.Known})
	if err != nil {
		return err
	}
	m.id, m.report.Already, m.report.Anew = at.ID, !at.Ended.IsZero(), at.Anew
	if m.report.Already {
		return m.leave()
	}
	if m.Claim != nil {
		if err := m.Claim(ctx); err != nil {
			return err
		}
	}
	if err := m.copyRows(ctx, at); err != nil {
		return err
	}
	if err := m.copyBlobs(ctx); err != nil {
		return err
	}
	return m.finish(ctx)
}

// leave has nobody write to the source any more.
func (m *mover) leave() error {
	if m.Leave == nil {
		return nil
	}
	return m.Leave(m.id)
}

// TrySecrets makes sure that the passwords of the accounts' upstreams can be opened by the sealer of the target.
func TrySecrets(sealer secrets.Sealer, accounts []account.Account) error {
	for _, a := range accounts {
		if len(a.Secret.Sealed) == 0 {
			continue
		}
		if _, err := sealer.Open(a.Secret, a.SecretContext()); err != nil {
			return fault.New(fault.KindOf(err), "open the password of "+a.Email, err.Error())
		}
	}
	return nil
}

// begin begins a phase.
func (m *mover) begin(p Phase, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = Progress{Phase: p, Total: total}
	m.tell()
}

// advance notes that so much more is done.
func (m *mover) advance(n, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done.Done, m.done.Bytes = m.done.Done+n, m.done.Bytes+bytes
	m.tell()
}

// tell tells the caller, with m.mu held.
func (m *mover) tell() {
	if m.Progress != nil {
		m.Progress(m.done)
	}
}

// count returns about how many rows the tables have together for which want says so.
func (m *mover) count(ctx context.Context, want func(transfer.Table) bool) (sum int64, err error) {
	for _, t := range m.Source.Tables() {
		if !want(t) {
			continue
		}
		n, err := m.Source.Count(ctx, t.Name)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
