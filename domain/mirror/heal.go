package mirror

import (
	"cmp"
	"slices"

	"imapped/domain/mailbox"
)

// Ident is an upstream message by its identity.
type Ident struct {
	Upstream uint32
	Email    mailbox.ObjectID // of message.Identify
}

// Rebind gives the message with the local UID an upstream UID.
type Rebind struct {
	UID      mailbox.UID
	Upstream uint32
}

// Match pairs the messages here with the upstream's after its UIDs became meaningless: those with equal identity,
// several of one identity in the order of their UIDs. It returns the pairs, by local UID, and what is left on either
// side. What is left here is gone only when idents is everything that the upstream has. What is yet to be placed there
// takes no part. Of equal messages those that departed come last: what they are bound to will be expunged, and nothing
// that is here may be.
func Match(rows []Row, idents []Ident) (pairs []Rebind, here mailbox.Set, there mailbox.Set) {
	waiting := make(map[mailbox.ObjectID][]mailbox.UID, len(rows))
	departedLast := func(a, b Row) int {
		switch {
		case a.Departed == b.Departed:
			return cmp.Compare(a.UID, b.UID)
		case a.Departed:
			return 1
		}
		return -1
	}
	for _, r := range slices.SortedFunc(slices.Values(rows), departedLast) {
		if !r.Placing {
			waiting[r.Email] = append(waiting[r.Email], r.UID)
		}
	}
	var left []uint32
	for _, u := range slices.SortedFunc(slices.Values(idents), func(a, b Ident) int { return cmp.Compare(a.Upstream, b.Upstream) }) {
		uids := waiting[u.Email]
		if len(uids) == 0 {
			left = append(left, u.Upstream)
			continue
		}
		pairs = append(pairs, Rebind{uids[0], u.Upstream})
		waiting[u.Email] = uids[1:]
	}
	var stay []mailbox.UID
	for _, uids := range waiting {
		stay = append(stay, uids...)
	}
	slices.SortFunc(pairs, func(a, b Rebind) int { return cmp.Compare(a.UID, b.UID) })
	return pairs, mailbox.SetOf(stay...), mailbox.SetOf(left...)
}

// Verdict is what a look at a few messages says about a supposed rename.
type Verdict struct{ same, other int }

// Look compares one upstream message with the one known under its UID, if any.
func (v *Verdict) Look(known map[uint32]mailbox.ObjectID, u Ident) {
	switch email, ok := known[u.Upstream]; {
	case !ok:
	case email == u.Email:
		v.same++
	default:
		v.other++
	}
}

// Same says whether it is the same mailbox: something agreed and nothing disagreed.
func (v *Verdict) Same() bool { return v.same > 0 && v.other == 0 }

// Refuted says whether it is another mailbox.
func (v *Verdict) Refuted() bool { return v.other > 0 }

// Sample returns up to n rows, spread over all, as upstream UID -> identity.
func Sample(rows []Row, n int) map[uint32]mailbox.ObjectID {
	out := make(map[uint32]mailbox.ObjectID, n)
	step := max(1, len(rows)/max(n, 1))
	for i := len(rows) - 1; i >= 0 && len(out) < n; i -= step {
		if rows[i].Upstream != 0 {
			out[rows[i].Upstream] = rows[i].Email
		}
	}
	return out
}
