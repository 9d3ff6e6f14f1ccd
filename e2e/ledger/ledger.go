package ledger

import (
	"crypto/sha256"
	"maps"
	"sync"
)

// Box is a mailbox of an account.
type Box struct{ Account, Name string }

// String is for messages.
func (b Box) String() string { return b.Account + "/" + b.Name }

// Place is where a message is.
type Place struct {
	Box
	UID uint32
}

// state is what is known of something: that it is so, that it is not, or neither.
type state int

const (
	no state = iota
	yes
	unsure // for ever
)

func stateOf(on bool) state {
	if on {
		return yes
	}
	return no
}

// Copy is one message in one mailbox, of which it is known that it came there.
type Copy struct {
	Token string // names the content
	Place        // UID 0: it came by another way than the server under test, and its UID was not told

	here     state
	keywords map[string]state // those that somebody is responsible for
	trying   int              // tries without an outcome yet
	version  int              // changes with every try
}

// Ledger is what was promised.
type Ledger struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]string
	boxes  map[Box]*book
}

// book is what was promised of one mailbox.
type book struct {
	copies []*Copy
	byUID  map[uint32]*Copy
	maybe  map[string]int // uncertain arrivals, by token
	from   map[string][]*Copy
	// ^ the sources of uncertain moves into this mailbox, by token: of each, the source or an arrival is there
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{tokens: map[[sha256.Size]byte]string{}, boxes: map[Box]*book{}}
}

// Write gives a content its name.
func (l *Ledger) Write(token string, raw []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens[sha256.Sum256(raw)] = token
}

// Token returns the name of a content; false where nobody wrote it.
func (l *Ledger) Token(raw []byte) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	token, ok := l.tokens[sha256.Sum256(raw)]
	return token, ok
}

// book returns a mailbox's; the caller holds the mutex.
func (l *Ledger) book(b Box) *book {
	if l.boxes[b] == nil {
		l.boxes[b] = &book{byUID: map[uint32]*Copy{}, maybe: map[string]int{}, from: map[string][]*Copy{}}
	}
	return l.boxes[b]
}

// add notes a message that is certain to be there.
func (l *Ledger) add(token string, p Place, keywords map[string]state) *Copy {
	b := l.book(p.Box)
	c := &Copy{Token: token, Place: p, here: yes, keywords: keywords}
	if c.keywords == nil {
		c.keywords = map[string]state{}
	}
	b.copies = append(b.copies, c)
	if p.UID != 0 {
		b.byUID[p.UID] = c
	}
	return c
}

// Delivered notes a message that another way than the server under test brought, and that is certain to be there. The keywords
// are those that somebody is going to be responsible for.
func (l *Ledger) Delivered(token string, b Box, keywords ...string) *Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(token, Place{Box: b}, without(keywords))
}

// Located notes the UID of a message that was delivered.
func (l *Ledger) Located(c *Copy, uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.UID = uid
	l.book(c.Box).byUID[uid] = c
}

func without(keywords []string) map[string]state {
	all := make(map[string]state, len(keywords))
	for _, k := range keywords {
		all[k] = no
	}
	return all
}

// begin notes that something is about to be tried with messages; the caller holds the mutex.
func begin(copies ...*Copy) {
	for _, c := range copies {
		c.trying++
		c.version++
	}
}

func finish(copies ...*Copy) {
	for _, c := range copies {
		c.trying--
		c.version++
	}
}

// Try is something that is tried; one of its methods is called once, with the outcome.
type Try struct {
	l       *Ledger
	touched []*Copy
	done    func(uids []uint32) []*Copy
	lost    func()
}

func (l *Ledger) try(touched []*Copy, done func(uids []uint32) []*Copy, lost func()) *Try {
	begin(touched...)
	return &Try{l, touched, done, lost}
}

// Done says that it was answered with OK. The UIDs are those of what came into being, in order; so is the result.
func (t *Try) Done(uids ...uint32) []*Copy {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	finish(t.touched...)
	return t.done(uids)
}

// Refused says that it was answered with NO or BAD.
func (t *Try) Refused() {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	finish(t.touched...)
}

// Lost says that there was no answer, or none that tells what came of it.
func (t *Try) Lost() {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	finish(t.touched...)
	t.lost()
}

// Appending begins to add messages, of these contents, all or none.
func (l *Ledger) Appending(b Box, tokens []string, keywords ...string) *Try {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.try(nil, func(uids []uint32) (all []*Copy) {
		for i, token := range tokens {
			all = append(all, l.add(token, Place{b, uids[i]}, without(keywords)))
		}
		return all
	}, func() {
		for _, token := range tokens {
			l.book(b).maybe[token]++
		}
	})
}

// Copying begins to copy a message.
func (l *Ledger) Copying(c *Copy, to Box) *Try {
	l.mu.Lock()
	defer l.mu.Unlock()
	keywords := maps.Clone(c.keywords)
	return l.try([]*Copy{c}, func(uids []uint32) []*Copy {
		return []*Copy{l.add(c.Token, Place{to, uids[0]}, keywords)}
	}, func() { l.book(to).maybe[c.Token]++ })
}

// Moving begins to move a message.
func (l *Ledger) Moving(c *Copy, to Box) *Try {
	l.mu.Lock()
	defer l.mu.Unlock()
	keywords := maps.Clone(c.keywords)
	return l.try([]*Copy{c}, func(uids []uint32) []*Copy {
		c.here = no
		return []*Copy{l.add(c.Token, Place{to, uids[0]}, keywords)}
	}, func() {
		c.here = unsure
		b := l.book(to)
		b.from[c.Token] = append(b.from[c.Token], c)
	})
}

// Removing begins to expunge a message.
func (l *Ledger) Removing(c *Copy) *Try {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.try([]*Copy{c}, func([]uint32) []*Copy {
		c.here = no
		return nil
	}, func() { c.here = unsure })
}

// Setting begins to set or clear a keyword.
func (l *Ledger) Setting(c *Copy, keyword string, on bool) *Try {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.try([]*Copy{c}, func([]uint32) []*Copy {
		c.keywords[keyword] = stateOf(on)
		return nil
	}, func() { c.keywords[keyword] = unsure })
}

// Has says whether a message is certain to have a keyword; known is false where nobody can know.
func (l *Ledger) Has(c *Copy, keyword string) (on, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, there := c.keywords[keyword]
	return s == yes, there && s != unsure && c.here == yes
}
