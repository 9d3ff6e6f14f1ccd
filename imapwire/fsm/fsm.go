// Package fsm is the IMAP session as a state machine: which command runs in which state, what it needs, what it may
// overlap with, where it leads and which capabilities are announced where.
//
// Invariants:
//  1. Every fact about a command stands in session.table, once; code asks this package and never compares names.
//  2. The package holds no state: a connection owns its State and moves it by Row.After.
//  3. Conflict is symmetric, and nothing overlaps with a barrier.
package fsm

//go:generate go run ../../tools/fsmgen -root ../..

import (
	"slices"
	"strconv"
	"strings"
)

// State is a connection's state (RFC 9051 section 3).
type State uint8

// The states. Same is not a state: as a next state it means that the state stays.
const (
	NotAuthenticated State = iota
	Authenticated
	Selected
	LoggedOut

	// States is the number of states.
	States = int(iota)
	Same   = State(iota)
)

// String returns the state's name as the RFC writes it.
func (s State) String() string {
	switch s {
	case NotAuthenticated:
		return "not authenticated"
	case Authenticated:
		return "authenticated"
	case Selected:
		return "selected"
	case LoggedOut:
		return "logout"
	}
	return "same"
}

// Command is a command of the table. A command and its UID form are two.
type Command uint8

// Row returns the command's row.
func (c Command) Row() *Row {
	if int(c) >= Commands {
		c = Unknown
	}
	return &rows[c]
}

// String returns the command's name in upper case.
func (c Command) String() string { return c.Row().Name }

// Flags is what a command needs and does.
type Flags uint8

// The flags; the table explains them.
const (
	NeedsTLS Flags = 1 << iota
	Writes
	UsesSeqs
	BreaksSeqs
	BreaksMailbox
	Barrier
	MayExpunge
)

// Literals says where a command's literals go.
type Literals uint8

// The policies.
const (
	LiteralsNone   Literals = iota // none is expected
	LiteralsArgs                   // into memory, within the argument limit
	LiteralsStream                 // the last one is message data and is passed on while it arrives
)

// Result is the status of a tagged response.
type Result uint8

// The results.
const (
	OK Result = iota
	NO
	BAD
)

// String returns the status as it stands on the wire.
func (s Result) String() string { return [...]string{"OK", "NO", "BAD"}[s] }

// Row is what the table says of a command.
type Row struct {
	Name       string // in upper case
	Label      string // for metrics
	Flags      Flags
	Capability Cap    // needed for the command to be known
	Enable     string // needed to be enabled; empty for none
	Literals   Literals
	OK, NO     State // the next state; Same when it stays
	BAD        State
	RFC        string
}

// Has says whether every flag of f is set.
func (r *Row) Has(f Flags) bool { return r.Flags&f == f }

// After returns the state that follows s when the command was answered with the result.
func (r *Row) After(s State, result Result) State {
	if next := [...]State{r.OK, r.NO, r.BAD}[result]; next != Same {
		return next
	}
	return s
}

// Verdict says what is to be done with a command.
type Verdict uint8

// The verdicts.
const (
	WrongState     Verdict = iota // BAD
	UnknownCommand                // BAD
	NeedTLS                       // NO [PRIVACYREQUIRED]
	NotEnabled                    // BAD
	Run
)

// String returns the verdict in words.
func (v Verdict) String() string {
	return [...]string{"wrong state", "unknown command", "needs TLS", "not enabled", "run"}[v]
}

// Env is what a verdict depends on beside the state.
type Env struct {
	Secure  bool // the connection is protected, or logging in without protection is allowed
	Caps    Set  // the capabilities that are switched on
	Enabled func(extension string) bool
}

// Judge returns what is to be done with the command.
func Judge(s State, c Command, e Env) Verdict {
	if int(c) >= Commands || int(s) >= States {
		return UnknownCommand
	}
	r := &rows[c]
	if c == Unknown || !e.Caps.Has(r.Capability) {
		return UnknownCommand
	}
	if v := verdicts[s][c]; v != Run {
		return v
	}
	if r.Has(NeedsTLS) && !e.Secure {
		return NeedTLS
	}
	if r.Enable != "" && !e.Enabled(r.Enable) {
		return NotEnabled
	}
	return Run
}

// Conflict says whether b must wait until a, sent before it on the same connection, is answered (RFC 9051
// section 5.5).
func Conflict(a, b Command) bool {
	return int(a) >= Commands || int(b) >= Commands || conflicts[a]>>b&1 != 0
}

// param is what a parameter of a command needs.
type param struct {
	command    Command
	name       string
	capability Cap
	enable     string
}

// JudgeParam says whether the command's parameter may be used: Run, UnknownCommand (its capability is switched off) or
// NotEnabled. Parameters without a row are always allowed.
func JudgeParam(c Command, name string, e Env) Verdict {
	for _, p := range params {
		switch {
		case p.command != c || p.name != name:
		case !e.Caps.Has(p.capability):
			return UnknownCommand
		case p.enable != "" && !e.Enabled(p.enable):
			return NotEnabled
		}
	}
	return Run
}

// Cap is a capability of the table.
type Cap uint8

// String returns the capability's name.
func (c Cap) String() string {
	if int(c) < Caps {
		return capRows[c].name
	}
	return ""
}

// ParseCap returns the capability with the name, in any case.
func ParseCap(name string) (Cap, bool) {
	i := slices.IndexFunc(capRows[:], func(r capRow) bool { return strings.EqualFold(r.name, name) })
	return Cap(max(i, 0)), i >= 0
}

// Set is a set of capabilities.
type Set uint64

// AllCaps is every capability of the table.
const AllCaps = Set(1)<<Caps - 1

// Has says whether c is in the set; "none needed" always is.
func (s Set) Has(c Cap) bool { return int(c) >= Caps || s>>c&1 != 0 }

// Without returns the set without c.
func (s Set) Without(c Cap) Set { return s &^ (1 << c) }

// Place is where capabilities are announced.
type Place uint8

// The places; the table explains them.
const (
	Plain Place = iota
	Open
	Authed
)

type condition uint8

const (
	always condition = iota
	whenTLS
	whenPlain
)

// capRow is a row of [capabilities].
type capRow struct {
	name    string
	places  uint8 // bit 1<<Place
	when    condition
	limited bool // its value is Offer.AppendLimit
}

// Offer is what the announcement depends on beside the place.
type Offer struct {
	TLS         bool   // STARTTLS is possible now
	Deflate     bool   // the connection is compressed already
	AppendLimit uint64 // the largest message that is taken, in octets
}

// Announce returns the capabilities of the set to announce at the place, separated by spaces: what stands behind
// "CAPABILITY ".
func Announce(place Place, on Set, o Offer) string {
	var b strings.Builder
	for c, r := range capRows {
		if r.places>>place&1 == 0 || !on.Has(Cap(c)) || r.when == whenTLS && !o.TLS || r.when == whenPlain && o.Deflate {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.name)
		if r.limited {
			b.WriteByte('=')
			b.WriteString(strconv.FormatUint(o.AppendLimit, 10))
		}
	}
	return b.String()
}
