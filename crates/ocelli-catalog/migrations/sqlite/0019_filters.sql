-- Whatever filters ask of an answer stands in the order of time, too: a search without words goes through this index alone.
DROP INDEX search_answers_in_time;
CREATE INDEX search_answers_in_time ON search_answers
    (seen, digest, current, analyzer, kind, confidence, languages, flags, model);

-- In the order of time within a state: what is written one after another lies side by side. By digest, each new row of `wants`
-- was a page of its own.
DROP INDEX wants_by_state;
CREATE INDEX wants_by_state ON wants (analyzer, state, asked_at);
