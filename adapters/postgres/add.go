package postgres

import (
	"slices"
	"time"

	"imapped/domain/mailbox"
	"imapped/ports/metadata"
)

// arrival is what is to be known about new messages before they are added.
type arrival struct {
	known   map[uint32]bool                       // upstream UIDs that the mailbox has, or had before their messages departed
	threads map[mailbox.ObjectID]mailbox.ObjectID // of the message ids that are known
}

// arrive queues finding out what is to be known about new messages.
func (ch *change) arrive(msgs []metadata.NewMessage) *arrival {
	a := &arrival{known: map[uint32]bool{}, threads: map[mailbox.ObjectID]mailbox.ObjectID{}}
	if len(msgs) == 0 {
		return a
	}
	var ups []int64
	asked := map[mailbox.ObjectID]bool{}
	var names [][16]byte
	for i := range msgs {
		if up := msgs[i].Upstream; up != 0 {
			ups = append(ups, int64(up))
		}
		for id := range msgs[i].Identity.Names {
			if !asked[id] {
				asked[id] = true
				names = append(names, id)
			}
		}
	}
	if len(ups) > 0 {
		ch.t.ask(func(r *row) error {
			a.known[uint32(r.int())] = true
			return nil
		}, `SELECT m.up_uid FROM unnest($3::bigint[]) AS u (up)`+each("messages", "m", `AND x.up_uid = u.up AND x.up_uid > 0`)+
			`UNION ALL SELECT d.up_uid FROM unnest($3::bigint[]) AS u (up)`+
			each("departed", "d", `AND x.up_uid = u.up AND x.up_uid > 0`), ch.keys(ups)...)
	}
	if len(names) > 0 {
		ch.t.ask(func(r *row) error {
			a.threads[r.id()] = r.id()
			return nil
		}, `SELECT x.msgid, x.thread FROM unnest($2::uuid[]) AS u (msgid) CROSS JOIN LATERAL (SELECT * FROM threads x
			WHERE x.account_id = $1 AND x.msgid = u.msgid OFFSET 0) x`, int64(ch.acc), names)
	}
	return a
}

// add queues inserting new messages and returns their UIDs, 0 for those whose upstream UID is known.
func (ch *change) add(now time.Time, msgs []metadata.NewMessage, a *arrival) ([]mailbox.UID, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	uids := make([]mailbox.UID, len(msgs))
	fresh := make([]*metadata.NewMessage, 0, len(msgs))
	for i := range msgs {
		n := &msgs[i]
		if n.Upstream != 0 {
			if a.known[n.Upstream] {
				continue
			}
			a.known[n.Upstream] = true
		}
		var err error
		if uids[i], err = ch.take(1); err != nil {
			return nil, err
		}
		fresh = append(fresh, n)
	}
	if len(fresh) == 0 {
		return uids, nil
	}
	first := ch.uidNext - int64(len(fresh))
	rows := make([]hot, len(fresh))
	names := make([]metadata.Identity, len(fresh))
	var bodies []*metadata.Content
	threads := ch.threads(fresh, a.threads)
	for i, n := range fresh {
		r := &rows[i]
		r.Row = mailbox.Row{Flags: n.Flags, Size: n.Size, Date: n.Date, Zone: n.Zone}
		r.upstream = int64(n.Upstream)
		names[i] = metadata.Identity{EmailID: n.Identity.Email, ThreadID: threads[i]}
		if n.Content != nil {
			body := *n.Content
			body.Mailbox, body.UID = ch.id, mailbox.UID(first+int64(i))
			bodies = append(bodies, &body)
			r.Size, r.body = n.Content.Size, 1 // the stored bytes' size, not what the upstream says
		}
	}
	ch.insertRows(first, rows)
	ch.insertIdentities(first, now, names)
	ch.insertContents(bodies)
	return uids, nil
}

// insertRows queues inserting the hot rows of messages, which get the UIDs from first on, and counts them.
func (ch *change) insertRows(first int64, rows []hot) {
	n := len(rows)
	var (
		uids, sizes, dates, ups = make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		sys, zones              = make([]int16, n), make([]int16, n)
		bodies                  = make([]bool, n)
		keywords                = make([]string, n)
	)
	for i, r := range rows {
		ch.count(r.Flags.Sys, r.Size, 1)
		ch.bodies += r.body
		if r.upstream != 0 {
			ch.bound++
		}
		uids[i], sizes[i], dates[i], ups[i] = first+int64(i), r.Size, r.Date, r.upstream
		sys[i], zones[i], bodies[i], keywords[i] = int16(r.Flags.Sys), r.Zone, r.body != 0, r.Flags.KeywordString()
	}
	ch.t.later(`INSERT INTO messages (account_id, mailbox_id, modseq, uid, size, date, up_uid, sys, zone, body, keywords)
		SELECT $1, $2, $3, * FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::smallint[],
		$9::smallint[], $10::boolean[], $11::text[])`, ch.keys(ch.seq(), uids, sizes, dates, ups, sys, zones, bodies, keywords)...)
}

// insertIdentities queues inserting the names of messages that get the UIDs from first on.
func (ch *change) insertIdentities(first int64, now time.Time, names []metadata.Identity) {
	uids := make([]int64, len(names))
	emails, threads := make([][16]byte, len(names)), make([][16]byte, len(names))
	for i, n := range names {
		uids[i], emails[i], threads[i] = first+int64(i), n.EmailID, n.ThreadID
	}
	ch.t.later(`INSERT INTO identities (account_id, mailbox_id, saved, uid, email, thread)
		SELECT $1, $2, $3, * FROM unnest($4::bigint[], $5::uuid[], $6::uuid[])`, ch.keys(stamp(now), uids, emails, threads)...)
}

// threads returns the thread of each message and queues recording the message ids that were not known.
func (ch *change) threads(msgs []*metadata.NewMessage, known map[mailbox.ObjectID]mailbox.ObjectID) []mailbox.ObjectID {
	threads := make([]mailbox.ObjectID, len(msgs))
	var added []mailbox.ObjectID
	for i, n := range msgs {
		threads[i] = n.Identity.Thread(known)
		for id := range n.Identity.Names {
			if _, ok := known[id]; !ok {
				known[id] = threads[i]
				added = append(added, id)
			}
		}
	}
	if len(added) == 0 {
		return threads
	}
	// In key order the inserts of a batch touch each page once.
	slices.SortFunc(added, func(a, b mailbox.ObjectID) int { return slices.Compare(a[:], b[:]) })
	ids, of := make([][16]byte, len(added)), make([][16]byte, len(added))
	for i, id := range added {
		ids[i], of[i] = id, known[id]
	}
	ch.t.later(`INSERT INTO threads (account_id, msgid, thread) SELECT $1, * FROM unnest($2::uuid[], $3::uuid[])`,
		int64(ch.acc), ids, of)
	return threads
}
