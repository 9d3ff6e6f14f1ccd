package postgres

import (
	"context"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// What edit_flag and add_message say became of a call, and the first of the message.
const (
	notSimple = 0
	simple    = 1
	noneSuch  = 2
	noRoom    = 3

	missing   = 0
	refused   = 1
	different = 3
)

// editFlag is EditFlags of one message: one round trip, which commits. ok is false where it is not that
// simple, and nothing was done.
func (s *Store) editFlag(ctx context.Context, op string, acc account.ID, e *metadata.FlagEdit) (done metadata.FlagsEdited, ok bool, err error) {
	if e.Again || len(e.UIDs) != 1 || e.UIDs[0].First != e.UIDs[0].Last {
		return done, false, nil
	}
	var unchanged any
	if e.Unchanged != nil {
		unchanged = int64(min(*e.Unchanged, 1<<63-1))
	}
	outcome := int64(notSimple)
	err = s.single(ctx, op, acc, func(r *row) {
		done = metadata.FlagsEdited{}
		outcome, done.ModSeq = r.int(), mailbox.ModSeq(r.int())
		state := r.int()
		if state == missing {
			return
		}
		m := readRow(r)
		switch state {
		case refused:
			done.Modified = mailbox.SetOf(m.UID)
			return
		case different:
			done.Changed = mailbox.SetOf(m.UID)
		}
		done.Rows = []mailbox.Row{m}
	}, `SELECT outcome, highest, state, uid, modseq, size, date, zone, sys, keywords
		FROM edit_flag($1, $2, $3, $4, $5, $6, $7, $8)`, int64(acc), int64(e.Mailbox), int64(e.UIDs[0].First),
		int16(e.Mode), int16(e.Flags.Sys), e.Flags.KeywordString(), unchanged, stamp(e.Now))
	if err == nil && outcome == noneSuch {
		err = fault.Wrap(op, errNoMailbox)
	}
	return done, outcome == simple, err
}

// addMessage is AddMessages of one message: one round trip, which commits. ok is false where it is not that simple, and
// nothing was done.
func (s *Store) addMessage(ctx context.Context, op string, acc account.ID, e *metadata.AddEdit) (done metadata.Added, ok bool, err error) {
	if len(e.Messages) != 1 || e.Replaces != (mutation.Ref{}) || len(e.Restores) > 0 {
		return done, false, nil
	}
	m := &e.Messages[0]
	names := [][16]byte{}
	for id := range m.Identity.Names {
		names = append(names, id)
	}
	c := m.Content
	outcome := int64(notSimple)
	err = s.single(ctx, op, acc, func(r *row) {
		outcome = r.int()
		done = metadata.Added{UIDValidity: uint32(r.int()), UIDs: []mailbox.UID{r.uid()}, ModSeq: mailbox.ModSeq(r.int())}
	}, `SELECT outcome, validity, uid, modseq
		FROM add_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		int64(acc), int64(e.Mailbox), stamp(e.Now), e.Quota, int16(m.Flags.Sys), m.Flags.KeywordString(), m.Date, m.Zone,
		[16]byte(m.Identity.Email), names, [16]byte(m.Identity.NewThread()), c.Size, c.Blob[:], bytesOf(c.Envelope),
		bytesOf(c.Body), bytesOf(c.BodyStructure), bytesOf(c.Headers), bytesOf(c.Preview), bytesOf(c.Parts))
	switch {
	case err != nil || outcome == notSimple:
		return metadata.Added{}, false, err
	case outcome == noneSuch:
		return metadata.Added{}, false, fault.Wrap(op, errNoMailbox)
	case outcome == noRoom:
		return metadata.Added{}, false, fault.Wrap(op, metadata.OverQuota(e.Quota))
	}
	return done, true, nil
}
