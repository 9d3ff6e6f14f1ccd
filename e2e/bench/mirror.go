package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"imapped/e2e/harness"
	"imapped/tools/faultproxy"
)

// mirror measures a first mirror of the corpus next to mbsync's pull of the same account, in turns. Both go through the
// same fault proxy, as one process each: "force-sync" on a new data directory, and "mbsync -a" on a new Maildir.
func (b *bench) mirror(ctx context.Context) (err error) {
	messages, size, err := b.load(ctx, "mirror", harness.Account(b.raw, 1))
	if err != nil {
		return err
	}
	proxy, err := faultproxy.Listen("127.0.0.1:0", b.dovecot.Addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, proxy.Close()) }()
	fmt.Printf("\nFirst mirror of %d messages, %.1f MB\n", messages, float64(size)/1e6)
	fmt.Printf("%-10s %5s  %10s %10s  %6s\n", "line", "pair", "imapped", "mbsync", "ratio")
	for _, line := range []struct {
		name   string
		faults faultproxy.Faults
	}{
		{"loopback", faultproxy.Faults{}},
		{"50 ms RTT", faultproxy.RoundTrip(50 * time.Millisecond)},
	} {
		if err := proxy.Set(line.faults); err != nil {
			return err
		}
		// One run each before those that count: the upstream builds its caches.
		if _, _, err := b.firstMirror(ctx, proxy.Addr(), messages); err != nil {
			return err
		}
		if _, err := b.mbsync(ctx, proxy.Addr(), messages); err != nil {
			return err
		}
		var ours, theirs []time.Duration
		var ratios []float64
		for i := range b.pairs {
			a, _, err := b.firstMirror(ctx, proxy.Addr(), messages)
			if err != nil {
				return err
			}
			m, err := b.mbsync(ctx, proxy.Addr(), messages)
			if err != nil {
				return err
			}
			ours, theirs, ratios = append(ours, a), append(theirs, m), append(ratios, a.Seconds()/m.Seconds())
			fmt.Printf("%-10s %5d  %9.2fs %9.2fs  %6.2f\n", line.name, i+1, a.Seconds(), m.Seconds(), a.Seconds()/m.Seconds())
		}
		fmt.Printf("%-10s %5s  %9.2fs %9.2fs  %6.2f\n", line.name, "med", median(ours).Seconds(), median(theirs).Seconds(), medianFloat(ratios))
	}
	return nil
}

