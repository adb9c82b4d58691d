-- The same as for SQLite.

-- A claim says all that its attempt has cost so far, so that it is not lost with the worker: no longer only the sum of
-- tokens. `calls` is 0 while nothing was paid. Such a row is never simply taken over: its cost is written down first.
ALTER TABLE claims RENAME COLUMN tokens TO tokens_in;
ALTER TABLE claims ADD COLUMN tokens_out BIGINT NOT NULL DEFAULT 0;
ALTER TABLE claims ADD COLUMN calls      BIGINT NOT NULL DEFAULT 0;
ALTER TABLE claims ADD COLUMN model      TEXT COLLATE "C";
UPDATE claims SET calls = 1 WHERE tokens_in > 0 OR micros > 0;

-- When an attempt ended. Older payments are taken out after a while; those from before this change count as new.
-- `presumed`: written down from the claim of an attempt that was not heard of again. Its own message replaces it.
ALTER TABLE payments ADD COLUMN at       BIGINT  NOT NULL DEFAULT 0;
ALTER TABLE payments ADD COLUMN presumed BOOLEAN NOT NULL DEFAULT false;
UPDATE payments SET at = (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint;
CREATE INDEX payments_by_time ON payments (at);

-- The sums of payments that were taken out, as they were at that moment.
CREATE TABLE old_payments (
    month         BIGINT           NOT NULL,
    analyzer      TEXT COLLATE "C" NOT NULL,
    currency      TEXT COLLATE "C" NOT NULL,
    model         TEXT COLLATE "C" NOT NULL,
    batch         BYTEA            NOT NULL,
    calls         BIGINT           NOT NULL,
    tokens_in     BIGINT           NOT NULL,
    tokens_out    BIGINT           NOT NULL,
    micros        BIGINT           NOT NULL,
    wasted_tokens BIGINT           NOT NULL,
    wasted_micros BIGINT           NOT NULL,
    PRIMARY KEY (month, analyzer, currency, model, batch)
);

-- Attempts that ended before this moment are counted, and never again: their rows may be gone. One row. Whoever counts an
-- attempt reads it in the same transaction, and while it is read it does not move.
CREATE TABLE payment_horizon (
    id     BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    before BIGINT NOT NULL
);
INSERT INTO payment_horizon (id, before) VALUES (1, 0);
