package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imapped/adapters/seal"
	"imapped/app/admin"
	"imapped/domain/account"
	"imapped/domain/fault"
)

// Two master keys for the environment.
const (
	oneKey   = "9kGQm0Xv1H4rX1mS0x5w2t7Yp3c8d6e0a1b2c3d4e5f"
	otherKey = "Zz8Yy7Xx6Ww5Vv4Uu3Tt2Ss1Rr0Qq9Pp8Oo7Nn6Mm5L"
)

// withSecrets makes a data directory with accounts whose passwords are their addresses.
func withSecrets(t *testing.T, accounts int, environ ...string) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	err := withStore(t.Context(), configOf(t, append(environ, "IMAPPED_DATA="+data)...), func(in *instance) error {
		u, err := in.admin.CreateUser(t.Context(), demoName, []byte(demoName))
		for n := 0; n < accounts && err == nil; n++ {
			email := fmt.Sprintf("a%d@example.org", n)
			_, err = in.admin.AddAccount(t.Context(), admin.NewAccount{
				User: demoName, Email: email, Secret: []byte(email), Endpoint: account.Endpoint{Host: "localhost", Port: 993, TLS: account.TLSImplicit},
			})
		}
		_, local := in.admin.AddLocal(t.Context(), u, "local@example.org")
		return errors.Join(err, local)
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rotateKey runs rotate-key in an environment.
func rotateKey(t *testing.T, want int, data string, environ ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := runIn(t.Context(), []string{"rotate-key", "--data", data}, environ, &out); got != want {
		t.Errorf("rotate-key ends with %d, want %d: %s", got, want, out.String())
	}
	return out.String()
}

// opened returns how many accounts' passwords are right with the keys of an environment; sealedBy the ids of their keys.
func opened(t *testing.T, data string, environ ...string) (right int, sealedBy map[string]int) {
	t.Helper()
	sealedBy = map[string]int{}
	err := withStore(t.Context(), configOf(t, append(environ, "IMAPPED_DATA="+data)...), func(in *instance) error {
		accounts, err := in.store.Accounts(t.Context(), 0)
		for _, a := range accounts {
			if a.Local {
				continue
			}
			sealedBy[a.Secret.KeyID]++
			if plain, err := in.sealer.Open(a.Secret, a.SecretContext()); err == nil && string(plain) == a.Email {
				right++
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return right, sealedBy
}

// TestRotateKeyFile: the key file is replaced, nothing is under the old one, and the old one is gone.
func TestRotateKeyFile(t *testing.T) {
	data := withSecrets(t, 3)
	before, err := os.ReadFile(filepath.Join(data, "key"))
	if err != nil {
		t.Fatal(err)
	}
	if out := rotateKey(t, 0, data); !strings.Contains(out, "3 of 3") {
		t.Errorf("rotate-key says %q", out)
	}
	after, err := os.ReadFile(filepath.Join(data, "key"))
	if err != nil || bytes.Equal(before, after) {
		t.Errorf("the key file holds the old key, %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "key.*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if right, by := opened(t, data); right != 3 || len(by) != 1 {
		t.Errorf("%d passwords open, sealed by %v", right, by)
	}

	in, err := openInstance(t.Context(), testConfig(data), slog.New(slog.DiscardHandler)) // as a server has it open
	if err != nil {
		t.Fatal(err)
	}
	rotateKey(t, 3, data)
	if err := in.close(); err != nil {
		t.Fatal(err)
	}
	if right, _ := opened(t, data); right != 3 {
		t.Errorf("after a refused rotation %d passwords open", right)
	}
}

// dying is secrets in a store that fails after some accounts, as a process does that is killed.
type dying struct {
	metadataStore
	left int
}

func (d *dying) Reseal(ctx context.Context, id account.ID, from, to account.Secret) error {
	if d.left--; d.left < 0 {
		return fault.New(fault.Unavailable, "reseal", "killed")
	}
	return d.metadataStore.Reseal(ctx, id, from, to)
}

// TestRotateInterrupted ends a rotation after each account: everything opens with what is there, and rotate-key does the
// rest.
func TestRotateInterrupted(t *testing.T) {
	const accounts = 3
	for after := range accounts {
		data := withSecrets(t, accounts)
		ring, err := seal.RotateKeyring(keyFile(testConfig(data)))
		if err != nil {
			t.Fatal(err)
		}
		in, err := openWith(t.Context(), testConfig(data), (&masterKeys{}).with(ring), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := seal.New(ring.Current)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.admin.Reseal(t.Context(), &dying{in.store, after}, fresh); err == nil {
			t.Fatal("an interrupted rotation succeeds")
		}
		if err := in.close(); err != nil {
			t.Fatal(err)
		}
		if right, _ := opened(t, data); right != accounts {
			t.Errorf("interrupted after %d: %d passwords open", after, right)
		}
		if out := rotateKey(t, 0, data); !strings.Contains(out, fmt.Sprintf("%d of %d", accounts-after, accounts)) {
			t.Errorf("interrupted after %d, rotate-key says %q", after, out)
		}
		if right, by := opened(t, data); right != accounts || len(by) != 1 || by[fresh.KeyID()] != accounts {
			t.Errorf("interrupted after %d: %d passwords open in the end, sealed by %v", after, right, by)
		}
	}
}

// TestRotateEnvironment: from the key file to a key in the environment, to another one there, and back.
func TestRotateEnvironment(t *testing.T) {
	data := withSecrets(t, 2)
	one, other, previous := "ENCRYPTION_MASTER_KEY="+oneKey, "ENCRYPTION_MASTER_KEY="+otherKey, "ENCRYPTION_MASTER_KEY_PREVIOUS="+oneKey
	if right, _ := opened(t, data, one); right != 2 {
		t.Errorf("before the rotation %d passwords open with the key file beside the new key", right)
	}
	if out := rotateKey(t, 0, data, one); !strings.Contains(out, "2 of 2") || !strings.Contains(out, "key file") {
		t.Errorf("rotate-key says %q", out)
	}
	if err := os.Remove(filepath.Join(data, "key")); err != nil {
		t.Fatal(err)
	}
	if right, _ := opened(t, data, one); right != 2 {
		t.Errorf("with the key in the environment alone %d passwords open", right)
	}
	if right, _ := opened(t, data, other, previous); right != 2 {
		t.Errorf("before the second rotation %d passwords open with both keys", right)
	}
	rotateKey(t, 2, data, other) // without the previous key nothing can be done, and nothing is
	if right, _ := opened(t, data, one); right != 2 {
		t.Errorf("after a rotation that failed %d passwords open", right)
	}
	if out := rotateKey(t, 0, data, other, previous); !strings.Contains(out, "2 of 2") || !strings.Contains(out, "ENCRYPTION_MASTER_KEY_PREVIOUS is not needed") {
		t.Errorf("rotate-key says %q", out)
	}
	if right, _ := opened(t, data, other); right != 2 {
		t.Errorf("with the other key alone %d passwords open", right)
	}
	if out := rotateKey(t, 0, data, other); !strings.Contains(out, "0 of 2") {
		t.Errorf("with nothing to do rotate-key says %q", out)
	}
	rotateKey(t, 0, data, "ENCRYPTION_MASTER_KEY_PREVIOUS="+otherKey) // back to a key file
	if right, _ := opened(t, data); right != 2 {
		t.Errorf("with the key file alone %d passwords open", right)
	}
}
