package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"imapped/adapters/sqlite"
	"imapped/domain/account"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// These make this test binary a process that writes to a database until it is killed.
const (
	crashPath = "SQLITE_TEST_CRASH_PATH"
	crashSeed = "SQLITE_TEST_CRASH_SEED"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashPath); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForever changes the only mailbox at random and says on the standard output, after each change, which
// HIGHESTMODSEQ and UIDNEXT it was told.
func writeForever(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path, Migrate: true})
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv(crashSeed), 10, 64)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	accounts, err := s.Accounts(ctx, 0)
	if err != nil {
		return err
	}
	// Each writer takes the lease from the one before, which was killed.
	fence, err := s.Acquire(ctx, accounts[0].ID, strconv.Itoa(os.Getpid()), time.Now(), time.Nanosecond)
	if err != nil {
		return err
	}
	boxes, err := s.Mailboxes(ctx, accounts[0].ID)
	if err != nil {
		return err
	}
	for {
		if err := writeOnce(ctx, s, fence, boxes[0].ID, rng); err != nil {
			return err
		}
		m, err := s.Mailbox(ctx, fence.Account, boxes[0].ID)
		if err != nil {
			return err
		}
		fmt.Println(m.HighestModSeq, m.UIDNext)
	}
}

func writeOnce(ctx context.Context, s *sqlite.Store, fence metadata.Fence, id mailbox.ID, rng *rand.Rand) error {
	m, err := s.Mailbox(ctx, fence.Account, id)
	if err != nil {
		return err
	}
	uid := func() uint32 { return 1 + rng.Uint32N(uint32(m.UIDNext)) }
	if rng.IntN(2) == 0 {
		var bodies []metadata.Content
		for range rng.IntN(40) {
			bodies = append(bodies, contents(id, int(uid()), 1)...)
			bodies[len(bodies)-1].Size = 5000 + int64(rng.IntN(2))
		}
		return s.StoreContents(ctx, fence, bodies)
	}
	u := metadata.Update{Mailbox: id, Now: time.Now()}
	u.New = newMessages(int(uid()), rng.IntN(60)) // some are known
	first := uid()
	u.Expunge = mailbox.Set{{First: first, Last: first + rng.Uint32N(10)}}
	for range rng.IntN(20) {
		u.Flags = append(u.Flags, metadata.FlagChange{UID: mailbox.UID(uid()), Flags: flag.Make(flag.System(rng.IntN(32)))})
	}
	u.Checkpoint = &metadata.Checkpoint{UIDNext: uint32(m.UIDNext)}
	_, err = s.Apply(ctx, fence, u)
	return err
}

// history is what the crash test has seen of the mailbox so far.
type history struct {
	email   map[mailbox.UID]mailbox.ObjectID
	gone    map[mailbox.UID]bool
	modSeq  mailbox.ModSeq
	uidNext mailbox.UID
}

// TestKill kills a writing process at random moments and looks at what is left.
func TestKill(t *testing.T) {
	seed := rand.Uint64()
	if v := os.Getenv("IMAPPED_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		must(t, err)
	}
	t.Logf("IMAPPED_SEED=%d runs this again", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "meta.db")
	s := open(t, path)
	u, err := s.CreateUser(t.Context(), account.User{Name: "ann"})
	must(t, err)
	a, err := s.CreateAccount(t.Context(), account.Account{User: u.ID, Email: "ann@example.org"})
	must(t, err)
	f, err := s.Acquire(t.Context(), a.ID, "parent", time.Unix(1, 0), time.Nanosecond)
	must(t, err)
	_, err = s.SaveMailbox(t.Context(), f, metadata.Mirrored{Info: mailbox.Info{Name: "INBOX"}})
	must(t, err)
	must(t, s.Close())

	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	h := history{email: map[mailbox.UID]mailbox.ObjectID{}, gone: map[mailbox.UID]bool{}}
	for range rounds {
		runWriter(t, path, rng, &h)
		s := open(t, path)
		h.check(t, s, a.ID)
		must(t, s.Close())
		checkRows(t, path)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d messages came, %d went", h.uidNext-1, len(h.gone))
}

// runWriter runs a writing process, kills it within a change, and notes what it was told last.
func runWriter(t *testing.T, path string, rng *rand.Rand, h *history) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashPath+"="+path, fmt.Sprintf("%s=%d", crashSeed, rng.Uint64()))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	after, delay := rng.IntN(40)+1, time.Duration(rng.IntN(5000))*time.Microsecond
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		_, err := fmt.Sscan(lines.Text(), &h.modSeq, &h.uidNext)
		must(t, err)
		if i == after {
			time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
}

