package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "imapped"

// parts are the pieces of the house between which imports are ruled. A package belongs to the longest path that it
// equals or lies below. "*" stands for one path element and makes each of its values a part of its own.
var parts = []string{
	"domain", "ports", "ports/*/*test",
	"app",
	"imapwire/syntax", "imapwire/fsm", "imapwire/server",
	"adapters/*",
	"migrations", "cmd/imapped", "tools/*", "archtest",
}

// edge allows the packages of from to import those of to.
type edge struct{ from, to, why string }

// edges is every import between parts that is allowed; packages of one part may import each other.
var edges = []edge{
	{"ports", "domain", "a port speaks in the values of the domain"},
	{"ports/*/*test", "ports", "a contract suite exercises its port"},
	{"ports/*/*test", "domain", "and builds the values to do it with"},
	{"app", "domain", "use cases apply the rules of the domain"},
	{"app", "ports", "and reach the world through ports only"},
	{"imapwire/server", "domain", "command handlers translate between wire and domain values"},
	{"imapwire/server", "app", "and call the use cases"},
	{"imapwire/server", "imapwire/syntax", "the server reads and writes the wire"},
	{"imapwire/server", "imapwire/fsm", "and is ruled by the generated tables"},
	{"adapters/*", "domain", "an adapter stores and returns domain values"},
	{"adapters/*", "ports", "and implements a port"},
	{"adapters/blobfs", "adapters/blobfile", "stores that keep a blob as a file share its check"},
	{"adapters/blobcache", "adapters/blobfile", "stores that keep a blob as a file share its check"},
	{"adapters/upstream", "imapwire/syntax", "the IMAP client parses and encodes with the same machines as the server"},
	{"adapters/sqlite", "migrations", "the embedded store applies its own schema"},
	{"adapters/postgres", "migrations", "and so does the store of many nodes"},
	{"cmd/imapped", "domain", "the binary wires everything"},
	{"cmd/imapped", "ports", "the binary wires everything"},
	{"cmd/imapped", "app", "the binary wires everything"},
	{"cmd/imapped", "imapwire/server", "the binary wires everything"},
	{"cmd/imapped", "imapwire/syntax", "the binary sets how large a literal may be"},
	{"cmd/imapped", "imapwire/fsm", "and shows the results of commands in metrics"},
	{"cmd/imapped", "adapters/*", "the binary wires everything"},
	{"tools/convergence", "domain", "the simulator wires whole processes, and its model speaks of flags, UIDs and messages"},
	{"tools/convergence", "ports", "it stands between the processes and their ports, to kill and to pause them"},
	{"tools/convergence", "app", "it runs the syncer, replay and sessions themselves"},
	{"tools/convergence", "adapters/memory", "over the event bus of a process"},
	{"tools/convergence", "adapters/sqlite", "and the real store"},
	{"tools/convergence", "adapters/postgres", "or the one of many nodes"},
	{"tools/convergence", "adapters/s3", "with the blobs of many nodes"},
	{"tools/convergence", "adapters/redis", "and the hints between them"},
	{"tools/convergence", "adapters/upstream", "and, where the upstream is a real server, the real client"},
}

// testEdges are allowed to test files, besides edges.
var testEdges = []edge{
	{"adapters/*", "ports/*/*test", "every adapter runs its port's contract suite"},
	{"adapters/redis", "adapters/memory", "its tests run over the in-process adapters that it is made of"},
	{"adapters/postgres", "adapters/memory", "its bus carries hints between buses of one process each"},
	{"app", "adapters/memory", "use cases are tested over real in-process adapters"},
	{"app", "adapters/sqlite", "use cases are tested over real in-process adapters"},
	{"app", "ports/*/*test", "a store that was moved still keeps its port's contract"},
	{"app", "adapters/postgres", "moving an installation is tested between the stores that it is for"},
	{"app", "adapters/blobfs", "moving an installation is tested between the stores that it is for"},
	{"app", "adapters/s3", "moving an installation is tested between the stores that it is for"},
	{"imapwire/server", "ports", "the server's tests wire a whole server"},
	{"imapwire/server", "adapters/memory", "the server's tests wire a whole server"},
	{"imapwire/server", "adapters/sqlite", "the server's tests wire a whole server"},
	{"imapwire/server", "adapters/blobfs", "the server's tests wire a whole server"},
	{"adapters/blobcache", "adapters/blobfs", "a cache stands before another store"},
	{"adapters/blobcache", "adapters/s3", "a cache stands before another store"},
}

