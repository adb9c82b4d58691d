-- The search index. It is written in the transaction that writes the analyses. Which rows match is decided by `text`, the
-- folded form of an answer (see the module `search`); the two FTS tables only find the rows where that can be so.

-- One row per row of `analyses`: what a search asks of an answer besides its words. `current`: it is what a reader of the
-- record sees. `languages` is '+eng+deu+', `flags` ' partial truncated ', `model` is in lower case.
CREATE TABLE search_answers (
    id         INTEGER PRIMARY KEY REFERENCES analyses (id) ON DELETE CASCADE,
    digest     BLOB    NOT NULL,
    analyzer   TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    current    INTEGER NOT NULL CHECK (current IN (0, 1)),
    words      INTEGER NOT NULL,
    confidence REAL,
    languages  TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    flags      TEXT    NOT NULL
) STRICT;
CREATE INDEX search_answers_by_image ON search_answers (digest, analyzer);

-- Of answers with a text: its form. A table of its own, so that the rows above stay short.
CREATE TABLE search_texts (
    id   INTEGER PRIMARY KEY REFERENCES search_answers (id) ON DELETE CASCADE,
    text TEXT NOT NULL
) STRICT;

-- Without content and positions: which rows have a word, which have three characters in a row. Forms have only spaces, ASCII
-- letters and digits, and characters beyond ASCII, all of which the tokenizer `ascii` takes as parts of words.
CREATE VIRTUAL TABLE search_words USING fts5 (
    text, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
CREATE VIRTUAL TABLE search_grams USING fts5 (
    text, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram case_sensitive 1'
);
CREATE TRIGGER search_texts_added AFTER INSERT ON search_texts BEGIN
    INSERT INTO search_words (rowid, text) VALUES (new.id, new.text);
    INSERT INTO search_grams (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER search_texts_changed AFTER UPDATE ON search_texts WHEN old.text <> new.text BEGIN
    DELETE FROM search_words WHERE rowid = old.id;
    DELETE FROM search_grams WHERE rowid = old.id;
    INSERT INTO search_words (rowid, text) VALUES (new.id, new.text);
    INSERT INTO search_grams (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER search_texts_removed AFTER DELETE ON search_texts BEGIN
    DELETE FROM search_words WHERE rowid = old.id;
    DELETE FROM search_grams WHERE rowid = old.id;
END;

-- The order of time. Images without a sighting come before all others.
CREATE INDEX images_in_time ON images (coalesce(first_seen, -9000000000000000000), digest);
CREATE INDEX batch_images_by_image ON batch_images (digest);

-- Analyses from before the index: the program that opens the catalog first puts them in, and takes them out of here.
CREATE TABLE search_backlog (
    id INTEGER PRIMARY KEY REFERENCES analyses (id) ON DELETE CASCADE
) STRICT;
INSERT INTO search_backlog (id) SELECT id FROM analyses;
