package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	port "imapped/ports/upstream"
)

const (
	welcome  = "* OK [CAPABILITY IMAP4rev1] ready\r\n"
	loggedIn = "H1 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n"
)

// peer is a server in a bubble: after each line of the client's it sends the next of its texts, an endless one at last
// if it is to.
type peer struct {
	texts   []string
	endless byte // 0: silence
	sent    int  // octets that the client took
}

func (p *peer) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := bufio.NewReader(nc)
	send := func(text string) bool {
		n, err := io.WriteString(nc, text)
		p.sent += n
		return err == nil
	}
	for i, text := range p.texts {
		if i > 0 {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
		}
		if !send(text) {
			return
		}
	}
	if p.endless != 0 {
		for chunk := strings.Repeat(string(p.endless), 32<<10); send(chunk); {
			continue
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

// shake connects to the peer with the dialer; it runs in a bubble.
func shake(ctx context.Context, d *Dialer, p *peer) (*Conn, error) {
	d.init()
	client, server := net.Pipe()
	go p.serve(server)
	h := &handshake{dialer: d, ctx: ctx, target: port.Target{
		Endpoint: account.Endpoint{TLS: account.TLSPlain}, Username: "u", Password: []byte("p"),
	}}
	h.evidence.caps = map[string]bool{}
	w, err := h.run(client)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return newConn(d, w, h), nil
}

// TestExcessWhileConnecting: what is too large ends the connection at once, says what it was, and at which step.
func TestExcessWhileConnecting(t *testing.T) {
	const line = "the server sent a line longer than 65536 octets"
	for _, tc := range []struct {
		name    string
		texts   []string
		endless byte
		step    port.Step
		text    string
	}{
		{"an endless greeting", []string{"* OK "}, 'x', port.StepGreeting, line},
		{"an endless line that is no IMAP", []string{""}, 'x', port.StepGreeting, line},
		{"an endless line of other octets", []string{""}, 0xff, port.StepGreeting, line},
		{"a literal in the greeting", []string{"* CAPABILITY {4294967295}\r\n"}, 'x', port.StepGreeting,
			"a literal of 4294967295 octets where no more than 65536 are taken"},
		{"a silent literal in the greeting", []string{"* CAPABILITY {65537}\r\n"}, 0, port.StepGreeting,
			"a literal of 65537 octets where no more than 65536 are taken"},
		{"an endless answer to LOGIN", []string{welcome, "* CAPABILITY "}, 'x', port.StepLogin, line},
		{"a literal in the answer to LOGIN", []string{welcome, "* LIST () \"/\" {4294967295}\r\n"}, 0, port.StepLogin,
			"a literal of 4294967295 octets"},
		{"a body in the answer to LOGIN", []string{welcome, "* 1 FETCH (BODY[] {4294967295}\r\n"}, 'x', port.StepLogin,
			"a literal of 4294967295 octets"},
		{"a literal of no size", []string{welcome, "* LIST () \"/\" {99999999999999999999}\r\n"}, 0, port.StepLogin,
			"not a number"},
		{"many literals", []string{welcome, "* LIST" + strings.Repeat(" {60000}\r\n"+strings.Repeat("x", 60000), 5)}, 0,
			port.StepLogin, "a response longer than 262144 octets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, p := time.Now(), &peer{texts: tc.texts, endless: tc.endless}
				_, err := shake(t.Context(), &Dialer{}, p)
				synctest.Wait()
				var step *port.StepError
				if !errors.As(err, &step) || step.Step != tc.step || !fault.Is(err, fault.Unavailable) ||
					!strings.Contains(err.Error(), tc.text) {
					t.Errorf("%v", err)
				}
				if took := time.Since(begin); took != 0 || p.sent > 400<<10 {
					t.Errorf("after %v and %d octets", took, p.sent)
				}
			})
		})
	}
}

// TestExcess: the same, logged in.
func TestExcess(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		endless      byte
		text         string
	}{
		{"an endless line", "* LIST () \"/\" ", 'x', "a line longer than 16777216 octets"},
		{"an endless tagged line", "A1 OK ", 'x', "a line longer than 16777216 octets"},
		{"a name of 4 GB", "* LIST () \"/\" {4294967295}\r\n", 'x', "a literal of 4294967295 octets where no more than 8388608"},
		{"a name of 4 GB that does not come", "* LIST () \"/\" {4294967295}\r\n", 0, "a literal of 4294967295 octets"},
		{"a header of 4 GB", "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (DATE)] {4294967295}\r\n", 'x',
			"a literal of 4294967295 octets"},
		{"bodies of 8 GB", "* 1 FETCH (UID 1 BODY[] {8294967295}\r\n", 'x', "a literal of 8294967295 octets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peer{texts: []string{welcome, loggedIn, tc.answer}, endless: tc.endless}
				conn, err := shake(t.Context(), &Dialer{}, p)
				if err != nil {
					t.Fatal(err)
				}
				begin, list := time.Now(), &port.List{}
				err = conn.Do(t.Context(), list)
				synctest.Wait()
				if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), tc.text) || list.Err == nil {
					t.Errorf("%v, %v", err, list.Err)
				}
				if took := time.Since(begin); took != 0 || p.sent > 17<<20 {
					t.Errorf("after %v and %d octets", took, p.sent)
				}
				_ = conn.Close()
			})
		})
	}
}

