package syntax

import (
	"bytes"
	"math"
)

// Inline keeps the literal of the last EventLiteral in the frame. It returns false, and decides nothing, when the
// literal is larger than the limits allow.
func (f *Framer) Inline() bool {
	size := f.Literal().Size
	if f.state != stDecide || size > uint64(max(f.lim.LiteralInline, 0)) || !f.nonSyncFits() ||
		uint64(f.end-f.base)+size > uint64(f.lim.Command) {
		return false
	}
	f.decide(LiteralInline, stInline)
	return true
}

// Stream gives the literal of the last EventLiteral out in chunks, or through a LiteralReader. It returns false, and
// decides nothing, when the literal is larger than the limits allow.
func (f *Framer) Stream() bool {
	if f.state != stDecide || f.Literal().Size > uint64(max(f.lim.LiteralStream, 0)) || !f.nonSyncFits() {
		return false
	}
	f.decide(LiteralStreamed, stStream)
	return true
}

// Skip drops the octets of the literal of the last EventLiteral and goes on with the frame. It is meant for responses:
// a client that waits for "+" would have to be asked for what is dropped.
func (f *Framer) Skip() {
	if f.state == stDecide {
		f.decide(LiteralSkipped, stSkip)
	}
}

// Refuse rejects the frame of the last EventLiteral. A synchronizing literal ends it: the client sees a tagged answer
// instead of "+" and sends no octet of it. Otherwise the literal is dropped, and what follows of the frame, with its
// further literals; EventReject comes when all of it is gone.
func (f *Framer) Refuse() {
	if f.state == stDecide {
		f.reject(ReasonRefused, f.end-f.base)
		f.base, f.state = f.end, stRefused
	}
}

func (f *Framer) nonSyncFits() bool {
	lit := f.Literal()
	return f.dir == Responses || !lit.NonSync || lit.Size <= uint64(max(f.lim.LiteralNonSync, 0))
}

func (f *Framer) decide(mode LiteralMode, st framerState) {
	lit := &f.frame.Lits[len(f.frame.Lits)-1]
	lit.Mode = mode
	f.left, f.state = lit.Size, st
}

// dropRest turns a streamed literal into one whose rest is skipped.
func (f *Framer) dropRest() {
	if f.state == stStream {
		f.dropChunk()
		f.state = stSkip
	}
}

func (f *Framer) next(raw bool) (Event, error) {
	if f.err != nil {
		return NeedData, f.err
	}
	f.Release()
	for {
		var ev Event
		var more bool
		switch f.state {
		case stLine:
			ev, more = f.nextLine(raw)
		case stDecide:
			return EventLiteral, nil
		case stRefused:
			ev = f.drainLiteral(f.Literal())
			more = f.state != stDone
		case stInline:
			if more = f.take(); more {
				f.startLine()
			}
		case stStream:
			return f.nextChunk(), nil
		case stSkip:
			f.chunk = f.available()
			f.left -= uint64(f.chunk)
			f.dropChunk()
			if more = f.left == 0; more {
				f.startLine()
			}
		case stDrainLit:
			n := int(min(uint64(len(f.buf)-f.base), f.left))
			f.base, f.left = f.base+n, f.left-uint64(n)
			if more = f.left == 0; more {
				f.state, f.scan, f.cut = stDrainLine, f.base, false
			}
		case stDrainLine:
			ev, more = f.drainLine()
		}
		if f.err != nil {
			return NeedData, f.err
		}
		if !more {
			return ev, nil
		}
	}
}

func (f *Framer) startLine() { f.state, f.line, f.scan = stLine, f.end, f.end }

// available returns how many octets of the literal in hand are in the buffer.
func (f *Framer) available() int { return int(min(uint64(len(f.buf)-f.end), f.left)) }

// take moves available octets of an inline literal into the frame; true when it is complete.
func (f *Framer) take() bool {
	n := f.available()
	f.end, f.left = f.end+n, f.left-uint64(n)
	return f.left == 0
}

