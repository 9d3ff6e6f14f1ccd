package syntax

import (
	"errors"
	"fmt"
)

// RespReader reads a server's responses: a Framer with the decisions about literals made. Bodies of more than a few
// octets are streamed, and every other literal stands in the frame. A body that is too large to be streamed is dropped,
// which makes its response Malformed; whatever else is larger than the limits ends the connection as soon as it is seen
// to be, because nobody can know any more what was answered. It belongs to one goroutine.
type RespReader struct {
	framer  *Framer
	parser  RespParser
	inline  uint64
	dropped uint64 // octets of bodies of the present response; at most Limits.Discard
	err     error
}

// ExcessError ends a connection: the server sent more than the limits allow.
type ExcessError struct {
	Reason Reason // ReasonRefused: a literal is too large
	Size   uint64 // of that literal, as it was announced; octets
	Limit  uint64 // what was exceeded: octets, or literals of one response
}

// Error returns what was too much, in one line.
func (e *ExcessError) Error() string {
	switch e.Reason {
	case ReasonLine:
		return fmt.Sprintf("the server sent a line longer than %d octets", e.Limit)
	case ReasonCommand:
		return fmt.Sprintf("the server sent a response longer than %d octets", e.Limit)
	case ReasonLiterals:
		return fmt.Sprintf("the server sent a response with more than %d literals", e.Limit)
	case ReasonRefused:
		return fmt.Sprintf("the server announced a literal of %d octets where no more than %d are taken", e.Size, e.Limit)
	}
	return "the server announced a literal of a size that is not a number below 2^63"
}

// NewRespReader returns a reader; bodies of up to inline octets are not streamed. pool may be nil.
func NewRespReader(lim Limits, pool *BufferPool, inline int) *RespReader {
	return &RespReader{framer: NewFramer(Responses, lim, pool), inline: uint64(max(inline, 0))}
}

// Framer returns the framer: its owner fills it (Reserve, Commit), reads streamed bodies from it (LiteralReader), and
// may ask what it holds. Next is the reader's.
func (r *RespReader) Framer() *Framer { return r.framer }

// Next returns the next response, or nil when octets have to be read first. After a FETCH response with More the
// streamed section is read with Framer().LiteralReader; what is left of it is dropped by the next call, which returns
// the rest of the response. An error is an *ExcessError, and final. The response is valid until the next call of Next
// or Framer().Reserve.
func (r *RespReader) Next() (*Response, error) {
	for r.err == nil {
		ev, err := r.framer.Next()
		if err != nil || r.framer.Reason() != ReasonNone {
			r.err = r.refusal(err)
			break
		}
		switch ev {
		case NeedData:
			return nil, nil
		case EventChunk, EventLiteralEnd:
		case EventLiteral:
			var more bool
			if more, r.err = r.literal(); more {
				return r.parser.Parse(r.framer.Frame(), true), nil
			}
		case EventFrame:
			r.dropped = 0
			return r.parser.Parse(r.framer.Frame(), false), nil
		}
	}
	return nil, r.err
}

// refusal returns the error for a frame that the framer rejects, whether or not it has come to its end: before that, it
// would drop what is left.
func (r *RespReader) refusal(err error) error {
	lim, why := r.framer.Limits(), r.framer.Reason()
	var stream StreamError
	if why == ReasonNone && errors.As(err, &stream) {
		why = stream.Reason
	}
	switch why {
	case ReasonLine:
		return &ExcessError{Reason: why, Limit: uint64(max(lim.Line, 0))}
	case ReasonCommand:
		return &ExcessError{Reason: why, Limit: uint64(max(lim.Command, 0))}
	case ReasonLiterals:
		return &ExcessError{Reason: why, Limit: uint64(max(lim.Literals, 0))}
	}
	return &ExcessError{Reason: why}
}

// literal decides about a literal: more says that it is a body to be streamed.
func (r *RespReader) literal() (more bool, err error) {
	lim, size := r.framer.Limits(), r.framer.Literal().Size
	body, header := r.parser.IsBody(r.framer.Frame())
	limit := uint64(max(lim.LiteralInline, 0))
	if body {
		limit = max(limit, uint64(max(lim.LiteralStream, 0)))
	}
	switch room := uint64(max(lim.Discard, 0)); {
	case body && size > r.inline && r.framer.Stream():
		return true, nil
	case r.framer.Inline():
		return false, nil
	case body && !header && size <= room-min(r.dropped, room):
		r.dropped += size
		r.framer.Skip()
		return false, nil
	case size <= limit: // it would fit, but not with what stands before it
		return false, &ExcessError{Reason: ReasonCommand, Limit: uint64(max(lim.Command, 0))}
	}
	return false, &ExcessError{Reason: ReasonRefused, Size: size, Limit: limit}
}

// padding is how many blanks and NULs before a response do not count as its beginning: servers leave some behind.
const padding = 1 << 10

// InResponse says whether the stream stands inside a response, of which more than padding has come: a server that is
// silent now has stopped in the middle.
func (r *RespReader) InResponse() bool {
	f := r.framer
	if !f.InFrame() || f.state != stLine || len(f.buf)-f.base > padding {
		return f.InFrame()
	}
	return len(trim(f.buf[f.base:])) > 0
}
