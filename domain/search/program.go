package search

import (
	"io"
	"time"

	"imapped/domain/mailbox"
	"imapped/domain/message"
)

// Candidate is a message that a program is asked about.
type Candidate struct {
	mailbox.Row
	Seq     uint32 // its sequence number in the session's view
	Recent  bool
	Content Content // what the row does not say; asked only when the row does not decide
}

// Content is the parts of a message that cost something to get. An error ends the Match that caused it.
type Content interface {
	Identity() (Identity, error)
	// Headers returns message.Fragments.Headers. Nothing means that they are not known: Open is asked then.
	Headers() ([]byte, error)
	// Open returns the raw message and its size; whoever implements Content closes it.
	Open() (io.ReaderAt, int64, error)
}

// Identity is what the search keys EMAILID, THREADID and SAVED... ask about.
type Identity struct {
	Email, Thread mailbox.ObjectID
	Saved         time.Time // in the zone whose calendar counts; zero when unknown: INTERNALDATE counts then
}

// Need says what a program can ask of Content.
type Need uint8

// The needs.
const (
	NeedIdentity Need = 1 << iota
	NeedHeaders
	NeedBytes // also asked for where Headers has nothing
)

// Verdict is the outcome of a program as far as it is known.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // Content must be asked
	No
	Yes
)

func verdict(yes bool) Verdict {
	if yes {
		return Yes
	}
	return No
}

// Program is a query made ready to be evaluated against many messages. It holds scratch space: one goroutine at a time.
type Program struct {
	root   node
	leaves []leaf
	needs  Need
	now    int64
	scan   scanner
}

// node is a node of the tree: And, Or and Not have kids, every other operation is a leaf.
type node struct {
	op   Op
	kids []node
	leaf int
}

// leaf is a key, and its verdict on the message that is being looked at.
type leaf struct {
	Query
	level   level
	matcher matcher // for keys with text
	verdict Verdict
}

// level says what a leaf needs to be decided, cheapest first.
type level uint8

const (
	byRow level = iota
	byIdentity
	byHeaders // Fragments.Headers
	byBytes
)

// Compile makes q ready; now is what YOUNGER and OLDER count from. It keeps no reference to q's lists of kids.
func Compile(q *Query, now time.Time) *Program {
	p := &Program{now: now.Unix()}
	p.root = p.compile(q)
	return p
}

func (p *Program) compile(q *Query) node {
	n := node{op: q.Op, leaf: -1}
	switch q.Op {
	case And, Or, Not:
		for i := range q.Kids {
			n.kids = append(n.kids, p.compile(&q.Kids[i]))
		}
		return n
	case Body, Text:
		if q.Text == "" { // the empty string is in every text
			return node{op: And, leaf: -1}
		}
	}
	l := leaf{Query: *q, level: q.level()}
	l.Kids = nil
	l.matcher.needle = fold(nil, []byte(q.Text))
	if q.Op == Subject {
		l.Field = "Subject"
	}
	n.leaf = len(p.leaves)
	p.leaves = append(p.leaves, l)
	switch l.level {
	case byIdentity:
		p.needs |= NeedIdentity
	case byHeaders:
		p.needs |= NeedHeaders
	case byBytes:
		p.needs |= NeedBytes
	}
	return n
}

func (q *Query) level() level {
	switch q.Op {
	case SavedBefore, SavedOn, SavedSince, EmailID, ThreadID:
		return byIdentity
	case SentBefore, SentOn, SentSince, From, To, Cc, Bcc, Subject:
		return byHeaders
	case Header:
		for _, name := range message.CommonFields {
			if equalFold([]byte(q.Field), name) {
				return byHeaders
			}
		}
		return byBytes
	case Body, Text:
		return byBytes
	}
	return byRow
}

// Needs returns what of Content the program can ask for; 0 when rows decide everything.
func (p *Program) Needs() Need { return p.needs }

// Quick evaluates the program on the row, sequence number and \Recent alone; c.Content may be nil.
func (p *Program) Quick(c *Candidate) Verdict {
	for i := range p.leaves {
		l := &p.leaves[i]
		l.verdict = Unknown
		if l.level == byRow {
			l.verdict = verdict(p.row(&l.Query, c))
		}
	}
	return p.eval(&p.root)
}

