package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// table is session.table, read and checked.
type table struct {
	commands     []command
	parameters   []parameter
	capabilities []capability
	absent       []absent
}

// command is one row of [commands]. A next state is N, A, S, L or "=".
type command struct {
	name, ident                     string
	states                          string
	tls                             bool
	capability, enable              string
	writes, usesSeqs, breaksSeqs    bool
	breaksMailbox, barrier, expunge bool
	literals, answers               string
	ok, no, bad                     string
	rfc                             string
}

// parameter is one row of [parameters].
type parameter struct{ command, name, capability, enable, rfc string }

// capability is one row of [capabilities].
type capability struct {
	name                string
	plain, open, authed bool
	when, value, rfc    string
}

// absent is one row of [absent].
type absent struct{ name, rfc, with string }

// states are the session's states in the order of their numbers; logout has no letter of its own in a command's
// states because it admits nothing.
var states = []struct{ letter, ident, name string }{
	{"N", "NotAuthenticated", "not authenticated"},
	{"A", "Authenticated", "authenticated"},
	{"S", "Selected", "selected"},
	{"L", "LoggedOut", "logout"},
}

var columns = map[string][]string{
	"commands": {"name", "states", "tls", "capability", "enable", "writes", "uses-seqs", "breaks-seqs", "breaks-mailbox",
		"barrier", "expunge", "literals", "answers", "ok", "no", "bad", "rfc"},
	"parameters":   {"command", "parameter", "capability", "enable", "rfc"},
	"capabilities": {"capability", "plain", "open", "authed", "when", "value", "rfc"},
	"absent":       {"command", "rfc", "with"},
}

var gap = regexp.MustCompile(` {2,}`)

// parse reads the table. An error names the line.
func parse(text string) (*table, error) {
	t := &table{}
	section, header := "", false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			section, header = strings.Trim(line, "[]"), true
			if columns[section] == nil {
				return nil, fmt.Errorf("line %d: unknown section %q", i+1, section)
			}
			continue
		}
		if columns[section] == nil {
			return nil, fmt.Errorf("line %d: a row before the first section", i+1)
		}
		cells := gap.Split(line, -1)
		if header {
			if !slices.Equal(cells, columns[section]) {
				return nil, fmt.Errorf("line %d: the columns of [%s] are %v", i+1, section, columns[section])
			}
			header = false
			continue
		}
		if len(cells) != len(columns[section]) {
			return nil, fmt.Errorf("line %d: %d cells, want %d", i+1, len(cells), len(columns[section]))
		}
		if err := t.add(section, cells); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return t, t.check()
}

// row reads the cells of one line from left to right and remembers the first bad one.
type row struct {
	cells []string
	err   error
}

func (r *row) text() string {
	c := r.cells[0]
	r.cells = r.cells[1:]
	if c == "-" {
		return ""
	}
	return c
}

func (r *row) yes() bool {
	c := r.text()
	if c != "y" && c != "." && r.err == nil {
		r.err = fmt.Errorf("want y or a dot, not %q", c)
	}
	return c == "y"
}

func (r *row) oneOf(allowed ...string) string {
	c := r.text()
	if !slices.Contains(allowed, c) && r.err == nil {
		r.err = fmt.Errorf("%q is none of %v", c, allowed)
	}
	return c
}

