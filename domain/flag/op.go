package flag

// Op is a change of flags as additions and removals, so that two sides' changes to different flags of a message can
// both hold. The zero value changes nothing. Add and Remove never share a flag.
type Op struct {
	Add, Remove Set
}

// Replace returns the operation that takes a message from old to want.
func Replace(old, want Set) Op { return Op{Add: want.Minus(old), Remove: old.Minus(want)} }

// Apply returns s after the operation.
func (o Op) Apply(s Set) Set { return s.Minus(o.Remove).Union(o.Add) }

// Then returns the one operation that does what o and then next do.
func (o Op) Then(next Op) Op {
	return Op{
		Add:    o.Add.Minus(next.Remove).Union(next.Add),
		Remove: o.Remove.Minus(next.Add).Union(next.Remove),
	}
}

// Empty says whether the operation changes nothing, whatever it is applied to.
func (o Op) Empty() bool { return o.Add.Empty() && o.Remove.Empty() }
