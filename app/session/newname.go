package session

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mirror"
)

// maxName is how many octets a mailbox's name may have.
const maxName = 1000

// onlyHolds is what is wrong with a name that is no mailbox but has mailboxes below it.
const onlyHolds = "this name only holds other mailboxes"

// checkName says whether a mailbox of the account may be given the name: fault.Invalid when not. The delimiter at the
// end, which CREATE allows, is gone already.
func (l *login) checkName(ctx context.Context, t *tree, at root, name string) error {
	const op = "check mailbox name"
	switch {
	case len(name) > maxName:
		return fault.Newf(fault.Invalid, op, "the name has more than %d octets", maxName)
	case !utf8.ValidString(name):
		return fault.New(fault.Invalid, op, "the name is not UTF-8")
	case strings.ContainsFunc(name, unprintable):
		return fault.New(fault.Invalid, op, "the name has a control character in it")
	}
	for part := range strings.SplitSeq(name, delimiter) {
		if part == "" {
			return fault.New(fault.Invalid, op, "a part of the name is empty")
		}
	}
	for parent := range parents(name) {
		if p := t.stored(at, parent); p != nil && p.info.Attrs&mailbox.NoInferiors != 0 {
			return fault.New(fault.Invalid, op, "the mailbox above it cannot hold mailboxes")
		}
	}
	if at.local {
		return nil
	}
	codec, ok, err := l.codec(ctx, at, name)
	if err != nil || !ok {
		return err
	}
	raw, err := codec.Raw(name)
	if err != nil {
		return err
	}
	// A name that would come back from the upstream as another one is not this mailbox's for long.
	if shown := codec.Client(raw); shown != name {
		return fault.Newf(fault.Invalid, op, "the name is to be written as %q", shown)
	}
	return nil
}

// unprintable says whether a character cannot be in a name (RFC 9051 section 5.1).
func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// codec returns how the upstream would write a name: with the delimiter of the mailbox whose name has the most leading
// parts in common with it; false when the upstream's names are not known yet.
func (l *login) codec(ctx context.Context, at root, name string) (c mirror.Codec, ok bool, err error) {
	if l.svc.c.Upstreams == nil {
		return c, false, nil
	}
	boxes, err := l.svc.c.Upstreams.Mirrored(ctx, at.account)
	if err != nil {
		return c, false, fault.Wrap("look for the upstream's delimiter", err)
	}
	nearest := -1
	for i := range boxes {
		b := &boxes[i]
		if b.Upstream.Name == "" || b.Deleting {
			continue
		}
		near := shared(name, b.Name)
		// INBOX may have no delimiter where the others have one (RFC 9051 section 7.3.1 lets each answer differ).
		if near > nearest || near == nearest && c.Delimiter == 0 {
			c.Delimiter, nearest, ok = b.Upstream.Delimiter, near, true
		}
	}
	return c, ok, nil
}

// shared returns how many leading parts two names have in common.
func shared(a, b string) (n int) {
	for {
		x, restA, moreA := strings.Cut(a, delimiter)
		y, restB, moreB := strings.Cut(b, delimiter)
		if x != y {
			return n
		}
		if n++; !moreA || !moreB {
			return n
		}
		a, b = restA, restB
	}
}
