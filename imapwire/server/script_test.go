package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/domain/mailbox"
)

// TestScripts runs testdata/scripts: each line is one of
//
//	# text            a comment
//	C: line           the client sends a line; lines without an answer between them go in one write
//	S: line           the server answers exactly this line; "..." in it stands for any octets, a line "S: ..." for any
//	                  lines up to the one that fits the next line
//	C2: S2: ...       the same on another connection
//	! verb args       something happens in the store: deliver BOX NAME [flags], flags BOX UID [flags],
//	                  expunge BOX UID..., drop BOX, quota N (octets; 0: none); or the client sends N octets without a line end: pad N
//	CLOSED: CLOSED2:  the server closes the connection
//
// In client lines, \r, \n, \t, \\ and \xHH are escapes. A connection's greeting is read before its first line.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			newScript(t).run(string(text))
		})
	}
}

type script struct {
	t       *testing.T
	ts      *testServer
	clients map[string]*client
	pending map[string]string
}

func newScript(t *testing.T) *script {
	store := newFake()
	sampleMail(store)
	return &script{
		t: t, ts: startServer(t, store, nil), clients: map[string]*client{}, pending: map[string]string{},
	}
}

func (s *script) client(id string) *client {
	c := s.clients[id]
	if c == nil {
		c = dial(s.t, s.ts.addr)
		if l := c.line(); !strings.HasPrefix(l, "* OK [CAPABILITY IMAP4rev1 ") {
			s.t.Fatalf("greeting: %s", l)
		}
		s.clients[id] = c
	}
	return c
}

func (s *script) flush() {
	for id, text := range s.pending {
		s.client(id).send(text)
		delete(s.pending, id)
	}
}

func (s *script) run(text string) {
	lines := strings.Split(text, "\n")
	skipping := map[string]bool{}
	for i, line := range lines {
		at := fmt.Sprintf("line %d: %s", i+1, line)
		head, rest, _ := strings.Cut(line, ":")
		rest = strings.TrimPrefix(rest, " ")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '!':
			s.flush()
			s.event(strings.Fields(line[1:]))
		case line[0] == 'C' && strings.HasPrefix(head, "CLOSED"):
			s.flush()
			c := s.client(strings.TrimPrefix(head, "CLOSED"))
			_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
			if b, err := c.r.ReadByte(); err == nil || os.IsTimeout(err) {
				s.t.Fatalf("%s: the connection is open (%q, %v)", at, b, err)
			}
		case line[0] == 'C':
			sent, err := strconv.Unquote(`"` + strings.ReplaceAll(rest, `"`, `\"`) + `"`)
			if err != nil {
				s.t.Fatalf("%s: %v", at, err)
			}
			s.client(head[1:])
			s.pending[head[1:]] += sent + "\r\n"
		case line[0] == 'S' && rest == "...":
			skipping[head] = true
		case line[0] == 'S':
			s.flush()
			c := s.client(head[1:])
			for {
				got := c.line()
				if fits(rest, got) {
					break
				}
				if !skipping[head] {
					s.t.Fatalf("%s\n   got: %s", at, got)
				}
			}
			skipping[head] = false
		default:
			s.t.Fatalf("%s: not a script line", at)
		}
	}
}

// fits matches a line with a pattern in which "..." stands for anything.
func fits(pattern, line string) bool {
	parts := strings.Split(pattern, "...")
	if len(parts) == 1 {
		return pattern == line
	}
	if !strings.HasPrefix(line, parts[0]) {
		return false
	}
	line = line[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(line, p)
		if i < 0 {
			return false
		}
		line = line[i+len(p):]
	}
	return strings.HasSuffix(line, parts[len(parts)-1])
}

func (s *script) event(words []string) {
	var uids []mailbox.UID
	for _, w := range words[1:] {
		if n, err := strconv.Atoi(w); err == nil {
			uids = append(uids, mailbox.UID(n))
		}
	}
	switch words[0] {
	case "pad":
		s.client("").send(strings.Repeat("x", int(uids[0])))
	case "deliver":
		s.ts.store.deliver(words[1], messages[words[2]], words[3:]...)
	case "flags":
		s.ts.store.setFlags(words[1], uids[0], words[3:]...)
	case "expunge":
		s.ts.store.expunge(words[1], uids...)
	case "quota":
		s.ts.store.setQuota(int64(uids[0]))
	case "drop":
		s.ts.store.drop(words[1])
	default:
		s.t.Fatalf("unknown event %v", words)
	}
}

// messages is the mail that scripts deliver.
var messages = map[string]string{
	"plain": `From: Fred <fred@example.org>
To: bob@example.net
Subject: lunch
Date: Mon, 7 Feb 1994 21:52:25 -0800
Message-ID: <B27397@example.org>
X-Other: one

Hello Bob
second line
`,
	"mixed": `From: ann@example.org
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain; charset=utf-8
Content-ID: <p1>

first part
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AGJpbmFyeQ==
--b
Content-Type: message/rfc822

From: inner@example.org
Subject: inner

inner text
--b--
`,
	"html": `From: carol@example.org
Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9
`,
	"odd": `From: dave@example.org
Subject: odd
MIME-Version: 1.0
Content-Type: text/plain
Content-Transfer-Encoding: x-unknown

text
`,
}

// sampleMail fills a store: INBOX with three messages, and some mailboxes.
func sampleMail(f *fake) {
	f.deliver("INBOX", messages["plain"], `\Seen`)
	f.deliver("INBOX", messages["mixed"])
	f.deliver("INBOX", messages["html"], `\Flagged`, "$Work")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.box("Empty")
	f.box("Sent").attrs = mailbox.Sent
	f.box("Archive").attrs = mailbox.NoSelect
	f.box("Archive/2024").subscribed = false
	f.box("Entwürfe")
	f.box("R&D/50% off")
}
