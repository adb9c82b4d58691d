-- Parts of words are looked up among the different words of the archive (its vocabulary) and no more in every text: an
-- answer has hundreds of runs of three characters and a handful of words that no answer before it had.
CREATE TABLE search_vocabulary (
    id   INTEGER PRIMARY KEY,
    word TEXT NOT NULL UNIQUE
) STRICT;
-- Which words have three characters in a row. Words are only ever added.
CREATE VIRTUAL TABLE search_parts USING fts5 (
    word, content = '', detail = none, tokenize = 'trigram case_sensitive 1'
);
CREATE TRIGGER search_vocabulary_added AFTER INSERT ON search_vocabulary BEGIN
    INSERT INTO search_parts (rowid, word) VALUES (new.id, new.word);
END;

DROP TRIGGER search_texts_added;
DROP TRIGGER search_texts_changed;
DROP TRIGGER search_texts_removed;
DROP TABLE search_grams;
CREATE TRIGGER search_texts_added AFTER INSERT ON search_texts BEGIN
    INSERT INTO search_words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER search_texts_changed AFTER UPDATE ON search_texts WHEN old.text <> new.text BEGIN
    DELETE FROM search_words WHERE rowid = old.id;
    INSERT INTO search_words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER search_texts_removed AFTER DELETE ON search_texts BEGIN
    DELETE FROM search_words WHERE rowid = old.id;
END;
-- A batch of a collector goes to the index in one piece (16 MB), and pieces are merged less often.
INSERT INTO search_words (search_words, rank) VALUES ('hashsize', 16000000), ('automerge', 8);

-- When the image of an answer was first seen, as `images_in_time` sorts it; NULL while its intake has not arrived. So answers
-- are found in the order of time without a look at their images, and the answers of an image are neighbours.
ALTER TABLE search_answers ADD COLUMN seen INTEGER;
UPDATE search_answers SET seen = (SELECT coalesce(i.first_seen, -9000000000000000000) FROM images i
    WHERE i.digest = search_answers.digest AND i.bytes IS NOT NULL);
DROP INDEX search_answers_by_image;
CREATE INDEX search_answers_in_time ON search_answers (seen, digest, current);
-- `images_in_time` has the same order.
DROP INDEX images_by_first_seen;

-- The words of all texts are still to be collected: the program that opens the catalog first does so.
INSERT OR IGNORE INTO search_backlog (id) SELECT id FROM analyses;

-- Archives that are, or were, carried into this one from another database. One that is not finished is half of an archive.
CREATE TABLE transfers (
    source   TEXT    NOT NULL PRIMARY KEY,
    finished INTEGER NOT NULL CHECK (finished IN (0, 1))
) STRICT, WITHOUT ROWID;
