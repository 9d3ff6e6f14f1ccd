package main

import (
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// queueSample makes an account that is not mirrored and changes that nobody carries out: Drafts, Plans and Old are to be
// created and subscribed; the last creation is parked.
func queueSample(t *testing.T, data string) {
	t.Helper()
	pw := passwordFile(t, "s3cret")
	cliRun(t, data, 0, "create-user", "--username-email", "ann", "--password-file", pw)
	cliRun(t, data, 0, "add-account", "--user-email", "ann", "--email-address", "ann@example.org", "--upstream-host", "localhost",
		"--upstream-secret-file", pw, "--skip-test")
	in, err := openInstance(t.Context(), testConfig(data), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.close(); err != nil {
			t.Error(err)
		}
	}()
	a, err := in.admin.Account(t.Context(), "ann@example.org")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, name := range []string{"Drafts", "Plans", "Old"} {
		if _, err := in.store.CreateMailbox(t.Context(), a.ID, name, mailbox.Attr(0), now); err != nil {
			t.Fatal(err)
		}
	}
	queue, err := in.store.Mutations(t.Context(), a.ID, 0, 10)
	if err != nil || len(queue) != 6 || queue[4].Kind != mutation.Create {
		t.Fatalf("the queue is %+v, %v; want a create and a subscribe for each", queue, err)
	}
	f, err := in.store.Acquire(t.Context(), a.ID, "test", now, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.store.Settle(t.Context(), f, now, []metadata.Outcome{{
		ID: queue[4].ID, Version: queue[4].Version, Verdict: metadata.Park, Reason: "not in this \x1b[31mcolour",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.store.Release(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func mutationsOf(t *testing.T, data string, args ...string) []mutationRow {
	t.Helper()
	var rows []mutationRow
	decode(t, cliRun(t, data, 0, append([]string{"mutations", "list", "--json"}, args...)...), &rows)
	return rows
}

func TestMutationsCommands(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if text := cliRun(t, data, 0, "mutations"); !strings.Contains(text, "Nothing waits") {
		t.Errorf("an empty queue is told as %q", text)
	}
	if rows := mutationsOf(t, data); rows == nil || len(rows) != 0 {
		t.Errorf("an empty queue is %v as JSON, want an empty array", rows)
	}
	queueSample(t, data)
	rows := mutationsOf(t, data, "--account-email", "ann@example.org")
	if len(rows) != 6 {
		t.Fatalf("the queue is %+v", rows)
	}
	if r := rows[0]; r.Kind != "create" || r.State != "waiting" || r.Mailbox != "Drafts" || r.What != "Drafts" ||
		r.Account != "ann@example.org" || r.Reason != "" || r.IfDiscarded == "" || time.Since(r.Created) > time.Minute {
		t.Errorf("the first change is %+v", r)
	}
	if r := rows[4]; r.State != "parked" || !strings.HasPrefix(r.Reason, "not in this") {
		t.Errorf("the refused change is %+v", r)
	}
	parked := mutationsOf(t, data, "--parked")
	if len(parked) != 1 || parked[0].ID != rows[4].ID {
		t.Errorf("parked: %+v", parked)
	}
	var status []statusRow
	decode(t, cliRun(t, data, 0, "show-sync-status", "--json"), &status)
	if q := status[0].Queue; q.Waiting != 5 || q.Parked != 1 || q.Sent != 0 || q.Oldest == nil {
		t.Errorf("the status counts %+v", q)
	}
	if text := cliRun(t, data, 0, "show-sync-status"); !strings.Contains(text, "5 waiting, 1 parked, oldest ") {
		t.Errorf("show-sync-status says %q", text)
	}
	id := func(n int) string { return strconv.FormatInt(rows[n].ID, 10) }
	text := cliRun(t, data, 0, "mutations", "show", id(4))
	if !strings.Contains(text, "parked") || !strings.Contains(text, "If discarded") || strings.Contains(text, "\x1b") {
		t.Errorf("mutations show says %q", text)
	}
	if text := cliRun(t, data, 0, "mutations"); !strings.Contains(text, "Plans") || strings.Contains(text, "\x1b") {
		t.Errorf("mutations says %q", text)
	}
	cliRun(t, data, 2, "mutations", "show", "999999")
	cliRun(t, data, 2, "mutations", "retry")
	cliRun(t, data, 2, "mutations", "retry", "--all-parked", id(4))
	if text := cliRun(t, data, 0, "mutations", "retry", "--all-parked"); !strings.HasPrefix(text, "1 parked") {
		t.Errorf("retry says %q", text)
	}
	cliRun(t, data, 0, "mutations", "retry", id(0))
	if parked = mutationsOf(t, data, "--parked"); len(parked) != 0 {
		t.Errorf("still parked: %+v", parked)
	}
	cliRun(t, data, 2, "mutations", "discard", id(2)) // nobody says yes
	if text := cliRun(t, data, 0, "mutations", "discard", "--yes", id(2)); !strings.Contains(text, "Plans") {
		t.Errorf("discard does not say what it gave up: %q", text)
	}
	cliRun(t, data, 2, "mutations", "discard", "--yes", id(2)) // gone
	if rows = mutationsOf(t, data); len(rows) != 4 {
		t.Errorf("left: %+v", rows)
	}
	if text := cliRun(t, data, 0, "list-mailboxes", "--account-email", "ann@example.org"); strings.Contains(text, "Plans") {
		t.Errorf("the discarded mailbox is still there: %q", text)
	}
}

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{
		"y\n": true, "YES\n": true, " yes \n": true, "y": true, "": false, "\n": false, "n\n": false, "yesterday\n": false,
	} {
		var asked strings.Builder
		if err := confirm(strings.NewReader(answer), &asked, "Sure?"); (err == nil) != want || !strings.HasPrefix(asked.String(), "Sure?") {
			t.Errorf("the answer %q to %q gives %v", answer, asked.String(), err)
		}
	}
}

// TestMutationsBesideServer: with a server running, what a command retries is carried out at once.
func TestMutationsBesideServer(t *testing.T) {
	up := startUpstream(t)
	data := filepath.Join(t.TempDir(), "data")
	m := startMirror(t, data, up)
	c := dialMail(t, m.addr, "")
	c.ok("CREATE Plans")
	dialMail(t, up.addr, "").eventually(func(s string) bool { return strings.Contains(s, "Plans") }, `LIST "" *`)
	c.eventually(func(string) bool { return len(mutationsOf(t, data)) == 0 }, "NOOP")

	// What another process put into the queue waits for the next round, in minutes, unless somebody tells the server.
	in, err := openInstance(t.Context(), testConfig(data), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.close() }()
	if _, err := in.store.CreateMailbox(t.Context(), m.account.ID, "Later", 0, time.Now()); err != nil {
		t.Fatal(err)
	}
	queue, err := in.store.Mutations(t.Context(), m.account.ID, 0, 1)
	if err != nil || len(queue) != 1 || queue[0].Kind != mutation.Create {
		t.Fatalf("the queue is %+v, %v", queue, err)
	}
	var out strings.Builder
	status := run([]string{"mutations", "retry", strconv.FormatInt(int64(queue[0].ID), 10), "--data", data}, &out)
	if status != 0 && status != 2 && status != 3 { // 2: the server was still at it, and faster; 3: it has just sent it
		t.Errorf("retry: exit status %d, output %q", status, out.String())
	}
	dialMail(t, up.addr, "").eventually(func(s string) bool { return strings.Contains(s, "Later") }, `LIST "" *`)
}
