package upstream_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"imapped/domain/fault"
	port "imapped/ports/upstream"
)

// TestObserved: each command is told of once, also one that is refused or lost; and all connections are counted together.
func TestObserved(t *testing.T) {
	d := dialer()
	var mu sync.Mutex
	var got []string
	d.OnCommand = func(verb string, took time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		kind := "ok"
		if err != nil {
			kind = fault.KindOf(err).String()
		}
		if took < 0 || took > time.Minute {
			t.Errorf("%s took %v", verb, took)
		}
		got = append(got, verb+" "+kind)
	}
	conversation := script("", `C: a LIST "" "*"
S: a OK
C: b STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)
S: b NO [NONEXISTENT] none
C: c STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)
S: * BYE gone
! close`)
	var want []string
	var total port.Usage
	for range 2 {
		conn, _ := dial(t, d, conversation)
		list, status := &port.List{}, &port.Status{Name: "INBOX"}
		do(t, conn, list)
		do(t, conn, status)
		if err := conn.Do(deadline(t), &port.Status{Name: "INBOX"}); err == nil {
			t.Error("the connection lives")
		}
		_ = conn.Close()
		u := usage(conn)
		total = port.Usage{Commands: total.Commands + u.Commands, Sent: total.Sent + u.Sent, Received: total.Received + u.Received}
		want = append(want, "LIST ok", "STATUS not found", "STATUS unavailable")
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if u := d.Usage(); u != total || u.Commands < 6 {
		t.Errorf("together %s, want %s", fmt.Sprint(u), fmt.Sprint(total))
	}
}
