package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"imapped/app/admin"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// accountFlag names an account.
type accountFlag struct {
	AccountEmail string `help:"The account's address, or its number as #12." required:"" placeholder:"ADDRESS"`
}

type addAccountCmd struct {
	dataFlags
	UserEmail           string `help:"The user that the account belongs to." required:"" placeholder:"NAME"`
	EmailAddress        string `help:"The account's own address." required:"" placeholder:"ADDRESS"`
	DisplayName         string `help:"The name that the account's mailboxes appear under when the user has several; the address by default."`
	UpstreamHost        string `help:"The IMAP server." required:"" placeholder:"HOST"`
	UpstreamPort        uint16 `help:"Its port: 993 with tls, else 143, by default."`
	UpstreamTLSMode     string `help:"How the connection is protected." enum:"tls,starttls,plain" default:"tls"`
	UpstreamInsecure    bool   `help:"Accept any certificate. For tests."`
	UpstreamAuthMethod  string `help:"A SASL mechanism, or LOGIN; the best offered by default."`
	UpstreamUsername    string `help:"The name at the upstream; the address by default."`
	UpstreamSecretStdin bool   `help:"Read the upstream password from the first line of standard input." xor:"secret"`
	UpstreamSecretFile  string `help:"Read the upstream password from the first line of this file." type:"existingfile" xor:"secret"`
	SkipTest            bool   `help:"Store the account without trying it."`
}

// Run tries the upstream and stores the account.
func (c addAccountCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		secret, err := passwordFlags{c.UpstreamSecretStdin, c.UpstreamSecretFile}.read("Password at "+c.UpstreamHost, false)
		if err != nil {
			return err
		}
		n := admin.NewAccount{
			User: c.UserEmail, Email: c.EmailAddress, Display: c.DisplayName,
			Endpoint: account.Endpoint{
				Host: c.UpstreamHost, Port: c.UpstreamPort, TLS: account.TLSMode(c.UpstreamTLSMode), Insecure: c.UpstreamInsecure,
			},
			Auth: c.UpstreamAuthMethod, Username: c.UpstreamUsername, Secret: secret,
		}
		if n.Endpoint.Port == 0 {
			n.Endpoint.Port = 143
			if n.Endpoint.TLS == account.TLSImplicit {
				n.Endpoint.Port = 993
			}
		}
		if !c.SkipTest {
			if err := in.probe(ctx, n); err != nil {
				return fmt.Errorf("%w (--skip-test stores the account all the same)", err)
			}
		}
		a, err := in.admin.AddAccount(ctx, n)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "Added account %s (#%d).\n", a.Email, a.ID); err != nil {
			return err
		}
		return in.tellServer(ctx)
	})
}

type deleteAccountCmd struct {
	dataFlags
	accountFlag
	Yes bool `help:"Do not ask."`
}

// Run removes the account.
func (c deleteAccountCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		if !c.Yes {
			return c.warn(ctx, in)
		}
		// Paused first, so that a running server lets go of the account before its rows disappear.
		if _, err := in.admin.SetPaused(ctx, c.AccountEmail, true); err != nil {
			return err
		}
		if err := in.tellServer(ctx); err != nil {
			return err
		}
		if err := in.admin.DeleteAccount(ctx, c.AccountEmail); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "Deleted account %s here.\n", c.AccountEmail)
		return errors.Join(err, in.tellServer(ctx))
	})
}

// warn says what would be lost.
func (c deleteAccountCmd) warn(ctx context.Context, in *instance) error {
	a, err := in.admin.Account(ctx, c.AccountEmail)
	if err != nil {
		return err
	}
	st, err := in.admin.Status(ctx, a)
	if err != nil {
		return err
	}
	loses := "not the mail upstream"
	if n := st.Queue.Waiting + st.Queue.Sent + st.Queue.Parked; n > 0 {
		loses = fmt.Sprintf("not the mail upstream, but %d changes that did not reach it yet", n)
	}
	return fault.Newf(fault.Invalid, "delete account", "this removes the mirror of %s here (%s); say --yes to do it", a.Email, loses)
}

type pauseSyncCmd struct {
	dataFlags
	accountFlag
}

