package blobfs

import (
	"os"
	"path/filepath"
)

// lockedDir makes a folder of its own for this process and locks it. Between the two, another process's cleanUp may
// have taken it for an abandoned one: then another is made.
func lockedDir(parent string) (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			return "", nil, err
		}
		d, err := os.Open(dir)
		if err != nil {
			if os.IsNotExist(err) {
				continue
			}
			return "", nil, err
		}
		if err := lock(d, exclusive); err != nil {
			_ = d.Close()
			return "", nil, err
		}
		if _, err := os.Stat(dir); err == nil {
			return dir, d, nil
		}
		_ = d.Close()
	}
}

// cleanUp removes the folders of processes that are gone. What it cannot remove is left to the next time.
func cleanUp(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		d, err := os.Open(dir)
		if err != nil {
			continue
		}
		if lock(d, exclusive|atOnce) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = d.Close()
	}
}
