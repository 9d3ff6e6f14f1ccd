package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Seen is a message as a server shows it.
type Seen struct {
	UID   uint32
	Token string   // "": its content was not asked for
	Flags []string // as they were sent, without \Recent
}

func (s Seen) has(flag string) bool {
	return slices.ContainsFunc(s.Flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

// Promise is what had been promised of a mailbox at a moment.
type Promise struct {
	l    *Ledger
	box  Box
	here []promised
	gone []*Copy
}

type promised struct {
	*Copy
	version  int
	keywords map[string]state
}

// Promised returns what is certain now: who asks for the mailbox after this moment must be shown that.
func (l *Ledger) Promised(b Box) *Promise {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Promise{l: l, box: b}
	for _, c := range l.book(b).copies {
		switch {
		case c.UID == 0 || c.trying > 0:
		case c.here == yes:
			p.here = append(p.here, promised{c, c.version, maps.Clone(c.keywords)})
		case c.here == no:
			p.gone = append(p.gone, c)
		}
	}
	return p
}

// Broken returns what of the promise does not hold in a complete listing of the mailbox that was asked for after it, and read
// before this moment. What was tried since is left out.
func (p *Promise) Broken(listing []Seen) (all []string) {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	byUID := make(map[uint32]Seen, len(listing))
	for _, s := range listing {
		byUID[s.UID] = s
	}
	for _, w := range p.here {
		if w.Copy.version != w.version {
			continue
		}
		s, ok := byUID[w.UID]
		if !ok {
			all = append(all, fmt.Sprintf("%s: UID %d (%s) was acknowledged and is not there", p.box, w.UID, w.Token))
			continue
		}
		all = append(all, wrong(p.box, s, w.Token, w.keywords)...)
	}
	for _, c := range p.gone {
		if s, ok := byUID[c.UID]; ok {
			all = append(all, fmt.Sprintf("%s: UID %d (%s) was removed and is there again: %v", p.box, c.UID, c.Token, s))
		}
	}
	return all
}

// wrong returns how a message differs from what was promised of it.
func wrong(b Box, s Seen, token string, keywords map[string]state) (all []string) {
	if s.Token != "" && s.Token != token {
		all = append(all, fmt.Sprintf("%s: UID %d is %s and was promised to be %s", b, s.UID, s.Token, token))
	}
	for _, k := range slices.Sorted(maps.Keys(keywords)) {
		if want := keywords[k]; want != unsure && s.has(k) != (want == yes) {
			all = append(all, fmt.Sprintf("%s: UID %d (%s): flags %v; that %s is set was promised to be %t", b, s.UID, token, s.Flags, k, want == yes))
		}
	}
	return all
}

// Check returns what is wrong with complete listings, with tokens, of all mailboxes of an account at the end, when nothing is
// tried any more and nothing is on its way: what was promised is there, and nothing else but what is uncertain, and that at
// most once.
func (l *Ledger) Check(account string, listings map[string][]Seen) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := map[Place]bool{}
	names := keys(listings)
	for name, listing := range listings {
		for _, s := range listing {
			at := Place{Box{account, name}, s.UID}
			if shown[at] {
				all = append(all, fmt.Sprintf("%s: UID %d is there twice", at.Box, at.UID))
			}
			shown[at] = true
		}
	}
	for b := range l.boxes {
		if b.Account == account {
			names[b.Name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, l.checkBox(Box{account, name}, listings[name], shown)...)
	}
	return all
}

// checkBox is Check for one mailbox; shown is what all of them have.
func (l *Ledger) checkBox(box Box, listing []Seen, shown map[Place]bool) (all []string) {
	b := l.book(box)
	complain := func(format string, args ...any) { all = append(all, box.String()+": "+fmt.Sprintf(format, args...)) }
	extra := map[string][]Seen{} // by token, what has no place of its own
	for _, s := range listing {
		switch c := b.byUID[s.UID]; {
		case c == nil:
			extra[s.Token] = append(extra[s.Token], s)
		case c.here == no:
			complain("UID %d (%s) was removed and is there: %v", s.UID, c.Token, s)
		default:
			all = append(all, wrong(box, s, c.Token, c.keywords)...)
		}
	}
	delivered := map[string][]*Copy{}
	for _, c := range b.copies {
		switch {
		case c.here != yes:
		case c.UID == 0:
			delivered[c.Token] = append(delivered[c.Token], c)
		case !shown[c.Place]:
			complain("UID %d (%s) was acknowledged and is lost", c.UID, c.Token)
		}
	}
	tokens := keys(extra)
	for _, m := range []map[string]bool{keys(delivered), keys(b.from), keys(b.maybe)} {
		maps.Copy(tokens, m)
	}
	for _, token := range slices.Sorted(maps.Keys(tokens)) {
		got := extra[token]
		for _, c := range delivered[token] {
			if len(got) == 0 {
				complain("%s was delivered and is lost", token)
				continue
			}
			all = append(all, wrong(box, got[0], token, c.keywords)...)
			got = got[1:]
		}
		moved := 0
		for _, c := range b.from[token] {
			if !shown[c.Place] {
				moved++
			}
		}
		switch most := moved + b.maybe[token]; {
		case len(got) > most && most == 0:
			complain("%s is there %d times too many: %v", token, len(got), got)
		case len(got) > most:
			complain("%s is there %d times, and no more than %d were tried without an answer: %v", token, len(got), most, got)
		case len(got) < moved:
			complain("%s was moved without an answer, and is in neither place", token)
		}
	}
	return all
}

func keys[K comparable, V any](m map[K]V) map[K]bool {
	all := make(map[K]bool, len(m))
	for k := range m {
		all[k] = true
	}
	return all
}

// Differences returns how the content of a mailbox differs between two servers, whose UIDs are not the same: tokens and flags,
// each as often as the other has it.
func Differences(ours, theirs []Seen) (all []string) {
	count := map[string]int{}
	for _, s := range theirs {
		count[s.line()]++
	}
	for _, s := range ours {
		count[s.line()]--
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		switch n := count[line]; {
		case n > 0:
			all = append(all, fmt.Sprintf("%d times only upstream: %s", n, line))
		case n < 0:
			all = append(all, fmt.Sprintf("%d times only here: %s", -n, line))
		}
	}
	return all
}

// line is a message without its UID.
func (s Seen) line() string {
	flags := make([]string, len(s.Flags))
	for i, f := range s.Flags {
		flags[i] = strings.ToLower(f)
	}
	slices.Sort(flags)
	return s.Token + " (" + strings.Join(flags, " ") + ")"
}
