// Package upstream is the port to the IMAP server that is mirrored.
//
// Invariants:
//  1. Everything a server says may be a lie: what comes through here is bounded and well-formed, not true.
//  2. A command whose answer did not arrive whole has Err set: its results so far are not complete and must not be
//     read as "there is no more".
//  3. Names are the server's own bytes (modified UTF-7 or UTF-8), without quoting.
//  4. Every call has a deadline: the context's, and the adapter's own for silence.
package upstream

import (
	"context"
	"errors"
	"io"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
)

// Dialer opens connections.
type Dialer interface {
	// Dial connects, secures, logs in, asks for capabilities and enables what the server offers and is known to do
	// well. A failure is a *StepError.
	Dial(ctx context.Context, t Target) (Conn, error)
}

// Target is where to connect and as whom.
type Target struct {
	account.Endpoint
	Auth     string // SASL mechanism or "LOGIN"; empty: the best offered
	Username string
	Password []byte
}

// Step is a stage of connecting.
type Step string

// The steps in order.
const (
	StepDNS      Step = "DNS"
	StepTCP      Step = "TCP"
	StepTLS      Step = "TLS"
	StepGreeting Step = "greeting"
	StepLogin    Step = "login"
)

// StepError says which step of connecting failed. Its fault kind is Denied when the credentials were refused, else
// Unavailable.
type StepError struct {
	Step Step
	Err  error
}

