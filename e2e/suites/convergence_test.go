package suites

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"imapped/e2e/harness"
)

// TestConvergenceDovecot plays random histories of changes on both sides, with faults, where the upstream is Dovecot
// (tools/convergence). IMAPPED_HISTORIES says how many, IMAPPED_SEED replays from one.
func TestConvergenceDovecot(t *testing.T) {
	if errEngine != nil {
		t.Skip(errEngine)
	}
	seed := rand.Uint64() >> 16
	if os.Getenv("IMAPPED_SEED") != "" {
		seed = harness.Seed()
	}
	histories := harness.Size("IMAPPED_HISTORIES", 60, 200)
	binary := filepath.Join(t.TempDir(), "convergence")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./tools/convergence")
	build.Dir = harness.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	args := []string{
		"-histories", strconv.Itoa(histories), "-seed", strconv.FormatUint(seed, 10), "-on", "-shrink=false",
		"-password", harness.Password,
	}
	for _, on := range []struct{ separator, addr, shell string }{{"/", "-imap", "-shell"}, {".", "-imap-dot", "-shell-dot"}} {
		d, err := harness.StartDovecot(t.Context(), harness.DovecotOptions{Separator: on.separator})
		must(t, err)
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		args = append(args, on.addr, d.Addr, on.shell, fmt.Sprintf("docker exec -i %s sh", d.GetContainerID()))
	}
	if os.Getenv(storeVariable) == "servers" {
		args = append(args, "-store", "postgres", "-s3", "start", "-redis", "start")
	}
	args = append(args, "-maildir", (&harness.Dovecot{}).Home("%u"))
	play := exec.CommandContext(t.Context(), binary, args...)
	play.Dir = t.TempDir()
	out, err := play.CombinedOutput()
	t.Logf("%s", out)
	failed, which := 0, ""
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "seed ") && !strings.Contains(line, ": once more: ") {
			failed++
			which += "; " + strings.TrimSpace(line)
		}
	}
	t.Logf("figure: IMAPPED_SEED=%d IMAPPED_HISTORIES=%d: %d of them fail%s", seed, histories, failed, which)
	if failed > 1 || err != nil && failed == 0 { // one is told of, as in tools/convergence
		t.Errorf("%v; each seed that is named can be played alone with IMAPPED_SEED=... IMAPPED_HISTORIES=1", err)
	}
}
