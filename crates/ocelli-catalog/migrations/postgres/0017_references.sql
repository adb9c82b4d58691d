-- The same as for SQLite.

-- By what the servers of URLs know again what they sent. A memory, no truth, as `known_files` is: a row counts only where `sightings` has
-- the same image at the same source, and a lost one costs one fetch.
CREATE TABLE known_urls (
    source_key BYTEA NOT NULL PRIMARY KEY CHECK (length(source_key) = 16),
    digest     BYTEA NOT NULL CHECK (length(digest) = 32),
    etag       TEXT,
    modified   TEXT
);

-- What lists said about a reference: `source_key` is that of its sighting. Of each name the text of the latest batch; `text_key` is the
-- beginning of its digest, because a text may be longer than an index entry.
CREATE TABLE sighting_meta (
    digest     BYTEA NOT NULL CHECK (length(digest) = 32),
    source_key BYTEA NOT NULL CHECK (length(source_key) = 16),
    name       TEXT COLLATE "C" NOT NULL,
    batch      BYTEA NOT NULL CHECK (length(batch) = 16),
    text       TEXT COLLATE "C" NOT NULL,
    text_key   BYTEA NOT NULL CHECK (length(text_key) = 16),
    PRIMARY KEY (digest, source_key, name)
);
CREATE INDEX sighting_meta_said ON sighting_meta (name, text_key, digest);

-- What a worker found out about an image whose intake had not arrived, as JSON; empty once it has, and then in the columns.
ALTER TABLE images ADD COLUMN learned TEXT;
