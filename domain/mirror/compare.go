package mirror

import (
	"cmp"
	"errors"
	"slices"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
)

// Row is a message as it is here, or one that was removed here and that the upstream still has.
type Row struct {
	UID      mailbox.UID
	Upstream uint32 // the upstream's UID; 0: not there
	Flags    flag.Set
	Email    mailbox.ObjectID
	Departed bool // removed here: it is known, and nothing about it is news but that it is gone
	Placing  bool // made here and not upstream yet: whoever puts it there finds out what it is called there
}

// Observation is what was heard of a mailbox's messages. The zero value is ready.
type Observation struct {
	seen   []seen
	sorted bool
}

type seen struct {
	uid      uint32
	hasFlags bool
	flags    flag.Set
}

// Add notes that the upstream has the UID; the last flags heard of a UID count.
func (o *Observation) Add(uid uint32, flags flag.Set, hasFlags bool) {
	if uid == 0 {
		return
	}
	o.seen = append(o.seen, seen{uid, hasFlags, flags})
	o.sorted = false
}

// AddSet notes UIDs without their flags.
func (o *Observation) AddSet(uids mailbox.Set) {
	for uid := range uids.All {
		o.Add(uid, flag.Set{}, false)
	}
}

// normalize sorts by UID and merges doubles, later flags over earlier ones.
func (o *Observation) normalize() {
	if o.sorted {
		return
	}
	slices.SortStableFunc(o.seen, func(a, b seen) int { return cmp.Compare(a.uid, b.uid) })
	out := o.seen[:0]
	for _, s := range o.seen {
		if k := len(out); k > 0 && out[k-1].uid == s.uid {
			if s.hasFlags {
				out[k-1] = s
			}
			continue
		}
		out = append(out, s)
	}
	o.seen, o.sorted = out, true
}

// Len returns how many different messages were heard of.
func (o *Observation) Len() int {
	o.normalize()
	return len(o.seen)
}

// find returns what was heard of the UID; o is normalized.
func (o *Observation) find(uid uint32) (seen, bool) {
	i, ok := slices.BinarySearchFunc(o.seen, uid, func(s seen, uid uint32) int { return cmp.Compare(s.uid, uid) })
	if !ok {
		return seen{}, false
	}
	return o.seen[i], true
}

// FlagChange sets a message's flags.
type FlagChange struct {
	UID   mailbox.UID
	Flags flag.Set
}

// Differences returns the known messages whose flags are not what was heard, in the order of rows, and the UIDs that
// were heard of and are not known here.
func Differences(rows []Row, o *Observation) (changes []FlagChange, unknown mailbox.Set) {
	o.normalize()
	known := make([]bool, len(o.seen))
	for _, r := range rows {
		i, ok := slices.BinarySearchFunc(o.seen, r.Upstream, func(s seen, uid uint32) int { return cmp.Compare(s.uid, uid) })
		if !ok {
			continue
		}
		known[i] = true
		if s := o.seen[i]; s.hasFlags && !r.Departed && !s.flags.Equal(r.Flags) {
			changes = append(changes, FlagChange{r.UID, s.flags})
		}
	}
	var uids []uint32
	for i, s := range o.seen {
		if !known[i] {
			uids = append(uids, s.uid)
		}
	}
	return changes, mailbox.SetOf(uids...)
}

// Census is a complete enumeration of a mailbox: what is not in it is not there. See NewCensus.
type Census struct {
	o     *Observation
	floor uint32 // nothing below it is known to be gone
}

// ErrIncomplete says that an enumeration does not agree with the upstream's own count.
var ErrIncomplete = errors.New("the upstream listed another number of messages than it says it has")

// capped is the number of messages at which a well-known upstream cuts its listings: it shows only the newest ones.
const capped = 10_000

// NewCensus returns the enumeration as a complete one. It fails with ErrIncomplete unless the command was answered
// with OK and the number of messages is the one that the upstream told at SELECT. Of an upstream that seems to show
// only its newest messages, nothing below the oldest one shown is held for gone.
func NewCensus(o *Observation, answered bool, exists uint32) (Census, error) {
	if !answered || uint64(o.Len()) != uint64(exists) {
		return Census{}, ErrIncomplete
	}
	c := Census{o: o}
	if exists == capped {
		c.floor = o.seen[0].uid
	}
	return c, nil
}

// Departures is the messages that a census does not have.
type Departures struct {
	UIDs mailbox.Set // here
	// Implausible says that so much is gone that a broken upstream is likelier than a person: a second census, from a
	// new SELECT, must agree.
	Implausible bool
}

// Gone returns which of the known messages are gone, and what of them is implausible. Rows without an upstream UID
// are not counted; that departed ones are gone is what was to happen.
func Gone(rows []Row, c Census) Departures {
	var uids []mailbox.UID
	bound, lost := 0, 0
	for _, r := range rows {
		if r.Upstream == 0 {
			continue
		}
		if !r.Departed {
			bound++
		}
		if _, ok := c.o.find(r.Upstream); !ok && r.Upstream >= c.floor {
			uids = append(uids, r.UID)
			if !r.Departed {
				lost++
			}
		}
	}
	return Departures{UIDs: mailbox.SetOf(uids...), Implausible: lost > 10 && 2*lost > bound}
}

// Unbound returns the messages here that have no upstream UID and are not to get one; they are gone when a complete
// look (hence the census) did not match them.
func Unbound(rows []Row, _ Census) mailbox.Set {
	var uids []mailbox.UID
	for _, r := range rows {
		if r.Upstream == 0 && !r.Placing {
			uids = append(uids, r.UID)
		}
	}
	return mailbox.SetOf(uids...)
}

// Named returns the local UIDs of the messages whose upstream UIDs are in the set: for VANISHED, which names what is
// gone.
func Named(rows []Row, upstream mailbox.Set) mailbox.Set {
	if len(upstream) == 0 {
		return nil
	}
	var uids []mailbox.UID
	for _, r := range rows {
		if r.Upstream != 0 && upstream.Contains(r.Upstream) {
			uids = append(uids, r.UID)
		}
	}
	return mailbox.SetOf(uids...)
}

// Bound returns how many of the rows the upstream has: what its own count is compared with.
func Bound(rows []Row) (n uint32) {
	for _, r := range rows {
		if r.Upstream != 0 {
			n++
		}
	}
	return n
}
