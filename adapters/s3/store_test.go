package s3_test

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"imapped/adapters/s3"
	"imapped/adapters/s3/blobseal"
	"imapped/adapters/s3/s3test"
	"imapped/ports/blob"
	"imapped/ports/blob/blobtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(b []byte) blob.Key { return sha256.Sum256(b) }

func open(t testing.TB, c s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.New(c)
	must(t, err)
	return s
}

func dataKey(t testing.TB, fill byte) *blobseal.Key {
	t.Helper()
	k, err := blobseal.New(bytes.Repeat([]byte{fill}, blobseal.KeySize))
	must(t, err)
	return k
}

// form is one of the ways in which a Store keeps blobs.
type form struct {
	open func(t testing.TB, c s3.Config) *s3.Store
	name func(key blob.Key) string // of an object
}

func forms(t *testing.T) map[string]form {
	k := dataKey(t, 1)
	return map[string]form{
		"plain": {open, func(key blob.Key) string { return "mail/blobs/" + key.String() }},
		"sealed": {
			func(t testing.TB, c s3.Config) *s3.Store { return open(t, c).Sealed("users/7/", k) },
			func(key blob.Key) string { return "mail/users/7/blobs/" + k.Name(key) },
		},
	}
}

func contract(t *testing.T, srv *s3test.Server) {
	for name, f := range forms(t) {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blobtest.Harness {
				b := srv.Bucket(t)
				h := blobtest.Harness{
					Store:  f.open(t, b.Config),
					Reopen: func(t *testing.T) blobtest.Store { return f.open(t, b.Config) },
					Damage: func(t *testing.T, key blob.Key, data []byte) { b.Put(t, f.name(key), data) },
				}
				if b.Ages() {
					h.Age = func(t *testing.T, key blob.Key, ago time.Duration) { b.Age(t, f.name(key), ago) }
				}
				return h
			})
		})
	}
}

// TestContract runs the suite against a server within the process.
func TestContract(t *testing.T) { contract(t, s3test.Fake(t)) }

// TestContractReal runs it against a real server.
func TestContractReal(t *testing.T) { contract(t, s3test.Real(t)) }
