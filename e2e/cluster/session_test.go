package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"imapped/e2e/imapc"
	"imapped/e2e/ledger"
)

// play is a run of a cluster with clients.
type play struct {
	rig    *rig
	health *health
	ledger *ledger.Ledger
	memory *ledger.Memory

	mu         sync.Mutex
	violations []string
	commands   int // that clients had answered
	lost       int // that had no answer
	arrivals   []arrival
	sent       map[string]time.Time // when a message was in Dovecot, by its token
}

// violate notes what must never be.
func (p *play) violate(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.violations = append(p.violations, time.Now().Format(clockForm)+" "+fmt.Sprintf(format, args...))
}

// check notes a violation where there is one.
func (p *play) check(complaint string) {
	if complaint != "" {
		p.violate("%s", complaint)
	}
}

// conn is a logged-in connection to a node, with what a client knows of the mailbox that it has open.
type conn struct {
	*imapc.Client
	p    *play
	who  string
	node int
	last time.Time // of the last answer

	box      ledger.Box
	validity uint32
	uids     []uint32          // by sequence number - 1; 0: not told yet
	seqs     map[uint32]uint64 // mod-sequences that were told, by UID
	flags    map[uint32][]string
	heard    int // messages that were announced since the mailbox was opened
}

var (
	errLost    = errors.New("the connection is lost")
	errRefused = errors.New("refused")
)

// connect logs in. What goes wrong is an incident.
func (p *play) connect(ctx context.Context, who string, node int, user string) (*conn, error) {
	from := time.Now()
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := p.rig.nodes[node].Login(wait, user)
	if err == nil {
		s := &conn{Client: c, p: p, who: who, node: node, last: time.Now()}
		if _, err = s.cmd(session, "ENABLE CONDSTORE"); err == nil {
			return s, nil
		}
		return nil, err
	}
	if ctx.Err() == nil {
		p.health.happened(incident{node, session, from, time.Now(), fmt.Sprintf("%s cannot log in: %v", who, err)})
	}
	return nil, errLost
}

// cmd sends a command and takes in what the server says. errRefused: it was answered with NO or BAD; errLost: it was not
// answered, or in a way that does not tell what came of it. Anything but OK is an incident.
func (s *conn) cmd(needs need, parts ...any) (*imapc.Reply, error) {
	from := time.Now()
	tag, err := s.Send(parts...)
	if err != nil {
		return nil, s.gone(needs, s.last, parts, err)
	}
	return s.answered(needs, from, tag, parts...)
}

// answered waits for the answer to a command.
func (s *conn) answered(needs need, from time.Time, tag string, parts ...any) (*imapc.Reply, error) {
	reply, err := s.Wait(tag)
	now := time.Now()
	took := now.Sub(from)
	for _, u := range reply.Untagged {
		s.take(u)
	}
	var status *imapc.StatusError
	if err != nil && (!errors.As(err, &status) || status.Name == "BYE") {
		return reply, s.gone(needs, s.last, parts, err)
	}
	s.last = now
	s.p.mu.Lock()
	s.p.commands++
	s.p.mu.Unlock()
	s.p.health.answered(s.node, needs, from, now)
	if took > patience {
		s.incident(needs, from, "%s took %s", text(parts), took)
	}
	if err == nil {
		return reply, nil
	}
	s.incident(needs, from, "%v", fmt.Sprintf("%s: %s [%s] %s", text(parts), status.Name, status.Code, status.Text))
	if strings.Contains(status.Text, "unknown") { // whether it was done
		return reply, errLost
	}
	return reply, fmt.Errorf("%w: %s", errRefused, status.Text)
}

// text is a command for people.
func text(parts []any) string {
	var b strings.Builder
	for _, p := range parts {
		if s, ok := p.(string); ok {
			b.WriteString(s)
		}
	}
	return fmt.Sprintf("%.120s", b.String())
}

func (s *conn) incident(needs need, from time.Time, format string, args ...any) {
	s.p.health.happened(incident{s.node, needs, from, time.Now(), s.who + ": " + fmt.Sprintf(format, args...)})
}

// gone ends the connection, on which something went wrong; at the end of a run that is that it was closed here.
func (s *conn) gone(needs need, from time.Time, parts []any, err error) error {
	if errors.Is(err, net.ErrClosed) {
		return errLost
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		needs &= session // whatever else is missing, a connection stays; else the answer was waited for in vain
	}
	s.incident(needs, from, "connection lost at %s: %v", text(parts), err)
	s.p.mu.Lock()
	s.p.lost++
	s.p.mu.Unlock()
	s.Close()
	return errLost
}

// take takes an untagged answer in.
func (s *conn) take(r imapc.Response) {
	switch r.Name {
	case "EXISTS":
		if int(r.Num) < len(s.uids) {
			s.p.violate("%s, node %d, %s: EXISTS %d while there were %d", s.who, s.node, s.box, r.Num, len(s.uids))
		}
		for len(s.uids) < int(r.Num) {
			s.uids = append(s.uids, 0)
			s.heard++
		}
	case "EXPUNGE":
		if r.Num == 0 || int(r.Num) > len(s.uids) {
			s.p.violate("%s, node %d, %s: EXPUNGE %d of %d", s.who, s.node, s.box, r.Num, len(s.uids))
			return
		}
		s.uids = slices.Delete(s.uids, int(r.Num)-1, int(r.Num))
	case "FETCH":
		s.fetched(r)
	case "OK":
		code, value, _ := strings.Cut(r.Code, " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err == nil && code == "UIDVALIDITY" {
			s.validity = uint32(n)
			s.p.check(s.p.memory.Validity(s.box, s.validity))
		}
	}
}

