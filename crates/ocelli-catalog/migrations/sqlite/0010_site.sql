-- What the web site lists: agreements from the lowest on, of all pairs and of one, page by page.
DROP INDEX agreements_by_score;
CREATE INDEX agreements_in_order ON agreements (score, digest, a, b);
CREATE INDEX agreements_of_pairs ON agreements (a, b, score, digest);

-- Searches that people keep, by name.
CREATE TABLE saved_searches (
    name     TEXT    NOT NULL PRIMARY KEY,
    query    TEXT    NOT NULL,
    saved_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
