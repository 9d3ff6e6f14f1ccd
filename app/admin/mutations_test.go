package admin_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"imapped/app/admin"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// queues is a metadata.Queue in memory, as far as operators use it, and the accounts' mailboxes.
type queues struct {
	metadata.Queue
	metadata.Mirror
	all      map[account.ID][]metadata.Queued
	boxes    map[account.ID][]metadata.Mirrored
	resolved []string
	gone     mutation.ID // carried out before Resolve comes
}

func (q *queues) Mutations(_ context.Context, acc account.ID, after mutation.ID, limit int) ([]metadata.Queued, error) {
	var out []metadata.Queued
	for _, m := range q.all[acc] {
		if m.ID > after && len(out) < limit {
			out = append(out, m)
		}
	}
	return out, nil
}

func (q *queues) Mirrored(_ context.Context, acc account.ID) ([]metadata.Mirrored, error) {
	return q.boxes[acc], nil
}

func (q *queues) Resolve(_ context.Context, acc account.ID, id mutation.ID, retry bool, _ time.Time) error {
	for _, m := range q.all[acc] {
		if m.ID != id || id == q.gone {
			continue
		}
		if m.State == mutation.Sent {
			return fault.New(fault.Conflict, "resolve", "sent")
		}
		word := "discard "
		if retry {
			word = "retry "
		}
		q.resolved = append(q.resolved, word+m.Kind.String())
		return nil
	}
	return fault.New(fault.NotFound, "resolve", "none")
}

type fixedClock struct{}

func (fixedClock) Now() time.Time { return time.Unix(1_700_000_000, 0) }

func queued(id mutation.ID, k mutation.Kind, s mutation.State) metadata.Queued {
	return metadata.Queued{Mutation: mutation.Mutation{ID: id, Kind: k, State: s}}
}

func newQueues() (*queues, *admin.Service, []account.Account) {
	q := &queues{
		all: map[account.ID][]metadata.Queued{}, boxes: map[account.ID][]metadata.Mirrored{
			1: {{Info: mailbox.Info{ID: 10, Name: "INBOX"}}, {Info: mailbox.Info{ID: 11, Name: "Archive"}}},
			2: {{Info: mailbox.Info{ID: 20, Name: "INBOX"}}},
		},
	}
	return q, admin.New(admin.Config{Queue: q, Mirror: q, Clock: fixedClock{}}), []account.Account{{ID: 1}, {ID: 2}}
}

func TestMutationsInWords(t *testing.T) {
	q, s, accounts := newQueues()
	with := func(id mutation.ID, k mutation.Kind, change func(*metadata.Queued)) {
		m := queued(id, k, mutation.Waiting)
		m.Ref = mutation.Ref{Mailbox: 10, UID: 5}
		change(&m)
		q.all[1] = append(q.all[1], m)
	}
	with(1, mutation.Flags, func(m *metadata.Queued) {
		m.Op = flag.Op{Add: flag.Make(flag.Seen, "$Junk"), Remove: flag.Make(flag.Flagged)}
	})
	with(2, mutation.Flags, func(*metadata.Queued) {})
	with(3, mutation.Append, func(*metadata.Queued) {})
	with(4, mutation.Move, func(m *metadata.Queued) { m.Source = mutation.Ref{Mailbox: 11, UID: 7} })
	with(5, mutation.Expunge, func(*metadata.Queued) {})
	with(6, mutation.Rename, func(m *metadata.Queued) { m.Name, m.To = "Old", "New" })
	with(7, mutation.Delete, func(m *metadata.Queued) { m.Ref, m.Name = mutation.Ref{Mailbox: 99}, "Gone" })
	var got []string
	err := s.Mutations(t.Context(), accounts[0], func(m admin.Mutation) error {
		got = append(got, m.Mailbox+": "+m.What())
		if m.GivenUp() == "" {
			t.Errorf("nothing is said of what discarding a %s gives up", m.Kind)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`INBOX: +\Seen +$Junk -\Flagged`, "INBOX: no difference any more", "INBOX: upload", "INBOX: move from Archive (UID 7)",
		"INBOX: ", "INBOX: Old to New", "Gone: Gone",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the queue is told as\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMutationsOfSeveralPages(t *testing.T) {
	q, s, accounts := newQueues()
	const n = 1000 // two full pages: a third that is empty
	for id := range mutation.ID(n) {
		q.all[1] = append(q.all[1], queued(2*id+1, mutation.Flags, mutation.Waiting))
	}
	var last mutation.ID
	count := 0
	err := s.Mutations(t.Context(), accounts[0], func(m admin.Mutation) error {
		if m.ID <= last {
			t.Fatalf("%d comes after %d", m.ID, last)
		}
		last = m.ID
		count++
		return nil
	})
	if err != nil || count != n {
		t.Errorf("%d changes, %v; want %d", count, err, n)
	}
}

func TestFindAndResolve(t *testing.T) {
	q, s, accounts := newQueues()
	q.all[1] = []metadata.Queued{
		queued(3, mutation.Flags, mutation.Parked), queued(5, mutation.Append, mutation.Sent), queued(8, mutation.Copy, mutation.Parked),
		queued(9, mutation.Expunge, mutation.Parked),
	}
	q.all[2] = []metadata.Queued{queued(4, mutation.Create, mutation.Waiting), queued(8, mutation.Delete, mutation.Parked)}

	m, err := s.Mutation(t.Context(), accounts, 4)
	if err != nil || m.Account.ID != 2 || m.Kind != mutation.Create {
		t.Fatalf("change 4 is %+v, %v", m, err)
	}
	if err := s.Discard(t.Context(), m); err != nil {
		t.Error(err)
	}
	for id, kind := range map[mutation.ID]fault.Kind{1: fault.NotFound, 6: fault.NotFound, 10: fault.NotFound, 8: fault.Invalid} {
		if _, err := s.Mutation(t.Context(), accounts, id); !fault.Is(err, kind) {
			t.Errorf("change %d: %v, want %v", id, err, kind)
		}
	}
	if m, err = s.Mutation(t.Context(), accounts[:1], 5); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(t.Context(), m); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "outcome") {
		t.Errorf("discarding what is sent: %v", err)
	}
	q.gone = 8
	if n, err := s.RetryParked(t.Context(), accounts[0]); err != nil || n != 2 {
		t.Errorf("%d parked changes are retried, %v; want 2", n, err)
	}
	if want := []string{"discard create", "retry flags", "retry expunge"}; !slices.Equal(q.resolved, want) {
		t.Errorf("resolved %q, want %q", q.resolved, want)
	}
}
