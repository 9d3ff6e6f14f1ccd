package server

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowConn sends pieces with a pause before each but the first, and keeps to its read deadline.
type slowConn struct {
	memConn
	pieces   []string
	pause    time.Duration
	inside   bool // of a piece, or before the first one
	deadline time.Time
}

func (c *slowConn) SetReadDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *slowConn) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	if !c.inside {
		if left := time.Until(c.deadline); left < c.pause {
			<-time.After(left)
			return 0, os.ErrDeadlineExceeded
		}
		<-time.After(c.pause)
	}
	n := copy(p, c.pieces[0])
	c.pieces[0] = c.pieces[0][n:]
	if c.inside = c.pieces[0] != ""; !c.inside {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

// The time for a command counts from its own first octet, however the commands are cut into packets, and not while
// IDLE waits.
func TestCommandTimeIsEachCommandsOwn(t *testing.T) {
	cut := append(slices.Repeat([]string{"OP\r\nx NO"}, 20), "OP\r\nend NOOP\r\n")
	cut[0] = "x NO"
	for _, c := range []struct {
		name   string
		pieces []string
		pause  time.Duration
		want   string
	}{
		{"every packet ends inside a command", cut, 40 * time.Second, "end OK"},
		{"a command in three packets", []string{"x NO", "OP", "\r\n"}, 40 * time.Second, "* BYE Command took too long\r\n"},
		{"a long message in pieces", append(append([]string{"x APPEND INBOX {1048576+}\r\n"},
			slices.Repeat([]string{strings.Repeat("y", literalPace)}, 16)...), "\r\nend NOOP\r\n"), 40 * time.Second, "end OK"},
		{"a refused one", append(append([]string{"x APPEND Nowhere {1048576+}\r\n"},
			slices.Repeat([]string{strings.Repeat("y", literalPace)}, 16)...), "\r\nend NOOP\r\n"), 40 * time.Second, "end OK"},
		{"a message almost without octets", append([]string{"x APPEND INBOX {1048576+}\r\n"},
			slices.Repeat([]string{"y"}, 100)...), 20 * time.Second, "* BYE Command took too long\r\n"},
		{"long IDLE", []string{"x IDLE\r\n", "DONE\r\nend NOOP\r\n"}, 25 * time.Minute, "end OK"},
		{"long IDLE and half a DONE", []string{"x IDLE\r\n", "DO", "NE\r\n"}, 25 * time.Minute, "* BYE Command took too long\r\n"},
		{"too long IDLE", []string{"x IDLE\r\n", "DONE\r\n"}, 32 * time.Minute, "* BYE Autologout; idle for too long\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newFake()
				store.box("INBOX")
				s, err := New(Options{Sessions: store})
				if err != nil {
					t.Fatal(err)
				}
				m := &slowConn{memConn: memConn{in: bytes.NewReader(nil)}, pause: c.pause, inside: true}
				m.pieces = append([]string{"p LOGIN u secret\r\n"}, c.pieces...)
				newConn(context.Background(), s, m, remoteIP(m), PlainMode).serve()
				if got := m.out.String(); !strings.Contains(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}
