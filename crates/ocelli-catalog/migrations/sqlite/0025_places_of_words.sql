-- The index of words keeps their places in a text: whether words stand beside one another is asked of it alone, where before the text of
-- every answer that has all of them was looked into. It is twice as long; putting a text into it takes a sixth longer.
DROP TABLE search_words;
CREATE VIRTUAL TABLE search_words USING fts5 (
    text, content = '', contentless_delete = 1, detail = full, tokenize = 'ascii'
);
INSERT INTO search_words (search_words, rank) VALUES ('hashsize', 16000000), ('automerge', 8);
INSERT INTO search_words (rowid, text) SELECT id, text FROM search_texts ORDER BY id;

-- Words that wait to be sorted into the vocabulary, in one row for each transaction that brought some, as JSON: looking for a part of a word
-- in all of them at once takes no time, so more of them may wait. How many there are up to a row stands in it.
CREATE TABLE waiting_words (
    id    INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    words TEXT    NOT NULL
) STRICT;
INSERT INTO waiting_words (total, words)
    SELECT count(*), json_group_array(word) FROM search_new_words HAVING count(*) > 0;
DROP TABLE search_new_words;
ALTER TABLE waiting_words RENAME TO search_new_words;
