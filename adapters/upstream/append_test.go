package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"imapped/domain/fault"
	port "imapped/ports/upstream"
)

func TestAppendUID(t *testing.T) {
	for _, tc := range []struct {
		answer        string
		validity, uid uint32
	}{
		{"OK [APPENDUID 38505 3955] done", 38505, 3955},
		{"OK [APPENDUID 38505 3955:3955]", 38505, 3955},
		{"OK [APPENDUID 38505 3955,3957]", 0, 0},
		{"OK [APPENDUID 38505 3955:3956]", 0, 0},
		{"OK [APPENDUID 0 1]", 0, 0},
		{"OK [APPENDUID 38505 0]", 0, 0},
		{"OK [APPENDUID 38505]", 0, 0},
		{"OK [APPENDUID 99999999999 4]", 0, 0},
		{"OK [COPYUID 38505 1 2]", 0, 0},
		{"OK", 0, 0},
		{"NO [APPENDUID 38505 3955] no", 0, 0},
	} {
		conn, _ := dial(t, dialer(), script("LITERAL+", "C: a APPEND X {4+}\nc: body\nS: a "+tc.answer))
		a := message("X", "body")
		a.UIDValidity, a.UID = 1, 2
		do(t, conn, a)
		if a.UIDValidity != tc.validity || a.UID != tc.uid || (a.Err == nil) != strings.HasPrefix(tc.answer, "OK") {
			t.Errorf("%s: %d %d, %v", tc.answer, a.UIDValidity, a.UID, a.Err)
		}
	}
}

// TestAppendWaits: without LITERAL+ the octets are sent when the server asks for them, and what is behind them later.
func TestAppendWaits(t *testing.T) {
	conn, _ := dial(t, dialer(), script("LITERAL-", `
C: n NOOP
C: a APPEND X {4096+}
! expect 4096 x
c: 
C: b APPEND X {4097}
S: n OK
S: a OK
S: + go
! expect 4097 x
c: 
C: c NOOP
S: b OK [APPENDUID 1 2]
S: c OK`))
	noop := &port.Noop{}
	small, large := message("X", strings.Repeat("x", 4096)), message("X", strings.Repeat("x", 4097))
	behind := &port.Noop{}
	do(t, conn, noop, small, large, behind)
	if ok(t, noop, small, large, behind); small.UID != 0 || large.UID != 2 {
		t.Errorf("%+v, %+v", small, large)
	}
}

// TestAppendNameThatWaits: an 8-bit name is a literal of its own.
func TestAppendNameThatWaits(t *testing.T) {
	const name = "caf\xc3\xa9"
	conn, _ := dial(t, dialer(), script("", "C: a APPEND {5}\nS: + name\nc: "+name+" {3}\nS: + message\nc: abc\nC: b NOOP\n"+
		"S: a OK [APPENDUID 1 2]\nS: b OK\n"+
		"C: c APPEND {5}\nS: c NO no such name\nC: d APPEND {5}\nS: + name\nc: "+name+" {3}\nS: d NO no such mailbox\nC: e NOOP\nS: e OK"))
	a, noop := message(name, "abc"), &port.Noop{}
	do(t, conn, a, noop)
	if ok(t, a, noop); a.UID != 2 {
		t.Errorf("%+v", a)
	}
	do(t, conn, a)
	if !fault.Is(a.Err, fault.Unavailable) || a.Uncertain() {
		t.Errorf("%+v", a.Outcome)
	}
	do(t, conn, a, noop)
	if ok(t, noop); !fault.Is(a.Err, fault.NotFound) || a.Uncertain() || a.UID != 0 {
		t.Errorf("%+v", a)
	}
}

