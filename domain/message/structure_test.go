package message

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
)

const plainBody = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" `

// structureTests give the extended structure. What is undefined by the RFCs is as Dovecot 2.3.19 shows it, except where
// the name says otherwise.
var structureTests = []struct{ name, raw, want string }{
	{"empty message", "", plainBody + `0 0 NIL NIL NIL NIL)`},
	{"no body", "From: a@b\nSubject: x", plainBody + `0 0 NIL NIL NIL NIL)`},
	{"body only", "\nbody", plainBody + `4 0 NIL NIL NIL NIL)`},
	{"mbox line", "From x@y Thu Aug 22 12:36:23 2002\nFrom: a@b\n\nbody", plainBody + `4 0 NIL NIL NIL NIL)`},
	{"without MIME-Version nothing else counts", "Content-Transfer-Encoding: base64\nContent-Disposition: inline\n\nbody",
		plainBody + `4 0 NIL NIL NIL NIL)`},
	{"all fields", `MIME-Version: 1.0
Content-Type: Text/HTML; Charset="x"; name="a\"b
 c"
Content-ID: <i@d>
Content-Description: d
 e
Content-Transfer-Encoding: Quoted-Printable (c)
Content-MD5: abc
Content-Disposition: attachment;
 filename=a b.txt; size=3
Content-Language: en, de-DE , fr (c)
Content-Location: http://x/
 y

body
`, `("Text" "HTML" ("Charset" "x" "name" "a\"b c") "<i@d>" "d e" "Quoted-Printable" 6 1 "abc" ` +
		`("attachment" ("filename" "a" "size" "3")) ("en" "de-DE" "fr") "http://x/ y")`},
	{"of several fields the first counts", "Content-Type: text/html\nContent-Type: text/plain\nContent-ID: <1>\n" +
		"Content-ID: <2>\nContent-Disposition: inline\nContent-Disposition: attachment; filename=x\n\nb",
		`("text" "html" ("charset" "us-ascii") "<1>" NIL "7bit" 1 0 NIL ("attachment" ("filename" "x")) NIL NIL)`},
	{"comments", "Content-Type: (c)text/(d)html(e);(f)charset(g)=(h)x(i)\n\n",
		`("text" "html" ("charset" "x") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`},
	{"RFC 2231", "Content-Type: text/plain; name*=utf-8''%e2; name*1=b; x*0=a; x*1*=%20c; x*2=%\n\n",
		`("text" "plain" ("name*" "utf-8''%e2b" "x*" "''a%20c%25" "charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`},
	{"RFC 2231 with a gap", "Content-Type: a/b; x*0=a; x*2*=c; y=z\n\n",
		`("a" "b" ("y" "z" "x*0" "a" "x*2*" "c") NIL NIL "7bit" 0 NIL NIL NIL NIL)`},
	{"unquoted encoded word", "Content-Type: foo/bar; name==?utf-8?q?a?=; x=y\n\n",
		`("foo" "bar" ("name" "=?utf-8?q?a?=" "x" "y") NIL NIL "7bit" 0 NIL NIL NIL NIL)`},
	{"broken parameters", "Content-Type: text/plain; charset; c=d; a=b c; d=\"e\n\n",
		`("text" "plain" ("a" "b" "charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`},
	{"8-bit parameter", "Content-Type: a/b; name=\"\xe9\"\n\n", "(\"a\" \"b\" (\"name\" {1}\r\n\xe9) NIL NIL \"7bit\" 0 NIL NIL NIL NIL)"},
	{"NUL in a parameter", "Content-Type: a/b; name=\"\x00\"\n\n",
		"(\"a\" \"b\" (\"name\" {3}\r\n\uFFFD) NIL NIL \"7bit\" 0 NIL NIL NIL NIL)"},
	// Dovecot shows "" "" for a broken Content-Type; RFC 2045 section 5.2 says text/plain.
	{"Content-Type without slash", "Content-Type: text\n\nb", plainBody + `1 0 NIL NIL NIL NIL)`},
	{"Content-Type with garbage", "Content-Type: multipart/mixed boundary=x\n\n--x\n\n--x--", plainBody + `12 2 NIL NIL NIL NIL)`},
	{"multipart without boundary", "Content-Type: multipart/mixed\n\n--x\n\nb\n--x--\n",
		`(` + plainBody + `0 0 NIL NIL NIL NIL) "mixed" NIL NIL NIL NIL)`},
	{"multipart without parts", "Content-Type: multipart/mixed; boundary=x\n\nb\n",
		`(` + plainBody + `0 0 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL)`},
	{"multipart", "Content-Type: multipart/mixed; boundary=x\n\npre\n--x\n\na\n\n--x\nContent-Type: a/b\n\nc\n--x--\nepi\n",
		`(` + plainBody + `3 1 NIL NIL NIL NIL)("a" "b" NIL NIL NIL "7bit" 1 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL)`},
	{"message that ends with a boundary", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x",
		`(` + plainBody + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL)`},
	{"no closing boundary", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\n\nx\n--a\n\ny\n",
		`((` + plainBody + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)(` +
			plainBody[1:] + `3 1 NIL NIL NIL NIL) "mixed" ("boundary" "a") NIL NIL NIL)`},
	{"boundary that begins another", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; " +
		"boundary=ab\n\n--ab\n\nx\n--ab--\n--abc\n\ny\n--a--\n",
		`((` + plainBody + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "ab") NIL NIL NIL)(` +
			plainBody[1:] + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "a") NIL NIL NIL)`},
	{"boundary that ends with dashes", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; " +
		"boundary=\"a--\"\n\n--a--\n\nx\n--a----\n--a\n\ny\n--a--\n",
		`((` + plainBody + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "a--") NIL NIL NIL)(` +
			plainBody[1:] + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "a") NIL NIL NIL)`},
	{"white space after boundaries", "Content-Type: multipart/mixed; boundary=a\n\n--a  \n\nx\n --a\n\n--a-- \nepi\n--a\n\nz",
		`(` + plainBody + `9 2 NIL NIL NIL NIL) "mixed" ("boundary" "a") NIL NIL NIL)`},
	{"digest", "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: s1\n\nbody1\n--x\nContent-Type: text/plain\n\n" +
		"body2\n--x--\n",
		`(("message" "rfc822" NIL NIL NIL "7bit" 20 (NIL "s1" NIL NIL NIL NIL NIL NIL NIL NIL) ` + plainBody +
			`5 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)` + plainBody + `5 0 NIL NIL NIL NIL) "digest" ("boundary" "x") NIL NIL NIL)`},
	{"boundary inside a header", "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n--x\n" +
		"Content-Type: a/b\n--x--\n",
		`(("message" "rfc822" NIL NIL NIL "7bit" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ` + plainBody +
			`0 0 NIL NIL NIL NIL) 0 NIL NIL NIL NIL)("a" "b" NIL NIL NIL "7bit" 0 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL)`},
	{"enclosed message", "Content-Type: message/rfc822\n\nSubject: i\nFrom: q@r\nContent-Type: multipart/mixed; boundary=a\n\n" +
		"--a\n\nx\n--a--\nepi\n",
		`("message" "rfc822" NIL NIL NIL "7bit" 90 (NIL "i" ((NIL NIL "q" "r")) ((NIL NIL "q" "r")) ((NIL NIL "q" "r")) ` +
			`NIL NIL NIL NIL NIL) (` + plainBody + `1 0 NIL NIL NIL NIL) "mixed" ("boundary" "a") NIL NIL NIL) 9 NIL NIL NIL NIL)`},
	// Dovecot shows message/global as a part without structure; RFC 9051 section 9 gives it one.
	{"message/global", "Content-Type: message/global\n\nSubject: x\n\nbody",
		`("message" "global" NIL NIL NIL "7bit" 18 (NIL "x" NIL NIL NIL NIL NIL NIL NIL NIL) ` + plainBody +
			`4 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)`},
	{"long boundary", "Content-Type: multipart/mixed; boundary=" + strings.Repeat("x", 100) + "\n\n--" + strings.Repeat("x", 100) +
		"\n\na\n--" + strings.Repeat("x", 100) + "--\n",
		`(` + plainBody + `1 0 NIL NIL NIL NIL)` + plainBody + `0 0 NIL NIL NIL NIL) "mixed" ("boundary" "` +
			strings.Repeat("x", 100) + `") NIL NIL NIL)`},
}

