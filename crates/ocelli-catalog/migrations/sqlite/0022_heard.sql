-- When the last word of a worker was written, by the clock of the database: the only clock that all have in common who ask who is
-- there. `at` is by the worker's own. Words from before are as old as they say, and none is from the future.
ALTER TABLE workers ADD COLUMN heard_at INTEGER NOT NULL DEFAULT 0;
UPDATE workers SET heard_at = min(at, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
