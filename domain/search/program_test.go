package search

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
)

// mail is a message as the tests see it, and counts what is asked of it.
type mail struct {
	Candidate
	raw      []byte
	headers  []byte
	identity Identity
	err      error

	askedIdentity, askedHeaders, opened int
}

func newMail(raw string) *mail {
	m := &mail{raw: bytes.ReplaceAll([]byte(raw), []byte("\n"), []byte("\r\n"))}
	f, err := message.Parse(bytes.NewReader(m.raw), 0)
	if err != nil {
		panic(err)
	}
	m.headers = f.Headers
	m.Seq, m.UID, m.ModSeq, m.Size = 3, 30, 300, int64(len(m.raw))
	m.Flags = flag.Make(flag.Seen|flag.Flagged, "Work")
	m.Date, m.Zone = time.Date(2002, 8, 22, 23, 30, 0, 0, time.FixedZone("", -3600)).Unix(), -60
	m.Content = m
	return m
}

func (m *mail) Identity() (Identity, error) {
	m.askedIdentity++
	return m.identity, m.err
}

func (m *mail) Headers() ([]byte, error) {
	m.askedHeaders++
	return m.headers, m.err
}

func (m *mail) Open() (io.ReaderAt, int64, error) {
	m.opened++
	return bytes.NewReader(m.raw), int64(len(m.raw)), m.err
}

var now = time.Date(2002, 8, 23, 0, 30, 0, 0, time.UTC).Add(100 * time.Second)

const example = `From: "Doe, Jörg" <joerg@example.org>, =?iso-8859-1?q?Andr=E9?= <a.b@example.com>
To: friends: x@y, O'Brien
 <z@y>;
Cc:
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?utf-8?q?_aus?=  	Berlin
Date: Thu, 22 Aug 2002 01:36:23 +0900
Message-ID: <id@example.org>
X-Odd: some
	thing
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="xyz-b"

preamble
--xyz-b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable
X-Part: partheader

Caf=E9 na=
=EFve
--xyz-b
Content-Type: text/html

<b>bo</b>ld &amp; more
--xyz-b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

aGlkZGVu
--xyz-b
Content-Type: message/rfc822

Subject: innersubject

enclosed text
--xyz-b
Content-Type: text/plain
Content-Transfer-Encoding: x-odd

unreadable
--xyz-b--
epilogue
`

func and(kids ...Query) Query { return Query{Op: And, Kids: kids} }
func or(kids ...Query) Query  { return Query{Op: Or, Kids: kids} }
func not(q Query) Query       { return Query{Op: Not, Kids: []Query{q}} }

func day22(op Op, delta int32) Query {
	return Query{Op: op, Day: message.Day(time.Date(2002, 8, 22, 0, 0, 0, 0, time.UTC)) + delta}
}

func text(op Op, s string) Query { return Query{Op: op, Text: s} }

