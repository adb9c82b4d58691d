-- Pairs of answers name their image by its number. They are listed by whole percents and then in the order in which images came, and
-- those of all analyzers by going along each pair: so what is written together lies together, and one index is not needed any more.
ALTER TABLE agreements ADD COLUMN image BIGINT, ADD COLUMN percent BIGINT;
UPDATE agreements g SET image = i.id, percent = floor(g.score * 100) FROM images i WHERE i.digest = g.digest;
-- A pair without its image is about nothing.
DELETE FROM agreements WHERE image IS NULL;
-- With a column, the keys and indexes it is in are dropped.
ALTER TABLE agreements DROP COLUMN digest, ALTER COLUMN percent SET NOT NULL, ADD PRIMARY KEY (image, a, b);
CREATE INDEX agreements_of_pairs ON agreements (a, b, percent, image);
ANALYZE agreements;

-- What is seen together mostly comes from one place: a folder, a host.
DROP INDEX sightings_by_source;
CREATE INDEX sightings_by_place ON sightings (substr(source, 1, 128), source_key);

-- Rows of the search index are written and deleted beside the analysis that they are about, and the audit compares them. That each is
-- looked up and locked once more when it is inserted took longer than some of the indexes.
ALTER TABLE search_answers DROP CONSTRAINT search_answers_id_fkey;
