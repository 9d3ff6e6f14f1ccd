package session

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// Quotas is the part of Session that tells how much mail an account holds and may hold (RFC 9208). Each account is one quota
// root, which has its address as its name; where Config.Quota is 0 there are none.
type Quotas interface {
	// Quota returns the quota root; fault.NotFound when the session has none of that name, in that very case.
	Quota(ctx context.Context, root string) (Quota, error)
	// QuotaRoots returns the quota roots of the mailbox, or of one that were made under the name: its account's, or none.
	QuotaRoots(ctx context.Context, name string) ([]Quota, error)
}

// Quota is a quota root with its one resource: the messages' octets. Used may be above Limit: mail from the upstream always
// comes in.
type Quota struct {
	Root        string
	Used, Limit int64
}

// Quota implements Quotas.
func (l *login) Quota(ctx context.Context, root string) (Quota, error) {
	const op = "quota"
	if l.svc.c.Quota > 0 {
		accounts, err := l.accounts(ctx)
		if err != nil {
			return Quota{}, fault.Wrap(op, err)
		}
		for _, acc := range accounts {
			if acc.Email == root {
				q, err := l.svc.quota(ctx, acc.ID, root)
				return q, fault.Wrap(op, err)
			}
		}
	}
	return Quota{}, fault.New(fault.NotFound, op, "no such quota root")
}

// QuotaRoots implements Quotas.
func (l *login) QuotaRoots(ctx context.Context, name string) ([]Quota, error) {
	const op = "quota roots"
	if l.svc.c.Quota == 0 {
		return nil, nil
	}
	tree, err := l.tree(ctx)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	at, _, err := tree.locate(name)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	q, err := l.svc.quota(ctx, at.account, at.email)
	if err != nil {
		return nil, fault.Wrap(op, err)
	}
	return []Quota{q}, nil
}

func (s *Service) quota(ctx context.Context, acc account.ID, root string) (Quota, error) {
	used, err := s.c.Mailboxes.Usage(ctx, acc)
	return Quota{Root: root, Used: used, Limit: s.c.Quota}, err
}

// room fails with fault.OverQuota when the account would hold too much with so many octets more. The store looks again when
// it adds them: this is to refuse early what it would refuse.
func (s *Service) room(ctx context.Context, acc account.ID, octets int64) error {
	if s.c.Quota == 0 || octets <= 0 {
		return nil
	}
	used, err := s.c.Mailboxes.Usage(ctx, acc)
	if err == nil && used > s.c.Quota-octets {
		err = metadata.OverQuota(s.c.Quota)
	}
	return err
}

// Fits implements Append.
func (a *appending) Fits(ctx context.Context, size int64, from Mailbox, replaced mailbox.UID) error {
	const op = "append"
	if a.err != nil {
		return a.err
	}
	source, err := replaces(from, replaced)
	if err != nil {
		return fault.Wrap(op, err)
	}
	grown := a.size + size
	if source != nil && source.account == a.to.info.Account {
		view := source.View()
		grown -= view.At(view.Seq(replaced)).Size
	}
	return fault.Wrap(op, a.svc.room(ctx, a.to.info.Account, grown))
}
