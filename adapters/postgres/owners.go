package postgres

import (
	"context"
	"maps"
	"slices"
	"time"

	"imapped/domain/account"
	"imapped/domain/fault"
	"imapped/domain/mutation"
	"imapped/ports/metadata"
)

// named fails for an owner without a name.
func named(op, owner string) error {
	if owner == "" {
		return fault.New(fault.Invalid, op, "the owner needs a name")
	}
	return nil
}

// Acquire implements metadata.Leases. An owner that asks for the lease it holds keeps its token. It waits for the transaction
// of the last owner that is not over.
func (s *Store) Acquire(ctx context.Context, id account.ID, owner string, now time.Time, ttl time.Duration) (metadata.Fence, error) {
	const op = "acquire the account"
	if err := named(op, owner); err != nil {
		return metadata.Fence{}, err
	}
	var fences []metadata.Fence
	err := s.update(ctx, op, func(t *tx) error {
		t.existsAccount(id)
		return t.acquire(ctx, []int64{int64(id)}, owner, s.now(now), ttl, ``, &fences)
	})
	switch {
	case err != nil:
		return metadata.Fence{}, err
	case len(fences) == 0:
		return metadata.Fence{}, fault.New(fault.Conflict, op, "another process owns the account")
	}
	return fences[0], nil
}

// AcquireAll implements metadata.NodeLeases: two round trips. It waits for no lease: one that another process is taking at
// this moment, or in which a transaction of its last owner is not over, is left out.
func (s *Store) AcquireAll(
	ctx context.Context, ids []account.ID, owner string, now time.Time, ttl time.Duration,
) (fences []metadata.Fence, err error) {
	const op = "acquire accounts"
	if err := named(op, owner); err != nil {
		return nil, err
	}
	all := make([]int64, len(ids))
	for i, id := range ids {
		all[i] = int64(id)
	}
	err = s.leases.update(ctx, op, func(t *tx) error {
		return t.acquire(ctx, all, owner, s.now(now), ttl, ` SKIP LOCKED`, &fences)
	})
	if err != nil {
		return nil, err
	}
	return fences, nil
}

// alive is the condition for owner o to live at the time $3, as now has it.
const alive = `o.expires > coalesce($3, ` + databaseTime + `)`

// acquire takes those of the leases that can be had, and queues reading into fences those that the owner holds then. Leases
// are locked first, then owners, each in their order. The row of an owner is locked before it is found dead, and one's own
// before what one holds is read: who prolongs its life at the same moment either is seen to live, or sees what it lost.
// busy says what to do about a lease that is locked.
func (t *tx) acquire(
	ctx context.Context, ids []int64, owner string, now any, ttl time.Duration, busy string, fences *[]metadata.Fence,
) error {
	var locked []int64
	owners := map[string]bool{owner: true}
	// The lease of an owner that lives, as far as can be seen without its lock, is left alone: its transactions are not held up.
	if err := t.each(ctx, func(r *row) error {
		locked = append(locked, r.int())
		owners[r.str()] = true
		return nil
	}, `SELECT l.account_id, l.owner FROM leases l WHERE l.account_id = ANY ($1) AND l.owner <> $2
		AND l.owner <> ALL (ARRAY(SELECT o.name FROM owners o WHERE `+alive+`))
		ORDER BY l.account_id FOR UPDATE`+busy, ids, owner, now); err != nil {
		return err
	}
	t.later(`SELECT 1 FROM owners WHERE name = ANY ($1) ORDER BY name FOR UPDATE`, slices.Collect(maps.Keys(owners)))
	t.later(`UPDATE leases l SET owner = $2, token = l.token + 1 WHERE l.account_id = ANY ($1)
		AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.name = l.owner AND `+alive+`)`, locked, owner, now)
	t.later(prolong(`WHERE EXISTS (SELECT 1 FROM leases WHERE account_id = ANY ($4) AND owner = $1)`),
		owner, now, ttl.Nanoseconds(), ids)
	*fences = nil
	t.ask(func(r *row) error {
		*fences = append(*fences, metadata.Fence{Account: account.ID(r.int()), Owner: owner, Token: r.int()})
		return nil
	}, `SELECT account_id, token FROM leases WHERE account_id = ANY ($1) AND owner = $2 ORDER BY account_id`, ids, owner)
	return nil
}

