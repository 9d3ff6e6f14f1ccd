package suites

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
	"imapped/tools/faultproxy"
)

// appendLimit is the largest message that the mirror takes.
const appendLimit = 100 << 20

// block is what large messages are made of.
var block = bytes.Repeat([]byte("The quick brown fox jumps over the lazy dog, and again and again, for 78 col.\r\n"), 800)

// large writes a message of the size, and returns its sum.
func large(c *imapc.Client, size int) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	head := []byte("Subject: large\r\nMessage-ID: <large@write.example>\r\n\r\n")
	for part := head; size > 0; part = block {
		part = part[:min(size, len(part))]
		h.Write(part)
		if err := c.Write(part); err != nil {
			return sum, err
		}
		size -= len(part)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// files returns the files below a directory that are larger than the size, and their sizes.
func files(t *testing.T, dir string, size int64) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil || d.IsDir() || strings.Contains(d.Name(), ".db") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			all[name] = info.Size()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}))
	return all
}

// TestLargeAppend appends 100 MiB over a slow line, loses a connection in the middle of as much, and offers too much.
func TestLargeAppend(t *testing.T) {
	w := theWorld(t)
	s := paired(t, w, "large", []harness.Box{{Name: "INBOX", UIDValidity: 1, Messages: harness.Dress(w.raw[:10], 41)}})
	s.restart(t, false) // so that the peak is not that of the first mirror
	must(t, s.p.Force(t.Context()))
	line, err := faultproxy.Listen("127.0.0.1:0", s.p.Addr)
	must(t, err)
	defer line.Close()
	must(t, line.Set(faultproxy.Faults{Up: faultproxy.Flow{Bandwidth: 25 << 20}}))
	slow := func(ctx context.Context) (*imapc.Client, error) {
		return imapc.Login(ctx, line.Addr(), s.user, harness.Password)
	}
	// The program's own pages for APPEND and its replay come into memory with the first.
	cmd(t, login(t, s.p.Login), "APPEND INBOX ", mail("first", 100_000))
	_, err = s.p.Settled(t.Context(), time.Minute)
	must(t, err)
	before, peakBefore, err := s.p.Memory()
	must(t, err)

	t.Run("100 MiB", func(t *testing.T) {
		c := login(t, slow)
		c.Timeout = 2 * time.Minute
		start := time.Now()
		must(t, c.Write(fmt.Appendf(nil, "big APPEND INBOX (\\Seen) {%d}\r\n", appendLimit)))
		if r, err := c.Read(); err != nil || r.Tag != "+" {
			t.Fatalf("APPEND was answered with %+v, %v", r, err)
		}
		sum, err := large(c, appendLimit)
		must(t, err)
		must(t, c.Write([]byte("\r\n")))
		reply, err := c.Wait("big")
		must(t, err)
		took := time.Since(start)
		if !strings.HasPrefix(reply.Code, "APPENDUID ") {
			t.Errorf("APPEND was answered with [%s]", reply.Code)
		}
		_, appended, err := s.p.Memory()
		must(t, err)
		_, err = s.p.Settled(t.Context(), 2*time.Minute)
		must(t, err)
		_, peak, err := s.p.Memory()
		must(t, err)
		t.Logf("figure: APPEND of %d MiB in %s: RSS %.1f MB before (peak %.1f), peak %.1f MB after it, %.1f MB after it is upstream: grown by %.1f MB",
			appendLimit>>20, took.Round(time.Millisecond), float64(before)/1e6, float64(peakBefore)/1e6, float64(appended)/1e6,
			float64(peak)/1e6, float64(peak-before)/1e6)
		if peak-before > 20e6 {
			t.Errorf("the peak is %.1f MB above what it was before", float64(peak-before)/1e6)
		}
		rows, err := fetchBox(s.theirs(t), "INBOX", itemsBody)
		must(t, err)
		if n := len(rows); n != 12 || rows[11].sha != sum || rows[11].flags != `\Seen` {
			t.Errorf("upstream are %d messages, the last of %d octets with the flags (%s)", n, rows[n-1].length, rows[n-1].flags)
		}
	})

	t.Run("lost half-way", func(t *testing.T) {
		theWorld(t).embedded(t) // else it is in files without names
		blobs := files(t, s.p.Data, 1<<20)
		for _, command := range []string{"APPEND INBOX {%d+}\r\n", "APPEND INBOX {10+}\r\nSubject: x {%d+}\r\n"} {
			c := login(t, s.p.Login)
			must(t, c.Write(fmt.Appendf(nil, "lost "+command, appendLimit/2)))
			_, err := large(c, appendLimit/4)
			must(t, err)
			must(t, harness.Eventually(t.Context(), time.Minute, "half of it is on disk", func() (bool, error) {
				return len(files(t, s.p.Data, 20<<20)) > len(blobs), nil
			}))
			must(t, c.Conn().(*net.TCPConn).SetLinger(0)) // a reset, not an orderly end
			c.Close()
			must(t, harness.Eventually(t.Context(), time.Minute, "nothing of it is left on disk", func() (bool, error) {
				return len(files(t, s.p.Data, 1<<20)) == len(blobs), nil
			}))
		}
		if rows, err := fetchBox(s.ours(t), "INBOX", itemsLight); err != nil || len(rows) != 12 {
			t.Errorf("INBOX has %d messages, %v", len(rows), err)
		}
		if q, err := s.p.Mutations(t.Context()); err != nil || len(q) != 0 {
			t.Errorf("queued: %+v, %v", q, err)
		}

		// The same with the program killed: the next start leaves nothing of it either.
		c := login(t, s.p.Login)
		must(t, c.Write(fmt.Appendf(nil, "lost APPEND INBOX {%d+}\r\n", appendLimit/2)))
		_, err := large(c, appendLimit/4)
		must(t, err)
		s.restart(t, true)
		must(t, harness.Eventually(t.Context(), time.Minute, "nothing of it is left on disk", func() (bool, error) {
			return len(files(t, s.p.Data, 1<<20)) == len(blobs), nil
		}))
		if rows, err := fetchBox(s.ours(t), "INBOX", itemsLight); err != nil || len(rows) != 12 {
			t.Errorf("INBOX has %d messages, %v", len(rows), err)
		}
	})

	t.Run("too big", func(t *testing.T) {
		c := s.ours(t)
		if got := status(t, c, "INBOX", "APPENDLIMIT"); got != fmt.Sprint(appendLimit) {
			t.Errorf("STATUS says APPENDLIMIT %s", got)
		}
		var refused *imapc.StatusError
		for _, size := range []int{appendLimit + 1, 4_000_000_000} {
			must(t, c.Write(fmt.Appendf(nil, "big APPEND INBOX {%d}\r\n", size)))
			if _, err := c.Wait("big"); !errors.As(err, &refused) || refused.Name != "NO" || refused.Code != "TOOBIG" {
				t.Errorf("%d octets, before they were sent: %v", size, err)
			}
			cmd(t, c, "NOOP")
		}
		// Octets that are sent unasked are dropped to the last one: what follows is the next command.
		must(t, c.Write(fmt.Appendf(nil, "big APPEND INBOX {%d+}\r\n", appendLimit+1)))
		_, err := large(c, appendLimit+1)
		must(t, err)
		must(t, c.Write([]byte("\r\n")))
		if _, err := c.Wait("big"); !errors.As(err, &refused) || refused.Name != "NO" || refused.Code != "TOOBIG" {
			t.Errorf("%d octets, sent unasked: %v", appendLimit+1, err)
		}
		cmd(t, c, "NOOP")
		cmd(t, c, "APPEND INBOX ", mail("after it", 100))
		if _, peak, err := s.p.Memory(); err != nil || peak > before+40e6 {
			t.Errorf("peak RSS %d MB, %v", peak/1e6, err)
		}
		if rows, err := fetchBox(c, "INBOX", itemsLight); err != nil || len(rows) != 13 {
			t.Errorf("INBOX has %d messages, %v", len(rows), err)
		}
	})
	_, parked := s.agree(t, time.Minute)
	nothingParked(t, parked)
}
