package move_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/adapters/blobfs"
	"imapped/adapters/postgres"
	"imapped/adapters/s3"
	"imapped/adapters/s3/s3test"
	"imapped/adapters/sqlite"
	"imapped/app/move"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/blob"
	"imapped/ports/metadata"
	"imapped/ports/metadata/metadatatest"
	"imapped/ports/transfer"
)

var errCut = errors.New("the power is gone")

// cut is a sink, and a store of blobs, that work no more from the nth call on: before it is done, or after.
type cut struct {
	transfer.Sink
	blob.Store
	left      int
	after     bool
	finishing bool
}

func (c *cut) call(do func() error) error {
	if c.left--; c.left > 0 || c.left == 0 && c.after {
		err := do()
		if c.left > 0 || err != nil {
			return err
		}
	}
	return errCut
}

func (c *cut) Write(ctx context.Context, b transfer.Batch) error {
	return c.call(func() error { return c.Sink.Write(ctx, b) })
}

// Finish counts each write in it, and its commit.
func (c *cut) Finish(ctx context.Context, e transfer.End, fn func(transfer.Writer) error) error {
	c.finishing = true
	commit := func() error { return c.call(func() error { return nil }) }
	err := c.Sink.Finish(ctx, e, func(w transfer.Writer) error {
		err := fn(cutWriter{w, c})
		if err == nil && !c.after {
			err = commit()
		}
		return err
	})
	if err == nil && c.after {
		err = commit()
	}
	return err
}

func (c *cut) Put(ctx context.Context, blobs ...[]byte) (keys []blob.Key, err error) {
	err = c.call(func() error {
		keys, err = c.Store.Put(ctx, blobs...)
		return err
	})
	return keys, err
}

type cutWriter struct {
	transfer.Writer
	c *cut
}

func (w cutWriter) Write(ctx context.Context, b transfer.Batch) error {
	return w.c.call(func() error { return w.Writer.Write(ctx, b) })
}

// installation is a filled embedded one.
type installation struct {
	path  string
	blobs *blobfs.Store
	dir   string // of the blobs
	seen  seenBy
}

func newInstallation(t *testing.T, steps int) *installation {
	t.Helper()
	in := &installation{path: filepath.Join(t.TempDir(), "imapped.db"), dir: t.TempDir()}
	var err error
	in.blobs, err = blobfs.Open(in.dir)
	must(t, err)
	t.Cleanup(func() { must(t, in.blobs.Close()) })
	in.change(t, func(s *sqlite.Store) { fill(t, randomly(t), s, in.blobs, steps) })
	return in
}

// change changes it and notes what is seen of it then.
func (in *installation) change(t *testing.T, fn func(*sqlite.Store)) {
	t.Helper()
	s := openSQLite(t, in.path)
	fn(s)
	in.seen = look(t, s)
	must(t, s.Close())
}

func (in *installation) run(t *testing.T, url string, to blob.Store, change func(*move.Config)) (move.Report, error) {
	t.Helper()
	return run(t.Context(), t, in.path, url, func(c *move.Config) {
		c.From, c.To = in.blobs, blob.Shared{Store: to}
		if change != nil {
			change(c)
		}
	})
}

// arrived checks that everything is in the database, and in the store of blobs.
func (in *installation) arrived(t *testing.T, url string, to blob.Store) {
	t.Helper()
	s := openPostgres(t, url)
	defer func() { must(t, s.Close()) }()
	same(t, look(t, s), in.seen)
	if got, want := readable(t, s, to), readable(t, s, everything{}); got != want {
		t.Errorf("%d of %d blobs can be read", got, want)
	}
	continues(t, s)
}

