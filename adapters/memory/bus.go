package memory

import (
	"sync"

	"imapped/domain/account"
	"imapped/domain/mailbox"
	"imapped/ports/events"
)

var _ events.Bus = (*Bus)(nil)

// Bus is an events.Bus within one process. The zero value is ready to use.
type Bus struct {
	mu     sync.Mutex
	topics map[topic][]*subscription
}

// topic is what one subscribes to; mailbox 0 is the account's list of mailboxes.
type topic struct {
	account account.ID
	mailbox mailbox.ID
}

// subscription is kept small: thousands of sessions idle on one mailbox.
type subscription struct {
	bus   *Bus
	topic topic
	at    int // the place in bus.topics[topic], -1 when closed; guarded by bus.mu
	c     chan struct{}
}

// Publish implements events.Bus.
func (b *Bus) Publish(h events.Hint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.topics[topic{h.Account, h.Mailbox}] {
		select {
		case s.c <- struct{}{}:
		default: // it has one already
		}
	}
}

// PublishAll gives every subscription a hint: for when some may have been lost.
func (b *Bus) PublishAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, subs := range b.topics {
		for _, s := range subs {
			select {
			case s.c <- struct{}{}:
			default: // it has one already
			}
		}
	}
}

// Subscribe implements events.Bus.
func (b *Bus) Subscribe(acc account.ID, id mailbox.ID) events.Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics == nil {
		b.topics = map[topic][]*subscription{}
	}
	t := topic{acc, id}
	s := &subscription{bus: b, topic: t, at: len(b.topics[t]), c: make(chan struct{}, 1)}
	b.topics[t] = append(b.topics[t], s)
	return s
}

// C implements events.Subscription.
func (s *subscription) C() <-chan struct{} { return s.c }

// Close implements events.Subscription.
func (s *subscription) Close() {
	b := s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.at < 0 {
		return
	}
	subs := b.topics[s.topic]
	last := len(subs) - 1
	subs[s.at] = subs[last]
	subs[s.at].at = s.at
	subs[last] = nil
	if s.at = -1; last == 0 {
		delete(b.topics, s.topic)
		return
	}
	b.topics[s.topic] = subs[:last]
}