func (f *Framer) nextChunk() Event {
	f.dropChunk()
	if f.left == 0 {
		f.startLine()
		return EventLiteralEnd
	}
	if f.chunk = f.available(); f.chunk == 0 {
		return NeedData
	}
	f.left -= uint64(f.chunk)
	return EventChunk
}

// dropChunk removes a chunk that was given out from the buffer. All but the last chunk of a literal reach to the end of
// the buffer, so that octets are moved at most once a literal.
func (f *Framer) dropChunk() {
	n := f.end + copy(f.buf[f.end:], f.buf[f.end+f.chunk:])
	mangle(f.buf[n:])
	f.buf, f.chunk = f.buf[:n], 0
}

// nextLine looks for the end of a line; more is true when the state changed and Next goes on.
func (f *Framer) nextLine(raw bool) (ev Event, more bool) {
	lf := bytes.IndexByte(f.buf[f.scan:], '\n')
	stop := len(f.buf)
	if lf >= 0 {
		lf += f.scan
		stop = lf
	}
	limit, reason := f.line+f.lim.Line, ReasonLine
	if f.base+f.lim.Command < limit {
		limit, reason = f.base+f.lim.Command, ReasonCommand
	}
	plain := raw || f.dir == Responses && f.line == f.base && isText(f.buf[f.base:stop])
	if stop > limit {
		f.reject(reason, limit-f.base)
		f.plain = plain
		f.base, f.scan, f.state, f.cut = f.line, f.line, stDrainLine, false
		return NeedData, true
	}
	if lf < 0 {
		f.scan = stop
		return NeedData, false
	}
	if !plain {
		lit, found := literalHeader(f.buf[f.line:lf], false)
		switch found {
		case headerBad:
			f.frameDone(lf)
			return f.badNumber(lit), false
		case headerGood:
			return f.literal(lit, lf)
		}
	}
	f.frameDone(lf)
	f.frame.Data = f.buf[f.base:f.end:f.end]
	return EventFrame, false
}

// frameDone ends the frame at the line feed at lf.
func (f *Framer) frameDone(lf int) {
	f.end = lf
	if lf > f.line && f.buf[lf-1] == '\r' {
		f.end--
	}
	f.tail, f.state = lf+1, stDone
}

// literal reports the literal whose header's line ends at lf.
func (f *Framer) literal(lit Literal, lf int) (ev Event, more bool) {
	lit.Head += uint32(f.line - f.base)
	lit.Off = uint32(lf + 1 - f.base)
	lit.NonSync = lit.NonSync || f.dir == Responses
	f.end, f.scan = lf+1, lf+1
	if len(f.frame.Lits) >= f.lim.Literals {
		f.reject(ReasonLiterals, f.end-f.base)
		f.base = f.end
		return f.drainLiteral(lit), f.state != stDone
	}
	f.frame.Lits = append(f.frame.Lits, lit)
	f.frame.Data = f.buf[f.base:f.end:f.end]
	f.state = stDecide
	return EventLiteral, false
}

// badNumber ends a frame with a literal of a size that is no number. Nothing follows a synchronizing one.
func (f *Framer) badNumber(lit Literal) Event {
	if lit.NonSync || f.dir == Responses {
		f.err = StreamError{ReasonLiteralNumber}
		return NeedData
	}
	f.reject(ReasonLiteralNumber, f.end-f.base)
	f.state = stDone
	return EventReject
}

// reject keeps the beginning of the frame, of which at least seen octets are in the buffer.
func (f *Framer) reject(r Reason, seen int) {
	f.reason = r
	f.kept = bytes.Clone(f.buf[f.base : f.base+min(seen, keepPrefix)])
	f.frame.Data = f.kept
}

// drainLiteral drops the literal at buf[base:], or ends the rejected frame when the literal will not come.
func (f *Framer) drainLiteral(lit Literal) Event {
	if !lit.NonSync {
		f.tail, f.state = f.base, stDone
		return EventReject
	}
	if f.drop(lit.Size) {
		f.left, f.state = lit.Size, stDrainLit
	}
	return NeedData
}

