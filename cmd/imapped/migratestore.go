package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"imapped/adapters/blobfs"
	"imapped/adapters/postgres"
	"imapped/adapters/seal"
	"imapped/adapters/sqlite"
	"imapped/app/move"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/clock"
)

// movedFile is, in a data directory, what says that its mail is elsewhere: nobody serves it any more.
const movedFile = "moved"

// unlessMoved fails for a data directory whose mail was moved elsewhere.
func unlessMoved(data string) error {
	path := filepath.Join(data, movedFile)
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return fault.Newf(fault.Conflict, "open the database", "the mail of this data directory was moved into another database, or is being "+
			"moved: set DATABASE_URL, or run \"imapped migrate-store\" again. Delete %s only if that database will never be used", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fault.As(fault.Unavailable, "open the database", err)
	}
	return nil
}

type migrateStoreCmd struct {
	dataFlags
	listFlags
	From      string `help:"The data directory of the embedded installation; no server may run on it." type:"path" required:"" placeholder:"DIR"`
	FromBlobs string `help:"Its directory of messages, where OBJECT_STORE_PATH named one." type:"path" placeholder:"DIR"`
}

// Run copies an embedded installation into the database and the store of messages that the configuration names.
func (c migrateStoreCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	report, err := c.move(ctx, conf)
	if err != nil {
		return err
	}
	if err := c.say(out, report); err != nil {
		return err
	}
	if n := len(report.Lost); n > 0 {
		return fault.Newf(fault.Corrupt, "move the messages", "%d are missing or damaged in %s; everything else was moved", n, c.blobs())
	}
	return nil
}

func (c migrateStoreCmd) blobs() string {
	if c.FromBlobs != "" {
		return c.FromBlobs
	}
	return filepath.Join(c.From, "blobs")
}

func (c migrateStoreCmd) move(ctx context.Context, conf *config.Config) (report move.Report, err error) {
	const op = "move the installation"
	if !many(conf) {
		return report, fault.New(fault.Invalid, op, "DATABASE_URL is not set: it says where to")
	}
	database := filepath.Join(c.From, databaseFile)
	for _, path := range []string{database, c.blobs()} {
		if _, err := os.Stat(path); err != nil {
			return report, fault.As(fault.NotFound, op, err)
		}
	}
	if err := makeData(conf); err != nil {
		return report, err
	}
	unlock, err := lockDir(filepath.Join(c.From, "lock"))
	if err != nil {
		return report, err
	}
	defer unlock()
	in := &instance{conf: conf, log: slog.New(slog.DiscardHandler), audit: logins(conf, false)}
	defer func() { in.record(ctx, "migrate store", c.From, err) }()
	if in.keys, err = openKeys(conf); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	return c.between(ctx, in, database)
}

// between opens both sides and moves everything from one to the other.
func (c migrateStoreCmd) between(ctx context.Context, in *instance, database string) (report move.Report, err error) {
	opened := func(end func() error) { in.closers = append(in.closers, end) }
	if in.sealer, err = seal.New(in.keys.current, in.keys.old...); err != nil {
		return report, err
	}
	accounts, id, err := in.prepareMove(ctx, database)
	if err != nil {
		return report, err
	}
	from, err := sqlite.OpenExport(ctx, database)
	if err != nil {
		return report, err
	}
	opened(from.Close)
	conf := move.Config{Source: from, Bodies: from, Accounts: accounts, Sealer: in.sealer, Clock: clock.System{}, Leave: c.leave,
		Claim: func(ctx context.Context) error { return in.claimBlobs(ctx, id) }}
	blobs, err := blobfs.Open(c.blobs())
	if err != nil {
		return report, err
	}
	opened(blobs.Close)
	if err := blobs.ClaimedBy(ctx, id); err != nil && !fault.Is(err, fault.NotFound) { // nobody's: no server of this version ran on it
		return report, fmt.Errorf("--from, --from-blobs: %w", err)
	}
	if err := upToDate(ctx, in.conf); err != nil {
		return report, err
	}
	to, err := postgres.OpenImport(ctx, in.conf.DatabaseURL.Reveal())
	if err != nil {
		return report, fmt.Errorf("DATABASE_URL: %w", err)
	}
	opened(to.Close)
	conf.Sink, conf.From, conf.To = to, blobs, in.blobs
	if conf.Known, err = c.known(); err != nil {
		return report, err
	}
	b := newBar(os.Stderr)
	var last move.Progress
	conf.Progress = func(p move.Progress) {
		if last.Phase != "" && last.Phase != p.Phase {
			b.move(time.Now(), last, true)
		}
		b.move(time.Now(), p, false)
		last = p
	}
	report, err = move.Run(ctx, conf)
	if err == nil && last.Phase != "" {
		b.move(time.Now(), last, true)
	}
	return report, err
}