// continues checks that ids and fencing numbers go on above those that were given before.
func continues(t *testing.T, s metadatatest.Store) {
	t.Helper()
	accounts, err := s.Accounts(t.Context(), 0)
	must(t, err)
	u, err := s.CreateUser(t.Context(), account.User{Name: "one more"})
	must(t, err)
	a, err := s.CreateAccount(t.Context(), account.Account{User: u.ID, Email: "m@example.org", Display: "m"})
	must(t, err)
	if last := accounts[len(accounts)-1]; u.ID <= last.User || a.ID <= last.ID {
		t.Errorf("user %d and account %d come after user %d and account %d", u.ID, a.ID, last.User, last.ID)
	}
	for _, b := range accounts {
		f, err := s.Acquire(t.Context(), b.ID, "another", now, 1)
		must(t, err)
		if f.Token != 4 { // the filler took it three times
			t.Errorf("the fencing number of account %d is %d, want 4", b.ID, f.Token)
		}
	}
}

// TestCut ends the move at each boundary between batches, again and again, before and after what is done there: in the end
// everything is there once.
func TestCut(t *testing.T) {
	in := newInstallation(t, 30)
	for _, after := range []bool{false, true} {
		// The first attempts do one thing each; of the last transaction each attempt does one thing more.
		url, to, left := empty(t), openBlobs(t), 2
		if after {
			left = 1
		}
		for n := 1; ; n++ {
			c := &cut{left: left, after: after, Store: to}
			report, err := in.run(t, url, to, func(m *move.Config) {
				c.Sink, m.Sink, m.To, m.Rows, m.Workers = m.Sink, c, blob.Shared{Store: c}, 30, 1
			})
			if err == nil {
				if report.Already != after {
					t.Errorf("cut after: %v, the last report says already: %v", after, report.Already)
				}
				t.Logf("%d attempts", n)
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if c.finishing {
				left++
			}
			if n%5 == 0 && !after {
				if _, err := postgres.Open(t.Context(), postgres.Options{URL: url}); !fault.Is(err, fault.Unavailable) {
					t.Fatalf("what is not all there yet is opened: %v", err)
				}
			}
		}
		in.arrived(t, url, to)
	}
}

// TestObjectStore moves blobs into a bucket, twice.
func TestObjectStore(t *testing.T) {
	in := newInstallation(t, 60)
	c := s3test.Fake(t).Bucket(t).Config
	c.SpoolDir = t.TempDir()
	bucket, err := s3.New(c)
	must(t, err)
	url := empty(t)
	// One worker: two of them may copy a blob at the same time that two messages name.
	report, err := in.run(t, url, bucket, func(c *move.Config) { c.Workers = 1 })
	must(t, err)
	keys := len(in.seen["references"].(map[blob.Key]int))
	if report.Copied != int64(keys) || len(report.Lost) > 0 {
		t.Errorf("%d of %d blobs were copied, %d are lost", report.Copied, keys, len(report.Lost))
	}
	in.arrived(t, url, bucket)
	again := empty(t)
	report, err = in.run(t, again, bucket, nil)
	must(t, err)
	if report.Copied != 0 || report.Present == 0 {
		t.Errorf("into a bucket that has everything %d blobs were copied; %d were there", report.Copied, report.Present)
	}
	in.arrived(t, again, bucket)
}

// TestSamePlace moves the metadata alone: the messages stay where they are.
func TestSamePlace(t *testing.T) {
	in := newInstallation(t, 30)
	url := empty(t)
	report, err := in.run(t, url, in.blobs, nil)
	must(t, err)
	if report.Copied != 0 || len(report.Lost) > 0 {
		t.Errorf("%d blobs were copied onto themselves, %d are lost", report.Copied, len(report.Lost))
	}
	in.arrived(t, url, in.blobs)
}

// TestWrongPlace: where no message is found at all, nothing is shown to anybody.
func TestWrongPlace(t *testing.T) {
	in := newInstallation(t, 60)
	url, to := empty(t), openBlobs(t)
	if _, err := in.run(t, url, to, func(c *move.Config) { c.From = openBlobs(t) }); !fault.Is(err, fault.NotFound) {
		t.Errorf("without any message: %v", err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URL: url}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("it is shown: %v", err)
	}
	_, err := in.run(t, url, to, nil)
	must(t, err)
	in.arrived(t, url, to)
}

// TestLost takes blobs away and damages others: all else arrives, and those are told.
func TestLost(t *testing.T) {
	in := newInstallation(t, 60)
	var broken = map[blob.Key]bool{} // true: damaged
	n := 0
	must(t, filepath.WalkDir(in.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(d.Name()) != 64 {
			return err
		}
		key := blob.Key{}
		for k := range in.seen["references"].(map[blob.Key]int) {
			if k.String() == d.Name() {
				key = k
			}
		}
		switch n++; n % 3 {
		case 0:
			broken[key] = false
			return os.Remove(path)
		case 1:
			broken[key] = true
			return os.WriteFile(path, []byte("something else"), 0o600)
		}
		return nil
	}))
	delete(broken, blob.Key{}) // which nothing names
	url, to := empty(t), openBlobs(t)
	report, err := in.run(t, url, to, nil)
	must(t, err)
	told := map[blob.Key]bool{}
	for _, l := range report.Lost {
		if damaged, ok := broken[l.Blob]; !ok || damaged != l.Damaged {
			t.Errorf("lost %+v, which it is not so", l)
		}
		told[l.Blob] = true
	}
	if len(told) != len(broken) {
		t.Errorf("%d blobs are told as lost, want %d", len(told), len(broken))
	}
	s := openPostgres(t, url)
	defer func() { must(t, s.Close()) }()
	boxes := map[mailbox.ID]metadata.Mirrored{}
	for _, l := range report.Lost {
		all, err := s.Mirrored(t.Context(), l.Account)
		must(t, err)
		for _, b := range all {
			boxes[b.ID] = b
		}
		if !l.Fetched() {
			continue
		}
		pending, err := s.Pending(t.Context(), l.Account, l.Mailbox, now.Add(2*time.Hour))
		must(t, err)
		if !slices.ContainsFunc(pending, func(p metadata.PendingBody) bool { return p.UID == l.UID }) {
			t.Errorf("message %d of mailbox %d will not be fetched again", l.UID, l.Mailbox)
		}
	}
	for _, b := range boxes {
		if b.Deleting {
			continue
		}
		bodies := uint32(0)
		must(t, s.Contents(t.Context(), b.Account, b.ID, mailbox.SetFrom(1), 0, func(*metadata.Content) error {
			bodies++
			return nil
		}))
		if bodies != b.Bodies {
			t.Errorf("mailbox %d has %d bodies, counts %d", b.ID, bodies, b.Bodies)
		}
	}
}