// library allows a part to import packages of another module.
type library struct{ from, prefix, why string }

// libraries is every import from outside the standard library that is allowed.
var libraries = []library{
	{"domain", "golang.org/x/text", "charsets and normalisation: computes only"},
	{"app", "golang.org/x/crypto", "password hashes"},
	{"app", "golang.org/x/sync", "a weighted semaphore bounds the memory of bodies under way; groups of goroutines that fail together"},
	{"adapters/blobfs", "golang.org/x/sys", "system calls for grouped fsync that the standard library lacks"},
	{"adapters/blobcache", "golang.org/x/sys", "its tests mount a small file system"},
	{"adapters/s3", "github.com/aws/aws-sdk-go-v2", "the S3 protocol"},
	{"adapters/s3", "github.com/aws/smithy-go", "and its errors"},
	{"adapters/s3", "github.com/johannesboyne/gofakes3", "a server for tests, in adapters/s3/s3test only"},
	{"adapters/ops", "github.com/prometheus/client_golang/prometheus", "instruments, and the format in which they are read"},
	{"adapters/redis", "github.com/redis/go-redis/v9", "the Redis protocol"},
	{"adapters/redis", "github.com/alicebob/miniredis/v2", "tests without a server"},
	{"adapters/sqlite", "modernc.org/sqlite", "SQLite without cgo"},
	{"adapters/sqlite", "github.com/pressly/goose/v3", "migrations"},
	{"adapters/postgres", "github.com/jackc/pgx/v5", "Postgres' own protocol: batches in one round trip, notifications"},
	{"adapters/postgres", "github.com/pressly/goose/v3", "migrations"},
	{"adapters/*", "golang.org/x/crypto", "sealing secrets"},
	{"cmd/imapped", "github.com/alecthomas/kong", "the command line"},
	{"cmd/imapped", "github.com/BurntSushi/toml", "the configuration file"},
	{"cmd/imapped", "golang.org/x/term", "the password prompt"},
	{"cmd/imapped", "github.com/alicebob/miniredis/v2", "tests without a server"},
}

// impure are packages of the standard library that the domain does without: it does no I/O and holds no state of the
// process.
var impure = []string{
	"database/sql", "io/ioutil", "log", "log/slog", "net", "net/http", "os", "os/exec", "os/signal", "runtime/debug",
	"syscall", "testing",
}

// pkg is what "go list -json" says about a package.
type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

// list returns the packages of the main module, and the set of their import paths.
func list(t *testing.T) (pkgs []pkg, known map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	known = map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		pkgs = append(pkgs, p)
		known[p.ImportPath] = true
	}
	if len(pkgs) == 0 {
		t.Fatal("go list names no package")
	}
	return pkgs, known
}

// match says whether path, or a leading part of it, has the form of pattern; it returns that leading part.
func match(pattern, path string) (string, bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(have) < len(want) {
		return "", false
	}
	for i, w := range want {
		before, after, wild := strings.Cut(w, "*")
		switch {
		case !wild && w != have[i]:
			return "", false
		case wild && !(len(have[i]) > len(before)+len(after) &&
			strings.HasPrefix(have[i], before) && strings.HasSuffix(have[i], after)):
			return "", false
		}
	}
	return strings.Join(have[:len(want)], "/"), true
}

// part returns the pattern and the value of the part that an import path of the module lies in, or "".
func part(path string) (pattern, value string) {
	path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	for _, p := range parts {
		if v, ok := match(p, path); ok && strings.Count(p, "/") >= strings.Count(pattern, "/") {
			pattern, value = p, v
		}
	}
	return pattern, value
}

func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

