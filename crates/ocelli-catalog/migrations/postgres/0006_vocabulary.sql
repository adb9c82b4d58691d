-- The same as for SQLite.

CREATE TABLE search_vocabulary (
    word TEXT COLLATE "C" NOT NULL PRIMARY KEY
);
CREATE INDEX search_parts ON search_vocabulary USING gin (word gin_trgm_ops);

-- A form lies in the row of its answer: whoever looks at one needs the other. The name stays, for questions to both databases.
ALTER TABLE search_answers ADD COLUMN seen BIGINT, ADD COLUMN text TEXT COLLATE "C";
UPDATE search_answers s SET text = t.text FROM search_texts t WHERE t.id = s.id;
UPDATE search_answers s SET seen = coalesce(i.first_seen, -9000000000000000000) FROM images i
    WHERE i.digest = s.digest AND i.bytes IS NOT NULL;
DROP TABLE search_texts;
CREATE VIEW search_texts AS SELECT id, text FROM search_answers WHERE text IS NOT NULL;
CREATE INDEX search_words ON search_answers
    USING gin (array_to_tsvector(string_to_array(btrim(text, ' '), ' '))) WITH (gin_pending_list_limit = 4096);
DROP INDEX search_answers_by_image;
CREATE INDEX search_answers_in_time ON search_answers (seen, digest) INCLUDE (current, id);
DROP INDEX images_by_first_seen;

INSERT INTO search_backlog (id) SELECT id FROM analyses ON CONFLICT DO NOTHING;

CREATE TABLE transfers (
    source   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    finished BOOLEAN          NOT NULL
);
