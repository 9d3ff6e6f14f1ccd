package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestGenerated(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what %s says; run: go generate ./imapwire/fsm", path, tablePath)
		}
	}
}

func TestParseRejects(t *testing.T) {
	const head = "[commands]\nname  states  tls  capability  enable  writes  uses-seqs  breaks-seqs  breaks-mailbox  " +
		"barrier  expunge  literals  answers  ok  no  bad  rfc\n"
	const noop = "NOOP  NAS  .  -  -  .  .  y  .  .  y  none  none  =  =  =  RFC 9051\n"
	for _, c := range []struct{ name, text, want string }{
		{"row outside a section", noop, "before the first section"},
		{"unknown section", "[x]\n", "unknown section"},
		{"wrong columns", "[absent]\ncommand  with\n", "columns of"},
		{"missing cell", head + "NOOP  NAS\n", "2 cells"},
		{"bad yes", head + strings.Replace(noop, ".", "n", 1), "want y or a dot"},
		{"bad state", head + strings.Replace(noop, "NAS", "NAX", 1), "states are letters"},
		{"bad literal policy", head + strings.Replace(noop, "none", "some", 1), "none of"},
		{"twice", head + noop + noop, "stands twice"},
		{"capability without a row", head + strings.Replace(noop, "-", "IDLE", 1), "does not have"},
	} {
		if _, err := parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
