-- A lease holds for as long as its owner lives: one row is written to keep all leases of a process.

-- +goose Up
CREATE TABLE owners (
    name    TEXT    PRIMARY KEY,
    expires INTEGER NOT NULL -- until when it lives
) STRICT, WITHOUT ROWID;

INSERT INTO owners (name, expires) SELECT owner, max(expires) FROM leases WHERE owner <> '' GROUP BY owner;
ALTER TABLE leases DROP COLUMN expires;
CREATE INDEX leases_owner ON leases (owner);

-- +goose Down
DROP INDEX leases_owner;
ALTER TABLE leases ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;
UPDATE leases SET expires = coalesce((SELECT o.expires FROM owners o WHERE o.name = leases.owner), 0);
DROP TABLE owners;
