package message

import (
	"strings"
	"testing"
)

func TestPreview(t *testing.T) {
	long := strings.Repeat("é ", 300)
	for _, tt := range []struct{ name, raw, want string }{
		{"text", "\nHello\n  world,\t\n\n again ", "Hello world, again"},
		{"none", "Subject: x\n\n", ""},
		{"quotes are left out", "\n> quoted\nAnswer\n>again\nmore", "Answer more"},
		{"200 characters", "Content-Type: text/plain; charset=utf-8\n\n" + long, strings.TrimSpace(strings.Repeat("é ", 100))},
		{"base64 and charset", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\nY2Fm6Q==", "café"},
		{"quoted-printable", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9=\n s", "café s"},
		{"unknown encoding", "Content-Type: text/plain\nContent-Transfer-Encoding: x-odd\n\nabc", ""},
		{"HTML", "Content-Type: text/html\n\n<html><head><title>t</title><style>p {}</style></head><!-- c > --><body>" +
			"<p class=\"a>b\">Hel<b>lo</b></p><script>if (a<b) x(\"</p>\")</script>w&ouml;rld&nbsp;&amp;&#33;&lt;&bogus; 1 < 2<br>end",
			"Hello wörld &!<&bogus; 1 < 2 end"},
		{"invisible", "Content-Type: text/html\n\n&#8203;&zwnj;&shy;\uFEFFx&#847;", "x"},
		{"alternative", "Content-Type: multipart/alternative; boundary=x\n\n--x\n\nplain\n--x\nContent-Type: text/html\n\nhtml\n--x--", "plain"},
		{"empty first part", "Content-Type: multipart/alternative; boundary=x\n\n--x\n\n \n--x\nContent-Type: text/html\n\nhtml\n--x--", "html"},
		{"attachment first", "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain\n" +
			"Content-Disposition: attachment\n\nno\n--x\n\nyes\n--x--", "yes"},
		{"enclosed messages are not looked into", "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n" +
			"Subject: a\n\nno\n--x--", ""},
		{"encrypted", "Content-Type: multipart/encrypted; boundary=x\n\n--x\nContent-Type: text/plain\n\nno\n--x--", ""},
		{"S/MIME", "Content-Type: application/pkcs7-mime\n\nno", ""},
		{"image", "Content-Type: image/png\n\nno", ""},
		{"not the preamble", "Content-Type: multipart/mixed; boundary=x\n\nno\n--x\n\nyes\n--x--\nno", "yes"},
	} {
		if got := string(mustParse(t, crlfed(tt.raw)).Preview); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
