-- Backfills: one revision of one analyzer, asked of images that are in the archive already. A backfill is a batch too: its name
-- is in `batches` and its images are in `batch_images`, so that searches, budgets and the audit know it. `cap` bounds what it
-- may cost: millionths of `currency`, or tokens where that is empty.
CREATE TABLE backfills (
    batch      BLOB    NOT NULL PRIMARY KEY CHECK (length(batch) = 16),
    name       TEXT    NOT NULL UNIQUE,
    analyzer   TEXT    NOT NULL,
    revision   TEXT    NOT NULL,
    query      TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('running', 'paused', 'cancelled')),
    currency   TEXT,
    cap        INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The jobs it asked for. `before` is the revision that was wanted before: NULL when the analyzer was not wanted at all, empty
-- when any revision would do. `published`: the broker has confirmed the job. `withdrawn`: taken back while it waited.
CREATE TABLE backfill_jobs (
    batch     BLOB    NOT NULL,
    digest    BLOB    NOT NULL,
    before    TEXT,
    published INTEGER NOT NULL DEFAULT 0,
    withdrawn INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX backfill_jobs_by_image ON backfill_jobs (digest);
CREATE INDEX backfill_jobs_unpublished ON backfill_jobs (batch, digest) WHERE published = 0;
