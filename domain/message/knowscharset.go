package message

import "strings"

// KnowsCharset says whether TextDecoder converts text in the charset, in place of guessing: what SEARCH CHARSET may name
// (RFC 9051 section 6.4.4).
func KnowsCharset(charset string) bool {
	switch strings.ToLower(charset) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return true
	}
	var d TextDecoder
	d.Reset(charset)
	return d.t != nil
}
