//go:build !invariants

package syntax

// mangle does nothing in a normal build; see invariants_on.go.
func mangle([]byte) {}
