package admin

import (
	"context"
	"fmt"
	"strings"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// queuePage is how many mutations are read at a time.
const queuePage = 500

// Mutation is a change that waits to be made upstream, with the names that a person knows.
type Mutation struct {
	metadata.Queued
	Account account.Account
	Mailbox string // of Ref: for a placement its target
	Source  string // Copy, Move: the mailbox of Source
}

// What says in a few words what the change does to its message or mailbox.
func (m Mutation) What() string {
	switch m.Kind {
	case mutation.Flags:
		return flagsText(m)
	case mutation.Append:
		return "upload"
	case mutation.Copy, mutation.Move:
		return fmt.Sprintf("%s from %s (UID %d)", m.Kind, m.Source, m.Queued.Source.UID)
	case mutation.Rename:
		return fmt.Sprintf("%s to %s", m.Name, m.To)
	case mutation.Create, mutation.Delete, mutation.Subscribe, mutation.Unsubscribe:
		return m.Name
	}
	return ""
}

// subject names the change in the audit log: nothing of a message.
func (m Mutation) subject() string { return fmt.Sprintf("%s %d %s", m.Account.Email, m.ID, m.Kind) }

func flagsText(m Mutation) string {
	added, removed := m.Flags()
	var parts []string
	for _, f := range added {
		parts = append(parts, "+"+f)
	}
	for _, f := range removed {
		parts = append(parts, "-"+f)
	}
	if len(parts) == 0 {
		return "no difference any more"
	}
	return strings.Join(parts, " ")
}

// Flags returns the names of the flags that the change adds and removes.
func (m Mutation) Flags() (added, removed []string) {
	return strings.Fields(m.Op.Add.String()), strings.Fields(m.Op.Remove.String())
}

// GivenUp says what discarding the change gives up: a sentence for the person who is asked.
func (m Mutation) GivenUp() string {
	switch m.Kind {
	case mutation.Flags:
		return fmt.Sprintf("the message with UID %d in %s gets the upstream's flags back; given up: %s", m.Ref.UID, m.Mailbox, flagsText(m))
	case mutation.Append:
		return fmt.Sprintf("the message with UID %d is removed from %s here; the upstream never had it", m.Ref.UID, m.Mailbox)
	case mutation.Copy:
		return fmt.Sprintf("the copy with UID %d is removed from %s here", m.Ref.UID, m.Mailbox)
	case mutation.Move:
		return fmt.Sprintf("the message with UID %d is removed from %s here and comes back to %s as a new one",
			m.Ref.UID, m.Mailbox, m.Source)
	case mutation.Expunge:
		return fmt.Sprintf("the message that was expunged from %s comes back as a new one", m.Mailbox)
	case mutation.Create:
		return fmt.Sprintf("the mailbox %s, with what is in it, is removed here, unless the upstream has it", m.Mailbox)
	case mutation.Delete:
		return fmt.Sprintf("the mailbox %s comes back", m.Name)
	case mutation.Rename:
		return fmt.Sprintf("the mailbox %s gets its name at the upstream back", m.Mailbox)
	case mutation.Subscribe, mutation.Unsubscribe:
		return fmt.Sprintf("whether %s is subscribed is not told to the upstream", m.Name)
	}
	return ""
}

// Mutations calls fn for each change in the account's queue, in order.
func (s *Service) Mutations(ctx context.Context, a account.Account, fn func(Mutation) error) error {
	const op = "list mutations"
	names, err := s.mailboxNames(ctx, a.ID)
	if err != nil {
		return fault.Wrap(op, err)
	}
	for after := mutation.ID(0); ; {
		qs, err := s.c.Queue.Mutations(ctx, a.ID, after, queuePage)
		if err != nil {
			return fault.Wrap(op, err)
		}
		for _, q := range qs {
			if err := fn(named(a, q, names)); err != nil {
				return err
			}
			after = q.ID
		}
		if len(qs) < queuePage {
			return nil
		}
	}
}

// mailboxNames returns what the account's mailboxes are called, deleted ones too.
func (s *Service) mailboxNames(ctx context.Context, id account.ID) (map[mailbox.ID]string, error) {
	boxes, err := s.c.Mirror.Mirrored(ctx, id)
	if err != nil {
		return nil, err
	}
	names := make(map[mailbox.ID]string, len(boxes))
	for _, b := range boxes {
		names[b.ID] = b.Name
	}
	return names, nil
}

// Mutation returns the change with the id, of one of the accounts; fault.NotFound when there is none, fault.Invalid when
// several accounts have one: each counts for itself.
func (s *Service) Mutation(ctx context.Context, accounts []account.Account, id mutation.ID) (Mutation, error) {
	const op = "find mutation"
	var found []Mutation
	for _, a := range accounts {
		// Ids rise, so that the first after id-1 is the one, or there is none.
		qs, err := s.c.Queue.Mutations(ctx, a.ID, id-1, 1)
		if err != nil {
			return Mutation{}, fault.Wrap(op, err)
		}
		if len(qs) == 0 || qs[0].ID != id {
			continue
		}
		names, err := s.mailboxNames(ctx, a.ID)
		if err != nil {
			return Mutation{}, fault.Wrap(op, err)
		}
		found = append(found, named(a, qs[0], names))
	}
	switch len(found) {
	case 0:
		return Mutation{}, fault.Newf(fault.NotFound, op, "no change %d waits for the upstream; mutations list shows what does", id)
	case 1:
		return found[0], nil
	}
	return Mutation{}, fault.Newf(fault.Invalid, op, "several accounts have a change %d: say which with --account-email", id)
}

// named adds the names of its mailboxes to a change. A mailbox that is gone altogether is called as the change has it.
func named(a account.Account, q metadata.Queued, names map[mailbox.ID]string) Mutation {
	m := Mutation{Queued: q, Account: a, Mailbox: names[q.Ref.Mailbox], Source: names[q.Source.Mailbox]}
	if m.Mailbox == "" {
		m.Mailbox = q.Name
	}
	return m
}

// Retry makes a parked or postponed change due at once.
func (s *Service) Retry(ctx context.Context, m Mutation) (err error) {
	defer s.record(ctx, "retry mutation", m.subject(), &err)
	return s.resolve(ctx, "retry mutation", m, true)
}

// RetryParked does that for everything that is parked in the account, and returns how many there were.
func (s *Service) RetryParked(ctx context.Context, a account.Account) (_ int, err error) {
	defer s.record(ctx, "retry parked mutations", a.Email, &err)
	const op = "retry parked mutations"
	var parked []Mutation
	err = s.Mutations(ctx, a, func(m Mutation) error {
		if m.State == mutation.Parked {
			parked = append(parked, m)
		}
		return nil
	})
	if err != nil {
		return 0, fault.Wrap(op, err)
	}
	n := 0
	for _, m := range parked {
		switch err := s.resolve(ctx, op, m, true); {
		case fault.Is(err, fault.NotFound): // it was carried out, or taken back, meanwhile
		case err != nil:
			return n, err
		default:
			n++
		}
	}
	return n, nil
}

// Discard gives the change up: GivenUp says what becomes of it. fault.Conflict while its outcome is unknown.
func (s *Service) Discard(ctx context.Context, m Mutation) (err error) {
	defer s.record(ctx, "discard mutation", m.subject(), &err)
	return s.resolve(ctx, "discard mutation", m, false)
}

func (s *Service) resolve(ctx context.Context, op string, m Mutation, retry bool) error {
	err := s.c.Queue.Resolve(ctx, m.Account.ID, m.ID, retry, s.c.Clock.Now())
	if fault.Is(err, fault.Conflict) {
		return fault.Newf(fault.Conflict, op,
			"change %d was sent and its outcome is not known yet: it is found out as soon as the upstream can be asked", m.ID)
	}
	return fault.Wrap(op, err)
}