// drop counts octets of a rejected frame; false when they are too many.
func (f *Framer) drop(n uint64) bool {
	room := uint64(max(f.lim.Discard-f.dropped, 0))
	if n > room {
		f.err = StreamError{f.reason}
		return false
	}
	f.dropped += int64(n)
	return true
}

// drainLine drops a line of a rejected frame. Of the line, the last drainTail octets are looked at for a literal
// header, however the octets arrived.
func (f *Framer) drainLine() (ev Event, more bool) {
	lf := bytes.IndexByte(f.buf[f.scan:], '\n')
	seen := len(f.buf) - f.scan
	if lf >= 0 {
		seen = lf + 1
		lf += f.scan
	}
	if !f.drop(uint64(seen)) {
		return NeedData, false
	}
	if lf < 0 {
		f.scan = len(f.buf)
		if over := f.scan - f.base - drainTail; over > 0 {
			f.base, f.cut = f.base+over, true
		}
		return NeedData, false
	}
	line := f.buf[f.base:lf]
	if over := len(line) - drainTail; over > 0 {
		line, f.cut = line[over:], true
	}
	f.base, f.end, f.scan = lf+1, lf+1, lf+1
	var lit Literal
	var found headerFound
	if !f.plain {
		lit, found = literalHeader(line, f.cut)
	}
	lit.NonSync = lit.NonSync || f.dir == Responses
	if found == headerBad && lit.NonSync {
		f.err = StreamError{ReasonLiteralNumber}
		return NeedData, false
	}
	if found != headerGood {
		f.tail, f.state = f.base, stDone
		return EventReject, false
	}
	ev = f.drainLiteral(lit)
	return ev, f.state != stDone
}

type headerFound uint8

const (
	headerNone headerFound = iota
	headerGood
	headerBad // a header with a number that is too large
)

const maxLiteralDigits = 20

// literalHeader looks for "{n}" or "{n+}" at the end of a line without its LF. cut says that the line's beginning is
// missing: digits up to there are taken for a number that is too large. Only Head, NonSync, Binary and Size are set.
func literalHeader(line []byte, cut bool) (Literal, headerFound) {
	i := len(line)
	if i > 0 && line[i-1] == '\r' {
		i--
	}
	if i == 0 || line[i-1] != '}' {
		return Literal{}, headerNone
	}
	i--
	var lit Literal
	if i > 0 && line[i-1] == '+' {
		lit.NonSync = true
		i--
	}
	last := i
	for i > 0 && is(line[i-1], clsDigit) {
		i--
	}
	digits := line[i:last]
	switch {
	case len(digits) == 0:
		return Literal{}, headerNone
	case i == 0 && cut:
		return lit, headerBad
	case i == 0 || line[i-1] != '{':
		return Literal{}, headerNone
	case len(digits) > maxLiteralDigits:
		return lit, headerBad
	}
	i--
	if i > 0 && line[i-1] == '~' {
		lit.Binary = true
		i--
	}
	lit.Head = uint32(i)
	for _, c := range digits {
		d := uint64(c - '0')
		if lit.Size > (math.MaxInt64-d)/10 {
			return lit, headerBad
		}
		lit.Size = lit.Size*10 + d
	}
	return lit, headerGood
}

// isText says whether a response is one whose line ends in free text, which may look like a literal header.
func isText(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("* "))
	if !ok {
		return true // tagged, a continuation request, or no response at all
	}
	rest = bytes.TrimSuffix(rest[:min(len(rest), len("PREAUTH "))], []byte("\r"))
	word, _, _ := bytes.Cut(rest, []byte(" "))
	for _, name := range [...]string{"OK", "NO", "BAD", "BYE", "PREAUTH"} {
		if EqualFold(word, name) {
			return true
		}
	}
	return false
}
