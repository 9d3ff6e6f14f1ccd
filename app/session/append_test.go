package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/app/session"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

var testTime = time.Date(2026, 3, 1, 12, 30, 15, 0, time.FixedZone("", -5*3600-1800))

// large is a message of about n octets.
func large(n int) []byte {
	raw := []byte("From: Ann <ann@example.org>\r\nSubject: large\r\nMessage-ID: <large@example.org>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n")
	for len(raw) < n {
		raw = append(raw, "0123456789012345678901234567890123456789\r\n"...)
	}
	return append(raw, "--b--\r\n"...)
}

// line is the line of rig.shown for a message.
func line(uid int, flags string, date time.Time, raw []byte) string {
	return fmt.Sprintf("%d (%s) %s %x", uid, flags, date.Format(time.RFC3339), sha256.Sum256(raw))
}

func TestAppend(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind)
		s, idle := r.login(), r.selectBox(r.login(), "INBOX")
		quiet(idle)
		a, err := s.Append(t.Context(), "inbox")
		r.check(err)
		defer a.Close()
		var want []string
		raws := [][]byte{rawMessage(1), large(700_000), {}, []byte("\x00no header\n"), rawMessage(1), large(256 << 10), large(1_000_000)}
		for i, raw := range raws {
			in := strings.NewReader(string(raw) + "what follows")
			r.check(a.Add(t.Context(), in, int64(len(raw)), flags(`\Flagged`, "k", `\Recent`), testTime))
			if in.Len() != len("what follows") {
				t.Fatalf("message %d: %d octets are left behind it", i, in.Len())
			}
			want = append(want, line(i+1, `\Flagged k`, testTime, raw))
		}
		if got := r.shown("INBOX"); len(got) > 0 || hinted(idle) {
			t.Errorf("before the commit there is %q", got)
		}
		done, err := a.Commit(t.Context(), nil, 0)
		r.check(err)
		if !slices.Equal(done.UIDs, []mailbox.UID{1, 2, 3, 4, 5, 6, 7}) || done.UIDValidity != idle.UIDValidity() {
			t.Errorf("%+v", done)
		}
		if !hinted(idle) || r.advance(idle) != "+7" {
			t.Error("the other session hears nothing")
		}
		r.woken(0, 1)
		if got := r.shown("INBOX"); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		_, err = a.Commit(t.Context(), nil, 0)
		isFault(t, "a second commit", err, fault.Invalid)
		r.reopen()
		if got := r.shown("INBOX"); !slices.Equal(got, want) {
			t.Errorf("after a restart %q", got)
		}
	})
}

var errLost = errors.New("the connection is lost")

