package mirror

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"imapped/domain/mailbox"
)

// Checkpoint is up to where a mailbox is mirrored.
type Checkpoint struct {
	UIDValidity uint32    // 0: never mirrored, or an upstream that has none
	UIDNext     uint32    // every upstream UID below it is known here
	ModSeq      uint64    // upstream changes up to it are applied; 0 without CONDSTORE
	Messages    uint32    // how many messages the upstream had then
	Synced      time.Time // when the last complete pass ended; zero: none did
}

// State is what the upstream says of a mailbox, by STATUS or SELECT. What it did not say is 0.
type State struct {
	Messages, UIDNext, UIDValidity uint32
	HighestModSeq                  uint64
	Opened                         bool // by SELECT: what is 0 does not exist
}

// Box is a mailbox as it is here. Raw is empty for one that the upstream does not have (yet).
type Box struct {
	ID        mailbox.ID
	Name      string
	Raw       string
	Delimiter byte
	Attrs     mailbox.Attr
	Messages  uint32 // messages of the upstream's that are known here
	Here      bool   // there are messages here, known upstream or not
	Uncertain bool   // it may have messages upstream that were put there from here
	Creating  string // what it is to be made as; a client may have renamed it since
	Renaming  bool   // a client gave it its name, which the upstream is yet to be told: it stays
	Deleting  bool   // a client deleted it: its name is free, and only what the upstream calls it counts
	Checkpoint
}

// renamed says whether a client gave the box another name and the upstream has not heard of it yet.
func (b Box) renamed(utf8 bool) bool {
	return base(b.Name) != base(Codec{b.Delimiter, utf8}.Client(b.Raw))
}

// Listed is a mailbox in the upstream's listing.
type Listed struct {
	Raw       string
	Delimiter byte
	Attrs     mailbox.Attr
	NonExist  bool
	State     *State // nil: not told
	// Unsure says that the upstream did not tell its State for now: it may be any mailbox.
	Unsure bool
}

// Listing is a complete list of the upstream's mailboxes: see NewListing.
type Listing struct {
	boxes []Listed // by Raw, each once
	utf8  bool
}

// NewListing returns the listing, and whether it is complete: LIST was answered with OK and holds INBOX, which every
// account has (RFC 9051 section 5.1). An incomplete listing must not be planned with. Mailboxes that do not exist are
// left out; doubles are merged.
func NewListing(answered, utf8 bool, boxes []Listed) (Listing, bool) {
	l := Listing{utf8: utf8}
	hasInbox := false
	for _, b := range boxes {
		if b.NonExist || b.Raw == "" {
			continue
		}
		b.Attrs &= stableAttrs
		hasInbox = hasInbox || strings.EqualFold(b.Raw, inbox)
		l.boxes = append(l.boxes, b)
	}
	slices.SortStableFunc(l.boxes, func(a, b Listed) int { return cmp.Compare(a.Raw, b.Raw) })
	out := l.boxes[:0]
	for _, b := range l.boxes {
		if k := len(out); k > 0 && out[k-1].Raw == b.Raw {
			out[k-1].Attrs |= b.Attrs
			if out[k-1].State == nil {
				out[k-1].State = b.State
			}
			continue
		}
		out = append(out, b)
	}
	l.boxes = out
	return l, answered && hasInbox
}

// Boxes returns the listing's mailboxes, by raw name.
func (l Listing) Boxes() []Listed { return l.boxes }

// Find returns the mailbox with the raw name; nil when there is none.
func (l Listing) Find(raw string) *Listed {
	i, ok := slices.BinarySearchFunc(l.boxes, raw, func(b Listed, raw string) int { return cmp.Compare(b.Raw, raw) })
	if !ok {
		return nil
	}
	return &l.boxes[i]
}

// stableAttrs is the attributes that are kept; \Marked and \Unmarked change with every delivery.
const stableAttrs = mailbox.NoSelect | mailbox.NoInferiors | mailbox.SpecialUse

