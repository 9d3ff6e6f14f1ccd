package metadata

import "imapped/domain/flag"

// FlagPlan is what a FlagEdit does to a message.
type FlagPlan struct {
	Flags   flag.Set // what it has afterwards
	Changed bool
	Again   bool    // nothing changes here, and Op is queued all the same
	Op      flag.Op // for the queue, where Changed or Again
}

// Plan returns what e does to a message with the flags.
func (e *FlagEdit) Plan(old flag.Set) FlagPlan {
	var op flag.Op
	if e.Again {
		return FlagPlan{Flags: old, Again: e.Flags.Minus(old).Empty(), Op: flag.Op{Add: e.Flags}}
	}
	switch e.Mode {
	case AddFlags:
		op.Add = e.Flags
	case RemoveFlags:
		op.Remove = e.Flags
	case ReplaceFlags:
		op = flag.Op{Add: e.Flags, Remove: old.Minus(e.Flags)}
	}
	now := op.Apply(old)
	return FlagPlan{Flags: now, Changed: !now.Equal(old), Op: flag.Replace(old, now)}
}
