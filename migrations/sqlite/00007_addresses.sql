-- +goose Up
CREATE INDEX accounts_address ON accounts (email_key); -- whom an address means that somebody logs in with

-- +goose Down
DROP INDEX accounts_address;
