package ops_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"imapped/adapters/ops"
)

func auditLines(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		lines[line] = true
	}
	return lines
}

// TestAuditFile: many write to one path, each as a process of its own would; a full file is put aside once, and nothing is lost
// or torn but what was in the older one that it replaces.
func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	const each, line = 100, 20
	write := func(writer, n int) {
		f := &ops.AuditFile{Path: path, Max: 8 * each * line * 2 / 3, Log: quiet}
		if _, err := fmt.Fprintf(f, "%*d %9d\n", line-11, writer, n); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	for writer := range 8 {
		all.Go(func() {
			for n := range each {
				write(writer, n)
			}
		})
	}
	all.Wait()
	now, older := auditLines(t, path), auditLines(t, path+".1")
	if len(now) == 0 || len(older) == 0 || len(now)+len(older) != 8*each {
		t.Errorf("%d lines in the file and %d in the older one, want %d", len(now), len(older), 8*each)
	}
	for n := range 2 * 8 * each {
		write(9, n)
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() > 8*each*line || info.Mode().Perm() != 0o600 {
		t.Errorf("the older file: %v, %v", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestAuditFileFails: what cannot be kept is told.
func TestAuditFileFails(t *testing.T) {
	var said strings.Builder
	f := &ops.AuditFile{Path: filepath.Join(t.TempDir(), "no", "audit.log"), Max: 1000, Log: slog.New(slog.NewTextHandler(&said, nil))}
	if _, err := f.Write([]byte("x\n")); err == nil || !strings.Contains(said.String(), "could not be kept") {
		t.Errorf("%v, said %q", err, said.String())
	}
}
