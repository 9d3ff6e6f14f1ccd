package admin

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/ports/metadata"
)

// AccountStatus is an account with how it is doing and what of it is mirrored.
type AccountStatus struct {
	Account   account.Account
	Status    account.Status
	Mailboxes []metadata.Mirrored
	Queue     metadata.QueueSummary // what waits to be made upstream
}

// Totals returns how many messages the account has here, of how many the body is stored, and the sum of their sizes.
func (s AccountStatus) Totals() (messages, bodies uint64, size int64) {
	for _, m := range s.Mailboxes {
		messages += uint64(m.Messages)
		bodies += uint64(m.Bodies)
		size += m.Size
	}
	return messages, bodies, size
}

// Status returns how the account is doing, from the store: it needs no running server.
func (s *Service) Status(ctx context.Context, a account.Account) (AccountStatus, error) {
	const op = "read status"
	st, err := s.c.Statuses.Status(ctx, a.ID)
	if err != nil {
		return AccountStatus{}, fault.Wrap(op, err)
	}
	if a.Paused {
		st.State = account.StatePaused
	}
	boxes, err := s.c.Mirror.Mirrored(ctx, a.ID)
	if err != nil {
		return AccountStatus{}, fault.Wrap(op, err)
	}
	queue, err := s.c.Queue.QueueSummary(ctx, a.ID)
	if err != nil {
		return AccountStatus{}, fault.Wrap(op, err)
	}
	return AccountStatus{Account: a, Status: st, Mailboxes: boxes, Queue: queue}, nil
}
