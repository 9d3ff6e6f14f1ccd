package seal_test

import (
	"os"
	"path/filepath"
	"testing"

	"imapped/adapters/seal"
	"imapped/domain/fault"
)

func keyring(t *testing.T, path string) *seal.Keyring {
	t.Helper()
	k, err := seal.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rotating(t *testing.T, path string) *seal.Keyring {
	t.Helper()
	k, err := seal.RotateKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func closed(t *testing.T, ks ...*seal.Keyring) {
	t.Helper()
	for _, k := range ks {
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotateKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first := keyring(t, path)
	if first.Current == "" || first.Previous != "" {
		t.Fatal("a new key file has a previous key, or none")
	}
	if _, err := seal.RotateKeyring(path); !fault.Is(err, fault.Conflict) {
		t.Fatalf("while somebody uses the file: %v", err)
	}
	second := keyring(t, path) // not in the way of each other
	closed(t, first, second)

	r := rotating(t, path)
	if r.Current == first.Current || r.Previous != first.Current {
		t.Fatal("the new key is the old one, or the old one is gone")
	}
	if _, err := seal.RotateKeyring(path); !fault.Is(err, fault.Conflict) {
		t.Errorf("two rotations at a time: %v", err)
	}
	other := keyring(t, path) // a server that starts meanwhile
	if other.Current != r.Current || other.Previous != r.Previous {
		t.Error("others do not see both keys during a rotation")
	}
	closed(t, other, r) // interrupted: the next goes on with the same keys
	again := rotating(t, path)
	if again.Current != r.Current || again.Previous != first.Current {
		t.Error("a rotation that is begun again makes another key")
	}
	other = keyring(t, path) // also now
	if err := again.FinishRotation(); err != nil || again.Previous != "" {
		t.Fatalf("finish: %v", err)
	}
	closed(t, other, again)
	last := keyring(t, path)
	if last.Current != r.Current || last.Previous != "" {
		t.Error("after the end there is not the new key alone")
	}
	closed(t, last)
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

// TestRotateKeyringCrash puts the files as a crash leaves them between any two steps: the old key is always there, and the
// rotation ends with a new one.
func TestRotateKeyringCrash(t *testing.T) {
	for name, steps := range map[string]func(t *testing.T, path string){
		"new key made": func(t *testing.T, path string) {
			if _, err := seal.LoadOrCreateKeyFile(path + ".next"); err != nil {
				t.Fatal(err)
			}
		},
		"old key kept": func(t *testing.T, path string) {
			if _, err := seal.LoadOrCreateKeyFile(path + ".next"); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(path, path+".previous"); err != nil {
				t.Fatal(err)
			}
		},
		"new key lost": func(t *testing.T, path string) {
			if err := os.Link(path, path+".previous"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		path := filepath.Join(t.TempDir(), "key")
		k := keyring(t, path)
		old := k.Current
		closed(t, k)
		steps(t, path)
		if k = keyring(t, path); k.Current != old {
			t.Errorf("%s: the old key is not the current one", name)
		}
		closed(t, k)
		k = rotating(t, path)
		if k.Current == old || k.Previous != old {
			t.Errorf("%s: going on does not put a new key in place and keep the old one", name)
		}
		if err := k.FinishRotation(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		closed(t, k)
	}
	path := filepath.Join(t.TempDir(), "key")
	closed(t, keyring(t, path))
	if err := os.WriteFile(path+".previous", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKeyring(path); !fault.Is(err, fault.Forbidden) {
		t.Errorf("a previous key that others can read: %v", err)
	}
}