// prepareMove returns the accounts and the id of an embedded installation, and opens the store that their messages are moved into. Where
// that encrypts, their users get data keys here, before anything is read: they come into the new place with the users, who
// are the last to be moved.
func (in *instance) prepareMove(ctx context.Context, database string) (accounts []account.Account, id blob.Installation, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: database})
	if err != nil {
		return nil, id, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if id, err = s.Installation(ctx); err != nil {
		return nil, id, err
	}
	if accounts, err = s.Accounts(ctx, 0); err != nil {
		return nil, id, err
	}
	if err := move.TrySecrets(in.sealer, accounts); err != nil { // else the data keys would be under a wrong key, too
		return nil, id, err
	}
	if err := openBlobs(in.conf, in, s); err != nil {
		return nil, id, err
	}
	for _, a := range accounts {
		if _, err := in.blobs.For(ctx, a.User); err != nil { // and is not asked for again
			return nil, id, err
		}
	}
	return accounts, id, nil
}

// known returns what leave was given; "" when it never was.
func (c migrateStoreCmd) known() (string, error) {
	b, err := readFile(filepath.Join(c.From, movedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return cmp.Or(strings.TrimSpace(string(b)), "unknown"), fault.As(fault.Unavailable, "read where it was moved to", err)
}

// leave makes sure that nobody serves the data directory any more, also after a crash of the machine.
func (c migrateStoreCmd) leave(transfer string) error {
	const op = "note that the data directory is not used any more"
	path := filepath.Join(c.From, movedFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.As(fault.Unavailable, op, err)
	}
	_, err = fmt.Fprintln(f, transfer)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fault.As(fault.Unavailable, op, err)
	}
	dir, err := os.Open(c.From)
	if err != nil {
		return fault.As(fault.Unavailable, op, err)
	}
	return fault.As(fault.Unavailable, op, errors.Join(dir.Sync(), dir.Close()))
}

// movedRow is what migrate-store says as JSON.
type movedRow struct {
	Already  bool           `json:"already"`
	Anew     bool           `json:"anew"`
	Copied   int64          `json:"messages_copied"`
	Present  int64          `json:"messages_present"`
	Bytes    int64          `json:"bytes_copied"`
	Accounts []movedAccount `json:"accounts"`
	Lost     []movedLost    `json:"lost"`
}

type movedAccount struct {
	Email     string `json:"email"`
	Mailboxes int64  `json:"mailboxes"`
	Messages  int64  `json:"messages"`
	Bodies    int64  `json:"bodies"`
	Waiting   int64  `json:"mutations"`
	Removed   int64  `json:"removed"`
}

type movedLost struct {
	Email   string `json:"email"`
	Mailbox string `json:"mailbox"`
	UID     uint32 `json:"uid,omitempty"` // 0: a removed message
	Blob    string `json:"blob"`
	Damaged bool   `json:"damaged"`
	Fetched bool   `json:"fetched_again"`
}

// say prints what was moved.
func (c migrateStoreCmd) say(out output, report move.Report) error {
	row := movedRow{Already: report.Already, Anew: report.Anew, Copied: report.Copied, Present: report.Present, Bytes: report.Bytes}
	emails := map[account.ID]string{}
	var text [][]string
	for _, a := range report.Accounts {
		emails[a.ID] = a.Email
		row.Accounts = append(row.Accounts, movedAccount{a.Email, a.Mailboxes, a.Messages, a.Bodies, a.Mutations, a.Removed})
		line := []string{printable(a.Email)}
		for _, n := range []int64{a.Mailboxes, a.Messages, a.Bodies, a.Mutations, a.Removed} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		text = append(text, line)
	}
	for _, l := range report.Lost {
		row.Lost = append(row.Lost, movedLost{emails[l.Account], l.Name, uint32(l.UID), l.Blob.String(), l.Damaged, l.Fetched()})
	}
	if c.JSON {
		return printJSON(out, row)
	}
	if row.Already {
		return say(out, "Everything was moved before.\n")
	}
	if err := c.table(out, nil, []string{"ACCOUNT", "MAILBOXES", "MESSAGES", "BODIES", "WAITING CHANGES", "REMOVED"}, text); err != nil {
		return err
	}
	for _, l := range row.Lost {
		if err := say(out, "%s\n", l.text()); err != nil {
			return err
		}
	}
	return say(out, "Both sides were compared and are equal. %d messages (%s) were copied, %d were there. %s is not served any more.\n",
		row.Copied, bytesText(row.Bytes), row.Present, c.From)
}

// text says what becomes of a lost message.
func (l movedLost) text() string {
	state, then := "is missing", "it is not at the provider: it is lost"
	if l.Damaged {
		state = "is damaged"
	}
	what := fmt.Sprintf("message %d of", l.UID)
	switch {
	case l.UID == 0:
		what, then = "a message removed from", "it cannot be put back any more"
	case l.Fetched:
		then = "it will be fetched again"
	}
	return fmt.Sprintf("%s: %s %s %s (%s): %s", printable(l.Email), what, printable(l.Mailbox), state, l.Blob, then)
}
