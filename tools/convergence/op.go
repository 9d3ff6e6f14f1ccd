package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"imapped/tools/convergence/upstreamsim"
)

// Kind is what an operation does.
type Kind uint8

// The operations: of a client on our side, of one on the upstream, faults, and what the machine does.
const (
	Store Kind = iota
	Append
	Copy
	Move
	Expunge    // marks and expunges by UID
	ExpungeAll // EXPUNGE
	Replace
	Create
	Delete
	Rename
	Subscribe
	Look // looks for changes, and remembers what it saw for QRESYNC

	Deliver
	Flags
	Remove
	CopyThere
	MoveThere
	CreateThere
	DeleteThere
	RenameThere
	Reset

	Break   // arms a fault of the upstream
	Cut     // loses all connections
	Kill    // kill -9 at a call of a port
	KillAt  // kill -9 at a command to the upstream
	Restart // in good order
	Pause   // at a call; another process takes over
	Resume

	Sync   // forces a round
	Wait   // for some upstream commands
	Settle // the end of a phase: all is calm, and must agree
	Kinds
)

var kindNames = [...]string{
	"store", "append", "copy", "move", "expunge", "expunge-all", "replace", "create", "delete", "rename", "subscribe",
	"look",
	"there-deliver", "there-flags", "there-expunge", "there-copy", "there-move", "there-create", "there-delete",
	"there-rename", "there-reset",
	"break", "cut", "kill", "kill-at", "restart", "pause", "resume", "sync", "wait", "settle",
}

// String returns the kind's name.
func (k Kind) String() string { return kindNames[k] }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(b []byte) error {
	for i, name := range kindNames {
		if name == string(b) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("there is no operation %q", b)
}

// Op is one operation. What it is done to is named by numbers that are reduced to what there is at that moment, so that
// it means something also when others are left out.
type Op struct {
	Kind  Kind     `json:"do"`
	Who   int      `json:"who,omitempty"`
	Box   int      `json:"box,omitempty"`
	To    int      `json:"to,omitempty"`
	Pick  []int    `json:"pick,omitempty"`  // messages
	Mode  int      `json:"mode,omitempty"`  // of STORE and the like
	Flags []string `json:"flags,omitempty"` // of what is stored, appended, delivered
	Name  string   `json:"name,omitempty"`  // of what is created or renamed
	N     int      `json:"n,omitempty"`     // how many, or how large
	Fresh bool     `json:"fresh,omitempty"` // the client looks first

	// Of an operation upstream: not now, but just before the Skip+1st command of the class takes effect. Of a fault: when.
	Late  bool               `json:"late,omitempty"`
	Class upstreamsim.Class  `json:"class,omitzero"`
	Skip  int                `json:"skip,omitempty"`
	Fault upstreamsim.Action `json:"fault,omitzero"`
	Call  string             `json:"call,omitempty"` // Kill, Pause: the port's method; none: any that writes
	After bool               `json:"after,omitempty"`
}

// String returns the operation in a line.
func (o Op) String() string {
	b, err := json.Marshal(o)
	if err != nil {
		return o.Kind.String()
	}
	return string(b)
}

// History is a run: the upstream's kind, and what happens.
type History struct {
	Seed    uint64  `json:"seed"`
	Variant Variant `json:"variant"`
	Ops     []Op    `json:"ops"`
}

// Variant is what the upstream offers.
type Variant struct {
	NoUIDPlus  bool `json:"noUIDPlus,omitempty"`
	NoMove     bool `json:"noMove,omitempty"`
	NoCond     bool `json:"noCondstore,omitempty"`
	NoQResync  bool `json:"noQResync,omitempty"`
	NoStatus   bool `json:"noListStatus,omitempty"`
	NoIdle     bool `json:"noIdle,omitempty"`
	NoKeywords bool `json:"noKeywords,omitempty"`
	Dot        bool `json:"dot,omitempty"` // the hierarchy delimiter
	Parents    bool `json:"parents,omitempty"`
	Push       bool `json:"push,omitempty"` // we listen to it
}

// String returns the history as it can be replayed: JSON, an operation a line.
func (h History) String() string {
	var b strings.Builder
	v, err := json.Marshal(h.Variant)
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(&b, "{\"seed\":%d,\"variant\":%s,\"ops\":[", h.Seed, v)
	for i, op := range h.Ops {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + op.String())
	}
	b.WriteString("\n]}\n")
	return b.String()
}

// ParseHistory reads what String wrote.
func ParseHistory(b []byte) (h History, err error) {
	err = json.Unmarshal(b, &h)
	return h, err
}
