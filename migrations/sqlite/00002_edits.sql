-- What clients change: the queue of mutations, the messages that departed, the undo list. Times as in 00001.

-- +goose Up
DROP TABLE retained;
DROP TABLE mutations;

ALTER TABLE accounts ADD COLUMN mutation INTEGER NOT NULL DEFAULT 0; -- the highest id that a mutation was given

-- mailboxes, made anew for its names: one that is being deleted does not hold its own any more.
CREATE TABLE mailboxes_new (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- below 2^31: contents.id holds it in its upper half
    account_id      INTEGER NOT NULL REFERENCES accounts (id),
    name            TEXT    NOT NULL,
    attrs           INTEGER NOT NULL,
    subscribed      INTEGER NOT NULL,
    deleting        INTEGER NOT NULL DEFAULT 0, -- 1: a client deleted it; it is kept until the upstream has lost it
    uidvalidity     INTEGER NOT NULL,
    uidnext         INTEGER NOT NULL DEFAULT 1,
    modseq          INTEGER NOT NULL DEFAULT 1,
    recent_from     INTEGER NOT NULL DEFAULT 1,
    messages        INTEGER NOT NULL DEFAULT 0,
    unseen          INTEGER NOT NULL DEFAULT 0,
    deleted         INTEGER NOT NULL DEFAULT 0,
    size            INTEGER NOT NULL DEFAULT 0,
    bodies          INTEGER NOT NULL DEFAULT 0, -- messages with body = 1
    bound           INTEGER NOT NULL DEFAULT 0, -- messages and departed rows with up_uid > 0
    up_name         BLOB    NOT NULL, -- raw, as the upstream writes it; empty: not there
    up_delimiter    INTEGER NOT NULL, -- 0: NIL
    up_uidvalidity  INTEGER NOT NULL,
    up_uidnext      INTEGER NOT NULL,
    up_modseq       INTEGER NOT NULL,
    up_messages     INTEGER NOT NULL,
    up_synced       INTEGER NOT NULL
) STRICT;

INSERT INTO mailboxes_new (id, account_id, name, attrs, subscribed, uidvalidity, uidnext, modseq, recent_from, messages,
    unseen, deleted, size, bodies, bound, up_name, up_delimiter, up_uidvalidity, up_uidnext, up_modseq, up_messages,
    up_synced)
SELECT b.id, b.account_id, b.name, b.attrs, b.subscribed, b.uidvalidity, b.uidnext, b.modseq, b.recent_from, b.messages,
    b.unseen, b.deleted, b.size, b.bodies,
    (SELECT count(*) FROM messages m WHERE m.account_id = b.account_id AND m.mailbox_id = b.id AND m.up_uid > 0),
    b.up_name, b.up_delimiter, b.up_uidvalidity, b.up_uidnext, b.up_modseq, b.up_messages, b.up_synced
FROM mailboxes b;

-- Ids that were used stay used.
DELETE FROM sqlite_sequence WHERE name = 'mailboxes_new';
UPDATE sqlite_sequence SET name = 'mailboxes_new' WHERE name = 'mailboxes';
DROP TABLE mailboxes;
ALTER TABLE mailboxes_new RENAME TO mailboxes;
CREATE UNIQUE INDEX mailboxes_name ON mailboxes (account_id, name) WHERE deleting = 0;
CREATE INDEX mailboxes_account ON mailboxes (account_id, id);

