package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapped/e2e/ledger"
)

// names are the mailboxes of every account.
var names = []string{"INBOX", "A", "B"}

// client reads and writes in one account. Only it changes the messages that it brought there, and of those that are everybody's
// only the keyword that is its own.
type client struct {
	p       *play
	rng     *rand.Rand
	name    string
	account user
	keyword string
	timeout time.Duration // how long it waits for an answer
	node    int
	conn    *conn
	count   int
	own     []*ledger.Copy
	common  []*ledger.Copy
}

// run works until ctx is done. What is under way then is finished.
func (c *client) run(ctx context.Context) {
	defer func() {
		if c.conn != nil {
			c.conn.Close()
		}
	}()
	pause := firstPause
	for wait(ctx, 40*time.Millisecond+below(c.rng, 300*time.Millisecond)) {
		if c.conn == nil {
			s, err := c.p.connect(ctx, c.name, c.node, c.account.name)
			if err != nil {
				c.elsewhere()
				wait(ctx, pause/2+below(c.rng, pause))
				pause = min(2*pause, longestPause)
				continue
			}
			s.Timeout = c.timeout
			c.conn, pause = s, firstPause
		}
		if err := c.act(ctx); errors.Is(err, errLost) {
			c.conn.Close()
			c.conn = nil
			c.elsewhere()
		}
	}
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// wait waits; false: ctx is done.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// elsewhere makes the client connect to another node as often as to the same.
func (c *client) elsewhere() {
	if c.rng.IntN(2) == 0 {
		c.node = c.rng.IntN(len(c.p.rig.nodes))
	}
}

func (c *client) box() ledger.Box {
	return ledger.Box{Account: c.account.name, Name: names[c.rng.IntN(len(names))]}
}

// act does one thing.
func (c *client) act(ctx context.Context) error {
	mine := c.pick(c.own)
	if mine == nil {
		return c.append()
	}
	switch n := c.rng.IntN(100); {
	case n < 24:
		return c.append()
	case n < 40:
		return c.store(mine)
	case n < 50:
		return c.store(c.pick(c.common))
	case n < 55:
		return c.fight()
	case n < 64:
		return c.copy(mine)
	case n < 73:
		return c.move(mine)
	case n < 80:
		return c.expunge(mine)
	case n < 86:
		return c.body(mine)
	case n < 91:
		return c.search()
	case n < 94:
		return c.idle(ctx)
	case n < 96:
		return c.conn.open(c.box())
	case n < 98:
		if _, err := c.conn.cmd(session, "NOOP"); err != nil {
			return err
		}
		return c.conn.refresh()
	}
	if _, err := c.conn.cmd(node, "LOGOUT"); err != nil {
		return err
	}
	c.node = c.rng.IntN(len(c.p.rig.nodes))
	return errLost // by its own will
}

func (c *client) pick(all []*ledger.Copy) *ledger.Copy {
	if len(all) == 0 {
		return nil
	}
	return all[c.rng.IntN(len(all))]
}

// forget is for a message that is gone, or of which the client is not certain any more.
func (c *client) forget(m *ledger.Copy) {
	c.own = slices.DeleteFunc(c.own, func(o *ledger.Copy) bool { return o == m })
}

// settle tells the ledger what came of something that was tried with a message.
func (c *client) settle(t *ledger.Try, err error, m *ledger.Copy, uids ...uint32) error {
	switch {
	case err == nil:
		c.own = append(c.own, t.Done(uids...)...)
	case errors.Is(err, errRefused):
		t.Refused()
	default:
		t.Lost()
		c.forget(m)
	}
	return err
}

// append adds one message or two.
func (c *client) append() error {
	to := c.box()
	parts := []any{"APPEND " + to.Name}
	var tokens []string
	for range 1 + c.rng.IntN(2) {
		c.count++
		token := fmt.Sprintf("%s-%d", c.name, c.count)
		raw := mail(token, c.rng.IntN(3000))
		c.p.ledger.Write(token, raw)
		tokens = append(tokens, token)
		parts = append(parts, ` (\Seen) `, raw)
	}
	try := c.p.ledger.Appending(to, tokens, c.keyword)
	r, err := c.conn.cmd(session|objects, parts...)
	if err != nil {
		return c.settle(try, err, nil)
	}
	uids := placed(r.Code, "APPENDUID", len(tokens))
	if uids == nil {
		c.p.violate("%s: APPEND of %d messages was answered with [%s]", to, len(tokens), r.Code)
		try.Lost()
		return nil
	}
	return c.settle(try, nil, nil, uids...)
}

// mail returns a message of its own.
func mail(token string, size int) []byte {
	head := "From: a@example.org\r\nTo: b@example.org\r\nDate: Mon, 03 Feb 2003 10:00:00 +0000\r\nSubject: " + token +
		"\r\nMessage-ID: <" + token + "@cluster.example>\r\n\r\n"
	return []byte(head + strings.Repeat(token+" and nothing but that.\r\n", 1+size/(len(token)+24)))
}

// placed returns the UIDs of a response code, the last of its sets; nil unless there are n.
func placed(code, name string, n int) (uids []uint32) {
	fields := strings.Fields(code)
	if len(fields) < 3 || fields[0] != name {
		return nil
	}
	for part := range strings.SplitSeq(fields[len(fields)-1], ",") {
		first, last, isRange := strings.Cut(part, ":")
		a, err := strconv.ParseUint(first, 10, 32)
		if err != nil {
			return nil
		}
		b := a
		if isRange {
			if b, err = strconv.ParseUint(last, 10, 32); err != nil || b < a || b-a > 1000 {
				return nil
			}
		}
		for u := a; u <= b; u++ {
			uids = append(uids, uint32(u))
		}
	}
	if len(uids) != n {
		return nil
	}
	return uids
}

// at makes the mailbox of a message the open one, and sees to it that the session knows the message.
func (c *client) at(m *ledger.Copy) error {
	if c.conn.box != m.Box {
		if err := c.conn.open(m.Box); err != nil {
			return err
		}
	}
	if slices.Contains(c.conn.uids, m.UID) {
		return nil
	}
	if _, err := c.conn.cmd(session, "NOOP"); err != nil {
		return err
	}
	if err := c.conn.refresh(); err != nil {
		return err
	}
	if !slices.Contains(c.conn.uids, m.UID) {
		c.p.violate("%s, node %d, %s: UID %d (%s), which is its own, is not shown after NOOP", c.name, c.conn.node, m.Box, m.UID, m.Token)
		return c.conn.open(m.Box)
	}
	return nil
}

// store sets or clears the client's keyword.
func (c *client) store(m *ledger.Copy) error {
	on, known := c.p.ledger.Has(m, c.keyword)
	if !known {
		return nil
	}
	if err := c.at(m); err != nil {
		return err
	}
	sign := "+"
	if on {
		sign = "-"
	}
	silent := ""
	if c.rng.IntN(2) == 0 {
		silent = ".SILENT"
	}
	try := c.p.ledger.Setting(m, c.keyword, !on)
	_, err := c.conn.cmd(session, fmt.Sprintf("UID STORE %d %sFLAGS%s (%s)", m.UID, sign, silent, c.keyword))
	return c.settle(try, err, m)
}

// fight changes a flag that others change as well: who wins is nobody's business, but both sides agree in the end.
func (c *client) fight() error {
	m := c.pick(c.common)
	if err := c.at(m); err != nil {
		return err
	}
	sign := []string{"+", "-"}[c.rng.IntN(2)]
	_, err := c.conn.cmd(session, fmt.Sprintf(`UID STORE %d %sFLAGS (\Flagged)`, m.UID, sign))
	return err
}

// other returns another mailbox than the message's: where a message is moved to itself, nobody knows which one went.
func (c *client) other(m *ledger.Copy) ledger.Box {
	for {
		if b := c.box(); b != m.Box {
			return b
		}
	}
}

func (c *client) copy(m *ledger.Copy) error {
	if err := c.at(m); err != nil {
		return err
	}
	to := c.other(m)
	try := c.p.ledger.Copying(m, to)
	r, err := c.conn.cmd(session, fmt.Sprintf("UID COPY %d %s", m.UID, to.Name))
	if err != nil {
		return c.settle(try, err, m)
	}
	uids := placed(r.Code, "COPYUID", 1)
	if uids == nil {
		c.p.violate("%s, node %d: COPY of UID %d (%s) was answered with [%s]", m.Box, c.conn.node, m.UID, m.Token, r.Code)
		try.Lost()
		c.forget(m)
		return nil
	}
	return c.settle(try, nil, m, uids...)
}

func (c *client) move(m *ledger.Copy) error {
	if err := c.at(m); err != nil {
		return err
	}
	to := c.other(m)
	try := c.p.ledger.Moving(m, to)
	r, err := c.conn.cmd(session, fmt.Sprintf("UID MOVE %d %s", m.UID, to.Name))
	if err != nil {
		return c.settle(try, err, m)
	}
	c.forget(m)
	for _, u := range append(r.Untagged, r.Response) { // RFC 6851 section 4.3: before the end
		if uids := placed(u.Code, "COPYUID", 1); uids != nil {
			return c.settle(try, nil, m, uids...)
		}
	}
	c.p.violate("%s, node %d: MOVE of UID %d (%s) was answered without COPYUID", m.Box, c.conn.node, m.UID, m.Token)
	try.Lost()
	return nil
}

// expunge removes a message: whether \Deleted is set makes no difference before it is gone.
func (c *client) expunge(m *ledger.Copy) error {
	if err := c.at(m); err != nil {
		return err
	}
	if _, err := c.conn.cmd(session, fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, m.UID)); err != nil {
		return err
	}
	try := c.p.ledger.Removing(m)
	_, err := c.conn.cmd(session, fmt.Sprintf("UID EXPUNGE %d", m.UID))
	if err == nil {
		c.forget(m)
	}
	return c.settle(try, err, m)
}

