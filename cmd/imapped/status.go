package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"imapped/adapters/control"
	"imapped/app/admin"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

type showSyncStatusCmd struct {
	dataFlags
	listFlags
	AccountEmail string `help:"Only this account." placeholder:"ADDRESS"`
	Mailboxes    bool   `help:"Show each mailbox too."`
}

type statusRow struct {
	Account   string       `json:"account"`
	ID        int64        `json:"id"`
	State     string       `json:"state"`
	Text      string       `json:"text,omitempty"`
	Since     time.Time    `json:"since"`
	LastSync  time.Time    `json:"last_sync"`
	NextRetry *time.Time   `json:"next_retry,omitempty"`
	Messages  uint64       `json:"messages"`
	Bodies    uint64       `json:"bodies"`
	Size      int64        `json:"size"`
	Queue     queueRow     `json:"queue"`
	Mailboxes []mailboxRow `json:"mailboxes"`
}

// queueRow counts what was changed here and is not upstream yet.
type queueRow struct {
	Waiting int        `json:"waiting"`
	Sent    int        `json:"sent"`
	Parked  int        `json:"parked"`
	Oldest  *time.Time `json:"oldest,omitempty"`
}

func queueOf(q metadata.QueueSummary) queueRow {
	r := queueRow{Waiting: q.Waiting, Sent: q.Sent, Parked: q.Parked}
	if !q.Oldest.IsZero() {
		r.Oldest = &q.Oldest
	}
	return r
}

// text says it in a few words: "3 waiting, 1 parked, oldest 2h".
func (r queueRow) text(now time.Time) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{r.Waiting, "waiting"}, {r.Sent, "sent"}, {r.Parked, "parked"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	if r.Oldest != nil {
		parts = append(parts, "oldest "+ageText(now.Sub(*r.Oldest)))
	}
	return strings.Join(parts, ", ")
}

// Run shows the state of all accounts, or of one.
func (c showSyncStatusCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		accounts, err := in.admin.Accounts(ctx, "")
		if c.AccountEmail != "" {
			var a account.Account
			a, err = in.admin.Account(ctx, c.AccountEmail)
			accounts = []account.Account{a}
		}
		if err != nil {
			return err
		}
		rows := make([]statusRow, 0, len(accounts))
		var text [][]string
		for _, a := range accounts {
			st, err := in.admin.Status(ctx, a)
			if err != nil {
				return err
			}
			r := statusOf(st)
			rows = append(rows, r)
			text = append(text, statusText(r, c.Mailboxes)...)
		}
		return c.table(out, rows, []string{"ACCOUNT", "STATE", "BODIES HERE", "SIZE", "LAST SYNC", "CHANGES TO SEND", "TROUBLE"}, text)
	})
}

func statusOf(st admin.AccountStatus) statusRow {
	r := statusRow{
		Account: st.Account.Email, ID: int64(st.Account.ID), State: string(st.Status.State), Text: st.Status.Text,
		Since: st.Status.Since, LastSync: st.Status.LastSync,
	}
	if !st.Status.NextRetry.IsZero() {
		r.NextRetry = &st.Status.NextRetry
	}
	r.Queue = queueOf(st.Queue)
	r.Messages, r.Bodies, r.Size = st.Totals()
	for _, m := range st.Mailboxes {
		r.Mailboxes = append(r.Mailboxes, mailboxOf(m))
	}
	return r
}

func statusText(r statusRow, mailboxes bool) [][]string {
	trouble := printable(r.Text)
	if r.NextRetry != nil {
		trouble += " (next try " + timeText(*r.NextRetry) + ")"
	}
	rows := [][]string{{
		printable(r.Account), r.State, fmt.Sprintf("%d of %d", r.Bodies, r.Messages), bytesText(r.Size), timeText(r.LastSync), r.Queue.text(time.Now()),
		trouble,
	}}
	if mailboxes {
		for _, m := range r.Mailboxes {
			rows = append(rows, []string{
				"  " + printable(m.Name), "", fmt.Sprintf("%d of %d", m.Bodies, m.Messages), bytesText(m.Size), timeText(m.Synced), "", "",
			})
		}
	}
	return rows
}

type forceSyncCmd struct {
	dataFlags
	accountFlag
}

