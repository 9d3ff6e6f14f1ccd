package metadatatest

import (
	"fmt"
	"imapped/domain/account"
	"strings"
	"time"

	"imapped/domain/flag"
	"imapped/domain/mailbox"
	"imapped/domain/mutation"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// later is when the edits of tests are made.
var later = now.Add(time.Hour)

// queue returns the account's whole queue.
func (f *fixture) queue() []metadata.Queued {
	f.t.Helper()
	qs, err := f.Mutations(f.ctx, f.acc.ID, 0, 1<<20)
	f.ok(err)
	for i := range qs[:max(len(qs), 1)-1] {
		if qs[i].ID >= qs[i+1].ID {
			f.t.Fatalf("mutation %d stands before %d", qs[i].ID, qs[i+1].ID)
		}
	}
	return qs
}

// say writes a mutation as "move! 3.1<1.2": kind, "!" Sent or "?" Parked, mailbox.UID of Ref, of Source, the operation, the
// names. A number behind "v" is a Version above 0.
func say(m mutation.Mutation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s %d", m.Kind, [...]string{"", "!", "?"}[m.State], m.Ref.Mailbox)
	if m.Ref.UID != 0 {
		fmt.Fprintf(&b, ".%d", m.Ref.UID)
	}
	if m.Source != (mutation.Ref{}) {
		fmt.Fprintf(&b, "<%d.%d", m.Source.Mailbox, m.Source.UID)
	}
	if m.Kind == mutation.Flags {
		b.WriteString(" +(" + m.Op.Add.String() + ") -(" + m.Op.Remove.String() + ")")
	}
	if m.Name != "" {
		b.WriteString(" " + m.Name)
	}
	if m.To != "" {
		b.WriteString(">" + m.To)
	}
	if m.Version > 0 {
		fmt.Fprintf(&b, " v%d", m.Version)
	}
	return b.String()
}

// queued checks what the queue holds, as say writes it, %d being mailboxes.
func (f *fixture) queued(boxes []any, want ...string) {
	f.t.Helper()
	var got []string
	for _, q := range f.queue() {
		got = append(got, say(q.Mutation))
	}
	var all []string
	for _, w := range want {
		for i, id := range boxes {
			w = strings.ReplaceAll(w, fmt.Sprintf("#%d", i+1), fmt.Sprint(id))
		}
		all = append(all, w)
	}
	equal(f.t, "the queue", got, all)
}

// settle records outcomes of mutations; their versions are what they are now.
func (f *fixture) settle(outcomes ...metadata.Outcome) []metadata.Applied {
	f.t.Helper()
	versions := map[mutation.ID]int{}
	for _, q := range f.queue() {
		versions[q.ID] = q.Version
	}
	for i := range outcomes {
		outcomes[i].Version = versions[outcomes[i].ID]
	}
	applied, err := f.Settle(f.ctx, f.fence, later, outcomes)
	f.ok(err)
	return applied
}

// intend marks mutations as sent and checks which may be.
func (f *fixture) intend(want []mutation.ID, ids ...mutation.ID) {
	f.t.Helper()
	var all []metadata.Intended
	for _, id := range ids {
		all = append(all, metadata.Intended{ID: id, Intent: mutation.Intent{UIDValidity: 7, UIDNext: 70}})
	}
	got, err := f.Intend(f.ctx, f.fence, all)
	f.ok(err)
	equal(f.t, "what may be sent", got, want)
}

// send marks all that the queue has for a message or mailbox as sent.
func (f *fixture) send(refs ...mutation.Ref) {
	f.t.Helper()
	var ids []mutation.ID
	for _, q := range f.queue() {
		for _, ref := range refs {
			if q.Ref == ref && !q.Kind.Idempotent() {
				ids = append(ids, q.ID)
			}
		}
	}
	f.intend(ids, ids...)
}

// last returns the last mutation's id.
func (f *fixture) last() mutation.ID {
	f.t.Helper()
	qs := f.queue()
	return qs[len(qs)-1].ID
}

// store edits flags.
func (f *fixture) store(id mailbox.ID, mode metadata.FlagMode, flags flag.Set, uids ...uint32) metadata.FlagsEdited {
	f.t.Helper()
	done, err := f.EditFlags(f.ctx, f.acc.ID, metadata.FlagEdit{
		Mailbox: id, UIDs: mailbox.SetOf(uids...), Mode: mode, Flags: flags, Now: later,
	})
	f.ok(err)
	return done
}

// deliver adds n messages with bodies, as a client does.
func (f *fixture) deliver(id mailbox.ID, n int) []mailbox.UID {
	f.t.Helper()
	done, err := f.AddMessages(f.ctx, f.acc.ID, metadata.AddEdit{Mailbox: id, Messages: letters(n), Now: later})
	f.ok(err)
	return done.UIDs
}

// letters returns n messages with bodies, to be delivered.
func letters(n int) []metadata.NewMessage {
	msgs := make([]metadata.NewMessage, n)
	for i := range msgs {
		msgs[i] = sample(uint32(900 + i))
		msgs[i].Upstream = 0
		c := body(0, 0, 50+int64(i), 900+i)
		msgs[i].Content = &c
	}
	return msgs
}

func (f *fixture) copy(from, to mailbox.ID, move bool, uids ...uint32) metadata.Copied {
	f.t.Helper()
	done, err := f.CopyMessages(f.ctx, f.acc.ID, metadata.CopyEdit{
		From: from, To: to, UIDs: mailbox.SetOf(uids...), Move: move, Now: later,
	})
	f.ok(err)
	return done
}

func (f *fixture) expunge(id mailbox.ID, uids ...uint32) metadata.Removed {
	f.t.Helper()
	done, err := f.RemoveMessages(f.ctx, f.acc.ID, metadata.RemoveEdit{
		Mailbox: id, UIDs: mailbox.SetOf(uids...), Now: later,
	})
	f.ok(err)
	return done
}

// bodies stores bodies for all messages of a mailbox that lack one, their sizes unchanged.
func (f *fixture) bodies(id mailbox.ID) {
	f.t.Helper()
	var contents []metadata.Content
	for _, r := range f.changes(id, 0).Rows {
		contents = append(contents, body(id, r.UID, r.Size, int(id)*1000+int(r.UID)))
	}
	f.ok(f.StoreContents(f.ctx, f.fence, contents))
}

// retained returns the undo list of the account.
func (f *fixture) retained(name string, since time.Time) (all []metadata.Retained) {
	f.t.Helper()
	f.ok(f.Retained(f.ctx, f.acc.ID, name, since, func(r metadata.Retained) error {
		r.Content = clone(&r.Content)
		all = append(all, r)
		return nil
	}))
	return all
}

// references returns how often the accounts of a user, or all for 0, name each blob.
func (f *fixture) references(user account.UserID) map[blob.Key]int {
	f.t.Helper()
	all := map[blob.Key]int{}
	f.ok(f.References(f.ctx, user, func(k blob.Key) error {
		all[k]++
		return nil
	}))
	return all
}

// mirrored returns a mailbox with its upstream side.
func (f *fixture) mirrored(id mailbox.ID) metadata.Mirrored {
	f.t.Helper()
	all, err := f.Mirrored(f.ctx, f.acc.ID)
	f.ok(err)
	for _, m := range all {
		if m.ID == id {
			return m
		}
	}
	f.t.Fatalf("no mailbox %d", id)
	return metadata.Mirrored{}
}

// rows writes what UpstreamRows tells as "UID=upstream", with "-" for a departed message and "~" for one being placed.
func (f *fixture) rows(id mailbox.ID) string {
	f.t.Helper()
	var all []string
	for _, r := range f.upstreamRows(id) {
		s := fmt.Sprintf("%d=%d", r.UID, r.Upstream)
		if r.Departed {
			s += "-"
		}
		if r.Placing {
			s += "~"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// flagsOf returns the flags of a message.
func (f *fixture) flagsOf(id mailbox.ID, uid mailbox.UID) string {
	f.t.Helper()
	row, ok := byUID(f.changes(id, 0).Rows)[uid]
	if !ok {
		f.t.Fatalf("no message %d", uid)
	}
	return row.Flags.String()
}

// local makes the account one without an upstream.
func (f *fixture) local() {
	f.t.Helper()
	f.acc.Local = true
	f.ok(f.UpdateAccount(f.ctx, f.acc))
}

func ref(id mailbox.ID, uid mailbox.UID) mutation.Ref { return mutation.Ref{Mailbox: id, UID: uid} }
