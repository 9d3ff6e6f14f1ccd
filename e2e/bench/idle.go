package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

const idlers = 2000

// serve mirrors an account and returns the running program when all is there.
func (b *bench) serve(ctx context.Context, user string, messages int) (*harness.Process, error) {
	p, err := b.target(user, user, b.dovecot.Addr).Start(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.Synced(ctx, messages, 10*time.Minute); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// push measures how long new mail takes from the upstream's OK to an idling client.
func (b *bench) push(ctx context.Context) (err error) {
	messages, _, err := b.load(ctx, "push", harness.Account(b.raw, 3))
	if err != nil {
		return err
	}
	p, err := b.serve(ctx, "push", messages)
	if err != nil {
		return err
	}
	defer p.Kill()
	up, err := b.dovecot.Login(ctx, "push")
	if err != nil {
		return err
	}
	defer up.Close()
	fmt.Printf("\nNew mail upstream reaches an idling client\n%-10s %8s %10s %10s %10s\n", "mailbox", "messages", "median", "90 %", "worst")
	for _, name := range []string{"INBOX", "Work"} {
		c, err := p.Login(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Cmd("SELECT " + name); err != nil {
			return err
		}
		if _, err := c.Idle(); err != nil {
			return err
		}
		var took []time.Duration
		for i := range 41 {
			if _, err := up.Cmd("APPEND "+name+" ", fmt.Appendf(nil, "Subject: push %d\r\n\r\nhello\r\n", i)); err != nil {
				return err
			}
			start := time.Now()
			if err := hear(c, "EXISTS"); err != nil {
				return err
			}
			if i > 0 { // the first finds the connection cold
				took = append(took, time.Since(start))
			}
		}
		slices.Sort(took)
		fmt.Printf("%-10s %8d %10s %10s %10s\n", name, len(took), round(median(took)), round(took[len(took)*9/10]), round(took[len(took)-1]))
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// hear reads until an answer with the name.
func hear(c *imapc.Client, name string) error {
	for {
		r, err := c.Read()
		if err != nil || r.Name == name {
			return err
		}
	}
}

// idle measures what 2,000 idle clients cost on a mailbox of 30,000 messages, and how long all of them take to hear of
// a new one.
func (b *bench) idle(ctx context.Context) (err error) {
	const n = 30_000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur < 2*idlers {
		limit.Cur = min(limit.Max, 16_384)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
	}
	boxes := []harness.Box{{Name: "INBOX", UIDValidity: 6, Messages: harness.Dress(harness.Multiply(b.raw, n), 4)}}
	if _, _, err := b.load(ctx, "idle", boxes); err != nil {
		return err
	}
	p, err := b.serve(ctx, "idle", n)
	if err != nil {
		return err
	}
	defer p.Kill()

	// The mirror's own garbage is not what is measured: start the program again on the same data.
	if err := p.Stop(); err != nil {
		return err
	}
	if p, err = p.Mirror.Start(ctx); err != nil {
		return err
	}
	defer p.Kill()
	warm, err := p.Login(ctx)
	if err != nil {
		return err
	}
	defer warm.Close()
	if _, err := warm.Cmd("SELECT INBOX"); err != nil {
		return err
	}
	before, _, err := p.Memory()
	if err != nil {
		return err
	}
	clients := make([]*imapc.Client, 0, idlers)
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	start := time.Now()
	for range idlers {
		c, err := p.Login(ctx)
		if err != nil {
			return fmt.Errorf("client %d: %w", len(clients)+1, err)
		}
		clients = append(clients, c)
		if _, err := c.Cmd("SELECT INBOX"); err != nil {
			return err
		}
		if _, err := c.Idle(); err != nil {
			return err
		}
	}
	connected := time.Since(start)
	after, _, err := p.Memory()
	if err != nil {
		return err
	}

	up, err := b.dovecot.Login(ctx, "idle")
	if err != nil {
		return err
	}
	defer up.Close()
	var wg sync.WaitGroup
	heard := make([]time.Time, idlers)
	problems := make([]error, idlers)
	for i, c := range clients {
		wg.Go(func() {
			problems[i] = hear(c, "EXISTS")
			heard[i] = time.Now()
		})
	}
	if _, err := up.Cmd("APPEND INBOX ", []byte("Subject: for all\r\n\r\nhello\r\n")); err != nil {
		return err
	}
	sent := time.Now()
	wg.Wait()
	for _, err := range problems {
		if err != nil {
			return err
		}
	}
	slices.SortFunc(heard, time.Time.Compare)
	fmt.Printf("\n%d idle clients on one mailbox of %d messages\n", idlers, n)
	fmt.Printf("  RSS                    %7.1f MB before, %.1f MB with them: %.1f KB a connection\n",
		float64(before)/1e6, float64(after)/1e6, float64(after-before)/1e3/idlers)
	fmt.Printf("  login, SELECT, IDLE    %s each\n", round(connected/idlers))
	fmt.Printf("  hear a new message     first %s, median %s, last %s\n",
		round(heard[0].Sub(sent)), round(heard[idlers/2].Sub(sent)), round(heard[idlers-1].Sub(sent)))
	_, err = fmt.Fprintln(os.Stdout)
	return err
}