// TestRefusals: what must not be moved, or not there, is not.
func TestRefusals(t *testing.T) {
	in := newInstallation(t, 10)
	to := openBlobs(t)
	moved := func(url string, change func(*move.Config)) (move.Report, error) { return in.run(t, url, to, change) }
	refused := func(what string, kind fault.Kind, url string, change func(*move.Config)) {
		t.Helper()
		if _, err := moved(url, change); !fault.Is(err, kind) {
			t.Errorf("%s: %v, want the kind %v", what, err, kind)
		}
	}

	full := empty(t)
	s := openPostgres(t, full)
	_, err := s.CreateUser(t.Context(), account.User{Name: "somebody"})
	must(t, err)
	refused("a database with a user", fault.Conflict, full, nil)
	if users, err := s.Users(t.Context()); err != nil || len(users) != 1 {
		t.Errorf("%d users, %v", len(users), err)
	}
	must(t, s.Close())

	served := empty(t)
	s = openPostgres(t, served)
	_, err = s.RenewAll(t.Context(), "node", now.AddDate(100, 0, 0), 1)
	must(t, errors.Join(err, s.Close()))
	refused("a database with a server", fault.Conflict, served, nil)

	refused("what was moved elsewhere", fault.Conflict, empty(t), func(c *move.Config) { c.Known = "elsewhere" })
	url := empty(t)
	refused("a master key that is not the one", fault.NotFound, url, func(c *move.Config) { c.Sealer = closed{} })

	refused("one that breaks off", fault.Internal, url, func(c *move.Config) { c.Sink = &cut{Sink: c.Sink, left: 3} })
	other := newInstallation(t, 2)
	other.change(t, func(s *sqlite.Store) {
		_, err := s.CreateUser(t.Context(), account.User{Name: "of another"})
		must(t, err)
	})
	if _, err := other.run(t, url, to, func(c *move.Config) { c.Source = renamed{c.Source} }); !fault.Is(err, fault.Conflict) {
		t.Errorf("another installation: %v", err)
	}
	in.change(t, func(s *sqlite.Store) {
		_, err := s.CreateUser(t.Context(), account.User{Name: "late"})
		must(t, err)
	})
	report, err := moved(url, nil)
	if err != nil || !report.Anew {
		t.Errorf("a source that changed: %v, begun anew: %v", err, report.Anew)
	}
	s = openPostgres(t, url)
	same(t, look(t, s), in.seen)
	must(t, s.Close())
	known := ""
	leave := func(c *move.Config) {
		c.Known, c.Leave = known, func(id string) error {
			known = id
			return nil
		}
	}
	_, err = moved(url, leave)
	if must(t, err); known == "" {
		t.Error("the source is not left")
	}
	refused("another transfer", fault.Conflict, url, func(c *move.Config) { c.Known = known + "0" })
	if report, err = moved(url, leave); err != nil || !report.Already {
		t.Errorf("once more: %v, already: %v", err, report.Already)
	}
}

