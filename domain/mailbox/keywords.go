package mailbox

import (
	"maps"
	"slices"

	"imapped/domain/flag"
)

// Keywords returns the keywords in use in the mailbox, each once, in the order of their lower-case forms: what FLAGS
// lists beside the system flags. It may name some that were in use a short time ago. The cost depends on the number of
// distinct flag sets, not on the number of messages.
func (v *View) Keywords() []string {
	distinct := map[string]bool{}
	for _, s := range v.snap.sets {
		for _, k := range s.Keywords() {
			distinct[k] = true
		}
	}
	return flag.Make(0, slices.Sorted(maps.Keys(distinct))...).Keywords()
}
