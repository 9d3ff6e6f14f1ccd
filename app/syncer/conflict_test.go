package syncer_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

// conflict is an account with the mailboxes A (messages x, which is \Flagged, and y), B (message b) and M, whose upstream
// cannot be reached for writing yet.
type conflict struct {
	*rig
	e    editor
	x    string // the message that both sides change
	name map[string]string
}

func newConflict(t *testing.T, set func(*world)) *conflict {
	w := newWorld()
	w.server.Idle = false
	if set != nil {
		set(w)
	}
	c := &conflict{rig: newRig(t, w).quick(), x: mail(1, 100), name: map[string]string{}}
	for i, n := range []string{"x", "y", "b", "n", "z"} {
		c.name[mail(i+1, 100)] = n
	}
	for _, name := range []string{"A", "B", "M"} {
		w.create(name, '/')
	}
	w.deliver("A", mail(1, 100), `\Flagged`)
	w.deliver("A", mail(2, 100))
	w.deliver("B", mail(3, 100))
	c.cfg.Connections = 3 // nothing listens
	c.start()
	c.sync()
	c.e = c.edits()
	c.away()
	return c
}

// away makes replay unable to reach the upstream; back lets it.
func (c *conflict) away() {
	c.w.change(func() { c.w.down = fault.New(fault.Unavailable, "TCP", "connection refused") })
}

func (c *conflict) back() {
	c.w.change(func() { c.w.down, c.w.budget = nil, nil })
	c.m.Changed(c.acc.ID)
}

// lost carries out what is queued, and loses the answer of the first command that changes something.
func (c *conflict) lost() {
	c.w.change(func() {
		c.w.down, c.w.cutAfter = nil, func(cmd upstream.Command) bool {
			if isChange(cmd) {
				c.w.down = fault.New(fault.Unavailable, "TCP", "connection refused")
				return true
			}
			return false
		}
	})
	c.m.Changed(c.acc.ID)
	c.until("the answer is lost", func() bool { c.w.mu.Lock(); defer c.w.mu.Unlock(); return c.w.down != nil })
	c.w.change(func() { c.w.cutAfter = nil })
}

// where finds a message upstream.
func (c *conflict) where(raw string) (box string, uid uint32) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for name, b := range c.w.boxes {
		for _, m := range b.msgs {
			if m.raw == raw {
				return name, m.uid
			}
		}
	}
	c.t.Fatalf("%s is not upstream", c.name[raw])
	return "", 0
}

// state is what the upstream has, in one line.
func (c *conflict) state() string {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	var out []string
	for name, b := range c.w.boxes {
		var msgs []string
		for _, m := range b.msgs {
			msgs = append(msgs, c.name[m.raw]+"("+m.flags.String()+")")
		}
		slices.Sort(msgs)
		if name != "INBOX" {
			out = append(out, strings.TrimSpace(name+": "+strings.Join(msgs, " ")))
		}
	}
	slices.Sort(out)
	for _, p := range c.parked() {
		kind, _, _ := strings.Cut(p, ":")
		out = append(out, "parked "+kind)
	}
	return strings.Join(out, "; ")
}

// justThen renames A in the moment before the first command that is to delete a mailbox takes effect.
func (c *conflict) justThen() {
	once := sync.OnceFunc(func() { c.w.rename("A", "Q") })
	c.w.change(func() {
		c.w.before = func(cmd upstream.Command) {
			if _, ours := cmd.(*upstream.Delete); ours {
				once()
			}
		}
	})
}

