-- Rules that only the answers of other analyzers decide: as JSON, with the names of those analyzers, separated by spaces. The job is
-- held until they have outcomes, beside what it needs.
ALTER TABLE wants ADD COLUMN rules       TEXT COLLATE "C";
ALTER TABLE wants ADD COLUMN rules_after TEXT COLLATE "C";
