package server

import (
	"imapped/domain/mailbox"
	"imapped/imapwire/syntax"
)

// domainRanges returns a client's set in domain's type, "*" still being 0.
func domainRanges(ranges []syntax.Range) []mailbox.Range {
	out := make([]mailbox.Range, len(ranges))
	for i, r := range ranges {
		out[i] = mailbox.Range{First: r.First, Last: r.Last}
	}
	return out
}

// resolve returns the sequence numbers in the view that the client's set means. Of UIDs, those that do not exist are
// left out; a sequence number that does not exist is an error of the client's (RFC 9051 section 9, seq-number).
func (c *conn) resolve(v *mailbox.View, set syntax.NumSet, uid bool) (mailbox.Set, bool) {
	switch {
	case set.Saved:
		return v.SeqsOfUIDs(c.sel.saved), true
	case uid:
		return v.SeqsOfUIDs(domainRanges(set.Ranges)), true
	}
	return v.Seqs(domainRanges(set.Ranges))
}

// uidSet returns the UIDs that a client's UID set means, existing or not.
func uidSet(v *mailbox.View, ranges []syntax.Range) mailbox.Set {
	top := uint32(max(v.UIDNext(), 2) - 1)
	out := make([]mailbox.Range, len(ranges))
	for i, r := range ranges {
		lo, hi := r.Resolve(top)
		out[i] = mailbox.Range{First: max(lo, 1), Last: max(hi, 1)}
	}
	return mailbox.Normalize(out)
}
