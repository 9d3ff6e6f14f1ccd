package main

import (
	"strconv"
	"strings"
	"time"

	"imapped/domain/fault"
)

// sinceLayouts are how a moment is written; without a zone it is this machine's.
var sinceLayouts = [...]string{"2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339}

// parseSince reads a moment in the past: how long ago it is (2h, 30m, 3d), or when it was (2006-01-02, 2006-01-02T15:04).
func parseSince(text string, now time.Time) (time.Time, error) {
	const op = "read --since"
	at := time.Time{}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			at = now.AddDate(0, 0, -int(n))
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		at = now.Add(-d)
	}
	for _, layout := range sinceLayouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			at = t
		}
	}
	switch {
	case at.IsZero():
		return at, fault.Newf(fault.Invalid, op, "%q is neither a time ago (2h, 30m, 3d) nor a date (2006-01-02, 2006-01-02T15:04)", text)
	case at.After(now):
		return at, fault.Newf(fault.Invalid, op, "%q is in the future", text)
	}
	return at, nil
}
