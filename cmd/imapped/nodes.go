package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"imapped/adapters/memory"
	"imapped/adapters/postgres"
	"imapped/adapters/redis"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/limits"
	"imapped/ports/nodes"
)

const (
	// nodeLease is how long a node that is gone keeps its accounts.
	nodeLease = 6 * time.Second
	// pollEvery is how often sessions look for themselves while hints may be lost; pollCalls is after how many of these
	// times the node does what it may have been called for, which costs more.
	pollEvery = 2 * time.Second
	pollCalls = 5
)

// peers is this node's tie to the others. It is an events.Bus and a nodes.Calls: both go through Redis, and while that is
// away, or where there is none, through the database. Both ways are heard all the time, because another node may have lost
// Redis alone.
type peers struct {
	name      string // which no other process has
	local     *memory.Bus
	listeners nodes.Listeners
	database  *postgres.Bus
	redis     *redis.Client // nil: there is none; so are the following then
	hints     *redis.Bus
	calls     *redis.Calls
	presence  *redis.Presence
}

var (
	_ events.Bus  = (*peers)(nil)
	_ nodes.Calls = (*peers)(nil)
)

// peerName returns a name that no other process has.
func peerName() string { return hostname() + "/" + rand.Text()[:8] }

// openPeers starts to listen to the other nodes, and tells them that this one is there.
func openPeers(conf *config.Config, log *slog.Logger) (*peers, error) {
	p := &peers{name: peerName(), local: &memory.Bus{}}
	var err error
	if p.database, err = postgres.NewBus(conf.DatabaseURL.Reveal(), p.local); err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	hear := func(c nodes.Call) { p.listeners.Hear(c) }
	p.database.Receive(hear)
	if !conf.RedisURL.IsSet() {
		return p, nil
	}
	if p.redis, err = redis.Open(redis.Options{URL: conf.RedisURL.Reveal(), Log: log}); err != nil {
		return nil, errors.Join(fmt.Errorf("REDIS_URL: %w", err), p.database.Close())
	}
	p.hints, p.calls = redis.NewBus(p.redis, p.local), redis.NewCalls(p.redis)
	p.calls.Receive(hear)
	if p.presence, err = redis.NewPresence(p.redis, p.name); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// leave tells the other nodes that this one is gone. It is called when nothing here holds leases any more, and may be called
// more than once.
func (p *peers) leave() {
	if p.presence != nil {
		p.presence.Leave()
	}
}

// close leaves, and ends the tie. What the others are still to be told they are told.
func (p *peers) close() error {
	p.leave()
	var err error
	if p.redis != nil {
		err = p.redis.Close()
	}
	return errors.Join(err, p.database.Close())
}

// failures returns where failed logins are counted; alone is this node's own count.
func (p *peers) failures(alone limits.Failures) limits.Failures {
	if p.redis == nil {
		return alone
	}
	return redis.NewFailures(p.redis, alone)
}

// connected says whether what other nodes say arrives at once.
func (p *peers) connected() bool {
	if p.redis == nil {
		return p.database.Up()
	}
	return p.redis.Connected()
}

// Publish implements events.Bus.
func (p *peers) Publish(h events.Hint) {
	if p.redis != nil {
		p.hints.Publish(h)
	}
	if p.redis == nil || !p.redis.Connected() {
		p.database.Publish(h)
	}
}

// Subscribe implements events.Bus.
func (p *peers) Subscribe(acc account.ID, id mailbox.ID) events.Subscription {
	if p.redis == nil {
		return p.local.Subscribe(acc, id)
	}
	return p.hints.Subscribe(acc, id)
}

// Send implements nodes.Calls.
func (p *peers) Send(c nodes.Call) {
	if p.redis != nil {
		p.calls.Send(c)
	}
	if p.redis == nil || !p.redis.Connected() {
		p.database.Send(c)
	}
}

// Receive implements nodes.Calls.
func (p *peers) Receive(fn func(nodes.Call)) (stop func()) { return p.listeners.Receive(fn) }

// poll makes everybody here look for themselves while what other nodes say may be lost, until ctx is done.
func (p *peers) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for away := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.connected() {
			away = 0
			continue
		}
		if away == 0 && p.redis != nil {
			p.database.TellAll() // what was said last may not have left this node
		}
		p.local.PublishAll()
		if away++; away%pollCalls == 0 {
			p.listeners.Hear(nodes.Missed()...)
		}
	}
}
