package suites

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// row is what a server says about a message.
type row struct {
	seq, uid uint32
	flags    string // sorted, without \Recent
	date     string
	size     int
	sha      [sha256.Size]byte
	length   int // of the body
	env      imapc.Node
	body     imapc.Node
}

// Item lists for snapshot.
const (
	itemsLight = "(UID FLAGS INTERNALDATE RFC822.SIZE)"
	itemsBody  = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"
	itemsAll   = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"
)

// fetchBox examines a mailbox and returns its rows in order.
func fetchBox(c *imapc.Client, name, items string) ([]row, error) {
	return fetchNamed(c, wire(name), items)
}

// fetchNamed is fetchBox with the name as it is sent.
func fetchNamed(c *imapc.Client, name, items string) ([]row, error) {
	r, err := c.Cmd("EXAMINE " + name)
	if err != nil {
		return nil, err
	}
	exists := -1
	for _, u := range r.Untagged {
		if u.Name == "EXISTS" {
			exists = int(u.Num)
		}
	}
	if exists < 0 {
		return nil, fmt.Errorf("%s: EXAMINE did not say EXISTS", name)
	}
	if exists == 0 {
		return nil, nil
	}
	var rows []row
	err = c.Stream(func(u imapc.Response) error {
		if u.Name != "FETCH" {
			return nil
		}
		m, err := readRow(u)
		rows = append(rows, m)
		return err
	}, "FETCH 1:* "+items)
	if err == nil && len(rows) != exists {
		err = fmt.Errorf("%s: %d EXISTS, but %d were fetched", name, exists, len(rows))
	}
	for i, m := range rows {
		if int(m.seq) != i+1 || i > 0 && m.uid <= rows[i-1].uid {
			return rows, fmt.Errorf("%s: message %d comes as number %d with UID %d", name, i+1, m.seq, m.uid)
		}
	}
	return rows, err
}

func readRow(u imapc.Response) (row, error) {
	m := row{seq: u.Num}
	if len(u.Data) != 1 {
		return m, fmt.Errorf("FETCH with %d values", len(u.Data))
	}
	pairs, err := u.Data[0].Pairs()
	if err != nil {
		return m, err
	}
	uid, err := strconv.ParseUint(pairs["UID"].Text, 10, 32)
	if err != nil {
		return m, fmt.Errorf("UID %v", pairs["UID"])
	}
	m.uid = uint32(uid)
	flags := slices.DeleteFunc(pairs["FLAGS"].Texts(), func(f string) bool { return strings.EqualFold(f, `\Recent`) })
	slices.Sort(flags)
	m.flags = strings.Join(flags, " ")
	// A day of one digit may be written with a space or with a zero (RFC 9051 section 9, date-day-fixed).
	if m.date = pairs["INTERNALDATE"].Text; strings.HasPrefix(m.date, " ") {
		m.date = "0" + m.date[1:]
	}
	if m.size, err = strconv.Atoi(pairs["RFC822.SIZE"].Text); err != nil {
		return m, fmt.Errorf("RFC822.SIZE %v", pairs["RFC822.SIZE"])
	}
	if b, ok := pairs["BODY[]"]; ok {
		if b.Kind != imapc.String {
			return m, fmt.Errorf("BODY[] of UID %d is %s", m.uid, b)
		}
		m.sha, m.length = sha256.Sum256([]byte(b.Text)), len(b.Text)
	}
	m.env, m.body = pairs["ENVELOPE"], pairs["BODYSTRUCTURE"]
	return m, nil
}

// snapshot returns the rows of all boxes by name.
func snapshot(t *testing.T, c *imapc.Client, boxes []harness.Box, items string) map[string][]row {
	t.Helper()
	all := map[string][]row{}
	for _, b := range boxes {
		rows, err := fetchBox(c, b.Name, items)
		if err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
		all[b.Name] = rows
	}
	return all
}

// sameMail reports every difference between what two servers say but UIDs.
func sameMail(t *testing.T, ours, theirs map[string][]row) {
	t.Helper()
	problems := 0
	report := func(format string, args ...any) {
		if problems++; problems <= 20 {
			t.Errorf(format, args...)
		}
	}
	for name, want := range theirs {
		have := ours[name]
		if len(have) != len(want) {
			report("%s: %d messages, upstream %d", name, len(have), len(want))
			continue
		}
		for i, m := range have {
			u := want[i]
			if m.sha != u.sha || m.length != u.length {
				report("%s message %d: body of %d bytes %x, upstream %d bytes %x", name, i+1, m.length, m.sha[:4], u.length, u.sha[:4])
			}
			if m.flags != u.flags {
				report("%s message %d: FLAGS (%s), upstream (%s)", name, i+1, m.flags, u.flags)
			}
			if m.date != u.date {
				report("%s message %d: INTERNALDATE %s, upstream %s", name, i+1, m.date, u.date)
			}
			if m.size != u.size {
				report("%s message %d: RFC822.SIZE %d, upstream %d", name, i+1, m.size, u.size)
			}
		}
	}
	if problems > 20 {
		t.Errorf("%d differences in all", problems)
	}
}

// sameUIDs reports a UID that is gone, or stands for other mail than before.
func sameUIDs(t *testing.T, before, after map[string][]row) {
	t.Helper()
	problems := 0
	for name, rows := range before {
		now := map[uint32]row{}
		for _, m := range after[name] {
			now[m.uid] = m
		}
		for _, m := range rows {
			if n, ok := now[m.uid]; !ok || n.size != m.size || n.date != m.date {
				if problems++; problems <= 10 {
					t.Errorf("%s: UID %d was %s of %d bytes, now %s of %d bytes (still there: %v)",
						name, m.uid, m.date, m.size, n.date, n.size, ok)
				}
			}
		}
	}
	if problems > 10 {
		t.Errorf("%d UIDs changed in all", problems)
	}
}

// complete checks that a mirror holds exactly the mail of the boxes, byte for byte.
func complete(t *testing.T, w *world, user string, p *harness.Process, boxes []harness.Box) map[string][]row {
	t.Helper()
	ours := snapshot(t, login(t, p.Login), boxes, itemsBody)
	sameMail(t, ours, snapshot(t, upstreamLogin(t, w, user), boxes, itemsBody))
	for name, rows := range ours {
		for _, m := range rows {
			if m.length == 0 {
				t.Errorf("%s: UID %d is empty", name, m.uid)
			}
		}
	}
	return ours
}
