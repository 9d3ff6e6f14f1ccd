package search

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/message"
)

// known is a generated message together with what it says: the model searches that, not the message.
type known struct {
	mail   *mail
	fields []knownField // of all headers
	texts  []string     // the readable parts' content
	sent   int32        // the Date field's day
	lists  map[string]string
}

type knownField struct {
	top         bool
	name, value string
}

var words = []string{
	"alpha", "Beta", "gamma ray", "É", "é", "naïve", "straße", "Ελλάς", "ελλασ", "x", "zz top", "日本", "½", "ﬁn", "O'Neil", ".", "<b>",
}

type generator struct {
	*rand.Rand
	n int
}

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) phrase(n int) string {
	var s []string
	for range 1 + g.IntN(n) {
		s = append(s, g.pick(words...))
	}
	return strings.Join(s, " ")
}

// header adds a field with the value encoded somehow.
func (g *generator) header(raw *strings.Builder, k *known, top bool, name, value string) {
	k.fields = append(k.fields, knownField{top, name, value})
	encoded := value
	switch {
	case !isASCII(value):
		encoded = mime.WordEncoder(g.pick("q", "b")[0]).Encode("utf-8", value)
		encoded = strings.ReplaceAll(encoded, "?= =?", g.pick("?= =?", "?=\n =?"))
	case g.IntN(2) == 0: // folded at a space
		encoded = strings.Replace(value, " ", "\n ", 1)
	}
	fmt.Fprintf(raw, "%s: %s\n", name, encoded)
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) }

// part adds a part's header and content.
func (g *generator) part(raw *strings.Builder, k *known, top bool) {
	content := g.phrase(6)
	charset, octets := "utf-8", content
	if latin, err := charmap.ISO8859_15.NewEncoder().String(content); err == nil && g.IntN(2) == 0 {
		charset, octets = "iso-8859-15", latin
	}
	kind := g.pick("text/plain", "text/html", "text/plain", "image/png")
	g.header(raw, k, top, "Content-Type", kind+"; charset="+charset)
	switch g.IntN(4) {
	case 0:
		g.header(raw, k, top, "Content-Transfer-Encoding", "8bit")
	case 1:
		g.header(raw, k, top, "Content-Transfer-Encoding", "base64")
		octets = base64.StdEncoding.EncodeToString([]byte(octets))
		cut := g.IntN(len(octets))
		octets = octets[:cut] + "\n" + octets[cut:]
	case 2:
		g.header(raw, k, top, "Content-Transfer-Encoding", "quoted-printable")
		var b strings.Builder
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write([]byte(octets))
		_ = w.Close()
		octets = strings.ReplaceAll(b.String(), "\r\n", "\n")
	case 3:
		g.header(raw, k, top, "Content-Transfer-Encoding", "x-unknown")
		kind = "image/png" // as unreadable as one
	}
	fmt.Fprintf(raw, "\n%s", octets)
	if strings.HasPrefix(kind, "text/") {
		k.texts = append(k.texts, content)
	}
}