// made here, by kind of change.
var made = map[string]func(c *conflict){
	"flags": func(c *conflict) {
		c.e.flags("A", metadata.ReplaceFlags, mailbox.SetOf[uint32](1), `\Seen`)
	},
	"append": func(c *conflict) { c.e.append("A", mail(4, 100)) },
	"lost append": func(c *conflict) {
		c.e.append("A", mail(4, 100))
		c.x = mail(4, 100)
		c.lost()
		c.e.flags("A", metadata.AddFlags, mailbox.SetOf[uint32](3), `\Seen`)
	},
	"copy":    func(c *conflict) { c.e.copy("A", "B", false, 1) },
	"move":    func(c *conflict) { c.e.copy("A", "B", true, 1) },
	"expunge": func(c *conflict) { c.e.expunge("A", 1) },
	"create":  func(c *conflict) { c.e.create("C") },
	"lost create": func(c *conflict) {
		c.e.create("C")
		c.lost()
	},
	"delete": func(c *conflict) { c.e.delete("A") },
	"rename": func(c *conflict) { c.e.rename("A", "C") },
}

// happened upstream, by what.
var happened = map[string]func(c *conflict){
	"same-flag": func(c *conflict) {
		box, uid := c.where(c.x)
		c.w.setFlags(box, uid)
		c.w.setFlags(box, uid, `\Flagged`)
	},
	"other-flag": func(c *conflict) {
		box, uid := c.where(c.x)
		c.w.change(func() {
			m := c.w.boxes[box].find(uid)
			c.w.boxes[box].modseq++
			m.flags, m.modseq = m.flags.Union(flag.Parse(`\Answered`)), c.w.boxes[box].modseq
		})
	},
	"expunged": func(c *conflict) {
		box, uid := c.where(c.x)
		c.w.expunge(box, uid)
	},
	"moved": func(c *conflict) {
		box, uid := c.where(c.x)
		c.w.deliver("M", c.x, `\Flagged`)
		c.w.expunge(box, uid)
	},
	"copied": func(c *conflict) { c.w.deliver("M", c.x, `\Flagged`) },
	"new-mail": func(c *conflict) {
		c.w.deliver("A", mail(5, 100))
		c.w.deliver("B", mail(5, 100))
	},
	"deleted":           func(c *conflict) { c.w.remove("A") },
	"target deleted":    func(c *conflict) { c.w.remove("B") },
	"C deleted":         func(c *conflict) { c.w.remove("C") },
	"renamed":           func(c *conflict) { c.w.rename("A", "Q") },
	"renamed just then": func(c *conflict) { c.justThen() },
	"renamed just then, unheard": func(c *conflict) {
		c.justThen()
		c.w.change(func() {
			c.w.cutAfter = func(cmd upstream.Command) bool {
				_, ours := cmd.(*upstream.Delete)
				if ours {
					c.w.cutAfter = nil
				}
				return ours
			}
		})
	},
	"replaced": func(c *conflict) {
		c.w.rename("A", "Q")
		c.w.create("A", '/')
		c.w.deliver("A", mail(5, 100))
	},
	"target renamed": func(c *conflict) { c.w.rename("B", "Q") },
	"A renamed to C": func(c *conflict) { c.w.rename("A", "C") },
	"created": func(c *conflict) {
		c.w.create("C", '/')
		c.w.deliver("C", mail(5, 100))
	},
	"A made again": func(c *conflict) {
		c.w.remove("A")
		c.w.create("A", '/')
		c.w.deliver("A", mail(5, 100))
	},
	"reset":        func(c *conflict) { c.w.reset("A", 50) },
	"target reset": func(c *conflict) { c.w.reset("B", 50) },
}

// TestConflicts plays the rows of docs/conflicts.md: what was changed here while somebody else changed something upstream,
// and what is upstream, and here, in the end.
func TestConflicts(t *testing.T) {
	offers := upstreams
	if testing.Short() {
		offers = offers[len(offers)-1:]
	}
	for _, tc := range conflicts {
		for _, u := range offers {
			t.Run(fmt.Sprintf("conflict/%s-%s/%s", tc.here, tc.there, u.name), func(t *testing.T) {
				t.Parallel()
				c := newConflict(t, u.set)
				made[tc.here](c)
				happened[tc.there](c)
				c.back()
				c.drained()
				c.settle()
				c.drained()
				c.settle()
				c.agree()
				if got := c.state(); got != tc.want {
					t.Errorf("\n got %s\nwant %s", got, tc.want)
				}
			})
		}
	}
}