func outside(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !ours(path) && strings.Contains(first, ".")
}

func covers(pattern, value string) bool {
	v, ok := match(pattern, value)
	return ok && v == value
}

func TestEveryPackageBelongsSomewhere(t *testing.T) {
	pkgs, _ := list(t)
	for _, p := range pkgs {
		if pattern, _ := part(p.ImportPath); pattern == "" {
			t.Errorf("%s lies in no part of the house", p.ImportPath)
		}
	}
}

func TestImports(t *testing.T) {
	pkgs, _ := list(t)
	used := map[any]bool{}
	for _, p := range pkgs {
		check(t, p.ImportPath, p.Imports, false, used)
		check(t, p.ImportPath, slices.Concat(p.TestImports, p.XTestImports), true, used)
	}
	for _, e := range slices.Concat(edges, testEdges) {
		if e.why == "" {
			t.Errorf("the edge %s -> %s has no reason", e.from, e.to)
		}
	}
	for _, l := range libraries {
		if l.why == "" {
			t.Errorf("the library %s of %s has no reason", l.prefix, l.from)
		}
		if !used[l] {
			t.Errorf("no package of %s imports %s any more: remove the row", l.from, l.prefix)
		}
	}
	for _, e := range slices.Concat(edges, testEdges) {
		if !used[e] {
			t.Errorf("no package of %s imports %s any more: remove the row", e.from, e.to)
		}
	}
}

// check reports the imports of one package that no row allows, and marks the rows that allowed one.
func check(t *testing.T, path string, imports []string, test bool, used map[any]bool) {
	t.Helper()
	_, from := part(path)
	for _, to := range imports {
		switch {
		case outside(to):
			i := slices.IndexFunc(libraries, func(l library) bool {
				return covers(l.from, from) && (to == l.prefix || strings.HasPrefix(to, l.prefix+"/"))
			})
			if i < 0 {
				t.Errorf("%s imports %s: no row of libraries allows it to %s", path, to, from)
				continue
			}
			used[libraries[i]] = true
		case !ours(to):
			if from == "domain" && !test && slices.Contains(impure, to) {
				t.Errorf("%s imports %s: the domain does no I/O and keeps no state of the process", path, to)
			}
		default:
			_, value := part(to)
			if value == from {
				continue
			}
			allowed := edges
			if test {
				allowed = slices.Concat(edges, testEdges)
			}
			found := false
			for _, e := range allowed {
				if covers(e.from, from) && covers(e.to, value) {
					used[e], found = true, true
				}
			}
			if !found {
				t.Errorf("%s imports %s: no edge allows %s -> %s (test file: %v)", path, to, from, value, test)
			}
		}
	}
}

// TestPartsExist fails when a part, or a path that a table names, is gone.
func TestPartsExist(t *testing.T) {
	pkgs, _ := list(t)
	exists := func(pattern string) bool {
		return slices.ContainsFunc(pkgs, func(p pkg) bool {
			_, value := part(p.ImportPath)
			return covers(pattern, value)
		})
	}
	for _, p := range parts {
		if !exists(p) {
			t.Errorf("no package lies in the part %s any more", p)
		}
	}
	for _, e := range slices.Concat(edges, testEdges) {
		for _, name := range []string{e.from, e.to} {
			if !exists(name) {
				t.Errorf("%s, named by an edge, is gone", name)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct{ path, pattern, value string }{
		{"imapped/domain/flag", "domain", "domain"},
		{"imapped/ports", "ports", "ports"},
		{"imapped/ports/blob", "ports", "ports"},
		{"imapped/ports/blob/blobtest", "ports/*/*test", "ports/blob/blobtest"},
		{"imapped/adapters/sqlite/internal", "adapters/*", "adapters/sqlite"},
		{"imapped/imapwire/server", "imapwire/server", "imapwire/server"},
		{"imapped/elsewhere", "", ""},
	} {
		if pattern, value := part(c.path); pattern != c.pattern || value != c.value {
			t.Errorf("part(%q) = %q, %q; want %q, %q", c.path, pattern, value, c.pattern, c.value)
		}
	}
}
