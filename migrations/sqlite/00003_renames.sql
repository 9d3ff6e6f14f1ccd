-- +goose Up
-- Few changes in a queue are Renames, and every look at the mailboxes asks for them.
CREATE INDEX mutations_renames ON mutations (account_id) WHERE kind = 'rename';

-- +goose Down
DROP INDEX mutations_renames;
