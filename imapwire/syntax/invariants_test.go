//go:build invariants

package syntax

import (
	"bytes"
	"testing"
)

// TestReleasedViewsAreOverwritten runs with -tags invariants: a view that outlives its frame is seen to be wrong, a
// clone is not.
func TestReleasedViewsAreOverwritten(t *testing.T) {
	for _, user := range []string{"joe", string(bytes.Repeat([]byte("j"), 3000))} {
		f := NewFramer(Commands, PostAuth(), &BufferPool{})
		in := []byte("A1 LOGIN " + user + " secret\r\n")
		if feed(t, f, &in) != EventFrame {
			t.Fatal("no frame")
		}
		var c Command
		if err := (&Parser{Limits: PostAuth()}).Parse(f.Frame(), &c); err != nil {
			t.Fatal(err)
		}
		view, clone := c.Login.User, c.Login.User.Clone()
		var kept Frame
		kept.CopyFrom(f.Frame())
		f.Release()
		if bytes.Equal(view.Bytes, []byte(user)) {
			t.Error("a view of a released frame is still right")
		}
		if clone.Text() != user || !bytes.Contains(kept.Data, []byte(user)) {
			t.Error("a copy was overwritten")
		}
	}
}
