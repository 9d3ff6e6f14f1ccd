-- What tells this database from others: the store of messages notes which one names what is in it, and another one, an empty
-- one above all, does not get to sweep it. One row, for ever.

-- +goose Up
CREATE TABLE installation (
    id BLOB PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO installation (id) VALUES (randomblob(16));

-- +goose Down
DROP TABLE installation;
