-- The same as for SQLite.
ALTER TABLE problems ADD COLUMN told TEXT;
