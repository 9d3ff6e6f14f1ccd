package postgres

import (
	"context"
	"errors"

	"imapped/domain/fault"
	"imapped/ports/events"
	"imapped/ports/nodes"
)

// Up says whether the bus has a connection, so that hints of other processes come at once. While it has none, who waits for
// news looks for itself now and then.
func (b *Bus) Up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connected
}

// TellAll gives every subscription of every process a hint, as soon as there is a connection: for when others may have
// missed what they were told by other means.
func (b *Bus) TellAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = true
	b.rouse()
}

// Tell sends hints and calls to every Bus over the database of the URL, and returns when the database has them: for a process
// that has no Bus. When there are more than a Bus keeps, everybody is told to look at everything.
func Tell(ctx context.Context, url string, hints []events.Hint, calls ...nodes.Call) (err error) {
	const op = "tell other processes"
	config, err := Options{URL: url}.config()
	if err != nil {
		return err
	}
	b := &Bus{config: config.ConnConfig, pending: map[topic]struct{}{}, calls: map[string]struct{}{}, all: len(hints) > maxPending}
	for _, h := range hints[:min(len(hints), maxPending)] {
		b.pending[topic{h.Account, h.Mailbox}] = struct{}{}
	}
	for _, c := range calls {
		b.put(c)
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	c, err := b.connect(ctx)
	if err != nil {
		return mapErr(op, err)
	}
	defer func() { err = errors.Join(err, fault.As(fault.Unavailable, op, c.Close(ctx))) }()
	return mapErr(op, b.send(ctx, c))
}
