-- The same as for SQLite.

ALTER TABLE wants ADD COLUMN needs TEXT COLLATE "C";
ALTER TABLE wants ADD COLUMN hold TEXT COLLATE "C" CHECK (hold IN ('needs', 'ready', 'taken'));
CREATE INDEX wants_to_enqueue ON wants (digest, analyzer) WHERE hold IN ('ready', 'taken');
CREATE INDEX wants_waiting ON wants (analyzer, needs) WHERE hold = 'needs';
