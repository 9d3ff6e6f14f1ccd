package message

import "testing"

func TestKnowsCharset(t *testing.T) {
	for charset, want := range map[string]bool{
		"UTF-8": true, "us-ascii": true, "ISO-8859-1": true, "koi8-r": true, "Shift_JIS": true, "": false, "x-none": false,
	} {
		if got := KnowsCharset(charset); got != want {
			t.Errorf("%q: %t, want %t", charset, got, want)
		}
	}
}
