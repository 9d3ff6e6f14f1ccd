package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the table into docs/configuration.md; look at the difference afterwards")

// The lines of docs/configuration.md between which the table stands.
const begin, end = "<!-- The table is made from settings.go: go test ./cmd/imapped/config -rewrite -->\n", "<!-- end of the table -->\n"

// TestDocumentation: the table in docs/configuration.md is the one that the settings make.
func TestDocumentation(t *testing.T) {
	const path = "../../../docs/configuration.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	table := documentation()
	if old == table {
		return
	}
	if !*rewrite {
		t.Fatalf("the table in docs/configuration.md is not the one of settings.go: run go test ./cmd/imapped/config -rewrite")
	}
	if err := os.WriteFile(path, []byte(head+begin+table+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

func documentation() string {
	var b strings.Builder
	b.WriteString("\n| setting | in the file | default | unit | what it does | a change takes effect |\n|---|---|---|---|---|---|\n")
	for _, s := range settings() {
		name := "`" + s.key + "`"
		if s.alias != "" {
			name += ", `" + s.alias + "`"
		}
		if s.secret {
			name += " (secret)"
		}
		file, def, note := "-", "-", s.note
		if !s.nofile {
			file = "`" + s.fileKey() + "`"
		}
		if s.def != "" {
			def = "`" + s.def + "`"
		}
		if note == "" {
			note = "at the next start"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, file, def, s.unit, s.help, note)
	}
	return b.String() + "\n"
}