// TestStall: a response that stops in its middle is given up sooner than one that has not begun.
func TestStall(t *testing.T) {
	const middle, late = "in the middle of a response", "did not answer in time"
	for _, tc := range []struct {
		name, answer   string
		silence, stall time.Duration
		after          time.Duration
		text           string
	}{
		{"nothing", "", 0, 0, 2 * time.Minute, late},
		{"between lines", "* LIST () \"/\" INBOX\r\n", 0, 0, 2 * time.Minute, late},
		{"padding", "* LIST () \"/\" INBOX\r\n\x00\x00", 0, 0, 2 * time.Minute, late},
		{"in a line", "* LIST () \"/\" INBOX\r\n* STATUS INBOX (MESS", 0, 0, 30 * time.Second, middle},
		{"before a line feed", "* LIST () \"/\" INBOX\r\nA1 OK done\r", 0, 0, 30 * time.Second, middle},
		{"in a literal", "* LIST () \"/\" {5}\r\nINB", 0, 0, 30 * time.Second, middle},
		{"in a body", "* 1 FETCH (UID 1 BODY[] {50000}\r\nSubject:", 0, 0, 30 * time.Second, middle},
		{"behind a body", "* 1 FETCH (UID 1 BODY[] {5}\r\nabcde", 0, 0, 30 * time.Second, middle},
		{"in a body that is dropped", "* 1 FETCH (UID 1 BODY[] {2000000000}\r\nabcde", 0, 0, 30 * time.Second, middle},
		{"as is set", "* LI", 0, 3 * time.Second, 3 * time.Second, middle},
		{"not longer than any silence", "* LI", 7 * time.Second, 0, 7 * time.Second, middle},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, err := shake(t.Context(), &Dialer{Silence: tc.silence, Stall: tc.stall},
					&peer{texts: []string{welcome, loggedIn, tc.answer}})
				if err != nil {
					t.Fatal(err)
				}
				begin, list := time.Now(), &port.List{}
				fetch := &port.Fetch{UIDs: mailbox.SetOf[uint32](1), Items: port.ItemBody, OnMessage: func(m port.Message) error {
					if m.Body == nil {
						return nil
					}
					_, err := io.Copy(io.Discard, m.Body)
					return err
				}}
				err = conn.Do(t.Context(), list, fetch)
				if took := time.Since(begin); took != tc.after || !fault.Is(err, fault.Unavailable) ||
					!strings.Contains(err.Error(), tc.text) || list.Err == nil || fetch.Err == nil {
					t.Errorf("after %v: %v, %v, %v", took, err, list.Err, fetch.Err)
				}
				_ = conn.Close()
			})
		})
	}
}

// TestStallWhileConnecting: the same of a greeting and of the answer to a login.
func TestStallWhileConnecting(t *testing.T) {
	for _, tc := range []struct {
		name  string
		texts []string
		step  port.Step
		after time.Duration
	}{
		{"no greeting", []string{""}, port.StepGreeting, 2 * time.Minute},
		{"half a greeting", []string{"* OK [CAPAB"}, port.StepGreeting, 30 * time.Second},
		{"half an answer", []string{welcome, "H1 O"}, port.StepLogin, 30 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				_, err := shake(t.Context(), &Dialer{}, &peer{texts: tc.texts})
				var step *port.StepError
				if took := time.Since(begin); took != tc.after || !errors.As(err, &step) || step.Step != tc.step {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// TestStallWhileIdle: a connection may be silent while nothing is owed, but not in the middle of news; and commands
// that are sent meanwhile do not give it more time.
func TestStallWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, err := shake(t.Context(), &Dialer{}, &peer{texts: []string{welcome, loggedIn, "A1 OK\r\n\x00", "* 4 EXI"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Do(t.Context(), &port.Noop{}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		first := make(chan error, 1)
		begin := time.Now()
		go func() { first <- conn.Do(t.Context(), &port.Noop{}) }()
		synctest.Wait()
		<-time.After(20 * time.Second)
		err = conn.Do(t.Context(), &port.Noop{})
		if took := time.Since(begin); took != 30*time.Second || !fault.Is(err, fault.Unavailable) {
			t.Errorf("after %v: %v", took, err)
		}
		if err := <-first; !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v", err)
		}
		_ = conn.Close()
	})
}
