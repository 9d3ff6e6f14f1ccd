package suites

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"imapped/e2e/harness"
	"imapped/e2e/imapc"
)

// searchSeed is fixed: the file of differences names queries.
const searchSeed = 71

func TestSearchEqualsDovecot(t *testing.T) {
	w, p := theMirror(t)
	ours, theirs := login(t, p.Login), upstreamLogin(t, w, "corpus")
	names := []string{"INBOX", "Archive", "Lists/go-nuts", "Junk"}
	total := harness.Size("IMAPPED_E2E_QUERIES", 200, 200)
	found, asked, hits := map[string]string{}, 0, 0
	for i, name := range names {
		// \Recent is a matter of each server: no session but this one may have it, and EXAMINE gives it up.
		cmd(t, ours, "SELECT "+wire(name))
		rows, err := fetchBox(ours, name, itemsLight)
		must(t, err)
		upRows, err := fetchBox(theirs, name, itemsLight)
		must(t, err)
		if len(rows) != len(upRows) {
			t.Fatalf("%s: %d messages, upstream %d", name, len(rows), len(upRows))
		}
		b := w.boxes[slices.IndexFunc(w.boxes, func(b harness.Box) bool { return b.Name == name })]
		q := newQueries(searchSeed+uint64(i), b)
		for range total / len(names) {
			query := q.query(2)
			key := name + ": " + query
			want, err := search(theirs, forSide(query, upRows))
			if err != nil {
				t.Fatalf("Dovecot: %s: %v", key, err)
			}
			got, err := search(ours, forSide(query, rows))
			if err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			asked, hits = asked+1, hits+len(want)
			if !slices.Equal(got, want) {
				found[key] = fmt.Sprintf("%d found, Dovecot %d; only ours %v, only Dovecot's %v",
					len(got), len(want), only(got, want), only(want, got))
			}
		}
	}
	t.Logf("figure: SEARCH equal to Dovecot's for %d of %d generated queries, %d hits", asked-len(found), asked, hits)
	accounted(t, "search_differences.txt", found)
}

// TestSearchOutsideASCII asks for text that is encoded in the mail.
func TestSearchOutsideASCII(t *testing.T) {
	w, p := theMirror(t)
	ours, theirs := login(t, p.Login), upstreamLogin(t, w, "corpus")
	differ := map[string]string{}
	for _, name := range []string{"INBOX", "Junk"} {
		for _, c := range []*imapc.Client{ours, theirs} {
			cmd(t, c, "EXAMINE "+wire(name))
		}
		for _, s := range []string{"é", "ü", "ñ", "££", "日本", "Ä"} {
			for _, key := range []string{"TEXT", "SUBJECT", "FROM", "BODY"} {
				want := found(cmd(t, theirs, "SEARCH CHARSET UTF-8 "+key+" ", []byte(s)))
				got := found(cmd(t, ours, "SEARCH CHARSET UTF-8 "+key+" ", []byte(s)))
				if !slices.Equal(got, want) {
					differ[name+": "+key+" "+s] = fmt.Sprintf("only ours %v, only Dovecot's %v", only(got, want), only(want, got))
				}
			}
		}
	}
	accounted(t, "charset_differences.txt", differ)
}

func search(c *imapc.Client, query string) ([]string, error) {
	r, err := c.Cmd("SEARCH " + query)
	if err != nil {
		return nil, err
	}
	return found(r), nil
}

// found returns the numbers of a SEARCH answer, without a trailing (MODSEQ n).
func found(r *imapc.Reply) []string {
	var all []string
	for _, u := range r.Untagged {
		if u.Name != "SEARCH" {
			continue
		}
		for _, n := range u.Data {
			if n.Kind == imapc.Atom {
				all = append(all, n.Text)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return all
}

// only returns up to ten of the values in a that are not in b.
func only(a, b []string) []string {
	in := map[string]bool{}
	for _, s := range b {
		in[s] = true
	}
	left := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return in[s] })
	return left[:min(len(left), 10)]
}
