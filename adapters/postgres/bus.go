package postgres

import (
	"context"
	"errors"
	"iter"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/events"
	"imapped/ports/nodes"
)

var (
	_ events.Bus  = (*Bus)(nil)
	_ nodes.Calls = (*Bus)(nil)
)

// Local is the bus within this process. It keeps the subscriptions, and its own hints need no database.
type Local interface {
	events.Bus
	// PublishAll gives every subscription a hint.
	PublishAll()
}

// The limits of a Bus.
const (
	channel     = "imapped_hints"
	callChannel = "imapped_calls"
	everything  = "*"                   // a notification that stands for all hints
	maxPayload  = 7900                  // a notification's length is below 8000 bytes; one call always fits
	maxPending  = 20_000                // hints that wait to be sent; more become one for everything
	maxCalls    = 256 << 10             // octets of calls that wait to be sent; more are dropped
	gather      = 10 * time.Millisecond // between one sending and the next, so that a burst is few notifications
	listenPause = 100 * time.Millisecond
	maxPause    = 5 * time.Second
	probe       = 20 * time.Second // a connection that was silent for so long is tried
	answer      = 10 * time.Second // how long the server may take to answer
	farewell    = time.Second      // how long Close waits for what is still to be sent
)

// Bus carries hints and calls between processes by LISTEN and NOTIFY, over one connection of its own, and hints within this
// one by a Local. They are sent by its own goroutine: Publish and Send wait for nothing. While there is no connection hints
// reach this process alone, and calls nobody; when there is one again every subscription here gets a hint, as others may have
// been missed, and the other processes are told that they missed some.
type Bus struct {
	Local
	config    *pgx.ConnConfig
	cancel    context.CancelFunc
	ended     chan struct{}
	listeners nodes.Listeners

	mu        sync.Mutex
	pending   map[topic]struct{}  // to be sent
	all       bool                // everything is
	calls     map[string]struct{} // to be sent, as texts
	octets    int                 // of calls
	connected bool
	wake      context.CancelFunc // ends the wait for notifications, when there is something to be sent; nil: it is not to be ended
	listening chan struct{}      // closed when first connected
}

// topic is what one subscribes to; mailbox 0 is the account's list of mailboxes.
type topic struct {
	account account.ID
	mailbox mailbox.ID
}

// NewBus starts a bus over the database of the URL. It connects by itself, and again when the connection is lost.
func NewBus(url string, local Local) (*Bus, error) {
	config, err := Options{URL: url}.config()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{
		Local: local, config: config.ConnConfig, cancel: cancel, ended: make(chan struct{}),
		pending: map[topic]struct{}{}, calls: map[string]struct{}{}, listening: make(chan struct{}),
	}
	b.config.RuntimeParams["application_name"] = "imapped hints"
	b.config.RuntimeParams["synchronous_commit"] = "off" // a hint is nothing to wait for the disk for
	go b.run(ctx)
	return b, nil
}

// Close sends what is still to be sent, if that takes no longer than a second, ends the bus and waits for its goroutine. Hints
// within this process go on.
func (b *Bus) Close() error {
	b.cancel()
	<-b.ended
	return nil
}

// Connected waits until the bus has had a connection, or ctx ends: for whoever wants to know that hints of others arrive.
func (b *Bus) Connected(ctx context.Context) error {
	select {
	case <-b.listening:
		return nil
	case <-ctx.Done():
		return fault.As(fault.Canceled, "wait for the bus", ctx.Err())
	}
}

