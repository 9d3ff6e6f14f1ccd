package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"imapped/adapters/control"
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
	if !final && now.Sub(b.last) < b.every {
		return
	}
	b.last = now
	const width = 30
	share := 0
	if p.Messages > 0 {
		share = int(min(p.Bodies, p.Messages) * width / p.Messages)
	} else if final {
		share = width
	}
	line := fmt.Sprintf("[%s%s] %d of %d messages", strings.Repeat("=", share), strings.Repeat(" ", width-share), p.Bodies, p.Messages)
	if p.Pending > 0 {
		line += ", " + bytesText(p.Pending) + " to go"
	}
	if p.Text != "" {
		line += " - " + p.Text
	}
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
