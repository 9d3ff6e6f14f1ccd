package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
	"imapped/ports/blob"
	"imapped/tools/convergence/upstreamsim"
)

// key names a message on our side.
type key struct {
	box mailbox.ID
	uid mailbox.UID
}

// token is one content. No two messages that are made have the same; copies do.
type token struct {
	n     int
	raw   string
	date  time.Time
	email mailbox.ObjectID

	// These belong to the phase.
	insts  []*inst
	lo, hi int // how many more or fewer there may be than the instances say
	// The same, for what one check allows for.
	less, more int
	vague      bool // what was done to which instance is not known
}

// inst is one message, as both sides together mean it: there once in the end, or not.
type inst struct {
	tok     *token
	key     key                  // zero: not known here yet
	ptr     *upstreamsim.Message // nil: not known upstream yet
	origin  origin
	home    *upstreamsim.Box // where it is upstream: of the start, and what was made there
	lo, hi  int              // how often it is there in the end
	removed bool             // by our side
	flags   flag.Set         // at first
	here    map[string]bool  // what our side set last
	there   map[string]bool  // what the other did
}

// origin says who made an instance.
type origin uint8

const (
	fromStart origin = iota // it was on both sides when the phase began
	fromHere
	fromThere
)

// model is what is known of the present phase: what each side did, in order, by what was acknowledged.
type model struct {
	tokens map[mailbox.ObjectID]*token
	byRaw  map[string]*token
	byBlob map[blob.Key]*token
	made   int

	byKey map[key]*inst
	byPtr map[*upstreamsim.Message]*inst

	startBox  map[mailbox.ID]*upstreamsim.Box
	touched   map[*upstreamsim.Box]bool // something was done there to the mailbox, or put into it
	deleted   []deletion
	names     map[mailbox.ID]string // that our side wants
	theirs    map[*upstreamsim.Box]string
	hereBoxes int // changes of the list of mailboxes
	thereLike int // the same there
	removals  int // of messages or mailboxes, there, and resets
	resets    map[*upstreamsim.Box]bool
	renamed   map[*upstreamsim.Box]bool
	refusals  int // by the fault schedule, for good
	maimed    bool
	parked    bool // something was: a copy that it held up took the flags that the message had later
}

// deletion is a mailbox that our side deleted.
type deletion struct {
	box   mailbox.ID
	insts []*inst // what was in it, as far as it was seen before
}

func newModel() *model {
	m := &model{tokens: map[mailbox.ObjectID]*token{}, byRaw: map[string]*token{}, byBlob: map[blob.Key]*token{}}
	m.begin()
	return m
}

// begin begins a phase, without any instances.
func (m *model) begin() {
	for _, t := range m.tokens {
		t.insts, t.lo, t.hi, t.less, t.more, t.vague = nil, 0, 0, 0, 0, false
	}
	m.byKey, m.byPtr = map[key]*inst{}, map[*upstreamsim.Message]*inst{}
	m.startBox, m.touched = map[mailbox.ID]*upstreamsim.Box{}, map[*upstreamsim.Box]bool{}
	m.names, m.theirs, m.resets = map[mailbox.ID]string{}, map[*upstreamsim.Box]string{}, map[*upstreamsim.Box]bool{}
	m.renamed = map[*upstreamsim.Box]bool{}
	m.deleted, m.hereBoxes, m.thereLike, m.refusals, m.removals, m.maimed, m.parked = nil, 0, 0, 0, 0, false, false
}

// message makes a new content.
func (m *model) message(size int) *token {
	m.made++
	n := m.made
	id := fmt.Sprintf("Message-ID: <%d@sim.example>\r\n", n)
	if n%7 == 0 {
		id = "" // some have none
	}
	raw := fmt.Sprintf("From: a%d@example.org\r\nTo: b@example.org\r\nSubject: message %d\r\n%sDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\n"+
		"Hello %d\r\n%s", n, n, id, n, strings.Repeat("0123456789abcdef\r\n", size/18))
	zone := time.FixedZone("", (n%5-2)*3600)
	t := &token{n: n, raw: raw, date: time.Unix(1_700_000_000+int64(n), 0).In(zone)}
	t.email = message.Identify([]byte(raw), int64(len(raw)), t.date).Email
	m.tokens[t.email], m.byRaw[raw] = t, t
	return t
}

// add makes an instance.
func (m *model) add(t *token, o origin, flags flag.Set) *inst {
	i := &inst{tok: t, origin: o, lo: 1, hi: 1, flags: flags, here: map[string]bool{}, there: map[string]bool{}}
	t.insts = append(t.insts, i)
	return i
}

