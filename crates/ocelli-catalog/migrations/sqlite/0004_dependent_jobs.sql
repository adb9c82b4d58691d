-- Dependent jobs: those of analyzers that read what others answered. `needs` names these, separated by spaces. `hold` says
-- why nobody has put the job into its queue yet: 'needs' (one of them has no outcome), 'ready' (all have), 'taken' (a
-- collector is enqueueing it since `enqueued_at`). NULL: it was enqueued, or nothing is to be done.
ALTER TABLE wants ADD COLUMN needs TEXT;
ALTER TABLE wants ADD COLUMN hold TEXT CHECK (hold IN ('needs', 'ready', 'taken'));
CREATE INDEX wants_to_enqueue ON wants (digest, analyzer) WHERE hold IN ('ready', 'taken');
CREATE INDEX wants_waiting ON wants (analyzer, needs) WHERE hold = 'needs';
