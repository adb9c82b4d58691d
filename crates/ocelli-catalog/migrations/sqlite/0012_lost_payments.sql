-- A claim says all that its attempt has cost so far, so that it is not lost with the worker: no longer only the sum of
-- tokens. `calls` is 0 while nothing was paid. Such a row is never simply taken over: its cost is written down first.
ALTER TABLE claims RENAME COLUMN tokens TO tokens_in;
ALTER TABLE claims ADD COLUMN tokens_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claims ADD COLUMN calls      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE claims ADD COLUMN model      TEXT;
UPDATE claims SET calls = 1 WHERE tokens_in > 0 OR micros > 0;

-- When an attempt ended. Older payments are taken out after a while; those from before this change count as new.
-- `presumed`: written down from the claim of an attempt that was not heard of again. Its own message replaces it.
ALTER TABLE payments ADD COLUMN at       INTEGER NOT NULL DEFAULT 0;
ALTER TABLE payments ADD COLUMN presumed INTEGER NOT NULL DEFAULT 0 CHECK (presumed IN (0, 1));
UPDATE payments SET at = CAST(unixepoch('subsec') * 1000000 AS INTEGER);
CREATE INDEX payments_by_time ON payments (at);

-- The sums of payments that were taken out, as they were at that moment.
CREATE TABLE old_payments (
    month         INTEGER NOT NULL,
    analyzer      TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    batch         BLOB    NOT NULL,
    calls         INTEGER NOT NULL,
    tokens_in     INTEGER NOT NULL,
    tokens_out    INTEGER NOT NULL,
    micros        INTEGER NOT NULL,
    wasted_tokens INTEGER NOT NULL,
    wasted_micros INTEGER NOT NULL,
    PRIMARY KEY (month, analyzer, currency, model, batch)
) STRICT, WITHOUT ROWID;

-- Attempts that ended before this moment are counted, and never again: their rows may be gone. One row. Whoever counts an
-- attempt reads it in the same transaction, and while it is read it does not move.
CREATE TABLE payment_horizon (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    before INTEGER NOT NULL
) STRICT;
INSERT INTO payment_horizon (id, before) VALUES (1, 0);