// Run synchronises the account in the running server, or in this process when there is none.
func (c forceSyncCmd) Run(ctx context.Context, conf *config.Config) error {
	return withStore(ctx, conf, func(in *instance) error {
		a, err := in.admin.Account(ctx, c.AccountEmail)
		if err != nil {
			return err
		}
		if a.Paused {
			return fault.Newf(fault.Invalid, "force sync", "%s is paused; resume-sync first", a.Email)
		}
		b := newBar(os.Stderr)
		show := func(p control.Progress) { b.show(time.Now(), p, false) }
		client := control.Dial(in.socket())
		defer client.Close()
		err = client.Force(ctx, a.ID, show)
		switch {
		case errors.Is(err, control.ErrNoServer) && many(conf):
			err = in.forceAlone(ctx, a.ID, show)
		case errors.Is(err, control.ErrNoServer):
			err = in.forceHere(ctx, a.ID, show)
		}
		if err != nil {
			return fmt.Errorf("synchronising %s: %w", a.Email, err)
		}
		st, err := in.admin.Status(ctx, a)
		if err != nil {
			return err
		}
		messages, bodies, _ := st.Totals()
		b.show(time.Now(), control.Progress{Messages: messages, Bodies: bodies, Text: "done"}, true)
		return nil
	})
}

type testUpstreamCmd struct {
	dataFlags
	listFlags
	passwordFlags
	AccountEmail string `help:"A stored account's address." placeholder:"ADDRESS" xor:"target" required:""`
	URL          string `help:"An upstream that is not stored: imaps://me@imap.example.org" xor:"target" required:""`
	Insecure     bool   `help:"With --url: accept any certificate, and imap:// without STARTTLS."`
}

type upstreamRow struct {
	OK           bool              `json:"ok"`
	FailedStep   string            `json:"failed_step,omitempty"`
	Error        string            `json:"error,omitempty"`
	Greeting     string            `json:"greeting,omitempty"`
	ID           map[string]string `json:"id,omitempty"`
	Capabilities []string          `json:"capabilities,omitempty"`
	Quirks       []string          `json:"quirks,omitempty"`
}

// Run connects and says how far it came.
func (c testUpstreamCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		server, err := c.try(ctx, in)
		row := upstreamRow{OK: err == nil}
		var step *upstream.StepError
		switch {
		case errors.As(err, &step):
			row.FailedStep, row.Error = string(step.Step), step.Err.Error()
		case err != nil:
			return err
		default:
			row.Greeting, row.ID, row.Capabilities, row.Quirks = server.Greeting, server.ID, server.Capabilities, server.Quirks
		}
		if c.JSON {
			return errors.Join(printJSON(out, row), err)
		}
		for _, s := range []upstream.Step{upstream.StepDNS, upstream.StepTCP, upstream.StepTLS, upstream.StepGreeting, upstream.StepLogin} {
			if step != nil && s == step.Step {
				fmt.Fprintf(out, "%-9s failed: %s\n", s, printable(row.Error))
				return err
			}
			fmt.Fprintf(out, "%-9s ok\n", s)
		}
		fmt.Fprintf(out, "greeting:     %s\n", printable(row.Greeting))
		for _, k := range slices.Sorted(maps.Keys(row.ID)) {
			fmt.Fprintf(out, "id:           %s = %s\n", printable(k), printable(row.ID[k]))
		}
		fmt.Fprintf(out, "capabilities: %s\n", printable(strings.Join(row.Capabilities, " ")))
		if len(row.Quirks) > 0 {
			fmt.Fprintf(out, "quirks:       %s\n", printable(strings.Join(row.Quirks, " ")))
		}
		return nil
	})
}

func (c testUpstreamCmd) try(ctx context.Context, in *instance) (upstream.Server, error) {
	if c.AccountEmail != "" {
		a, err := in.admin.Account(ctx, c.AccountEmail)
		if err != nil {
			return upstream.Server{}, err
		}
		return in.admin.TestUpstream(ctx, a)
	}
	t, err := parseTarget(c.URL, c.Insecure)
	if err != nil {
		return upstream.Server{}, err
	}
	password, err := c.read("Password for "+t.User+" at "+t.Host, false)
	if err != nil {
		return upstream.Server{}, err
	}
	return in.admin.Probe(ctx, upstream.Target{Endpoint: t.Endpoint, Username: t.User, Password: password})
}
