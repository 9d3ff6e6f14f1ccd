package mirror

import (
	"cmp"
	"slices"
	"strings"

	"imapped/domain/mailbox"
)

// displaced says whether the name now holds another mailbox than the one mirrored under it.
func displaced(b Box, t Listed) bool {
	return b.UIDValidity != 0 && t.State != nil && t.State.UIDValidity != 0 && t.State.UIDValidity != b.UIDValidity
}

// holds says whether b is the one of the mailboxes here that has the listed name. Two may: one was seen there and went before it
// was looked into, and another was renamed to its name from here. The listed UIDVALIDITY tells, or else who was here first.
func holds(b Box, t Listed, local []Box) bool {
	rank := func(b Box) int {
		switch {
		case displaced(b, t):
			return 2
		case b.UIDValidity == 0 && t.State != nil && t.State.UIDValidity != 0:
			return 1
		}
		return 0
	}
	return !slices.ContainsFunc(local, func(o Box) bool {
		return o.ID != b.ID && o.Raw == b.Raw && cmp.Or(cmp.Compare(rank(o), rank(b)), cmp.Compare(o.ID, b.ID)) < 0
	})
}

// isAnothers says whether what the listing has under the mailbox's name may be another mailbox of those here, which is not
// where it was any more.
func isAnothers(b Box, t Listed, local []Box, l Listing) bool {
	if t.State == nil || t.State.UIDValidity == b.UIDValidity {
		return false
	}
	return slices.ContainsFunc(local, func(o Box) bool {
		if o.ID == b.ID || o.Raw == "" || o.Raw == b.Raw || !couldBe(o, t) {
			return false
		}
		at := l.Find(o.Raw)
		return at == nil || displaced(o, *at)
	})
}

// hasTwin says whether the listing has, under another name, a mailbox that may be the one mirrored as b.
func hasTwin(b Box, l Listing) bool {
	for _, t := range l.boxes {
		if t.Raw != b.Raw && couldBe(b, t) {
			return true
		}
	}
	return false
}

// couldBe says whether the listed mailbox may be b under a new name.
func couldBe(b Box, t Listed) bool {
	s := t.State
	if s == nil || b.UIDValidity == 0 || s.UIDValidity != b.UIDValidity || t.Attrs&mailbox.NoSelect != 0 {
		return false
	}
	return s.UIDNext == 0 || s.UIDNext >= b.UIDNext
}

// bestTarget returns the listed mailbox that b was most probably renamed to, and whether that must be verified: it
// must when there is anything to compare.
func bestTarget(b Box, order []string, fresh map[string]Listed) (best Listed, verify, ok bool) {
	if strings.EqualFold(b.Raw, inbox) {
		return Listed{}, false, false // RENAME INBOX moves the messages and leaves INBOX (RFC 9051 section 6.3.6)
	}
	score := -1
	for _, raw := range order {
		t, free := fresh[raw]
		if !free || !couldBe(b, t) {
			continue
		}
		s := 0
		if t.State.UIDNext == b.UIDNext {
			s += 2
		}
		if t.State.Messages == b.Checkpoint.Messages {
			s++
		}
		if s > score {
			best, score, ok = t, s, true
		}
	}
	return best, b.Messages > 0 && ok && best.State.Messages > 0, ok
}
