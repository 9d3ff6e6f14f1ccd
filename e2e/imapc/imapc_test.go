package imapc

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// reading returns a client that reads text and then the end.
func reading(t *testing.T, text string) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	go func() {
		_, _ = io.WriteString(theirs, text)
		theirs.Close()
	}()
	return &Client{conn: ours, in: bufio.NewReader(ours), Timeout: 10 * time.Second}
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ text, name, data string }{
		{"* 3 EXISTS\r\n", "EXISTS", ""},
		{"* SEARCH\r\n", "SEARCH", ""},
		{"* LIST (\\HasNoChildren) \"/\" INBOX\r\n", "LIST", `(\HASNOCHILDREN) "/" INBOX`},
		{"* 1 FETCH (UID 7 BODY[HEADER.FIELDS (A B)]<0> {5}\r\na\r\nb) FLAGS ())\r\n", "FETCH",
			`(UID 7 BODY[HEADER.FIELDS (A B)]<0> "a\r\nb)" FLAGS ())`},
		{"* 1 FETCH (BODY ((\"a\" NIL)(\"NIL\" {0}\r\n) \"x\\\"y\"))\r\n", "FETCH", `(BODY (("a" NIL) ("NIL" "") "x\"y"))`},
	} {
		r, err := reading(t, c.text).Read()
		var data []string
		for _, n := range r.Data {
			data = append(data, n.String())
		}
		if got := strings.Join(data, " "); err != nil || r.Name != c.name || got != c.data {
			t.Errorf("%q: %s %s, %v; want %s %s", c.text, r.Name, got, err, c.name, c.data)
		}
	}
}

func TestStatus(t *testing.T) {
	r, err := reading(t, "t1 OK [COPYUID 1 2 3] done\r\n").Read()
	if err != nil || r.Tag != "t1" || r.Code != "COPYUID 1 2 3" || r.Text != "done" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestStrictness(t *testing.T) {
	for _, text := range []string{
		"* 3 EXISTS\n", "* 3  EXISTS\r\n", "* SEARCH 1  2\r\n", "* SEARCH 1 \r\n", "* LIST () \"/ INBOX\r\n", "* 1 FETCH (UID 7\r\n",
		"* 1 FETCH (UID 7))\r\n", "* OK\r\n", "* OK [X done\r\n", "* X \"\\a\"\r\n", "* X a\"b\"\r\n", "t1 SEARCH 1\r\n",
		"* X (a b )\r\n", "\r\n",
	} {
		if r, err := reading(t, text).Read(); err == nil {
			t.Errorf("%q was read as %+v", text, r)
		}
	}
}