-- Local changes that are to be made upstream, in the order of their ids (domain/mutation).
CREATE TABLE mutations (
    account_id      INTEGER NOT NULL,
    id              INTEGER NOT NULL,
    kind            TEXT    NOT NULL,
    state           TEXT    NOT NULL DEFAULT 'waiting',
    version         INTEGER NOT NULL DEFAULT 0,
    mailbox_id      INTEGER NOT NULL,
    uid             INTEGER NOT NULL,           -- 0: the mailbox as a whole
    src_mailbox_id  INTEGER NOT NULL DEFAULT 0,
    src_uid         INTEGER NOT NULL DEFAULT 0, -- copy, move; else 0
    add_sys         INTEGER NOT NULL DEFAULT 0,
    add_keywords    TEXT    NOT NULL DEFAULT '',
    remove_sys      INTEGER NOT NULL DEFAULT 0,
    remove_keywords TEXT    NOT NULL DEFAULT '',
    name            TEXT    NOT NULL DEFAULT '',
    to_name         TEXT    NOT NULL DEFAULT '',
    attrs           INTEGER NOT NULL DEFAULT 0,
    known           INTEGER NOT NULL DEFAULT 0,
    intent_validity INTEGER NOT NULL DEFAULT 0,
    intent_uidnext  INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    reason          TEXT    NOT NULL DEFAULT '',
    created         INTEGER NOT NULL,
    next            INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mutations_message ON mutations (account_id, mailbox_id, uid, kind);
CREATE INDEX mutations_source ON mutations (account_id, src_mailbox_id, src_uid) WHERE src_uid > 0;
CREATE INDEX mutations_uncertain ON mutations (account_id, mailbox_id)
    WHERE state = 'sent' AND kind IN ('append', 'copy', 'move');

-- Messages that are gone here while the upstream has them, or may get them.
CREATE TABLE departed (
    account_id INTEGER NOT NULL,
    mailbox_id INTEGER NOT NULL,
    uid        INTEGER NOT NULL,
    up_uid     INTEGER NOT NULL, -- 0: not known
    email      BLOB    NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, uid)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX departed_upstream ON departed (account_id, mailbox_id, up_uid) WHERE up_uid > 0;

-- The undo list: removed messages whose bodies were stored. Wide rows, so a rowid table.
CREATE TABLE retained (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL,
    mailbox    TEXT    NOT NULL, -- its name then
    removed    INTEGER NOT NULL,
    sys        INTEGER NOT NULL,
    keywords   TEXT    NOT NULL,
    date       INTEGER NOT NULL,
    zone       INTEGER NOT NULL,
    email      BLOB    NOT NULL,
    thread     BLOB    NOT NULL,
    blob       BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    envelope   BLOB    NOT NULL,
    body       BLOB    NOT NULL,
    structure  BLOB    NOT NULL,
    headers    BLOB    NOT NULL,
    preview    BLOB    NOT NULL,
    parts      BLOB    NOT NULL
) STRICT;

CREATE INDEX retained_removed ON retained (account_id, removed);

-- +goose Down
DROP TABLE retained;
DROP TABLE departed;
DROP TABLE mutations;
DROP INDEX mailboxes_name;
DROP INDEX mailboxes_account;

CREATE TABLE mailboxes_old (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
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
    bodies          INTEGER NOT NULL DEFAULT 0,
    up_name         BLOB    NOT NULL,
    up_delimiter    INTEGER NOT NULL,
    up_uidvalidity  INTEGER NOT NULL,
    up_uidnext      INTEGER NOT NULL,
    up_modseq       INTEGER NOT NULL,
    up_messages     INTEGER NOT NULL,
    up_synced       INTEGER NOT NULL,
    UNIQUE (account_id, name)
) STRICT;

-- What was being deleted is there again, under a name that is free.
INSERT INTO mailboxes_old
SELECT id, account_id, CASE deleting WHEN 0 THEN name ELSE name || ' (deleted ' || id || ')' END, attrs, subscribed,
    uidvalidity, uidnext, modseq, recent_from, messages, unseen, deleted, size, bodies, up_name, up_delimiter,
    up_uidvalidity, up_uidnext, up_modseq, up_messages, up_synced
FROM mailboxes;

DELETE FROM sqlite_sequence WHERE name = 'mailboxes_old';
UPDATE sqlite_sequence SET name = 'mailboxes_old' WHERE name = 'mailboxes';
DROP TABLE mailboxes;
ALTER TABLE mailboxes_old RENAME TO mailboxes;
ALTER TABLE accounts DROP COLUMN mutation;

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

CREATE TABLE retained (
    account_id INTEGER NOT NULL,
    blob       BLOB    NOT NULL,
    mutation   INTEGER NOT NULL,
    PRIMARY KEY (account_id, blob, mutation)
) STRICT, WITHOUT ROWID;