func (g *generator) message() *known {
	g.n++
	k := &known{lists: map[string]string{}}
	var raw strings.Builder
	for _, name := range []string{"From", "To", "Cc"} {
		if g.IntN(4) == 0 {
			continue
		}
		display := g.pick("alpha", "Beta", "naïve", "É")
		mailbox := g.pick("joe", "a.b", "x")
		k.lists[name] = display + " <" + mailbox + "@example.org>"
		encoded := display
		if !isASCII(display) {
			encoded = mime.QEncoding.Encode("utf-8", display)
		}
		// What is searched is the list in its plain form, whatever comments and folding it has.
		value := encoded + " <" + mailbox + "@example.org>"
		k.fields = append(k.fields, knownField{true, name, display + " <" + mailbox + "@example.org>"})
		fmt.Fprintf(&raw, "%s: %s\n", name, strings.Replace(value, " ", g.pick(" ", "\n "), 1))
	}
	if g.IntN(4) > 0 {
		g.header(&raw, k, true, "Subject", g.phrase(4))
	}
	if g.IntN(4) > 0 {
		k.sent = int32(11900 + g.IntN(3))
		at := mailbox.Row{Date: int64(k.sent) * 86400, Zone: 0}.InternalDate()
		g.header(&raw, k, true, "Date", at.Format("Mon, 02 Jan 2006")+g.pick(" 00:00:00 +1400", " 23:59:59 -1200", " 12:00:00 GMT"))
	}
	for range g.IntN(3) {
		g.header(&raw, k, true, g.pick("X-One", "X-Two"), g.phrase(3))
	}
	if g.IntN(2) == 0 {
		g.part(&raw, k, true)
	} else {
		boundary := fmt.Sprintf("b%d", g.n)
		g.header(&raw, k, true, "Content-Type", "multipart/mixed; boundary="+boundary)
		raw.WriteString("\n")
		for range 1 + g.IntN(3) {
			fmt.Fprintf(&raw, "--%s\n", boundary)
			if g.IntN(4) == 0 { // inside an enclosed message
				g.header(&raw, k, false, "Content-Type", "message/rfc822")
				raw.WriteString("\n")
				g.header(&raw, k, false, "Subject", g.phrase(3))
			}
			g.part(&raw, k, false)
			raw.WriteString("\n")
		}
		fmt.Fprintf(&raw, "--%s--\n", boundary)
	}
	k.mail = newMail(raw.String())
	k.mail.Seq, k.mail.UID, k.mail.ModSeq = uint32(g.n), mailbox.UID(10*g.n), mailbox.ModSeq(g.IntN(5)+1)
	k.mail.Flags = flag.Make(flag.System(g.IntN(32)), []string{"a", "b"}[:g.IntN(3)]...)
	k.mail.Date, k.mail.Zone = int64(11900*86400+g.IntN(3*86400)), int16(g.IntN(120)-60)
	k.mail.Recent = g.IntN(2) == 0
	k.mail.identity = Identity{Email: mailbox.ObjectID{byte(1 + g.IntN(2))}, Thread: mailbox.ObjectID{byte(1 + g.IntN(2))}}
	if g.IntN(5) == 0 {
		k.mail.headers = nil
	}
	return k
}

func (g *generator) needle() string {
	s := []rune(g.phrase(2))
	from := g.IntN(len(s))
	n := string(s[from:min(len(s), from+1+g.IntN(6))])
	switch g.IntN(3) {
	case 0:
		n = strings.ToUpper(n)
	case 1:
		n = strings.ToLower(n)
	}
	return n
}

func (g *generator) query(depth int) Query {
	if depth > 0 && g.IntN(2) == 0 {
		kids := make([]Query, g.IntN(4))
		for i := range kids {
			kids[i] = g.query(depth - 1)
		}
		switch g.IntN(3) {
		case 0:
			return Query{Op: And, Kids: kids}
		case 1:
			return Query{Op: Or, Kids: kids}
		}
		return not(g.query(depth - 1))
	}
	q := Query{
		Op: Op(int(SysFlags) + g.IntN(int(ThreadID-SysFlags)+1)), Flags: flag.System(1 << g.IntN(5)), Day: int32(11899 + g.IntN(5)),
		Object: mailbox.ObjectID{byte(1 + g.IntN(2))}, Set: mailbox.Set{{First: uint32(g.IntN(40)), Last: uint32(40 + g.IntN(400))}},
		Num: uint64(g.IntN(1000)), Field: g.pick("x-one", "X-TWO", "Subject", "Content-Type", "none"), Text: g.needle(),
	}
	switch q.Op {
	case Keyword:
		q.Text = g.pick("a", "B", "c")
	case Younger, Older:
		q.Num = uint64(now.Unix() - 11900*86400 - int64(g.IntN(3*86400)))
	case ModSeq:
		q.Num = uint64(g.IntN(7))
	case From, To, Cc, Header:
		q.Text = g.pick(q.Text, "", "JOE@", "a <x", "naïve <")
	}
	return q
}

