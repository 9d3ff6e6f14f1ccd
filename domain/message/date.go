package message

import "time"

// ParseDate reads a Date field's value (RFC 5322 section 3.3), leniently: comments, the obsolete zones, years of two
// digits, missing seconds, time or zone, dots in the time, a missing weekday comma, and the order of asctime are all
// accepted. The time is in the zone as written, so that its calendar day is the sender's; an unknown zone is UTC.
func ParseDate(value []byte) (t time.Time, ok bool) {
	var p dateParser
	lx := lexer{s: value}
	for range 16 { // no date has more words
		if lx.space() != stMore {
			break
		}
		start := lx.i
		for lx.i < len(lx.s) && !dateGap(lx.s[lx.i]) {
			lx.i++
		}
		if lx.i == start { // a comma or the like
			lx.i++
			continue
		}
		p.word(lx.s[start:lx.i])
	}
	if p.day == 0 || p.month == 0 || p.year == 0 {
		return time.Time{}, false
	}
	zone := time.FixedZone("", p.zone*60)
	return time.Date(p.year, time.Month(p.month), p.day, p.hour, p.minute, p.second, 0, zone), true
}

func dateGap(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == '('
}

// Day returns the time's own calendar day as days since 1970-01-01: what the search keys compare.
func Day(t time.Time) int32 {
	y, m, d := t.Date()
	return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

type dateParser struct {
	day, month, year     int
	hour, minute, second int
	zone                 int // minutes east
	timed                bool
}

func (p *dateParser) word(w []byte) {
	switch c := w[0]; {
	case c >= '0' && c <= '9':
		if !p.clock(w) {
			p.number(w)
		}
	case c == '+' || c == '-':
		if p.timed {
			p.zone = numericZone(w)
		}
	case p.month == 0 && month(w) > 0:
		p.month = month(w)
	case p.timed:
		p.named(w)
	}
}

// number reads a day or a year, or 22-Aug-2002.
func (p *dateParser) number(w []byte) {
	n, i := digits(w)
	switch {
	case i < len(w) && w[i] == '-' && p.month == 0 && p.day == 0:
		rest := w[i+1:]
		for k, c := range rest {
			if c == '-' && month(rest[:k]) > 0 && k+1 < len(rest) {
				p.day, p.month = n, month(rest[:k])
				p.number(rest[k+1:])
				return
			}
		}
	case i < len(w):
	case p.day == 0 && i <= 2 && n >= 1 && n <= 31:
		p.day = n
	case p.year == 0 && p.day != 0:
		switch { // RFC 5322 section 4.3
		case i == 2 && n < 50:
			p.year = 2000 + n
		case i == 2 || i == 3:
			p.year = 1900 + n
		case i == 4 && n >= 1900:
			p.year = n
		}
	}
}

// clock reads hh:mm[:ss].
func (p *dateParser) clock(w []byte) bool {
	var part [3]int
	n := 0
	for ; n < 3; n++ {
		v, i := digits(w)
		if i == 0 || i > 2 {
			break
		}
		part[n] = v
		if w = w[i:]; len(w) == 0 || w[0] != ':' && w[0] != '.' {
			n++
			break
		}
		w = w[1:]
	}
	if n < 2 || p.timed || part[0] > 24 || part[1] > 59 || part[2] > 60 {
		return false
	}
	p.hour, p.minute, p.second, p.timed = part[0], part[1], part[2], true
	if len(w) > 0 && (w[0] == '+' || w[0] == '-') {
		p.zone = numericZone(w)
	}
	return true
}

// named reads a zone's name (RFC 5322 section 4.3; the military ones mean nothing), or AM and PM.
func (p *dateParser) named(w []byte) {
	for _, z := range zones {
		if equalFold(w, z.name) {
			p.zone = z.hours * 60
			return
		}
	}
	switch {
	case equalFold(w, "PM") && p.hour < 12:
		p.hour += 12
	case equalFold(w, "AM") && p.hour == 12:
		p.hour = 0
	}
	if len(w) > 3 && (equalFold(w[:3], "GMT") || equalFold(w[:3], "UTC")) { // GMT+2
		p.zone = numericZone(w[3:])
	}
}

var zones = [...]struct {
	name  string
	hours int
}{
	{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7},
	{"CET", 1}, {"CEST", 2}, {"MET", 1}, {"MEST", 2}, {"EET", 2}, {"EEST", 3}, {"BST", 1}, {"JST", 9},
}

// numericZone reads +hhmm, +hh:mm and +hh in minutes; 0 for what is no zone.
func numericZone(w []byte) int {
	if len(w) < 2 || w[0] != '+' && w[0] != '-' {
		return 0
	}
	n, i := digits(w[1:])
	minutes := 0
	switch {
	case i == 4 || i == 3:
		minutes = n/100*60 + n%100
	case i <= 2 && i > 0:
		minutes = n * 60
		if rest := w[1+i:]; len(rest) == 3 && rest[0] == ':' {
			m, _ := digits(rest[1:])
			minutes += m
		}
	}
	if minutes > 24*60 {
		return 0
	}
	if w[0] == '-' {
		return -minutes
	}
	return minutes
}

// digits reads the number that w starts with, and how many digits it has; at most nine of them count.
func digits(w []byte) (n, i int) {
	for i < len(w) && w[i] >= '0' && w[i] <= '9' {
		if i < 9 {
			n = n*10 + int(w[i]-'0')
		}
		i++
	}
	return n, i
}

// month returns the month whose name starts with w's first three letters, or 0.
func month(w []byte) int {
	if len(w) < 3 {
		return 0
	}
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	for m := range 12 {
		if equalFold(w[:3], names[3*m:3*m+3]) {
			return m + 1
		}
	}
	return 0
}
