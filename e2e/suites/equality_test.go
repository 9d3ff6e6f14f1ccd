package suites

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imapped/e2e/imapc"
)

// listed returns the answers of LIST "" *: name -> attributes that matter to both sides.
func listed(t *testing.T, c *imapc.Client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, u := range cmd(t, c, `LIST "" "*" RETURN (SPECIAL-USE SUBSCRIBED CHILDREN)`).Untagged {
		if u.Name != "LIST" || len(u.Data) < 3 {
			continue
		}
		var attrs []string
		for _, a := range u.Data[0].Texts() {
			// \NonExistent implies \Noselect, \HasNoChildren is implied by neither: sides may differ in what they spell out.
			if a = strings.ToLower(a); a != `\noselect` && a != `\unmarked` && a != `\marked` {
				attrs = append(attrs, a)
			}
		}
		slices.Sort(attrs)
		all[u.Data[2].Text] = u.Data[1].Text + " " + strings.Join(attrs, " ")
	}
	return all
}

func TestMailboxesAreEqual(t *testing.T) {
	w, p := theMirror(t)
	ours, theirs := listed(t, login(t, p.Login)), listed(t, upstreamLogin(t, w, "corpus"))
	for name, want := range theirs {
		if got, ok := ours[name]; !ok {
			t.Errorf("%q is missing", name)
		} else if got != want {
			t.Errorf("%q is listed as %q, upstream as %q", name, got, want)
		}
	}
	for name := range ours {
		if _, ok := theirs[name]; !ok {
			t.Errorf("%q is not upstream", name)
		}
	}
}

// TestMailIsEqual compares every message of the corpus with what Dovecot serves: bytes, flags, dates and sizes exactly,
// ENVELOPE and BODYSTRUCTURE after parsing, where differences are listed with their reason.
func TestMailIsEqual(t *testing.T) {
	w, p := theMirror(t)
	ours := snapshot(t, login(t, p.Login), w.boxes, itemsAll)
	theirs := snapshot(t, upstreamLogin(t, w, "corpus"), w.boxes, itemsAll)
	sameMail(t, ours, theirs)

	found, total := map[string]string{}, 0
	for name, rows := range theirs {
		for i, u := range rows {
			if total++; i >= len(ours[name]) {
				continue
			}
			m := ours[name][i]
			for item, pair := range map[string][2]imapc.Node{"ENVELOPE": {m.env, u.env}, "BODYSTRUCTURE": {m.body, u.body}} {
				if a, b := pair[0].String(), pair[1].String(); a != b {
					found[fmt.Sprintf("%x %s", u.sha[:8], item)] = diverge(a, b)
				}
			}
		}
	}
	messages := map[string]bool{}
	for key := range found {
		messages[key[:16]] = true
	}
	share := 100 * (1 - float64(len(messages))/float64(total))
	t.Logf("figure: ENVELOPE and BODYSTRUCTURE equal to Dovecot's for %.2f %% of %d messages", share, total)
	if share < 99.5 {
		t.Errorf("ENVELOPE and BODYSTRUCTURE are equal for %.2f %% of messages, less than 99.5 %%", share)
	}
	accounted(t, "structure_differences.txt", found)
}

// diverge returns the neighbourhood of the first difference of two texts.
func diverge(ours, theirs string) string {
	i := 0
	for i < min(len(ours), len(theirs)) && ours[i] == theirs[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, min(i, len(s))-40):min(len(s), i+80)] }
	return fmt.Sprintf("ours ...%s... upstream ...%s...", cut(ours), cut(theirs))
}

// accounted compares the differences that were found with those that a file of testdata lists, each as a line
// "key | reason".
func accounted(t *testing.T, file string, found map[string]string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	must(t, err)
	defer f.Close()
	reasons := map[string]string{}
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, " | ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Errorf("testdata/%s: a line without a reason: %s", file, line)
		}
		reasons[key] = reason
	}
	must(t, in.Err())
	for _, key := range slices.Sorted(maps.Keys(found)) {
		if _, ok := reasons[key]; !ok {
			t.Errorf("not in testdata/%s: %s | %s", file, key, found[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		if _, ok := found[key]; !ok {
			t.Errorf("testdata/%s: no difference any more: %s", file, key)
		}
	}
}
