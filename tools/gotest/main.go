// Command gotest runs "go test" and prints what plain "go test" prints, and at the end, over several runs, what plain
// "go test" hides: why tests were skipped, and the figures that tests reported.
//
//	gotest -summary FILE ARGUMENT...   runs "go test -json ARGUMENT...", and adds its skips and figures to FILE
//	gotest -report FILE                prints what was added to FILE, and removes it
//
// Invariants:
//  1. The exit status is that of "go test".
//  2. Nothing is held back but the output of tests that passed or were skipped.
//
// A figure is a line of a test's log that contains "figure:".
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	summary := flag.String("summary", "", "file that gets the skips and figures of this run")
	report := flag.String("report", "", "file to print and remove")
	flag.Parse()
	if *report != "" {
		if err := printReport(os.Stdout, *report); err != nil {
			fmt.Fprintln(os.Stderr, "gotest:", err)
			os.Exit(1)
		}
		return
	}
	code, err := run(flag.Args(), *summary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	os.Exit(code)
}

// run runs "go test -json" with the arguments and returns its exit status.
func run(args []string, summary string) (int, error) {
	cmd := exec.CommandContext(context.Background(), "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	notes, copyErr := digest(pipe, os.Stdout)
	err = cmd.Wait()
	if summary != "" && len(notes) > 0 {
		if err := appendLines(summary, notes); err != nil {
			return 1, err
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), copyErr
	}
	if err = errors.Join(err, copyErr); err != nil {
		return 1, err
	}
	return 0, nil
}

// event is one line of "go test -json" (see "go doc test2json").
type event struct {
	Action, Package, Test, Output, ImportPath string
}

var (
	logLine = regexp.MustCompile(`^\s+\S+\.go:\d+: `)
	noise   = regexp.MustCompile(`^\s*(=== |--- SKIP)`)
)

// digest copies the readable output to w and returns the notes: "skipped: ..." and "figure: ..." lines.
func digest(r io.Reader, w io.Writer) ([]string, error) {
	type key struct{ pkg, test string }
	held := map[key][]string{}
	var notes []string
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(w, "%s", line)
			}
			k := key{e.Package, e.Test}
			switch {
			case e.Action == "build-output":
				fmt.Fprint(w, e.Output)
			case e.Action == "output" && e.Test == "":
				if e.Output != "PASS\n" {
					fmt.Fprint(w, e.Output)
				}
			case e.Action == "output":
				held[k] = append(held[k], e.Output)
				if _, figure, ok := strings.Cut(e.Output, "figure:"); ok {
					notes = append(notes, "figure:  "+e.Test+": "+strings.TrimSpace(figure))
				}
			case e.Action == "fail" && e.Test != "":
				fmt.Fprint(w, strings.Join(held[k], ""))
				delete(held, k)
			case e.Action == "skip" && e.Test != "":
				notes = append(notes, "skipped: "+e.Package+" "+e.Test+": "+reason(held[k]))
				delete(held, k)
			case e.Action == "pass":
				delete(held, k)
			}
		}
		if err != nil {
			// What remains belongs to tests that never ended: a panic or a time limit.
			left := make([]string, 0, len(held))
			for _, lines := range held {
				left = append(left, strings.Join(lines, ""))
			}
			slices.Sort(left)
			fmt.Fprint(w, strings.Join(left, ""))
			if err == io.EOF {
				err = nil
			}
			return notes, err
		}
	}
}

// reason is the text of a skipped test's log.
func reason(lines []string) string {
	var said []string
	for _, l := range lines {
		if noise.MatchString(l) {
			continue
		}
		if s := strings.TrimSpace(logLine.ReplaceAllString(l, "")); s != "" {
			said = append(said, s)
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

func appendLines(name string, lines []string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

func printReport(w io.Writer, name string) error {
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(w, "no test was skipped")
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(lines)
	lines = slices.Compact(lines)
	skipped := 0
	for _, l := range lines {
		fmt.Fprintln(w, l)
		if strings.HasPrefix(l, "skipped:") {
			skipped++
		}
	}
	fmt.Fprintf(w, "%d tests were skipped\n", skipped)
	return os.Remove(name)
}
