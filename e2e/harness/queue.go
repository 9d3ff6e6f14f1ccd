package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Mutation is what "mutations list" says about a change that the upstream does not have yet.
type Mutation struct {
	ID      int64     `json:"id"`
	Kind    string    `json:"kind"`
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Mailbox string    `json:"mailbox"`
	UID     uint32    `json:"uid"`
	What    string    `json:"what"`
	Reason  string    `json:"reason"`
}

// Mutations asks "mutations list".
func (m Mirror) Mutations(ctx context.Context) ([]Mutation, error) {
	out, err := m.Run(ctx, "mutations", "list", "--json")
	if err != nil {
		return nil, err
	}
	var rows []Mutation
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		return nil, fmt.Errorf("mutations list: %w in %q", err, out)
	}
	return rows, nil
}

// Settled waits until nothing waits for the upstream but what is parked, and returns that.
func (p *Process) Settled(ctx context.Context, within time.Duration) ([]Mutation, error) {
	var last Queue
	err := Eventually(ctx, within, "the upstream gets all changes", func() (bool, error) {
		select {
		case <-p.done:
			return false, p.ending()
		default:
		}
		s, err := p.Status(ctx)
		last = s.Queue
		return err == nil && last.Waiting+last.Sent == 0, err
	})
	if err != nil {
		rows, _ := p.Mutations(ctx) // the first error says more
		return rows, fmt.Errorf("%w; the queue: %+v %.3000s\n%s", err, last, fmt.Sprintf("%+v", rows), p.log)
	}
	if last.Parked == 0 {
		return nil, nil
	}
	return p.Mutations(ctx)
}
