package config

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/BurntSushi/toml"
)

// readFile reads the configuration file, and reports the keys in it that are none.
func (l *loader) readFile() {
	if l.c.file == "" || l.chosen[pathKey].wrong {
		return
	}
	name := l.chosen[pathKey].name
	text, err := l.read(l.c.file)
	if err != nil {
		l.ts.add(name, "%v", err)
		return
	}
	if err := toml.Unmarshal(text, &l.file); err != nil {
		// The parser's own words may quote the line, and that may be a secret.
		at := "it"
		if pe, ok := errors.AsType[toml.ParseError](err); ok {
			at = "line " + strconv.Itoa(pe.Position.Line)
			if slices.ContainsFunc(l.all, func(s setting) bool { return slices.Contains(s.names(), strings.ToUpper(pe.LastKey)) }) {
				name = pe.LastKey // or the one before the line that is wrong
			}
		}
		l.ts.add(name, "%s: %s is not TOML: key = \"text\", key = 12 or key = true, each key once", l.c.file, at)
		l.file = nil
		return
	}
	known := map[string]bool{}
	var all []string
	for _, s := range l.all {
		for _, n := range s.names() {
			known[lower(n)] = !s.nofile
			all = append(all, lower(n))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(l.file)) {
		at := key
		if strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
			at = strconv.Quote(key)
		}
		if _, table := l.file[key].(map[string]any); table {
			l.ts.add(at, "there are no tables in the file: every key stands at the top, as in docs/configuration.md")
			continue
		}
		switch takes, is := known[key]; {
		case takes:
		case is:
			l.ts.add(at, "it can be set in the environment only")
		case known[lower(key)]:
			l.ts.add(at, "keys in the file are in lower case: %s", lower(key))
		default:
			l.ts.add(at, "there is no such setting%s", suggestion(key, all))
		}
	}
}

func suggestion(name string, known []string) string {
	if s := closest(name, known); s != "" {
		return "; is " + s + " meant?"
	}
	return ""
}

// ourPrefixes begin names in the environment that are ours or wrong.
func ourPrefixes() []string {
	return []string{"IMAP_TLS_", "IMAP_PLAINTEXT_", "BOOTSTRAP_IMAP_", "LOGIN_RATE_LIMIT_", "ENCRYPTION_MASTER_",
		"MAX_LITERAL_", "MAX_MESSAGE_", "PERIODIC_SYNC_", "UPSTREAM_CONNECTION_", "BLOB_CACHE_", "DEFAULT_ACCOUNT_"}
}

// strangers reports names in the environment that are meant to be settings and are none. The environment holds much that
// is not ours, so only what is very close to a name of ours counts.
func (l *loader) strangers() {
	var known, plain []string
	for _, s := range l.all {
		known = append(known, s.names()...)
		if !s.secret {
			plain = append(plain, s.names()...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if slices.Contains(known, name) || name != strings.ToUpper(name) {
			continue
		}
		if base, is := strings.CutSuffix(name, fileSuffix); is && slices.Contains(plain, base) {
			l.ts.add(name, "only secrets can be read from files; set %s", base)
			continue
		}
		if near := neighbour(name, known); near != "" {
			l.ts.add(name, "there is no such setting; is %s meant?", near)
			continue
		}
		near := closest(name, known)
		ours := slices.ContainsFunc(ourPrefixes(), func(p string) bool { return strings.HasPrefix(name, p) })
		if near != "" || ours {
			l.ts.add(name, "there is no such setting%s", suggestion(name, known))
		}
	}
}

// neighbour returns the known name that is the name with one more word at its end, or one less. One word alone, as LOG, says
// nothing.
func neighbour(name string, known []string) string {
	for _, k := range known {
		short, long := name, k
		if len(short) > len(long) {
			short, long = long, short
		}
		word, begins := strings.CutPrefix(long, short+"_")
		if begins && word != "" && !strings.Contains(word, "_") && strings.Contains(short, "_") {
			return k
		}
	}
	return ""
}

// closest returns the known name that the name is a slip of: one letter off, two in names of ten letters and more.
func closest(name string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if d := distance(name, k); d < at && (d <= 1 || len(k) >= 10) {
			best, at = k, d
		}
	}
	return best
}

// distance returns how many octets must be put in, taken out or changed to make a into b; 3 stands for more.
func distance(a, b string) int {
	const far = 3
	if len(a)-len(b) >= far || len(b)-len(a) >= far {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], far)
}
