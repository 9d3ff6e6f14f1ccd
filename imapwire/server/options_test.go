package server

import (
	"strings"
	"testing"
	"time"

	"imapped/imapwire/fsm"
)

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no sessions", Options{}, "Sessions"},
		{"half an ID", Options{Sessions: newFake(), ID: []string{"name"}}, "value"},
		{"unknown capability", Options{Sessions: newFake(), Disable: []string{"SORT"}}, "SORT"},
		{"the protocol itself", Options{Sessions: newFake(), Disable: []string{"imap4rev1"}}, "imap4rev1"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestDisabledCapabilities(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, func(o *Options) {
		o.Disable = []string{"condstore", "IDLE", "COMPRESS=DEFLATE", "AUTH=PLAIN", "OBJECTID"}
	})
	c := dial(t, ts.addr)
	if l := c.line(); strings.Contains(l, "AUTH=PLAIN") {
		t.Errorf("greeting: %s", l)
	}
	if got := c.do("AUTHENTICATE PLAIN AHUAc2VjcmV0"); !strings.HasPrefix(got[0], "x NO [CANNOT]") {
		t.Errorf("AUTHENTICATE: %q", got)
	}
	login := c.do("LOGIN u secret")[0]
	for _, name := range []string{"CONDSTORE", "QRESYNC", "IDLE", "COMPRESS", "OBJECTID"} {
		if strings.Contains(login, name) {
			t.Errorf("%s is announced: %s", name, login)
		}
	}
	for _, cmd := range []string{"IDLE", "COMPRESS DEFLATE"} {
		if got := c.do(cmd); got[0] != "x BAD Unknown command" {
			t.Errorf("%s: %q", cmd, got)
		}
	}
	if got := c.do("ENABLE CONDSTORE QRESYNC"); got[0] != "* ENABLED" {
		t.Errorf("ENABLE: %q", got)
	}
	if got := c.do("SELECT INBOX (QRESYNC (100 1))"); got[0] != "x BAD SELECT does not know QRESYNC" {
		t.Errorf("SELECT with QRESYNC: %q", got)
	}
	if got := strings.Join(c.do("SELECT INBOX"), "\n"); strings.Contains(got, "MODSEQ") || strings.Contains(got, "MAILBOXID") {
		t.Errorf("SELECT: %s", got)
	}
	if !ts.caps.Has(fsm.CapEnable) {
		t.Error("ENABLE went with the others")
	}
}

func TestIDFields(t *testing.T) {
	ts := startServer(t, newFake(), func(o *Options) { o.ID = []string{"name", "imapped", "version", `"1"`} })
	c := dial(t, ts.addr)
	c.line()
	if got := c.do(`ID ("name" "test")`); got[0] != `* ID ("name" "imapped" "version" "\"1\"")` {
		t.Errorf("%q", got)
	}
}

func TestOnCommand(t *testing.T) {
	type call struct {
		label  string
		result fsm.Result
	}
	calls := make(chan call, 8)
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, func(o *Options) {
		o.OnCommand = observer(func(label string, r fsm.Result) { calls <- call{label, r} })
	})
	c := dial(t, ts.addr)
	c.line()
	for _, cmd := range []string{"LOGIN u wrong", "LOGIN u secret", "FETCH 1 UID", "SELECT INBOX", "UID FETCH 1 UID", "NONSENSE"} {
		c.do(cmd)
	}
	for _, want := range []call{
		{fsm.LabelLogin, fsm.NO}, {fsm.LabelLogin, fsm.OK}, {fsm.LabelFetch, fsm.BAD}, {fsm.LabelSelect, fsm.OK},
		{fsm.LabelUIDFetch, fsm.OK}, {fsm.LabelUnknown, fsm.BAD},
	} {
		if got := <-calls; got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func observer(f func(string, fsm.Result)) func(string, fsm.Result, time.Duration) {
	return func(label string, r fsm.Result, _ time.Duration) { f(label, r) }
}
