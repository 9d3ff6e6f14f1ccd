package redis

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"
)

// item is a number with a value: a mailbox with its mod-sequence.
type item struct {
	id    int64
	value uint64
}

const (
	// maxPending is how many items wait to be sent, over all channels: about 1 MB.
	maxPending = 8192
	// maxItems is how many items a message has.
	maxItems = 256
	// maxCalls is how many octets of calls wait to be sent.
	maxCalls = 256 << 10
	// maxMessages is how many messages are sent in one go.
	maxMessages = 512
	// gap is the shortest time between two goes: the first hint leaves at once, those of a burst together.
	gap = 5 * time.Millisecond
)

// outbox is what is to be published.
type outbox struct {
	kick chan struct{} // capacity 1: there is something

	mu      sync.Mutex
	pending map[string]map[int64]uint64 // by channel
	items   int
	lost    bool                // something was forgotten: everyone is to look
	calls   map[string]struct{} // texts
	octets  int                 // of calls
}

// post adds an item to what is to be published on a channel. It never waits.
func (o *outbox) post(channel string, it item) {
	o.mu.Lock()
	o.put(channel, it)
	o.mu.Unlock()
	o.wake()
}

// call adds a call to what is to be published, unless it waits there already, or too many do. It never waits.
func (o *outbox) call(text string) {
	o.mu.Lock()
	o.putCall(text)
	o.mu.Unlock()
	o.wake()
}

// putCall is called with mu held.
func (o *outbox) putCall(text string) {
	if _, known := o.calls[text]; !known && o.octets+len(text) <= maxCalls {
		o.calls[text] = struct{}{}
		o.octets += len(text)
	}
}

func (o *outbox) wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// put is called with mu held.
func (o *outbox) put(channel string, it item) {
	if o.lost {
		return // everyone is told already
	}
	if o.pending == nil {
		o.pending = map[string]map[int64]uint64{}
	}
	items := o.pending[channel]
	if items == nil {
		items = map[int64]uint64{}
		o.pending[channel] = items
	}
	if _, known := items[it.id]; !known {
		o.items++
	}
	items[it.id] = max(items[it.id], it.value)
	if o.items > maxPending {
		o.lost, o.pending, o.items = true, nil, 0
	}
}

// load is what was taken out of an outbox.
type load struct {
	pending map[string]map[int64]uint64
	lost    bool
	calls   map[string]struct{}
}

func (o *outbox) take() load {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := load{o.pending, o.lost, o.calls}
	o.pending, o.items, o.lost = nil, 0, false
	o.calls, o.octets = map[string]struct{}{}, 0
	return l
}

// putBack is for what could not be sent.
func (o *outbox) putBack(l load) {
	o.mu.Lock()
	if l.lost {
		o.lost, o.pending, o.items = true, nil, 0
	}
	for channel, items := range l.pending {
		for id, value := range items {
			o.put(channel, item{id, value})
		}
	}
	for text := range l.calls {
		o.putCall(text)
	}
	o.mu.Unlock()
	o.wake()
}

// message is one PUBLISH.
type message struct{ channel, payload string }

// messages returns what a load is to others.
func (c *Client) messages(l load) []message {
	var out []message
	for text := range l.calls {
		out = append(out, message{c.calls(), c.origin + " " + text})
	}
	if l.lost {
		return append(out, message{c.everyone(), c.origin + " *"})
	}
	for channel, items := range l.pending {
		b := []byte(c.origin)
		n := 0
		for id, value := range items {
			if n == maxItems {
				out = append(out, message{channel, string(b)})
				b, n = b[:len(c.origin)], 0
			}
			b = append(b, ' ')
			b = strconv.AppendInt(b, id, 10)
			if value > 0 {
				b = append(b, ':')
				b = strconv.AppendUint(b, value, 10)
			}
			n++
		}
		out = append(out, message{channel, string(b)})
	}
	return out
}

// maxPayload is the longest message with items that is looked into.
const maxPayload = maxItems * 42

// parse reads the items of a message; not ok: it is not understood, for it is of a later version perhaps.
func parse(text string) (items []item, ok bool) {
	if len(text) > maxPayload {
		return nil, false
	}
	for field := range strings.SplitSeq(text, " ") {
		number, value, valued := strings.Cut(field, ":")
		var it item
		var err error
		if it.id, err = strconv.ParseInt(number, 10, 64); err != nil {
			return nil, false
		}
		if valued {
			if it.value, err = strconv.ParseUint(value, 10, 64); err != nil {
				return nil, false
			}
		}
		items = append(items, it)
	}
	return items, true
}

// send publishes what is in the outbox until ctx is done, and then once more.
func (c *Client) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			c.farewell(context.WithoutCancel(ctx))
			return
		case <-c.out.kick:
		}
		select {
		case <-ctx.Done():
			c.farewell(context.WithoutCancel(ctx))
			return
		case <-c.whenLive():
		}
		l := c.out.take()
		if err := c.publish(ctx, l); err != nil {
			c.out.putBack(l)
			if ctx.Err() == nil {
				c.fail(err)
			}
			continue
		}
		pause(ctx, gap)
	}
}

// farewell sends what is left, so that other nodes hear at once what a node does that stops.
func (c *Client) farewell(ctx context.Context) {
	if c.Connected() {
		_ = c.publish(ctx, c.out.take()) // without it they find out by themselves
	}
}

// publish sends a load. After an error some of it may have been sent: sending it again does no harm.
func (c *Client) publish(ctx context.Context, l load) error {
	all := c.messages(l)
	for len(all) > 0 {
		n := min(len(all), maxMessages)
		if err := c.pipeline(ctx, all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func (c *Client) pipeline(ctx context.Context, all []message) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p := c.rdb.Pipeline()
	for _, m := range all {
		p.Publish(ctx, m.channel, m.payload)
	}
	_, err := p.Exec(ctx)
	return err
}
