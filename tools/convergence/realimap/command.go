package realimap

import (
	"bufio"
	"bytes"
	"errors"
	"strconv"
	"strings"

	"imapped/tools/convergence/upstreamsim"
)

// maxLine bounds a line of either side.
const maxLine = 1 << 20

// sent is a command of ours, as far as its first literal.
type sent struct {
	tag  string
	verb string // in upper case; of UID commands "UID FETCH" and the like
	name string // the mailbox that it begins with, of those that do
	line []byte // with its CRLF
}

// parse takes apart the first line of a command.
func parse(line []byte) *sent {
	c := &sent{line: line}
	rest := strings.TrimRight(string(line), "\r\n")
	c.tag, rest, _ = strings.Cut(rest, " ")
	c.verb, rest, _ = strings.Cut(rest, " ")
	c.verb = strings.ToUpper(c.verb)
	if c.verb == "UID" {
		verb, _, _ := strings.Cut(rest, " ")
		c.verb = "UID " + strings.ToUpper(verb)
	}
	switch c.verb {
	case "SELECT", "EXAMINE", "STATUS", "DELETE", "APPEND":
		c.name = astring(rest)
	}
	return c
}

// astring returns the first argument, unless it is a literal.
func astring(s string) string {
	if !strings.HasPrefix(s, `"`) {
		name, _, _ := strings.Cut(s, " ")
		return name
	}
	var out []byte
	for i := 1; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

// String is the command's line, for the log.
func (c *sent) String() string {
	if c.verb == "LOGIN" || c.verb == "AUTHENTICATE" {
		return c.verb
	}
	return strings.TrimRight(string(c.line), "\r\n")
}

// class returns the command's class; none: it is one of connecting, or of waiting.
func (c *sent) class() (class upstreamsim.Class, none bool) {
	switch c.verb {
	case "APPEND":
		return upstreamsim.ClassAppend, false
	case "UID COPY", "UID MOVE":
		return upstreamsim.ClassCopy, false
	case "UID STORE":
		return upstreamsim.ClassStore, false
	case "EXPUNGE", "UID EXPUNGE":
		return upstreamsim.ClassExpunge, false
	case "UID SEARCH":
		if bytes.Contains(bytes.ToUpper(c.line), []byte(" DELETED")) {
			return upstreamsim.ClassExpunge, false
		}
		return upstreamsim.ClassRead, false
	case "CREATE", "DELETE", "RENAME":
		return upstreamsim.ClassBoxes, false
	case "SUBSCRIBE", "UNSUBSCRIBE":
		return upstreamsim.ClassWrite, false
	case "UID FETCH":
		return upstreamsim.ClassFetch, false
	case "LIST", "STATUS", "SELECT", "EXAMINE", "NOOP", "UNSELECT", "CLOSE":
		return upstreamsim.ClassRead, false
	}
	return 0, true
}

// errLong says that a line is too long.
var errLong = errors.New("a line is too long")

// readLine reads a line with its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		case len(line) > maxLine:
			return line, errLong
		}
	}
}

// literal returns the size of the literal that a line ends with; wait: its sender waits for "+".
func literal(line []byte) (size int64, wait, ok bool) {
	line = bytes.TrimRight(line, "\r\n")
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || !bytes.HasSuffix(line, []byte("}")) {
		return 0, false, false
	}
	digits := string(line[open+1 : len(line)-1])
	n, err := strconv.ParseInt(strings.TrimSuffix(digits, "+"), 10, 64)
	return n, !strings.HasSuffix(digits, "+"), err == nil && n >= 0
}
