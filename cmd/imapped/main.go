// Command imapped is an IMAP caching proxy and mirror.
//
// Invariants:
//  1. This package wires the house together and talks to a person; it decides nothing about mail.
//  2. Results go to standard output, everything else to standard error; the exit status is 0 only for success.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
)

// version is set by the linker.
var version = "development"

type cli struct {
	Log        logFlags `embed:"" prefix:"log-"`
	ConfigFile string   `name:"config" setting:"APP_CONFIG_PATH" help:"A TOML file with settings." type:"path" placeholder:"FILE"`

	Mirror        mirrorCmd        `cmd:"" group:"Start here" help:"Mirror one upstream account and serve it: all that a single person needs."`
	Demo          demoCmd          `cmd:"" group:"Start here" help:"Try it: mirror a sample mailbox that this program serves itself."`
	Run           runCmd           `cmd:"" group:"Server" help:"Serve all users and mirror all accounts."`
	RunMigrations runMigrationsCmd `cmd:"" group:"Server" help:"Bring the database up to date: that of DATABASE_URL, or else of the data directory."`
	MigrateStore  migrateStoreCmd  `cmd:"" group:"Server" help:"Move an embedded installation into the database and the object store that the configuration names."`
	Config        configCmd        `cmd:"" group:"Server" help:"Show the configuration, and check it."`
	RotateKey     rotateKeyCmd     `cmd:"" group:"Server" help:"Seal the upstream passwords under a new master key."`
	Healthcheck   healthcheckCmd   `cmd:"" group:"Server" help:"Ask the server of this machine whether it is alive; the exit status is 3 when it is not."`
	Version       versionCmd       `cmd:"" group:"Server" help:"Print the version."`

	CreateUser  createUserCmd  `cmd:"" group:"Users" help:"Create somebody who may log in."`
	SetPassword setPasswordCmd `cmd:"" group:"Users" help:"Change a user's password."`
	DisableUser disableUserCmd `cmd:"" group:"Users" help:"Lock a user out, or with --enable let them in again."`
	ListUsers   listUsersCmd   `cmd:"" group:"Users" help:"List users."`

	AddAccount     addAccountCmd     `cmd:"" group:"Accounts" help:"Add an upstream account to a user."`
	DeleteAccount  deleteAccountCmd  `cmd:"" group:"Accounts" help:"Remove an account and its mirror; the upstream's mail stays."`
	ListAccounts   listAccountsCmd   `cmd:"" group:"Accounts" help:"List accounts."`
	ListMailboxes  listMailboxesCmd  `cmd:"" group:"Accounts" help:"List an account's mailboxes."`
	PauseSync      pauseSyncCmd      `cmd:"" group:"Accounts" help:"Stop mirroring an account until resume-sync."`
	ResumeSync     resumeSyncCmd     `cmd:"" group:"Accounts" help:"Go on mirroring an account."`
	ForceSync      forceSyncCmd      `cmd:"" group:"Accounts" help:"Synchronise an account now, in the running server when there is one."`
	ShowSyncStatus showSyncStatusCmd `cmd:"" group:"Accounts" help:"Show how accounts are doing and what is wrong."`
	Mutations      mutationsCmd      `cmd:"" group:"Accounts" help:"Changes made here that the upstream does not have yet: list, show, retry, discard."`
	Restore        restoreCmd        `cmd:"" group:"Accounts" help:"Put messages back that were removed, here or at the upstream, as new ones."`
	TestUpstream   testUpstreamCmd   `cmd:"" group:"Accounts" help:"Connect to an upstream and say which step fails, or what it can do."`
}

// output is where commands print results.
type output struct{ io.Writer }

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

// run is main without the process: it returns the exit status.
func run(args []string, stdout io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runIn(ctx, args, os.Environ(), stdout)
}

// runIn is run in an environment, until ctx is done.
func runIn(ctx context.Context, args, environ []string, stdout io.Writer) int {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("imapped"),
		kong.Description("An IMAP caching proxy and mirror: your mail, here, fast, also when the provider is not."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(output{stdout}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "imapped:", err)
		return 1
	}
	explainSettings(parser.Model.Node)
	k, err := parser.Parse(args)
	if err != nil {
		parser.FatalIfErrorf(err)
		return 2
	}
	sources := settingSources(k, environ)
	if err = k.BindToProvider(func() (*config.Config, error) { return config.Load(sources) }); err == nil {
		err = k.Run(sources)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "imapped:", err)
		return exitStatus(err)
	}
	return 0
}

// exitStatus maps an error's kind: 2 for what the caller got wrong, 3 for what may go better later, 1 for the rest.
func exitStatus(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Exists, fault.Forbidden, fault.Denied:
		return 2
	case fault.Unavailable, fault.Uncertain, fault.Conflict, fault.Limit, fault.OverQuota:
		return 3
	case fault.Canceled:
		if errors.Is(err, context.Canceled) {
			return 130
		}
	}
	return 1
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(out output) error {
	_, err := fmt.Fprintln(out, "imapped", version)
	return err
}
