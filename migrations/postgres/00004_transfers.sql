-- +goose Up
-- The move of another installation into this database (ports/transfer): one row, which stays when it has ended.
CREATE TABLE transfers (
    source text   NOT NULL PRIMARY KEY, -- which installation
    state  text   NOT NULL,             -- in which state it was copied; empty: what was copied is not right
    name   text   NOT NULL DEFAULT '',  -- the table that was written last, and where it is read on
    next   bytea  NOT NULL DEFAULT '',
    begun  bigint NOT NULL,
    ended  bigint NOT NULL DEFAULT 0    -- 0: nobody may use the database yet
);

-- +goose Down
DROP TABLE transfers;
