package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"imapped/adapters/postgres"
	"imapped/ports/blob"
	"imapped/ports/metadata"
)

// run executes statements as an administrator would.
func run(t *testing.T, url string, texts ...string) {
	t.Helper()
	c := connect(t, url)
	for _, text := range texts {
		_, err := c.Exec(t.Context(), text)
		must(t, err)
	}
}

// slow lets each statement that deletes from one of the tables take that long, as one about very many rows does.
func slow(t *testing.T, url string, d time.Duration, tables ...string) {
	t.Helper()
	run(t, url, fmt.Sprintf(`CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_sleep(%f); RETURN NULL; END $$`, d.Seconds()))
	for _, table := range tables {
		run(t, url, `CREATE TRIGGER slow AFTER DELETE ON `+table+` FOR EACH STATEMENT EXECUTE FUNCTION dawdle()`)
	}
}

// TestPurgeInPieces: an undo list that is too long for one statement becomes empty all the same.
func TestPurgeInPieces(t *testing.T) {
	const n = 12000
	url := database(t)
	s := fixture(t, url)
	s.fill(t, 1)
	must(t, s.StoreContents(t.Context(), s.fence, contents(s.box, 1, 1)))
	_, err := s.RemoveMessages(t.Context(), s.fence.Account, metadata.RemoveEdit{Mailbox: s.box, Now: time.Unix(5, 0)})
	must(t, err)
	run(t, url, fmt.Sprintf(`INSERT INTO retained (account_id, mailbox, removed, sys, keywords, date, zone, email, thread, blob, size,
		envelope, body, structure, headers, preview, parts) SELECT account_id, mailbox, removed, sys, keywords, date, zone, email,
		thread, blob, size, envelope, body, structure, headers, preview, parts FROM retained, generate_series(2, %d)`, n),
		`CREATE FUNCTION too_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT count(*) FROM gone) > 6000 THEN
			RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled';
			END IF; RETURN NULL; END $$`,
		`CREATE TRIGGER long AFTER DELETE ON retained REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
			EXECUTE FUNCTION too_long()`)
	purged, err := s.PurgeRetained(t.Context(), time.Unix(6, 0))
	if err != nil || purged != n {
		t.Fatalf("%d of %d purged, %v", purged, n, err)
	}
	must(t, s.Retained(t.Context(), s.fence.Account, "", time.Time{}, func(r metadata.Retained) error {
		return fmt.Errorf("message %d is still on the list", r.ID)
	}))
}

// TestWholeAccountTakesItsTime: what is about a whole account or mailbox is held neither to the statements' time nor to the
// ordinary silence.
func TestWholeAccountTakesItsTime(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, s *postgres.Store, b *bench) error{
		"delete account": func(ctx context.Context, s *postgres.Store, b *bench) error {
			return s.DeleteAccount(ctx, b.fence.Account)
		},
		"remove mailbox": func(ctx context.Context, s *postgres.Store, b *bench) error {
			return s.RemoveMailbox(ctx, b.fence, b.box)
		},
		"expunge everything": func(ctx context.Context, s *postgres.Store, b *bench) error {
			_, err := s.RemoveMessages(ctx, b.fence.Account, metadata.RemoveEdit{Mailbox: b.box})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := database(t)
			b := fixture(t, url)
			b.fill(t, 10000)
			slow(t, url, 2500*time.Millisecond, "messages")
			s := openWith(t, postgres.Options{URL: url, CallerClock: true, StatementTimeout: 2 * time.Second})
			postgres.SetSilence(s, 2*time.Second, time.Minute)
			must(t, call(t.Context(), s, b))
		})
	}
}

// TestSilenceEnds: also what may take long is given up at last.
func TestSilenceEnds(t *testing.T) {
	url := database(t)
	s := fixture(t, url)
	slow(t, url, time.Minute, "messages")
	postgres.SetSilence(s.Store, time.Minute, 100*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.DeleteAccount(ctx, s.fence.Account); err == nil || ctx.Err() != nil {
		t.Fatalf("%v, %v", err, ctx.Err())
	}
	must(t, s.References(t.Context(), 0, func(blob.Key) error { return nil }))
}
