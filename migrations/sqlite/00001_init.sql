-- Times are nanoseconds since 1970 UTC, 0 for none, except messages.date, which is seconds. Booleans are 0 and 1.
-- Hashes are 16 bytes (object ids) or 32 bytes (blob keys). Ids that others may remember are AUTOINCREMENT, so that
-- they are never used twice.

-- +goose Up
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL,
    name_key      TEXT    NOT NULL UNIQUE, -- the name in lower case
    password_hash TEXT    NOT NULL,
    disabled      INTEGER NOT NULL,
    created       INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       INTEGER NOT NULL REFERENCES users (id),
    position      INTEGER NOT NULL,
    display       TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    email_key     TEXT    NOT NULL, -- the address in lower case
    host          TEXT    NOT NULL,
    port          INTEGER NOT NULL,
    tls           TEXT    NOT NULL,
    insecure      INTEGER NOT NULL,
    auth          TEXT    NOT NULL,
    username      TEXT    NOT NULL,
    secret_key    TEXT    NOT NULL, -- which key sealed the secret
    secret        BLOB    NOT NULL,
    local         INTEGER NOT NULL,
    paused        INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    uidvalidity   INTEGER NOT NULL, -- the highest that a mailbox of the account was given; it only rises
    UNIQUE (user_id, email_key),
    UNIQUE (user_id, display)
) STRICT;

CREATE TABLE statuses (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
    state      TEXT    NOT NULL,
    text       TEXT    NOT NULL,
    since      INTEGER NOT NULL,
    last_sync  INTEGER NOT NULL,
    next_retry INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
    owner      TEXT    NOT NULL, -- empty: nobody
    token      INTEGER NOT NULL, -- the fencing number; it only rises
    expires    INTEGER NOT NULL
) STRICT;

CREATE TABLE mailboxes (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- below 2^31: contents.id holds it in its upper half
    account_id      INTEGER NOT NULL REFERENCES accounts (id),
    name            TEXT    NOT NULL,
    attrs           INTEGER NOT NULL,
    subscribed      INTEGER NOT NULL,
    uidvalidity     INTEGER NOT NULL,
    uidnext         INTEGER NOT NULL DEFAULT 1,
    modseq          INTEGER NOT NULL DEFAULT 1,
    recent_from     INTEGER NOT NULL DEFAULT 1,
    messages        INTEGER NOT NULL DEFAULT 0,
    unseen          INTEGER NOT NULL DEFAULT 0,
    deleted         INTEGER NOT NULL DEFAULT 0,
    size            INTEGER NOT NULL DEFAULT 0,
    bodies          INTEGER NOT NULL DEFAULT 0, -- messages with body = 1
    up_name         BLOB    NOT NULL, -- raw, as the upstream writes it; empty: not there
    up_delimiter    INTEGER NOT NULL, -- 0: NIL
    up_uidvalidity  INTEGER NOT NULL,
    up_uidnext      INTEGER NOT NULL,
    up_modseq       INTEGER NOT NULL,
    up_messages     INTEGER NOT NULL,
    up_synced       INTEGER NOT NULL,
    UNIQUE (account_id, name)
) STRICT;

-- The hot columns: what a snapshot loads and a flag change writes. Rows stay small, so that WITHOUT ROWID pays.
CREATE TABLE messages (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    uid        INTEGER NOT NULL,
    modseq     INTEGER NOT NULL,
    sys        INTEGER NOT NULL, -- system flags, a bit set
    keywords   TEXT    NOT NULL,
    size       INTEGER NOT NULL,
    date       INTEGER NOT NULL,
    zone       INTEGER NOT NULL,
    up_uid     INTEGER NOT NULL, -- 0: not there
    body       INTEGER NOT NULL, -- 1: contents has it
    PRIMARY KEY (account_id, mailbox_id, uid)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_modseq ON messages (account_id, mailbox_id, modseq);
CREATE UNIQUE INDEX messages_upstream ON messages (account_id, mailbox_id, up_uid) WHERE up_uid > 0;
CREATE INDEX messages_pending ON messages (account_id, mailbox_id, uid) WHERE body = 0;

-- What names a message for ever.
CREATE TABLE identities (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    uid        INTEGER NOT NULL,
    email      BLOB    NOT NULL,
    thread     BLOB    NOT NULL,
    saved      INTEGER NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, uid)
) STRICT, WITHOUT ROWID;

-- Wide rows need a rowid table: an index page would spill each into a page of its own. The rowid is
-- mailbox_id << 32 | uid, so that a mailbox's contents lie together in UID order.
CREATE TABLE contents (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    blob       BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    envelope   BLOB    NOT NULL,
    body       BLOB    NOT NULL,
    structure  BLOB    NOT NULL,
    headers    BLOB    NOT NULL,
    preview    BLOB    NOT NULL,
    parts      BLOB    NOT NULL
) STRICT;

-- Removed messages, for VANISHED (EARLIER): the UIDs first to last were removed by the change modseq.
CREATE TABLE tombstones (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    modseq     INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, modseq, first)
) STRICT, WITHOUT ROWID;

-- Which thread a Message-ID (its hash) belongs to, seen as a message or only as a reference.
CREATE TABLE threads (
    account_id INTEGER NOT NULL,
    msgid      BLOB    NOT NULL,
    thread     BLOB    NOT NULL,
    PRIMARY KEY (account_id, msgid)
) STRICT, WITHOUT ROWID;

CREATE TABLE body_failures (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    uid        INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    next       INTEGER NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, uid)
) STRICT, WITHOUT ROWID;

-- Local changes that wait to be made upstream, in the order of their ids.
CREATE TABLE mutations (
    account_id INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    payload    BLOB    NOT NULL,
    state      TEXT    NOT NULL,
    attempts   INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    created    INTEGER NOT NULL,
    next       INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

-- Blobs that something other than a message's content still needs, such as a waiting APPEND whose message was removed
-- here meanwhile.
CREATE TABLE retained (
    account_id INTEGER NOT NULL,
    blob       BLOB    NOT NULL,
    mutation   INTEGER NOT NULL,
    PRIMARY KEY (account_id, blob, mutation)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE retained;
DROP TABLE mutations;
DROP TABLE body_failures;
DROP TABLE threads;
DROP TABLE tombstones;
DROP TABLE contents;
DROP TABLE identities;
DROP TABLE messages;
DROP TABLE mailboxes;
DROP TABLE leases;
DROP TABLE statuses;
DROP TABLE accounts;
DROP TABLE users;
