-- The same as for SQLite. The extension pg_trgm is there: the program sees to that before it migrates.

CREATE TABLE search_answers (
    id         BIGINT           NOT NULL PRIMARY KEY REFERENCES analyses (id) ON DELETE CASCADE,
    digest     BYTEA            NOT NULL,
    analyzer   TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    current    BOOLEAN          NOT NULL,
    words      BIGINT           NOT NULL,
    confidence DOUBLE PRECISION,
    languages  TEXT COLLATE "C" NOT NULL,
    model      TEXT COLLATE "C" NOT NULL,
    flags      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX search_answers_by_image ON search_answers (digest, analyzer);

-- Texts beyond a line or two lie outside of the rows: most looks at a row do not need them.
CREATE TABLE search_texts (
    id   BIGINT           NOT NULL PRIMARY KEY REFERENCES search_answers (id) ON DELETE CASCADE,
    text TEXT COLLATE "C" NOT NULL
) WITH (toast_tuple_target = 128);

-- Words as they are: no parser, no dictionary, no locale decides what a word is.
CREATE INDEX search_texts_words ON search_texts
    USING gin (array_to_tsvector(string_to_array(btrim(text, ' '), ' ')));
CREATE INDEX search_texts_grams ON search_texts USING gin (text gin_trgm_ops);

CREATE INDEX images_in_time ON images (coalesce(first_seen, -9000000000000000000), digest);
CREATE INDEX batch_images_by_image ON batch_images (digest);

CREATE TABLE search_backlog (
    id BIGINT NOT NULL PRIMARY KEY REFERENCES analyses (id) ON DELETE CASCADE
);
INSERT INTO search_backlog (id) SELECT id FROM analyses;
