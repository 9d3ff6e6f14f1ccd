package upstream

import (
	"errors"
	"io"

	"imapped/domain/fault"
	"imapped/imapwire/syntax"
	"imapped/ports/upstream"
)

// appending is APPEND of one message. Its octets are the sender's.
type appending struct {
	cmd    *upstream.Append
	trust  bool  // APPENDUID can be believed
	broken error // why the message could not be read to its end; under batch.mu
}

// appendAnswers checks what can be known before anything is sent.
func (c *Conn) appendAnswers(cmd *upstream.Append) []answer {
	cmd.UIDValidity, cmd.UID = 0, 0
	limit := c.server.AppendLimit
	switch {
	case cmd.Size < 0 || cmd.Open == nil:
		cmd.Err = fault.New(fault.Invalid, "APPEND", "no message")
	case limit > 0 && cmd.Size > limit:
		cmd.Err = fault.Newf(fault.Limit, "APPEND", "the message has %d octets, the server takes %d", cmd.Size, limit)
	default:
		return []answer{&appending{cmd: cmd, trust: !c.traits.noAppendUID}}
	}
	return nil
}

func (a *appending) verb() string { return "APPEND" }

// encode writes everything before the message's octets.
func (a *appending) encode(w *syntax.CommandWriter) {
	cmd := a.cmd
	w.Raw("APPEND ").Mailbox([]byte(cmd.Name)).SP()
	if !cmd.Flags.Empty() {
		w.Raw("(")
		w.Buf = cmd.Flags.Append(w.Buf)
		w.Raw(") ")
	}
	if !cmd.Date.IsZero() {
		w.Buf = syntax.AppendInternalDate(w.Buf, cmd.Date)
		w.SP()
	}
	w.LiteralHeader(cmd.Size, false)
}

func (a *appending) take(*syntax.Response, bool) bool { return false }

func (a *appending) finish(r *syntax.Response, err error) {
	if r == nil && a.broken != nil {
		err = a.broken
	}
	if a.cmd.Err = err; err != nil || r == nil || r.Malformed || !a.trust || r.Code.ID != syntax.CodeAppendUID {
		return
	}
	if d := r.Code.Dest; r.Code.Num > 0 && len(d) == 1 && d[0].First == d[0].Last {
		a.cmd.UIDValidity, a.cmd.UID = uint32(r.Code.Num), d[0].First
	}
}

// give notes why the message ends in its middle, before the connection is given up for it.
func (a *appending) give(o *op, err error) {
	o.batch.mu.Lock()
	defer o.batch.mu.Unlock()
	a.broken = err
}

// source is a message on its way to the wire.
type source struct {
	r     io.ReadCloser
	size  int64
	left  int64  // what is still to be read
	chunk []byte // what was read last
}

func (a *appending) open() (*source, error) {
	r, err := a.cmd.Open()
	if err != nil {
		return nil, fault.Wrap("APPEND: open the message", err)
	}
	return &source{r: r, size: a.cmd.Size, left: a.cmd.Size}, nil
}

func (s *source) close() { _ = s.r.Close() }

// fill reads the next chunk into buf. With the last one it makes sure that nothing comes behind it: a reader may find
// out at its end only that what it gave was wrong.
func (s *source) fill(buf []byte) error {
	n, err := io.ReadFull(s.r, buf[:min(s.left, int64(len(buf)))])
	s.left -= int64(n)
	s.chunk = buf[:n]
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Newf(fault.Corrupt, "APPEND", "the message ends after %d of %d octets", s.size-s.left, s.size)
	case err != nil:
		return fault.Wrap("APPEND: read the message", err)
	case s.left > 0:
		return nil
	}
	var more [1]byte
	switch _, err := io.ReadFull(s.r, more[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fault.Wrap("APPEND: read the message", err)
	}
	return fault.Newf(fault.Corrupt, "APPEND", "the message has more than %d octets", s.size)
}
