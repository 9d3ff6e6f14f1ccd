package main

import (
	"testing"
	"time"

	"imapped/domain/fault"
)

func TestParseSince(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, zone)
	for text, want := range map[string]time.Time{
		"2h":                   now.Add(-2 * time.Hour),
		"1h30m":                now.Add(-90 * time.Minute),
		"3d":                   time.Date(2026, 3, 11, 15, 9, 26, 0, zone),
		"0s":                   now,
		"2026-03-01":           time.Date(2026, 3, 1, 0, 0, 0, 0, zone),
		"2026-03-14T08:30":     time.Date(2026, 3, 14, 8, 30, 0, 0, zone),
		"2026-03-14T08:30:05":  time.Date(2026, 3, 14, 8, 30, 5, 0, zone),
		"2026-03-14T08:30:05Z": time.Date(2026, 3, 14, 8, 30, 5, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-2h", "-1d", "2", "99999999d", "2026-13-01", "2026-03-15", "2026-03-14T15:10"} {
		if got, err := parseSince(text, now); !fault.Is(err, fault.Invalid) {
			t.Errorf("parseSince(%q) = %v, %v; want it refused", text, got, err)
		}
	}
}

func TestAgeText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 2 * time.Hour: "2h", 47 * time.Hour: "47h", 50 * time.Hour: "2d",
	} {
		if got := ageText(d); got != want {
			t.Errorf("ageText(%v) = %q, want %q", d, got, want)
		}
	}
}
