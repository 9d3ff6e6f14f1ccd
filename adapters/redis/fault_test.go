package redis_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"imapped/adapters/memory"
	"imapped/adapters/redis"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/clock"
	"imapped/ports/events"
	"imapped/ports/nodes"
)

// node is what a process has of Redis.
type node struct {
	*redis.Client
	bus      *redis.Bus
	calls    *redis.Calls
	failures *redis.Failures
	log      *journal
}

func newNode(t *testing.T, o redis.Options) node {
	t.Helper()
	j := &journal{}
	o.Log = j.logger()
	c := open(t, o)
	return node{
		c, redis.NewBus(c, new(memory.Bus)), redis.NewCalls(c), redis.NewFailures(c, memory.NewFailures(clock.System{}, 0)), j,
	}
}

// local checks what a node does without Redis: its own sessions hear, failures are counted, and nobody waits.
func (n node) local(t *testing.T) {
	t.Helper()
	s := n.bus.Subscribe(100, 1)
	defer s.Close()
	began := time.Now()
	for seq := range 1000 {
		n.bus.Publish(events.Hint{Account: 100, Mailbox: 1, ModSeq: mailbox.ModSeq(seq)})
		heard(t, "a hint of this node", s.C())
	}
	for range 1000 {
		n.calls.Send(nodes.Call{What: nodes.Free})
	}
	for want := 1; want <= 3; want++ {
		if got, err := n.failures.Add(t.Context(), t.Name(), time.Hour); got != want || err != nil {
			t.Errorf("%d failures, %v, want %d", got, err, want)
		}
	}
	if got, _, err := n.failures.Count(t.Context(), t.Name()); got != 3 || err != nil {
		t.Errorf("%d failures, %v, want 3", got, err)
	}
	if err := n.failures.Clear(t.Context(), t.Name()); err != nil {
		t.Error(err)
	}
	if got, _, err := n.failures.Count(t.Context(), t.Name()); got != 0 || err != nil {
		t.Errorf("%d failures, %v, want none", got, err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("without Redis it took %v", took)
	}
}

// exchange checks that two nodes hear of each other. Both listen already.
func exchange(t *testing.T, from, to node, s events.Subscription) {
	t.Helper()
	drain(s)
	from.bus.Publish(events.Hint{Account: 1, Mailbox: 1, ModSeq: 99})
	heard(t, "a hint of another node", s.C())
	key := fmt.Sprint(t.Name(), time.Now().UnixNano())
	for want, n := range []node{from, to, from} {
		if got, err := n.failures.Add(t.Context(), key, time.Hour); got != want+1 || err != nil {
			t.Errorf("%d failures, %v, want %d", got, err, want+1)
		}
	}
	call := nodes.Call{What: nodes.Queue, Account: account.ID(time.Now().UnixNano())}
	called := make(chan nodes.Call, 100)
	defer to.calls.Receive(func(c nodes.Call) { called <- c })()
	from.calls.Send(call)
	hears(t, called, call)
}

func drain(s events.Subscription) {
	select {
	case <-s.C():
	default:
	}
}

// TestAwayAndBack: Redis is refused, killed, restarted empty, and stopped; what a node does alone goes on, who listens is
// told to look when it is back, and the log says each once.
func TestAwayAndBack(t *testing.T) {
	srv := downServer(t)
	o := redis.Options{URL: srv.url(), Prefix: prefix()}
	a, b := newNode(t, o), newNode(t, o)
	sub, other := a.bus.Subscribe(1, 1), a.bus.Subscribe(2, 7)
	defer sub.Close()
	defer other.Close()
	called := make(chan nodes.Call, 10_000)
	defer a.calls.Receive(func(c nodes.Call) { called <- c })()
	list := newPresence(t, a.Client, "a")
	newPresence(t, b.Client, "b")
	back := func(times int) {
		t.Helper()
		await(t, "the return of Redis", func() bool { return a.Connected() && b.Connected() })
		heard(t, "its return, by a session", sub.C())
		heard(t, "its return, by another session", other.C())
		missed(t, called)
		become(t, list, 2)
		exchange(t, b, a, sub)
		for _, n := range []node{a, b} {
			if away, back := n.log.count("Redis is away"), n.log.count("Redis is back"); away != times || back != times {
				t.Errorf("the log says %d times that it is away, %d times that it is back, want %d", away, back, times)
			}
		}
	}

	t.Log("refused")
	await(t, "the failure", func() bool { return a.log.count("Redis is away") == 1 && b.log.count("Redis is away") == 1 })
	a.local(t)
	if _, err := list.Nodes(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the list of nodes: %v, want unavailable", err)
	}
	srv.start()
	back(1)

	t.Log("killed, and restarted empty")
	srv.kill()
	await(t, "the failure", func() bool { return !a.Connected() && !b.Connected() })
	a.local(t)
	b.local(t)
	srv.start()
	back(2)

	t.Log("stopped")
	srv.signal(syscall.SIGSTOP)
	a.local(t)
	await(t, "the failure", func() bool { return !a.Connected() && !b.Connected() })
	b.local(t)
	srv.signal(syscall.SIGCONT)
	back(3)
}

// TestReadOnly: a server that answers and takes no changes is of no use for counting.
func TestReadOnly(t *testing.T) {
	srv := newServer(t)
	n := newNode(t, redis.Options{URL: srv.url(), Prefix: prefix()})
	await(t, "the connection", n.Connected)
	rdb := goredis.NewClient(&goredis.Options{Addr: srv.addr})
	defer rdb.Close()
	if err := rdb.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := n.failures.Add(t.Context(), "k", time.Hour); got != 1 || err != nil {
		t.Errorf("%d failures, %v, want 1", got, err)
	}
	await(t, "the failure", func() bool { return !n.Connected() })
	if err := rdb.Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "the connection", n.Connected)
}

