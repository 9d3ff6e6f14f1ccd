package replay

import (
	"context"
	"errors"
	"slices"
	"time"

	"imapped/domain/fault"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
	"imapped/ports/upstream"
)

func (w *work) done(i int, uid uint32) {
	q := &w.queue[i]
	delete(w.smaller, q.ID)
	delete(w.held, q.Ref.Mailbox)
	w.outcomes = append(w.outcomes, metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Done, Upstream: uid})
}

func (w *work) again(i int, reason string, in time.Duration) {
	q := &w.queue[i]
	o := metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Again, Reason: reason}
	if in > 0 {
		o.Next = w.Clock.Now().Add(in)
	}
	w.outcomes = append(w.outcomes, o)
}

func (w *work) park(i int, reason string) {
	q := &w.queue[i]
	w.Log.Warn("a change was refused for good", "mutation", int64(q.ID), "kind", q.Kind.String(), "reason", reason)
	w.outcomes = append(w.outcomes, metadata.Outcome{ID: q.ID, Version: q.Version, Verdict: metadata.Park, Reason: reason})
}

// How often something is tried again that may never succeed: what the upstream refuses without saying why, and what it
// does not find.
const vagueTries = 6

// refused decides about items whose command was refused.
func (w *work) refused(items []int, err error) {
	var refusal *upstream.Refusal
	errors.As(err, &refusal)
	if refusal == nil {
		refusal = &upstream.Refusal{}
	}
	w.stale = w.stale || fault.Is(err, fault.Unavailable)
	if refusal.Retry > 0 {
		w.throttle = w.Clock.Now().Add(min(refusal.Retry, time.Hour))
	}
	for _, i := range items {
		q := &w.queue[i]
		named := w.boxes[q.Ref.Mailbox].Upstream.Name != ""
		verdict := mutation.Refused(q.Kind, fault.KindOf(err), named)
		guess := refusal.Vague || fault.Is(err, fault.NotFound)
		if verdict == mutation.MakeTarget || verdict == mutation.Again && !(guess && q.Attempts >= vagueTries) {
			if guess && len(items) > 1 {
				w.smaller[q.ID] = (len(items) + 1) / 2
			}
			w.again(i, errText(err), max(w.backoff(q.Attempts, w.cfg.RetryMax), min(refusal.Retry, time.Hour)))
			continue
		}
		switch {
		case verdict == mutation.Done:
			w.done(i, 0)
		case len(items) > 1: // it may be about one of them
			w.smaller[q.ID] = (len(items) + 1) / 2
			w.again(i, errText(err), 0)
		default:
			w.park(i, errText(err))
		}
	}
	if fault.Is(err, fault.NotFound) {
		w.host.Look(Lists)
	} else if refusal.Code == "EXPUNGEISSUED" && len(items) > 0 {
		w.host.Look(w.queue[items[0]].Ref.Mailbox)
	}
}

// errText is what an upstream said, for a person.
func errText(err error) string {
	var refusal *upstream.Refusal
	if errors.As(err, &refusal) {
		return refusal.Error()
	}
	return err.Error()
}

// isRefusal says whether a command was answered with NO or BAD.
func isRefusal(err error) bool {
	var refusal *upstream.Refusal
	return errors.As(err, &refusal) && refusal.Status != "BYE"
}

// settle records the outcomes so far and tells sessions.
func (w *work) settle(ctx context.Context) error {
	if len(w.outcomes) == 0 {
		return nil
	}
	outcomes := w.outcomes
	w.outcomes = nil
	applied, err := w.Queue.Settle(ctx, w.fence, w.Clock.Now(), outcomes)
	if err != nil {
		return fault.Wrap("record what became of changes", err)
	}
	if slices.ContainsFunc(outcomes, func(o metadata.Outcome) bool { return o.Verdict == metadata.Done }) {
		w.attempt = 0 // a connection that is cut now and then still gets things done
	}
	for _, a := range applied {
		w.host.Changed(a.Mailbox, a.ModSeq)
	}
	return nil
}

// intend marks the items Sent. It returns those that are to be sent.
func (w *work) intend(ctx context.Context, items []int, intent mutation.Intent) ([]int, error) {
	intents := make([]metadata.Intended, len(items))
	for k, i := range items {
		intents[k] = metadata.Intended{ID: w.queue[i].ID, Intent: intent}
	}
	ids, err := w.Queue.Intend(ctx, w.fence, intents)
	if err != nil {
		return nil, fault.Wrap("record what is about to be sent", err)
	}
	return slices.DeleteFunc(slices.Clone(items), func(i int) bool { return !slices.Contains(ids, w.queue[i].ID) }), nil
}
