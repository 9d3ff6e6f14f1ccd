package mirror

import (
	"cmp"
	"iter"
	"slices"

	"imapped/domain/mailbox"
)

// Body is a message whose body is to be fetched.
type Body struct {
	UID      mailbox.UID
	Upstream uint32
	Size     int64 // as the upstream claims
	Attempts int
}

// Batches cuts the bodies into batches, newest first, of at most maxCount messages and, where they are more than one,
// maxBytes bytes. A body that failed before is fetched alone, so that it cannot spoil others.
func Batches(bodies []Body, maxBytes int64, maxCount int) iter.Seq[[]Body] {
	sorted := slices.SortedFunc(slices.Values(bodies), func(a, b Body) int { return cmp.Compare(b.UID, a.UID) })
	return func(yield func([]Body) bool) {
		for start := 0; start < len(sorted); {
			end, size := start+1, sorted[start].Size
			for end < len(sorted) && end-start < maxCount && size+sorted[end].Size <= maxBytes &&
				sorted[start].Attempts == 0 && sorted[end].Attempts == 0 {
				size += sorted[end].Size
				end++
			}
			if !yield(sorted[start:end:end]) {
				return
			}
			start = end
		}
	}
}