// BoxPlan is what to do with the list of mailboxes: what is Missing or Evicted first, then the rest in this order.
type BoxPlan struct {
	// Rename holds mailboxes that seem to have been renamed upstream. The upstream must be asked for either name first,
	// and with Verify the content compared; what is refuted goes to Refuse, and
	// what cannot be told for now to Defer.
	Rename []Rename
	// Evicted holds mailboxes whose name is a target of Rename: what had it upstream is gone, if that rename is verified.
	Evicted []Box
	Change  []Box    // as they are to be saved: new attributes, or another raw name for the same mailbox
	Create  []Target // in the order of names, parents first
	// Missing is not in the listing: gone only if a second listing says so too.
	Missing Missing
}

// Rename takes a mailbox to a new name.
type Rename struct {
	Box    Box
	Target Target
	State  State
	Verify bool
	// Displaced says that the old name is taken upstream by another mailbox, which is among those to be created.
	Displaced bool
}

// Target is a mailbox that is in the listing.
type Target struct {
	Listed
	Name string // for clients
}

// Missing is the mailboxes that a listing does not have. Those that seemed to be renamed, and are not, are refuted.
type Missing struct {
	ids     []mailbox.ID
	refuted map[mailbox.ID]string // the raw name that it seemed to have
}

// Empty says whether nothing is missing.
func (m Missing) Empty() bool { return len(m.ids) == 0 }

// Has says whether the mailbox is among them.
func (m Missing) Has(id mailbox.ID) bool { return slices.Contains(m.ids, id) }

// Add returns the set with the mailbox.
func (m Missing) Add(id mailbox.ID) Missing {
	return Missing{append(slices.Clone(m.ids), id), m.refuted}
}

// Confirm returns the mailboxes that were missing from a first listing and that the plan of a second one does not find
// either. What looks renamed there, and did not in the first, or to another name, was renamed in between: the next round looks
// at it.
func Confirm(first Missing, second BoxPlan) []mailbox.ID {
	var both []mailbox.ID
	for _, id := range first.ids {
		again := slices.ContainsFunc(second.Rename, func(r Rename) bool { return r.Box.ID == id && r.Target.Raw == first.refuted[id] })
		if second.Missing.Has(id) || again {
			both = append(both, id)
		}
	}
	return both
}

// Implausible says whether so much of the account is missing that a broken upstream is likelier than a person: more
// than three mailboxes and more than half of them. Then the confirmation must come from another connection, later.
func (m Missing) Implausible(boxes int) bool { return len(m.ids) > 3 && 2*len(m.ids) > boxes }

