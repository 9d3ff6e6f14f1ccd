-- +goose Up
ALTER TABLE users ADD COLUMN data_key_id TEXT NOT NULL DEFAULT ''; -- which master key sealed the data key
ALTER TABLE users ADD COLUMN data_key BLOB NOT NULL DEFAULT x'';   -- sealed: what seals the user's blobs; empty: none yet

-- +goose Down
ALTER TABLE users DROP COLUMN data_key;
ALTER TABLE users DROP COLUMN data_key_id;