// Match says whether the message matches. It asks Content for as little as it can, cheapest first.
func (p *Program) Match(c *Candidate) (bool, error) {
	v := p.Quick(c)
	for level := byIdentity; v == Unknown; level++ {
		if !p.open(&p.root, level) {
			continue
		}
		var err error
		switch level {
		case byIdentity:
			err = p.identity(c)
		case byHeaders:
			err = p.headers(c)
		default:
			err = p.bytes(c)
		}
		if err != nil {
			return false, err
		}
		v = p.eval(&p.root)
	}
	return v == Yes, nil
}

// eval returns the verdict of a node from those of its leaves.
func (p *Program) eval(n *node) Verdict {
	switch n.op {
	case And, Or:
		decides := No // the verdict of one kid that decides
		if n.op == Or {
			decides = Yes
		}
		all := true
		for i := range n.kids {
			switch p.eval(&n.kids[i]) {
			case decides:
				return decides
			case Unknown:
				all = false
			}
		}
		if !all {
			return Unknown
		}
		return No + Yes - decides
	case Not:
		if v := p.eval(&n.kids[0]); v != Unknown {
			return No + Yes - v
		}
		return Unknown
	}
	return p.leaves[n.leaf].verdict
}

// open says whether the verdict depends on an undecided leaf of the level, and marks such leaves as wanted by the scan.
func (p *Program) open(n *node, at level) bool {
	if p.eval(n) != Unknown {
		return false
	}
	if n.leaf >= 0 {
		l := &p.leaves[n.leaf]
		return l.level == at
	}
	found := false
	for i := range n.kids {
		found = p.open(&n.kids[i], at) || found
	}
	return found
}

func (p *Program) row(q *Query, c *Candidate) bool {
	switch q.Op {
	case SysFlags:
		return c.Flags.Has(q.Flags)
	case Keyword:
		return c.Flags.HasKeyword(q.Text)
	case Recent:
		return c.Recent
	case UIDs:
		return q.Set.Contains(uint32(c.UID))
	case Seqs:
		return q.Set.Contains(c.Seq)
	case Before, On, Since:
		return day(q.Op-Before, message.Day(c.InternalDate()), q.Day)
	case SavedSupport:
		return true
	case Younger: // RFC 5032 section 3: both include the instant itself
		return ago(p.now, q.Num) <= c.Date
	case Older:
		return ago(p.now, q.Num) >= c.Date
	case Larger:
		return c.Size >= 0 && uint64(c.Size) > q.Num
	case Smaller:
		return c.Size < 0 || uint64(c.Size) < q.Num
	case ModSeq:
		return uint64(c.ModSeq) >= q.Num
	}
	return false
}

// ago returns the instant that many seconds before now.
func ago(now int64, seconds uint64) int64 { return now - int64(min(seconds, 1<<40)) }

// day compares calendar days; op is 0 for before, 1 for on, 2 for on or after.
func day(op Op, have, want int32) bool {
	switch op {
	case 0:
		return have < want
	case 1:
		return have == want
	}
	return have >= want
}

func (p *Program) identity(c *Candidate) error {
	id, err := c.Content.Identity()
	if err != nil {
		return err
	}
	if id.Saved.IsZero() {
		id.Saved = c.InternalDate()
	}
	for i := range p.leaves {
		l := &p.leaves[i]
		switch {
		case l.level != byIdentity:
		case l.Op == EmailID:
			l.verdict = verdict(id.Email == l.Object)
		case l.Op == ThreadID:
			l.verdict = verdict(id.Thread == l.Object)
		default:
			l.verdict = verdict(day(l.Op-SavedBefore, message.Day(id.Saved), l.Day))
		}
	}
	return nil
}

// headers decides the leaves that the stored header lines decide; where there are none they become the scan's.
func (p *Program) headers(c *Candidate) error {
	lines, err := c.Content.Headers()
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		return p.bytes(c)
	}
	p.scan.begin(p, byHeaders)
	for f := range message.Fields(lines) {
		p.scan.field(f)
	}
	p.scan.endHeader()
	return nil
}

// bytes decides everything that is still open by reading the message.
func (p *Program) bytes(c *Candidate) error {
	r, size, err := c.Content.Open()
	if err != nil {
		return err
	}
	p.scan.begin(p, byBytes)
	return p.scan.run(io.NewSectionReader(r, 0, size), size)
}