// PlanBoxes compares the mailboxes here with a complete listing.
func PlanBoxes(local []Box, l Listing) BoxPlan {
	var p BoxPlan
	matched := map[string]bool{} // raw names that a local mailbox has
	var lost []Box               // local mailboxes that need another raw name, or are missing
	for _, b := range local {
		if b.Raw == "" {
			continue
		}
		switch listed := l.Find(b.Raw); {
		case listed == nil, displaced(b, *listed) && hasTwin(b, l), !holds(b, *listed, local):
			lost = append(lost, b)
		case !strings.EqualFold(b.Raw, inbox) && isAnothers(b, *listed, local, l):
			p.Evicted = append(p.Evicted, b)
		case listed.Attrs&mailbox.NoSelect != 0 && b.Attrs&mailbox.NoSelect == 0 && (b.Messages > 0 || b.Here || b.Deleting):
			// Deleted upstream, but still there as a parent: to be removed like any other, then made anew.
			matched[b.Raw] = true
			p.Missing.ids = append(p.Missing.ids, b.ID)
		case b.Deleting:
			matched[b.Raw] = true
		default:
			matched[b.Raw] = true
			if changed := b; changed.update(*listed) {
				p.Change = append(p.Change, changed)
			}
		}
	}
	fresh := map[string]Listed{}
	var order []string
	for _, b := range l.boxes {
		if !matched[b.Raw] {
			fresh[b.Raw] = b
			order = append(order, b.Raw)
		}
	}
	var gone []Box
	for _, b := range lost {
		if t, verify, ok := bestTarget(b, order, fresh); ok {
			p.Rename = append(p.Rename, Rename{
				Box: b, Target: Target{Listed: t}, State: *t.State, Verify: verify, Displaced: l.Find(b.Raw) != nil && !matched[b.Raw],
			})
			delete(fresh, t.Raw)
			continue
		}
		gone = append(gone, b)
	}
	p.Evicted = slices.DeleteFunc(p.Evicted, func(b Box) bool {
		_, free := fresh[b.Raw]
		if free { // nobody came instead: it was made anew
			matched[b.Raw] = true
			delete(fresh, b.Raw)
		}
		return free
	})
	// One that seems evicted may be what the upstream tells nothing of: who came instead waits, too.
	if slices.ContainsFunc(order, func(raw string) bool { return fresh[raw].Unsure }) {
		for _, b := range p.Evicted {
			p.Rename = slices.DeleteFunc(p.Rename, func(r Rename) bool { return r.Target.Raw == b.Raw })
			matched[b.Raw] = true
		}
		p.Evicted = nil
	}
	wait := false // one of those that are gone may be what the upstream tells nothing of: the next round knows more
	for _, raw := range order {
		if len(gone) > 0 && fresh[raw].Unsure {
			delete(fresh, raw)
			wait = true
		}
	}
	names := map[string]bool{}
	for _, b := range local {
		if !b.Deleting && (matched[b.Raw] || b.Raw == "") {
			names[b.Name] = true
		}
	}
	p.settleNames(slices.DeleteFunc(slices.Clone(local), func(b Box) bool {
		return slices.ContainsFunc(lost, func(o Box) bool { return o.ID == b.ID })
	}), l, matched, names)
	for i := range p.Rename {
		r := &p.Rename[i]
		switch {
		case r.Box.Deleting: // it has none that anybody sees
			r.Target.Name = r.Box.Name
		case r.Box.renamed(l.utf8): // what the client wants is yet to be done, to the mailbox wherever it is
			r.Target.Name = r.Box.Name
			names[r.Box.Name] = true
		}
	}
	for i := range p.Rename {
		if r := &p.Rename[i]; r.Target.Name == "" {
			r.Target.Name = free(Codec{r.Target.Delimiter, l.utf8}.Client(r.Target.Raw), names)
		}
	}
	// What a client made here and the upstream has, too: it is the same mailbox, whoever made it.
	for _, b := range local {
		wanted := cmp.Or(b.Creating, b.Name)
		if b.Raw != "" || b.Deleting && b.Creating == "" {
			continue
		}
		for _, raw := range order {
			t, ok := fresh[raw]
			if !ok || (Codec{t.Delimiter, l.utf8}).Client(raw) != wanted {
				continue
			}
			delete(fresh, raw)
			if t.Attrs&mailbox.NoSelect == 0 { // else it is a parent there until it is made
				b.update(t)
				p.Change = append(p.Change, b)
			}
			break
		}
	}
	// A mailbox whose raw name is spelled another way now (another delimiter, UTF8=ACCEPT) keeps the client's name.
	for _, b := range gone {
		respelled := ""
		for _, raw := range order {
			if t, ok := fresh[raw]; ok && !b.Deleting && !names[b.Name] && (Codec{t.Delimiter, l.utf8}).Client(raw) == b.Name {
				respelled = raw
				break
			}
		}
		if respelled == "" {
			if !wait {
				p.Missing.ids = append(p.Missing.ids, b.ID)
			}
			if !b.Deleting {
				names[b.Name] = true // until it is removed
			}
			continue
		}
		names[b.Name] = true
		if b.update(fresh[respelled]) {
			p.Change = append(p.Change, b)
		}
		delete(fresh, respelled)
	}
	for _, raw := range order {
		if t, ok := fresh[raw]; ok {
			p.Create = append(p.Create, Target{Listed: t, Name: free((Codec{t.Delimiter, l.utf8}).Client(raw), names)})
		}
	}
	slices.SortStableFunc(p.Create, func(a, b Target) int { return cmp.Compare(a.Name, b.Name) })
	return p
}