func TestMatch(t *testing.T) {
	object := mailbox.ObjectID{1}
	for _, tt := range []struct {
		name string
		q    Query
		want bool
	}{
		{"everything", and(), true},
		{"nothing of nothing", or(), false},
		{"flags", Query{Op: SysFlags, Flags: flag.Seen | flag.Flagged}, true},
		{"one flag of two", Query{Op: SysFlags, Flags: flag.Seen | flag.Deleted}, false},
		{"keyword in any case", text(Keyword, "WORK"), true},
		{"no keyword", text(Keyword, "Wor"), false},
		{"recent", Query{Op: Recent}, false},
		{"uid", Query{Op: UIDs, Set: mailbox.SetOf[uint32](30)}, true},
		{"seq is not uid", Query{Op: Seqs, Set: mailbox.SetOf[uint32](30)}, false},
		{"seq", Query{Op: Seqs, Set: mailbox.Set{{First: 1, Last: 3}}}, true},
		{"on, in the date's own zone", day22(On, 0), true},
		{"before the day", day22(Before, 0), false},
		{"before the next day", day22(Before, 1), true},
		{"since the day", day22(Since, 0), true},
		{"since the next day", day22(Since, 1), false},
		{"sent on, in the sender's zone", day22(SentOn, 0), true},
		{"sent before", day22(SentBefore, 0), false},
		{"sent since", day22(SentSince, 1), false},
		{"saved on", day22(SavedOn, 5), true},
		{"saved before", day22(SavedBefore, 5), false},
		{"saved since", day22(SavedSince, 5), true},
		{"save date supported", Query{Op: SavedSupport}, true},
		{"younger", Query{Op: Younger, Num: 100}, true},
		{"not that young", Query{Op: Younger, Num: 99}, false},
		{"older", Query{Op: Older, Num: 100}, true},
		{"not that old", Query{Op: Older, Num: 101}, false},
		{"older than time", Query{Op: Older, Num: 1<<64 - 1}, false},
		{"larger", Query{Op: Larger, Num: 0}, true},
		{"larger than itself", Query{Op: Larger, Num: uint64(len(newMail(example).raw))}, false},
		{"smaller than itself", Query{Op: Smaller, Num: uint64(len(newMail(example).raw))}, false},
		{"smaller", Query{Op: Smaller, Num: 1 << 63}, true},
		{"modseq at", Query{Op: ModSeq, Num: 300}, true},
		{"modseq above", Query{Op: ModSeq, Num: 301}, false},
		{"email id", Query{Op: EmailID, Object: object}, true},
		{"thread id", Query{Op: ThreadID, Object: object}, false},
		{"from", text(From, "joerg@EXAMPLE"), true},
		{"from a decoded name", text(From, "andré"), true},
		{"from without the accent", text(From, "andre"), true},
		{"from with one too many", text(From, "dóe"), false},
		{"from over two addresses", text(From, "org>, andré <a.b@"), true},
		{"from in another field", text(From, "x@y"), false},
		{"to, unfolded", text(To, "O'Brien <z@y>"), true},
		{"to a group", text(To, "friends"), true},
		{"an empty field is there", text(Cc, ""), true},
		{"but has no text", text(Cc, "a"), false},
		{"bcc is missing", text(Bcc, ""), false},
		{"subject", text(Subject, "grüße aus berlin"), true},
		{"subject as written", text(Subject, "=?utf-8"), false},
		{"header", Query{Op: Header, Field: "x-odd", Text: "some thing"}, true},
		{"header that is not there", Query{Op: Header, Field: "X-None"}, false},
		{"header that is there", Query{Op: Header, Field: "X-ODD"}, true},
		{"header of a part", Query{Op: Header, Field: "X-Part"}, false},
		{"header's name is not its text", Query{Op: Header, Field: "X-Odd", Text: "X-Odd"}, false},
		{"header among the stored ones", Query{Op: Header, Field: "Message-Id", Text: "ID@"}, true},
		{"body, decoded and converted", text(Body, "CAFÉ NAÏVE"), true},
		{"body as written", text(Body, "=E9"), false},
		{"body: HTML as it is", text(Body, "<b>bo</b>ld &amp;"), true},
		{"body: no attachments", text(Body, "hidden"), false},
		{"body: enclosed messages", text(Body, "enclosed TEXT"), true},
		{"body: no headers", text(Body, "joerg"), false},
		{"body: no headers of parts", text(Body, "partheader"), false},
		{"body: no headers of enclosed messages", text(Body, "innersubject"), false},
		{"body: nothing unreadable", text(Body, "unreadable"), false},
		{"body: not the preamble", text(Body, "preamble"), false},
		{"body: not the boundary", text(Body, "xyz-b"), false},
		{"body: no match over parts", text(Body, "naïve<b>"), false},
		{"the empty text", text(Body, ""), true},
		{"text: header", text(Text, "subject: grüße"), true},
		{"text: header of a part", text(Text, "x-part: partheader"), true},
		{"text: header of an enclosed message", text(Text, "innersubject"), true},
		{"text: body", text(Text, "naïve"), true},
		{"text: no match over header and body", text(Text, "partheader\r\n\r\ncafé"), false},
		{"text: no match over fields", text(Text, "thing\r\nMIME"), false},
		{"and", and(text(Body, "café"), text(Subject, "berlin"), Query{Op: SysFlags, Flags: flag.Seen}), true},
		{"or", or(text(Body, "no"), text(From, "nobody"), text(Text, "naïve")), true},
		{"not", not(or(text(Body, "café"), text(From, "nobody"))), false},
		{"nested", not(and(not(text(Body, "nothing")), or(not(text(To, "x@y")), text(Bcc, "")))), true},
	} {
		for _, stored := range []bool{true, false} {
			m := newMail(example)
			m.identity = Identity{Email: object, Saved: time.Date(2002, 8, 27, 1, 0, 0, 0, time.FixedZone("", 7200))}
			if !stored {
				m.headers = nil
			}
			got, err := Compile(&tt.q, now).Match(&m.Candidate)
			if err != nil || got != tt.want {
				t.Errorf("%s (header lines stored: %v): %v, %v; want %v", tt.name, stored, got, err, tt.want)
			}
		}
	}
}

