package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// still is an upstream where nothing happens: everybody may log in, and has the same empty mailboxes. It takes as much IMAP as
// imapped speaks to a server with these capabilities, a line at a time.
type still struct {
	net.Listener
	open  atomic.Int64
	boxes []string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

const stillCaps = "IMAP4rev1 ENABLE IDLE NAMESPACE UIDPLUS UNSELECT CONDSTORE LIST-EXTENDED LIST-STATUS"

func listenStill(boxes int) (*still, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is at once
	if err != nil {
		return nil, err
	}
	s := &still{Listener: l, boxes: []string{"INBOX"}, conns: map[net.Conn]struct{}{}}
	for len(s.boxes) < boxes {
		s.boxes = append(s.boxes, fmt.Sprintf("Box%d", len(s.boxes)))
	}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *still) port() uint16 { return uint16(s.Addr().(*net.TCPAddr).Port) } //nolint:gosec // a port

func (s *still) close() error {
	err := s.Close()
	s.mu.Lock()
	for c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *still) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.open.Add(1)
		s.wg.Go(func() {
			s.serve(c)
			s.open.Add(-1)
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, mine := s.conns[c]; mine {
				delete(s.conns, c)
				_ = c.Close() // nobody listens any more
			}
		})
	}
}

func (s *still) serve(c net.Conn) {
	r := bufio.NewReaderSize(c, 1024)
	if _, err := c.Write([]byte("* OK [CAPABILITY " + stillCaps + "] still\r\n")); err != nil {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb, args, _ := strings.Cut(rest, " ")
		if _, err := c.Write([]byte(s.answer(tag, strings.ToUpper(verb), args))); err != nil || verb == "LOGOUT" {
			return
		}
		if strings.EqualFold(verb, "IDLE") {
			if _, err := r.ReadString('\n'); err != nil { // DONE
				return
			}
			if _, err := c.Write([]byte(tag + " OK\r\n")); err != nil {
				return
			}
		}
	}
}

func (s *still) answer(tag, verb, args string) string {
	var b strings.Builder
	const status = "(MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7 UNSEEN 0 HIGHESTMODSEQ 1)"
	switch verb {
	case "IDLE":
		return "+ idling\r\n"
	case "CAPABILITY":
		b.WriteString("* CAPABILITY " + stillCaps + "\r\n")
	case "NAMESPACE":
		b.WriteString("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n")
	case "LIST":
		for _, name := range s.boxes {
			fmt.Fprintf(&b, "* LIST () \"/\" %s\r\n", name)
			if strings.Contains(args, "STATUS") {
				fmt.Fprintf(&b, "* STATUS %s %s\r\n", name, status)
			}
		}
	case "LSUB":
		for _, name := range s.boxes {
			fmt.Fprintf(&b, "* LSUB () \"/\" %s\r\n", name)
		}
	case "STATUS":
		name, _, _ := strings.Cut(args, " ")
		fmt.Fprintf(&b, "* STATUS %s %s\r\n", name, status)
	case "SELECT", "EXAMINE":
		b.WriteString("* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)\r\n* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft \\*)] flags\r\n" +
			"* 0 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 1] next\r\n* OK [HIGHESTMODSEQ 1] modseq\r\n")
	case "LOGIN", "ENABLE", "ID", "NOOP", "UID", "UNSELECT", "CLOSE", "LOGOUT", "CHECK":
	default:
		return tag + " BAD what is " + verb + "\r\n"
	}
	return b.String() + tag + " OK done\r\n"
}
