-- The same as for SQLite.

-- What people ordered about a batch: 'paused' (its jobs wait), 'resumed' (they are to be enqueued again, then the row goes),
-- 'cancelled' (what had not begun is taken back, for good). `withdrawn` counts the jobs that were taken back.
CREATE TABLE batch_orders (
    batch     BYTEA  NOT NULL PRIMARY KEY CHECK (length(batch) = 16),
    state     TEXT   NOT NULL CHECK (state IN ('paused', 'resumed', 'cancelled')),
    at        BIGINT NOT NULL,
    withdrawn BIGINT NOT NULL DEFAULT 0
);
