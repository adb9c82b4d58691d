-- The same tables as for SQLite.
CREATE TABLE backfills (
    batch      BYTEA            NOT NULL PRIMARY KEY CHECK (length(batch) = 16),
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    analyzer   TEXT COLLATE "C" NOT NULL,
    revision   TEXT COLLATE "C" NOT NULL,
    query      TEXT             NOT NULL,
    state      TEXT             NOT NULL CHECK (state IN ('running', 'paused', 'cancelled')),
    currency   TEXT,
    cap        BIGINT,
    created_at BIGINT           NOT NULL
);

CREATE TABLE backfill_jobs (
    batch     BYTEA  NOT NULL,
    digest    BYTEA  NOT NULL,
    before    TEXT,
    published BIGINT NOT NULL DEFAULT 0,
    withdrawn BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, digest)
);
CREATE INDEX backfill_jobs_by_image ON backfill_jobs (digest);
CREATE INDEX backfill_jobs_unpublished ON backfill_jobs (batch, digest) WHERE published = 0;
