// Command fsmgen makes the session's state machine from imapwire/fsm/session.table.
//
// Invariants:
//  1. The output depends on the table alone: no time, no map order, no environment.
//  2. Generated files are checked in; TestGenerated fails when they do not fit the table.
//
// It is run by "go generate ./imapwire/fsm", in the folder of the table; -root names the repository's root from there.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// tablePath is where the table stands in the repository.
const tablePath = "imapwire/fsm/session.table"

func main() {
	root := flag.String("root", ".", "the repository's root")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "fsmgen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(func(yield func(string) bool) {
		for p := range files {
			if !yield(p) {
				return
			}
		}
	}) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, files[path], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the content of every generated file by its path from the root.
func generate(root string) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, tablePath))
	if err != nil {
		return nil, err
	}
	t, err := parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tablePath, err)
	}
	code, err := goCode(t)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"imapwire/fsm/table_gen.go":             code,
		"imapwire/fsm/testdata/verdicts.golden": golden(t),
		"docs/protocol.md":                      docs(t),
	}, nil
}