func TestUnknownSaveDateIsInternalDate(t *testing.T) {
	m := newMail(example)
	q := day22(SavedOn, 0)
	if ok, err := Compile(&q, now).Match(&m.Candidate); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestMissingDateMatchesNoSentKey(t *testing.T) {
	for _, raw := range []string{"Subject: x\n\nb", "Date: nonsense\n\nb"} {
		for _, op := range []Op{SentBefore, SentOn, SentSince} {
			for _, delta := range []int32{-100_000, 0, 100_000} {
				m := newMail(raw)
				q := day22(op, delta)
				if ok, _ := Compile(&q, now).Match(&m.Candidate); ok {
					t.Errorf("%q matches %d %d", raw, op, delta)
				}
			}
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		q    Query
		want Need
	}{
		{and(), 0},
		{not(Query{Op: SysFlags}), 0},
		{text(From, "x"), NeedHeaders},
		{Query{Op: Header, Field: "subject"}, NeedHeaders},
		{Query{Op: Header, Field: "Received"}, NeedBytes},
		{or(text(Body, "x"), Query{Op: EmailID}), NeedBytes | NeedIdentity},
		{text(Body, ""), 0},
		{day22(SentOn, 0), NeedHeaders},
	} {
		if got := Compile(&tt.q, now).Needs(); got != tt.want {
			t.Errorf("%v: %b, want %b", tt.q, got, tt.want)
		}
	}
}

// TestMatchAsksForLittle holds the order in which a message is asked.
func TestMatchAsksForLittle(t *testing.T) {
	seen, unseen := Query{Op: SysFlags, Flags: flag.Seen}, not(Query{Op: SysFlags, Flags: flag.Seen})
	for _, tt := range []struct {
		name                      string
		q                         Query
		quick                     Verdict
		identity, headers, opened int
	}{
		{"the row decides an and", and(text(Body, "x"), unseen, text(From, "x")), No, 0, 0, 0},
		{"the row decides an or", or(text(Body, "x"), seen, text(From, "x")), Yes, 0, 0, 0},
		{"the identity decides", and(text(Body, "x"), Query{Op: EmailID, Object: mailbox.ObjectID{9}}), Unknown, 1, 0, 0},
		{"the header lines decide", and(text(Body, "x"), text(From, "nobody")), Unknown, 0, 1, 0},
		{"a decided branch asks for nothing", or(and(unseen, text(Body, "x")), text(From, "joerg")), Unknown, 0, 1, 0},
		{"one reading for several texts", and(text(Body, "café"), text(Text, "naïve"), Query{Op: Header, Field: "X-Odd"}), Unknown, 0, 0, 1},
		{"header lines, then the message", and(text(From, "joerg"), text(Body, "café")), Unknown, 0, 1, 1},
	} {
		m := newMail(example)
		p := Compile(&tt.q, now)
		if got := p.Quick(&Candidate{Row: m.Row, Seq: m.Seq}); got != tt.quick {
			t.Errorf("%s: quick verdict %d, want %d", tt.name, got, tt.quick)
		}
		if _, err := p.Match(&m.Candidate); err != nil {
			t.Fatal(err)
		}
		if m.askedIdentity != tt.identity || m.askedHeaders != tt.headers || m.opened != tt.opened {
			t.Errorf("%s: asked identity %d, headers %d, opened %d; want %d, %d, %d", tt.name,
				m.askedIdentity, m.askedHeaders, m.opened, tt.identity, tt.headers, tt.opened)
		}
	}
}

func TestMatchGivesContentsErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, q := range []Query{text(Body, "x"), text(From, "x"), {Op: EmailID}} {
		m := newMail(example)
		m.err = broken
		if _, err := Compile(&q, now).Match(&m.Candidate); !errors.Is(err, broken) {
			t.Errorf("%v: %v", q.Op, err)
		}
	}
}

// TestLargeBodyIsNotHeld looks for a needle at the end of 100 MB.
func TestLargeBodyIsNotHeld(t *testing.T) {
	m := newMail("Subject: x\n\n")
	const size = 100 << 20
	m.Content = largeContent{m, size}
	q := text(Body, "needle")
	p := Compile(&q, now)
	allocs := testing.AllocsPerRun(1, func() {
		if ok, err := p.Match(&m.Candidate); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	})
	if allocs > 50 {
		t.Errorf("%v allocations", allocs)
	}
}

type largeContent struct {
	*mail
	size int64
}

func (c largeContent) Open() (io.ReaderAt, int64, error) { return c, c.size, nil }

// ReadAt gives a header's end, zeros in lines and, at the end, the needle.
func (c largeContent) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for ; n < len(p) && off < c.size; n, off = n+1, off+1 {
		switch {
		case off%80 == 0:
			p[n] = '\n'
		case off >= c.size-6:
			p[n] = "needle"[off-(c.size-6)]
		default:
			p[n] = '0'
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