// RenewAll implements metadata.NodeLeases: one round trip.
func (s *Store) RenewAll(ctx context.Context, owner string, now time.Time, ttl time.Duration) (held int, err error) {
	const op = "renew the leases"
	if err := named(op, owner); err != nil {
		return 0, err
	}
	err = s.leases.update(ctx, op, func(t *tx) error {
		t.later(`INSERT INTO owners (name, expires) VALUES ($1, coalesce($2, `+databaseTime+`) + $3)
			ON CONFLICT (name) DO UPDATE SET expires = excluded.expires`, owner, s.now(now), ttl.Nanoseconds())
		t.ask(func(r *row) error {
			held = int(r.int())
			return nil
		}, `SELECT count(*) FROM leases WHERE owner = $1`, owner)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return held, nil
}

// Held implements metadata.NodeLeases.
func (s *Store) Held(ctx context.Context, owner string) (fences []metadata.Fence, err error) {
	err = s.leases.view(ctx, "list leases", func(t *tx) error {
		fences = nil
		return t.each(ctx, func(r *row) error {
			fences = append(fences, metadata.Fence{Account: account.ID(r.int()), Owner: owner, Token: r.int()})
			return nil
		}, `SELECT account_id, token FROM leases WHERE owner = $1 AND owner <> '' ORDER BY account_id`, owner)
	})
	return fences, err
}

// selectAcquirable goes from one owner's name to the next, and then to the leases of those that do not live alone.
const selectAcquirable = `WITH RECURSIVE holders AS (
	(SELECT l.owner FROM leases l ORDER BY l.owner LIMIT 1)
	UNION ALL
	SELECT next.owner FROM holders h CROSS JOIN LATERAL (SELECT l.owner FROM leases l
		WHERE l.owner > h.owner ORDER BY l.owner LIMIT 1) next)
	SELECT ` + accountColumns + `, h.owner FROM holders h
	CROSS JOIN LATERAL (SELECT x.account_id FROM leases x WHERE x.owner = h.owner OFFSET 0) l
	CROSS JOIN LATERAL (SELECT * FROM accounts x WHERE x.id = l.account_id OFFSET 0) a
	WHERE h.owner <> ALL (ARRAY(SELECT o.name FROM owners o WHERE o.expires > coalesce($1, ` + databaseTime + `)))
	AND NOT a.local AND NOT a.paused ORDER BY a.id`

// Acquirable implements metadata.NodeLeases.
func (s *Store) Acquirable(ctx context.Context, now time.Time) (free []metadata.Acquirable, err error) {
	err = s.leases.view(ctx, "list accounts without an owner", func(t *tx) error {
		free = nil
		return t.each(ctx, func(r *row) error {
			free = append(free, metadata.Acquirable{Account: readAccount(r), Holder: r.str()})
			return nil
		}, selectAcquirable, s.now(now))
	})
	return free, err
}

// ReleaseAll implements metadata.NodeLeases.
func (s *Store) ReleaseAll(ctx context.Context, owner string, now time.Time) error {
	if owner == "" {
		return nil
	}
	return s.leases.update(ctx, "release the leases", func(t *tx) error {
		t.later(`UPDATE leases SET owner = '' WHERE owner = $1`, owner)
		t.later(`DELETE FROM owners WHERE name = $1`, owner)
		t.later(`DELETE FROM owners WHERE name = ANY (ARRAY(SELECT o.name FROM owners o
			WHERE o.expires < coalesce($1, `+databaseTime+`) - $2 FOR UPDATE SKIP LOCKED))`,
			s.now(now), (24 * time.Hour).Nanoseconds())
		return nil
	})
}

// Owners implements metadata.Owners.
func (s *Store) Owners(ctx context.Context, now time.Time) (names []string, err error) {
	err = s.leases.view(ctx, "list owners", func(t *tx) error {
		names = nil
		return t.each(ctx, func(r *row) error {
			names = append(names, r.str())
			return nil
		}, `SELECT name FROM owners WHERE expires > coalesce($1, `+databaseTime+`) ORDER BY name`, s.now(now))
	})
	return names, err
}

// selectQueues goes from one account that has mutations to the next: it looks at no others, and at one mutation of each.
const selectQueues = `WITH RECURSIVE busy AS (
	(SELECT m.account_id FROM mutations m ORDER BY m.account_id LIMIT 1)
	UNION ALL
	SELECT next.account_id FROM busy b CROSS JOIN LATERAL (SELECT m.account_id FROM mutations m
		WHERE m.account_id > b.account_id ORDER BY m.account_id LIMIT 1) next)
	SELECT b.account_id, c.mutation FROM busy b
	CROSS JOIN LATERAL (SELECT 1 FROM leases x WHERE x.account_id = b.account_id AND x.owner = $1 OFFSET 0) l
	CROSS JOIN LATERAL (SELECT x.mutation FROM account_counters x WHERE x.account_id = b.account_id OFFSET 0) c
	WHERE $1 <> '' ORDER BY b.account_id`

// Queues implements metadata.Owners.
func (s *Store) Queues(ctx context.Context, owner string) (queues []metadata.QueueState, err error) {
	err = s.leases.view(ctx, "list queues", func(t *tx) error {
		queues = nil
		return t.each(ctx, func(r *row) error {
			queues = append(queues, metadata.QueueState{Account: account.ID(r.int()), Newest: mutation.ID(r.int())})
			return nil
		}, selectQueues, owner)
	})
	return queues, err
}