// Publish implements events.Bus.
func (b *Bus) Publish(h events.Hint) {
	b.Local.Publish(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.connected {
		b.all = true // what others missed meanwhile they are told in one word
		return
	}
	if len(b.pending) >= maxPending {
		b.all = true
		clear(b.pending)
	}
	if !b.all {
		b.pending[topic{h.Account, h.Mailbox}] = struct{}{}
	}
	b.rouse()
}

// Send implements nodes.Calls.
func (b *Bus) Send(c nodes.Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.connected {
		b.all = true
		return
	}
	if b.put(c) {
		b.rouse()
	}
}

// Receive implements nodes.Calls.
func (b *Bus) Receive(fn func(nodes.Call)) (stop func()) { return b.listeners.Receive(fn) }

// put adds a call to those that are to be sent, if there is room; mu is held.
func (b *Bus) put(c nodes.Call) bool {
	text, err := c.Text()
	if _, known := b.calls[text]; err != nil || known || b.octets+len(text) > maxCalls {
		return false
	}
	b.calls[text] = struct{}{}
	b.octets += len(text)
	return true
}

// rouse ends the wait for notifications, as there is something to be sent; mu is held.
func (b *Bus) rouse() {
	if b.wake != nil {
		b.wake()
		b.wake = nil
	}
}

// run keeps a connection until ctx ends.
func (b *Bus) run(ctx context.Context) {
	defer close(b.ended)
	// What is on its way when ctx ends is sent to its end.
	sending, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(farewell, cut) })()
	pause := listenPause
	for ctx.Err() == nil {
		start := time.Now()
		_ = b.serve(ctx, sending) // why it ended is of no use to anybody: it is tried again
		if time.Since(start) > maxPause {
			pause = listenPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// serve connects, and receives and sends until the connection is lost or ctx ends; then it sends what is left.
func (b *Bus) serve(ctx, sending context.Context) error {
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		b.mu.Lock()
		b.connected, b.wake = false, nil
		b.all = b.all || len(b.pending)+len(b.calls) > 0
		clear(b.pending)
		b.forgetCalls()
		b.mu.Unlock()
		wait, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(wait)
	}()
	b.mu.Lock()
	b.connected = true
	b.mu.Unlock()
	select {
	case <-b.listening:
	default:
		close(b.listening)
	}
	b.missed()
	for {
		if err := b.send(sending, c); err != nil {
			return err
		}
		// What comes in between is sent together.
		err := b.receive(ctx, c, gather, false)
		if err == nil {
			err = b.receive(ctx, c, probe, true)
		}
		if ctx.Err() != nil && !c.IsClosed() {
			return b.send(sending, c)
		}
		if err != nil {
			return err
		}
	}
}

// missed makes everybody in this process look, for something may have been missed.
func (b *Bus) missed() {
	b.PublishAll()
	b.listeners.Hear(nodes.Missed()...)
}

func (b *Bus) connect(ctx context.Context) (*pgx.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	c, err := pgx.ConnectConfig(wait, b.config)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(wait, "LISTEN "+channel+"; LISTEN "+callChannel); err != nil {
		return nil, errors.Join(err, c.Close(wait))
	}
	return c, nil
}

// receive passes on what arrives in a time. With wakeful it ends when there is something to be sent.
func (b *Bus) receive(ctx context.Context, c *pgx.Conn, span time.Duration, wakeful bool) error {
	wait, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	if wakeful {
		b.mu.Lock()
		if b.all || len(b.pending)+len(b.calls) > 0 {
			cancel()
		} else {
			b.wake = cancel
		}
		b.mu.Unlock()
		defer func() {
			b.mu.Lock()
			b.wake = nil
			b.mu.Unlock()
		}()
	}
	for {
		n, err := c.WaitForNotification(wait)
		switch {
		case err == nil:
			switch {
			case n.PID == c.PgConn().PID(): // what this process sent, it has heard
			case n.Channel == callChannel:
				b.listeners.HearText(strings.Fields(n.Payload)...)
			default:
				b.hear(n.Payload)
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case wait.Err() != nil && !c.IsClosed():
			return nil
		default:
			return err
		}
	}
}

// hear passes on the hints of a notification. What makes no sense is everything: a newer version may have sent it.
func (b *Bus) hear(payload string) {
	for word := range strings.FieldsSeq(payload) {
		acc, box, _ := strings.Cut(word, ":")
		a, err1 := strconv.ParseInt(acc, 10, 64)
		m, err2 := strconv.ParseInt(box, 10, 64)
		if err1 != nil || err2 != nil {
			b.missed()
			return
		}
		b.Local.Publish(events.Hint{Account: account.ID(a), Mailbox: mailbox.ID(m)})
	}
}

// send sends what is to be sent, or else tries whether the connection is well.
func (b *Bus) send(ctx context.Context, c *pgx.Conn) error {
	batch := &pgx.Batch{}
	hints, calls := b.take()
	for _, p := range hints {
		batch.Queue("SELECT pg_notify($1, $2)", channel, p)
	}
	for _, p := range calls {
		batch.Queue("SELECT pg_notify($1, $2)", callChannel, p)
	}
	wait, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	if batch.Len() == 0 {
		return c.Ping(wait)
	}
	err := c.SendBatch(wait, batch).Close()
	if err != nil {
		b.mu.Lock()
		b.all = true // nobody knows what was sent
		b.mu.Unlock()
	}
	return err
}

// take returns what is to be sent, as notifications.
func (b *Bus) take() (hints, calls []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls = pack(maps.Keys(b.calls))
	b.forgetCalls()
	if b.all {
		b.all = false
		clear(b.pending)
		return []string{everything}, calls
	}
	hints = pack(func(yield func(string) bool) {
		for t := range b.pending {
			if !yield(strconv.FormatInt(int64(t.account), 10) + ":" + strconv.FormatInt(int64(t.mailbox), 10)) {
				return
			}
		}
	})
	clear(b.pending)
	return hints, calls
}

// forgetCalls is for what was taken, or cannot be sent; mu is held.
func (b *Bus) forgetCalls() {
	clear(b.calls)
	b.octets = 0
}

// pack puts words into payloads, with spaces between them.
func pack(words iter.Seq[string]) (payloads []string) {
	var p strings.Builder
	for word := range words {
		if p.Len() > 0 && p.Len()+len(word) >= maxPayload {
			payloads = append(payloads, p.String())
			p.Reset()
		}
		if p.Len() > 0 {
			p.WriteByte(' ')
		}
		p.WriteString(word)
	}
	if p.Len() > 0 {
		payloads = append(payloads, p.String())
	}
	return payloads
}
