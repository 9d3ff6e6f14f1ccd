package session

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"imapped/domain/mailbox"
	"imapped/ports/audit"
)

// TestLookups: what is kept here, and what had to be read or fetched, is told.
func TestLookups(t *testing.T) {
	w, b := inboxWorld(t, 3)
	w.add(b, 1, false)
	got := map[string]int{}
	svc := w.service(func(c *Config) { c.OnLookup = func(cache, result string) { got[cache+" "+result]++ } })
	check := func(what string, want map[string]int) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		clear(got)
	}
	s := w.login(t, svc, "ann")
	m := open(t, s, "INBOX", OpenOptions{})
	check("first", map[string]int{"snapshot loaded": 1})
	open(t, s, "INBOX", OpenOptions{})
	check("again", map[string]int{"snapshot current": 1})
	w.expunge(b, 2)
	advance(t, m, true)
	check("changed", map[string]int{"snapshot advanced": 1})
	if _, err := fetched(t, m, mailbox.SetOf[uint32](1), NeedBytes); err != nil {
		t.Fatal(err)
	}
	check("a body that is here", map[string]int{"snapshot current": 1, "body stored": 1})
	if _, err := fetched(t, m, mailbox.SetOf[uint32](3), NeedEnvelope); err != nil {
		t.Fatal(err)
	}
	check("one that is not", map[string]int{"snapshot current": 1, "body fetched": 1})
}

// records is an audit log.
type records []audit.Record

func (r *records) Record(_ context.Context, rec audit.Record) { *r = append(*r, rec) }

// TestLoginsAreRecorded: who tried to log in as whom, from where, in which session, and how it ended; no password.
func TestLoginsAreRecorded(t *testing.T) {
	w, _ := inboxWorld(t, 1)
	var r records
	svc := w.service(func(c *Config) { c.Audit = &r })
	for _, password := range []string{"right", "wr0ng"} {
		_, _ = svc.Login(t.Context(), Credentials{User: "ann", Password: password, Remote: "192.0.2.1", Session: "abc-1"})
	}
	want := records{
		{Action: "log in", Actor: "ann", Subject: "ann", Remote: "192.0.2.1", Session: "abc-1", Outcome: "ok"},
		{Action: "log in", Actor: "ann", Remote: "192.0.2.1", Session: "abc-1", Outcome: "denied"},
	}
	if !slices.Equal(r, want) {
		t.Errorf("%+v", r)
	}
}
