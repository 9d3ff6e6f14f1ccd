package message

import (
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Thu, 22 Aug 2002 12:36:23 +0100", "2002-08-22T12:36:23+01:00"},
		{" 1 Jan 1970 00:00:00 GMT (comment)", "1970-01-01T00:00:00Z"},
		{"Thu, 22 Aug 2002\r\n 12:36 -0330", "2002-08-22T12:36:00-03:30"},
		{"22 Aug 02 12:36:23 EDT", "2002-08-22T12:36:23-04:00"},
		{"22 Aug 99 12:36:23 UT", "1999-08-22T12:36:23Z"},
		{"22 Aug 102 12:36:23", "2002-08-22T12:36:23Z"},
		{"Thursday, 22 August 2002 12.36.23 CET", "2002-08-22T12:36:23+01:00"},
		{"Thu Aug 22 12:36:23 2002", "2002-08-22T12:36:23Z"},
		{"Thu Aug 22 12:36:23 PDT 2002", "2002-08-22T12:36:23-07:00"},
		{"Thu (a) , (b) 22 (c) Aug 2002 1:02:03 +0000", "2002-08-22T01:02:03Z"},
		{"22-Aug-2002 12:36:23 +0100", "2002-08-22T12:36:23+01:00"},
		{"Thu, 22 Aug 2002 11:36:23 PM", "2002-08-22T23:36:23Z"},
		{"Thu, 22 Aug 2002 12:36:23+0200", "2002-08-22T12:36:23+02:00"},
		{"Thu, 22 Aug 2002 12:36:23 GMT+2", "2002-08-22T12:36:23+02:00"},
		{"Thu, 22 Aug 2002 12:36:23 nonsense", "2002-08-22T12:36:23Z"},
		{"Thu, 22 Aug 2002", "2002-08-22T00:00:00Z"},
		{"Thu, 22 Aug 0102 12:36:23", ""},
		{"", ""},
		{"nonsense", ""},
		{"22 Xyz 2002 12:36:23", ""},
		{"99 Aug 2002 12:36:23", ""},
		{"Aug 2002", ""},
		{"2002-08-22", ""},
		{"(unterminated 22 Aug 2002", ""},
	} {
		got := ""
		if d, ok := ParseDate([]byte(tt.in)); ok {
			got = d.Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestDayIsTheZonesOwn(t *testing.T) {
	for in, want := range map[string]int32{
		"1 Jan 1970 00:00:00 +1400":  0,
		"1 Jan 1970 23:59:59 -1200":  0,
		"2 Jan 1970 00:00:00 +0000":  1,
		"29 Feb 2000 23:00:00 -0500": 11016,
		"31 Dec 1969 23:59:59 +0000": -1,
		"1 Jan 1900 00:00:00 +0000":  -25567,
		"31 Dec 9999 23:59:59 +0000": 2932896,
	} {
		d, ok := ParseDate([]byte(in))
		if !ok || Day(d) != want {
			t.Errorf("%q: day %d, %v, want %d", in, Day(d), ok, want)
		}
	}
}
