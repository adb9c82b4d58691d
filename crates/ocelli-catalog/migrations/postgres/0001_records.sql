-- The same tables as for SQLite. Texts that are compared or sorted use the order of their bytes, as there.
-- Times are microseconds since 1970 (UTC). Digests are the 32 bytes of a SHA-256, batches the 16 bytes of a UUID.

-- One row per image. `bytes` is NULL while only an analysis of it arrived and its intake has not.
CREATE TABLE images (
    digest     BYTEA   NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    bytes      BIGINT,
    format     TEXT,
    width      BIGINT,
    height     BIGINT,
    refusal    TEXT,
    first_seen BIGINT,
    complete   BOOLEAN NOT NULL
);
CREATE INDEX images_by_first_seen ON images (first_seen);
CREATE INDEX images_incomplete ON images (digest) WHERE NOT complete;
CREATE INDEX images_refused ON images (digest) WHERE refusal IS NOT NULL;
CREATE INDEX images_without_intake ON images (digest) WHERE bytes IS NULL;

-- One row per image and source: the earliest. `source_key` is the first half of the SHA-256 of `source`, because
-- sources may be longer than an index entry.
CREATE TABLE sightings (
    digest     BYTEA  NOT NULL,
    source_key BYTEA  NOT NULL CHECK (length(source_key) = 16),
    source     TEXT   NOT NULL,
    seen_at    BIGINT NOT NULL,
    batch      BYTEA  NOT NULL CHECK (length(batch) = 16),
    PRIMARY KEY (digest, source_key)
);
CREATE INDEX sightings_by_source ON sightings (source_key, seen_at);

-- One row per image and analyzer asked for. `state` and `answer` (the revision of the analysis that answers) are
-- derived from analyses and images in the transaction that changes those. Failures up to `reopened` are forgotten.
CREATE TABLE wants (
    digest      BYTEA            NOT NULL,
    analyzer    TEXT COLLATE "C" NOT NULL,
    revision    TEXT COLLATE "C",
    asked_at    BIGINT           NOT NULL,
    enqueued_at BIGINT           NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'done', 'empty', 'skipped', 'failed', 'refused')),
    answer      TEXT COLLATE "C",
    reopened    BIGINT,
    PRIMARY KEY (digest, analyzer)
);
CREATE INDEX wants_by_state ON wants (analyzer, state);
CREATE INDEX wants_open ON wants (digest, analyzer, enqueued_at) WHERE state = 'open';

-- One row per outcome. No foreign key to images: an analysis may arrive before its intake. The long columns come last,
-- so that the short ones are read without them.
CREATE TABLE analyses (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest      BYTEA            NOT NULL,
    analyzer    TEXT COLLATE "C" NOT NULL,
    revision    TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('done', 'empty', 'skipped', 'failed')),
    class       TEXT COLLATE "C",
    attempts    BIGINT           NOT NULL,
    finished_at BIGINT           NOT NULL,
    rule        TEXT,
    reason      TEXT COLLATE "C",
    text        TEXT,
    reading     TEXT,
    provenance  TEXT             NOT NULL,
    UNIQUE (digest, analyzer, revision)
);
CREATE INDEX analyses_by_time ON analyses (finished_at, analyzer);
CREATE INDEX analyses_failed ON analyses (analyzer, class, finished_at) WHERE kind = 'failed';

-- The last postponed attempt of a job; it means something only while the want is open.
CREATE TABLE deferrals (
    digest   BYTEA            NOT NULL,
    analyzer TEXT COLLATE "C" NOT NULL,
    class    TEXT COLLATE "C" NOT NULL,
    reason   TEXT COLLATE "C" NOT NULL,
    attempts BIGINT           NOT NULL,
    next_at  BIGINT           NOT NULL,
    PRIMARY KEY (digest, analyzer)
);
CREATE INDEX deferrals_by_time ON deferrals (next_at);

-- The last word of every worker process; `body` is the announcement as JSON.
CREATE TABLE workers (
    analyzer TEXT COLLATE "C" NOT NULL,
    worker   TEXT COLLATE "C" NOT NULL,
    at       BIGINT           NOT NULL,
    leaving  BOOLEAN          NOT NULL,
    body     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (analyzer, worker)
);

-- Every revision ever announced; kind and description as the latest announcement had them.
CREATE TABLE revisions (
    analyzer        TEXT COLLATE "C" NOT NULL,
    revision        TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL,
    description     TEXT COLLATE "C" NOT NULL,
    first_announced BIGINT           NOT NULL,
    last_announced  BIGINT           NOT NULL,
    PRIMARY KEY (analyzer, revision)
);

-- The latest report of every run of a producer.
CREATE TABLE batches (
    batch      BYTEA            NOT NULL PRIMARY KEY CHECK (length(batch) = 16),
    name       TEXT COLLATE "C" NOT NULL,
    started_at BIGINT           NOT NULL,
    at         BIGINT           NOT NULL,
    finished   BOOLEAN          NOT NULL,
    accepted   BIGINT           NOT NULL,
    known      BIGINT           NOT NULL,
    skipped    BIGINT           NOT NULL,
    problems   BIGINT           NOT NULL
);

-- References without an image behind them: the earliest report of each per batch.
CREATE TABLE problems (
    batch         BYTEA            NOT NULL,
    reference_key BYTEA            NOT NULL CHECK (length(reference_key) = 16),
    reference     TEXT COLLATE "C" NOT NULL,
    reason        TEXT COLLATE "C" NOT NULL,
    at            BIGINT           NOT NULL,
    PRIMARY KEY (batch, reference_key)
);

-- The latest fence that came through the queue of each analyzer.
CREATE TABLE fences (
    analyzer     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    published_at BIGINT           NOT NULL,
    passed_at    BIGINT           NOT NULL
);

-- What was taken out of the archive by people's will, kept for the record.
CREATE TABLE events (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       BIGINT           NOT NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    digest   BYTEA,
    analyzer TEXT COLLATE "C",
    detail   TEXT             NOT NULL
);
