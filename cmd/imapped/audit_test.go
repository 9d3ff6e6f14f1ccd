package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// audited returns what operators did on a data directory, as its file tells it.
func audited(t *testing.T, data string) (acts []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, auditFile))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var v struct {
			Msg   string
			Audit struct{ Action, Actor, Subject, Outcome string }
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Msg != "audit" || v.Audit.Actor != operator() {
			t.Fatalf("%q: %v", line, err)
		}
		acts = append(acts, fmt.Sprintf("%s: %s: %s", v.Audit.Action, v.Audit.Subject, v.Audit.Outcome))
	}
	return acts
}

// TestOperatorsActsAreKept: what commands do is recorded in the data directory, whether a server runs there or not, and
// whatever the log looks like.
func TestOperatorsActsAreKept(t *testing.T) {
	data, pw := filepath.Join(t.TempDir(), "data"), passwordFile(t, "s3cret")
	cliRun(t, data, 0, "list-users")
	if _, err := os.Stat(filepath.Join(data, auditFile)); err == nil {
		t.Error("looking is recorded")
	}
	cliRun(t, data, 0, "create-user", "--username-email", "ann", "--password-file", pw)
	cliRun(t, data, 0, "set-password", "--username-email", "ann", "--password-file", pw)
	cliRun(t, data, 2, "set-password", "--username-email", "bob", "--password-file", pw)
	cliRun(t, data, 0, "--log-format", "json", "disable-user", "--username-email", "ann")
	cliRun(t, data, 0, "add-account", "--user-email", "ann", "--email-address", "ann@example.org", "--upstream-host", "localhost",
		"--upstream-secret-file", pw, "--skip-test")
	cliRun(t, data, 0, "rotate-key")
	cliRun(t, data, 0, "restore", "--account-email", "ann@example.org", "--since", "2h", "--dry-run")
	cliRun(t, data, 0, "restore", "--account-email", "ann@example.org", "--since", "2h")
	cliRun(t, data, 0, "delete-account", "--account-email", "ann@example.org", "--yes")
	want := []string{
		"create user: ann: ok", "set password: ann: ok", "set password: bob: not found", "disable user: ann: ok",
		"add account: ann ann@example.org: ok", "rotate key: all secrets: ok", "restore messages: ann@example.org: ok",
		"pause account: ann@example.org: ok", "delete account: ann@example.org: ok",
	}
	if got := audited(t, data); !slices.Equal(got, want) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	path := filepath.Join(data, auditFile)
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "argon2id") {
		t.Errorf("%v, or a secret is in\n%s", err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