// check compares the store with what was seen before: nothing that was told is taken back.
func (h *history) check(t *testing.T, s *sqlite.Store, acc account.ID) {
	t.Helper()
	boxes, err := s.Mailboxes(t.Context(), acc)
	must(t, err)
	m := boxes[0]
	if m.HighestModSeq < h.modSeq || m.UIDNext < h.uidNext {
		t.Errorf("HIGHESTMODSEQ %d, UIDNEXT %d after the writer was told %d, %d",
			m.HighestModSeq, m.UIDNext, h.modSeq, h.uidNext)
	}
	h.modSeq, h.uidNext = m.HighestModSeq, m.UIDNext
	live := map[mailbox.UID]bool{}
	every := mailbox.Set{{First: 1, Last: 1<<32 - 1}}
	must(t, s.Identities(t.Context(), acc, m.ID, every, func(v metadata.Identity) error {
		live[v.UID] = true
		if old, ok := h.email[v.UID]; h.gone[v.UID] || ok && old != v.EmailID {
			t.Errorf("UID %d is used for another message", v.UID)
		}
		h.email[v.UID] = v.EmailID
		return nil
	}))
	for uid := mailbox.UID(1); uid < m.UIDNext; uid++ {
		if !live[uid] {
			h.gone[uid] = true
		}
	}
	d, err := s.Changes(t.Context(), acc, m.ID, 1)
	must(t, err)
	if got := d.Expunged.Len(); got != uint64(len(h.gone)) {
		t.Errorf("%d messages are told as expunged, %d are gone", got, len(h.gone))
	}
}

// checkRows checks what must be true of the tables at any moment. Each query counts the rows that are wrong.
func checkRows(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	var state string
	must(t, db.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&state))
	if state != "ok" {
		t.Errorf("integrity check: %s", state)
	}
	for what, query := range map[string]string{
		"counters": `SELECT count(*) FROM mailboxes b WHERE (messages, unseen, deleted, size, bodies, deleted_size) IS NOT
			(SELECT count(*), coalesce(sum(sys & 8 = 0), 0), coalesce(sum(sys & 4 <> 0), 0), coalesce(sum(size), 0),
			coalesce(sum(body), 0), coalesce(sum(size) FILTER (WHERE sys & 4 <> 0), 0) FROM messages m WHERE m.mailbox_id = b.id)`,
		"bodies without contents": `SELECT count(*) FROM messages m WHERE body = 1 AND NOT EXISTS
			(SELECT 1 FROM contents c WHERE c.id = m.mailbox_id << 32 | m.uid AND c.size = m.size)`,
		"contents without bodies": `SELECT count(*) FROM contents c WHERE NOT EXISTS (SELECT 1 FROM messages m
			WHERE m.mailbox_id = c.id >> 32 AND m.uid = c.id & 4294967295 AND m.body = 1)`,
		"messages without identities": `SELECT count(*) FROM messages m WHERE NOT EXISTS (SELECT 1 FROM identities i
			WHERE i.mailbox_id = m.mailbox_id AND i.uid = m.uid)`,
		"identities without messages": `SELECT (SELECT count(*) FROM identities) - (SELECT count(*) FROM messages)`,
		"messages at or above UIDNEXT, or changed after HIGHESTMODSEQ": `SELECT count(*) FROM messages m
			JOIN mailboxes b ON b.id = m.mailbox_id WHERE m.uid >= b.uidnext OR m.modseq > b.modseq`,
		"tombstones of messages that exist": `SELECT count(*) FROM tombstones t JOIN messages m
			ON m.mailbox_id = t.mailbox_id AND m.uid BETWEEN t.first AND t.last`,
		"upstream UIDs used twice": `SELECT count(*) - count(DISTINCT up_uid) FROM messages WHERE up_uid > 0`,
	} {
		var wrong int
		must(t, db.QueryRowContext(t.Context(), query).Scan(&wrong))
		if wrong != 0 {
			t.Errorf("%s: %d", what, wrong)
		}
	}
}
