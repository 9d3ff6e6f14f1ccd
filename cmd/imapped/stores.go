package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"imapped/adapters/blobcache"
	"imapped/adapters/blobfs"
	"imapped/adapters/ops/timed"
	"imapped/adapters/postgres"
	"imapped/adapters/s3"
	"imapped/adapters/sqlite"
	"imapped/cmd/imapped/config"
	"imapped/domain/fault"
	"imapped/ports/blob"
	"imapped/ports/metadata"
	"imapped/ports/secrets"
)

// metadataStore is what SQLite and Postgres both are.
type metadataStore interface {
	timed.Metadata
	sealedSecrets
	io.Closer
}

// storedBlobs is what an object store and a directory of messages both are.
type storedBlobs interface {
	blob.Store
	blob.Claimable
}

// sealedSecrets is where what is sealed under the master key is kept.
type sealedSecrets interface {
	metadata.Secrets
	secrets.DataKeys
	secrets.SealedDataKeys
}

// timedStore is a metadataStore that is timed.
type timedStore struct {
	timed.Metadata
	sealedSecrets
	io.Closer
}

// many says whether any number of processes like this one share the stores.
func many(conf *config.Config) bool { return conf.DatabaseURL.IsSet() }

// openMetadata opens the database that the configuration names.
func openMetadata(ctx context.Context, conf *config.Config, in *instance) (metadataStore, error) {
	if !many(conf) {
		if err := unlessMoved(conf.Data); err != nil {
			return nil, err
		}
		s, err := sqlite.Open(ctx, sqlite.Options{Path: in.path(databaseFile), Migrate: true})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	if err := upToDate(ctx, conf); err != nil {
		return nil, err
	}
	s, err := postgres.Open(ctx, postgres.Options{URL: conf.DatabaseURL.Reveal()})
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	return s, nil
}

// upToDate makes sure that the database of DATABASE_URL has the newest schema.
func upToDate(ctx context.Context, conf *config.Config) error {
	url := conf.DatabaseURL.Reveal()
	if conf.ApplyMigrations {
		if err := postgres.Migrate(ctx, url); err != nil {
			return fmt.Errorf("DATABASE_URL: %w", err)
		}
		return nil
	}
	pending, err := postgres.Pending(ctx, url)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	if pending > 0 {
		return fault.Newf(fault.Invalid, "open the database",
			"DATABASE_URL: it lacks %d migrations: \"imapped run-migrations\" applies them, and so does APPLY_MIGRATIONS=true", pending)
	}
	return nil
}

// openBlobs opens the store of messages into in: blobs, what is swept, and what readiness asks. A server keeps a part of an
// object store here. Nothing is read or written there before claimBlobs. keys holds the users' data keys, where messages are encrypted.
func openBlobs(conf *config.Config, in *instance, keys sealedSecrets) error {
	if conf.S3.Endpoint == "" {
		s, err := blobfs.Open(conf.ObjectStorePath)
		if err != nil {
			return err
		}
		in.closers = append(in.closers, s.Close)
		in.blobs, in.sweeper, in.source = blob.Shared{Store: s}, s, s
		return nil
	}
	spool := in.path("spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return fault.As(fault.Unavailable, "open data directory", err)
	}
	c := conf.S3
	s, err := s3.New(s3.Config{
		Endpoint: c.Endpoint, Bucket: c.Bucket, Region: c.Region, AccessKeyID: c.AccessKeyID.Reveal(),
		SecretAccessKey: c.SecretAccessKey.Reveal(), SpoolDir: spool,
	})
	if err != nil {
		return fmt.Errorf("R2_ENDPOINT, R2_BUCKET: %w", err)
	}
	in.source = s
	var encrypted *encryptedBlobs
	if c.Encrypt {
		encrypted = &encryptedBlobs{users: s3.NewUsers(s, keys, in.sealer), keys: keys, log: in.log}
		in.blobs, in.areas = encrypted, encrypted.areas
	} else {
		in.blobs, in.sweeper = blob.Shared{Store: s}, s
	}
	if !in.serves {
		return nil
	}
	cache := blobcache.Config{Dir: in.path("cache"), MaxBytes: conf.BlobCache, Log: in.log}
	if in.metrics != nil {
		cache.OnLookup = in.metrics.Lookup
	}
	k, err := blobcache.New(cache)
	if err != nil {
		return err
	}
	in.closers = append(in.closers, k.Close)
	if encrypted != nil {
		encrypted.cache = k
		return nil
	}
	cached := k.Over(s)
	in.blobs, in.sweeper = blob.Shared{Store: cached}, cached
	return nil
}

// checkBlobs is claimBlobs for the database of the instance. Who reads, writes or deletes messages calls it first.
func (in *instance) checkBlobs(ctx context.Context) error {
	id, err := in.store.Installation(ctx)
	if err != nil {
		return err
	}
	return in.claimBlobs(ctx, id)
}

// claimBlobs makes sure that the store of messages can be used, that it belongs to the database, and that its messages are
// encrypted as is configured.
func (in *instance) claimBlobs(ctx context.Context, database blob.Installation) error {
	s, bucket := in.source.(*s3.Store)
	if bucket {
		if err := s.Check(ctx); err != nil {
			return fmt.Errorf("R2_ENDPOINT, R2_BUCKET: %w", err)
		}
	}
	if err := in.explainClaim(in.source.Claim(ctx, database)); err != nil {
		return err
	}
	if bucket {
		if err := s.ClaimForm(ctx, in.conf.S3.Encrypt); err != nil {
			return fmt.Errorf("S3_ENCRYPT: %w", err)
		}
	}
	return nil
}

// claimedBlobs makes sure, before messages are deleted, that they still belong to the database that is in use.
func (in *instance) claimedBlobs(ctx context.Context) error {
	id, err := in.store.Installation(ctx)
	if err != nil {
		return err
	}
	return in.explainClaim(in.source.ClaimedBy(ctx, id))
}

// explainClaim says what to do about messages of another database.
func (in *instance) explainClaim(err error) error {
	if !fault.Is(err, fault.Forbidden) {
		return err
	}
	database, store := "IMAPPED_DATA", "OBJECT_STORE_PATH"
	mark := "the file " + filepath.Join(in.conf.ObjectStorePath, blobfs.OwnerFile)
	if many(in.conf) {
		database = "DATABASE_URL"
	}
	if in.conf.S3.Endpoint != "" {
		store, mark = "R2_ENDPOINT, R2_BUCKET", fmt.Sprintf("the object %q of the bucket", s3.OwnerObject)
	}
	return fmt.Errorf("%s, %s: %w. One of these settings is wrong, or the database was lost, and this is a new one: then restore its backup. "+
		"Only if the messages are to be this database's from now on, stop all servers, delete %s and start again: every message there "+
		"that this database does not name is then deleted", database, store, err, mark)
}

// ready asks the database whether it answers.
func (in *instance) databaseAnswers(ctx context.Context) error {
	_, err := in.untimed.Status(ctx, 0) // of no account
	return unlessMissing(err)
}

// blobsAnswer asks the store of messages, not its cache, whether it answers.
func (in *instance) blobsAnswer(ctx context.Context) error {
	if s, ok := in.source.(*blobfs.Store); ok {
		return s.Check(ctx)
	}
	b, err := in.source.Open(ctx, blob.Key{}) // of which nobody has the message
	if err == nil {
		err = b.Close()
	}
	return unlessMissing(err)
}

// unlessMissing returns err unless it says that there is no such thing, which is an answer.
func unlessMissing(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

type runMigrationsCmd struct {
	dataFlags
	Check bool `help:"Only say whether there is something to do; the exit status is 3 when there is."`
}

// Run applies what is pending to the database of DATABASE_URL, or else of the data directory.
func (c runMigrationsCmd) Run(ctx context.Context, conf *config.Config, out output) error {
	at, pendingAt, migrate := conf.DatabaseURL.Reveal(), postgres.Pending, postgres.Migrate
	if !many(conf) {
		if err := makeData(conf); err != nil {
			return err
		}
		at, pendingAt, migrate = (&instance{conf: conf}).path(databaseFile), sqlite.Pending, sqlite.Migrate
	}
	pending, err := pendingAt(ctx, at)
	if err != nil {
		return err
	}
	if c.Check && pending > 0 {
		return fault.Newf(fault.Unavailable, "check database", "%d migrations are pending: run-migrations applies them", pending)
	}
	if err := migrate(ctx, at); err != nil {
		return err
	}
	return say(out, "The database is up to date; %d migrations were applied.\n", pending)
}

// closeAll closes in the reverse order of opening.
func closeAll(closers []func() error) error {
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}
