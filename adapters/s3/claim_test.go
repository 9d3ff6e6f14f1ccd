package s3_test

import (
	"sync"
	"testing"

	"imapped/adapters/s3"
	"imapped/adapters/s3/s3test"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/blob/blobtest"
)

// TestClaimForm: a bucket holds blobs in one way, that of the first who uses it, also when nothing says so but what is there.
func TestClaimForm(t *testing.T) {
	srv := s3test.Fake(t)
	mail := []byte("Subject: x\r\n\r\n")
	unsealed := func(t *testing.T, s *s3.Store) { must1(s.Put(t.Context(), mail))(t) }
	sealed := func(t *testing.T, s *s3.Store) {
		u, err := s3.NewUsers(s, newKeys(), box{}).For(t.Context(), 1)
		must(t, err)
		must1(u.Put(t.Context(), mail))(t)
	}
	for name, tt := range map[string]struct {
		before func(t *testing.T, s *s3.Store)
		claims []bool // for sealed blobs or not
		wrong  []bool // which of them are refused
	}{
		"clear":             {nil, []bool{false, true, false}, []bool{false, true, false}},
		"sealed":            {nil, []bool{true, false, true}, []bool{false, true, false}},
		"before it, clear":  {unsealed, []bool{true, false, true}, []bool{true, false, true}},
		"before it, sealed": {sealed, []bool{false, true, false}, []bool{true, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := srv.Bucket(t)
			if tt.before != nil {
				tt.before(t, open(t, b.Config))
			}
			for i, sealed := range tt.claims {
				err := open(t, b.Config).ClaimForm(t.Context(), sealed)
				if tt.wrong[i] != fault.Is(err, fault.Conflict) || !tt.wrong[i] && err != nil {
					t.Errorf("claim %d, sealed %v: %v", i, sealed, err)
				}
			}
		})
	}
	t.Run("at once", func(t *testing.T) {
		b := srv.Bucket(t)
		var all sync.WaitGroup
		var errs [2][8]error
		for kind := range errs {
			for i := range errs[kind] {
				all.Go(func() { errs[kind][i] = open(t, b.Config).ClaimForm(t.Context(), kind == 1) })
			}
		}
		all.Wait()
		won := 0
		for kind := range errs {
			good := 0
			for _, err := range errs[kind] {
				if err == nil {
					good++
				} else if !fault.Is(err, fault.Conflict) {
					t.Error(err)
				}
			}
			if good > 0 {
				won++
			}
			if good != 0 && good != len(errs[kind]) {
				t.Errorf("%d of %d who want the same are right", good, len(errs[kind]))
			}
		}
		if won != 1 {
			t.Errorf("%d kinds of blobs are in one bucket", won)
		}
	})
}

func TestClaims(t *testing.T) {
	srv := s3test.Fake(t)
	blobtest.RunClaims(t, func(t *testing.T) (func(t *testing.T) blob.Claimable, func(t *testing.T)) {
		b := srv.Bucket(t)
		return func(t *testing.T) blob.Claimable { return open(t, b.Config) },
			func(t *testing.T) { b.Delete(t, b.Config.Prefix+s3.OwnerObject) }
	})
}

// TestSpoiledClaim: an owner that cannot be read is not taken for nobody.
func TestSpoiledClaim(t *testing.T) {
	b := s3test.Fake(t).Bucket(t)
	b.Put(t, b.Config.Prefix+s3.OwnerObject, nil)
	if err := open(t, b.Config).Claim(t.Context(), blob.Installation{}); !fault.Is(err, fault.Forbidden) {
		t.Error(err)
	}
}
