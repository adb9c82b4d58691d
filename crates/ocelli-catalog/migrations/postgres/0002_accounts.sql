-- The same as for SQLite.

-- Which images belong to which batch. `sightings` keeps only the earliest per source, so it cannot tell. One row per
-- accepted reference: `reference_key` is the first half of the SHA-256 of its source and time, for two references may
-- be the same image.
CREATE TABLE batch_images (
    batch         BYTEA NOT NULL CHECK (length(batch) = 16),
    digest        BYTEA NOT NULL,
    reference_key BYTEA NOT NULL CHECK (length(reference_key) = 16),
    PRIMARY KEY (batch, digest, reference_key)
);
INSERT INTO batch_images (batch, digest, reference_key) SELECT batch, digest, source_key FROM sightings;

-- Messages that could not be handled, one row per message however often it is delivered. `fate` says what became of it:
-- 'failed' (a job: it is a failed analysis now), 'written' (it could be written after all), 'needless' (nothing is
-- lost without it), 'kept' (nothing could be done: for people), 'discarded' (they have seen it). `body` is cut to a
-- bounded length, `size` is the whole length.
CREATE TABLE dead_letters (
    letter     BYTEA            NOT NULL PRIMARY KEY CHECK (length(letter) = 16),
    at         BIGINT           NOT NULL,
    queue      TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    fate       TEXT COLLATE "C" NOT NULL CHECK (fate IN ('failed', 'written', 'needless', 'kept', 'discarded')),
    digest     BYTEA,
    analyzer   TEXT COLLATE "C",
    size       BIGINT           NOT NULL,
    body       BYTEA            NOT NULL
);
CREATE INDEX dead_letters_by_image ON dead_letters (digest) WHERE digest IS NOT NULL;
CREATE INDEX dead_letters_kept ON dead_letters (at) WHERE fate = 'kept';

-- Fences under way and passed: proof needs two of them, the second sent when what the first one shows has been settled.
-- The old marks prove nothing any more and are sent again.
DROP TABLE fences;
CREATE TABLE fences (
    analyzer     TEXT COLLATE "C" NOT NULL,
    published_at BIGINT           NOT NULL,
    passed_at    BIGINT,
    PRIMARY KEY (analyzer, published_at)
);

CREATE INDEX events_by_image ON events (digest) WHERE digest IS NOT NULL;
