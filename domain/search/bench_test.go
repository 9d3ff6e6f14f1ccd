package search

import (
	"strings"
	"testing"
)

func BenchmarkText(b *testing.B) {
	line := "The quick brown fox jumps over the lazy dog, again and again and again\n"
	for _, bb := range []struct{ name, raw string }{
		{"plain", "Subject: x\n\n" + strings.Repeat(line, 10_000)},
		{"utf-8", "Subject: x\nContent-Type: text/plain; charset=utf-8\n\n" + strings.Repeat("Größe naïve "+line, 8_000)},
		{"quoted-printable", "Subject: x\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n" +
			strings.Repeat("Gr=F6=DFe "+line, 8_000)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			m := newMail(bb.raw)
			q := and(text(Text, "absent"), text(Body, "absent"))
			p := Compile(&q, now)
			b.SetBytes(int64(len(m.raw)))
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := p.Match(&m.Candidate); ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
