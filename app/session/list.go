package session

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

// node is a place, or a name that only other names are below, on its way to an answer.
type node struct {
	place
	children bool // there is a name below it
	selected bool // the request's selection options select it
	matched  bool // one of the request's patterns matches it
	below    bool // a name below it is selected
	hidden   bool // a name below it is selected, but no pattern matches that one
}

// List implements Session.
func (l *login) List(ctx context.Context, r ListRequest) ([]Listed, error) {
	const op = "list mailboxes"
	selects := r.Subscribed || r.LSUB || r.SpecialUse
	if len(r.Patterns) == 1 && r.Patterns[0] == "" && (!selects || r.LSUB) {
		return []Listed{{Attrs: mailbox.NoSelect}}, nil // the delimiter; every reference has the same root
	}
	tree, err := l.tree(ctx)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	nodes := withParents(tree.places)
	patterns := make([]pattern, len(r.Patterns))
	for i, p := range r.Patterns {
		patterns[i] = newPattern(r.Reference + p)
	}
	at := make(map[string]*node, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		at[n.name] = n
		n.matched = slices.ContainsFunc(patterns, func(p pattern) bool { return p.match(n.name, n.inbox) })
		n.selected = (!r.Subscribed && !r.LSUB || n.info.Subscribed) &&
			(!r.SpecialUse || n.info.Attrs&mailbox.SpecialUse != 0)
	}
	for i := range nodes {
		n := &nodes[i]
		for parent := range parents(n.name) {
			p := at[parent]
			p.children = true
			p.below = p.below || n.selected
			p.hidden = p.hidden || n.selected && !n.matched
		}
	}
	var out []Listed
	for i := range nodes {
		n := &nodes[i]
		// A name that is not selected itself stands for those below it that are not shown (RFC 9051 section
		// 6.3.9.1, RECURSIVEMATCH; RFC 3501 section 6.3.9 for LSUB).
		if !n.matched || !n.selected && !((r.Recursive || r.LSUB) && n.hidden) {
			continue
		}
		item, err := l.listed(ctx, n, r)
		if err != nil {
			return nil, fault.Wrap(op, err)
		}
		out = append(out, item)
	}
	return out, nil
}

func (l *login) listed(ctx context.Context, n *node, r ListRequest) (Listed, error) {
	item := Listed{
		Name: n.name, Attrs: n.info.Attrs, NonExistent: !n.exists(), Subscribed: n.info.Subscribed,
		HasChildren: n.children, ChildInfo: r.Recursive && n.below,
	}
	if r.LSUB && !n.selected {
		item.Attrs |= mailbox.NoSelect
	}
	if r.Status && n.info.ID != 0 && n.info.Attrs&mailbox.NoSelect == 0 {
		st, err := l.svc.status(ctx, n.info)
		if err != nil {
			return Listed{}, err
		}
		item.Status = &st
	}
	return item, nil
}

// withParents returns the places as nodes with the names that only other names are below, in the order of the names.
func withParents(places []place) []node {
	nodes := make([]node, 0, len(places))
	seen := make(map[string]bool, len(places))
	for _, p := range places {
		if !seen[p.name] {
			seen[p.name] = true
			nodes = append(nodes, node{place: p})
		}
	}
	for _, p := range places {
		for parent := range parents(p.name) {
			if !seen[parent] {
				seen[parent] = true
				nodes = append(nodes, node{place: place{name: parent, inbox: -1}})
			}
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.name, b.name) })
	return nodes
}

// parents yields the names above name, the nearest first.
func parents(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for {
			i := strings.LastIndex(name, delimiter)
			if i <= 0 {
				return
			}
			if name = name[:i]; !yield(name) {
				return
			}
		}
	}
}
