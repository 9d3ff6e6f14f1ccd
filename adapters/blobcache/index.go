package blobcache

import (
	"time"

	"imapped/ports/blob"
)

// node is a file of the cache, in a ring ordered by use.
type node struct {
	name         blob.Key
	size         int64 // rounded up to blocks
	touched      time.Time
	newer, older *node
}

// index knows the files, by their names (Store.name), and in which order they were used. It is not safe for use by several
// goroutines.
type index struct {
	nodes map[blob.Key]*node
	root  node // root.older is the file used last, root.newer the one to leave first
	total int64
}

// block is the unit in which a file system gives room away.
const block = 4096

func rounded(size int64) int64 { return (size + block - 1) / block * block }

func newIndex() *index {
	x := &index{nodes: map[blob.Key]*node{}}
	x.root.newer, x.root.older = &x.root, &x.root
	return x
}

func (x *index) has(name blob.Key) bool { return x.nodes[name] != nil }

// use notes that a file is there and was used now.
func (x *index) use(name blob.Key, size int64) *node {
	n := x.nodes[name]
	if n == nil {
		n = &node{name: name}
		x.nodes[name] = n
	} else {
		n.unlink()
		x.total -= n.size
	}
	n.size = rounded(size)
	x.total += n.size
	n.link(&x.root, x.root.older)
	return n
}

// addOld notes a file that was used before all others; one that is known stays where it is.
func (x *index) addOld(name blob.Key, size int64, touched time.Time) {
	if x.has(name) {
		return
	}
	n := &node{name: name, size: rounded(size), touched: touched}
	x.nodes[name] = n
	x.total += n.size
	n.link(x.root.newer, &x.root)
}

// link puts n between two neighbours.
func (n *node) link(newer, older *node) {
	n.newer, n.older = newer, older
	newer.older, older.newer = n, n
}

func (n *node) unlink() { n.newer.older, n.older.newer = n.older, n.newer }

func (x *index) remove(name blob.Key) {
	if n := x.nodes[name]; n != nil {
		n.unlink()
		x.total -= n.size
		delete(x.nodes, name)
	}
}

// shrink forgets files until the rest takes at most limit bytes, and returns the forgotten.
func (x *index) shrink(limit int64) (gone []blob.Key) {
	for x.total > limit && x.root.newer != &x.root {
		gone = append(gone, x.root.newer.name)
		x.remove(x.root.newer.name)
	}
	return gone
}
