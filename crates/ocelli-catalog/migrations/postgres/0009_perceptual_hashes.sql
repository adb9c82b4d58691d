-- What images look like, as 64 bits (read as a signed number) of a named algorithm; see `alike`. A table of its own: rows of
-- `images` change while their record grows, these never do, and four indexes would have to follow every change. The first
-- hash of an image stays.
CREATE TABLE perceptual_hashes (
    digest    BYTEA  NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    algorithm TEXT COLLATE "C" NOT NULL,
    bits      BIGINT NOT NULL
);

-- Whatever is near has one of few values in one of these bands. The rest of the hash stands behind it, so that most of what is
-- not near is told without a look at the row.
CREATE INDEX perceptual_hashes_band_1 ON perceptual_hashes (((bits >> 48) & 65535), bits, algorithm);
CREATE INDEX perceptual_hashes_band_2 ON perceptual_hashes (((bits >> 32) & 65535), bits, algorithm);
CREATE INDEX perceptual_hashes_band_3 ON perceptual_hashes (((bits >> 16) & 65535), bits, algorithm);
CREATE INDEX perceptual_hashes_band_4 ON perceptual_hashes ((bits & 65535), bits, algorithm);

-- Jobs that are done for the first of near-identical images only. `near` is the distance up to which images count as such.
-- `waits_for` is the image whose answer the job waits for, beside `hold` 'needs'.
ALTER TABLE wants ADD COLUMN near      BIGINT;
ALTER TABLE wants ADD COLUMN waits_for BYTEA;
CREATE INDEX wants_waiting_for ON wants (waits_for, analyzer) WHERE waits_for IS NOT NULL;
