package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// kind is what goes wrong.
type kind string

const (
	killNode        kind = "kill -9 of a node"
	stopNode        kind = "SIGSTOP of a node"
	cutRedis        kind = "a node cut from Redis"
	cutDatabase     kind = "a node cut from Postgres"
	cutObjects      kind = "a node cut from S3"
	cutUpstream     kind = "a node cut from the upstream"
	restartRedis    kind = "Redis restarted empty"
	restartDatabase kind = "Postgres restarted"
)

var allKinds = []kind{killNode, stopNode, cutRedis, cutDatabase, cutObjects, cutUpstream, restartRedis, restartDatabase}

// manner is how a line is cut.
type manner string

const (
	loud   manner = "loud"   // connections are reset, and new ones refused
	silent manner = "silent" // everything is swallowed
	held   manner = "held"   // everything is held back, and arrives in the end
)

// fault is one thing that goes wrong.
type fault struct {
	kind  kind
	at    time.Duration // since the beginning
	lasts time.Duration // until it is healed
	// node is whose line is cut, or that of the next one which runs. A node that is killed or stopped is the one that owns the
	// account.
	node, account int
	manner        manner
	hard          bool // Postgres is killed, not asked to end
}

func (f fault) String() string {
	s := fmt.Sprintf("%s at %s", f.kind, f.at.Round(time.Millisecond))
	switch f.kind {
	case killNode, stopNode:
		s += fmt.Sprintf(", the owner of account %d", f.account)
	case restartDatabase:
		return fmt.Sprintf("%s, killed: %t", s, f.hard)
	case restartRedis:
		return s
	default:
		s += fmt.Sprintf(", node %d, %s", f.node, f.manner)
	}
	return fmt.Sprintf("%s, for %s", s, f.lasts.Round(time.Millisecond))
}

// form is the size of a run.
type form struct {
	traffic        time.Duration
	stop           time.Duration // how long a node stands still
	down           time.Duration // how long a node is gone at least that was killed
	cut            time.Duration // how long a line is cut at least; at most twice that
	takeover       time.Duration // in which the rest stays as it is, so that accounts can be taken over
	nodes, clients int
	accounts       int
}

var (
	full  = form{traffic: 120 * time.Second, stop: 30 * time.Second, down: 12 * time.Second, cut: 8 * time.Second}
	short = form{traffic: 50 * time.Second, stop: 14 * time.Second, down: 11 * time.Second, cut: 2500 * time.Millisecond}
)

// takeOver is within what time the accounts of a node that is dead or stands still are taken over.
const takeOver = 10 * time.Second

// resumption is for how long after that a mailbox may stay as it is: what the other node had sent and not heard of is given its
// time (replay.Config.Grace), and looked for, before the mailbox is looked at.
const resumption = 5 * time.Second

func (f form) sized() form {
	f.takeover, f.nodes, f.clients, f.accounts = takeOver+time.Second/2, 3, 20, 5
	return f
}

// below returns a time from 0 up to d, without d.
func below(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

// schedule returns every kind of fault once, in order of time. While accounts are to be taken over nothing else happens that
// would keep the other nodes from it; what keeps one node from its database, objects or upstream does not overlap either, so
// that there is always one that can do everything. All else may coincide.
func schedule(rng *rand.Rand, f form) []fault {
	span := func(least time.Duration) time.Duration { return least + below(rng, least) }
	var exclusive, free []fault
	for _, k := range allKinds {
		e := fault{kind: k, node: rng.IntN(f.nodes), account: rng.IntN(f.accounts)}
		switch k {
		case killNode:
			e.lasts = f.down + below(rng, f.down/2)
		case stopNode:
			e.lasts = f.stop
		case restartDatabase:
			e.hard = rng.IntN(2) == 0
		case restartRedis:
		case cutUpstream:
			// What a network held back for longer than replay waits is carried out twice: docs/conflicts.md, Limits.
			e.lasts, e.manner = span(f.cut), []manner{loud, silent}[rng.IntN(2)]
		default:
			e.lasts, e.manner = span(f.cut), []manner{loud, silent, held}[rng.IntN(3)]
		}
		switch k {
		case killNode, stopNode, restartDatabase, cutDatabase, cutObjects, cutUpstream:
			exclusive = append(exclusive, e)
		default:
			free = append(free, e)
		}
	}
	rng.Shuffle(len(exclusive), func(i, j int) { exclusive[i], exclusive[j] = exclusive[j], exclusive[i] })
	// One that lasts longer than what is exclusive of it comes early enough to be over with the traffic.
	slices.SortStableFunc(exclusive, func(a, b fault) int { return int(a.tail(f)/longTail) - int(b.tail(f)/longTail) })
	slices.Reverse(exclusive)
	used := time.Duration(0)
	for _, e := range exclusive {
		used += e.slot(f)
	}
	slack := max(f.traffic-used-firstFault, 0)
	at := firstFault
	for i, e := range exclusive {
		gap := below(rng, slack/time.Duration(len(exclusive)-i)+1)
		slack -= gap
		exclusive[i].at = at + gap
		at += gap + e.slot(f)
	}
	for i, e := range free {
		free[i].at = firstFault + below(rng, f.traffic-firstFault-e.lasts)
	}
	all := append(exclusive, free...)
	slices.SortFunc(all, func(a, b fault) int { return int(a.at - b.at) })
	return all
}

const (
	// firstFault is when the first can come: everything runs then.
	firstFault = 3 * time.Second
	// outage is how long Postgres and what had lost it need at least to find each other again.
	outage = 4 * time.Second
	// longTail is what of a fault must be left after its slot for it to be among the first.
	longTail = 10 * time.Second
)

// slot is how long nothing else happens that is exclusive of it.
func (f fault) slot(size form) time.Duration {
	switch f.kind {
	case killNode, stopNode:
		return size.takeover
	case restartDatabase:
		return outage
	}
	return f.lasts + time.Second
}

// tail is how long it lasts after that.
func (f fault) tail(size form) time.Duration { return max(0, f.lasts-f.slot(size)) }

func TestSchedule(t *testing.T) {
	for _, f := range []form{full.sized(), short.sized()} {
		for seed := range uint64(300) {
			all := schedule(rand.New(rand.NewPCG(seed, 1)), f)
			again := schedule(rand.New(rand.NewPCG(seed, 1)), f)
			if !slices.Equal(all, again) {
				t.Fatalf("seed %d gives two schedules", seed)
			}
			seen := map[kind]int{}
			var until time.Duration
			for _, e := range all {
				seen[e.kind]++
				if e.at < firstFault || e.at+e.lasts > f.traffic+longTail {
					t.Errorf("seed %d: %s is out of bounds", seed, e)
				}
				switch e.kind {
				case killNode, stopNode, restartDatabase, cutDatabase, cutObjects, cutUpstream:
					if e.at < until {
						t.Errorf("seed %d: %s while another is to be alone", seed, e)
					}
					until = e.at + e.slot(f)
				}
				if e.manner == held && e.kind == cutUpstream {
					t.Errorf("seed %d: %s", seed, e)
				}
			}
			for _, k := range allKinds {
				if seen[k] != 1 {
					t.Errorf("seed %d: %s comes %d times", seed, k, seen[k])
				}
			}
		}
	}
}
