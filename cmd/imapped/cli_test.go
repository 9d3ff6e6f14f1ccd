package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cliRun runs one command line on a data directory of the test's, in an empty environment.
func cliRun(t *testing.T, data string, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := runIn(t.Context(), append(args, "--data", data), nil, &out); got != want {
		t.Fatalf("%v: exit status %d, want %d; output %q", args, got, want, out.String())
	}
	return out.String()
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsersAndAccounts(t *testing.T) {
	data, pw := filepath.Join(t.TempDir(), "data"), passwordFile(t, "s3cret")
	cliRun(t, data, 0, "create-user", "--username-email", "ann", "--password-file", pw)
	cliRun(t, data, 2, "create-user", "--username-email", "Ann", "--password-file", pw) // exists, in any case
	cliRun(t, data, 2, "set-password", "--username-email", "bob", "--password-file", pw)
	cliRun(t, data, 0, "set-password", "--username-email", "ann", "--password-file", pw)
	cliRun(t, data, 0, "disable-user", "--username-email", "ann")

	var users []userRow
	decode(t, cliRun(t, data, 0, "list-users", "--json"), &users)
	if len(users) != 1 || users[0].Name != "ann" || !users[0].Disabled {
		t.Errorf("users: %+v", users)
	}
	cliRun(t, data, 0, "disable-user", "--username-email", "ann", "--enable")
	if text := cliRun(t, data, 0, "list-users"); !strings.Contains(text, "ann") || !strings.Contains(text, "active") {
		t.Errorf("list-users says %q", text)
	}

	add := []string{
		"add-account", "--user-email", "ann", "--email-address", "ann@example.org", "--upstream-host", "localhost",
		"--upstream-secret-file", pw, "--skip-test",
	}
	cliRun(t, data, 0, add...)
	cliRun(t, data, 2, add...)
	var accounts []accountRow
	decode(t, cliRun(t, data, 0, "list-accounts", "--json"), &accounts)
	if len(accounts) != 1 || accounts[0].Port != 993 || accounts[0].TLS != "tls" || accounts[0].Username != "ann@example.org" {
		t.Errorf("accounts: %+v", accounts)
	}
	cliRun(t, data, 0, "pause-sync", "--account-email", "ann@example.org")
	var status []statusRow
	decode(t, cliRun(t, data, 0, "show-sync-status", "--json"), &status)
	if len(status) != 1 || status[0].State != "paused" {
		t.Errorf("status: %+v", status)
	}
	cliRun(t, data, 2, "force-sync", "--account-email", "ann@example.org") // paused
	cliRun(t, data, 0, "resume-sync", "--account-email", "#1")
	var boxes []mailboxRow
	decode(t, cliRun(t, data, 0, "list-mailboxes", "--account-email", "ann@example.org", "--json"), &boxes)
	if boxes == nil || len(boxes) != 0 {
		t.Errorf("mailboxes: %+v, want an empty array", boxes)
	}
	cliRun(t, data, 2, "delete-account", "--account-email", "ann@example.org") // without --yes
	cliRun(t, data, 0, "delete-account", "--account-email", "ann@example.org", "--yes")
	cliRun(t, data, 2, "list-mailboxes", "--account-email", "ann@example.org")

	info, err := os.Stat(filepath.Join(data, "key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	db, err := os.ReadFile(filepath.Join(data, "imapped.db"))
	if err != nil || bytes.Contains(db, []byte("s3cret")) {
		t.Errorf("the database holds the password in the clear (%v)", err)
	}
}

func TestUpstreamFailureNamesTheStep(t *testing.T) {
	data, pw := filepath.Join(t.TempDir(), "data"), passwordFile(t, "s3cret")
	out := cliRun(t, data, 3, "test-upstream", "--url", "imap://me@127.0.0.1:1", "--insecure", "--password-file", pw)
	if !strings.Contains(out, "DNS       ok") || !strings.Contains(out, "TCP       failed") || strings.Contains(out, "s3cret") {
		t.Errorf("test-upstream says %q", out)
	}
	var row upstreamRow
	decode(t, cliRun(t, data, 3, "test-upstream", "--json", "--url", "imap://me@127.0.0.1:1", "--insecure", "--password-file", pw), &row)
	if row.OK || row.FailedStep != "TCP" {
		t.Errorf("test-upstream --json: %+v", row)
	}
}

func TestMigrationsAndVersion(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	cliRun(t, data, 3, "run-migrations", "--check")
	cliRun(t, data, 0, "run-migrations")
	cliRun(t, data, 0, "run-migrations", "--check")
	var out bytes.Buffer
	if runIn(t.Context(), []string{"version"}, nil, &out) != 0 || !strings.HasPrefix(out.String(), "imapped ") {
		t.Errorf("version says %q", out.String())
	}
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}
