-- The same as for SQLite, without what has no bound: an entry of an index has.
DROP INDEX search_answers_in_time;
CREATE INDEX search_answers_in_time ON search_answers (seen, digest) INCLUDE (current, id, analyzer, kind, confidence);
