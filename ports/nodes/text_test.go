package nodes_test

import (
	"slices"
	"strings"
	"testing"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/nodes"
)

func TestText(t *testing.T) {
	long := make([]uint32, nodes.MaxRanges)
	for i := range long {
		long[i] = 1<<32 - 1 - 3*uint32(i)
	}
	wide := make(mailbox.Set, nodes.MaxRanges)
	for i := range wide {
		at := 4_000_000_000 + 5*uint32(i)
		wide[i] = mailbox.Range{First: at, Last: at + 1}
	}
	for _, c := range []struct {
		call nodes.Call
		want string // "": whatever it is
	}{
		{nodes.Call{What: nodes.Free}, "1.1.0.0."},
		{nodes.Call{What: nodes.Accounts}, "1.2.0.0."},
		{nodes.Call{What: nodes.Queue, Account: 7}, "1.3.7.0."},
		{nodes.Call{What: nodes.Round, Account: 7}, "1.4.7.0."},
		{nodes.Call{What: nodes.Watching, Account: 1<<63 - 1, Mailbox: 1<<63 - 1}, "1.5.9223372036854775807.9223372036854775807."},
		{nodes.Call{What: nodes.Bodies, Account: 3, Mailbox: 3, UIDs: mailbox.SetOf[uint32](1, 2, 3, 9, 1<<32-1)}, "1.6.3.3.1:3,9,4294967295"},
		{nodes.Call{What: nodes.Bodies, UIDs: mailbox.SetFrom(1)}, "1.6.0.0.1:4294967295"},
		{nodes.Call{What: nodes.Bodies, Account: 1 << 62, Mailbox: 1 << 62, UIDs: mailbox.SetOf(long...)}, ""},
		{nodes.Call{What: nodes.Bodies, Account: 1 << 62, Mailbox: 1 << 62, UIDs: wide}, ""},
	} {
		text, err := c.call.Text()
		if err != nil || c.want != "" && text != c.want || len(text) > nodes.MaxText {
			t.Errorf("%+v: %q, %v, want %q", c.call, text, err, c.want)
		}
		again, err := nodes.Parse(text)
		if err != nil || !equal(again, c.call) {
			t.Errorf("%q: %+v, %v", text, again, err)
		}
	}
}

func TestTextRefuses(t *testing.T) {
	long := make(mailbox.Set, nodes.MaxRanges+1)
	for i := range long {
		long[i] = mailbox.Range{First: 2*uint32(i) + 1, Last: 2*uint32(i) + 1}
	}
	for _, c := range []nodes.Call{
		{}, {What: nodes.Bodies + 1}, {What: nodes.Free, Account: -1}, {What: nodes.Free, Mailbox: -1},
		{What: nodes.Bodies, UIDs: long}, {What: nodes.Bodies, UIDs: mailbox.Set{{First: 0, Last: 1}}},
		{What: nodes.Bodies, UIDs: mailbox.Set{{First: 2, Last: 1}}}, {What: nodes.Bodies, UIDs: mailbox.Set{{First: 1, Last: 2}, {First: 3, Last: 3}}},
		{What: nodes.Bodies, UIDs: mailbox.Set{{First: 1, Last: 1<<32 - 1}, {First: 1, Last: 3}}},
	} {
		if text, err := c.Text(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %q, %v, want invalid", c, text, err)
		}
	}
}

// strange is what no call's text is.
func strange() []string {
	return []string{
		"", ".", "....", "1", "1.1.0.0", "1.1.0.0..", "1.1.0.0.,", "2.1.0.0.", "01.1.0.0.", "1.0.0.0.", "1.7.0.0.", "1.256.0.0.", "1.01.0.0.", "1.1.+1.0.",
		"1.1.-1.0.", "1.1.0.-1.", "1.1.9223372036854775808.0.", "1.1.0.0. ", "1.1.0.0.*", "1.6.1.1.1:*", "1.6.1.1.0", "1.6.1.1.1,2", "1.6.1.1.3:1",
		"1.6.1.1.1:1", "1.6.1.1.2,1", "1.6.1.1.1,", "1.6.1.1.1:", "1.6.1.1.:1", "1.6.1.1.4294967296", "1.1.\x00.0.", "1.1.0.0.\xff",
		"1.6.1.1.1" + strings.Repeat(",3", nodes.MaxRanges), strings.Repeat("1", 1<<20), "1.6.1.1." + strings.Repeat("1,", 1<<19),
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range strange() {
		if c, err := nodes.Parse(text); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.40q: %+v, %v, want invalid", text, c, err)
		}
	}
}

// FuzzParse: whatever is read has just the text that it was read from, and what is not is an error.
func FuzzParse(f *testing.F) {
	for _, text := range append(strange(), "1.1.0.0.", "1.6.3.4.1:3,9,4294967295", "1.5.9223372036854775807.1.") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := nodes.Parse(text)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || !equal(c, nodes.Call{}) {
				t.Fatalf("%+v, %v", c, err)
			}
			return
		}
		if again, err := c.Text(); err != nil || again != text {
			t.Fatalf("%q became %q, %v", text, again, err)
		}
		if len(c.UIDs) > nodes.MaxRanges || !slices.Equal(c.UIDs, mailbox.Normalize(slices.Clone(c.UIDs))) {
			t.Fatalf("%v is no set", c.UIDs)
		}
	})
}

func equal(a, b nodes.Call) bool {
	return a.What == b.What && a.Account == b.Account && a.Mailbox == b.Mailbox && slices.Equal(a.UIDs, b.UIDs)
}