// body reads a message; what it is compared with was written down when it was made.
func (c *client) body(m *ledger.Copy) error {
	if err := c.at(m); err != nil {
		return err
	}
	r, err := c.conn.cmd(session|objects, fmt.Sprintf("UID FETCH %d (UID BODY.PEEK[])", m.UID))
	if err != nil {
		return err
	}
	for _, u := range r.Untagged {
		if u.Name != "FETCH" || len(u.Data) == 0 {
			continue
		}
		items, err := u.Data[0].Pairs()
		if v, ok := items["BODY[]"]; err == nil && ok {
			if token, _ := c.p.ledger.Token([]byte(v.Text)); token != m.Token {
				c.p.violate("%s, node %d: the body of UID %d is %q, and was to be %s", m.Box, c.conn.node, m.UID, token, m.Token)
			}
			return nil
		}
	}
	c.p.violate("%s, node %d: no body of UID %d (%s)", m.Box, c.conn.node, m.UID, m.Token)
	return nil
}

// search looks for the client's keyword in the open mailbox: nobody else sets it. Without the database a session goes on with what
// it knows, which may be older than what the client did last.
func (c *client) search() error {
	if c.conn.box.Name == "" {
		return c.conn.open(c.box())
	}
	from := time.Now()
	r, err := c.conn.cmd(session, "UID SEARCH KEYWORD "+c.keyword)
	if err != nil {
		return err
	}
	found := map[uint32]bool{}
	for _, u := range r.Untagged {
		if u.Name == "SEARCH" {
			for _, v := range u.Data {
				found[uint32(number(v))] = true
			}
		}
	}
	for _, m := range slices.Concat(c.own, c.common) {
		on, known := c.p.ledger.Has(m, c.keyword)
		if m.Box == c.conn.box && known && slices.Contains(c.conn.uids, m.UID) && found[m.UID] != on {
			c.conn.incident(session, from, "%s: SEARCH KEYWORD %s finds UID %d (%s): %t, and it is set: %t", m.Box, c.keyword, m.UID,
				m.Token, found[m.UID], on)
		}
	}
	return nil
}

// idle waits a while for news.
func (c *client) idle(ctx context.Context) error {
	if c.conn.box.Name == "" {
		return c.conn.open(c.box())
	}
	tag, err := c.conn.idle()
	if err != nil {
		return err
	}
	wait(ctx, below(c.rng, 2*time.Second))
	if err := c.conn.done(tag); err != nil {
		return err
	}
	return c.conn.refresh()
}
