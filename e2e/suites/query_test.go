package suites

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// queries makes SEARCH queries out of the words of real mail. The same seed makes the same queries.
type queries struct {
	rng   *rand.Rand
	box   harness.Box
	words map[string][]string // by header field; "" holds words of bodies
	next  int
}

var (
	headerLine = regexp.MustCompile(`(?im)^(from|to|cc|bcc|subject|message-id|x-mailer|list-id|content-type|received): *([^\r\n]*)`)
	word       = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9@.-]{1,18}`)
)

func newQueries(seed uint64, box harness.Box) *queries {
	q := &queries{rng: rand.New(rand.NewPCG(seed, uint64(len(box.Messages)))), box: box, words: map[string][]string{}}
	for _, m := range box.Messages {
		head, body, _ := bytes.Cut(m.Raw, []byte("\r\n\r\n"))
		for _, h := range headerLine.FindAllSubmatch(head, -1) {
			name := strings.ToLower(string(h[1]))
			for _, s := range word.FindAll(h[2], -1) {
				q.words[name] = append(q.words[name], string(s))
			}
		}
		for i, s := range word.FindAll(body, -1) {
			if i%17 == 0 {
				q.words[""] = append(q.words[""], string(s))
			}
		}
	}
	return q
}

// needle returns a word of a field, or a part of one, in some case.
func (q *queries) needle(field string) string {
	from := q.words[field]
	if len(from) == 0 || q.rng.IntN(12) == 0 {
		return q.pick("zzyzx", "a", "e", "th", "linux", "ing", "@", ".com", "re:", "1.0")
	}
	s := from[q.rng.IntN(len(from))]
	if q.rng.IntN(3) == 0 && len(s) > 3 {
		i := q.rng.IntN(len(s) - 2)
		s = s[i : i+2+q.rng.IntN(len(s)-i-1)]
	}
	switch q.rng.IntN(3) {
	case 0:
		s = strings.ToUpper(s)
	case 1:
		s = strings.ToLower(s)
	}
	return s
}

func (q *queries) pick(of ...string) string { return of[q.rng.IntN(len(of))] }

// day returns a date of the box's mail, or one near it.
func (q *queries) day() string {
	at := time.Date(2002, 6, 1, 0, 0, 0, 0, time.UTC)
	if n := len(q.box.Messages); n > 0 {
		at = q.box.Messages[q.rng.IntN(n)].Date
	}
	return at.AddDate(0, 0, q.rng.IntN(3)-1).Format("2-Jan-2006")
}

func (q *queries) sentDay() string {
	return time.Date(2002, 7, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, q.rng.IntN(200)).Format("2-Jan-2006")
}

// ranks returns a set of sequence numbers.
func (q *queries) ranks() string {
	n := max(1, len(q.box.Messages))
	var parts []string
	for range 1 + q.rng.IntN(4) {
		a, b := 1+q.rng.IntN(n), 1+q.rng.IntN(n)
		parts = append(parts, q.pick(strconv.Itoa(a), fmt.Sprintf("%d:%d", a, b), fmt.Sprintf("%d:*", a)))
	}
	return strings.Join(parts, ",")
}

// all lists a maker for every search key of RFC 9051, RFC 3501 and RFC 5032. A set of UIDs is written as <ranks>, since
// the two sides have different UIDs for the same messages.
var all = []func(*queries) string{
	func(q *queries) string {
		return q.pick("ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN", "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED",
			"UNSEEN", "OLD")
	},
	func(q *queries) string {
		return q.pick("KEYWORD ", "UNKEYWORD ") + q.pick("$Forwarded", "$junk", "NonJunk", "Nothing")
	},
	func(q *queries) string { return "BCC " + imapc.Quote(q.needle("bcc")) },
	func(q *queries) string { return "CC " + imapc.Quote(q.needle("cc")) },
	func(q *queries) string { return "FROM " + imapc.Quote(q.needle("from")) },
	func(q *queries) string { return "TO " + imapc.Quote(q.needle("to")) },
	func(q *queries) string { return "SUBJECT " + imapc.Quote(q.needle("subject")) },
	func(q *queries) string { return "BODY " + imapc.Quote(q.needle("")) },
	func(q *queries) string { return "TEXT " + imapc.Quote(q.needle(q.pick("", "", "subject", "from"))) },
	func(q *queries) string {
		field := q.pick("message-id", "x-mailer", "list-id", "content-type", "received", "subject")
		return "HEADER " + strings.ToUpper(field) + " " + imapc.Quote(q.needle(field))
	},
	func(q *queries) string { return "HEADER " + q.pick("X-Mailer", "List-Id", "Cc", "X-Nowhere") + ` ""` },
	func(q *queries) string { return q.pick("BEFORE ", "ON ", "SINCE ") + q.day() },
	func(q *queries) string { return q.pick("SENTBEFORE ", "SENTON ", "SENTSINCE ") + q.sentDay() },
	func(q *queries) string { return q.pick("LARGER ", "SMALLER ") + strconv.Itoa(q.rng.IntN(12_000)) },
	func(q *queries) string {
		return q.pick("OLDER ", "YOUNGER ") + strconv.Itoa(700_000_000+q.rng.IntN(60_000_000))
	},
	func(q *queries) string { return q.ranks() },
	func(q *queries) string { return "UID <" + q.ranks() + ">" },
	func(q *queries) string { return "MODSEQ 1" },
}

// query returns a query up to a depth. At the top the kinds of keys take turns, so that all come.
func (q *queries) query(depth int) string {
	leaf := func() string { return all[q.rng.IntN(len(all))](q) }
	switch n := q.rng.IntN(10); {
	case depth == 0:
		return leaf()
	case n < 2:
		return "NOT " + q.key(depth-1)
	case n < 4:
		return "OR " + q.key(depth-1) + " " + q.key(depth-1)
	case n < 6:
		return leaf() + " " + q.key(depth-1)
	}
	q.next++
	return all[q.next%len(all)](q)
}

// key returns a query as one key.
func (q *queries) key(depth int) string {
	s := q.query(depth)
	if q.rng.IntN(3) > 0 || depth > 0 {
		return "(" + s + ")"
	}
	return s
}

var uidRanks = regexp.MustCompile(`<([^>"]*)>`)

// forSide replaces sets of ranks by the UIDs that a server has for them.
func forSide(query string, rows []row) string {
	return uidRanks.ReplaceAllStringFunc(query, func(s string) string {
		return regexp.MustCompile(`\d+`).ReplaceAllStringFunc(s[1:len(s)-1], func(n string) string {
			i, _ := strconv.Atoi(n) // the expression matches digits only
			return strconv.FormatUint(uint64(rows[i-1].uid), 10)
		})
	})
}
