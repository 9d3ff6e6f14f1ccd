package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"imapped/app/admin"
	"imapped/cmd/imapped/config"
	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mutation"
)

// mutationsCmd is about changes that clients made here and the upstream does not have yet.
type mutationsCmd struct {
	List    listMutationsCmd   `cmd:"" default:"withargs" help:"List changes made here that the upstream does not have yet, in the order in which they are carried out."`
	Show    showMutationCmd    `cmd:"" help:"Show all that is known of one change."`
	Retry   retryMutationCmd   `cmd:"" help:"Try a parked or postponed change again, at once."`
	Discard discardMutationCmd `cmd:"" help:"Give a change up; the upstream's state comes back here."`
}

// mutationFlags says whose queue is meant.
type mutationFlags struct {
	dataFlags
	AccountEmail string `help:"Only this account's; its address, or its number as #12." placeholder:"ADDRESS"`
}

func (f mutationFlags) accounts(ctx context.Context, in *instance) ([]account.Account, error) {
	if f.AccountEmail == "" {
		return in.admin.Accounts(ctx, "")
	}
	a, err := in.admin.Account(ctx, f.AccountEmail)
	return []account.Account{a}, err
}

// mutationRow is one change as JSON shows it.
type mutationRow struct {
	ID            int64      `json:"id"`
	Account       string     `json:"account"`
	Kind          string     `json:"kind"`
	State         string     `json:"state"`
	Created       time.Time  `json:"created"`
	AgeSeconds    int64      `json:"age_seconds"`
	Mailbox       string     `json:"mailbox"`
	UID           uint32     `json:"uid,omitempty"`
	UpstreamUID   uint32     `json:"upstream_uid,omitempty"`
	SourceMailbox string     `json:"source_mailbox,omitempty"`
	SourceUID     uint32     `json:"source_uid,omitempty"`
	What          string     `json:"what"`
	FlagsAdded    []string   `json:"flags_added,omitempty"`
	FlagsRemoved  []string   `json:"flags_removed,omitempty"`
	Name          string     `json:"name,omitempty"`
	NewName       string     `json:"new_name,omitempty"`
	Attempts      int        `json:"attempts"`
	Reason        string     `json:"reason,omitempty"`
	NextAttempt   *time.Time `json:"next_attempt,omitempty"`
	IfDiscarded   string     `json:"if_discarded"`
}

func mutationOf(m admin.Mutation, now time.Time) mutationRow {
	r := mutationRow{
		ID: int64(m.ID), Account: m.Account.Email, Kind: m.Kind.String(), State: m.State.String(), Created: m.Created,
		AgeSeconds: int64(now.Sub(m.Created).Seconds()), Mailbox: m.Mailbox, UID: uint32(m.Ref.UID), UpstreamUID: m.Upstream,
		SourceMailbox: m.Source, SourceUID: uint32(m.Queued.Source.UID), What: m.What(), Name: m.Name, NewName: m.To,
		Attempts: m.Attempts, Reason: m.Reason, IfDiscarded: m.GivenUp(),
	}
	r.FlagsAdded, r.FlagsRemoved = m.Flags()
	if !m.Next.IsZero() && m.Next.After(now) {
		r.NextAttempt = &m.Next
	}
	return r
}

// next says when the change's turn comes.
func (r mutationRow) next() string {
	switch {
	case r.State == mutation.Parked.String():
		return "never; retry or discard"
	case r.NextAttempt != nil:
		return timeText(*r.NextAttempt)
	}
	return "when its turn comes"
}

type listMutationsCmd struct {
	mutationFlags
	listFlags
	Parked bool `help:"Only what was refused for good and waits for you."`
}

// Run lists the queue.
func (c listMutationsCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		accounts, err := c.accounts(ctx, in)
		if err != nil {
			return err
		}
		now := time.Now()
		rows := []mutationRow{}
		var text [][]string
		for _, a := range accounts {
			err := in.admin.Mutations(ctx, a, func(m admin.Mutation) error {
				if c.Parked && m.State != mutation.Parked {
					return nil
				}
				r := mutationOf(m, now)
				rows = append(rows, r)
				uid := ""
				if r.UID != 0 {
					uid = strconv.FormatUint(uint64(r.UID), 10)
				}
				text = append(text, []string{
					strconv.FormatInt(r.ID, 10), printable(r.Account), r.Kind, r.State, ageText(now.Sub(r.Created)), printable(r.Mailbox), uid,
					printable(r.What), strconv.Itoa(r.Attempts), printable(r.Reason), r.next(),
				})
				return nil
			})
			if err != nil {
				return err
			}
		}
		if len(rows) == 0 && !c.JSON {
			_, err := fmt.Fprintln(out, "Nothing waits for the upstream.")
			return err
		}
		heads := []string{"ID", "ACCOUNT", "KIND", "STATE", "AGE", "MAILBOX", "UID", "WHAT", "ATTEMPTS", "REASON", "NEXT ATTEMPT"}
		return c.table(out, rows, heads, text)
	})
}

