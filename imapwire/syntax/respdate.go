package syntax

import (
	"math"
	"time"
)

// ParseInternalDate reads the date of an INTERNALDATE item (RFC 9051 section 9, date-time) in the forms that servers
// send: with or without padding, seconds, zone, or a week day in front, with "-" or spaces in the date, with years of
// two digits, with zones by name (then UTC). ok is false when day, month and year cannot be told.
func ParseInternalDate(b []byte) (t time.Time, ok bool) {
	s := respScan{b: trim(b)}
	for { // a week day, quotes
		c := s.peek()
		if s.end() {
			return time.Time{}, false
		}
		if isDigit(c) {
			break
		}
		s.i++
	}
	day, good := s.dateNumber(31)
	s.dateGap()
	month := s.month()
	s.dateGap()
	from := s.i
	year, goodYear := s.dateNumber(9999)
	if !good || !goodYear || day == 0 || month == 0 {
		return time.Time{}, false
	}
	if s.i-from <= 2 {
		if year += 1900; year < 1970 {
			year += 100
		}
	}
	if day > daysIn(year, month) {
		return time.Time{}, false
	}
	s.sp()
	var clock [3]int // hour, minute, second
	for i, limit := range [3]int{23, 59, 60} {
		if i > 0 && !s.take(':') {
			break
		}
		n, good := s.dateNumber(limit)
		if !good {
			break
		}
		clock[i] = n
	}
	if s.take('.') { // fractions of a second
		s.dateNumber(math.MaxInt32)
	}
	return time.Date(year, time.Month(month), day, clock[0], clock[1], clock[2], 0, s.zone()), true
}

// dateNumber reads digits; ok is false when there are none or the number is above limit.
func (s *respScan) dateNumber(limit int) (n int, ok bool) {
	v, ok := s.number(math.MaxInt32)
	return int(v), ok && int(v) <= limit
}

func (s *respScan) dateGap() {
	for c := s.peek(); blank(c) && !s.end() || c == '-' || c == '/' || c == ','; c = s.peek() {
		s.i++
	}
}

// month reads a month's English name, of which the first three letters count, and returns 1 to 12, or 0.
func (s *respScan) month() int {
	from := s.i
	for s.i < len(s.b) && is(s.b[s.i], clsAlpha) {
		s.i++
	}
	name := s.b[from:s.i]
	if len(name) < 3 {
		return 0
	}
	for i, m := range monthNames {
		if name[0]|0x20 == m[0]|0x20 && name[1]|0x20 == m[1] && name[2]|0x20 == m[2] {
			return i + 1
		}
	}
	return 0
}

// zone reads "+hhmm", also without its sign or with a colon; anything else is UTC.
func (s *respScan) zone() *time.Location {
	s.sp()
	sign := 1
	if !s.take('+') && s.take('-') {
		sign = -1
	}
	from := s.i
	n, ok := s.dateNumber(2400)
	if !ok {
		return time.UTC
	}
	if s.i-from <= 2 {
		n *= 100
		if s.take(':') {
			m, _ := s.dateNumber(59)
			n += m
		}
	}
	if offset := sign * (n/100*60 + n%100); offset != 0 && n%100 < 60 {
		return time.FixedZone("", offset*60)
	}
	return time.UTC
}
