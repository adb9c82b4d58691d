-- Of what a transaction wrote to an archive of 150,000 records, three pages of four were of four indexes that are sorted by what has no
-- order in time: digests of images, keys of sources, words, and scores. The first has to be; the others are made so that what is
-- written together lies together.

-- Pairs of answers name their image by its number. They are listed by whole percents and then in the order in which images came, and
-- those of all analyzers by going along each pair.
CREATE TABLE numbered_agreements (
    image   INTEGER NOT NULL,
    a       TEXT    NOT NULL,
    b       TEXT    NOT NULL,
    score   REAL    NOT NULL,
    percent INTEGER NOT NULL,
    detail  TEXT    NOT NULL,
    PRIMARY KEY (image, a, b)
) STRICT, WITHOUT ROWID;
INSERT INTO numbered_agreements (image, a, b, score, percent, detail)
    SELECT i.id, g.a, g.b, g.score, CAST(g.score * 100 AS INTEGER), g.detail FROM images i CROSS JOIN agreements g
    WHERE g.digest = i.digest ORDER BY i.id, g.a, g.b;
DROP TABLE agreements;
ALTER TABLE numbered_agreements RENAME TO agreements;
CREATE INDEX agreements_of_pairs ON agreements (a, b, percent, image);

-- What is seen together mostly comes from one place: a folder, a host.
DROP INDEX sightings_by_source;
CREATE INDEX sightings_by_place ON sightings (substr(source, 1, 128), source_key);

-- Words that nobody wrote before, until there are enough of them to be sorted into the vocabulary at once.
CREATE TABLE search_new_words (
    id   INTEGER PRIMARY KEY,
    word TEXT NOT NULL
) STRICT;