func TestBodyStructure(t *testing.T) {
	for _, tt := range structureTests {
		raw := crlfed(tt.raw)
		f := mustParse(t, raw)
		if err := check(raw, f); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !sameValue(string(f.BodyStructure), tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, f.BodyStructure, tt.want)
		}
		slow, err := Parse(iotest.OneByteReader(bytes.NewReader(raw)), 0)
		if err != nil || !bytes.Equal(slow.BodyStructure, f.BodyStructure) || !bytes.Equal(slow.Parts, f.Parts) {
			t.Errorf("%s: octet by octet it is %s (%v)", tt.name, slow.BodyStructure, err)
		}
	}
}

// sameValue compares IMAP data as values.
func sameValue(a, b string) bool {
	v, err := read([]byte(a))
	w, err2 := read([]byte(b))
	return err == nil && err2 == nil && v.String() == w.String()
}

func TestBodyIsBodyStructureWithoutExtensions(t *testing.T) {
	raw := crlfed("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n\n--x--\n")
	want := `(("message" "rfc822" NIL NIL NIL "7bit" 2 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ` + plainBody + `0 0) 1) "mixed")`
	if got := mustParse(t, raw).Body; string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestBareLineFeeds(t *testing.T) {
	raw := []byte("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n\n--x--\n")
	want := `(` + plainBody + `2 1 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL)`
	if got := mustParse(t, raw).BodyStructure; string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