// fetched takes in what is said of a message.
func (s *conn) fetched(r imapc.Response) {
	if r.Num == 0 || int(r.Num) > len(s.uids) || len(r.Data) == 0 {
		s.p.violate("%s, node %d, %s: FETCH of %d, of %d", s.who, s.node, s.box, r.Num, len(s.uids))
		return
	}
	items, err := r.Data[0].Pairs()
	if err != nil {
		s.p.violate("%s, node %d: %v", s.who, s.node, err)
		return
	}
	known := &s.uids[r.Num-1]
	if v, ok := items["UID"]; ok {
		uid := uint32(number(v))
		if *known != 0 && *known != uid {
			s.p.violate("%s, node %d, %s: message %d was UID %d and is %d", s.who, s.node, s.box, r.Num, *known, uid)
		}
		*known = uid
	}
	if *known == 0 {
		return // whichever it is: it is read with its UID before it is used
	}
	if v, ok := items["MODSEQ"]; ok {
		seq := number(v.Item(0))
		if old := s.seqs[*known]; seq < old {
			s.p.violate("%s, node %d, %s: the mod-sequence of UID %d was %d and is %d", s.who, s.node, s.box, *known, old, seq)
		}
		s.seqs[*known] = seq
		s.p.memory.Heard(s.box, seq)
	}
	if v, ok := items["FLAGS"]; ok {
		s.flags[*known] = slices.DeleteFunc(v.Texts(), func(f string) bool { return strings.EqualFold(f, `\Recent`) })
	}
	var identity, token string
	if v, ok := items["EMAILID"]; ok {
		identity = v.Item(0).Text
	}
	if v, ok := items["BODY[]"]; ok {
		if token, ok = s.p.ledger.Token([]byte(v.Text)); !ok {
			s.p.violate("%s, node %d, %s: UID %d is a message that nobody wrote: %.200q", s.who, s.node, s.box, *known, v.Text)
		}
	}
	s.p.check(s.p.memory.Meaning(ledger.Place{Box: s.box, UID: *known}, s.validity, identity, token))
}

func number(n imapc.Node) uint64 {
	v, err := strconv.ParseUint(n.Text, 10, 64)
	if err != nil {
		return 0 // which is no UID and no mod-sequence
	}
	return v
}

// items are what is asked of every message: nothing of them needs its body.
const items = "(UID FLAGS MODSEQ EMAILID)"

// open selects a mailbox, reads all of it, and compares it with what was promised.
func (s *conn) open(b ledger.Box) error {
	floor, promise := s.p.memory.Floor(b), s.p.ledger.Promised(b)
	s.box, s.uids, s.seqs, s.flags, s.validity, s.heard = b, nil, map[uint32]uint64{}, map[uint32][]string{}, 0, 0
	r, err := s.cmd(session, "SELECT "+b.Name)
	if err != nil {
		s.box = ledger.Box{}
		return err
	}
	for _, u := range r.Untagged {
		if value, ok := strings.CutPrefix(u.Code, "HIGHESTMODSEQ "); ok {
			seq, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				s.p.violate("%s: [%s]", b, u.Code)
			}
			s.p.check(s.p.memory.Highest(b, floor, seq))
		}
	}
	if len(s.uids) > 0 {
		if _, err := s.cmd(session, "UID FETCH 1:* "+items); err != nil {
			s.box = ledger.Box{}
			return err
		}
	}
	for _, complaint := range promise.Broken(s.listing()) {
		s.p.violate("%s, node %d, after SELECT: %s", s.who, s.node, complaint)
	}
	return nil
}

// listing returns the messages of the open mailbox that the client knows.
func (s *conn) listing() []ledger.Seen {
	all := make([]ledger.Seen, 0, len(s.uids))
	for _, uid := range s.uids {
		if uid != 0 {
			all = append(all, ledger.Seen{UID: uid, Flags: s.flags[uid]})
		}
	}
	return all
}

// refresh reads what was announced and not read yet.
func (s *conn) refresh() error {
	at := slices.Index(s.uids, 0)
	if at < 0 {
		return nil
	}
	_, err := s.cmd(session, fmt.Sprintf("FETCH %d:* %s", at+1, items))
	return err
}

// idle enters IDLE, and returns the tag for done.
func (s *conn) idle() (string, error) {
	tag, err := s.Send("IDLE")
	for err == nil {
		var r imapc.Response
		if r, err = s.Read(); err == nil {
			if r.Tag == "+" {
				return tag, nil
			}
			if r.Tag != "*" || r.Name == "BYE" {
				err = fmt.Errorf("IDLE was answered with %s %s [%s] %s", r.Tag, r.Name, r.Code, r.Text)
				break
			}
			s.take(r)
		}
	}
	return "", s.gone(session, s.last, []any{"IDLE"}, err)
}

// done leaves IDLE.
func (s *conn) done(tag string) error {
	from := time.Now()
	if err := s.Write([]byte("DONE\r\n")); err != nil {
		return s.gone(session, s.last, []any{"DONE"}, err)
	}
	_, err := s.answered(session, from, tag, "DONE")
	return err
}
