-- STORE of one message, the change that clients make most often, in one round trip: what adapters/postgres does for any
-- STORE, for the cases in which that is simple. The others are left to that.

-- +goose Up
-- Keywords are as domain/flag has them: ASCII, joined by single spaces, in the order of their lower-case forms, which say
-- which are the same.
-- +goose StatementBegin
CREATE FUNCTION keywords_minus(a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(u.k, ' ' ORDER BY u.n), '') FROM unnest(string_to_array(a, ' ')) WITH ORDINALITY AS u (k, n)
        WHERE lower(u.k COLLATE "C") <> ALL (string_to_array(lower(b COLLATE "C"), ' '))
$$;
-- +goose StatementEnd

-- Of what is in both, the spelling of a stays.
-- +goose StatementBegin
CREATE FUNCTION keywords_union(a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(string_agg(v.k, ' ' ORDER BY v.folded), '') FROM (
        SELECT DISTINCT ON (folded) u.k, lower(u.k COLLATE "C") AS folded
            FROM unnest(string_to_array(a, ' ') || string_to_array(b, ' ')) WITH ORDINALITY AS u (k, n)
            ORDER BY folded, u.n) v
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION edit_flag(
    acc       bigint,
    box       bigint,
    message   bigint,   -- its UID
    mode      smallint, -- 0: add, 1: remove, 2: replace
    flags     smallint, -- system flags, a bit set
    words     text,     -- keywords
    unchanged bigint,   -- UNCHANGEDSINCE, or null
    at        bigint,
    OUT outcome  smallint, -- 0: not simple, nothing was done; 1: done; 2: no such mailbox
    OUT highest  bigint,   -- the mailbox's mod-sequence now
    OUT state    smallint, -- of the message: 0: it does not exist, 1: it failed unchanged, 2: as it was, 3: changed
    OUT uid      bigint,   -- and the rest is the message as it is now
    OUT modseq   bigint,
    OUT size     bigint,
    OUT date     bigint,
    OUT zone     smallint,
    OUT sys      smallint,
    OUT keywords text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    is_local  boolean;
    new_id    bigint;
    hidden    boolean;
    marked    bigint;   -- octets of the mailbox's messages with \Deleted
    had       smallint;
    added     smallint;
    removed   smallint;
    had_words     text;
    added_words   text := '';
    removed_words text := '';
    into_id   bigint;   -- the message's last change of flags in the queue
    in_state  text;
    refused   boolean;
    copied    bigint;   -- the last copy or move from the message
    seen_bit    CONSTANT smallint := 8;
    deleted_bit CONSTANT smallint := 4;
    absurd      CONSTANT bigint := 1::bigint << 60;
BEGIN
    outcome := 1;
    state := 0;
    -- The account's lock; what follows sees all that was committed before it was got.
    SELECT a.local, c.mutation + 1 INTO is_local, new_id
        FROM account_counters c JOIN accounts a ON a.id = c.account_id WHERE c.account_id = acc FOR UPDATE OF c;
    IF NOT FOUND THEN
        outcome := 2;
        RETURN;
    END IF;
    SELECT b.modseq, b.deleting, b.deleted_size, m.uid, m.modseq, m.size, m.date, m.zone, m.sys, m.keywords
        INTO highest, hidden, marked, edit_flag.uid, edit_flag.modseq, edit_flag.size, edit_flag.date, edit_flag.zone, had,
            had_words
        FROM mailboxes b LEFT JOIN messages m ON m.account_id = acc AND m.mailbox_id = box AND m.uid = message
        WHERE b.account_id = acc AND b.id = box;
    IF NOT FOUND OR hidden THEN
        outcome := 2;
        RETURN;
    END IF;
    IF edit_flag.uid IS NULL THEN
        RETURN;
    END IF;
    IF edit_flag.size > absurd OR marked > absurd OR marked < 0 THEN -- what an upstream may claim; sums do not wrap here
        outcome := 0;
        RETURN;
    END IF;
    edit_flag.sys := had;
    edit_flag.keywords := had_words;
    IF edit_flag.modseq > unchanged THEN
        state := 1;
        RETURN;
    END IF;
    edit_flag.sys := CASE mode WHEN 0 THEN had | flags WHEN 1 THEN had & ~flags ELSE flags END;
    IF words <> '' OR mode = 2 AND had_words <> '' THEN
        edit_flag.keywords := CASE mode
            WHEN 0 THEN keywords_union(had_words, words)
            WHEN 1 THEN keywords_minus(had_words, words)
            ELSE keywords_union(keywords_minus(had_words, keywords_minus(had_words, words)), words) END;
        added_words := keywords_minus(edit_flag.keywords, had_words);
        removed_words := keywords_minus(had_words, edit_flag.keywords);
    END IF;
    state := 2;
    IF edit_flag.sys = had AND added_words = '' AND removed_words = '' THEN
        RETURN;
    END IF;
    added := edit_flag.sys & ~had;
    removed := had & ~edit_flag.sys;
    IF NOT is_local THEN
        SELECT max(q.id), bool_or(q.state = 'parked') INTO into_id, refused FROM mutations q
            WHERE q.account_id = acc AND q.mailbox_id = box AND q.uid = message AND q.kind = 'flags';
        IF refused THEN
            outcome := 0;
            RETURN;
        END IF;
        IF into_id IS NOT NULL THEN
            SELECT max(q.id + 0) INTO copied FROM mutations q
                WHERE q.account_id = acc AND q.src_mailbox_id = box AND q.src_uid = message AND q.src_uid > 0;
        END IF;
        IF into_id IS NULL OR copied > into_id THEN
            UPDATE account_counters c SET mutation = new_id WHERE c.account_id = acc;
            INSERT INTO mutations (account_id, id, kind, mailbox_id, uid, add_sys, add_keywords, remove_sys, remove_keywords,
                created) VALUES (acc, new_id, 'flags', box, message, added, added_words, removed, removed_words, at);
        ELSE
            UPDATE mutations q SET version = q.version + 1, add_sys = q.add_sys & ~removed | added,
                remove_sys = q.remove_sys & ~added | removed WHERE q.account_id = acc AND q.id = into_id;
            UPDATE mutations q SET add_keywords = keywords_union(keywords_minus(q.add_keywords, removed_words), added_words),
                remove_keywords = keywords_union(keywords_minus(q.remove_keywords, added_words), removed_words)
                WHERE q.account_id = acc AND q.id = into_id AND (added_words <> '' OR removed_words <> '');
        END IF;
    END IF;
    state := 3;
    highest := highest + 1;
    edit_flag.modseq := highest;
    UPDATE messages m SET sys = edit_flag.sys, keywords = edit_flag.keywords, modseq = highest
        WHERE m.account_id = acc AND m.mailbox_id = box AND m.uid = message;
    UPDATE mailboxes b SET modseq = highest,
        unseen = b.unseen + (had & seen_bit) / seen_bit - (edit_flag.sys & seen_bit) / seen_bit,
        deleted = b.deleted + (edit_flag.sys & deleted_bit) / deleted_bit - (had & deleted_bit) / deleted_bit,
        deleted_size = marked + edit_flag.size * ((edit_flag.sys & deleted_bit) / deleted_bit - (had & deleted_bit) / deleted_bit)
        WHERE b.account_id = acc AND b.id = box;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION edit_flag;
DROP FUNCTION keywords_union;
DROP FUNCTION keywords_minus;
