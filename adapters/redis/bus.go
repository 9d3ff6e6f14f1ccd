package redis

import (
	"strconv"
	"sync"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/events"
)

var _ events.Bus = (*Bus)(nil)

// Bus is an events.Bus over all nodes. Subscribers of this node are reached by the bus that it is made of, at once; each
// account has a channel, to which a node listens that has subscribers of it.
type Bus struct {
	c     *Client
	local events.Bus

	mu       sync.Mutex
	accounts map[account.ID]map[mailbox.ID]int // how many subscriptions there are
}

// NewBus returns a bus that carries hints on local and, while Redis is there, to and from other nodes.
func NewBus(c *Client, local events.Bus) *Bus {
	return &Bus{c: c, local: local, accounts: map[account.ID]map[mailbox.ID]int{}}
}

func (b *Bus) channel(id account.ID) string {
	return b.c.prefix + "hints:" + strconv.FormatInt(int64(id), 10)
}

// Publish implements events.Bus.
func (b *Bus) Publish(h events.Hint) {
	b.local.Publish(h)
	b.c.out.post(b.channel(h.Account), item{int64(h.Mailbox), uint64(h.ModSeq)})
}

// Subscribe implements events.Bus.
func (b *Bus) Subscribe(acc account.ID, id mailbox.ID) events.Subscription {
	s := &subscription{Subscription: b.local.Subscribe(acc, id), bus: b, account: acc, mailbox: id}
	b.mu.Lock()
	defer b.mu.Unlock()
	boxes := b.accounts[acc]
	if boxes == nil {
		boxes = map[mailbox.ID]int{}
		b.accounts[acc] = boxes
		b.c.join(b.channel(acc), func(text string, all bool) { b.hear(acc, text, all) })
	}
	boxes[id]++
	return s
}

// hear passes on what other nodes say of an account.
func (b *Bus) hear(acc account.ID, text string, all bool) {
	items, ok := parse(text)
	if all || !ok {
		b.mu.Lock()
		items = items[:0]
		for id := range b.accounts[acc] {
			items = append(items, item{id: int64(id)})
		}
		b.mu.Unlock()
	}
	for _, it := range items {
		b.local.Publish(events.Hint{Account: acc, Mailbox: mailbox.ID(it.id), ModSeq: mailbox.ModSeq(it.value)})
	}
}

// subscription is one of local's that is counted.
type subscription struct {
	events.Subscription
	bus     *Bus
	account account.ID
	mailbox mailbox.ID
	closed  bool // guarded by bus.mu
}

// Close implements events.Subscription.
func (s *subscription) Close() {
	s.Subscription.Close()
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	boxes := b.accounts[s.account]
	if boxes[s.mailbox]--; boxes[s.mailbox] == 0 {
		delete(boxes, s.mailbox)
	}
	if len(boxes) == 0 {
		delete(b.accounts, s.account)
		b.c.leave(b.channel(s.account))
	}
}
