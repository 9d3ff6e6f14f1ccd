// Package flag holds a message's flags: the system flags as a bit set, the keywords as one canonical string.
//
// Invariants:
//  1. A Set is a comparable value: two sets with the same flags are ==, so distinct sets can be interned in a map.
//  2. Keywords are kept sorted by their lower-case form, each once; the spelling first seen in a Set stays
//     (keywords are case-insensitive, RFC 9051 section 2.3.2). What is not an atom is not kept: it could not be sent.
//  3. \Recent is not a flag here: it belongs to a session's view, not to a message.
package flag

import (
	"slices"
	"strings"
)

// System is a bit set of the system flags (RFC 9051 section 2.3.2).
type System uint8

// The system flags.
const (
	Answered System = 1 << iota
	Flagged
	Deleted
	Seen
	Draft
)

// AllSystem is every system flag.
const AllSystem = Answered | Flagged | Deleted | Seen | Draft

var systemNames = []struct {
	bit  System
	name string
}{
	{Answered, `\Answered`}, {Flagged, `\Flagged`}, {Deleted, `\Deleted`}, {Seen, `\Seen`}, {Draft, `\Draft`},
}

// ParseSystem returns the system flag with the name (any case, with its backslash), or 0.
func ParseSystem(name string) System {
	for _, s := range systemNames {
		if equalFold(s.name, name) {
			return s.bit
		}
	}
	return 0
}

// Set is a message's flags. The zero value is no flags.
type Set struct {
	Sys      System
	keywords string // joined by one space, sorted by lower-case form
}

// Make returns the set of sys and keywords. Doubles are dropped, and so is what is not a keyword.
func Make(sys System, keywords ...string) Set {
	return Set{Sys: sys & AllSystem, keywords: canonical(keywords)}
}

// Parse returns the set of the flag names as they stand on the wire. Unknown names with a backslash (\Recent, \*,
// a server's own) are not kept.
func Parse(names ...string) Set {
	var sys System
	var keywords []string
	for _, n := range names {
		switch bit := ParseSystem(n); {
		case bit != 0:
			sys |= bit
		case n != "" && n[0] != '\\':
			keywords = append(keywords, n)
		}
	}
	return Make(sys, keywords...)
}

// FromStored returns the set that Sys and KeywordString describe: what a store keeps of a set.
func FromStored(sys System, keywords string) Set {
	if !isCanonical(keywords) {
		keywords = canonical(strings.Fields(keywords))
	}
	return Set{Sys: sys & AllSystem, keywords: keywords}
}

func canonical(keywords []string) string {
	if len(keywords) == 1 && isKeyword(keywords[0]) {
		return keywords[0]
	}
	ks := slices.DeleteFunc(slices.Clone(keywords), func(k string) bool { return !isKeyword(k) })
	slices.SortStableFunc(ks, compareFold)
	return strings.Join(slices.CompactFunc(ks, equalFold), " ")
}

// isCanonical says whether s is what canonical would make of its words, without allocating.
func isCanonical(s string) bool {
	for last := ""; s != ""; {
		k, rest, more := strings.Cut(s, " ")
		if !isKeyword(k) || compareFold(last, k) >= 0 || more && rest == "" {
			return false
		}
		last, s = k, rest
	}
	return true
}

// KeywordString returns the keywords joined by single spaces: the form that stores keep.
func (s Set) KeywordString() string { return s.keywords }

// Keywords returns the keywords in canonical order; nil when there are none.
func (s Set) Keywords() []string { return strings.Fields(s.keywords) }

// Has says whether every system flag of bits is set.
func (s Set) Has(bits System) bool { return s.Sys&bits == bits }

// HasKeyword says whether the keyword is set, in any case.
func (s Set) HasKeyword(keyword string) bool {
	rest := s.keywords
	for rest != "" {
		var k string
		k, rest, _ = strings.Cut(rest, " ")
		if equalFold(k, keyword) {
			return true
		}
	}
	return false
}

// Equal says whether both sets have the same flags; the spelling of keywords does not count.
func (s Set) Equal(o Set) bool { return s.Sys == o.Sys && equalFold(s.keywords, o.keywords) }

// Empty says whether no flag is set.
func (s Set) Empty() bool { return s == Set{} }

// Union returns the flags of either.
func (s Set) Union(o Set) Set {
	if o.keywords == "" || s.keywords == o.keywords {
		return Set{Sys: s.Sys | o.Sys, keywords: s.keywords}
	}
	return Set{Sys: s.Sys | o.Sys, keywords: canonical(append(s.Keywords(), o.Keywords()...))}
}

// Minus returns the flags of s that o has not.
func (s Set) Minus(o Set) Set {
	kept := s.keywords
	if o.keywords != "" && kept != "" {
		ks := slices.DeleteFunc(s.Keywords(), o.HasKeyword)
		kept = strings.Join(ks, " ")
	}
	return Set{Sys: s.Sys &^ o.Sys, keywords: kept}
}

// Append appends the flags as they stand between the parentheses of a FLAGS item, separated by single spaces.
func (s Set) Append(dst []byte) []byte {
	start := len(dst)
	for _, sys := range systemNames {
		if s.Sys&sys.bit != 0 {
			if len(dst) > start {
				dst = append(dst, ' ')
			}
			dst = append(dst, sys.name...)
		}
	}
	if s.keywords != "" {
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = append(dst, s.keywords...)
	}
	return dst
}

// String returns the flags separated by single spaces.
func (s Set) String() string { return string(s.Append(nil)) }
