package recorder

import (
	"bytes"
	"strings"
)

// redacted stands for what is a secret.
const redacted = "***"

// conversation reads one connection along. Its fields are guarded by the recorder's lock.
type conversation struct {
	rec    *Recorder
	conn   int
	client framer
	server framer
	opaque bool // TLS or compression has begun: nothing more can be read

	tag      string   // of the command that is under way from the client, or "" between commands
	index    int      // of that command in rec.commands
	resets   int      // rec.resets when it was recorded
	secret   bool     // its arguments are not kept
	dialogue string   // the tag of an AUTHENTICATE or IDLE that is under way: lines are not commands
	fragment bool     // the server's line goes on after a literal
	switches []string // tags of STARTTLS and COMPRESS that wait for their OK
}

func newConversation(r *Recorder, conn int) *conversation {
	c := &conversation{rec: r, conn: conn}
	c.client.fragment = c.clientFragment
	c.server.fragment = c.serverFragment
	return c
}

func (c *conversation) fromClient(b []byte) {
	c.rec.mu.Lock()
	defer c.rec.mu.Unlock()
	c.rec.totals.Up += int64(len(b))
	if !c.opaque {
		c.client.feed(b)
	}
}

func (c *conversation) fromServer(b []byte) {
	c.rec.mu.Lock()
	defer c.rec.mu.Unlock()
	c.rec.totals.Down += int64(len(b))
	if !c.opaque {
		c.server.feed(b)
	}
}

// clientFragment takes a line, or the part of one up to a literal.
func (c *conversation) clientFragment(text []byte, literal int64, _ bool) {
	switch {
	case c.tag != "": // goes on after a literal
		c.extend(string(text), literal)
	case c.dialogue != "":
		if strings.EqualFold(string(text), "DONE") {
			c.dialogue = ""
		}
		return
	default:
		c.begin(string(text), literal)
	}
	if literal < 0 {
		c.tag = ""
	}
}

// begin records the command that a line starts.
func (c *conversation) begin(text string, literal int64) {
	tag, rest, _ := strings.Cut(text, " ")
	verb, args, _ := strings.Cut(rest, " ")
	verb = strings.ToUpper(verb)
	if verb == "UID" {
		var sub string
		sub, args, _ = strings.Cut(args, " ")
		verb += " " + strings.ToUpper(sub)
	}
	if tag == "" || verb == "" {
		return
	}
	c.tag, c.secret = tag, false
	cmd := Command{Conn: c.conn, Verb: verb, Args: args}
	switch verb {
	case "LOGIN":
		c.secret, cmd.Args = true, redacted
	case "AUTHENTICATE":
		c.secret, c.dialogue = true, tag
		mechanism, initial, has := strings.Cut(args, " ")
		cmd.Args = strings.ToUpper(mechanism)
		if has && initial != "" {
			cmd.Args += " " + redacted
		}
	case "IDLE":
		c.dialogue = tag
	case "STARTTLS", "COMPRESS":
		c.switches = append(c.switches, tag)
	}
	if literal >= 0 {
		cmd.Literals = append(cmd.Literals, literal)
	}
	c.rec.commands = append(c.rec.commands, cmd)
	c.index, c.resets = len(c.rec.commands)-1, c.rec.resets
}

// extend adds what followed a literal to the command under way.
func (c *conversation) extend(text string, literal int64) {
	if c.resets != c.rec.resets {
		return // Reset has removed the command meanwhile
	}
	cmd := &c.rec.commands[c.index]
	if !c.secret {
		cmd.Args += text
	}
	if literal >= 0 {
		cmd.Literals = append(cmd.Literals, literal)
	}
}

// serverFragment takes a line of the server, or the part of one up to a literal.
func (c *conversation) serverFragment(text []byte, literal int64, _ bool) {
	if literal >= 0 && wholeBody(text) {
		c.rec.totals.Bodies++
		c.rec.totals.BodyBytes += literal
	}
	first := !c.fragment
	c.fragment = literal >= 0
	if !first {
		return
	}
	tag, rest, _ := strings.Cut(string(text), " ")
	if tag == "*" || tag == "+" {
		return
	}
	status, _, _ := strings.Cut(rest, " ")
	if c.dialogue == tag {
		c.dialogue = ""
	}
	if c.tag == tag && c.client.left > 0 && len(c.client.line) == 0 {
		// The command was refused while its literal was awaited: the literal will not come.
		c.tag, c.client.left = "", 0
	}
	for i, s := range c.switches {
		if s != tag {
			continue
		}
		c.switches = append(c.switches[:i], c.switches[i+1:]...)
		if strings.EqualFold(status, "OK") {
			c.opaque = true
		}
		return
	}
}

// wholeBody says whether the literal that follows text in a FETCH answer is a whole message.
func wholeBody(text []byte) bool {
	open := bytes.LastIndexByte(text, '{')
	before := bytes.TrimRight(bytes.TrimSuffix(text[:open], []byte("~")), " ")
	if i := bytes.LastIndexAny(before, " ("); i >= 0 {
		before = before[i+1:]
	}
	item := strings.ToUpper(string(before))
	if name, _, partial := strings.Cut(item, "<"); partial {
		item = name
	}
	switch item {
	case "BODY[]", "RFC822", "BINARY[]":
		return true
	}
	return false
}
