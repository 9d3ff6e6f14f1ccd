package upstreamsim

import (
	"fmt"
	"slices"

	"imapped/domain/fault"
	"imapped/ports/upstream"
)

// Class is a group of commands.
type Class uint8

// The classes.
const (
	ClassAny Class = iota
	ClassDial
	ClassRead  // LIST, STATUS, SELECT, FETCH and the like
	ClassFetch // FETCH alone
	ClassWrite // everything below
	ClassAppend
	ClassCopy // COPY and MOVE
	ClassStore
	ClassExpunge
	ClassBoxes // CREATE, DELETE, RENAME
	Classes    // how many there are
)

var classNames = [...]string{"any", "dial", "read", "fetch", "write", "append", "copy", "store", "expunge", "boxes"}

// String returns the class's name.
func (c Class) String() string { return classNames[c] }

// MarshalText implements encoding.TextMarshaler.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Class) UnmarshalText(b []byte) error {
	i := slices.Index(classNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("there is no class %q", b)
	}
	*c = Class(i)
	return nil
}

func classOf(cmd upstream.Command) Class {
	switch cmd.(type) {
	case *upstream.Append:
		return ClassAppend
	case *upstream.Copy:
		return ClassCopy
	case *upstream.Store:
		return ClassStore
	case *upstream.Expunge, *upstream.Deleted:
		return ClassExpunge
	case *upstream.Create, *upstream.Delete, *upstream.Rename:
		return ClassBoxes
	case *upstream.Subscribe:
		return ClassWrite
	case *upstream.Fetch:
		return ClassFetch
	}
	return ClassRead
}

// has says whether a command of class o is one of class c.
func (c Class) has(o Class) bool {
	switch c {
	case ClassAny:
		return o != ClassDial
	case ClassRead:
		return o == ClassRead || o == ClassFetch
	case ClassWrite:
		return o >= ClassWrite
	}
	return c == o
}

// Action is what a fault does.
type Action uint8

// The actions. Of a dial all but BlackHole refuse it.
const (
	CutBefore  Action = iota // the connection is lost, the command has no effect
	CutAfter                 // the connection is lost after the command's effect, before its answer
	CutHalf                  // it is lost half-way through an APPEND's or a FETCH's message; else as CutBefore
	Busy                     // NO [UNAVAILABLE]; has no effect
	Refuse                   // a final NO; has no effect
	HoldBefore               // the command waits for Step or Release before its effect
	HoldAfter                // and after it
	BlackHole                // no effect, and no answer until the context ends
	Interpose                // Hook is called before the effect
	Actions                  // how many there are
)

var actionNames = [...]string{
	"cut before", "cut after", "cut half-way", "busy", "refuse", "hold before", "hold after", "black hole", "interpose",
}

// String returns the action's name.
func (a Action) String() string { return actionNames[a] }

// MarshalText implements encoding.TextMarshaler.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Action) UnmarshalText(b []byte) error {
	i := slices.Index(actionNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("there is no action %q", b)
	}
	*a = Action(i)
	return nil
}

// Fault is something that goes wrong once, at the Skip+1st command of a class after it was armed.
type Fault struct {
	On   Class
	Skip int
	Do   Action
	N    int              // CutAfter: how many of the commands sent behind it take effect; a hold: for how many Steps
	Hook func()           // Interpose
	Told func(cmd string) // called when it happens, with what it happens to; may be nil
	Text string           // Refuse: the server's text

	calms int // when it was taken
}

// Cut loses every connection.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.kill()
	}
}

// Commands returns how many commands were answered, or lost, so far, and a channel that is closed at the next change.
func (s *Server) Commands() (int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands, s.changed
}

func busy() error {
	return fault.As(fault.Unavailable, "refused", &upstream.Refusal{Status: "NO", Code: "UNAVAILABLE", Text: "not now"})
}

func refused(text string) error {
	return fault.As(fault.Invalid, "refused", &upstream.Refusal{Status: "NO", Code: "CANNOT", Text: text})
}

func noSuchMailbox() error {
	return fault.As(fault.NotFound, "refused", &upstream.Refusal{Status: "NO", Code: "NONEXISTENT", Text: "no such mailbox"})
}

func tryCreate() error {
	return fault.As(fault.NotFound, "refused", &upstream.Refusal{Status: "NO", Code: "TRYCREATE", Text: "no such mailbox"})
}

func exists() error {
	return fault.As(fault.Exists, "refused", &upstream.Refusal{Status: "NO", Code: "ALREADYEXISTS", Text: "mailbox exists"})
}

func bad(text string) error {
	return fault.As(fault.Invalid, "refused", &upstream.Refusal{Status: "BAD", Text: text})
}

// describe names a command with its arguments, for the log.
func describe(cmd upstream.Command) string {
	switch c := cmd.(type) {
	case *upstream.Select:
		return "SELECT " + c.Name
	case *upstream.Status:
		return "STATUS " + c.Name
	case *upstream.Fetch:
		return fmt.Sprintf("FETCH %s items %x since %d", c.UIDs, c.Items, c.ChangedSince)
	case *upstream.Store:
		return fmt.Sprintf("STORE %s %s remove=%v", c.UIDs, c.Flags, c.Remove)
	case *upstream.Append:
		return fmt.Sprintf("APPEND %s (%s) %d", c.Name, c.Flags, c.Size)
	case *upstream.Copy:
		return fmt.Sprintf("COPY %s %s move=%v", c.UIDs, c.To, c.Move)
	case *upstream.Expunge:
		return fmt.Sprintf("EXPUNGE %s all=%v", c.UIDs, c.All)
	case *upstream.Create:
		return "CREATE " + c.Name
	case *upstream.Delete:
		return "DELETE " + c.Name
	case *upstream.Rename:
		return "RENAME " + c.From + " " + c.To
	case *upstream.Subscribe:
		return fmt.Sprintf("SUBSCRIBE %s off=%v", c.Name, c.Off)
	}
	return fmt.Sprintf("%T", cmd)[len("*upstream."):]
}
