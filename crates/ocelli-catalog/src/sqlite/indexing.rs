//! What one transaction writes into the search index of SQLite. Triggers carry texts on into the FTS tables.

use ocelli_core::Digest;

use super::list;
use super::writing::Writing;
use crate::error::Fault;
use crate::rows::{digest, json};
use crate::search::index::IndexRows;

impl Writing {
    pub(super) async fn write_index(&mut self, rows: &IndexRows) -> Result<(), sqlx::Error> {
        self.insert(
            "WITH new (digest, analyzer, revision, kind, current, seen, words, confidence, languages, model, flags) AS (",
            ") INSERT INTO search_answers (id, digest, analyzer, kind, current, seen, words, confidence, languages, model, \
             flags) SELECT a.id, new.digest, new.analyzer, new.kind, new.current, new.seen, new.words, new.confidence, \
             new.languages, new.model, new.flags FROM new CROSS JOIN images i CROSS JOIN analyses a \
             WHERE i.digest = new.digest AND a.image = i.id AND a.analyzer = new.analyzer AND a.revision = new.revision ON CONFLICT (id) DO UPDATE SET \
             kind = excluded.kind, seen = excluded.seen, words = excluded.words, confidence = excluded.confidence, \
             languages = excluded.languages, model = excluded.model, flags = excluded.flags",
            &rows.answers,
            |tuple, row| {
                tuple
                    .push_bind(row.digest.as_bytes().to_vec())
                    .push_bind(row.key.0.as_str().to_owned())
                    .push_bind(row.key.1.as_str().to_owned())
                    .push_bind(row.kind)
                    .push_bind(row.current)
                    .push_bind(row.seen)
                    .push_bind(row.words)
                    .push_bind(row.confidence)
                    .push_bind(row.languages.clone())
                    .push_bind(row.model.clone())
                    .push_bind(row.flags.clone());
            },
        )
        .await?;
        let texts: Vec<_> =
            rows.answers.iter().filter_map(|row| Some((row, row.text.as_ref()?))).collect();
        self.insert(
            "WITH new (digest, analyzer, revision, text) AS (",
            ") INSERT INTO search_texts (id, text) SELECT a.id, new.text FROM new CROSS JOIN images i CROSS JOIN analyses a \
             WHERE i.digest = new.digest AND a.image = i.id AND a.analyzer = new.analyzer AND a.revision = new.revision \
             ON CONFLICT (id) DO UPDATE SET text = excluded.text",
            &texts,
            |tuple, (row, text)| {
                tuple
                    .push_bind(row.digest.as_bytes().to_vec())
                    .push_bind(row.key.0.as_str().to_owned())
                    .push_bind(row.key.1.as_str().to_owned())
                    .push_bind((*text).clone());
            },
        )
        .await?;
        for (digest, key, current) in &rows.shown {
            sqlx::query(
                "UPDATE search_answers SET current = $4 WHERE id = (SELECT id FROM analyses \
                 WHERE image = (SELECT id FROM images WHERE digest = $1) AND analyzer = $2 AND revision = $3)",
            )
            .bind(digest.as_bytes().to_vec())
            .bind(key.0.as_str())
            .bind(key.1.as_str())
            .bind(*current)
            .execute(&mut *self.0)
            .await?;
        }
        for (digest, seen) in &rows.moved {
            sqlx::query(
                "UPDATE search_answers SET seen = $2 WHERE id IN (SELECT a.id FROM images i CROSS JOIN analyses a \
                 WHERE i.digest = $1 AND a.image = i.id)",
            )
            .bind(digest.as_bytes().to_vec())
            .bind(*seen)
            .execute(&mut *self.0)
            .await?;
        }
        let words = self.1.new_of(rows.vocabulary());
        if !words.is_empty() {
            sqlx::query(
                "INSERT INTO search_vocabulary (word) SELECT value FROM json_each($1) WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(json(&words))
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    pub(super) async fn backlogged(&mut self, most: u32) -> Result<Vec<Digest>, Fault> {
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT DISTINCT digest FROM (SELECT i.digest FROM search_backlog b \
             JOIN analyses a ON a.id = b.id JOIN images i ON i.id = a.image ORDER BY b.id LIMIT $1)",
        )
        .bind(most)
        .fetch_all(&mut *self.0)
        .await?;
        Ok(found.iter().map(|bytes| digest(bytes)).collect::<Result<_, _>>()?)
    }

    pub(super) async fn forget_backlog(&mut self, digests: &[Digest]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "DELETE FROM search_backlog WHERE id IN (SELECT a.id FROM json_each($1) asked \
             CROSS JOIN images i CROSS JOIN analyses a WHERE i.digest = unhex(asked.value) AND a.image = i.id)",
        )
        .bind(list(digests))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