// settleNames gives mailboxes whose name here is not what the upstream calls them the upstream's name: what a client wished
// has been carried out, or something above them has another name there. Several may get one another's.
func (p *BoxPlan) settleNames(local []Box, l Listing, matched, names map[string]bool) {
	wants := map[mailbox.ID]string{}
	holder := map[string]mailbox.ID{}
	for _, b := range local {
		if b.Deleting || b.Raw != "" && !matched[b.Raw] {
			continue
		}
		holder[b.Name] = b.ID
		if b.Raw == "" || b.Renaming || p.Missing.Has(b.ID) {
			continue
		}
		if i := slices.IndexFunc(p.Change, func(c Box) bool { return c.ID == b.ID }); i >= 0 {
			b = p.Change[i]
		}
		if name := (Codec{b.Delimiter, l.utf8}).Client(b.Raw); name != b.Name {
			wants[b.ID] = name
		}
	}
	for again := true; again; { // who wants the name of one that stays stays, too
		again = false
		for id, name := range wants {
			at, held := holder[name]
			if _, leaves := wants[at]; names[name] && (!held || !leaves) {
				delete(wants, id)
				again = true
			}
		}
	}
	for _, b := range local {
		name, ok := wants[b.ID]
		if !ok {
			continue
		}
		names[name] = true
		if i := slices.IndexFunc(p.Change, func(c Box) bool { return c.ID == b.ID }); i >= 0 {
			p.Change[i].Name = name
		} else {
			b.Name = name
			p.Change = append(p.Change, b)
		}
	}
}

// Refuse takes back a rename that its verification refuted: the target becomes a mailbox of its own; the old one is
// missing, or, where something else has its name now, stays and will be healed. exists says whether the target can be
// opened at all: a name that cannot is not worth a mailbox.
func (p *BoxPlan) Refuse(r Rename, exists bool) {
	if r.Displaced {
		p.Create = slices.DeleteFunc(p.Create, func(t Target) bool { return t.Raw == r.Box.Raw })
	} else {
		p.Missing = p.Missing.Add(r.Box.ID)
		refuted := maps.Clone(p.Missing.refuted)
		if refuted == nil {
			refuted = map[mailbox.ID]string{}
		}
		refuted[r.Box.ID] = r.Target.Raw
		p.Missing.refuted = refuted
	}
	stays := slices.ContainsFunc(p.Evicted, func(b Box) bool { return b.Raw == r.Target.Raw })
	p.Evicted = slices.DeleteFunc(p.Evicted, func(b Box) bool { return b.Raw == r.Target.Raw })
	if exists && !stays {
		p.Create = append(p.Create, r.Target)
	}
}

// Defer takes back a rename that could be neither verified nor refuted: what is here stays as it is, and its target is left
// to the next round.
func (p *BoxPlan) Defer(r Rename) {
	if r.Displaced {
		p.Create = slices.DeleteFunc(p.Create, func(t Target) bool { return t.Raw == r.Box.Raw })
	}
	p.Evicted = slices.DeleteFunc(p.Evicted, func(b Box) bool { return b.Raw == r.Target.Raw })
}

// update gives the box what the listing says and reports whether anything changed.
func (b *Box) update(t Listed) bool {
	was := *b
	b.Raw, b.Delimiter, b.Attrs = t.Raw, t.Delimiter, t.Attrs
	return *b != was
}

// free returns the first of the name's variants that is not taken, and takes it.
func free(name string, taken map[string]bool) string {
	for n := 1; ; n++ {
		if v := nth(name, n); !taken[v] {
			taken[v] = true
			return v
		}
	}
}

// Rank orders mailboxes by how soon people want them: INBOX, then what is written from, then the rest, then archives,
// then junk.
func Rank(name string, attrs mailbox.Attr) int {
	switch {
	case name == inbox:
		return 0
	case attrs&(mailbox.Sent|mailbox.Drafts) != 0:
		return 1
	case attrs&(mailbox.Archive|mailbox.All) != 0:
		return 3
	case attrs&(mailbox.Trash|mailbox.Junk) != 0:
		return 4
	}
	return 2
}
