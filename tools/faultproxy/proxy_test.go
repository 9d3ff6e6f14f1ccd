package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// echo starts a server that returns what it gets, and a proxy in front of it.
func echo(t *testing.T) *Proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	p, err := Listen("127.0.0.1:0", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		l.Close()
		wg.Wait()
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func set(t *testing.T, p *Proxy, f Faults) {
	t.Helper()
	if err := p.Set(f); err != nil {
		t.Fatal(err)
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestPassesEverythingAndCounts(t *testing.T) {
	for name, f := range map[string]Faults{
		"plain":    {},
		"one byte": {Up: Flow{OneByte: true}, Down: Flow{OneByte: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := echo(t)
			set(t, p, f)
			c := dial(t, p)
			want := pattern(100_000)
			go func() {
				_, _ = c.Write(want)
				_ = c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes, %v; want the %d sent", len(got), err, len(want))
			}
			if s := p.Stats(); s.Accepted != 1 || s.Up != 100_000 || s.Down != 100_000 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestCutLetsExactlyNPass(t *testing.T) {
	p := echo(t)
	for _, n := range []int64{1, 1000, 40_000, 99_999} {
		set(t, p, Faults{Down: Flow{CutAt: n}})
		c := dial(t, p)
		go func() { _, _ = c.Write(pattern(100_000)) }()
		got, err := io.ReadAll(c)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut at %d: error %v, want a reset", n, err)
		}
		// A reset may overtake bytes that were delivered and not yet read.
		if int64(len(got)) > n {
			t.Errorf("cut at %d: %d bytes passed", n, len(got))
		}
		// The cut is spent: the next connection passes.
		c = dial(t, p)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("after the cut at %d: %v", n, err)
		}
	}
	if err := p.Close(); err != nil { // what passed is counted when it has passed
		t.Error(err)
	}
	if s := p.Stats(); s.Cuts != 4 || s.Down != 1+1000+40_000+99_999+4 {
		t.Errorf("stats %+v", s)
	}
}

func TestRefuseAndReturn(t *testing.T) {
	p := echo(t)
	set(t, p, Faults{Refuse: true})
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("dial: %v, want refused", err)
	}
	set(t, p, Faults{})
	c := dial(t, p)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestBlackHoleSwallowsThenResets(t *testing.T) {
	p := echo(t)
	set(t, p, Faults{BlackHole: true})
	c := dial(t, p)
	if _, err := c.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d, %v from a black hole", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	set(t, p, Faults{})
	if n, err := c.Read(make([]byte, 8)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %d, %v after the hole, want a reset", n, err)
	}
}

func TestCorrupt(t *testing.T) {
	p := echo(t)
	set(t, p, Faults{Down: Flow{CorruptEvery: 1000}})
	c := dial(t, p)
	want := pattern(70_000)
	go func() {
		_, _ = c.Write(want)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for i := range got {
		if changed := got[i] != want[i]; changed != (i%1000 == 999) {
			t.Fatalf("byte %d changed: %v", i, changed)
		}
	}
}

func TestCutNow(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read: %v, want a reset", err)
	}
}

// ends returns a client and an upstream joined by p, in memory, so that a bubble's clock rules them.
func ends(t *testing.T, p *Proxy) (client, upstream net.Conn) {
	client, inner := net.Pipe()
	outer, upstream := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { p.serve(inner, outer) })
	t.Cleanup(func() {
		p.Close()
		client.Close()
		upstream.Close()
		wg.Wait()
	})
	return client, upstream
}

func TestDelayKeepsThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy("")
		set(t, p, RoundTrip(50*time.Millisecond))
		client, upstream := ends(t, p)
		start := time.Now()
		go func() {
			for range 100 {
				_, _ = client.Write(pattern(10_000))
			}
		}()
		if _, err := io.ReadFull(upstream, make([]byte, 1_000_000)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 25*time.Millisecond {
			t.Errorf("100 writes arrived after %s, want all after the one-way delay of 25ms", d)
		}
		go func() { _, _ = upstream.Write([]byte("x")) }()
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 50*time.Millisecond {
			t.Errorf("the answer arrived after %s, want 50ms", d)
		}
	})
}

func TestBandwidthAndStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy("")
		set(t, p, Faults{Up: Flow{Bandwidth: 100_000}})
		client, upstream := ends(t, p)
		start := time.Now()
		go func() {
			for range 11 {
				_, _ = client.Write(pattern(10_000))
			}
		}()
		// The first chunk goes at once; each further one waits for the line.
		if _, err := io.ReadFull(upstream, make([]byte, 110_000)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("100,000 bytes took %s at 100,000 bytes/s, want 1s", d)
		}

		set(t, p, Faults{Up: Flow{Stall: true}})
		got := make(chan time.Duration, 1)
		go func() {
			_, _ = client.Write([]byte("x"))
			_, _ = io.ReadFull(upstream, make([]byte, 1))
			got <- time.Since(start)
		}()
		time.Sleep(time.Minute)
		set(t, p, Faults{})
		if d := <-got; d != time.Second+time.Minute {
			t.Errorf("the stalled byte arrived after %s", d)
		}
	})
}
