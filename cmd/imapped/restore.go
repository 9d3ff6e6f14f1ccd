package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"imapped/app/undo"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/clock"
	"imapped/ports/metadata"
)

type restoreCmd struct {
	dataFlags
	listFlags
	accountFlag
	Mailbox string `help:"What was removed from the mailbox that had this name then; from all mailboxes by default." placeholder:"NAME"`
	Since   string `help:"What was removed since then: how long ago (2h, 3d), or when (2006-01-02, 2006-01-02T15:04)." required:"" placeholder:"TIME"`
	DryRun  bool   `help:"Only say what would be put back."`
}

// restoredRow is what restore says, as JSON.
type restoredRow struct {
	Account   string         `json:"account"`
	Since     time.Time      `json:"since"`
	DryRun    bool           `json:"dry_run"`
	Messages  int            `json:"messages"`
	Skipped   int            `json:"skipped"` // their bodies cannot be read
	Bytes     int64          `json:"bytes,omitempty"`
	Mailboxes map[string]int `json:"mailboxes"`
}

// Run puts removed messages back.
func (c restoreCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	since, err := parseSince(c.Since, time.Now())
	if err != nil {
		return err
	}
	return withStore(ctx, conf, func(in *instance) error {
		a, err := in.admin.Account(ctx, c.AccountEmail)
		if err != nil {
			return err
		}
		row := restoredRow{Account: a.Email, Since: since, DryRun: c.DryRun}
		if c.DryRun {
			err = c.look(ctx, in, a, since, &row)
		} else {
			err = c.restore(ctx, in, a, since, &row)
		}
		// What was put back before a failure is said too.
		return errors.Join(err, c.tell(out, row))
	})
}

// look counts what restore would put back.
func (c restoreCmd) look(ctx context.Context, in *instance, a account.Account, since time.Time, row *restoredRow) error {
	row.Mailboxes = map[string]int{}
	err := in.store.Retained(ctx, a.ID, c.Mailbox, since, func(m metadata.Retained) error {
		row.Messages++
		row.Bytes += m.Content.Size
		row.Mailboxes[m.Mailbox]++
		return nil
	})
	return fault.Wrap("list removed messages", err)
}

func (c restoreCmd) restore(ctx context.Context, in *instance, a account.Account, since time.Time, row *restoredRow) (err error) {
	defer func() { in.record(ctx, "restore messages", a.Email, err) }()
	if err := in.checkBlobs(ctx); err != nil {
		return err
	}
	done, err := undo.Restore(ctx, undo.Config{
		Undo: in.store, Edits: in.store, Folders: in.store, Mailboxes: in.store, Blobs: blob.Of(in.blobs, a.User), Bus: in.bus,
		Clock: clock.System{},
	}, a.ID, c.Mailbox, since)
	row.Messages, row.Skipped, row.Mailboxes = done.Messages, done.Skipped, done.Into
	if done.Messages > 0 {
		err = errors.Join(err, in.tellChanged(ctx, a.ID))
	}
	return err
}

func (c restoreCmd) tell(out output, row restoredRow) error {
	if c.JSON {
		return printJSON(out, row)
	}
	verb := "Put back"
	if row.DryRun {
		verb = "Would put back"
	}
	if row.Messages == 0 && row.Skipped == 0 {
		return say(out, "Nothing was removed since %s that could be put back.\n", timeText(row.Since))
	}
	if err := say(out, "%s %d messages, removed since %s.\n", verb, row.Messages, timeText(row.Since)); err != nil {
		return err
	}
	if row.Skipped > 0 {
		if err := say(out, "%d more cannot be read any more.\n", row.Skipped); err != nil {
			return err
		}
	}
	var text [][]string
	for _, name := range slices.Sorted(maps.Keys(row.Mailboxes)) {
		text = append(text, []string{printable(name), strconv.Itoa(row.Mailboxes[name])})
	}
	return c.table(out, nil, []string{"MAILBOX", "MESSAGES"}, text)
}
