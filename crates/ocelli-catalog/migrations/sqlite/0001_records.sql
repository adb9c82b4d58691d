-- Times are microseconds since 1970 (UTC). Digests are the 32 bytes of a SHA-256, batches the 16 bytes of a UUID.

-- One row per image. `bytes` is NULL while only an analysis of it arrived and its intake has not.
CREATE TABLE images (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    bytes      INTEGER,
    format     TEXT,
    width      INTEGER,
    height     INTEGER,
    refusal    TEXT,
    first_seen INTEGER,
    complete   INTEGER NOT NULL CHECK (complete IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX images_by_first_seen ON images (first_seen);
CREATE INDEX images_incomplete ON images (digest) WHERE NOT complete;
CREATE INDEX images_refused ON images (digest) WHERE refusal IS NOT NULL;
CREATE INDEX images_without_intake ON images (digest) WHERE bytes IS NULL;

-- One row per image and source: the earliest. `source_key` is the first half of the SHA-256 of `source`, because
-- sources may be longer than an index entry.
CREATE TABLE sightings (
    digest     BLOB    NOT NULL,
    source_key BLOB    NOT NULL CHECK (length(source_key) = 16),
    source     TEXT    NOT NULL,
    seen_at    INTEGER NOT NULL,
    batch      BLOB    NOT NULL CHECK (length(batch) = 16),
    PRIMARY KEY (digest, source_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX sightings_by_source ON sightings (source_key, seen_at);

-- One row per image and analyzer asked for. `state` and `answer` (the revision of the analysis that answers) are
-- derived from analyses and images in the transaction that changes those. Failures up to `reopened` are forgotten.
CREATE TABLE wants (
    digest      BLOB    NOT NULL,
    analyzer    TEXT    NOT NULL,
    revision    TEXT,
    asked_at    INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('open', 'done', 'empty', 'skipped', 'failed', 'refused')),
    answer      TEXT,
    reopened    INTEGER,
    PRIMARY KEY (digest, analyzer)
) STRICT, WITHOUT ROWID;
CREATE INDEX wants_by_state ON wants (analyzer, state);
CREATE INDEX wants_open ON wants (digest, analyzer, enqueued_at) WHERE state = 'open';

-- One row per outcome. No foreign key to images: an analysis may arrive before its intake. The long columns come last,
-- so that the short ones are read without them.
CREATE TABLE analyses (
    id          INTEGER PRIMARY KEY,
    digest      BLOB    NOT NULL,
    analyzer    TEXT    NOT NULL,
    revision    TEXT    NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('done', 'empty', 'skipped', 'failed')),
    class       TEXT,
    attempts    INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    rule        TEXT,
    reason      TEXT,
    text        TEXT,
    reading     TEXT,
    provenance  TEXT    NOT NULL,
    UNIQUE (digest, analyzer, revision)
) STRICT;
CREATE INDEX analyses_by_time ON analyses (finished_at, analyzer);
CREATE INDEX analyses_failed ON analyses (analyzer, class, finished_at) WHERE kind = 'failed';

-- The last postponed attempt of a job; it means something only while the want is open.
CREATE TABLE deferrals (
    digest   BLOB    NOT NULL,
    analyzer TEXT    NOT NULL,
    class    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    attempts INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    PRIMARY KEY (digest, analyzer)
) STRICT, WITHOUT ROWID;
CREATE INDEX deferrals_by_time ON deferrals (next_at);

-- The last word of every worker process; `body` is the announcement as JSON.
CREATE TABLE workers (
    analyzer TEXT    NOT NULL,
    worker   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    leaving  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    PRIMARY KEY (analyzer, worker)
) STRICT, WITHOUT ROWID;

-- Every revision ever announced; kind and description as the latest announcement had them.
CREATE TABLE revisions (
    analyzer        TEXT    NOT NULL,
    revision        TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    first_announced INTEGER NOT NULL,
    last_announced  INTEGER NOT NULL,
    PRIMARY KEY (analyzer, revision)
) STRICT, WITHOUT ROWID;

-- The latest report of every run of a producer.
CREATE TABLE batches (
    batch      BLOB    NOT NULL PRIMARY KEY CHECK (length(batch) = 16),
    name       TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    finished   INTEGER NOT NULL,
    accepted   INTEGER NOT NULL,
    known      INTEGER NOT NULL,
    skipped    INTEGER NOT NULL,
    problems   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- References without an image behind them: the earliest report of each per batch.
CREATE TABLE problems (
    batch         BLOB    NOT NULL,
    reference_key BLOB    NOT NULL CHECK (length(reference_key) = 16),
    reference     TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (batch, reference_key)
) STRICT, WITHOUT ROWID;

-- The latest fence that came through the queue of each analyzer.
CREATE TABLE fences (
    analyzer     TEXT    NOT NULL PRIMARY KEY,
    published_at INTEGER NOT NULL,
    passed_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was taken out of the archive by people's will, kept for the record.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    digest   BLOB,
    analyzer TEXT,
    detail   TEXT    NOT NULL
) STRICT;
