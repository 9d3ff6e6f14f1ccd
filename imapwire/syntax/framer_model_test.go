package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The slow framer: it has the whole stream before it and writes down what a framer has to report.

type literalChoice uint8

const (
	chooseInline literalChoice = iota
	chooseStream
	chooseSkip
	chooseRefuse
	choices
)

// choose is the caller's decision in tests: it follows from the literal alone, so that every run decides alike.
func choose(lit Literal) literalChoice {
	c := literalChoice((lit.Size + uint64(lit.Head)) % uint64(choices))
	if c == chooseSkip && !lit.NonSync {
		return chooseInline
	}
	return c
}

var slowHeader = regexp.MustCompile(`(~?)\{([0-9]+)(\+?)\}$`)

// slowLiteral reads the literal header at the end of a line (without its line end), as invariant 4 describes it.
func slowLiteral(line string) (head int, binary, plus, found, bad bool, size uint64) {
	m := slowHeader.FindStringSubmatchIndex(line)
	if m == nil {
		return
	}
	head = m[0]
	binary, plus = m[3] > m[2], m[7] > m[6]
	digits := line[m[4]:m[5]]
	n, err := strconv.ParseUint(digits, 10, 64)
	return head, binary, plus, true, err != nil || n > 1<<63-1 || len(digits) > 20, n
}

type slowFramer struct {
	dir  Direction
	lim  Limits
	in   string
	pos  int
	log  []string
	dead bool
}

func (s *slowFramer) add(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// line returns the line at pos without its line end; ok is false when the stream ends before.
func (s *slowFramer) line() (text string, full int, ok bool) {
	i := strings.IndexByte(s.in[s.pos:], '\n')
	if i < 0 {
		return "", len(s.in) - s.pos, false
	}
	return strings.TrimSuffix(s.in[s.pos:s.pos+i], "\r"), i, true
}

func (s *slowFramer) run() []string {
	for !s.dead && s.frame() {
		continue
	}
	return s.log
}

// frame reads one frame; false at the end of the stream.
func (s *slowFramer) frame() bool {
	var data []byte
	var lits []Literal
	for first := true; ; first = false {
		limit, reason := s.lim.Line, ReasonLine
		if s.lim.Command-len(data) < limit {
			limit, reason = s.lim.Command-len(data), ReasonCommand
		}
		text, full, ok := s.line()
		if full > limit {
			data = append(data, s.in[s.pos:s.pos+limit]...)
			if s.dir == Responses && first && slowText(s.in[s.pos:s.pos+full]) {
				return s.drainText(reason, data)
			}
			return s.drainFrom(reason, data, 0)
		}
		if !ok {
			return false
		}
		head, binary, plus, found, bad, size := slowLiteral(text)
		if found && s.dir == Responses && first && slowText(text) {
			found = false
		}
		nonSync := plus || s.dir == Responses
		start := s.pos
		s.pos += full + 1
		if !found {
			data = append(data, text...)
			s.add("frame %q %v at %d", data, lits, s.pos)
			return true
		}
		if bad {
			if nonSync {
				return s.die(ReasonLiteralNumber)
			}
			s.reject(ReasonLiteralNumber, append(data, text...))
			return true
		}
		lit := Literal{Head: uint32(len(data) + head), NonSync: nonSync, Binary: binary, Size: size}
		data = append(data, s.in[start:s.pos]...)
		lit.Off = uint32(len(data))
		if len(lits) >= s.lim.Literals {
			return s.afterRefusal(ReasonLiterals, data, lit)
		}
		fits := s.dir == Responses || !nonSync || size <= uint64(s.lim.LiteralNonSync)
		switch choice := choose(lit); {
		case choice == chooseInline && fits && size <= uint64(s.lim.LiteralInline) &&
			uint64(len(data))+size <= uint64(s.lim.Command):
			s.add("inline %v", lit)
			if uint64(len(s.in)-s.pos) < size {
				return false
			}
			data = append(data, s.in[s.pos:s.pos+int(size)]...)
			lit.Mode = LiteralInline
		case choice == chooseStream && fits && size <= uint64(s.lim.LiteralStream):
			s.add("stream %v", lit)
			if uint64(len(s.in)-s.pos) < size {
				return false
			}
			s.add("streamed %q", s.in[s.pos:s.pos+int(size)])
			lit.Mode = LiteralStreamed
		case choice == chooseSkip:
			s.add("skip %v", lit)
			if uint64(len(s.in)-s.pos) < size {
				return false
			}
			lit.Mode = LiteralSkipped
		default:
			s.add("refuse %v", lit)
			return s.afterRefusal(ReasonRefused, data, lit)
		}
		lits = append(lits, lit)
		s.pos += int(size)
	}
}

func (s *slowFramer) afterRefusal(r Reason, data []byte, lit Literal) bool {
	if !lit.NonSync {
		s.reject(r, data)
		return true
	}
	if lit.Size > uint64(s.lim.Discard) {
		return s.die(r)
	}
	if uint64(len(s.in)-s.pos) < lit.Size {
		return false
	}
	s.pos += int(lit.Size)
	return s.drainFrom(r, data, int64(lit.Size))
}

// drainText drops one line that ends in free text.
func (s *slowFramer) drainText(r Reason, data []byte) bool {
	_, full, ok := s.line()
	if ok {
		full++
	}
	if int64(full) > s.lim.Discard {
		return s.die(r)
	}
	if s.pos += full; ok {
		s.reject(r, data)
	}
	return ok
}

// drainFrom drops lines and literals to the end of the frame.
func (s *slowFramer) drainFrom(r Reason, data []byte, dropped int64) bool {
	for {
		text, full, ok := s.line()
		if ok {
			full++
		}
		if dropped += int64(full); dropped > s.lim.Discard {
			return s.die(r)
		}
		if !ok {
			return false
		}
		raw := s.in[s.pos : s.pos+full-1]
		s.pos += full
		if len(raw) > drainTail { // only the end of a dropped line is looked at
			if digits := strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(text, "}"), "+"), "0123456789"); strings.HasSuffix(
				text, "}") && len(digits) <= len(raw)-drainTail && len(digits) < len(strings.TrimSuffix(strings.TrimSuffix(text, "}"), "+")) {
				if strings.HasSuffix(text, "+}") || s.dir == Responses {
					return s.die(ReasonLiteralNumber)
				}
				s.reject(r, data)
				return true
			}
		}
		_, _, plus, found, bad, size := slowLiteral(text)
		plus = plus || s.dir == Responses
		switch {
		case found && bad && plus:
			return s.die(ReasonLiteralNumber)
		case !found || bad || !plus:
			s.reject(r, data)
			return true
		}
		if size > uint64(s.lim.Discard-dropped) {
			return s.die(r)
		}
		if dropped += int64(size); uint64(len(s.in)-s.pos) < size {
			return false
		}
		s.pos += int(size)
	}
}

