package nodes

import (
	"strconv"
	"strings"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

// A call's text is five fields with dots between them: the version, what it is about, the account, the mailbox, and the
// UIDs as a sequence-set (RFC 9051 section 9) without "*": "1.6.3.4.1:3,9". There is exactly one for each call. It is
// ASCII, without spaces, so that several can be put into one message.
const version = "1"

// MaxText is how many octets a call's text has at most.
const MaxText = 64 + 22*MaxRanges

// Text returns the text of a call; fault.Invalid for one that has none: an unknown What, a negative number, a set that is
// not well-formed or has more than MaxRanges ranges.
func (c Call) Text() (string, error) {
	if c.What < Free || c.What > Bodies || c.Account < 0 || c.Mailbox < 0 || !fits(c.UIDs) {
		return "", fault.New(fault.Invalid, "write a call", "it has no text")
	}
	b := make([]byte, 0, 64+22*len(c.UIDs))
	b = append(b, version+"."...)
	b = append(strconv.AppendUint(b, uint64(c.What), 10), '.')
	b = append(strconv.AppendInt(b, int64(c.Account), 10), '.')
	b = append(strconv.AppendInt(b, int64(c.Mailbox), 10), '.')
	return string(c.UIDs.Append(b)), nil
}

// fits says whether a set is what a Set is, of UIDs, and not too long.
func fits(s mailbox.Set) bool {
	if len(s) > MaxRanges {
		return false
	}
	next := uint64(1) // the lowest number that the next range may begin with
	for _, r := range s {
		if uint64(r.First) < next || r.Last < r.First {
			return false
		}
		next = uint64(r.Last) + 2
	}
	return true
}

// Parse reads a call's text, of which nothing is believed: fault.Invalid when it is not what Text returns for some call.
func Parse(text string) (Call, error) {
	c, ok := parse(text)
	if ok {
		again, err := c.Text() // a number may have been written in another way, a set in another order
		ok = err == nil && again == text
	}
	if !ok {
		return Call{}, fault.New(fault.Invalid, "read a call", "it cannot be understood")
	}
	return c, nil
}

func parse(text string) (c Call, ok bool) {
	if len(text) > MaxText {
		return c, false
	}
	fields := strings.SplitN(text, ".", 6)
	if len(fields) != 5 || fields[0] != version {
		return c, false
	}
	what, err1 := strconv.ParseUint(fields[1], 10, 8)
	acc, err2 := strconv.ParseInt(fields[2], 10, 64)
	box, err3 := strconv.ParseInt(fields[3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return c, false
	}
	c = Call{What: What(what), Account: account.ID(acc), Mailbox: mailbox.ID(box)}
	if fields[4] == "" {
		return c, true
	}
	for text := range strings.SplitSeq(fields[4], ",") {
		first, last, isRange := strings.Cut(text, ":")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 32)
		b, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil {
			return c, false
		}
		c.UIDs = append(c.UIDs, mailbox.Range{First: uint32(a), Last: uint32(b)})
	}
	return c, true
}
