package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"imapped/adapters/control"
	"imapped/app/move"
)

// bar shows how far a mirror is: one line redrawn on a terminal, a line every few seconds elsewhere. One goroutine
// uses it.
type bar struct {
	w      io.Writer
	tty    bool
	every  time.Duration
	last   time.Time
	length int
}

func newBar(f *os.File) *bar {
	b := &bar{w: f, tty: term.IsTerminal(int(f.Fd())), every: 5 * time.Second}
	if b.tty {
		b.every = 100 * time.Millisecond
	}
	return b
}

// show draws how far p is; final draws in any case and ends the line.
func (b *bar) show(now time.Time, p control.Progress, final bool) {
	line := fmt.Sprintf("%d of %d messages", p.Bodies, p.Messages)
	if p.Pending > 0 {
		line += ", " + bytesText(p.Pending) + " to go"
	}
	if p.Text != "" {
		line += " - " + p.Text
	}
	b.draw(now, p.Bodies, p.Messages, line, final)
}

// move is show for the phases of migrate-store.
func (b *bar) move(now time.Time, p move.Progress, final bool) {
	if final {
		p.Total = p.Done
	}
	p.Total = max(p.Total, p.Done) // which was a little more than expected
	line := fmt.Sprintf("%s: %d of %d rows", p.Phase, p.Done, p.Total)
	if p.Phase == move.Messages {
		line = fmt.Sprintf("%s: %d of %d, %s copied", p.Phase, p.Done, p.Total, bytesText(p.Bytes))
	}
	b.draw(now, uint64(p.Done), uint64(p.Total), line, final)
}

// draw draws how much of total is done, and a text.
func (b *bar) draw(now time.Time, done, total uint64, text string, final bool) {
	if !final && now.Sub(b.last) < b.every {
		return
	}
	b.last = now
	const width = 30
	share := 0
	if total > 0 {
		share = int(min(done, total) * width / total)
	} else if final {
		share = width
	}
	line := fmt.Sprintf("[%s%s] %s", strings.Repeat("=", share), strings.Repeat(" ", width-share), text)
	if !b.tty {
		fmt.Fprintln(b.w, line)
		return
	}
	fmt.Fprintf(b.w, "\r%s%s", line, strings.Repeat(" ", max(0, b.length-len(line))))
	b.length = len(line)
	if final {
		fmt.Fprintln(b.w)
		b.length = 0
	}
}
