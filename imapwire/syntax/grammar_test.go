package syntax

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// The slow grammar: RFC 9051 section 9 and the extensions, rule for rule, over a whole command with its literals inline.
// A rule returns every position where it can end. It shares no code with the parser.

type rule func(s string, i int) []int

func lit(text string) rule { // case-insensitive
	return func(s string, i int) []int {
		if i+len(text) <= len(s) && strings.EqualFold(s[i:i+len(text)], text) && isASCII(s[i:i+len(text)]) {
			return []int{i + len(text)}
		}
		return nil
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}

func oneOf(ok func(c byte) bool) rule {
	return func(s string, i int) []int {
		if i < len(s) && ok(s[i]) {
			return []int{i + 1}
		}
		return nil
	}
}

func seq(rs ...rule) rule {
	return func(s string, i int) []int {
		at := []int{i}
		for _, r := range rs {
			var next []int
			for _, p := range at {
				next = append(next, r(s, p)...)
			}
			slices.Sort(next)
			if at = slices.Compact(next); len(at) == 0 {
				return nil
			}
		}
		return at
	}
}

func alt(rs ...rule) rule {
	return func(s string, i int) []int {
		var out []int
		for _, r := range rs {
			out = append(out, r(s, i)...)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
}

func opt(r rule) rule { return alt(lit(""), r) }

// many is *r.
func many(r rule) rule {
	return func(s string, i int) []int {
		seen := map[int]bool{i: true}
		for todo := []int{i}; len(todo) > 0; {
			p := todo[0]
			todo = todo[1:]
			for _, q := range r(s, p) {
				if !seen[q] {
					seen[q] = true
					todo = append(todo, q)
				}
			}
		}
		out := make([]int, 0, len(seen))
		for p := range seen {
			out = append(out, p)
		}
		slices.Sort(out)
		return out
	}
}

func some(r rule) rule { return seq(r, many(r)) }

// list is 1*(r), separated by spaces.
func list(r rule) rule { return seq(r, many(seq(lit(" "), r))) }

func paren(r rule) rule { return seq(lit("("), r, lit(")")) }

// where keeps those ends whose text passes.
func where(r rule, ok func(text string) bool) rule {
	return func(s string, i int) []int {
		return slices.DeleteFunc(slices.Clone(r(s, i)), func(p int) bool { return !ok(s[i:p]) })
	}
}

func words(names string) rule {
	var rs []rule
	for _, n := range strings.Fields(names) {
		rs = append(rs, lit(n))
	}
	return alt(rs...)
}

// number is digits with a value from least to most, both in decimal.
func number(least, most string, zeros bool) rule {
	return where(some(oneOf(slowDigit)), func(t string) bool {
		v := strings.TrimLeft(t, "0")
		if !zeros && v != t {
			return false
		}
		le := func(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a <= b }
		return le(strings.TrimLeft(least, "0"), v) && le(v, most)
	})
}

func slowDigit(c byte) bool { return '0' <= c && c <= '9' }
func slowAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func slowAtom(c byte) bool {
	return c > 0x20 && c < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(c))
}
func slowAString(c byte) bool { return slowAtom(c) || c == ']' }

func slowQuoted(s string, i int) []int {
	if i >= len(s) || s[i] != '"' {
		return nil
	}
	for p := i + 1; p < len(s); p++ {
		switch s[p] {
		case '"':
			if strings.ToValidUTF8(s[i:p], "") != s[i:p] {
				return nil
			}
			return []int{p + 1}
		case '\\':
			if p++; p >= len(s) || s[p] != '"' && s[p] != '\\' {
				return nil
			}
		case 0, '\r', '\n':
			return nil
		}
	}
	return nil
}

// slowLit is literal; with eight, literal8 alone.
func slowLit(eight bool) rule {
	return func(s string, i int) []int {
		end := strings.IndexByte(s[i:], '\n')
		if end < 0 {
			return nil
		}
		head, binary, _, found, bad, size := slowLiteral(strings.TrimSuffix(s[i:i+end], "\r"))
		from := i + end + 1
		if head != 0 || !found || bad || binary != eight || size > uint64(len(s)-from) {
			return nil
		}
		if !eight && strings.Contains(s[from:from+int(size)], "\x00") {
			return nil
		}
		return []int{from + int(size)}
	}
}

const max63 = "9223372036854775807"

// slowCommand is the rule for a whole command. It is built once: rules are values without state.
var slowCommand = sync.OnceValue(func() rule {
	sp := lit(" ")
	atom := some(oneOf(slowAtom))
	str := alt(slowQuoted, slowLit(false))
	astring := alt(some(oneOf(slowAString)), str)
	nstring := alt(lit("NIL"), str)
	number32 := number("1", "4294967295", false)
	number63 := number("0", max63, true)
	number63nz := number("1", max63, false)
	seqNumber := alt(number32, lit("*"))
	seqElement := seq(seqNumber, opt(seq(lit(":"), seqNumber)))
	plainSet := seq(seqElement, many(seq(lit(","), seqElement)))
	set := alt(plainSet, lit("$"))
	noStar := where(plainSet, func(t string) bool { return !strings.Contains(t, "*") })
	flag := alt(atom, seq(lit(`\`), atom))
	flagList := paren(opt(list(flag)))

	month := words("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
	digit := oneOf(slowDigit)
	year := seq(digit, digit, digit, digit)
	dateText := where(seq(digit, opt(digit), lit("-"), month, lit("-"), year), func(t string) bool {
		_, err := time.Parse("2-Jan-2006", t)
		return err == nil
	})
	date := alt(dateText, seq(lit(`"`), dateText, lit(`"`)))
	two := seq(digit, digit)
	dateTime := where(seq(lit(`"`), alt(seq(sp, digit), two, digit), lit("-"), month, lit("-"), year, sp, two, lit(":"), two, lit(":"),
		two, sp, oneOf(func(c byte) bool { return c == '+' || c == '-' }), two, two, lit(`"`)), func(t string) bool {
		body := strings.TrimSpace(strings.Trim(t, `"`))
		leap := strings.Replace(body, ":60 ", ":59 ", 1)
		if n := len(body); body[n-4:n-2] > "23" || body[n-2:] > "59" || strings.Count(body, ":60 ") > 1 {
			return false
		}
		_, err := time.Parse("2-Jan-2006 15:04:05 ", leap[:len(leap)-5])
		return err == nil
	})

	statusItems := paren(list(words("MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ MAILBOXID APPENDLIMIT DELETED-STORAGE")))
	listChar := func(c byte) bool { return slowAString(c) || c == '%' || c == '*' }
	pattern := alt(some(oneOf(listChar)), str)
	listSelect := paren(opt(list(words("SUBSCRIBED REMOTE RECURSIVEMATCH SPECIAL-USE"))))
	listSelect = where(listSelect, func(t string) bool {
		t = strings.ToUpper(t)
		return !strings.Contains(t, "RECURSIVE") || strings.Contains(t, "SUBSCRIBED") || strings.Contains(t, "SPECIAL")
	})
	listReturn := seq(lit("RETURN"), sp, paren(opt(list(alt(words("SUBSCRIBED CHILDREN SPECIAL-USE"), seq(lit("STATUS"), sp, statusItems))))))
	listArgs := seq(opt(seq(listSelect, sp)), astring, sp, alt(pattern, paren(list(pattern))), opt(seq(sp, listReturn)))

	seqMatch := paren(seq(noStar, sp, noStar))
	qresync := seq(lit("QRESYNC"), sp, paren(seq(number32, sp, number63nz, opt(seq(sp, noStar)), opt(seq(sp, seqMatch)))))
	condstore := lit("CONDSTORE")
	selectParams := paren(alt(condstore, qresync, seq(condstore, sp, qresync), seq(qresync, sp, condstore)))

	part := seq(number32, many(seq(lit("."), number32)))
	headerList := paren(list(astring))
	msgText := alt(lit("HEADER"), lit("TEXT"), seq(words("HEADER.FIELDS HEADER.FIELDS.NOT"), sp, headerList))
	section := seq(lit("["), opt(alt(msgText, seq(part, opt(seq(lit("."), alt(msgText, lit("MIME"))))))), lit("]"))
	partial := opt(seq(lit("<"), number63, lit("."), number63nz, lit(">")))
	binaryPart := seq(lit("["), opt(part), lit("]"))
	item := alt(words("FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE UID MODSEQ EMAILID THREADID SAVEDATE"),
		words("RFC822 RFC822.PEEK RFC822.HEADER RFC822.TEXT"), seq(words("BODY BODY.PEEK"), section, partial),
		seq(words("BINARY BINARY.PEEK"), binaryPart, partial), seq(lit("BINARY.SIZE"), binaryPart),
		seq(lit("PREVIEW"), opt(lit(" (LAZY)"))))
	changedSince := seq(lit("CHANGEDSINCE"), sp, number63)
	vanished := lit("VANISHED")
	fetchArgs := func(mods rule) rule {
		return seq(set, sp, alt(words("ALL FAST FULL"), item, paren(list(item))), opt(seq(sp, paren(mods))))
	}
	fetch := fetchArgs(changedSince)
	uidFetch := fetchArgs(alt(changedSince, seq(changedSince, sp, vanished), seq(vanished, sp, changedSince)))

	store := seq(set, sp, opt(seq(paren(seq(lit("UNCHANGEDSINCE"), sp, number63)), sp)), alt(lit(""), lit("+"), lit("-")),
		words("FLAGS FLAGS.SILENT"), sp, alt(flagList, list(flag)))

	var key rule
	keys := func(s string, i int) []int { return key(s, i) }
	objectID := where(some(oneOf(func(c byte) bool { return slowAlpha(c) || slowDigit(c) || c == '_' || c == '-' })),
		func(t string) bool { return len(t) <= 255 })
	key = alt(
		words("ALL ANSWERED DELETED DRAFT FLAGGED NEW OLD RECENT SEEN UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNSEEN SAVEDATESUPPORTED"),
		seq(words("BCC BODY CC FROM SUBJECT TEXT TO"), sp, astring), seq(lit("HEADER"), sp, astring, sp, astring),
		seq(words("KEYWORD UNKEYWORD"), sp, atom), seq(words("LARGER SMALLER"), sp, number63), seq(words("YOUNGER OLDER"), sp, number32),
		seq(words("BEFORE ON SINCE SENTBEFORE SENTON SENTSINCE SAVEDBEFORE SAVEDON SAVEDSINCE"), sp, date),
		seq(words("EMAILID THREADID"), sp, objectID), seq(lit("UID"), sp, set), set,
		seq(lit("MODSEQ"), sp, opt(seq(slowQuoted, sp, words("ALL PRIV SHARED"), sp)), number63),
		seq(lit("NOT"), sp, keys), seq(lit("OR"), sp, keys, sp, keys), paren(list(keys)),
	)
	search := seq(opt(seq(lit("RETURN"), sp, paren(opt(list(words("MIN MAX ALL COUNT SAVE")))), sp)),
		opt(seq(lit("CHARSET"), sp, astring, sp)), list(key))

	message := seq(opt(seq(flagList, sp)), opt(seq(dateTime, sp)),
		alt(slowLit(false), slowLit(true), seq(lit("UTF8"), sp, paren(slowLit(true)))))
	base64 := seq(some(oneOf(func(c byte) bool { return slowAlpha(c) || slowDigit(c) || c == '+' || c == '/' })), alt(lit(""), lit("="), lit("==")))
	idList := paren(opt(list(seq(str, sp, nstring))))

	cmd := func(name string, args rule) rule { return seq(lit(name), sp, args) }
	both := func(name string, args rule) rule { return seq(opt(lit("UID ")), lit(name), sp, args) }
	body := alt(
		words("CAPABILITY NOOP LOGOUT STARTTLS NAMESPACE IDLE CHECK CLOSE UNSELECT EXPUNGE"),
		cmd("AUTHENTICATE", seq(atom, opt(seq(sp, alt(lit("="), base64))))), cmd("LOGIN", seq(astring, sp, astring)),
		cmd("ENABLE", list(atom)), cmd("COMPRESS", atom), cmd("ID", alt(lit("NIL"), idList)),
		seq(words("SELECT EXAMINE"), sp, astring, opt(seq(sp, selectParams))),
		cmd("CREATE", seq(astring, opt(seq(sp, paren(seq(lit("USE"), sp, paren(opt(list(seq(lit(`\`), atom)))))))))),
		seq(words("DELETE SUBSCRIBE UNSUBSCRIBE GETQUOTA GETQUOTAROOT"), sp, astring), cmd("RENAME", seq(astring, sp, astring)),
		cmd("LIST", listArgs), cmd("LSUB", seq(astring, sp, pattern)), cmd("STATUS", seq(astring, sp, statusItems)),
		cmd("APPEND", seq(astring, sp, list(message))), both("REPLACE", seq(seqNumber, sp, astring, sp, message)),
		cmd("UID EXPUNGE", set), both("COPY", seq(set, sp, astring)), both("MOVE", seq(set, sp, astring)),
		both("SEARCH", search), cmd("FETCH", fetch), cmd("UID FETCH", uidFetch), both("STORE", store),
	)
	tag := some(oneOf(func(c byte) bool { return slowAString(c) && c != '+' }))
	return seq(tag, sp, body, many(sp))
})

// slowAccepts says whether the slow grammar takes all of the command.
func slowAccepts(s string) bool { return slices.Contains(slowCommand()(s, 0), len(s)) }
