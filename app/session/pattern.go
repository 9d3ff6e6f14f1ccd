package session

import "strings"

// pattern is a LIST pattern (RFC 9051 section 6.3.9): "*" stands for any characters, "%" for any but the delimiter.
type pattern string

// newPattern returns the pattern with each run of wildcards made one: a run with a "*" in it means "*".
func newPattern(s string) pattern {
	var b strings.Builder
	for i := 0; i < len(s); {
		if !isWild(s[i]) {
			b.WriteByte(s[i])
			i++
			continue
		}
		wild := byte('%')
		for ; i < len(s) && isWild(s[i]); i++ {
			if s[i] == '*' {
				wild = '*'
			}
		}
		b.WriteByte(wild)
	}
	return pattern(b.String())
}

func isWild(b byte) bool { return b == '*' || b == '%' }

// match says whether the name matches; of its bytes from fold on, the length of "INBOX" matches in any case (-1: no
// part of it).
//
// It never tries more than len(pattern) x len(name) comparisons: on a mismatch only the last wildcard can take one
// more character, or, where a "%" cannot because it stands before a delimiter, the last "*". Letting an earlier one
// grow could lead nowhere that this does not.
func (p pattern) match(name string, fold int) bool {
	const none = -1
	star, starAt := none, 0 // the place behind the last "*", and how far it reaches in name
	pct, pctAt := none, 0   // the same for a "%" behind it
	i, j := 0, 0
	for {
		switch {
		case i < len(p) && p[i] == '*':
			i++
			star, starAt, pct = i, j, none
			continue
		case i < len(p) && p[i] == '%':
			i++
			pct, pctAt = i, j
			continue
		case i == len(p) && j == len(name):
			return true
		case i < len(p) && j < len(name) && same(p[i], name[j], j >= fold && fold >= 0 && j < fold+len(inbox)):
			i, j = i+1, j+1
			continue
		}
		switch {
		case pct != none && pctAt < len(name) && name[pctAt] != delimiter[0]:
			pctAt++
			i, j = pct, pctAt
		case star != none && starAt < len(name):
			starAt++
			i, j, pct = star, starAt, none
		default:
			return false
		}
	}
}

func same(a, b byte, fold bool) bool {
	if fold && 'a' <= a && a <= 'z' {
		a -= 'a' - 'A'
	}
	return a == b
}
