package server

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"imapped/domain/fault"
	"imapped/domain/message"
	"imapped/imapwire/fsm"
	"imapped/imapwire/syntax"
)

// answer is a command's tagged answer.
type answer struct {
	result fsm.Result
	code   string // the response code with its arguments, without brackets; may be empty
	text   string
	silent bool // no answer: the connection ends (conn.readErr, conn.end)
	// highest: with QRESYNC the mod-sequence is told up to which the client now knows everything (RFC 7162 section 3.2.7).
	highest bool
	// then runs on the main goroutine after the answer was sent: what changes how the connection itself works.
	then func() error
}

func ok(text string) answer           { return answer{text: text} }
func okCode(code, text string) answer { return answer{code: code, text: text} }

func no(code, text string) answer { return answer{result: fsm.NO, code: code, text: text} }

func bad(format string, args ...any) answer {
	return answer{result: fsm.BAD, text: fmt.Sprintf(format, args...)}
}

// badSyntax is the answer to a command that is not in the grammar. The error says where, and holds no octet of it.
func badSyntax(err error) answer {
	var e syntax.Error
	if errors.As(err, &e) && e.Limit {
		return answer{result: fsm.BAD, code: "TOOBIG", text: err.Error()}
	}
	return answer{result: fsm.BAD, text: err.Error()}
}

// codes maps the kinds of failure to the response codes of RFC 5530 (for Corrupt and the like too). The kinds that are
// not here stay without a code.
var codes = map[fault.Kind]string{
	fault.Internal: "SERVERBUG", fault.NotFound: "NONEXISTENT", fault.Exists: "ALREADYEXISTS", fault.Invalid: "CANNOT",
	fault.Denied: "AUTHENTICATIONFAILED", fault.Forbidden: "NOPERM", fault.Unavailable: "UNAVAILABLE",
	fault.Limit: "LIMIT", fault.Conflict: "INUSE", fault.Corrupt: "CORRUPTION", fault.Canceled: "UNAVAILABLE",
	fault.OverQuota: "OVERQUOTA",
}

// failure turns an error into an answer: the one place that does. An internal error's text stays in the log.
func (c *conn) failure(cmd fsm.Command, err error) answer {
	kind := fault.KindOf(err)
	switch {
	case errors.Is(err, message.ErrUnknownEncoding):
		return no("UNKNOWN-CTE", "The part's transfer encoding is not known")
	case kind == fault.Internal || kind == fault.Corrupt:
		c.log.Error("command failed", "command", cmd.String(), "err", err)
	case kind == fault.Canceled && c.ctx.Err() == nil:
		c.log.Warn("command timed out", "command", cmd.String(), "err", err)
	}
	switch kind {
	case fault.Internal:
		return no(codes[kind], "Internal error")
	case fault.Canceled:
		return no(codes[kind], "The command was cancelled")
	case fault.Uncertain:
		// Every tagged answer would say something that is not known. A lost connection is what clients take so.
		c.log.Warn("command with unknown outcome", "command", cmd.String(), "err", err)
		c.end("[UNAVAILABLE] Whether " + cmd.String() + " was carried out is unknown")
		return answer{result: fsm.NO, silent: true}
	}
	return no(codes[kind], err.Error())
}

// verdict returns the answer to a command that must not run now; nil when it may.
func (c *conn) verdict(cmd fsm.Command) *answer {
	var a answer
	switch v := fsm.Judge(c.state, cmd, c.env()); v {
	case fsm.Run:
		return nil
	case fsm.UnknownCommand:
		a = bad("Unknown command")
	case fsm.NeedTLS:
		a = no("PRIVACYREQUIRED", "Use TLS before logging in")
	case fsm.NotEnabled:
		a = bad("%s needs ENABLE %s", cmd, cmd.Row().Enable)
	default:
		a = bad("%s is not allowed in the %s state", cmd, c.state)
	}
	return &a
}

// param returns the answer to a command whose parameter must not be used; nil when it may.
func (c *conn) param(cmd fsm.Command, name string) *answer {
	var a answer
	switch fsm.JudgeParam(cmd, name, c.env()) {
	case fsm.Run:
		return nil
	case fsm.NotEnabled:
		a = bad("%s %s needs ENABLE first", cmd, name)
	default:
		a = bad("%s does not know %s", cmd, name)
	}
	return &a
}

// tagged appends the tagged answer. out is locked.
func (o *output) tagged(tag []byte, a *answer) {
	if len(tag) == 0 {
		o.text("*")
	} else {
		o.b = append(o.b, tag...)
	}
	o.b = append(o.b, ' ')
	o.text(a.result.String())
	o.b = append(o.b, ' ')
	if a.code != "" {
		o.b = append(o.b, '[')
		o.text(a.code)
		o.text("] ")
	}
	o.b = appendText(o.b, a.text)
	o.text("\r\n")
}

// maxText bounds a response's text.
const maxText = 400

// appendText appends s as the text of a response (RFC 9051 section 9, resp-text): never empty, without controls, on one
// line, and without octets beyond ASCII.
func appendText(dst []byte, s string) []byte {
	start := len(dst)
	for _, r := range s {
		if len(dst)-start >= maxText {
			break
		}
		switch {
		case r < 0x20 || r == 0x7f:
			r = ' '
		case r >= utf8.RuneSelf:
			r = '?'
		}
		dst = append(dst, byte(r))
	}
	if len(dst) == start || dst[start] == '[' {
		// A text that begins with a bracket would be read as a response code.
		dst = append(dst[:start], append([]byte("-"), dst[start:]...)...)
	}
	return dst
}
