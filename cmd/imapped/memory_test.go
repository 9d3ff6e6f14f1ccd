package main

import "testing"

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 10 << 20: 100, 64 << 20: 100, 80 << 20: 75, 128 << 20: 50, 1 << 40: 25} {
		if got := percent(live); got != want {
			t.Errorf("%d octets: %d, want %d", live, got, want)
		}
	}
}
