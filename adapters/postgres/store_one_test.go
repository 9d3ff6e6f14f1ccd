package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// TestOneMessageAsAny: a change of one message's flags, which is one statement, does what the change of several does.
func TestOneMessageAsAny(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("IMAPPED_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64() >> 16
	}
	t.Logf("IMAPPED_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := fixture(t, database(t))
	ctx, acc := t.Context(), s.fence.Account
	const messages, nobody = 4, 9
	var boxes [2]mailbox.ID
	for i := range boxes {
		m, err := s.SaveMailbox(ctx, s.fence, metadata.Mirrored{Info: mailbox.Info{Name: fmt.Sprint(i)}})
		must(t, err)
		boxes[i] = m.ID
		_, err = s.Apply(ctx, s.fence, metadata.Update{Mailbox: m.ID, New: newMessages(1, messages)})
		must(t, err)
	}
	to, err := s.CreateMailbox(ctx, acc, "To", 0, time.Unix(1, 0))
	must(t, err)
	sets := []flag.Set{
		{}, flag.Make(flag.Seen), flag.Make(flag.Deleted | flag.Flagged), flag.Make(0, "b"), flag.Make(0, "B", "a"),
		flag.Make(flag.Seen, "A_", "aa", "$c"), flag.Make(0, "A", "b", "$C", "~"), flag.Make(flag.Draft, "a_", "Aa"),
	}
	for step := range 300 {
		now := time.Unix(int64(step), 0)
		uid := uint32(1 + rnd.IntN(messages+1)) // one more than there are
		e := metadata.FlagEdit{Mode: metadata.FlagMode(rnd.IntN(3)), Flags: sets[rnd.IntN(len(sets))], Now: now}
		if rnd.IntN(4) == 0 {
			since := mailbox.ModSeq(rnd.IntN(step + 2))
			e.Unchanged = &since
		}
		what := rnd.IntN(10)
		verdict := metadata.Verdict(rnd.IntN(3))
		var done, queue [2]string
		for i, box := range boxes {
			switch what {
			case 0:
				_, err := s.CopyMessages(ctx, acc, metadata.CopyEdit{From: box, To: to.ID, UIDs: mailbox.SetOf(uid), Now: now})
				must(t, err)
			case 1, 2:
				for _, q := range s.flagsOf(t, box) {
					if uint32(q.Ref.UID) == uid {
						_, err := s.Settle(ctx, s.fence, now, []metadata.Outcome{{ID: q.ID, Version: q.Version, Verdict: verdict}})
						must(t, err)
						break
					}
				}
			default:
				e.Mailbox, e.UIDs = box, mailbox.SetOf(uid)
				if i == 1 {
					e.UIDs = mailbox.SetOf(uid, nobody)
				}
				d, err := s.EditFlags(ctx, acc, e)
				must(t, err)
				done[i] = fmt.Sprint(d)
			}
			for _, q := range s.flagsOf(t, box) {
				queue[i] += fmt.Sprintf("%d: version %d %v +(%v) -(%v) of %v\n", q.Ref.UID, q.Version, q.State, q.Op.Add, q.Op.Remove, q.Created)
			}
			m, err := s.Mailbox(ctx, acc, box)
			must(t, err)
			done[i] += fmt.Sprint(" ", m.HighestModSeq, m.Unseen, m.Deleted, m.DeletedSize)
		}
		if done[0] != done[1] || queue[0] != queue[1] {
			t.Fatalf("step %d, %+v of UID %d:\nalone: %s\n%sas any: %s\n%s", step, e, uid, done[0], queue[0], done[1], queue[1])
		}
	}
}

// flagsOf returns the queue's changes of flags of a mailbox's messages.
func (s *bench) flagsOf(t *testing.T, box mailbox.ID) (of []metadata.Queued) {
	t.Helper()
	all, err := s.Mutations(t.Context(), s.fence.Account, 0, 1<<20)
	must(t, err)
	for _, q := range all {
		if q.Kind == mutation.Flags && q.Ref.Mailbox == box {
			of = append(of, q)
		}
	}
	return of
}