// Error returns "step: cause".
func (e *StepError) Error() string { return string(e.Step) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// Refusal is a NO or BAD, or a BYE, from the server.
type Refusal struct {
	Status string        // "NO", "BAD" or "BYE"
	Code   string        // the response code's name in upper case, for example "UNAVAILABLE"; empty without one
	Text   string        // the server's text, made printable and bounded
	Vague  bool          // nothing in it says whether waiting helps: that its kind is Unavailable is a guess
	Retry  time.Duration // how long the server asked to wait, or a default where it only said that it throttles; else 0
}

// Error returns the refusal in one line.
func (r *Refusal) Error() string {
	s := r.Status
	if r.Code != "" {
		s += " [" + r.Code + "]"
	}
	return s + " " + r.Text
}

// Server is what is known of the server after login.
type Server struct {
	Greeting     string
	ID           map[string]string // the server's ID answer; nil when it was not asked or gave none
	Capabilities []string          // in upper case, as given after login
	Quirks       []string          // names of the quirks in force, for diagnosis

	// What may be used, after quirks: an advertised capability that is known to be broken is false here.
	CondStore  bool
	QResync    bool // enabled on this connection
	ListStatus bool
	SpecialUse bool
	Idle       bool
	UIDPlus    bool
	Unselect   bool
	Move       bool
	ESearch    bool
	UTF8       bool          // UTF8=ACCEPT is enabled: names are UTF-8
	NoExamine  bool          // EXAMINE is not to be relied upon: use SELECT
	PollBy     time.Duration // how often to look when there is no push; 0: the caller's choice

	LiteralPlus      bool
	CreateSpecialUse bool
	AppendLimit      int64 // octets of one message (RFC 7889); 0: not said, or different from mailbox to mailbox
}

// Conn is a logged-in connection. Do may be called from several goroutines: commands are sent in the order of the
// calls and pipelined; who selects mailboxes orders the calls.
type Conn interface {
	Server() Server
	// Do sends the commands in one flush, without waiting between them, and returns when each is answered. It fails
	// only when the connection is lost (then it is lost for good); a refusal is in the command's Err. Callbacks run
	// one at a time, in the order of the answers, and must not call Do. When ctx ends first, Do returns its error, also
	// as the Err of every command that was not answered, runs no further callback of them, and the connection lives:
	// what the server still answers is dropped, and the connection is closed only if that takes long, or while the octets
	// of an Append are being sent.
	Do(ctx context.Context, cmds ...Command) error
	// Idle waits for news of the selected mailbox: with IDLE, re-issued in time, until ctx is done or fn returns
	// false, and then returns nil with the connection ready for commands. Without IDLE it fails with fault.Invalid.
	// News that came before the call, during other commands, is reported first. A Do meanwhile interrupts IDLE, which
	// is issued again after it.
	Idle(ctx context.Context, fn func(Event) bool) error
	// Close logs out when that takes no time, and closes.
	Close() error
}

// News is an optional interface of a Conn, for who does not idle.
type News interface {
	// TakeNews returns what the server said of the selected mailbox without being asked, since the last call, the last
	// Select or the last event of Idle: the zero Event when it said nothing.
	TakeNews() Event
}

// Meter is an optional interface of a Conn, for diagnosis and tests.
type Meter interface{ Usage() Usage }

// Usage is what a connection has used, since it was dialed.
type Usage struct {
	Commands int64 // sent, those of connecting included
	Sent     int64 // octets, below TLS's own
	Received int64
}

// Event is unsolicited news of the selected mailbox: a reason to look. UID is 0 when the server named a sequence
// number only.
type Event struct {
	Exists  bool // more or other messages
	Expunge bool
	Flags   bool
}

// Command is one of the types below.
type Command interface{ Result() *Outcome }

// Outcome is what every command has after Do.
type Outcome struct {
	Err error // nil after OK; a *Refusal (its kind through fault) after NO or BAD; else the connection's end
	// Sent is false only when no octet of the command has reached the server: then it certainly was not carried out.
	Sent bool
}

// Uncertain says that the command failed and may have been carried out, wholly or in part: it was sent, and was not
// answered by NO or BAD.
func (o *Outcome) Uncertain() bool {
	if o.Err == nil || !o.Sent {
		return false
	}
	var r *Refusal
	return !errors.As(o.Err, &r) || r.Status == "BYE"
}

// Result returns the outcome itself, so that every command is a Command.
func (o *Outcome) Result() *Outcome { return o }

// List asks for all mailboxes.
type List struct {
	Status bool // with STATUS of each, in the same command, where ListStatus is offered

	Outcome
	Mailboxes []Listed
}

// Listed is one mailbox of a listing.
type Listed struct {
	Name      string
	Delimiter byte // 0 is NIL
	Attrs     mailbox.Attr
	NonExist  bool    // \NonExistent
	Status    *Status // nil: not asked, not given, or not selectable
}

// Status asks for a mailbox's counts; fields that the server did not give are 0.
type Status struct {
	Name string

	Outcome
	Messages      uint32
	UIDNext       uint32
	UIDValidity   uint32
	HighestModSeq uint64
}

// ErrSilent is how Do fails that was given up because nothing arrived for too long: the server may only be slow, and carry
// out later what it was sent.
var ErrSilent = fault.New(fault.Unavailable, "read from the upstream", "it fell silent")

// Absent says whether the command was refused for good with NO: the mailbox cannot be opened by that name any more. A BAD
// says nothing about the mailbox.
func (s *Status) Absent() bool {
	var refusal *Refusal
	if !errors.As(s.Err, &refusal) || refusal.Status != "NO" || refusal.Retry > 0 {
		return false
	}
	return fault.Is(s.Err, fault.NotFound) || fault.Is(s.Err, fault.Forbidden) || fault.Is(s.Err, fault.Invalid)
}

// Select opens a mailbox: with EXAMINE where ReadOnly and the server's EXAMINE can be relied upon.
type Select struct {
	Name     string
	ReadOnly bool
	Resync   *Resync             // QRESYNC, only where Server.QResync
	OnChange func(Message) error // flag changes that QRESYNC reports; UID and Flags are set

	Outcome
	Messages      uint32
	UIDNext       uint32 // 0: not given
	UIDValidity   uint32 // 0: not given
	HighestModSeq uint64 // 0: NOMODSEQ or not given
	Vanished      mailbox.Set
	Permanent     flag.Set // PERMANENTFLAGS
	AnyKeyword    bool     // PERMANENTFLAGS has \*
}

// Resync is the state from which QRESYNC reports (RFC 7162 section 3.2.5).
type Resync struct {
	UIDValidity uint32
	ModSeq      uint64
}

// Item is what Fetch asks for; UID always comes.
type Item uint8

// The items. ItemIdent is the header fields from which message.Identify computes a message's identity.
const (
	ItemFlags Item = 1 << iota
	ItemDate
	ItemSize
	ItemIdent
	ItemBody
	ItemMeta = ItemFlags | ItemDate | ItemSize | ItemIdent
)

// Fetch is UID FETCH. Answers for messages that were not asked for are passed on too when they carry a UID.
type Fetch struct {
	UIDs         mailbox.Set
	Open         bool // UIDs' last number stands for "*": its last range is sent as "first:*"
	Items        Item
	ChangedSince uint64 // 0: all
	Vanished     bool   // with ChangedSince, where QResync
	Offset       int64  // ItemBody: the bytes from here on (BODY.PEEK[]<offset.n>); one UID only
	// OnMessage gets every answer. With ItemBody, Body is set and is read during the call: what is left of it is
	// discarded. An error ends the callbacks of this command and becomes its Err; the connection lives.
	OnMessage func(Message) error

	Outcome
	Gone mailbox.Set // VANISHED
}

// Message is one FETCH answer. Has tells which items the server gave.
type Message struct {
	UID    uint32
	Has    Item
	Flags  flag.Set
	ModSeq uint64 // 0: not given
	Date   time.Time
	Size   int64
	Header []byte    // ItemIdent: the raw header lines; valid during the call
	Body   io.Reader // ItemBody: BodySize bytes
	// BodySize is the length the server announced, of what Body gives: from Fetch.Offset on. It is the size the message
	// has unless the connection breaks.
	BodySize int64
}

// Identity computes the message's identity from what ItemMeta gave.
func (m *Message) Identity() message.Identity { return message.Identify(m.Header, m.Size, m.Date) }

// Enumerate asks for every UID of the selected mailbox.
type Enumerate struct {
	Outcome
	UIDs mailbox.Set
}

// Noop asks for nothing; news comes on the way.
type Noop struct{ Outcome }

// Unselect leaves the selected mailbox: with UNSELECT where it is offered, else with CLOSE where it was opened by EXAMINE,
// which removes nothing, else it is a NOOP, which at least brings the selection up to date. Servers answer STATUS of the
// selected mailbox from what the selection has seen (RFC 9051 section 6.3.11 advises against asking).
type Unselect struct{ Outcome }
