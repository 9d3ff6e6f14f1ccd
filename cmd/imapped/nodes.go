package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/postgres"
	"imapped/adapters/redis"
	"imapped/app/syncer"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/limits"
	"imapped/ports/presence"
	"imapped/ports/wake"
)

// What nodes tell one another besides hints goes the same ways, as hints of mailboxes that there are not.
const (
	accountsNews mailbox.ID = -1 // accounts came, went or changed; Account is 0
	leasesNews   mailbox.ID = -2 // the account's lease was given back
	queueNews    mailbox.ID = -3 // the account's queue has something to do
	newsKinds               = 3
)

// newsNames are what the kinds are called in Redis, in the order of the constants. All versions that run beside one another
// have the same.
func newsNames() [newsKinds]string { return [newsKinds]string{"accounts", "leases", "queue"} }

// place returns where a kind of news is in arrays; false for a real mailbox, or for one of a later version.
func place(id mailbox.ID) (int, bool) { return int(-id) - 1, id < 0 && id >= -newsKinds }

const (
	// nodeLease is how long a node that is gone keeps its accounts.
	nodeLease = 6 * time.Second
	// pollEvery is how often sessions look for themselves while hints may be lost; pollNews is after how many of these
	// times the node looks at everything else, which costs more.
	pollEvery = 2 * time.Second
	pollNews  = 5
	// A node says so often that it is there, and is gone when it has not said so for so long.
	announceEvery = 2 * time.Second
	announceFor   = 3 * announceEvery
)

// local is what this node's own listeners subscribe to: postgres.Local, and Redis' too.
type local struct {
	memory.Bus
	wakes [newsKinds]memory.Wakes
}

// Publish implements events.Bus.
func (l *local) Publish(h events.Hint) {
	if k, ok := place(h.Mailbox); ok {
		l.wakes[k].Publish(h.Account)
	} else {
		l.Bus.Publish(h)
	}
}

// PublishAll implements postgres.Local.
func (l *local) PublishAll() {
	l.Bus.PublishAll()
	for k := range l.wakes {
		l.wakes[k].PublishAll()
	}
}

// nodes is this node's tie to the others. It is an events.Bus: hints go through Redis, and while that is away, or where
// there is none, through the database. Both are heard all the time, because another node may have lost Redis alone.
type nodes struct {
	name     string
	log      *slog.Logger
	local    *local
	database *postgres.Bus
	redis    *redis.Client // nil: there is none; so are the following then
	hints    *redis.Bus
	news     [newsKinds]wake.Bus
	presence presence.Nodes
}

var _ events.Bus = (*nodes)(nil)

// openNodes starts to listen to the other nodes.
func openNodes(conf *config.Config, log *slog.Logger) (*nodes, error) {
	n := &nodes{name: hostname() + "/" + rand.Text()[:8], log: log, local: &local{}}
	var err error
	if n.database, err = postgres.NewBus(conf.DatabaseURL.Reveal(), n.local); err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if !conf.RedisURL.IsSet() {
		return n, nil
	}
	if n.redis, err = redis.Open(redis.Options{URL: conf.RedisURL.Reveal(), Log: log}); err != nil {
		return nil, errors.Join(fmt.Errorf("REDIS_URL: %w", err), n.database.Close())
	}
	n.hints = redis.NewBus(n.redis, &n.local.Bus)
	for k, name := range newsNames() {
		n.news[k] = redis.NewWakes(n.redis, name, &n.local.wakes[k])
	}
	n.presence = redis.NewNodes(n.redis)
	return n, nil
}

// close ends the tie. What Redis is still to be told it is told.
func (n *nodes) close() error {
	var err error
	if n.redis != nil {
		err = n.redis.Close()
	}
	return errors.Join(err, n.database.Close())
}

// failures returns where failed logins are counted; alone is this node's own count.
func (n *nodes) failures(alone limits.Failures) limits.Failures {
	if n.redis == nil {
		return alone
	}
	return redis.NewFailures(n.redis, alone)
}

// connected says whether what other nodes say arrives at once.
func (n *nodes) connected() bool {
	if n.redis == nil {
		return n.database.Up()
	}
	return n.redis.Connected()
}

// Publish implements events.Bus.
func (n *nodes) Publish(h events.Hint) {
	if n.redis == nil {
		n.database.Publish(h)
		return
	}
	if k, ok := place(h.Mailbox); ok {
		n.news[k].Publish(h.Account)
	} else {
		n.hints.Publish(h)
	}
	if !n.redis.Connected() {
		n.database.Publish(h)
	}
}

// Subscribe implements events.Bus.
func (n *nodes) Subscribe(acc account.ID, id mailbox.ID) events.Subscription {
	if n.redis == nil {
		return n.local.Subscribe(acc, id)
	}
	return n.hints.Subscribe(acc, id)
}

// run does what other nodes say, until ctx is done.
func (n *nodes) run(ctx context.Context, m *syncer.Manager) {
	var wg sync.WaitGroup
	defer wg.Wait()
	listen := func(kind mailbox.ID, fn func(ids []account.ID, all bool)) {
		k, _ := place(kind)
		sub := n.local.wakes[k].Subscribe()
		wg.Go(func() {
			defer sub.Close()
			for {
				select {
				case <-ctx.Done():
					return
				case <-sub.C():
					fn(sub.Take())
				}
			}
		})
	}
	listen(accountsNews, func([]account.ID, bool) {
		if err := m.Reload(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("read accounts", "error", err)
		}
	})
	listen(leasesNews, func(ids []account.ID, all bool) {
		if all {
			ids = nil
		}
		m.Freed(ids...)
	})
	listen(queueNews, func(ids []account.ID, all bool) {
		if all {
			for _, h := range m.Health() {
				ids = append(ids, h.ID)
			}
		}
		for _, id := range ids {
			m.Changed(id)
		}
	})
	if n.presence != nil {
		wg.Go(func() { n.announce(ctx) })
	}
	n.poll(ctx)
}

// poll makes everybody here look for themselves while what other nodes say may be lost.
func (n *nodes) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for away := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n.connected() {
			away = 0
			continue
		}
		if away == 0 && n.redis != nil {
			n.database.TellAll() // what was published last may not have left this node
		}
		if away++; away%pollNews == 0 {
			n.local.PublishAll()
		} else {
			n.local.Bus.PublishAll()
		}
	}
}

// announce says now and then that the node is there, and tells the log which are.
func (n *nodes) announce(ctx context.Context) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	var known []string
	for {
		names, err := n.presence.Announce(ctx, n.name, announceFor)
		if err == nil && !slices.Equal(names, known) {
			known = names
			n.log.InfoContext(ctx, "nodes", "alive", len(names), "names", names)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leave tells the other nodes that this one is gone, and that the leases of the accounts are free. It is called when
// nothing here holds them any more.
func (n *nodes) leave(ctx context.Context, conf *config.Config, freed []account.ID) error {
	var err error
	if n.presence != nil && n.redis.Connected() {
		err = n.presence.Leave(ctx, n.name)
	}
	hints := make([]events.Hint, 0, len(freed))
	for _, id := range freed {
		hints = append(hints, events.Hint{Account: id, Mailbox: leasesNews})
	}
	if len(hints) > 0 {
		err = errors.Join(err, tellNodes(ctx, conf, hints...))
	}
	return err
}

// tellNodes tells all nodes what a process has to say that is none of them, or that ends. All listen to the database.
func tellNodes(ctx context.Context, conf *config.Config, hints ...events.Hint) error {
	return postgres.Tell(ctx, conf.DatabaseURL.Reveal(), hints...)
}