// TestAppendRefused: a literal that is not asked for is not sent; the connection, and what is behind it, live.
func TestAppendRefused(t *testing.T) {
	for answer, kind := range map[string]fault.Kind{"NO [TRYCREATE] x": fault.NotFound, "BAD too large": fault.Limit} {
		conn, _ := dial(t, dialer(), script("", "C: n NOOP\nC: a APPEND X {100000}\nS: n OK\nS: a "+answer+
			"\nC: b APPEND X {3}\nS: * 3 EXISTS\nS: + go\nc: abc\nC: c NOOP\nS: b OK\nS: c OK"))
		before, big, small, after := &port.Noop{}, message("X", strings.Repeat("x", 100_000)), message("X", "abc"), &port.Noop{}
		do(t, conn, before, big, small, after)
		if ok(t, before, small, after); !fault.Is(big.Err, kind) || big.Uncertain() {
			t.Errorf("%s: %+v", answer, big.Outcome)
		}
	}
}

// TestAppendAnsweredTooEarly: OK to half a command is not OK, and octets that nobody reads as a literal are not sent.
func TestAppendAnsweredTooEarly(t *testing.T) {
	conn, _ := dial(t, dialer(), script("", "C: a APPEND X {3}\nS: a OK [APPENDUID 1 2]\nC: b NOOP\nS: b OK"))
	a, noop := message("X", "abc"), &port.Noop{}
	do(t, conn, a, noop)
	if ok(t, noop); !a.Uncertain() || a.UID != 0 {
		t.Errorf("%+v", a)
	}
	d := dialer()
	d.Silence = 300 * time.Millisecond
	conn, _ = dial(t, d, script("", "C: a APPEND X {3}\nS- + go\\r\\na NO changed my mind\\r\\n\n! silent"))
	if err := conn.Do(deadline(t), a, noop); err == nil { // the answer may be seen before or after the octets are sent
		t.Error("the connection lives")
	}
}

// TestAppendCutWhileWaiting: what is behind a literal that was not asked for was certainly not sent.
func TestAppendCutWhileWaiting(t *testing.T) {
	const command = "A2 APPEND X {3}\r\n"
	for n := 1; n <= len("A1 NOOP\r\n"+command); n++ {
		conn, _ := dial(t, dialer(), script("", fmt.Sprintf("! take %d\n! close", n)))
		noop, a, next, behind := &port.Noop{}, message("X", "abc"), message("X", "def"), &port.Delete{Name: "X"}
		if err := conn.Do(deadline(t), noop, a, next, behind); !fault.Is(err, fault.Unavailable) {
			t.Fatal(err)
		}
		if !noop.Sent || !a.Sent || !a.Uncertain() {
			t.Fatalf("%d: %+v", n, a.Outcome)
		}
		if next.Sent || next.Err == nil || behind.Sent || behind.Err == nil || behind.Uncertain() {
			t.Fatalf("%d: %+v, %+v", n, next.Outcome, behind.Outcome)
		}
	}
}