// TestForeignKey: a key that holds something else, and a script that fails, are not the end of the connection. (miniredis
// answers a failed command in a transaction in another way.)
func TestForeignKey(t *testing.T) {
	o := redis.Options{URL: newServer(t).url(), Prefix: prefix()}
	n := newNode(t, o)
	await(t, "the connection", n.Connected)
	opt, _ := goredis.ParseURL(o.URL)
	rdb := goredis.NewClient(opt)
	defer rdb.Close()
	if err := rdb.RPush(t.Context(), o.Prefix+"failures:k", "x").Err(); err != nil {
		t.Fatal(err)
	}
	if err := rdb.Set(t.Context(), o.Prefix+"nodes", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 3; want++ {
		if got, err := n.failures.Add(t.Context(), "k", time.Hour); got != want || err != nil {
			t.Errorf("%d failures, %v, want %d", got, err, want)
		}
	}
	p := newPresence(t, n.Client, "n")
	p.Leave() // which waits for the answer to the first announcement
	if _, err := p.Nodes(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the list of nodes: %v, want unavailable", err)
	}
	if !n.Connected() || n.log.count("away") > 0 {
		t.Error("the connection was given up")
	}
}

// TestCanceled: who is gone gets an error of the right kind, and Redis is not held for away.
func TestCanceled(t *testing.T) {
	srv := newServer(t)
	n := newNode(t, redis.Options{URL: srv.url(), Prefix: prefix(), Timeout: patience, Heartbeat: patience})
	await(t, "the connection", n.Connected)
	srv.signal(syscall.SIGSTOP)
	defer srv.signal(syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.failures.Add(ctx, "k", time.Hour); !fault.Is(err, fault.Canceled) {
		t.Errorf("Add: %v, want canceled", err)
	}
	if _, _, err := n.failures.Count(ctx, "k"); !fault.Is(err, fault.Canceled) {
		t.Errorf("Count: %v, want canceled", err)
	}
	if !n.Connected() {
		t.Error("the connection was given up")
	}
}

// TestCutOff: what a node published while it alone was cut off from Redis reaches the others when it is back: what was under
// way when that happened, and also when there was more than it keeps.
func TestCutOff(t *testing.T) {
	for _, c := range []struct {
		name  string
		boxes int
		cut   func(*proxy)
	}{
		{"refused", 100, (*proxy).refuse}, {"silent", 100, (*proxy).swallow}, {"too much", 100_000, (*proxy).refuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := newServer(t)
			p := newProxy(t, srv.addr)
			pre := prefix()
			a := newNode(t, redis.Options{URL: srv.url(), Prefix: pre})
			b := newNode(t, redis.Options{URL: "redis://" + p.addr(), Prefix: pre})
			await(t, "the connections", func() bool { return a.Connected() && b.Connected() })
			const sessions = 20
			var subs []events.Subscription
			for i := range sessions {
				s := a.bus.Subscribe(account.ID(i+1), 1)
				defer s.Close()
				heard(t, "the channel", s.C())
				subs = append(subs, s)
			}
			c.cut(p)
			for i := range c.boxes {
				b.bus.Publish(events.Hint{Account: account.ID(i%sessions + 1), Mailbox: mailbox.ID(i/sessions + 1), ModSeq: 5})
			}
			await(t, "the failure", func() bool { return !b.Connected() })
			for _, s := range subs {
				select {
				case <-s.C():
					t.Fatal("a hint came through")
				default:
				}
			}
			p.restore()
			for _, s := range subs {
				heard(t, "what happened meanwhile", s.C())
			}
			if a.log.count("away") > 0 {
				t.Error("the other node lost Redis, too")
			}
		})
	}
}

// TestCoalesces: a burst of changes of one mailbox is few messages, and the last of them has the highest mod-sequence.
func TestCoalesces(t *testing.T) {
	srv := newServer(t)
	o := redis.Options{URL: srv.url(), Prefix: prefix()}
	n := newNode(t, o)
	await(t, "the connection", n.Connected)
	rdb := goredis.NewClient(&goredis.Options{Addr: srv.addr})
	defer rdb.Close()
	ps := rdb.Subscribe(t.Context(), o.Prefix+"hints:1")
	defer ps.Close()
	if _, err := ps.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	const hints = 200_000
	for seq := range hints {
		n.bus.Publish(events.Hint{Account: 1, Mailbox: 3, ModSeq: mailbox.ModSeq(hints - seq)}) // not in order
	}
	n.bus.Publish(events.Hint{Account: 1, Mailbox: 4, ModSeq: 1})
	highest := false
	for messages := 1; ; messages++ {
		m, err := ps.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		highest = highest || strings.Contains(m.Payload, fmt.Sprint(" 3:", hints))
		if strings.Contains(m.Payload, " 4:1") {
			if messages > hints/100 || !highest {
				t.Errorf("%d messages for %d changes; the highest mod-sequence was among them: %v", messages, hints, highest)
			}
			return
		}
	}
}

// TestCallsBounded: when calls cannot be sent they are kept, each once, up to a bound, and the rest is dropped.
func TestCallsBounded(t *testing.T) {
	srv := newServer(t)
	o := redis.Options{URL: srv.url(), Prefix: prefix(), Timeout: patience, Heartbeat: patience}
	_, news := newCalls(t, o, connected(t, o))
	from := newNode(t, o)
	await(t, "the connection", from.Connected)
	srv.signal(syscall.SIGSTOP)
	const calls = 100_000 // 2 MB
	for range 3 {
		for i := range calls {
			from.calls.Send(nodes.Call{What: nodes.Watching, Account: 1_000_000, Mailbox: mailbox.ID(i + 1_000_000)})
		}
	}
	srv.signal(syscall.SIGCONT)
	kept := 0
	await(t, "the last call", func() bool {
		from.calls.Send(nodes.Call{What: nodes.Accounts}) // there may be no room for it yet
		for {
			select {
			case c := <-news:
				if c.What == nodes.Accounts {
					return true
				}
				kept++
			default:
				return false
			}
		}
	})
	if kept == 0 || kept > calls/2 {
		t.Errorf("%d calls of %d were kept", kept, calls)
	}
}

// TestStrangeCalls: what is not understood is dropped, whoever sends it, and calls go on.
func TestStrangeCalls(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		n := newNode(t, o)
		heard := make(chan nodes.Call, 100)
		defer n.calls.Receive(func(c nodes.Call) { heard <- c })()
		missed(t, heard)
		p := newPresence(t, n.Client, "n")
		become(t, p, 1)
		rdb := rawClient(t, o)
		for _, payload := range []string{
			"", " ", "x", "x ", "x y", "x *", "x 1.1.0.0", "x 1.9.0.0.", "x 2.1.0.0.", "x 1.6.1.1.3:1", "x 1.1.0.0. 1.1.0.0.", "\x00\xff",
			strings.Repeat("x", 1<<20), "x " + strings.Repeat("1", 1<<20), "x 1.6.1.1.1" + strings.Repeat(",3", 1<<19),
		} {
			for _, channel := range []string{"calls", "presence"} {
				if err := rdb.Publish(t.Context(), o.Prefix+channel, payload).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := rdb.Publish(t.Context(), o.Prefix+"calls", "x 1.3.7.0.").Err(); err != nil {
			t.Fatal(err)
		}
		if others := hears(t, heard, nodes.Call{What: nodes.Queue, Account: 7}); others > 0 {
			t.Errorf("%d calls that nobody made", others)
		}
		become(t, p, 1)
		if !n.Connected() || n.log.count("away") > 0 {
			t.Error("the connection was given up")
		}
	})
}

// TestStrangeMessages: what is not understood makes who listens look, and nothing else.
func TestStrangeMessages(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		n := newNode(t, o)
		s := n.bus.Subscribe(1, 1)
		defer s.Close()
		heard(t, "the channel", s.C())
		opt, _ := goredis.ParseURL(o.URL)
		rdb := goredis.NewClient(opt)
		defer rdb.Close()
		for _, payload := range []string{
			"", " ", "x", "x ", "x y", "x 1:", "x :1", "x 99999999999999999999999", "x 1:-1", "x 2:3 1:1:1", "x *", "\x00\xff",
			strings.Repeat("x", 1<<20), "x" + strings.Repeat(" 1", 1<<19),
		} {
			if err := rdb.Publish(t.Context(), o.Prefix+"hints:1", payload).Err(); err != nil {
				t.Fatal(err)
			}
			heard(t, fmt.Sprintf("%.20q", payload), s.C())
		}
		if !n.Connected() || n.log.count("away") > 0 {
			t.Error("the connection was given up")
		}
	})
}

