package syntax

import "time"

// Date is a day of the calendar, as in SEARCH SINCE; parsed ones exist in the calendar. The zero value is none.
type Date struct {
	Year  uint16 // 0 to 9999
	Month uint8  // 1 to 12
	Day   uint8  // 1 to 31
}

// Days returns the number of days from 1970-01-01, negative before it.
func (d Date) Days() int32 {
	t := time.Date(int(d.Year), time.Month(d.Month), int(d.Day), 0, 0, 0, 0, time.UTC)
	return int32(t.Unix() / 86400) // exact: t is a midnight
}

// DateTime is a date-time as in APPEND. Parsed ones exist; second 60 is accepted, as a leap second.
type DateTime struct {
	Date
	Hour, Min, Sec uint8
	Zone           int16 // minutes east of UTC
}

// Time returns the instant, in the zone that was written.
func (d DateTime) Time() time.Time {
	loc := time.UTC
	if d.Zone != 0 {
		loc = time.FixedZone("", int(d.Zone)*60)
	}
	return time.Date(int(d.Year), time.Month(d.Month), int(d.Day), int(d.Hour), int(d.Min), int(d.Sec), 0, loc)
}

var monthNames = [12]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// daysIn returns the number of days of a month, 0 for a month that is none.
func daysIn(year, month int) int {
	switch month {
	case 1, 3, 5, 7, 8, 10, 12:
		return 31
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 0
}

const prodDate = "date"

// date takes a date, with or without quotes (RFC 9051 section 9, date).
func (c *cursor) date() Date {
	from := c.p
	quoted := c.eat('"')
	d := c.dateText(from, 2)
	if quoted {
		c.expect('"', prodDate, "a closing quote")
	}
	return d
}

// dateText takes day "-" month "-" year, and checks that the day exists. from is where the date began, dayDigits how
// many digits the day has at most.
func (c *cursor) dateText(from, dayDigits int) Date {
	day := c.digits(1, dayDigits)
	c.expect('-', prodDate, `"-"`)
	month := 0
	for i, name := range monthNames {
		if c.p+3 <= len(c.b) && monthEqual(c.b[c.p:c.p+3], name) {
			month = i + 1
			c.p += 3
			break
		}
	}
	if month == 0 {
		c.fail(prodDate, "the name of a month")
	}
	c.expect('-', prodDate, `"-"`)
	year := c.digits(4, 4)
	if day < 1 || day > daysIn(year, month) {
		c.failAt(from, prodDate, "a day of the calendar")
		return Date{}
	}
	return Date{uint16(year), uint8(month), uint8(day)}
}

func monthEqual(b []byte, name string) bool {
	return b[0]|0x20 == name[0]|0x20 && b[1]|0x20 == name[1] && b[2]|0x20 == name[2]
}

// digits takes least to most digits as a number.
func (c *cursor) digits(least, most int) int {
	n, from := 0, c.p
	for c.p-from < most && is(c.peek(), clsDigit) {
		n = n*10 + int(c.b[c.p]-'0')
		c.p++
	}
	if c.p-from < least {
		c.fail(prodDate, "a digit")
	}
	return n
}

// dateTime takes a date-time in quotes (RFC 9051 section 9, date-time).
func (c *cursor) dateTime() DateTime {
	from := c.p
	c.expect('"', prodDate, "a quote")
	dayDigits := 2
	if c.eat(' ') {
		dayDigits = 1
	}
	d := DateTime{Date: c.dateText(from, dayDigits)}
	c.sp(prodDate)
	hour := c.digits(2, 2)
	c.expect(':', prodDate, `":"`)
	minute := c.digits(2, 2)
	c.expect(':', prodDate, `":"`)
	sec := c.digits(2, 2)
	c.sp(prodDate)
	sign := c.peek()
	if sign != '+' && sign != '-' {
		c.fail(prodDate, "a zone")
		return DateTime{}
	}
	c.p++
	zoneHour, zoneMin := c.digits(2, 2), c.digits(2, 2)
	c.expect('"', prodDate, "a closing quote")
	if hour > 23 || minute > 59 || sec > 60 || zoneHour > 23 || zoneMin > 59 {
		c.failAt(from, prodDate, "a time of the day and a zone")
		return DateTime{}
	}
	d.Hour, d.Min, d.Sec, d.Zone = uint8(hour), uint8(minute), uint8(sec), int16(zoneHour*60+zoneMin)
	if sign == '-' {
		d.Zone = -d.Zone
	}
	return d
}
