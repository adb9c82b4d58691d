-- Images are numbered in the order in which they came, and what belongs to an image names its number. Rows that are written together
-- then lie together: sorted by digests, every record touched a page of its own in each of seven trees, which cost more the larger
-- they grew. The digest is in one place: `images`. Runs with foreign keys switched off, as SQLite wants it where a table that others
-- refer to is made anew.

-- As the fold has always seen to it; were there a row without its image, it would get lost below.
INSERT INTO images (digest, complete) SELECT DISTINCT digest, 0 FROM sightings s
    WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = s.digest);
INSERT INTO images (digest, complete) SELECT DISTINCT digest, 0 FROM wants w
    WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = w.digest);
INSERT INTO images (digest, complete) SELECT DISTINCT digest, 0 FROM analyses a
    WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = a.digest);
INSERT INTO images (digest, complete) SELECT DISTINCT digest, 0 FROM batch_images b
    WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = b.digest);

-- One row per image. `bytes` is NULL while only an analysis of it arrived and its intake has not.
CREATE TABLE numbered_images (
    id         INTEGER PRIMARY KEY,
    digest     BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    bytes      INTEGER,
    format     TEXT,
    width      INTEGER,
    height     INTEGER,
    refusal    TEXT,
    first_seen INTEGER,
    complete   INTEGER NOT NULL CHECK (complete IN (0, 1)),
    learned    TEXT
) STRICT;
INSERT INTO numbered_images (digest, bytes, format, width, height, refusal, first_seen, complete, learned)
    SELECT digest, bytes, format, width, height, refusal, first_seen, complete, learned FROM images
    ORDER BY coalesce(first_seen, -9000000000000000000), digest;
DROP TABLE images;
ALTER TABLE numbered_images RENAME TO images;
CREATE INDEX images_in_time ON images (coalesce(first_seen, -9000000000000000000), digest);
CREATE INDEX images_incomplete ON images (id) WHERE NOT complete;
CREATE INDEX images_refused ON images (id) WHERE refusal IS NOT NULL;
CREATE INDEX images_without_intake ON images (id) WHERE bytes IS NULL;

-- One row per image and source: the earliest. `source_key` is the first half of the SHA-256 of `source`.
CREATE TABLE numbered_sightings (
    image      INTEGER NOT NULL,
    source_key BLOB    NOT NULL CHECK (length(source_key) = 16),
    source     TEXT    NOT NULL,
    seen_at    INTEGER NOT NULL,
    batch      BLOB    NOT NULL CHECK (length(batch) = 16),
    PRIMARY KEY (image, source_key)
) STRICT, WITHOUT ROWID;
INSERT INTO numbered_sightings (image, source_key, source, seen_at, batch)
    SELECT i.id, s.source_key, s.source, s.seen_at, s.batch FROM images i CROSS JOIN sightings s
    WHERE s.digest = i.digest ORDER BY i.id, s.source_key;
DROP TABLE sightings;
ALTER TABLE numbered_sightings RENAME TO sightings;
CREATE INDEX sightings_by_source ON sightings (source_key, seen_at);

-- One row per image and analyzer asked for.
CREATE TABLE numbered_wants (
    image       INTEGER NOT NULL,
    analyzer    TEXT    NOT NULL,
    revision    TEXT,
    asked_at    INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('open', 'done', 'empty', 'skipped', 'failed', 'refused')),
    answer      TEXT,
    reopened    INTEGER,
    needs       TEXT,
    hold        TEXT    CHECK (hold IN ('needs', 'ready', 'taken')),
    near        INTEGER,
    waits_for   BLOB,
    rules       TEXT,
    rules_after TEXT,
    PRIMARY KEY (image, analyzer)
) STRICT, WITHOUT ROWID;
INSERT INTO numbered_wants (image, analyzer, revision, asked_at, enqueued_at, state, answer, reopened, needs, hold, near, waits_for,
        rules, rules_after)
    SELECT i.id, w.analyzer, w.revision, w.asked_at, w.enqueued_at, w.state, w.answer, w.reopened, w.needs, w.hold, w.near,
        w.waits_for, w.rules, w.rules_after FROM images i CROSS JOIN wants w
    WHERE w.digest = i.digest ORDER BY i.id, w.analyzer;
DROP TABLE wants;
ALTER TABLE numbered_wants RENAME TO wants;
CREATE INDEX wants_by_state ON wants (analyzer, state, asked_at);
CREATE INDEX wants_open ON wants (image, analyzer, enqueued_at) WHERE state = 'open';
CREATE INDEX wants_to_enqueue ON wants (image, analyzer) WHERE hold IN ('ready', 'taken');
CREATE INDEX wants_waiting ON wants (analyzer, needs) WHERE hold = 'needs';
CREATE INDEX wants_waiting_for ON wants (waits_for, analyzer) WHERE waits_for IS NOT NULL;

-- One row per outcome. The long columns come last, so that the short ones are read without them.
CREATE TABLE numbered_analyses (
    id          INTEGER PRIMARY KEY,
    image       INTEGER NOT NULL,
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
    UNIQUE (image, analyzer, revision)
) STRICT;
INSERT INTO numbered_analyses (id, image, analyzer, revision, kind, class, attempts, finished_at, rule, reason, text, reading,
        provenance)
    SELECT a.id, i.id, a.analyzer, a.revision, a.kind, a.class, a.attempts, a.finished_at, a.rule, a.reason, a.text, a.reading,
        a.provenance FROM analyses a CROSS JOIN images i WHERE i.digest = a.digest ORDER BY a.id;
DROP TABLE analyses;
ALTER TABLE numbered_analyses RENAME TO analyses;
CREATE INDEX analyses_by_time ON analyses (finished_at, analyzer);
CREATE INDEX analyses_failed ON analyses (analyzer, class, finished_at) WHERE kind = 'failed';

-- Which references of which batch led to which image.
CREATE TABLE numbered_batch_images (
    batch         BLOB    NOT NULL CHECK (length(batch) = 16),
    image         INTEGER NOT NULL,
    reference_key BLOB    NOT NULL CHECK (length(reference_key) = 16),
    source_key    BLOB,
    known         INTEGER,
    PRIMARY KEY (batch, image, reference_key)
) STRICT, WITHOUT ROWID;
INSERT INTO numbered_batch_images (batch, image, reference_key, source_key, known)
    SELECT b.batch, i.id, b.reference_key, b.source_key, b.known FROM batch_images b CROSS JOIN images i
    WHERE i.digest = b.digest ORDER BY b.batch, i.id, b.reference_key;
DROP TABLE batch_images;
ALTER TABLE numbered_batch_images RENAME TO batch_images;
CREATE INDEX batch_images_by_image ON batch_images (image);