// cut gives n octets of a message, then an error.
func cut(raw []byte, n int, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(raw[:n]), failing{err})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAppendFails(t *testing.T) {
	r := newRig(t, "mirrored")
	box := r.mirror(0, "Box", '/')
	s := r.login()
	ctx := t.Context()
	begin := func(name string) session.Append {
		a, err := s.Append(ctx, name)
		r.check(err)
		return a
	}
	_, err := s.Append(ctx, "Nowhere")
	isFault(t, "no mailbox", err, fault.NotFound)
	_, err = begin("Box").Commit(ctx, nil, 0)
	isFault(t, "no message", err, fault.Invalid)

	for _, raw := range [][]byte{rawMessage(1), large(600_000)} {
		size := int64(len(raw))
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		for _, c := range []struct {
			what string
			ctx  context.Context
			r    io.Reader
			is   func(error) bool
		}{
			{"the connection is lost", ctx, cut(raw, len(raw)/2, errLost), func(err error) bool { return errors.Is(err, errLost) }},
			{"the end comes early", ctx, bytes.NewReader(raw[:size-1]), func(err error) bool {
				return errors.Is(err, io.ErrUnexpectedEOF) && fault.Is(err, fault.Canceled)
			}},
			{"nothing comes", ctx, strings.NewReader(""), func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
			{"canceled", canceled, bytes.NewReader(raw), func(err error) bool { return fault.Is(err, fault.Canceled) }},
		} {
			a := begin("Box")
			r.check(a.Add(ctx, bytes.NewReader(rawMessage(0)), int64(len(rawMessage(0))), flags(), testTime))
			if err := a.Add(c.ctx, c.r, size, flags(), testTime); !c.is(err) {
				t.Errorf("%s: %v", c.what, err)
			}
			if err := a.Add(ctx, bytes.NewReader(raw), size, flags(), testTime); err == nil {
				t.Errorf("%s: another message is taken", c.what)
			}
			if _, err := a.Commit(ctx, nil, 0); err == nil {
				t.Errorf("%s: it can be committed", c.what)
			}
			a.Close()
		}
	}
	a := begin("Box")
	r.check(a.Add(ctx, bytes.NewReader(rawMessage(1)), int64(len(rawMessage(1))), flags(), testTime))
	a.Close()
	_, err = a.Commit(ctx, nil, 0)
	isFault(t, "closed", err, fault.Invalid)

	if got := r.shown("Box"); len(got) > 0 {
		t.Errorf("of failures there is left: %q", got)
	}
	r.woken(0, 0)

	a = begin("Box")
	r.check(a.Add(ctx, bytes.NewReader(rawMessage(1)), int64(len(rawMessage(1))), flags(), time.Time{}))
	r.check(s.Rename(ctx, "Box", "Renamed"))
	_, err = a.Commit(ctx, nil, 0)
	r.check(err)
	if got := r.shown("Renamed"); len(got) != 1 {
		t.Errorf("%d messages in the renamed mailbox", len(got))
	}
	a = begin("Renamed")
	r.check(a.Add(ctx, bytes.NewReader(rawMessage(1)), int64(len(rawMessage(1))), flags(), testTime))
	r.check(s.Delete(ctx, "Renamed"))
	_, err = a.Commit(ctx, nil, 0)
	isFault(t, "the mailbox is deleted", err, fault.NotFound)
	_ = box
}

func TestReplace(t *testing.T) {
	kinds(t, func(t *testing.T, kind string) {
		r := newRig(t, kind, kind)
		id := r.mirror(0, "Drafts", '/')
		r.deliver(0, id, true, rawMessage(1), rawMessage(2), rawMessage(3), rawMessage(4))
		s := r.login()
		m, other, there := r.selectBox(s, "Drafts"), r.selectBox(r.login(), "INBOX"), r.selectBox(r.login(), "Acc2/INBOX")
		replace := func(name string, from session.Mailbox, uid mailbox.UID) (session.Appended, error) {
			a, err := s.Append(t.Context(), name)
			r.check(err)
			defer a.Close()
			raw := rawMessage(10 + int(uid))
			r.check(a.Add(t.Context(), bytes.NewReader(raw), int64(len(raw)), flags(`\Draft`), testTime))
			return a.Commit(t.Context(), from, uid)
		}
		r.wakes(0)
		if done, err := replace("Drafts", m, 2); err != nil || !slices.Equal(done.UIDs, []mailbox.UID{5}) || r.advance(m) != "x2 +4" {
			t.Errorf("in the mailbox: %+v, %v", done, err)
		}
		r.woken(0, 1)
		quiet(m, other)
		if done, err := replace("INBOX", m, 3); err != nil || !slices.Equal(done.UIDs, []mailbox.UID{1}) {
			t.Errorf("into another one: %+v, %v", done, err)
		}
		if !hinted(m) || !hinted(other) || r.advance(m) != "x2" || r.advance(other) != "+1" {
			t.Error("the sessions do not hear of it")
		}
		if done, err := replace("Acc2/INBOX", m, 4); err != nil || !slices.Equal(done.UIDs, []mailbox.UID{1}) || r.advance(m) != "x2" || r.advance(there) != "+1" {
			t.Errorf("into another account: %+v, %v", done, err)
		}
		_, err := replace("Drafts", m, 2)
		isFault(t, "a message that is gone", err, fault.NotFound)
		_, err = replace("Drafts", nil, 5)
		isFault(t, "no mailbox", err, fault.Invalid)
		// Another session was faster: nothing is added.
		fast := r.selectBox(r.login(), "Drafts")
		_, err = fast.Store(t.Context(), session.StoreRequest{UIDs: set(5), Flags: flags(`\Deleted`)})
		r.check(err)
		_, err = fast.Expunge(t.Context(), nil)
		r.check(err)
		_, err = replace("Drafts", m, 5)
		isFault(t, "a message that another session expunged", err, fault.NotFound)
		if got := r.shown("Drafts"); len(got) != 1 {
			t.Errorf("%q", got)
		}
	})
}

// TestAppendMany: small messages that are too many to be held go to the blob store before the commit, in their order;
// those whose fragments are too many are refused.
func TestAppendMany(t *testing.T) {
	r := newRig(t, "local")
	s := r.login()
	a, err := s.Append(t.Context(), "INBOX")
	r.check(err)
	defer a.Close()
	var want []string
	for i := range 60 {
		raw := append(rawMessage(i), bytes.Repeat([]byte("body\r\n"), 15_000)...)
		if i%7 == 0 {
			raw = large(300_000 + i)
		}
		r.check(a.Add(t.Context(), bytes.NewReader(raw), int64(len(raw)), flags(), testTime))
		want = append(want, line(i+1, "", testTime, raw))
	}
	if len(r.blobs.m) < 30 {
		t.Errorf("%d blobs were stored before the commit", len(r.blobs.m))
	}
	_, err = a.Commit(t.Context(), nil, 0)
	r.check(err)
	if got := r.shown("INBOX"); !slices.Equal(got, want) {
		t.Error("other messages came than were sent, or in another order")
	}

	b, err := s.Append(t.Context(), "INBOX")
	r.check(err)
	defer b.Close()
	raw := []byte("Subject: " + strings.Repeat("long ", 20_000) + "\r\n\r\n")
	for n := 0; err == nil && n < 1000; n++ {
		err = b.Add(t.Context(), bytes.NewReader(raw), int64(len(raw)), flags(), testTime)
	}
	isFault(t, "a thousand messages with large headers", err, fault.Limit)
	if got := r.shown("INBOX"); len(got) != len(want) {
		t.Errorf("%d messages", len(got))
	}
}

// moved is a clock that is moved by hand.
type moved struct{ by time.Duration }

func (c *moved) Now() time.Time { return time.Now().Add(c.by) }

// slowPut is a store whose Put moves the clock.
type slowPut struct {
	blob.Store
	clock *moved
	takes time.Duration
}

func (s *slowPut) Put(ctx context.Context, blobs ...[]byte) ([]blob.Key, error) {
	keys, err := s.Store.Put(ctx, blobs...)
	s.clock.by += s.takes
	return keys, err
}

// TestAppendTakesTooLong: what was stored long ago may be swept any moment, so nothing may name it any more.
func TestAppendTakesTooLong(t *testing.T) {
	r, c := newRig(t, "local"), &moved{}
	blobs := &slowPut{Store: r.blobs, clock: c}
	svc := session.New(session.Config{
		Auth: anybody{}, Accounts: r.db, Mailboxes: r.db, Messages: r.db, Edits: r.db, Folders: r.db, Blobs: blob.Shared{Store: blobs}, Bus: r.bus, Clock: c,
	})
	s, err := svc.Login(t.Context(), session.Credentials{User: "ann"})
	r.check(err)
	for _, tt := range []struct {
		takes, storing time.Duration
		raw            []byte
		kind           fault.Kind
	}{
		{10 * time.Minute, 0, large(300_000), 0}, {31 * time.Minute, 0, large(300_000), fault.Unavailable},
		{31 * time.Minute, 0, rawMessage(1), 0}, // not stored before the commit
		{0, 10 * time.Minute, rawMessage(1), 0}, {0, 31 * time.Minute, rawMessage(1), fault.Unavailable},
	} {
		blobs.takes = tt.storing
		a, err := s.Append(t.Context(), "INBOX")
		r.check(err)
		c.by += 2 * time.Hour // a slow line: nothing is stored yet
		r.check(a.Add(t.Context(), bytes.NewReader(tt.raw), int64(len(tt.raw)), flags(), testTime))
		c.by += tt.takes
		_, err = a.Commit(t.Context(), nil, 0)
		isFault(t, fmt.Sprint("after ", tt.takes, " and ", tt.storing), err, tt.kind)
		a.Close()
	}
}

// generated is a message of size octets, made while it is read.
type generated struct {
	head []byte
	at   int64
	size int64
}

func (g *generated) Read(p []byte) (int, error) {
	if g.at == g.size {
		return 0, io.EOF
	}
	n := 0
	if g.at < int64(len(g.head)) {
		n = copy(p, g.head[g.at:])
	} else {
		n = int(min(int64(len(p)), g.size-g.at))
		for i := range p[:n] {
			p[i] = "0123456789abcdef0123456789abcdef0123456789abcdef\r\n"[(g.at+int64(i))%50]
		}
	}
	g.at += int64(n)
	return n, nil
}

// fileBlobs writes blobs to files.
type fileBlobs struct {
	blob.Store
	dir string
}

func (b fileBlobs) Create(context.Context) (blob.Writer, error) {
	f, err := os.CreateTemp(b.dir, "")
	return &fileWriter{File: f}, err
}

type fileWriter struct {
	*os.File
	n int64
}

func (w *fileWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return w.File.Write(p)
}

func (w *fileWriter) Commit(context.Context) (blob.Key, error) { return blob.Key{1, byte(w.n)}, nil }

// TestAppendMemory: 100 MB go through a few buffers.
func TestAppendMemory(t *testing.T) {
	const size = 100 << 20
	r := newRig(t, "local")
	svc := session.New(session.Config{
		Auth: anybody{}, Accounts: r.db, Mailboxes: r.db, Messages: r.db, Edits: r.db, Folders: r.db,
		Blobs: blob.Shared{Store: fileBlobs{r.blobs, t.TempDir()}}, Bus: r.bus, Clock: clock.System{},
	})
	s, err := svc.Login(t.Context(), session.Credentials{User: "ann"})
	r.check(err)
	a, err := s.Append(t.Context(), "INBOX")
	r.check(err)
	defer a.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	in := &generated{head: []byte("Subject: big\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n"), size: size}
	r.check(a.Add(t.Context(), in, size, flags(), testTime))
	_, err = a.Commit(t.Context(), nil, 0)
	r.check(err)
	runtime.ReadMemStats(&after)
	// All that was ever allocated, freed or not, so the peak is below it.
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d octets were allocated for a message of %d", used, size)
	}
	sizes := 0
	r.check(r.db.Contents(t.Context(), r.accounts[0].ID, 1, set(1), metadata.WantAll, func(c *metadata.Content) error {
		if sizes++; c.Size != size || !bytes.Contains(c.Envelope, []byte(`"big"`)) {
			t.Errorf("size %d, envelope %s", c.Size, c.Envelope)
		}
		return nil
	}))
	if sizes != 1 {
		t.Errorf("%d messages", sizes)
	}
}
