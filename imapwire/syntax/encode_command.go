package syntax

import "strconv"

// CommandWriter writes commands as a client. Strings become atoms, quoted strings or literals, whichever their octets
// allow. After a synchronizing literal header the client has to wait for "+" before it sends on: Splits says where.
//
// A writer is reused: Reset, write, send Buf in the pieces that Splits makes of it, wait between them.
type CommandWriter struct {
	Buf    []byte
	Splits []int // offsets into Buf: what stands before each is sent, then "+" awaited

	LiteralPlus  bool // the server has LITERAL+: no literal needs to wait
	LiteralMinus bool // the server has LITERAL-: literals of up to 4096 octets need not wait
	UTF8         bool // UTF8=ACCEPT is enabled: strings may be UTF-8
}

// Reset forgets what was written and keeps the options.
func (w *CommandWriter) Reset() { w.Buf, w.Splits = w.Buf[:0], w.Splits[:0] }

// Begin writes a tag, a space and a command's name.
func (w *CommandWriter) Begin(tag, name string) *CommandWriter { return w.Raw(tag).SP().Raw(name) }

// Raw writes s as it is.
func (w *CommandWriter) Raw(s string) *CommandWriter {
	w.Buf = append(w.Buf, s...)
	return w
}

// SP writes a space.
func (w *CommandWriter) SP() *CommandWriter {
	w.Buf = append(w.Buf, ' ')
	return w
}

// Number writes a number.
func (w *CommandWriter) Number(n uint64) *CommandWriter {
	w.Buf = strconv.AppendUint(w.Buf, n, 10)
	return w
}

// Set writes a sequence set.
func (w *CommandWriter) Set(s NumSet) *CommandWriter {
	w.Buf = AppendSet(w.Buf, s)
	return w
}

// AString writes s as an atom, a quoted string or a literal.
func (w *CommandWriter) AString(s []byte) *CommandWriter {
	if IsAtom(s) {
		w.Buf = append(w.Buf, s...)
		return w
	}
	return w.String(s)
}

// String writes s as a quoted string or a literal.
func (w *CommandWriter) String(s []byte) *CommandWriter {
	if CanQuote(s, w.UTF8) {
		w.Buf = AppendQuoted(w.Buf, s)
		return w
	}
	return w.Literal(s)
}

// NString writes NIL for a nil slice, else as String does.
func (w *CommandWriter) NString(s []byte) *CommandWriter {
	if s == nil {
		return w.Raw("NIL")
	}
	return w.String(s)
}

// Mailbox writes a mailbox name whose octets are already as the server wants them: UTF-8 with UTF8, else modified
// UTF-7 (EncodeName makes them).
func (w *CommandWriter) Mailbox(raw []byte) *CommandWriter { return w.AString(raw) }

// Literal writes s as a literal.
func (w *CommandWriter) Literal(s []byte) *CommandWriter {
	w.LiteralHeader(int64(len(s)), false)
	w.Buf = append(w.Buf, s...)
	return w
}

// LiteralHeader writes the header of a literal of n octets, and a split when it has to wait; with binary, of a literal8.
// The caller sends the octets themselves, or writes them with Raw.
func (w *CommandWriter) LiteralHeader(n int64, binary bool) *CommandWriter {
	if binary {
		w.Buf = append(w.Buf, '~')
	}
	w.Buf = append(w.Buf, '{')
	w.Buf = strconv.AppendInt(w.Buf, n, 10)
	if w.LiteralPlus || w.LiteralMinus && n <= 4096 {
		w.Buf = append(w.Buf, "+}\r\n"...)
		return w
	}
	w.Buf = append(w.Buf, "}\r\n"...)
	w.Splits = append(w.Splits, len(w.Buf))
	return w
}

// Flags writes flags in parentheses.
func (w *CommandWriter) Flags(flags []Flag) *CommandWriter {
	w.Buf = AppendFlags(w.Buf, flags)
	return w
}

// End writes the line end.
func (w *CommandWriter) End() *CommandWriter {
	w.Buf = append(w.Buf, '\r', '\n')
	return w
}