func (s *slowFramer) reject(r Reason, data []byte) {
	s.add("reject %v %q at %d", r, data[:min(len(data), keepPrefix)], s.pos)
}

func (s *slowFramer) die(r Reason) bool {
	s.add("error %v", r)
	s.dead = true
	return false
}

func slowText(line string) bool {
	return !regexp.MustCompile(`(?is)^\* `).MatchString(line) ||
		regexp.MustCompile(`(?is)^\* (OK|NO|BAD|BYE|PREAUTH)( |$)`).MatchString(line)
}

// runFramer feeds in to a framer in pieces and writes down what it reports, in the slow framer's words. next returns the
// length of the next piece, given how much is left.
func runFramer(dir Direction, lim Limits, in []byte, next func(left int) int) []string {
	f := NewFramer(dir, lim, nil)
	var log []string
	add := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	fed := 0
	var streamed []byte
	for {
		ev, err := f.Next()
		if err != nil {
			var se StreamError
			if !errors.As(err, &se) {
				add("%v is no StreamError", err)
			}
			add("error %v", se.Reason)
			return log
		}
		switch ev {
		case NeedData:
			if fed == len(in) {
				return log
			}
			n := copy(f.Reserve(), in[fed:fed+max(1, min(next(len(in)-fed), len(in)-fed))])
			f.Commit(n)
			fed += n
		case EventLiteral:
			lit := f.Literal()
			if again, _ := f.Next(); again != EventLiteral || !bytes.Equal(f.Frame().Data, f.Frame().Data[:lit.Off]) {
				add("literal not reported again")
			}
			switch choice := choose(lit); {
			case choice == chooseInline && f.Inline():
				add("inline %v", lit)
			case choice == chooseStream && f.Stream():
				add("stream %v", lit)
				streamed = streamed[:0]
			case choice == chooseSkip:
				f.Skip()
				add("skip %v", lit)
			default:
				f.Refuse()
				add("refuse %v", lit)
			}
		case EventChunk:
			streamed = append(streamed, f.Chunk()...)
		case EventLiteralEnd:
			add("streamed %q", streamed)
		case EventFrame:
			add("frame %q %v at %d", f.Frame().Data, f.Frame().Lits, fed-f.Buffered())
		case EventReject:
			add("reject %v %q at %d", f.Reason(), f.Frame().Data, fed-f.Buffered())
		}
	}
}
