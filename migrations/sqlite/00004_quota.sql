-- +goose Up
ALTER TABLE mailboxes ADD COLUMN deleted_size INTEGER NOT NULL DEFAULT 0; -- octets of the messages with \Deleted
UPDATE mailboxes SET deleted_size = (SELECT coalesce(sum(m.size), 0) FROM messages m
    WHERE m.account_id = mailboxes.account_id AND m.mailbox_id = mailboxes.id AND m.sys & 4 != 0) WHERE deleted > 0;

-- +goose Down
ALTER TABLE mailboxes DROP COLUMN deleted_size;
