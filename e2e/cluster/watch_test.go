package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"imapped/e2e/imapc"
	"imapped/e2e/ledger"
)

// arrival is when a session in IDLE heard of a message.
type arrival struct {
	account string
	node    int
	uid     uint32
	at      time.Time
}

// watch idles in the INBOX of an account on one node until ctx is done, and notes what arrives there.
func (p *play) watch(ctx context.Context, u user, node int) {
	who := fmt.Sprintf("watcher of %s", u.name)
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		s, err := p.connect(ctx, who, node, u.name)
		if err == nil {
			stop := context.AfterFunc(ctx, s.Close)
			s.Timeout = time.Hour // news comes when it comes
			if p.watching(ctx, s, ledger.Box{Account: u.name, Name: "INBOX"}) == nil {
				pause = firstPause
			}
			stop()
			s.Close()
		}
		wait(ctx, pause)
	}
}

func (p *play) watching(ctx context.Context, s *conn, inbox ledger.Box) error {
	if err := s.open(inbox); err != nil {
		return err
	}
	for {
		tag, err := s.idle()
		if err != nil {
			return err
		}
		var at time.Time
		for at.IsZero() {
			r, err := s.Read()
			if ctx.Err() != nil {
				return nil
			}
			if err == nil && (r.Tag != "*" || r.Name == "BYE") {
				err = fmt.Errorf("in IDLE: %s %s [%s] %s", r.Tag, r.Name, r.Code, r.Text)
			}
			if err != nil {
				return s.gone(session, s.last, []any{"IDLE"}, err)
			}
			s.last = time.Now()
			if s.take(r); r.Name == "EXISTS" {
				at = s.last
			}
		}
		if err := s.done(tag); err != nil {
			return err
		}
		first := slices.Index(s.uids, 0)
		if err := s.refresh(); err != nil {
			return err
		}
		if first >= 0 {
			p.arrived(inbox.Account, s.node, s.uids[min(first, len(s.uids)):], at)
		}
	}
}

func (p *play) arrived(account string, node int, uids []uint32, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, uid := range uids {
		p.arrivals = append(p.arrivals, arrival{account, node, uid, at})
	}
}

// straightKeyword is the keyword of who changes mail straight in Dovecot.
const straightKeyword = "$Straight"

// straight writes into the INBOX of an account straight in Dovecot, until ctx is done.
func (p *play) straight(ctx context.Context, rng *rand.Rand, u user) error {
	c, err := p.rig.dovecot.Login(ctx, u.name)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Cmd("SELECT INBOX"); err != nil {
		return err
	}
	inbox := ledger.Box{Account: u.name, Name: "INBOX"}
	type message struct {
		*ledger.Copy
		uid uint32 // there
	}
	var passing []message // those that are changed and removed again
	for n := 1; wait(ctx, 400*time.Millisecond+below(rng, 600*time.Millisecond)); n++ {
		token := fmt.Sprintf("straight-%s-%d", u.name, n)
		raw := mail(token, rng.IntN(2000))
		p.ledger.Write(token, raw)
		r, err := c.Cmd("APPEND INBOX ", raw)
		if err != nil {
			return err
		}
		at := time.Now()
		m := message{p.ledger.Delivered(token, inbox, straightKeyword), 0}
		if uids := placed(r.Code, "APPENDUID", 1); uids != nil {
			m.uid = uids[0]
		} else {
			return fmt.Errorf("Dovecot answered an APPEND with [%s]", r.Code)
		}
		if rng.IntN(3) > 0 {
			p.mu.Lock()
			p.sent[token] = at
			p.mu.Unlock()
		} else {
			passing = append(passing, m)
		}
		if len(passing) == 0 {
			continue
		}
		i := rng.IntN(len(passing))
		if m = passing[i]; rng.IntN(2) == 0 {
			if err := p.change(c, m.Copy, m.uid); err != nil {
				return err
			}
			continue
		}
		if err := remove(c, p.ledger.Removing(m.Copy), m.uid); err != nil {
			return err
		}
		passing = slices.Delete(passing, i, i+1)
	}
	return nil
}

// change sets the keyword of a message in Dovecot, or clears it.
func (p *play) change(c *imapc.Client, m *ledger.Copy, uid uint32) error {
	on, _ := p.ledger.Has(m, straightKeyword)
	sign := "+"
	if on {
		sign = "-"
	}
	try := p.ledger.Setting(m, straightKeyword, !on)
	if _, err := c.Cmd(fmt.Sprintf("UID STORE %d %sFLAGS.SILENT (%s)", uid, sign, straightKeyword)); err != nil {
		return err
	}
	try.Done()
	return nil
}

// remove removes a message in Dovecot.
func remove(c *imapc.Client, try *ledger.Try, uid uint32) error {
	for _, text := range []string{`UID STORE %d +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE %d"} {
		if _, err := c.Cmd(fmt.Sprintf(text, uid)); err != nil {
			return err
		}
	}
	try.Done()
	return nil
}

// listing reads a mailbox, with the bodies, over a connection to any server; messages that nobody wrote have a token that
// says so.
func (p *play) listing(c *imapc.Client, name string) ([]ledger.Seen, error) {
	if _, err := c.Cmd("EXAMINE " + name); err != nil {
		return nil, err
	}
	r, err := c.Cmd("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
	if err != nil {
		return nil, err
	}
	var all []ledger.Seen
	for _, u := range r.Untagged {
		if u.Name != "FETCH" || len(u.Data) == 0 {
			continue
		}
		items, err := u.Data[0].Pairs()
		if err != nil {
			return nil, err
		}
		body, ok := items["BODY[]"]
		if !ok {
			continue
		}
		seen := ledger.Seen{UID: uint32(number(items["UID"]))}
		for _, f := range items["FLAGS"].Texts() {
			if !strings.EqualFold(f, `\Recent`) {
				seen.Flags = append(seen.Flags, f)
			}
		}
		if seen.Token, ok = p.ledger.Token([]byte(body.Text)); !ok {
			seen.Token = fmt.Sprintf("a message that nobody wrote, of %d octets, %.100q", len(body.Text), body.Text)
		}
		all = append(all, seen)
	}
	return all, nil
}

// account reads all mailboxes of an account at a server.
func (p *play) account(c *imapc.Client) (map[string][]ledger.Seen, error) {
	all := map[string][]ledger.Seen{}
	for _, name := range names {
		listing, err := p.listing(c, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		all[name] = listing
	}
	return all, nil
}