// servers measures a first mirror of the corpus into Postgres and S3, which run on the same machine, next to one into SQLite
// and files, in turns.
func (b *bench) servers(ctx context.Context) (err error) {
	messages, size, err := b.load(ctx, "mirror", harness.Account(b.raw, 1))
	if err != nil {
		return err
	}
	servers, err := harness.StartServers(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	fmt.Printf("\nFirst mirror of %d messages, %.1f MB\n%5s  %10s %10s  %6s\n", messages, float64(size)/1e6, "pair", "servers", "files", "ratio")
	var theirs, ours []time.Duration
	var ratios []float64
	for i := range b.pairs + 1 { // the first only warms what is warm later
		m := b.target("mirror", "servers", b.dovecot.Addr)
		if m.Env, err = servers.Installation(ctx); err != nil {
			return err
		}
		if _, err := m.Run(ctx, "run-migrations"); err != nil {
			return err
		}
		s, _, err := b.forced(ctx, m, messages)
		if err != nil {
			return err
		}
		f, _, err := b.firstMirror(ctx, b.dovecot.Addr, messages)
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		theirs, ours, ratios = append(theirs, s), append(ours, f), append(ratios, s.Seconds()/f.Seconds())
		fmt.Printf("%5d  %9.2fs %9.2fs  %6.2f\n", i, s.Seconds(), f.Seconds(), s.Seconds()/f.Seconds())
	}
	fmt.Printf("%5s  %9.2fs %9.2fs  %6.2f\n", "med", median(theirs).Seconds(), median(ours).Seconds(), medianFloat(ratios))
	return nil
}

// firstMirror mirrors the account into a new data directory and returns how long it took, and the peak RSS.
func (b *bench) firstMirror(ctx context.Context, addr string, messages int) (took time.Duration, peak int64, err error) {
	return b.forced(ctx, b.target("mirror", "first", addr), messages)
}

// forced sets an account up without talking to the upstream, then measures "force-sync", which ends when it is in step.
func (b *bench) forced(ctx context.Context, m harness.Mirror, messages int) (took time.Duration, peak int64, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(m.Data)) }()
	secret := filepath.Join(b.dir, "secret")
	if err := os.WriteFile(secret, []byte(harness.Password+"\n"), 0o600); err != nil {
		return 0, 0, err
	}
	host, port, _ := strings.Cut(m.Upstream, ":")
	if _, err := m.Run(ctx, "create-user", "--username-email", m.User, "--password-file", secret); err != nil {
		return 0, 0, err
	}
	if _, err := m.Run(ctx, "add-account", "--skip-test", "--user-email", m.User, "--email-address", m.Account(),
		"--upstream-host", host, "--upstream-port", port, "--upstream-tls-mode", "plain", "--upstream-insecure",
		"--upstream-username", m.User, "--upstream-secret-file", secret); err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, m.Binary, "force-sync", "--account-email", m.Account(), "--data", m.Data)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, append(os.Environ(), m.Env...)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	// Not the kernel's account of the child's peak: that begins with the memory of this process, which it was cloned from.
	done, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, p, err := harness.Memory(cmd.Process.Pid); err == nil {
				peak = max(peak, p)
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	took = time.Since(start)
	close(done)
	<-sampled
	if err != nil {
		return 0, 0, fmt.Errorf("force-sync: %w\n%s", err, &out)
	}
	s, err := m.Status(ctx)
	if err == nil && (s.Messages != messages || s.Bodies != messages) {
		err = fmt.Errorf("%d messages and %d bodies were mirrored, of %d", s.Messages, s.Bodies, messages)
	}
	return took, peak, err
}

// mbsync pulls the account into a new Maildir and returns how long mbsync itself took.
func (b *bench) mbsync(ctx context.Context, addr string, messages int) (time.Duration, error) {
	conf, err := harness.MbsyncConfig(addr, "mirror", "/mail")
	if err != nil {
		return 0, err
	}
	if err := b.clients.WriteFile(ctx, "/mbsyncrc", conf); err != nil {
		return 0, err
	}
	out, err := b.clients.Exec(ctx, `rm -rf /mail; mkdir /mail
start=$(date +%s%N)
mbsync -q -c /mbsyncrc -a >/mbsync.log 2>&1 || { cat /mbsync.log; exit 1; }
end=$(date +%s%N)
find /mail -type f \( -path '*/cur/*' -o -path '*/new/*' \) | wc -l
echo $((end - start))`)
	if err != nil {
		return 0, err
	}
	var n int
	var nanos int64
	if _, err := fmt.Sscan(out, &n, &nanos); err != nil {
		return 0, fmt.Errorf("mbsync: %w in %q", err, out)
	}
	if n != messages {
		return 0, fmt.Errorf("mbsync stored %d messages of %d", n, messages)
	}
	return time.Duration(nanos), nil
}

// memory measures the peak RSS of a first mirror as the mailbox grows.
func (b *bench) memory(ctx context.Context) error {
	fmt.Printf("\nPeak RSS of a first mirror of one mailbox\n%10s %10s %10s\n", "messages", "time", "peak RSS")
	for _, n := range []int{len(b.raw), 30_000} {
		boxes := []harness.Box{{Name: "INBOX", UIDValidity: 5, Messages: harness.Dress(harness.Multiply(b.raw, n), 2)}}
		if _, _, err := b.load(ctx, "memory", boxes); err != nil {
			return err
		}
		took, peak, err := b.forced(ctx, b.target("memory", "memory", b.dovecot.Addr), n)
		if err != nil {
			return err
		}
		fmt.Printf("%10d %9.2fs %7.1f MB\n", n, took.Seconds(), float64(peak)/1e6)
	}
	return nil
}
