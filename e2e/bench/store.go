package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// stores is how many changes of flags are sent, each of one message.
const stores = 1000

// store measures changes of flags of single messages, durable each, next to Dovecot's own for the same commands: in one
// pipelined burst, and one after the other. The runs take turns. (Dovecot of the image does not sync its files to disk:
// its figures are for less.)
func (b *bench) store(ctx context.Context) error {
	raw := harness.Multiply(b.raw, stores)
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 8, Messages: harness.Dress(raw, 8)}}
	for i := range boxes[0].Messages {
		boxes[0].Messages[i].UID = uint32(i + 1)
	}
	// An account for each side: what one changes does not come to the other.
	for _, user := range []string{"store", "storeup"} {
		if _, _, err := b.load(ctx, user, boxes); err != nil {
			return err
		}
	}
	p, err := b.serve(ctx, "store", stores)
	if err != nil {
		return err
	}
	defer p.Kill()
	ours, err := p.Login(ctx)
	if err != nil {
		return err
	}
	defer ours.Close()
	theirs, err := b.dovecot.Login(ctx, "storeup")
	if err != nil {
		return err
	}
	defer theirs.Close()
	for _, c := range []*imapc.Client{ours, theirs} {
		if _, err := c.Cmd("SELECT INBOX"); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d UID STOREs on single messages\n%-12s %5s  %12s %12s  %12s %12s  %6s\n", stores,
		"", "pair", "imapped /s", "p99", "Dovecot /s", "p99", "ratio")
	for _, way := range []struct {
		name string
		run  func(*imapc.Client, int) (time.Duration, []time.Duration, error)
	}{{"one burst", storeBurst}, {"one by one", storeOneByOne}} {
		var ratios []float64
		for i := range b.pairs {
			whole, mine, err := way.run(ours, i)
			if err != nil {
				return fmt.Errorf("imapped: %w", err)
			}
			// The upstream gets them before it is measured itself.
			if _, err := p.Settled(ctx, time.Minute); err != nil {
				return err
			}
			wholeIts, its, err := way.run(theirs, i)
			if err != nil {
				return fmt.Errorf("dovecot: %w", err)
			}
			a, d := stores/whole.Seconds(), stores/wholeIts.Seconds()
			ratios = append(ratios, a/d)
			fmt.Printf("%-12s %5d  %12.0f %12s  %12.0f %12s  %6.2f\n", way.name, i+1, a, round(p99(mine)), d, round(p99(its)), a/d)
		}
		fmt.Printf("%-12s %5s  %12s %12s  %12s %12s  %6.2f\n", way.name, "med", "", "", "", "", medianFloat(ratios))
	}
	return nil
}

// storeText is the i-th command of a run; each run changes every message.
func storeText(i, turn int) string {
	return fmt.Sprintf("UID STORE %d %cFLAGS ($Bench%d)", i+1, "+-"[turn%2], turn/2)
}

// storeBurst sends all commands at once and returns how long it took, and when each was answered, since the start.
func storeBurst(c *imapc.Client, turn int) (whole time.Duration, took []time.Duration, err error) {
	var burst strings.Builder
	for i := range stores {
		fmt.Fprintf(&burst, "b%d %s\r\n", i, storeText(i, turn))
	}
	sent := make(chan error, 1)
	start := time.Now()
	go func() { sent <- c.Write([]byte(burst.String())) }()
	for len(took) < stores {
		r, err := c.Read()
		if err != nil {
			return 0, nil, err
		}
		if _, err := strconv.Atoi(strings.TrimPrefix(r.Tag, "b")); err != nil {
			continue // untagged
		}
		if r.Name != "OK" {
			return 0, nil, fmt.Errorf("a STORE was answered with %+v", r)
		}
		took = append(took, time.Since(start))
	}
	return time.Since(start), took, <-sent
}

// storeOneByOne sends a command when the one before was answered, and returns how long it took, all and each.
func storeOneByOne(c *imapc.Client, turn int) (whole time.Duration, took []time.Duration, err error) {
	begin := time.Now()
	for i := range stores {
		start := time.Now()
		if _, err := c.Cmd(storeText(i, turn)); err != nil {
			return 0, nil, err
		}
		took = append(took, time.Since(start))
	}
	return time.Since(begin), took, nil
}

// p99 is the time within which 99 % were answered.
func p99(at []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(at))[len(at)*99/100]
}
