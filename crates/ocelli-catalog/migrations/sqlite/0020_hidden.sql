-- Answers that no ordinary search finds: few, so that their number is known at once. A search whose words are in many answers
-- subtracts it, and need not look at each of them to know that they are of more records than are counted.
CREATE INDEX search_answers_hidden ON search_answers (id) WHERE NOT current OR seen IS NULL;