// Run pauses the account.
func (c pauseSyncCmd) Run(ctx context.Context, conf *config.Config) error {
	return setPaused(ctx, conf, c.AccountEmail, true)
}

type resumeSyncCmd struct {
	dataFlags
	accountFlag
}

// Run resumes the account.
func (c resumeSyncCmd) Run(ctx context.Context, conf *config.Config) error {
	return setPaused(ctx, conf, c.AccountEmail, false)
}

func setPaused(ctx context.Context, conf *config.Config, email string, paused bool) error {
	return withStore(ctx, conf, func(in *instance) error {
		if _, err := in.admin.SetPaused(ctx, email, paused); err != nil {
			return err
		}
		return in.tellServer(ctx)
	})
}

type listAccountsCmd struct {
	dataFlags
	listFlags
	UserEmail string `help:"Only this user's." placeholder:"NAME"`
}

type accountRow struct {
	ID       int64     `json:"id"`
	Email    string    `json:"email"`
	Display  string    `json:"display_name"`
	Host     string    `json:"upstream_host"`
	Port     uint16    `json:"upstream_port"`
	TLS      string    `json:"upstream_tls_mode"`
	Username string    `json:"upstream_username"`
	Paused   bool      `json:"paused"`
	Created  time.Time `json:"created"`
}

// Run lists the accounts.
func (c listAccountsCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		accounts, err := in.admin.Accounts(ctx, c.UserEmail)
		if err != nil {
			return err
		}
		rows := make([]accountRow, 0, len(accounts))
		var text [][]string
		for _, a := range accounts {
			rows = append(rows, accountRow{
				int64(a.ID), a.Email, a.Display, a.Upstream.Host, a.Upstream.Port, string(a.Upstream.TLS), a.Username, a.Paused, a.Created,
			})
			state := "active"
			if a.Paused {
				state = "paused"
			}
			text = append(text, []string{
				"#" + strconv.FormatInt(int64(a.ID), 10), printable(a.Email), printable(a.Display),
				fmt.Sprintf("%s:%d (%s)", printable(a.Upstream.Host), a.Upstream.Port, a.Upstream.TLS), state,
			})
		}
		return c.table(out, rows, []string{"ID", "ACCOUNT", "DISPLAY NAME", "UPSTREAM", "STATE"}, text)
	})
}

type listMailboxesCmd struct {
	dataFlags
	listFlags
	accountFlag
}

type mailboxRow struct {
	Name          string    `json:"name"`
	Messages      uint32    `json:"messages"`
	Unseen        uint32    `json:"unseen"`
	Bodies        uint32    `json:"bodies"`
	Size          int64     `json:"size"`
	UIDValidity   uint32    `json:"uidvalidity"`
	UIDNext       uint32    `json:"uidnext"`
	HighestModSeq uint64    `json:"highestmodseq"`
	Upstream      string    `json:"upstream_name"`
	Synced        time.Time `json:"synced"`
}

func mailboxOf(m metadata.Mirrored) mailboxRow {
	return mailboxRow{
		m.Name, m.Messages, m.Unseen, m.Bodies, m.Size, m.UIDValidity, uint32(m.UIDNext), uint64(m.HighestModSeq),
		m.Upstream.Name, m.Upstream.Synced,
	}
}

// Run lists the mailboxes.
func (c listMailboxesCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		a, err := in.admin.Account(ctx, c.AccountEmail)
		if err != nil {
			return err
		}
		st, err := in.admin.Status(ctx, a)
		if err != nil {
			return err
		}
		rows := make([]mailboxRow, 0, len(st.Mailboxes))
		var text [][]string
		for _, m := range st.Mailboxes {
			if m.Attrs&mailbox.NoSelect != 0 {
				continue
			}
			rows = append(rows, mailboxOf(m))
			text = append(text, []string{
				printable(m.Name), strconv.FormatUint(uint64(m.Messages), 10), strconv.FormatUint(uint64(m.Unseen), 10),
				fmt.Sprintf("%d of %d", m.Bodies, m.Messages), bytesText(m.Size), timeText(m.Upstream.Synced),
			})
		}
		return c.table(out, rows, []string{"MAILBOX", "MESSAGES", "UNSEEN", "BODIES HERE", "SIZE", "LAST SYNC"}, text)
	})
}
