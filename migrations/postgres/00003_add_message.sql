-- APPEND of one message in one round trip: what adapters/postgres does for any number of them, for the cases in which that is
-- simple. The others are left to that.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION add_message(
    acc       bigint,
    box       bigint,
    at        bigint,
    quota     bigint,   -- of the account, in octets; 0: none
    sys       smallint, -- system flags, a bit set
    words     text,     -- keywords
    date      bigint,
    zone      smallint,
    email     uuid,
    names     uuid[],   -- its message ids, that which decides about the thread first
    own       uuid,     -- the thread where none of them is known
    octets    bigint,
    blob      bytea,
    envelope  bytea,
    body      bytea,
    structure bytea,
    headers   bytea,
    preview   bytea,
    parts     bytea,
    OUT outcome  smallint, -- 0: not simple, nothing was done; 1: done; 2: no such mailbox; 3: over quota
    OUT validity bigint,   -- the mailbox's UIDVALIDITY
    OUT uid      bigint,
    OUT modseq   bigint    -- the mailbox's now
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    is_local boolean;
    new_id   bigint;
    hidden   boolean;
    total    bigint;
    marked   bigint; -- octets of the mailbox's messages with \Deleted
    thread   uuid;
    fresh    bigint := 1 - (sys & 8) / 8; -- without \Seen
    gone     bigint := (sys & 4) / 4;     -- with \Deleted
    absurd   CONSTANT bigint := 1::bigint << 60;
BEGIN
    -- The account's lock; what follows sees all that was committed before it was got.
    SELECT a.local, c.mutation + 1 INTO is_local, new_id
        FROM account_counters c JOIN accounts a ON a.id = c.account_id WHERE c.account_id = acc FOR UPDATE OF c;
    IF NOT FOUND THEN
        outcome := 2;
        RETURN;
    END IF;
    SELECT b.deleting, b.uidvalidity, b.uidnext, b.modseq + 1, b.size, b.deleted_size
        INTO hidden, validity, uid, modseq, total, marked FROM mailboxes b WHERE b.account_id = acc AND b.id = box;
    IF NOT FOUND OR hidden THEN
        outcome := 2;
        RETURN;
    END IF;
    -- No UID is left, or a sum would not be a number any more: an upstream may claim absurd sizes.
    IF uid >= 4294967295 OR greatest(total, marked, octets) > absurd THEN
        outcome := 0;
        RETURN;
    END IF;
    IF quota <> 0 AND octets > 0 AND quota - octets < (
        SELECT greatest(0, coalesce(sum(b.size), 0)) FROM mailboxes b WHERE b.account_id = acc AND NOT b.deleting)
    THEN
        outcome := 3;
        RETURN;
    END IF;
    SELECT t.thread INTO thread FROM unnest(names) WITH ORDINALITY AS u (msgid, n)
        CROSS JOIN LATERAL (SELECT x.thread FROM threads x WHERE x.account_id = acc AND x.msgid = u.msgid OFFSET 0) t
        ORDER BY u.n LIMIT 1;
    thread := coalesce(thread, own);
    INSERT INTO threads AS t (account_id, msgid, thread) SELECT acc, u.msgid, thread FROM unnest(names) AS u (msgid)
        ON CONFLICT DO NOTHING;
    INSERT INTO messages (account_id, mailbox_id, uid, modseq, size, date, up_uid, sys, zone, body, keywords)
        VALUES (acc, box, uid, modseq, octets, date, 0, sys, zone, true, words);
    INSERT INTO identities (account_id, mailbox_id, uid, saved, email, thread) VALUES (acc, box, uid, at, email, thread);
    INSERT INTO contents (account_id, mailbox_id, uid, size, blob, envelope, body, structure, headers, preview, parts)
        VALUES (acc, box, uid, octets, blob, envelope, body, structure, headers, preview, parts);
    IF NOT is_local THEN
        UPDATE account_counters c SET mutation = new_id WHERE c.account_id = acc;
        INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, created) VALUES (acc, new_id, 'append', box, uid, at);
    END IF;
    UPDATE mailboxes b SET uidnext = uid + 1, modseq = add_message.modseq, messages = b.messages + 1,
        unseen = b.unseen + fresh, deleted = b.deleted + gone, size = total + octets,
        deleted_size = marked + gone * octets, bodies = b.bodies + 1 WHERE b.account_id = acc AND b.id = box;
    outcome := 1;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION add_message;