// matches is the model: every key as the RFC words it, on what the message is known to say.
func (k *known) matches(q *Query) bool {
	contains := func(text string) bool { return strings.Contains(slowFold(text), slowFold(q.Text)) }
	m := k.mail
	dayIs := func(have int32, before, on, since Op) bool {
		return q.Op == before && have < q.Day || q.Op == on && have == q.Day || q.Op == since && have >= q.Day
	}
	list := func(name string) bool {
		v, ok := k.lists[name]
		return ok && contains(v)
	}
	switch q.Op {
	case And:
		return !slices.ContainsFunc(q.Kids, func(q Query) bool { return !k.matches(&q) })
	case Or:
		return slices.ContainsFunc(q.Kids, func(q Query) bool { return k.matches(&q) })
	case Not:
		return !k.matches(&q.Kids[0])
	case SysFlags:
		return m.Flags.Sys&q.Flags != 0
	case Keyword:
		return slices.Contains(m.Flags.Keywords(), strings.ToLower(q.Text))
	case Recent:
		return m.Recent
	case UIDs:
		return q.Set[0].First <= uint32(m.UID) && uint32(m.UID) <= q.Set[0].Last
	case Seqs:
		return q.Set[0].First <= m.Seq && m.Seq <= q.Set[0].Last
	case Before, On, Since:
		return dayIs(message.Day(m.InternalDate()), Before, On, Since)
	case SavedBefore, SavedOn, SavedSince:
		return dayIs(message.Day(m.InternalDate()), SavedBefore, SavedOn, SavedSince)
	case SentBefore, SentOn, SentSince:
		return k.sent != 0 && dayIs(k.sent, SentBefore, SentOn, SentSince)
	case SavedSupport:
		return true
	case Younger:
		return now.Unix()-m.Date <= int64(q.Num)
	case Older:
		return now.Unix()-m.Date >= int64(q.Num)
	case Larger:
		return len(m.raw) > int(q.Num)
	case Smaller:
		return len(m.raw) < int(q.Num)
	case ModSeq:
		return m.ModSeq >= mailbox.ModSeq(q.Num)
	case EmailID:
		return m.identity.Email == q.Object
	case ThreadID:
		return m.identity.Thread == q.Object
	case From:
		return list("From")
	case To:
		return list("To")
	case Cc:
		return list("Cc")
	case Bcc:
		return list("Bcc")
	case Subject, Header:
		name := q.Field
		if q.Op == Subject {
			name = "Subject"
		}
		return slices.ContainsFunc(k.fields, func(f knownField) bool {
			return f.top && strings.EqualFold(f.name, name) && contains(f.value)
		})
	case Text:
		if slices.ContainsFunc(k.fields, func(f knownField) bool { return contains(f.name + ": " + f.value) }) {
			return true
		}
	}
	return slices.ContainsFunc(k.texts, contains)
}

// TestAgainstModel compares programs with the model on generated messages and queries.
func TestAgainstModel(t *testing.T) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed(t), 0))}
	var mails []*known
	for range 120 {
		mails = append(mails, g.message())
	}
	hits := map[bool]int{}
	for range 3000 {
		q := g.query(3)
		p := Compile(&q, now)
		for range 15 {
			k := mails[g.IntN(len(mails))]
			want := k.matches(&q)
			got, err := p.Match(&k.mail.Candidate)
			if err != nil || got != want {
				t.Fatalf("%+v: %v, %v; want %v, on\n%s", q, got, err, want, k.mail.raw)
			}
			if v := p.Quick(&Candidate{Row: k.mail.Row, Seq: k.mail.Seq, Recent: k.mail.Recent}); v != Unknown && (v == Yes) != want {
				t.Fatalf("%+v: quick verdict %v, want %v", q, v, want)
			}
			hits[want]++
		}
	}
	if hits[true] < 5000 || hits[false] < 5000 {
		t.Errorf("%d matches, %d others: the queries say little", hits[true], hits[false])
	}
}
