-- How far answers of a complete record agree, by pair of analyzers: derived from its current answers in the transaction that
-- completes or changes it. `detail` is the pair as JSON.
CREATE TABLE agreements (
    digest BLOB NOT NULL,
    a      TEXT NOT NULL,
    b      TEXT NOT NULL,
    score  REAL NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (digest, a, b)
) STRICT, WITHOUT ROWID;
CREATE INDEX agreements_by_score ON agreements (score);

-- Records that were complete before: whoever opens the archive compares their answers, and takes them out of here.
CREATE TABLE agreement_backlog (
    digest BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
INSERT INTO agreement_backlog (digest)
    SELECT i.digest FROM images i WHERE i.complete AND i.bytes IS NOT NULL
    AND (SELECT COUNT(*) FROM search_answers s WHERE s.digest = i.digest AND s.current AND s.kind = 'done') > 1;
