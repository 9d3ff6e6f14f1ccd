package redis

import "imapped/ports/nodes"

var _ nodes.Calls = (*Calls)(nil)

// Calls is a nodes.Calls over all nodes: one channel, and a message for each call. While Redis is away calls are dropped.
type Calls struct {
	c         *Client
	listeners nodes.Listeners
}

// NewCalls returns the calls of a client, for which one is made.
func NewCalls(c *Client) *Calls {
	calls := &Calls{c: c}
	c.join(c.calls(), func(text string, all bool) {
		if all {
			calls.listeners.Hear(nodes.Missed()...)
		} else {
			calls.listeners.HearText(text)
		}
	})
	return calls
}

// calls is the channel of all calls.
func (c *Client) calls() string { return c.prefix + "calls" }

// Send implements nodes.Calls.
func (s *Calls) Send(call nodes.Call) {
	if text, err := call.Text(); err == nil && s.c.Connected() {
		s.c.out.call(text)
	}
}

// Receive implements nodes.Calls.
func (s *Calls) Receive(fn func(nodes.Call)) (stop func()) { return s.listeners.Receive(fn) }
