package syntax

import (
	"bytes"
	"fmt"
)

// Direction says whose octets a framer cuts.
type Direction uint8

// The directions.
const (
	// Commands come from a client. Literals may be synchronizing: their octets come only when they are asked for.
	Commands Direction = iota
	// Responses come from a server. No literal waits for anything, and free text (status responses, continuation
	// requests, tagged responses) ends at its line end, whatever it ends with.
	Responses
)

// Event is what Framer.Next found.
type Event uint8

// The events.
const (
	// NeedData: read from the connection into Reserve, call Commit, then Next again.
	NeedData Event = iota
	// EventLiteral: the line ended in a literal header. Frame is the frame up to and with that line; the last of its
	// Lits is the literal. The caller decides with Inline, Stream, Skip or Refuse, and for a synchronizing literal that
	// it wants it sends "+" before it reads on. Without a decision Next reports the same literal again.
	EventLiteral
	// EventFrame: Frame is complete.
	EventFrame
	// EventChunk: Chunk is the next piece of a streamed literal.
	EventChunk
	// EventLiteralEnd: a streamed literal is complete; the frame goes on.
	EventLiteralEnd
	// EventReject: a frame ended that was refused, by the framer or by the caller: Reason says why. Frame holds its
	// first octets, enough for its tag. All of it has been taken from the stream.
	EventReject
)

// Reason says why a frame was rejected.
type Reason uint8

// The reasons.
const (
	ReasonNone          Reason = iota
	ReasonLine                 // longer than Limits.Line
	ReasonCommand              // longer than Limits.Command
	ReasonLiterals             // more literals than Limits.Literals
	ReasonLiteralNumber        // the size of a synchronizing literal is not a number below 2^63
	ReasonRefused              // the caller called Refuse
	reasonCount
)

var reasonText = [reasonCount]string{
	"none", "line too long", "command too long", "too many literals", "literal size out of range", "literal refused",
}

// String returns the reason as a text for people.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonText[r]
	}
	return "unknown"
}

// StreamError ends a connection: the framer cannot know any more where the next frame begins, or would have to read
// more than Limits.Discard to come there.
type StreamError struct {
	Reason Reason
}

// Error returns the reason as a text.
func (e StreamError) Error() string {
	return fmt.Sprintf("imap stream cannot be resumed: %v", e.Reason)
}

// Frame is a command or a response as one run of octets: its lines, with the line ends of the literal headers and
// without the last one, and the literals that are inline. Whoever reads it needs Lits to know which octets are literals.
type Frame struct {
	Data []byte
	Lits []Literal
}

// Literal is one literal of a frame. Octets that are not inline do not stand in Data: the frame goes on at Off.
type Literal struct {
	Head    uint32 // offset in Data of its "{", or of the "~" before it
	Off     uint32 // offset in Data of the octet after the header's line end
	Mode    LiteralMode
	NonSync bool   // nobody waits for "+": {n+}, and every literal of a response
	Binary  bool   // literal8: "~" stands before it
	Size    uint64 // below 2^63
}

// CopyFrom makes f a copy of src that outlives src's release. f's memory is used again.
func (f *Frame) CopyFrom(src *Frame) {
	f.Data = append(f.Data[:0], src.Data...)
	f.Lits = append(f.Lits[:0], src.Lits...)
}

// Tag returns the command's tag, or nil when the frame does not begin with one and a space or the end.
func (f *Frame) Tag() []byte {
	for i, c := range f.Data {
		if !is(c, clsTag) {
			if i == 0 || c != ' ' {
				return nil
			}
			return f.Data[:i:i]
		}
	}
	if len(f.Data) == 0 {
		return nil
	}
	return f.Data
}

// framerState is what the framer is in the middle of. buf[base:end] is the frame so far in all states before
// stDrainLine; in the two drain states buf[base:] is what was not dropped yet.
type framerState uint8

const (
	stLine      framerState = iota // looking for the line end from scan on; the line began at line
	stDecide                       // a literal was reported
	stInline                       // left octets of an inline literal are to come
	stStream                       // left octets of a streamed literal are to come
	stSkip                         // left octets of a skipped literal are to come
	stRefused                      // the caller refused the literal that was reported
	stDrainLine                    // dropping a line of a rejected frame
	stDrainLit                     // dropping left octets of a rejected frame's literal
	stDone                         // a frame or a reject was reported; the next one begins at tail
)

const (
	smallBuffer = 256 // octets that a framer holds without a buffer
	keepPrefix  = 128 // octets of a rejected frame that are kept for its tag
	drainTail   = 64  // octets of a dropped line that are kept to see its literal header
)