// addHere makes an instance that our side has.
func (m *model) addHere(t *token, k key, flags flag.Set) *inst {
	i := m.add(t, fromHere, flags)
	i.key = k
	m.byKey[k] = i
	return i
}

// addThere makes an instance that the upstream has.
func (m *model) addThere(p *upstreamsim.Message, home *upstreamsim.Box, flags flag.Set) *inst {
	i := m.add(m.byRaw[p.Raw], fromThere, flags)
	i.ptr, i.home = p, home
	m.byPtr[p] = i
	m.touched[home] = true
	return i
}

// arrived says whether the other side put an equal message into a mailbox of which our side is not known to have it.
func (m *model) arrived(t *token, home *upstreamsim.Box) bool {
	return slices.ContainsFunc(t.insts, func(i *inst) bool {
		return i.origin == fromThere && i.home == home && i.key == key{} && i.lo > 0
	})
}

// removedHere notes that our side removed, or moved away, an instance.
func (m *model) removedHere(i *inst) {
	if m.again(i) {
		return
	}
	i.lo, i.hi, i.removed = 0, 0, true
}

// goesWith notes that our side deleted the mailbox in which it had an instance.
func (m *model) goesWith(i *inst) {
	if !m.again(i) {
		i.lo = 0
	}
}

// again deals with the removal of an instance that was removed before, where a reset made equal ones each other's: it may
// be another that goes.
func (m *model) again(i *inst) bool {
	home := m.homeOf(i)
	if i.hi > 0 || home == nil || !m.resets[home] {
		return false
	}
	for _, j := range i.tok.insts {
		if j != i && m.homeOf(j) == home && j.hi > 0 {
			m.unknown(i.tok)
			return true
		}
	}
	return false
}

// removedThere notes that the other side did. What our side made and put there may not be known here to have arrived: then
// it is put there again.
func (m *model) removedThere(i *inst) {
	m.removals++
	if m.again(i) {
		return
	}
	if i.origin == fromHere && i.hi > 0 {
		i.lo = 0
		return
	}
	i.lo, i.hi = 0, 0
}

// homeOf is the mailbox upstream in which an instance is, or is to be.
func (m *model) homeOf(i *inst) *upstreamsim.Box {
	if i.home != nil {
		return i.home
	}
	return m.startBox[i.key.box]
}

// unknown notes that one of a content's instances was removed, and it is not known which.
func (m *model) unknown(t *token) {
	t.lo--
	t.vague = true
}

// forgive allows a check to find one instance less, of which it is not known which.
func (t *token) forgive() {
	t.less++
	t.vague = true
}

// slack says whether there may be more or fewer than the instances say.
func (t *token) slack() bool { return t.lo-t.less != 0 || t.hi+t.more != 0 }

// say notes what a change of flags says of them.
func say(said map[string]bool, flags flag.Set, on bool) {
	for name := range strings.FieldsSeq(flags.String()) {
		said[strings.ToLower(name)] = on
	}
}

// allFlags is every flag that a history uses.
var allFlags = flag.Parse(`\Seen`, `\Flagged`, `\Answered`, `\Draft`, `\Deleted`, "$Work", "a", "B")

// localOnly is what an upstream without \* does not keep.
var localOnly = flag.Parse("a", "B")

func has(s flag.Set, name string) bool {
	one := flag.Parse(name)
	return s.Has(one.Sys) && one.Sys != 0 || one.Sys == 0 && s.HasKeyword(name)
}

// bounds is how often a content is there in the end.
func (t *token) bounds() (lo, hi int) {
	lo, hi = t.lo-t.less, t.hi+t.more
	for _, i := range t.insts {
		lo, hi = lo+i.lo, hi+i.hi
	}
	// What our side puts into a mailbox may be taken for what the other puts there of the same: then it is there once, and
	// goes when our side removes it.
	for _, i := range t.insts {
		for _, j := range t.insts {
			if i.origin == fromHere && j.origin == fromThere && (i.lo > 0 || j.lo > 0 && i.removed) {
				lo--
				break
			}
		}
	}
	return max(lo, 0), hi
}

func (t *token) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "message %d", t.n)
	for _, i := range t.insts {
		fmt.Fprintf(&b, " [%s %v %d..%d]", [...]string{"start", "here", "there"}[i.origin], i.key, i.lo, i.hi)
	}
	if t.slack() {
		fmt.Fprintf(&b, " %+d..%+d", t.lo-t.less, t.hi+t.more)
	}
	return b.String()
}