func (t *table) add(section string, cells []string) error {
	r := &row{cells: cells}
	switch section {
	case "commands":
		c := command{name: r.text(), states: r.text(), tls: r.yes(), capability: r.text(), enable: r.text(),
			writes: r.yes(), usesSeqs: r.yes(), breaksSeqs: r.yes(), breaksMailbox: r.yes(), barrier: r.yes(),
			expunge: r.yes(), literals: r.oneOf("none", "args", "stream"), answers: r.oneOf("none", "keyed", "plain"),
			ok: r.oneOf("=", "A", "S", "L"), no: r.oneOf("=", "A"), bad: r.oneOf("="), rfc: r.text()}
		c.ident = ident(c.name)
		if strings.Trim(c.states, "NAS") != "" || c.states == "" {
			return fmt.Errorf("%q: states are letters of N, A and S", c.states)
		}
		t.commands = append(t.commands, c)
	case "parameters":
		t.parameters = append(t.parameters, parameter{r.text(), r.text(), r.text(), r.text(), r.text()})
	case "capabilities":
		t.capabilities = append(t.capabilities, capability{r.text(), r.yes(), r.yes(), r.yes(),
			r.oneOf("", "tls-offered", "no-deflate"), r.oneOf("", "append-limit"), r.text()})
	case "absent":
		t.absent = append(t.absent, absent{r.text(), r.text(), r.text()})
	}
	return r.err
}

// check holds the rows against each other.
func (t *table) check() error {
	caps, cmds := map[string]bool{}, map[string]bool{}
	for _, c := range t.capabilities {
		if caps[c.name] {
			return fmt.Errorf("capability %s stands twice", c.name)
		}
		caps[c.name] = true
	}
	needs := func(who, capability string) error {
		if capability != "" && !caps[capability] {
			return fmt.Errorf("%s needs %s, which [capabilities] does not have", who, capability)
		}
		return nil
	}
	for _, c := range t.commands {
		if cmds[c.name] {
			return fmt.Errorf("command %s stands twice", c.name)
		}
		cmds[c.name] = true
		if err := needs(c.name, c.capability); err != nil {
			return err
		}
	}
	for _, p := range t.parameters {
		if !cmds[p.command] {
			return fmt.Errorf("parameter %s of %s, which is no command", p.name, p.command)
		}
		if err := needs(p.command+" "+p.name, p.capability); err != nil {
			return err
		}
	}
	for _, a := range t.absent {
		if cmds[a.name] {
			return fmt.Errorf("%s is absent and a command", a.name)
		}
	}
	return nil
}

// ident returns the Go name of a command.
func ident(name string) string {
	words := strings.Fields(name)
	for i, w := range words {
		switch w {
		case "ID", "UID":
		case "STARTTLS":
			words[i] = "StartTLS"
		case "GETQUOTA":
			words[i] = "GetQuota"
		case "GETQUOTAROOT":
			words[i] = "GetQuotaRoot"
		default:
			words[i] = w[:1] + strings.ToLower(w[1:])
		}
	}
	return strings.Join(words, "")
}

// capIdent returns the Go name of a capability.
func capIdent(name string) string {
	var b strings.Builder
	b.WriteString("Cap")
	up := true
	for _, r := range strings.ReplaceAll(name, "+", " Plus") {
		switch {
		case strings.ContainsRune("-= ", r):
			up = true
			continue
		case up:
			b.WriteRune(r)
		default:
			b.WriteString(strings.ToLower(string(r)))
		}
		up = false
	}
	return b.String()
}

// touchesMailbox says whether the command works on the selected mailbox's messages.
func (c command) touchesMailbox() bool { return c.states == "S" || c.breaksSeqs || c.breaksMailbox }

// conflict says why two commands of one connection must not overlap (RFC 9051 section 5.5); empty when they may.
func conflict(a, b command) string {
	base := func(c command) string { return strings.TrimPrefix(c.name, "UID ") }
	either := func(f func(command) bool) bool { return f(a) || f(b) }
	switch {
	case either(func(c command) bool { return c.barrier }):
		return "barrier"
	case either(func(c command) bool { return c.writes }):
		if base(a) == base(b) && a.answers == "keyed" {
			return ""
		}
		return "writes"
	case a.touchesMailbox() && b.touchesMailbox() && either(func(c command) bool { return c.breaksMailbox }):
		return "mailbox"
	case a.touchesMailbox() && b.touchesMailbox() && either(func(c command) bool { return c.breaksSeqs }):
		return "numbers"
	case base(a) == base(b) && a.answers == "plain":
		return "answers"
	}
	return ""
}