// closed is a sealer without keys.
type closed struct{ open }

func (closed) Open(account.Secret, []byte) ([]byte, error) {
	return nil, fault.New(fault.NotFound, "open a secret", "the master key is not configured")
}

// renamed is the source of another installation.
type renamed struct{ transfer.Source }

func (r renamed) Origin(ctx context.Context) (transfer.Origin, error) {
	o, err := r.Source.Origin(ctx)
	o.ID += "x"
	return o, err
}

// TestNotEqual: a copy in which a value differs is not shown to anybody, and the next attempt makes it right.
func TestNotEqual(t *testing.T) {
	in := newInstallation(t, 20)
	for _, table := range []string{"messages", "mutations", "contents", "mailboxes"} {
		url, to := empty(t), openBlobs(t)
		_, err := in.run(t, url, to, func(c *move.Config) { c.Sink = &liar{Sink: c.Sink, table: table} })
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), table) {
			t.Errorf("%s that are not what they were: %v", table, err)
		}
		if _, err := postgres.Open(t.Context(), postgres.Options{URL: url}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("they are shown: %v", err)
		}
		report, err := in.run(t, url, to, nil)
		if err != nil || !report.Anew {
			t.Errorf("the next attempt: %v, anew %v", err, report.Anew)
		}
		in.arrived(t, url, to)
	}
}

// liar changes a number in a table's first row.
type liar struct {
	transfer.Sink
	table  string
	column int
}

func (l *liar) Begin(ctx context.Context, s transfer.Start) (transfer.Progress, error) {
	for _, t := range s.Tables {
		if t.Name == l.table {
			l.column = slices.IndexFunc(t.Columns, func(c string) bool { return c == "size" || c == "created" })
		}
	}
	return l.Sink.Begin(ctx, s)
}

func (l *liar) bend(b transfer.Batch) transfer.Batch {
	if b.Table != l.table {
		return b
	}
	row := append([]any{}, b.Rows[0]...)
	row[l.column] = row[l.column].(int64) + 1
	b.Rows = append([][]any{row}, b.Rows[1:]...)
	return b
}

func (l *liar) Write(ctx context.Context, b transfer.Batch) error {
	return l.Sink.Write(ctx, l.bend(b))
}

func (l *liar) Finish(ctx context.Context, e transfer.End, fn func(transfer.Writer) error) error {
	return l.Sink.Finish(ctx, e, func(w transfer.Writer) error { return fn(lyingWriter{w, l}) })
}

type lyingWriter struct {
	transfer.Writer
	l *liar
}

func (w lyingWriter) Write(ctx context.Context, b transfer.Batch) error {
	return w.Writer.Write(ctx, w.l.bend(b))
}
