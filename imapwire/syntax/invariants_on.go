//go:build invariants

package syntax

// mangle overwrites released octets, so that a view that was kept too long is seen to be wrong.
func mangle(b []byte) {
	for i := range b {
		b[i] = 0xCC
	}
}
