package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const stream = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: noise of a test that passes\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:10: figure: 3 ms\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no engine answers\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:3: got 1, want 2\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- FAIL: TestC (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.01s\n"}
{"Action":"fail","Package":"p","Elapsed":0.01}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: syntax error\n"}
{"Action":"output","Package":"r","Test":"TestHung","Output":"=== RUN   TestHung\n"}
`

func TestDigest(t *testing.T) {
	var out strings.Builder
	notes, err := digest(strings.NewReader(stream), &out)
	if err != nil {
		t.Fatal(err)
	}
	want := "    c_test.go:3: got 1, want 2\n--- FAIL: TestC (0.00s)\nFAIL\nFAIL\tp\t0.01s\nq.go:1: syntax error\n" +
		"=== RUN   TestHung\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if want := []string{"figure:  TestA: 3 ms", "skipped: p TestB: no engine answers"}; !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

func TestReport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notes")
	if err := appendLines(name, []string{"skipped: b", "figure:  a"}); err != nil {
		t.Fatal(err)
	}
	if err := appendLines(name, []string{"skipped: b"}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := printReport(&out, name); err != nil {
		t.Fatal(err)
	}
	if want := "figure:  a\nskipped: b\n1 tests were skipped\n"; out.String() != want {
		t.Errorf("report %q, want %q", out.String(), want)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the notes are still there: %v", err)
	}
	out.Reset()
	if err := printReport(&out, name); err != nil || out.String() != "no test was skipped\n" {
		t.Errorf("report without notes: %q, %v", out.String(), err)
	}
}