// TestAppendStreams: a large message goes through a small memory.
func TestAppendStreams(t *testing.T) {
	const size = 64 << 20
	for _, tc := range []struct{ caps, header, plus string }{
		{"LITERAL+", "{67108864+}", ""}, {"", "{67108864}", "S: +\n"},
	} {
		conn, _ := dial(t, dialer(), script(tc.caps, "C: n NOOP\nC: a APPEND X "+tc.header+"\n"+tc.plus+
			"! expect 67108864 x\nc: \nC: b NOOP\nS: n OK\nS: a OK [APPENDUID 3 4]\nS: b OK"))
		closed := false
		a := &port.Append{Name: "X", Size: size, Open: func() (io.ReadCloser, error) {
			return &body{Reader: io.LimitReader(repeat('x'), size), close: func() { closed = true }}, nil
		}}
		before, after := &port.Noop{}, &port.Noop{}
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		do(t, conn, before, a, after)
		runtime.ReadMemStats(&m1)
		if ok(t, before, a, after); a.UID != 4 || !closed {
			t.Errorf("%+v, closed %v", a, closed)
		}
		if n := m1.TotalAlloc - m0.TotalAlloc; n > 2<<20 {
			t.Errorf("%d octets were allocated", n)
		}
	}
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

type body struct {
	io.Reader
	close func()
}

func (b *body) Close() error {
	b.close()
	return nil
}

// TestAppendOfABadMessage: a message that cannot be read is a failure of its command alone as long as nothing was sent,
// and of the connection after that; it is never half a message.
func TestAppendOfABadMessage(t *testing.T) {
	broken := fault.New(fault.Corrupt, "read", "wrong checksum")
	text := func(n int) io.Reader { return io.LimitReader(repeat('x'), int64(n)) }
	const first = 64 << 10
	for _, tc := range []struct {
		name string
		size int64
		open func() (io.Reader, error)
		kind fault.Kind
		sent bool
	}{
		{"not there", 10, func() (io.Reader, error) { return nil, fault.New(fault.NotFound, "open", "no blob") }, fault.NotFound, false},
		{"broken at once", 10, func() (io.Reader, error) { return iotest.ErrReader(broken), nil }, fault.Corrupt, false},
		{"broken in the middle", 10, func() (io.Reader, error) { return io.MultiReader(text(5), iotest.ErrReader(broken)), nil },
			fault.Corrupt, false},
		{"broken at the end", 10, func() (io.Reader, error) { return io.MultiReader(text(10), iotest.ErrReader(broken)), nil },
			fault.Corrupt, false},
		{"short", 10, func() (io.Reader, error) { return text(9), nil }, fault.Corrupt, false},
		{"long", 10, func() (io.Reader, error) { return text(11), nil }, fault.Corrupt, false},
		{"not empty", 0, func() (io.Reader, error) { return text(1), nil }, fault.Corrupt, false},
		{"a large one, short at once", 1 << 20, func() (io.Reader, error) { return text(first - 1), nil }, fault.Corrupt, false},
		{"a large one, broken later", 1 << 20, func() (io.Reader, error) {
			return io.MultiReader(text(first+1), iotest.ErrReader(broken)), nil
		}, fault.Corrupt, true},
		{"a large one, broken at the end", 1 << 20, func() (io.Reader, error) {
			return io.MultiReader(text(1<<20), iotest.ErrReader(broken)), nil
		}, fault.Corrupt, true},
		{"a large one, short", 1 << 20, func() (io.Reader, error) { return text(1<<20 - 1), nil }, fault.Corrupt, true},
		{"a large one, long", 1 << 20, func() (io.Reader, error) { return text(1<<20 + 1), nil }, fault.Corrupt, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lines := "C: n NOOP\nC: b NOOP\nS: n OK\nS: b OK\nC: c NOOP\nS: c OK"
			if tc.sent {
				lines = "C: n NOOP\nC: a APPEND X {1048576+}\n! may-end\n! expect 1048576 x\nS: * BAD it was whole\n! close"
			}
			conn, _ := dial(t, dialer(), script("LITERAL+", lines))
			closed := 0
			a := &port.Append{Name: "X", Size: tc.size, Open: func() (io.ReadCloser, error) {
				r, err := tc.open()
				if err != nil {
					return nil, err
				}
				return &body{r, func() { closed++ }}, nil
			}}
			before, after := &port.Noop{}, &port.Noop{}
			err := conn.Do(deadline(t), before, a, after)
			if !fault.Is(a.Err, tc.kind) || a.Sent != tc.sent || a.Uncertain() != tc.sent || closed > 1 || tc.kind == fault.Corrupt && closed != 1 {
				t.Errorf("%+v, closed %d times", a.Outcome, closed)
			}
			if tc.sent {
				if !fault.Is(err, fault.Unavailable) || after.Sent || !fault.Is(after.Err, fault.Unavailable) ||
					!strings.Contains(err.Error(), "in the middle of a message") {
					t.Errorf("%v, %+v", err, after.Outcome)
				}
				return
			}
			if ok(t, before, after); err != nil {
				t.Error(err)
			}
			do(t, conn, after)
			ok(t, after)
		})
	}
}

