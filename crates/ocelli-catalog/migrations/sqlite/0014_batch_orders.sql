-- What people ordered about a batch: 'paused' (its jobs wait), 'resumed' (they are to be enqueued again, then the row goes),
-- 'cancelled' (what had not begun is taken back, for good). `withdrawn` counts the jobs that were taken back.
CREATE TABLE batch_orders (
    batch     BLOB    NOT NULL PRIMARY KEY CHECK (length(batch) = 16),
    state     TEXT    NOT NULL CHECK (state IN ('paused', 'resumed', 'cancelled')),
    at        INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