// oneMutation names one change.
type oneMutation struct {
	ID int64 `arg:"" help:"The change's number, as mutations list shows it."`
}

type showMutationCmd struct {
	mutationFlags
	listFlags
	oneMutation
}

// Run shows one change.
func (c showMutationCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		m, err := c.mutation(ctx, in, c.ID)
		if err != nil {
			return err
		}
		r := mutationOf(m, time.Now())
		if c.JSON {
			return printJSON(out, r)
		}
		lines := [][]string{
			{"Account", printable(r.Account)},
			{"Change", strings.TrimSpace(r.Kind + " " + printable(r.What))},
			{"Mailbox", printable(r.Mailbox)},
		}
		if r.UID != 0 {
			upstream := "not there yet, or not any more"
			if r.UpstreamUID != 0 {
				upstream = fmt.Sprintf("UID %d there", r.UpstreamUID)
			}
			lines = append(lines, []string{"Message", fmt.Sprintf("UID %d here; upstream: %s", r.UID, upstream)})
		}
		lines = append(lines, []string{"State", r.State}, []string{"Made", timeText(r.Created)},
			[]string{"Attempts", strconv.Itoa(r.Attempts)}, []string{"Next attempt", r.next()})
		if r.Reason != "" {
			lines = append(lines, []string{"Reason", printable(r.Reason)})
		}
		return c.table(out, nil, nil, append(lines, []string{"If discarded", printable(r.IfDiscarded)}))
	})
}

// mutation finds one change in the queues that the flags name.
func (f mutationFlags) mutation(ctx context.Context, in *instance, id int64) (admin.Mutation, error) {
	accounts, err := f.accounts(ctx, in)
	if err != nil {
		return admin.Mutation{}, err
	}
	return in.admin.Mutation(ctx, accounts, mutation.ID(id))
}

type retryMutationCmd struct {
	mutationFlags
	ID        int64 `arg:"" optional:"" help:"The change's number, as mutations list shows it."`
	AllParked bool  `help:"Everything that was refused for good."`
}

// Run makes changes due again.
func (c retryMutationCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	if (c.ID != 0) == c.AllParked {
		return fault.New(fault.Invalid, "retry", "name one change, or say --all-parked")
	}
	return withStore(ctx, conf, func(in *instance) error {
		if c.AllParked {
			return c.retryAll(ctx, in, out)
		}
		m, err := c.mutation(ctx, in, c.ID)
		if err != nil {
			return err
		}
		if err := in.admin.Retry(ctx, m); err != nil {
			return err
		}
		return errors.Join(in.tellChanged(ctx, m.Account.ID), say(out, "Change %d will be tried again.\n", m.ID))
	})
}

func (c retryMutationCmd) retryAll(ctx context.Context, in *instance, out output) error {
	accounts, err := c.accounts(ctx, in)
	if err != nil {
		return err
	}
	total := 0
	for _, a := range accounts {
		n, err := in.admin.RetryParked(ctx, a)
		if n > 0 {
			err = errors.Join(err, in.tellChanged(ctx, a.ID))
		}
		if err != nil {
			return err
		}
		total += n
	}
	return say(out, "%d parked changes will be tried again.\n", total)
}

type discardMutationCmd struct {
	mutationFlags
	oneMutation
	Yes bool `help:"Do not ask."`
}

// Run gives one change up.
func (c discardMutationCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	return withStore(ctx, conf, func(in *instance) error {
		m, err := c.mutation(ctx, in, c.ID)
		if err != nil {
			return err
		}
		loses := printable(m.GivenUp())
		if !c.Yes {
			question := fmt.Sprintf("Discarding change %d (%s): %s. Go on?", m.ID, m.Kind, loses)
			if err := confirm(os.Stdin, os.Stderr, question); err != nil {
				return err
			}
		}
		if err := in.admin.Discard(ctx, m); err != nil {
			return err
		}
		return errors.Join(in.tellChanged(ctx, m.Account.ID), say(out,
			"Discarded change %d: %s. What the upstream has comes with the next round; force-sync asks for one now.\n", m.ID, loses))
	})
}

// confirm asks a question; anything but yes is fault.Invalid.
func confirm(r io.Reader, w io.Writer, question string) error {
	fmt.Fprint(w, question, " [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(r, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.As(fault.Invalid, "ask", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fault.New(fault.Invalid, "ask", "nothing was done; --yes answers the question in advance")
}

func say(out output, format string, args ...any) error {
	_, err := fmt.Fprintf(out, format, args...)
	return err
}
