package seal_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"imapped/adapters/seal"
	"imapped/domain/fault"
	"imapped/ports/secrets"
	"imapped/ports/secrets/secretstest"
)

func open(t *testing.T, current string, old ...string) *seal.Sealer {
	t.Helper()
	s, err := seal.New(current, old...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// random returns a key as a key file holds it; which one n says.
func random(n byte) string {
	key := make([]byte, 32)
	for i := range key {
		key[i] = n + byte(i)*7
	}
	return base64.StdEncoding.EncodeToString(key)
}

func TestContract(t *testing.T) {
	for name, keys := range map[string][2]string{
		"random keys": {random(1), random(2)},
		"passphrases": {"correct horse battery staple", "Correct horse battery staple"},
	} {
		var h secretstest.Harness // made once: Argon2id is slow on purpose
		var once sync.Once
		t.Run(name, func(t *testing.T) {
			secretstest.Run(t, func(t *testing.T) secretstest.Harness {
				once.Do(func() {
					h = secretstest.Harness{
						Old:     secrets.Sealer(open(t, keys[0])),
						Rotated: open(t, keys[1], keys[0]), New: open(t, keys[1]),
					}
				})
				return h
			})
		})
	}
}

// TestKeyID: the id is the same wherever the key is the same, whatever its spelling, and is not the key.
func TestKeyID(t *testing.T) {
	a := open(t, random(1))
	if b := open(t, strings.TrimRight(random(1), "=")); a.KeyID() != b.KeyID() {
		t.Errorf("ids %q and %q of one key", a.KeyID(), b.KeyID())
	}
	if len(a.KeyID()) != 16 {
		t.Errorf("id %q", a.KeyID())
	}
}

func TestWeakKeys(t *testing.T) {
	for _, master := range []string{
		"", "secret", "fifteen letters", strings.Repeat("a", 100), strings.Repeat("ab", 50),
		strings.Repeat("00", 32), base64.StdEncoding.EncodeToString(make([]byte, 32)),
	} {
		_, err := seal.New(master)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want it refused", master, err)
		} else if master != "" && strings.Contains(err.Error(), master) {
			t.Errorf("the error shows the key: %v", err)
		}
		if _, err := seal.New(random(1), master); !fault.Is(err, fault.Invalid) {
			t.Errorf("old key %q: %v, want it refused", master, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var keys [8]string
	var all sync.WaitGroup
	for i := range keys { // processes that start together agree
		all.Go(func() {
			var err error
			if keys[i], err = seal.LoadOrCreateKeyFile(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if k == "" || k != keys[0] {
			t.Fatal("not everybody has the same key")
		}
	}
	open(t, keys[0])
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}

	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.LoadOrCreateKeyFile(path); !fault.Is(err, fault.Forbidden) ||
			!strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v, want it refused with what to do", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if again, err := seal.LoadOrCreateKeyFile(path); err != nil || again != keys[0] {
		t.Errorf("read again: same key %v, %v", again == keys[0], err)
	}
}

func TestKeyFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := seal.LoadOrCreateKeyFile(filepath.Join(dir, "missing", "key")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("missing folder: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadOrCreateKeyFile(filepath.Join(dir, "folder")); !fault.Is(err, fault.Invalid) {
		t.Errorf("a folder: %v", err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadOrCreateKeyFile(empty); !fault.Is(err, fault.Corrupt) {
		t.Errorf("an empty file: %v", err)
	}
}