// Framer cuts a stream of octets into frames. It has no I/O: its owner reads into Reserve, says how much with Commit,
// and calls Next until that wants more. A line ends with CRLF or with a lone LF, in both directions; a lone CR is an
// octet of the line. A line whose last octets are "{n}" or "{n+}", with n of at most 20 digits, announces a literal
// wherever in the line that stands.
//
// A framer belongs to one goroutine. It must not be copied. Between frames, when nothing is buffered, it holds no
// memory beyond itself.
type Framer struct {
	dir     Direction
	lim     Limits
	pool    *BufferPool
	box     *[]byte // what buf was cut from, when it came from the pool
	buf     []byte
	base    int
	end     int
	line    int
	scan    int
	tail    int
	chunk   int // octets at buf[end:] that were given out
	left    uint64
	state   framerState
	reason  Reason
	cut     bool  // of the line being dropped, the beginning is gone
	plain   bool  // the line being dropped has no literal header, whatever it ends with
	dropped int64 // octets of a rejected frame that are gone
	kept    []byte
	frame   Frame
	err     error
	small   [smallBuffer]byte
}

// NewFramer returns a framer; pool may be nil.
func NewFramer(dir Direction, lim Limits, pool *BufferPool) *Framer {
	f := &Framer{dir: dir, lim: lim, pool: pool}
	f.buf = f.small[:0]
	return f
}

// SetLimits changes the limits, for the next frame and for what is still to come of the present one.
func (f *Framer) SetLimits(lim Limits) { f.lim = lim }

// Limits returns the limits.
func (f *Framer) Limits() Limits { return f.lim }

// Reserve returns room for octets from the connection, at least one. It releases a frame that was given out; after
// EventLiteral it may move the frame's octets, so that a Command that was probed is not valid any more.
func (f *Framer) Reserve() []byte {
	f.Release()
	if len(f.buf) == cap(f.buf) || (f.state == stStream && cap(f.buf)-len(f.buf) < smallBuffer) {
		f.makeRoom()
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

// Commit says that the first n octets of what Reserve returned are filled.
func (f *Framer) Commit(n int) { f.buf = f.buf[:len(f.buf)+n] }

// Next goes on with the stream. Errors are StreamErrors; they are final.
func (f *Framer) Next() (Event, error) { return f.next(false) }

// NextLine is Next for a line that is no command: what a client sends after a continuation request of AUTHENTICATE or
// IDLE. No literal is looked for in it. It may only be called where a frame begins.
func (f *Framer) NextLine() (Event, error) { return f.next(true) }

// Frame returns the frame of the last EventLiteral, EventFrame or EventReject. It is the framer's: valid until the
// next call of Release, Next, NextLine or Reserve.
func (f *Framer) Frame() *Frame { return &f.frame }

// Literal returns the literal of the last EventLiteral.
func (f *Framer) Literal() Literal {
	if len(f.frame.Lits) == 0 {
		return Literal{}
	}
	return f.frame.Lits[len(f.frame.Lits)-1]
}

// Reason returns why the frame of the last EventReject was rejected.
func (f *Framer) Reason() Reason { return f.reason }

// Chunk returns the octets of the last EventChunk, valid until the next call of Next or Reserve.
func (f *Framer) Chunk() []byte { return f.buf[f.end : f.end+f.chunk : f.end+f.chunk] }

// Remaining returns how many octets of the literal in hand were not given out yet.
func (f *Framer) Remaining() uint64 {
	if f.state == stDecide {
		return f.Literal().Size
	}
	return f.left
}

// InFrame says whether the stream stands inside a frame: its end now would cut one short.
func (f *Framer) InFrame() bool {
	return f.state != stDone && (f.state != stLine || len(f.buf) > f.base)
}

// Buffered returns how many octets after the present frame are in the buffer.
func (f *Framer) Buffered() int {
	if f.state == stDone {
		return len(f.buf) - f.tail
	}
	return len(f.buf) - f.base
}

// TakeBuffered removes the octets after the present frame from the stream and returns a copy of them: after COMPRESS
// they belong to the decompressor, after STARTTLS they are an injection and must not be used (RFC 9051 section 6.2.1).
// It may only be called where a frame ended or begins, and releases the frame.
func (f *Framer) TakeBuffered() []byte {
	f.Release()
	rest := bytes.Clone(f.buf[f.base:])
	f.buf = f.buf[:f.base]
	f.resetIfEmpty()
	return rest
}

// Release ends the life of a frame that Next gave out as EventFrame or EventReject; otherwise it does nothing. When
// nothing is buffered, the buffer goes back to the pool.
func (f *Framer) Release() {
	if f.state != stDone {
		return
	}
	mangle(f.buf[f.base:f.tail])
	mangle(f.kept)
	lits := f.frame.Lits[:0]
	if cap(lits) > arenaKeep {
		lits = nil
	}
	f.frame = Frame{Lits: lits}
	f.kept, f.reason, f.dropped, f.cut, f.plain = nil, ReasonNone, 0, false, false
	f.base, f.state = f.tail, stLine
	f.end, f.line, f.scan = f.base, f.base, f.base
	f.resetIfEmpty()
}

func (f *Framer) resetIfEmpty() {
	if f.base < len(f.buf) {
		return
	}
	f.giveBack()
	f.buf, f.base, f.end, f.line, f.scan, f.tail = f.small[:0], 0, 0, 0, 0, 0
}
