package imapc

import (
	"fmt"
	"strings"
)

// Kind is what a Node is.
type Kind int

// The kinds. A literal and a quoted string are both String: they mean the same (RFC 9051 section 4.3).
const (
	Atom Kind = iota
	String
	List
	NIL
)

// Node is one value of an answer.
type Node struct {
	Kind  Kind
	Text  string // of an Atom or a String
	Items []Node // of a List
}

// String renders the tree canonically, so that equal values give equal text: atoms in upper case, strings quoted by Go.
func (n Node) String() string {
	switch n.Kind {
	case NIL:
		return "NIL"
	case Atom:
		return strings.ToUpper(n.Text)
	case String:
		return fmt.Sprintf("%q", n.Text)
	}
	parts := make([]string, len(n.Items))
	for i, item := range n.Items {
		parts[i] = item.String()
	}
	return "(" + strings.Join(parts, " ") + ")"
}

// Item returns the i-th item of a list, or NIL where there is none.
func (n Node) Item(i int) Node {
	if i < 0 || i >= len(n.Items) {
		return Node{Kind: NIL}
	}
	return n.Items[i]
}

// Pairs returns the values of a list of names and values, by upper-case name.
func (n Node) Pairs() (map[string]Node, error) {
	if n.Kind != List || len(n.Items)%2 != 0 {
		return nil, fmt.Errorf("imapc: not a list of pairs: %s", n)
	}
	all := make(map[string]Node, len(n.Items)/2)
	for i := 0; i < len(n.Items); i += 2 {
		name := strings.ToUpper(n.Items[i].Text)
		if n.Items[i].Kind != Atom {
			return nil, fmt.Errorf("imapc: the name of a pair is not an atom: %s", n.Items[i])
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("imapc: %s comes twice", name)
		}
		all[name] = n.Items[i+1]
	}
	return all, nil
}

// Texts returns the texts of a list's items.
func (n Node) Texts() []string {
	all := make([]string, len(n.Items))
	for i, item := range n.Items {
		all[i] = item.Text
	}
	return all
}

// parser reads nodes from one logical line, whose literals have been collected.
type parser struct {
	text     string // literals appear as {N} CRLF
	pos      int
	literals []string
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("imapc: %s at %d of %.200q", what, p.pos, p.text)
}

func (p *parser) end() bool { return p.pos == len(p.text) }

func (p *parser) peek() byte {
	if p.end() {
		return 0
	}
	return p.text[p.pos]
}

func (p *parser) space() error {
	if p.peek() != ' ' {
		return p.fail("a space is missing")
	}
	p.pos++
	return nil
}

const maxDepth = 10_000

func (p *parser) node(depth int) (Node, error) {
	switch c := p.peek(); {
	case depth > maxDepth:
		return Node{}, p.fail("nested too deep")
	case c == '(':
		return p.list(depth)
	case c == '"':
		return p.quoted()
	case c == '{' || c == '~' && strings.HasPrefix(p.text[p.pos:], "~{"):
		return p.literal()
	}
	return p.atom()
}

func (p *parser) list(depth int) (Node, error) {
	p.pos++
	n := Node{Kind: List}
	for p.peek() != ')' {
		// Parts of a multipart follow each other without a space (RFC 9051 section 9, body-type-mpart).
		if len(n.Items) > 0 && (p.peek() != '(' || n.Items[len(n.Items)-1].Kind != List) {
			if err := p.space(); err != nil {
				return n, err
			}
		}
		item, err := p.node(depth + 1)
		if err != nil {
			return n, err
		}
		n.Items = append(n.Items, item)
	}
	p.pos++
	return n, nil
}

func (p *parser) quoted() (Node, error) {
	var b strings.Builder
	for p.pos++; ; p.pos++ {
		switch c := p.peek(); {
		case p.end():
			return Node{}, p.fail("an unclosed string")
		case c == '"':
			p.pos++
			return Node{Kind: String, Text: b.String()}, nil
		case c == '\\':
			p.pos++
			if c = p.peek(); c != '"' && c != '\\' {
				return Node{}, p.fail("a wrong escape")
			}
			b.WriteByte(c)
		case c == '\r' || c == '\n' || c == 0:
			return Node{}, p.fail("a control character in a string")
		default:
			b.WriteByte(c)
		}
	}
}

func (p *parser) literal() (Node, error) {
	i := strings.Index(p.text[p.pos:], "}\r\n")
	if i < 0 || len(p.literals) == 0 {
		return Node{}, p.fail("a brace that is no literal")
	}
	p.pos += i + 3
	n := Node{Kind: String, Text: p.literals[0]}
	p.literals = p.literals[1:]
	return n, nil
}

// atom reads up to what may follow an atom; a section in brackets belongs to it: BODY[HEADER.FIELDS (A B)]<0>.
func (p *parser) atom() (Node, error) {
	start, depth := p.pos, 0
	for ; !p.end(); p.pos++ {
		c := p.peek()
		switch {
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case depth > 0:
			continue
		}
		if depth == 0 && (c == ' ' || c == '(' || c == ')' || c == '"' || c == '{' || c < ' ' || c >= 0x7f) {
			break
		}
	}
	if p.pos == start || depth > 0 {
		return Node{}, p.fail("an atom is missing")
	}
	text := p.text[start:p.pos]
	if strings.EqualFold(text, "NIL") {
		return Node{Kind: NIL}, nil
	}
	return Node{Kind: Atom, Text: text}, nil
}

// nodes reads all that is left, separated by single spaces.
func (p *parser) nodes() ([]Node, error) {
	var all []Node
	for !p.end() {
		if len(all) > 0 {
			if err := p.space(); err != nil {
				return all, err
			}
		}
		n, err := p.node(0)
		if err != nil {
			return all, err
		}
		all = append(all, n)
	}
	return all, nil
}
