package syncer

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
)

// Drop forgets that a body is stored, because its bytes turned out not to be what they were; the next who needs it
// fetches it anew. fault.Unavailable when this process does not own the account.
func (m *Manager) Drop(ctx context.Context, acc account.ID, id mailbox.ID, uid mailbox.UID) error {
	const op = "forget a damaged body"
	r, err := m.runner(acc)
	if err != nil {
		return fault.Wrap(op, err)
	}
	return fault.Wrap(op, m.Bodies.DropContent(ctx, r.owner.fence, id, uid))
}
