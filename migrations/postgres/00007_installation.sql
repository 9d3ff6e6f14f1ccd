-- +goose Up
-- What tells this database from others: the store of messages notes which one names what is in it, and another one, an empty
-- one above all, does not get to sweep it. One row, for ever; it is small and may stay global.
-- A dump of before this migration that is restored over a database finds it there, and leaves the id as it is.
CREATE TABLE IF NOT EXISTS installation (
    id uuid PRIMARY KEY
);
INSERT INTO installation (id) SELECT gen_random_uuid() WHERE NOT EXISTS (SELECT 1 FROM installation);

-- +goose Down
DROP TABLE installation;
