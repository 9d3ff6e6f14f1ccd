package nodestest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/ports/nodes"
)

// Join adds a node to a list under test, and returns its view of it and what makes it leave, which may be called more than
// once. The node leaves at the end of the test at the latest.
type Join func(t *testing.T, name string) (p nodes.Presence, leave func())

// RunPresence runs the suite of Presence. open makes an empty list.
func RunPresence(t *testing.T, open func(t *testing.T) Join) {
	t.Run("comes and goes", func(t *testing.T) {
		join := open(t)
		a, leaveA := join(t, "a")
		becomes(t, a, "a")
		b, leaveB := join(t, "b")
		becomes(t, b, "a", "b")
		becomes(t, a, "a", "b")
		c, _ := join(t, "a longer name/with-signs.01")
		for _, p := range []nodes.Presence{a, b, c} {
			becomes(t, p, "a", "a longer name/with-signs.01", "b")
		}
		leaveB()
		becomes(t, a, "a", "a longer name/with-signs.01")
		leaveB()
		leaveA()
		becomes(t, c, "a longer name/with-signs.01")
		again, _ := join(t, "a")
		becomes(t, c, "a", "a longer name/with-signs.01")
		becomes(t, again, "a", "a longer name/with-signs.01")
	})

	t.Run("the caller's own list", func(t *testing.T) {
		p, _ := open(t)(t, "a")
		becomes(t, p, "a")
		list, err := p.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list[0] = "x"
		becomes(t, p, "a")
	})

	t.Run("many", func(t *testing.T) {
		join := open(t)
		var all []nodes.Presence
		var names []string
		for i := range 16 {
			name := fmt.Sprintf("node-%02d", i)
			p, _ := join(t, name)
			all, names = append(all, p), append(names, name)
		}
		for _, p := range all {
			becomes(t, p, names...)
		}
	})
}

// becomes waits until the list is as wanted: it looks only when it is told to, and at the beginning.
func becomes(t *testing.T, p nodes.Presence, want ...string) {
	t.Helper()
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		got, err := p.Nodes(t.Context())
		if slices.Sort(got); err == nil && slices.Equal(got, want) {
			return
		}
		select {
		case <-p.Changed():
		case <-over.C:
			t.Fatalf("the nodes stay %s, %v; want %s", strings.Join(got, ", "), err, strings.Join(want, ", "))
		}
	}
}
