package mutation

import (
	"imapped/domain/mailbox"
)

// trail is the changes of one sort that something in the queue has had so far.
type trail struct {
	level int  // the first level after those that are carried out
	waits bool // one of the others will be carried out later
	stuck bool // one of the others may never be
}

func (b *trail) add(t turn) {
	switch {
	case t.stuck:
		b.stuck = true
	case t.waits:
		b.waits = true
	default:
		b.level = max(b.level, t.level+1)
	}
}

// turn is when a change can be carried out: at the level, unless it waits or is stuck.
type turn struct {
	level int
	waits bool
	stuck bool
}

// follow puts the turn behind changes that are to be carried out before. Those that may never be do not hold it up.
func (t *turn) follow(b trail) {
	t.level = max(t.level, b.level)
	t.waits = t.waits || b.waits
}

// need puts the turn behind changes without which it cannot be.
func (t *turn) need(b trail) {
	t.follow(b)
	t.stuck = t.stuck || b.stuck
}

// name is what the queue has had so far for a mailbox name: at the name itself, and below it.
type name struct {
	at, below changes
}

// changes is changes of mailboxes under a name. A stuck one holds the name: what it would have made room for, or would
// have moved along, is as it was. It does not hold up other changes of the same mailbox, which go by its identity.
type changes struct {
	trail
	subscribed trail      // Subscribes and Unsubscribes: Creates and Renames do not wait for them, for they may wait for the mailbox
	holder     mailbox.ID // of the stuck ones, if it is one mailbox
	more       bool       // it is more than one
}

func (c *changes) add(t turn, kind Kind, id mailbox.ID) {
	switch about := kind == Subscribe || kind == Unsubscribe; {
	case about && t.stuck:
		return // these hold nothing
	case about:
		c.subscribed.add(t)
		return
	case !t.stuck:
		c.trail.add(t)
		return
	}
	c.more = c.more || c.stuck && c.holder != id
	c.stuck, c.holder = true, id
}

func (t *turn) behind(c changes, kind Kind, id mailbox.ID) {
	t.follow(c.trail)
	if kind != Create && kind != Rename {
		t.follow(c.subscribed)
	}
	t.stuck = t.stuck || c.stuck && (c.more || c.holder != id)
}

// relate puts the turn behind changes of mailboxes with the name, above it and below it.
func (p *planner) relate(t *turn, kind Kind, path string, id mailbox.ID) {
	for above := range ancestors(path) {
		if n := p.names[above]; n != nil {
			t.behind(n.at, kind, id)
		}
	}
	if n := p.names[path]; n != nil {
		t.behind(n.at, kind, id)
		t.behind(n.below, kind, id)
	}
}

// record notes a change of the mailbox with the name.
func (p *planner) record(t turn, kind Kind, path string, id mailbox.ID) {
	if path == "" {
		return
	}
	for above := range ancestors(path) {
		p.name(above).below.add(t, kind, id)
	}
	p.name(path).at.add(t, kind, id)
}

func (p *planner) name(path string) *name {
	n := p.names[path]
	if n == nil {
		n = &name{}
		p.names[path] = n
	}
	return n
}

// ancestors returns the names above a name.
func ancestors(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range path {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
	}
}
