//! What one transaction writes into the search index of PostgreSQL.

use ocelli_core::Digest;

use super::list;
use super::writing::Writing;
use crate::error::Fault;
use crate::rows::digest;
use crate::search::index::{AnswerRow, IndexRows};

impl Writing {
    pub(super) async fn write_index(&mut self, rows: &IndexRows) -> Result<(), sqlx::Error> {
        self.3.add(rows);
        let (answers, numbers) = (&rows.answers, &self.2);
        if !answers.is_empty() {
            fn all<'a, T>(rows: &'a [AnswerRow], field: impl Fn(&'a AnswerRow) -> T) -> Vec<T> {
                rows.iter().map(field).collect()
            }
            sqlx::query(
                "INSERT INTO search_answers (id, digest, analyzer, kind, current, seen, words, confidence, languages, \
                 model, flags, text) SELECT a.id, new.digest, new.analyzer, new.kind, new.current, new.seen, new.words, \
                 new.confidence, new.languages, new.model, new.flags, new.text FROM UNNEST($1::bytea[], $2::text[], $3::text[], \
                 $4::text[], $5::bool[], $6::bigint[], $7::float8[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::bigint[]) AS new \
                 (digest, analyzer, revision, kind, current, words, confidence, languages, model, flags, seen, text, image) \
                 JOIN analyses a ON a.image = new.image AND a.analyzer = new.analyzer AND a.revision = new.revision ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, \
                 seen = excluded.seen, words = excluded.words, confidence = excluded.confidence, languages = excluded.languages, \
                 model = excluded.model, flags = excluded.flags, text = excluded.text",
            )
            .bind(all(answers, |row| row.digest.as_bytes().as_slice()))
            .bind(all(answers, |row| row.key.0.as_str()))
            .bind(all(answers, |row| row.key.1.as_str()))
            .bind(all(answers, |row| row.kind))
            .bind(all(answers, |row| row.current))
            .bind(all(answers, |row| row.words))
            .bind(all(answers, |row| row.confidence))
            .bind(all(answers, |row| row.languages.as_str()))
            .bind(all(answers, |row| row.model.as_str()))
            .bind(all(answers, |row| row.flags.as_str()))
            .bind(all(answers, |row| row.seen))
            .bind(all(answers, |row| row.text.as_deref()))
            .bind(all(answers, |row| numbers.of(&row.digest)))
            .execute(&mut *self.0)
            .await?;
        }
        let shown = &rows.shown;
        if !shown.is_empty() {
            sqlx::query(
                "UPDATE search_answers s SET current = new.current FROM \
                 UNNEST($1::bigint[], $2::text[], $3::text[], $4::bool[]) AS new (image, analyzer, revision, current) \
                 JOIN analyses a ON a.image = new.image AND a.analyzer = new.analyzer AND a.revision = new.revision \
                 WHERE s.id = a.id",
            )
            .bind(shown.iter().map(|(digest, _, _)| numbers.of(digest)).collect::<Vec<_>>())
            .bind(shown.iter().map(|(_, key, _)| key.0.as_str()).collect::<Vec<_>>())
            .bind(shown.iter().map(|(_, key, _)| key.1.as_str()).collect::<Vec<_>>())
            .bind(shown.iter().map(|(_, _, current)| *current).collect::<Vec<_>>())
            .execute(&mut *self.0)
            .await?;
        }
        let moved = &rows.moved;
        if !moved.is_empty() {
            sqlx::query(
                "UPDATE search_answers s SET seen = new.seen FROM UNNEST($1::bigint[], $2::bigint[]) AS new (image, seen) \
                 JOIN analyses a ON a.image = new.image WHERE s.id = a.id",
            )
            .bind(moved.iter().map(|(digest, _)| numbers.of(digest)).collect::<Vec<_>>())
            .bind(moved.iter().map(|(_, seen)| *seen).collect::<Vec<_>>())
            .execute(&mut *self.0)
            .await?;
        }
        // In the order of words, as everybody adds them: two that add the same wait for each other, never both ways.
        let words = self.1.new_of(&rows.words);
        if !words.is_empty() {
            sqlx::query(
                "INSERT INTO search_vocabulary (word) SELECT new.word FROM UNNEST($1::text[]) AS new (word) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(words)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    pub(super) async fn backlogged(&mut self, most: u32) -> Result<Vec<Digest>, Fault> {
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT DISTINCT digest FROM (SELECT i.digest FROM search_backlog b \
             JOIN analyses a ON a.id = b.id JOIN images i ON i.id = a.image ORDER BY b.id LIMIT $1) AS first",
        )
        .bind(i64::from(most))
        .fetch_all(&mut *self.0)
        .await?;
        Ok(found.iter().map(|bytes| digest(bytes)).collect::<Result<_, _>>()?)
    }

    pub(super) async fn forget_backlog(&mut self, digests: &[Digest]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "DELETE FROM search_backlog b USING UNNEST($1::bytea[]) AS asked (digest) JOIN analyses a \
             ON a.image = (SELECT i.id FROM images i WHERE i.digest = asked.digest) WHERE a.id = b.id",
        )
        .bind(list(digests))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