// TestAppendCanceled: who goes away while the octets of a message are being sent loses the connection, soon.
func TestAppendCanceled(t *testing.T) {
	t.Run("in the middle", func(t *testing.T) {
		conn, _ := dial(t, dialer(), script("LITERAL+", "C: a APPEND X {1073741824+}\n! may-end\n! expect 1073741824 x"))
		ctx, cancel := context.WithCancel(deadline(t))
		read := int64(0)
		a := &port.Append{Name: "X", Size: 1 << 30, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(readerFunc(func(p []byte) (int, error) {
				if read += int64(len(p)); read > 1<<20 {
					cancel()
				}
				return repeat('x').Read(p)
			})), nil
		}}
		behind := &port.Noop{}
		if err := conn.Do(ctx, a, behind); !fault.Is(err, fault.Canceled) || !a.Uncertain() || behind.Err == nil || behind.Sent {
			t.Errorf("%v, %+v, %+v", err, a.Outcome, behind.Outcome)
		}
		if read > 1<<29 {
			t.Errorf("%d octets were read", read)
		}
	})
	t.Run("while waiting", func(t *testing.T) {
		conn, _ := dial(t, dialer(), script("", "C: f UID FETCH 1 (UID FLAGS)\nC: a APPEND X {3}\nS: * 1 FETCH (UID 1 FLAGS ())\n! silent"))
		ctx, cancel := context.WithCancel(deadline(t))
		fetch := &port.Fetch{UIDs: uids(1), Items: port.ItemFlags, OnMessage: func(port.Message) error {
			cancel()
			return nil
		}}
		a, behind := message("X", "abc"), &port.Noop{}
		if err := conn.Do(ctx, fetch, a, behind); !fault.Is(err, fault.Canceled) || !a.Uncertain() || behind.Sent || behind.Err == nil {
			t.Errorf("%v, %+v, %+v", err, a.Outcome, behind.Outcome)
		}
		if err := conn.Do(deadline(t), behind); !fault.Is(err, fault.Unavailable) {
			t.Errorf("the connection lives: %v", err)
		}
	})
	t.Run("before", func(t *testing.T) {
		conn, _ := dial(t, dialer(), script("LITERAL+", "C: a APPEND X {3+}\nc: abc\n! may-end\nS: a OK"))
		ctx, cancel := context.WithCancel(deadline(t))
		first, second := message("X", "abc"), message("X", "def")
		open := first.Open
		first.Open = func() (io.ReadCloser, error) {
			r, err := open()
			return &body{r, cancel}, err
		}
		_ = conn.Do(ctx, first, second)
		if second.Sent || !fault.Is(second.Err, fault.Canceled) {
			t.Errorf("%+v", second.Outcome)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestAppendSlowly: a server owes no answer while a message is on its way to it, however long that takes.
func TestAppendSlowly(t *testing.T) {
	const size = 64 << 20 // far more than what the kernel keeps for the server
	d := dialer()
	d.Silence = 500 * time.Millisecond
	conn, _ := dial(t, d, script("LITERAL+", "C: a APPEND X {67108864+}\n"+strings.Repeat("! pause 250ms\n! take 13421772\n", 5)+
		"! take 4\nc: \nS: a OK"))
	a := &port.Append{Name: "X", Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(repeat('x'), size)), nil
	}}
	do(t, conn, a)
	ok(t, a)
}

// TestAppendRefusedOnTheWay: a server that has LITERAL+ may refuse before it has everything, and go on or hang up.
func TestAppendRefusedOnTheWay(t *testing.T) {
	const size = 8 << 20
	large := &port.Append{Name: "X", Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(repeat('x'), size)), nil
	}}
	conn, _ := dial(t, dialer(), script("LITERAL+", "C: a APPEND X {8388608+}\nS: a NO [TOOBIG] x\n! expect 8388608 x\nc: \nC: b NOOP\nS: b OK"))
	noop := &port.Noop{}
	do(t, conn, large, noop)
	if ok(t, noop); !fault.Is(large.Err, fault.Limit) || large.Uncertain() {
		t.Errorf("%+v", large.Outcome)
	}
	conn, _ = dial(t, dialer(), script("LITERAL+", "C: a APPEND X {8388608+}\n! take 100000\nS: * BYE [TOOBIG] not that large\n! close"))
	err := conn.Do(deadline(t), large, noop)
	var bye *port.Refusal
	if err == nil || !large.Uncertain() || noop.Sent {
		t.Errorf("%v, %+v, %+v", err, large.Outcome, noop.Outcome)
	}
	if errors.As(err, &bye) && (bye.Status != "BYE" || bye.Code != "TOOBIG") { // a reset may have overtaken it
		t.Errorf("%+v", bye)
	}
}
