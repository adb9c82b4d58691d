-- Images are numbered in the order in which they came, and what belongs to an image names its number. Rows that are written together
-- then lie together, and their indexes are a fifth as wide: sorted by digests, every record touched a page of its own in each of seven
-- trees, which cost more the larger they grew. The digest is in one place: `images`. Tables are changed and not made anew, so that
-- what roles may do with them stays.

-- As the fold has always seen to it; were there a row without its image, it would stop what follows.
INSERT INTO images (digest, complete)
    SELECT digest, false FROM sightings UNION SELECT digest, false FROM wants
    UNION SELECT digest, false FROM analyses UNION SELECT digest, false FROM batch_images
    ON CONFLICT DO NOTHING;

-- Numbers the rows as they lie, which is the order in which they came.
ALTER TABLE images ADD COLUMN id BIGINT GENERATED ALWAYS AS IDENTITY;
ALTER TABLE images DROP CONSTRAINT images_pkey, ADD PRIMARY KEY (id), ADD CONSTRAINT images_digest UNIQUE (digest);
DROP INDEX images_incomplete;
DROP INDEX images_refused;
DROP INDEX images_without_intake;
CREATE INDEX images_incomplete ON images (id) WHERE NOT complete;
CREATE INDEX images_refused ON images (id) WHERE refusal IS NOT NULL;
CREATE INDEX images_without_intake ON images (id) WHERE bytes IS NULL;

-- With a column, the keys and indexes it is in are dropped.
ALTER TABLE sightings ADD COLUMN image BIGINT;
UPDATE sightings s SET image = i.id FROM images i WHERE i.digest = s.digest;
ALTER TABLE sightings DROP COLUMN digest, ADD PRIMARY KEY (image, source_key);

ALTER TABLE wants ADD COLUMN image BIGINT;
UPDATE wants w SET image = i.id FROM images i WHERE i.digest = w.digest;
ALTER TABLE wants DROP COLUMN digest, ADD PRIMARY KEY (image, analyzer);
CREATE INDEX wants_open ON wants (image, analyzer, enqueued_at) WHERE state = 'open';
CREATE INDEX wants_to_enqueue ON wants (image, analyzer) WHERE hold IN ('ready', 'taken');

ALTER TABLE analyses ADD COLUMN image BIGINT;
UPDATE analyses a SET image = i.id FROM images i WHERE i.digest = a.digest;
ALTER TABLE analyses DROP COLUMN digest, ALTER COLUMN image SET NOT NULL, ADD UNIQUE (image, analyzer, revision);

ALTER TABLE batch_images ADD COLUMN image BIGINT;
UPDATE batch_images b SET image = i.id FROM images i WHERE i.digest = b.digest;
ALTER TABLE batch_images DROP COLUMN digest, ADD PRIMARY KEY (batch, image, reference_key);
CREATE INDEX batch_images_by_image ON batch_images (image);

-- Of columns that are new, the planner knows nothing yet.
ANALYZE images, sightings, wants, analyses, batch_images;
