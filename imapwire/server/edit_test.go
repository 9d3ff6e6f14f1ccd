package server

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

// Every kind of failure has its response code, in every command that changes something, and the connection and the
// selected mailbox live on.
func TestFailuresOfChanges(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	c := dial(t, ts.addr).login("INBOX")
	for _, kind := range []struct {
		err  error
		want string
	}{
		{fault.New(fault.Unavailable, "commit", "database is locked"), "NO [UNAVAILABLE] commit: database is locked"},
		{fault.New(fault.Limit, "commit", "there are too many"), "NO [LIMIT] commit: there are too many"},
		{fault.New(fault.OverQuota, "commit", "there is no room"), "NO [OVERQUOTA] commit: there is no room"},
		{fault.New(fault.Forbidden, "commit", "not yours"), "NO [NOPERM] commit: not yours"},
		{fault.New(fault.Conflict, "commit", "in use"), "NO [INUSE] commit: in use"},
		{fault.New(fault.Corrupt, "commit", "page 7"), "NO [CORRUPTION] commit: page 7"},
		{fault.New(fault.Invalid, "commit", "cannot be"), "NO [CANNOT] commit: cannot be"},
		{errors.New("constraint failed: messages.uid"), "NO [SERVERBUG] Internal error"},
	} {
		store.mu.Lock()
		store.refuse = func(op string) error {
			if op == "begin append" || op == "store message" {
				return nil
			}
			return kind.err
		}
		store.mu.Unlock()
		for _, cmd := range []string{
			"CREATE New", "STORE 1 FLAGS (\\Seen)", "UID STORE 1 FLAGS (\\Seen)", "COPY 1 Empty", "UID COPY 1 Empty",
			"MOVE 1 Empty", "UID MOVE 1 Empty", "EXPUNGE", "UID EXPUNGE 1", "APPEND INBOX {3+}\r\nabc",
			"REPLACE 1 INBOX {3+}\r\nabc", "UID REPLACE 1 INBOX {3+}\r\nabc", "CLOSE",
		} {
			if got := strings.Join(c.do(cmd), "\n"); got != "x "+kind.want {
				t.Errorf("%q: %q, want %q", cmd, got, kind.want)
			}
		}
	}
	store.mu.Lock()
	store.refuse = nil
	store.mu.Unlock()
	if got := c.do("STORE 1 +FLAGS (\\Seen)"); got[len(got)-1] != "x OK Store completed" {
		t.Errorf("afterwards: %q", got)
	}
}

// A change of which nobody knows whether it was made gets no answer: each would claim something. The connection ends.
func TestUnknownOutcome(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, nil)
	for _, cmd := range []string{
		"CREATE New", "STORE 1 FLAGS (\\Seen)", "COPY 1 Empty", "UID MOVE 1 Empty", "EXPUNGE", "APPEND INBOX {3+}\r\nabc",
		"REPLACE 1 INBOX {3+}\r\nabc",
	} {
		c := dial(t, ts.addr).login("INBOX")
		store.mu.Lock()
		store.refuse = func(op string) error {
			if op == "begin append" || op == "store message" {
				return nil
			}
			return fault.New(fault.Uncertain, "commit", "the connection was lost")
		}
		store.mu.Unlock()
		c.send("x " + cmd + "\r\n")
		_ = c.nc.SetReadDeadline(time.Now().Add(testTimeout))
		got, err := io.ReadAll(c.r)
		store.mu.Lock()
		store.refuse = nil
		store.mu.Unlock()
		if err != nil || !strings.HasPrefix(string(got), "* BYE [UNAVAILABLE] Whether ") || strings.Count(string(got), "\r\n") != 1 {
			t.Errorf("%q: %q, %v", cmd, got, err)
		}
	}
}

// What is switched off is not done, and its response codes are not sent.
func TestWritingCapabilitiesSwitchedOff(t *testing.T) {
	store := newFake()
	sampleMail(store)
	ts := startServer(t, store, func(o *Options) {
		o.Disable = []string{"MOVE", "UIDPLUS", "MULTIAPPEND", "BINARY", "REPLACE", "CREATE-SPECIAL-USE", "OBJECTID",
			"APPENDLIMIT", "CONDSTORE", "QUOTA", "QUOTA=RES-STORAGE"}
	})
	c := dial(t, ts.addr).login("INBOX")
	for _, step := range []struct{ cmd, want string }{
		{"MOVE 1 Empty", "x BAD Unknown command"},
		{"UID MOVE 1 Empty", "x BAD Unknown command"},
		{"UID EXPUNGE 1", "x BAD Unknown command"},
		{"REPLACE 1 Empty {3}", "x BAD Unknown command"},
		{"UID REPLACE 1 Empty {3+}\r\nabc", "x BAD Unknown command"},
		{"COPY 1 Empty", "x OK COPY completed"},
		{"APPEND Empty {3+}\r\nabc", "x OK Append completed"},
		{"APPEND Empty {3+}\r\nabc {3+}\r\nabc", "x BAD APPEND does not know MULTIAPPEND"},
		{"APPEND Empty ~{3}", "x BAD APPEND does not know BINARY"},
		{"CREATE New (USE (\\Sent))", "x BAD CREATE does not know USE"},
		{"CREATE New", "x OK Create completed"},
		{"STATUS Empty (APPENDLIMIT)", "x BAD STATUS does not know APPENDLIMIT"},
		{"LIST \"\" * RETURN (STATUS (APPENDLIMIT))", "x BAD LIST does not know APPENDLIMIT"},
		{"GETQUOTA u@example.org", "x BAD Unknown command"},
		{"GETQUOTAROOT INBOX", "x BAD Unknown command"},
		{"STATUS Empty (DELETED-STORAGE)", "x BAD STATUS does not know DELETED-STORAGE"},
		{"LIST \"\" * RETURN (STATUS (DELETED-STORAGE))", "x BAD LIST does not know DELETED-STORAGE"},
		{"STORE 1 (UNCHANGEDSINCE 1) FLAGS (\\Seen)", "x BAD STORE does not know UNCHANGEDSINCE"},
	} {
		if got := c.do(step.cmd); got[len(got)-1] != step.want || len(got) != 1 {
			t.Errorf("%q: %q, want %q", step.cmd, got, step.want)
		}
	}
}

// COPYUID keeps the order of both its sets.
func TestUIDSetsKeepTheirOrder(t *testing.T) {
	for want, uids := range map[string][]uint32{
		"": nil, "7": {7}, "1:3": {1, 2, 3}, "3,2,1": {3, 2, 1}, "5:6,1,9:11": {5, 6, 1, 9, 10, 11},
		"4294967294:4294967295": {4294967294, 4294967295}, "2,2": {2, 2},
	} {
		if got := string(appendUIDs(nil, toUIDs(uids))); got != want {
			t.Errorf("%v: %q, want %q", uids, got, want)
		}
	}
}

func toUIDs(ns []uint32) (uids []mailbox.UID) {
	for _, n := range ns {
		uids = append(uids, mailbox.UID(n))
	}
	return uids
}
