package sqlite_test

import (
	"path/filepath"
	"testing"

	"imapped/adapters/sqlite"
	"imapped/ports/metadata/metadatatest"
)

// TestContract runs the port's suite.
func TestContract(t *testing.T) {
	metadatatest.Run(t, func(t *testing.T) metadatatest.Harness {
		path := filepath.Join(t.TempDir(), "meta.db")
		s := open(t, path)
		t.Cleanup(func() { must(t, s.Close()) })
		return metadatatest.Harness{
			Store: s,
			Reopen: func(t *testing.T) metadatatest.Store {
				must(t, s.Close())
				s = open(t, path)
				return s
			},
		}
	})
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Migrate: true})
	must(t, err)
	return s
}
