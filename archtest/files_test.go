package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxLines is the longest that a file written by hand may be.
const maxLines = 500

// Files that may break a rule, each with its reason. They are empty on purpose.
var (
	longFiles    = map[string]string{}
	sleepingTest = map[string]string{}
)

// skippedDirs hold nothing of ours, or nothing that is checked in.
var skippedDirs = []string{".git", "bin", "dist", "imapped-data", "testdata", "node_modules"}

// file is one file of the repository; path is relative to its root.
type file struct {
	path string
	text []byte
}

func (f file) is(ext ...string) bool { return slices.Contains(ext, filepath.Ext(f.path)) }

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func (f file) generated() bool { return generatedMark.Match(f.text) }

// files returns the files of the repository, of every module in it.
func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(skippedDirs, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		all = append(all, file{filepath.ToSlash(rel), text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no file found")
	}
	return all
}

// goFile is a parsed Go file.
type goFile struct {
	file
	*ast.File
	fset *token.FileSet
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var all []goFile
	for _, f := range files(t) {
		if !f.is(".go") {
			continue
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		all = append(all, goFile{f, tree, fset})
	}
	return all
}

func (f goFile) at(n ast.Node) string { return f.fset.Position(n.Pos()).String() }

// name returns the name under which f imports a package, or "".
func (f goFile) name(path string) string {
	for _, s := range f.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err != nil || p != path {
			continue
		}
		if s.Name != nil {
			return s.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}

// calls runs fn for each call of a selected function: x.sel(...).
func (f goFile) calls(fn func(call *ast.CallExpr, x, sel string)) {
	ast.Inspect(f.File, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok {
				x := ""
				if id, ok := s.X.(*ast.Ident); ok {
					x = id.Name
				}
				fn(call, x, s.Sel.Name)
			}
		}
		return true
	})
}

func TestOnePackageDoc(t *testing.T) {
	docs := map[string][]string{}
	seen := map[string]bool{}
	for _, f := range goFiles(t) {
		dir := filepath.ToSlash(filepath.Dir(f.path))
		seen[dir] = true
		if f.Doc != nil && !strings.HasPrefix(f.Doc.Text(), "Code generated") {
			docs[dir] = append(docs[dir], f.path)
			lead := f.Doc.Text()
			if want := "Package " + f.Name.Name + " "; f.Name.Name != "main" && !strings.HasPrefix(lead, want) {
				t.Errorf("%s: the package comment does not begin with %q", f.path, want)
			}
			if f.Name.Name == "main" && !strings.HasPrefix(lead, "Command ") {
				t.Errorf("%s: the comment of a command does not begin with \"Command \"", f.path)
			}
		}
	}
	for dir := range seen {
		if len(docs[dir]) != 1 {
			t.Errorf("%s has %d package comments, want 1: %v", dir, len(docs[dir]), docs[dir])
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range files(t) {
		if !f.is(".go", ".sh") || f.generated() || longFiles[f.path] != "" {
			continue
		}
		if n := bytes.Count(f.text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d", f.path, n, maxLines)
		}
	}
}

// machinePath is a path of somebody's machine. The words are broken up so that this file does not break its own rule.
var machinePath = regexp.MustCompile(`(^|[\s"'=(` + "`" + `:])/(wo` + `rk|ho` + `me|ro` + `ot|Us` + `ers|t` + `mp)/`)

func TestNoMachinePaths(t *testing.T) {
	for _, f := range files(t) {
		if !f.is(".go", ".md", ".sh", ".yml", ".yaml", ".table", ".sql", ".mod", "") {
			continue
		}
		for i, line := range bytes.Split(f.text, []byte("\n")) {
			if machinePath.Match(line) {
				t.Errorf("%s:%d names a path of one machine: %s", f.path, i+1, line)
			}
		}
	}
}

func TestNoLooseEnds(t *testing.T) {
	mark := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, f := range goFiles(t) {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if mark.MatchString(c.Text) {
					t.Errorf("%s: %s", f.at(c), c.Text)
				}
			}
		}
	}
}

func TestSkipsSayWhy(t *testing.T) {
	for _, f := range goFiles(t) {
		f.calls(func(call *ast.CallExpr, x, sel string) {
			// Other types have a Skip of their own; a test's or benchmark's parameter is named t or b here.
			if sel == "SkipNow" || sel == "Skip" && len(call.Args) == 0 && (x == "t" || x == "b") {
				t.Errorf("%s: a test is skipped without a message", f.at(call))
			}
		})
	}
}

// TestNoSleepingTests: a test waits for what it waits for. Under testing/synctest the clock is not the machine's, and
// sleeping is how it is moved.
func TestNoSleepingTests(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test() || f.name("testing/synctest") != "" || sleepingTest[f.path] != "" {
			continue
		}
		f.calls(func(call *ast.CallExpr, x, sel string) {
			if sel == "Sleep" && x != "" && x == f.name("time") {
				t.Errorf("%s: a test sleeps", f.at(call))
			}
		})
	}
}

// TestDomainReadsNoClock: what the domain knows of time, it is told.
func TestDomainReadsNoClock(t *testing.T) {
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	for _, f := range goFiles(t) {
		if !strings.HasPrefix(f.path, "domain/") || f.test() {
			continue
		}
		f.calls(func(call *ast.CallExpr, x, sel string) {
			if x != "" && x == f.name("time") && slices.Contains(clock, sel) {
				t.Errorf("%s: time.%s in the domain", f.at(call), sel)
			}
		})
	}
}

// TestNoControlDataInContexts: what a function needs, it takes as a parameter.
func TestNoControlDataInContexts(t *testing.T) {
	for _, f := range goFiles(t) {
		f.calls(func(call *ast.CallExpr, x, sel string) {
			if sel == "WithValue" && x != "" && x == f.name("context") {
				t.Errorf("%s: context.WithValue", f.at(call))
			}
		})
	}
}
