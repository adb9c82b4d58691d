-- What became of every reference of a batch. Accepted ones: `source_key` finds the source in `sightings`, `known` says that
-- nothing had to be enqueued. NULL in both: accepted by an older ocelli, which did not keep it.
ALTER TABLE batch_images ADD COLUMN source_key BLOB;
ALTER TABLE batch_images ADD COLUMN known INTEGER;

-- The others: `source` is what can be tried again, where the reference is a URI; `rule` is why it was passed over, and NULL where
-- it failed.
ALTER TABLE problems ADD COLUMN source TEXT;
ALTER TABLE problems ADD COLUMN rule TEXT;
