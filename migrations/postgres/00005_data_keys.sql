-- +goose Up
ALTER TABLE users
    ADD COLUMN data_key_id text  NOT NULL DEFAULT '', -- which master key sealed the data key
    ADD COLUMN data_key    bytea NOT NULL DEFAULT ''; -- sealed: what seals the user's blobs; empty: none yet

-- +goose Down
ALTER TABLE users DROP COLUMN data_key, DROP COLUMN data_key_id;
