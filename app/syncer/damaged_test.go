package syncer_test

import (
	"slices"
	"strings"
	"testing"

	"imapped/ports/upstream"
)

// TestDamagedValidity has UIDVALIDITYs, and most of what follows, damaged on their way: no message loses its UID by it.
func TestDamagedValidity(t *testing.T) {
	for name, lie := range map[string]func(opened bool, s *upstream.Status){
		"STATUS": func(opened bool, s *upstream.Status) {
			if !opened {
				s.UIDValidity++
			}
		},
		"SELECT tells none": func(opened bool, s *upstream.Status) {
			s.HighestModSeq++
			if opened {
				s.UIDValidity = 0
			}
		},
		"both": func(_ bool, s *upstream.Status) { s.UIDValidity++ },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for i := range 20 {
				w.deliver("INBOX", mail(i, 100))
			}
			r := newRig(t, w)
			r.start()
			r.sync()
			before := r.uids("INBOX")
			w.change(func() {
				w.lieState, w.spoil = lie, strings.ToUpper
				for i := range 13 {
					w.noFetch[mail(i, 100)] = true
				}
			})
			for range 3 {
				_ = r.m.Force(t.Context(), r.acc.ID, nil) // whether it can make sense of it is not the point
			}
			if got := r.uids("INBOX"); !slices.Equal(got, before) {
				t.Errorf("UIDs are %v, were %v", got, before)
			}
			w.change(func() {
				w.lieState, w.spoil = nil, nil
				clear(w.noFetch)
			})
			r.sync()
			r.compare()
			if got := r.uids("INBOX"); !slices.Equal(got, before) {
				t.Errorf("at last UIDs are %v, were %v", got, before)
			}
		})
	}
}