// TestChurn: sessions come and go, on many accounts and all at once, and who stays hears.
func TestChurn(t *testing.T) {
	onEach(t, func(t *testing.T, o redis.Options) {
		// The heartbeat is so short that channels are left now and then.
		o.Heartbeat = 20 * time.Millisecond
		a, b := newNode(t, o), newNode(t, o)
		await(t, "the connections", func() bool { return a.Connected() && b.Connected() })
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for k := range 40 {
					acc := account.ID((i + k) % 20)
					s := a.bus.Subscribe(acc, 1)
					stop := make(chan struct{})
					go func() { // a hint that comes before the subscription is there wakes as well as a later one
						defer close(stop)
						b.bus.Publish(events.Hint{Account: acc, Mailbox: 1})
					}()
					select {
					case <-s.C():
					case <-time.After(patience):
						t.Error("no hint")
					}
					<-stop
					s.Close()
				}
			})
		}
		all.Wait()
	})
}

// TestChannels: a node listens to the accounts that sessions have open, once each, and to no others for long.
func TestChannels(t *testing.T) {
	o := redis.Options{URL: newServer(t).url(), Prefix: prefix(), Heartbeat: 10 * time.Millisecond}
	n := newNode(t, o)
	opt, _ := goredis.ParseURL(o.URL)
	rdb := goredis.NewClient(opt)
	defer rdb.Close()
	listening := func() int {
		all, err := rdb.PubSubChannels(t.Context(), o.Prefix+"hints:*").Result()
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	var subs []events.Subscription
	for i := range 3000 { // 1,200 accounts
		subs = append(subs, n.bus.Subscribe(account.ID(i%1200), mailbox.ID(i%7)))
	}
	await(t, "1,200 channels", func() bool { return listening() == 1200 })
	for i, s := range subs {
		if i%1200 >= 10 {
			s.Close()
			s.Close()
		}
	}
	await(t, "10 channels", func() bool { return listening() == 10 })
	for _, s := range subs {
		s.Close()
	}
	await(t, "no channel", func() bool { return listening() == 0 })
	s := n.bus.Subscribe(7, 1)
	defer s.Close()
	await(t, "a channel again", func() bool { return listening() == 1 })
}

// TestNotAllowed: a server that does not allow what is needed is away, and the log says so once.
func TestNotAllowed(t *testing.T) {
	srv := newServer(t)
	rdb := goredis.NewClient(&goredis.Options{Addr: srv.addr})
	defer rdb.Close()
	if err := rdb.Do(t.Context(), "acl", "setuser", "node", "on", ">pw", "~*", "&*", "+@all", "-publish").Err(); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, redis.Options{URL: "redis://node:pw@" + srv.addr, Prefix: prefix()})
	await(t, "the failure", func() bool { return n.log.count("Redis is away") == 1 })
	n.local(t)
	if err := rdb.Do(t.Context(), "acl", "setuser", "node", "+publish").Err(); err != nil {
		t.Fatal(err)
	}
	await(t, "the connection", n.Connected)
	if n.log.count("Redis is away") != 1 || n.log.count("Redis is back") != 1 || n.log.count("pw") > 0 {
		t.Errorf("the log:\n%s", n.log.b.String())
	}
}
