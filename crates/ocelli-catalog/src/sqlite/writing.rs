//! What one transaction writes to SQLite: inserts of many rows, cut into few sizes for the statement cache.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest};
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite};

use super::{Guard, contents, stored};
use crate::claims::FORGET_CLAIMS_AFTER_MICROSECONDS;
use crate::error::Fault;
use crate::fold::{Key, Stored};
use crate::gather::{body, text_key};
use crate::model::{Hold, SeenJob};
use crate::numbers::Numbers;
use crate::rows::{OutcomeColumns, Rows, column, json, names, rules};
use crate::search::index::IndexRows;
use crate::search::vocabulary::Adding;
use crate::unit::Unit;
use crate::upserts;

/// The clock of the database, in microseconds.
const NOW: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// How many rows one statement inserts: large enough to make the cost per statement small, few enough sizes for the
/// statement cache. 32,766 parameters are the limit of SQLite.
const PIECES: [usize; 4] = [512, 64, 8, 1];

/// A write transaction.
pub(crate) struct Writing(pub(super) Guard, pub(super) Adding, pub(super) Numbers);

pub(super) type Tuple<'row> = Separated<'row, Sqlite, &'static str>;

impl Writing {
    pub(super) async fn insert<T>(
        &mut self,
        head: &str,
        tail: &str,
        rows: &[T],
        mut bind: impl FnMut(&mut Tuple<'_>, &T),
    ) -> Result<(), sqlx::Error> {
        for piece in pieces(rows) {
            let mut query = QueryBuilder::<Sqlite>::new(head);
            query.push_values(piece, |mut tuple, row| bind(&mut tuple, row));
            query.push(tail);
            query.build().execute(&mut *self.0).await?;
        }
        Ok(())
    }

    /// Finds the numbers of the images that rows are about, and numbers those that are new: nobody else writes meanwhile.
    async fn number(&mut self, rows: &Rows) -> Result<Numbers, Fault> {
        let mut numbers = std::mem::take(&mut self.2);
        let missing = numbers.missing(rows);
        if missing.is_empty() {
            return Ok(numbers);
        }
        let unknown = numbers.not_asked(&missing);
        if !unknown.is_empty() {
            numbers.learn(&unknown, &stored(&mut self.0, &unknown).await?);
        }
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM images")
            .fetch_one(&mut *self.0)
            .await?;
        let new = numbers.missing(rows);
        numbers.extend(new.into_iter().zip(last + 1..));
        Ok(numbers)
    }

    async fn write_records(&mut self, rows: &Rows, numbers: &Numbers) -> Result<(), sqlx::Error> {
        self.insert(
            "INSERT INTO images (id, digest, bytes, format, width, height, refusal, first_seen, complete, learned) ",
            upserts::images!(),
            &rows.images,
            |tuple, (digest, image)| {
                let facts = image.facts.as_ref();
                tuple
                    .push_bind(numbers.of(digest))
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(facts.map(|facts| column(facts.bytes)))
                    .push_bind(facts.and_then(|facts| facts.format).map(|format| format.name()))
                    .push_bind(facts.and_then(|facts| facts.width).map(i64::from))
                    .push_bind(facts.and_then(|facts| facts.height).map(i64::from))
                    .push_bind(image.refusal.clone())
                    .push_bind(image.first_seen.map(|at| at.as_microsecond()))
                    .push_bind(image.complete)
                    .push_bind(image.learned.as_ref().map(json));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO perceptual_hashes (digest, algorithm, bits) ",
            " ON CONFLICT DO NOTHING",
            &rows.hashes,
            |tuple, (digest, hash)| {
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(hash.algorithm().to_owned())
                    .push_bind(hash.bits().cast_signed());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO sightings (image, source_key, source, seen_at, batch) ",
            upserts::sightings!(),
            &rows.sightings,
            |tuple, (digest, sighting)| {
                tuple
                    .push_bind(numbers.of(digest))
                    .push_bind(text_key(sighting.source.as_str()).to_vec())
                    .push_bind(sighting.source.as_str().to_owned())
                    .push_bind(sighting.seen_at.as_microsecond())
                    .push_bind(sighting.batch.uuid().into_bytes().to_vec());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO sighting_meta (digest, source_key, name, batch, text, text_key) ",
            upserts::sighting_meta!(),
            &rows.meta,
            |tuple, (digest, source, name, said)| {
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(source.to_vec())
                    .push_bind(name.clone())
                    .push_bind(said.batch.uuid().into_bytes().to_vec())
                    .push_bind(said.text.clone())
                    .push_bind(text_key(&said.text).to_vec());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO batch_images (batch, image, reference_key, source_key, known) ",
            " ON CONFLICT DO NOTHING",
            &rows.members,
            |tuple, member| {
                let (batch, digest, key) = member;
                let found = rows.references.get(member);
                tuple
                    .push_bind(batch.uuid().into_bytes().to_vec())
                    .push_bind(numbers.of(digest))
                    .push_bind(key.to_vec())
                    .push_bind(found.map(|(source, _)| source.to_vec()))
                    .push_bind(found.map(|(_, known)| *known));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO wants (image, analyzer, revision, asked_at, enqueued_at, state, answer, reopened, \
             needs, hold, near, waits_for, rules, rules_after) ",
            upserts::wants!(),
            &rows.wants,
            |tuple, (digest, analyzer, want)| {
                tuple
                    .push_bind(numbers.of(digest))
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(want.revision.as_ref().map(ToString::to_string))
                    .push_bind(want.asked_at.as_microsecond())
                    .push_bind(want.enqueued_at.as_microsecond())
                    .push_bind(want.state.name())
                    .push_bind(want.answer.as_ref().map(ToString::to_string))
                    .push_bind(want.reopened.map(|at| at.as_microsecond()))
                    .push_bind(names(&want.needs))
                    .push_bind(want.hold.map(|hold| hold.name()))
                    .push_bind(want.near.map(i64::from))
                    .push_bind(want.waits_for.map(|digest| digest.as_bytes().to_vec()))
                    .push_bind(rules(&want.rules))
                    .push_bind(names(&want.after));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO analyses (image, analyzer, revision, kind, class, attempts, finished_at, rule, reason, \
             text, reading, provenance) ",
            upserts::analyses!(),
            &rows.analyses,
            |tuple, (digest, analysis)| {
                let outcome = OutcomeColumns::of(&analysis.outcome);
                tuple
                    .push_bind(numbers.of(digest))
                    .push_bind(analysis.analyzer.as_str().to_owned())
                    .push_bind(analysis.revision.as_str().to_owned())
                    .push_bind(analysis.outcome.kind().name())
                    .push_bind(outcome.class)
                    .push_bind(i64::from(analysis.attempts))
                    .push_bind(analysis.finished_at.as_microsecond())
                    .push_bind(outcome.rule)
                    .push_bind(outcome.reason)
                    .push_bind(outcome.text)
                    .push_bind(outcome.reading)
                    .push_bind(json(&analysis.provenance));
            },
        )
        .await
    }

    async fn write_reports(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        self.insert(
            "INSERT INTO deferrals (digest, analyzer, class, reason, attempts, next_at) ",
            upserts::deferrals!(),
            &rows.deferrals,
            |tuple, (digest, analyzer, deferral)| {
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(deferral.class)
                    .push_bind(deferral.reason.clone())
                    .push_bind(i64::from(deferral.attempts))
                    .push_bind(deferral.next_at.as_microsecond());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO workers (analyzer, worker, at, leaving, body, heard_at) ",
            upserts::workers!(),
            &rows.workers,
            |tuple, said| {
                tuple
                    .push_bind(said.analyzer.as_str().to_owned())
                    .push_bind(said.worker.clone())
                    .push_bind(said.at.as_microsecond())
                    .push_bind(said.leaving)
                    .push_bind(body(said))
                    .push(NOW);
            },
        )
        .await?;
        self.insert(
            "INSERT INTO revisions (analyzer, revision, kind, description, first_announced, last_announced) ",
            upserts::revisions!(),
            &rows.revisions,
            |tuple, (analyzer, revision, announced)| {
                tuple
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(revision.as_str().to_owned())
                    .push_bind(announced.kind.clone())
                    .push_bind(announced.description.clone())
                    .push_bind(announced.first.as_microsecond())
                    .push_bind(announced.last.as_microsecond());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO batches (batch, name, started_at, at, finished, accepted, known, skipped, problems) ",
            upserts::batches!(),
            &rows.batches,
            |tuple, report| {
                tuple
                    .push_bind(report.batch.uuid().into_bytes().to_vec())
                    .push_bind(report.name.clone())
                    .push_bind(report.started_at.as_microsecond())
                    .push_bind(report.at.as_microsecond())
                    .push_bind(report.finished)
                    .push_bind(column(report.accepted))
                    .push_bind(column(report.known))
                    .push_bind(column(report.skipped))
                    .push_bind(column(report.problems));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO problems (batch, reference_key, reference, reason, at, source, rule, told) ",
            upserts::problems!(),
            &rows.problems,
            |tuple, (key, problem)| {
                tuple
                    .push_bind(problem.batch.uuid().into_bytes().to_vec())
                    .push_bind(key.to_vec())
                    .push_bind(problem.reference.clone())
                    .push_bind(problem.reason.clone())
                    .push_bind(problem.at.as_microsecond())
                    .push_bind(problem.source.as_ref().map(|source| source.as_str().to_owned()))
                    .push_bind(problem.rule.clone())
                    .push_bind(problem.told.as_ref().map(json));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO dead_letters (letter, at, queue, message_id, reason, fate, digest, analyzer, size, body) ",
            " ON CONFLICT DO NOTHING",
            &rows.letters,
            |tuple, letter| {
                tuple
                    .push_bind(letter.key.to_vec())
                    .push_bind(letter.at.as_microsecond())
                    .push_bind(letter.queue.clone())
                    .push_bind(letter.message_id.clone())
                    .push_bind(letter.reason.clone())
                    .push_bind(letter.fate.name())
                    .push_bind(letter.digest.map(|digest| digest.as_bytes().to_vec()))
                    .push_bind(letter.analyzer.as_ref().map(ToString::to_string))
                    .push_bind(column(letter.size))
                    .push_bind(letter.body.clone());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO fences (analyzer, published_at, passed_at) ",
            upserts::fences!(),
            &rows.fences,
            |tuple, (analyzer, published_at)| {
                tuple
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(published_at.as_microsecond())
                    .push(NOW);
            },
        )
        .await
    }

    /// Notes what is taken out or settled by people's will, while it is still there.
    async fn note(&mut self, digest: Digest, key: &Key, event: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO events (at, kind, digest, analyzer, detail) \
             SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), $4, $1, analyzer, \
             json_object('revision', revision, 'class', class, 'reason', reason, 'attempts', attempts, \
             'finished_at', finished_at) FROM analyses WHERE image = (SELECT id FROM images WHERE digest = $1) \
             AND analyzer = $2 AND revision = $3 AND kind = 'failed'",
        )
        .bind(digest.as_bytes().to_vec())
        .bind(key.0.as_str())
        .bind(key.1.as_str())
        .bind(event)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn forget(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        for (digest, key) in &rows.discarded {
            self.note(*digest, key, upserts::DISCARDED).await?;
        }
        for (digest, key) in &rows.forgotten {
            self.note(*digest, key, upserts::REOPENED).await?;
            sqlx::query(
                "DELETE FROM analyses WHERE image = (SELECT id FROM images WHERE digest = $1) AND analyzer = $2 \
                 AND revision = $3 AND kind = 'failed'",
            )
            .bind(digest.as_bytes().to_vec())
            .bind(key.0.as_str())
            .bind(key.1.as_str())
            .execute(&mut *self.0)
            .await?;
            sqlx::query("DELETE FROM deferrals WHERE digest = $1 AND analyzer = $2")
                .bind(digest.as_bytes().to_vec())
                .bind(key.0.as_str())
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }
}

impl Unit for Writing {
    async fn load(&mut self, digests: &[Digest]) -> Result<BTreeMap<Digest, Stored>, Fault> {
        let stored = stored(&mut self.0, digests).await?;
        self.2.learn(digests, &stored);
        Ok(stored)
    }

    async fn contents(&mut self, digests: &[Digest]) -> Result<Vec<(Digest, Analysis)>, Fault> {
        contents(&mut self.0, digests).await
    }

    async fn write(&mut self, rows: &Rows) -> Result<(), Fault> {
        self.forget(rows).await?;
        let numbers = self.number(rows).await?;
        self.write_records(rows, &numbers).await?;
        self.2 = numbers;
        self.write_reports(rows).await?;
        if !rows.workers.is_empty() {
            sqlx::query("DELETE FROM workers WHERE heard_at < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - $1")
                .bind(upserts::FORGET_WORKERS_AFTER_MICROSECONDS)
                .execute(&mut *self.0)
                .await?;
            sqlx::query("DELETE FROM claims WHERE calls = 0 AND renewed_at < CAST(unixepoch('subsec') * 1000000 AS INTEGER) - $1")
                .bind(FORGET_CLAIMS_AFTER_MICROSECONDS)
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }

    async fn buried(&mut self, letters: &[[u8; 16]]) -> Result<BTreeSet<[u8; 16]>, Fault> {
        let mut known = BTreeSet::new();
        for letter in letters {
            let found: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM dead_letters WHERE letter = $1)")
                    .bind(letter.to_vec())
                    .fetch_one(&mut *self.0)
                    .await?;
            if found {
                known.insert(*letter);
            }
        }
        Ok(known)
    }

    async fn claim(
        &mut self,
        jobs: &[SeenJob],
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
        let mut claimed = BTreeSet::new();
        for (digest, analyzer, seen) in jobs {
            let done = sqlx::query(
                "UPDATE wants SET enqueued_at = $3 WHERE image = (SELECT id FROM images WHERE digest = $1) AND analyzer = $2 \
                 AND enqueued_at = $4 AND state = 'open'",
            )
            .bind(digest.as_bytes().to_vec())
            .bind(analyzer.as_str())
            .bind(at.as_microsecond())
            .bind(seen.as_microsecond())
            .execute(&mut *self.0)
            .await?;
            if done.rows_affected() > 0 {
                claimed.insert((*digest, analyzer.clone()));
            }
        }
        Ok(claimed)
    }

    async fn hold(
        &mut self,
        jobs: &[SeenJob],
        hold: Option<Hold>,
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
        let mut changed = BTreeSet::new();
        for (digest, analyzer, seen) in jobs {
            let done = sqlx::query(
                "UPDATE wants SET enqueued_at = $3, hold = $5 WHERE image = (SELECT id FROM images WHERE digest = $1) \
                 AND analyzer = $2 AND enqueued_at = $4 AND hold IN ('ready', 'taken')",
            )
            .bind(digest.as_bytes().to_vec())
            .bind(analyzer.as_str())
            .bind(at.as_microsecond())
            .bind(seen.as_microsecond())
            .bind(hold.map(|hold| hold.name()))
            .execute(&mut *self.0)
            .await?;
            if done.rows_affected() > 0 {
                changed.insert((*digest, analyzer.clone()));
            }
        }
        Ok(changed)
    }

    async fn index(&mut self, rows: &IndexRows) -> Result<(), Fault> {
        Ok(self.write_index(rows).await?)
    }

    async fn backlog(&mut self, most: u32) -> Result<Vec<Digest>, Fault> {
        self.backlogged(most).await
    }

    async fn caught_up(&mut self, digests: &[Digest]) -> Result<(), Fault> {
        Ok(self.forget_backlog(digests).await?)
    }

    async fn commit(self) -> Result<(), Fault> {
        self.0.end().await?;
        self.1.committed();
        Ok(())
    }
}

/// Cuts rows into the sizes of [`PIECES`], largest first.
fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = PIECES.into_iter().find(|size| rows.len() >= *size)?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_few_sizes_in_order() {
        let rows: Vec<usize> = (0..662).collect();
        let sizes: Vec<usize> = pieces(&rows).map(<[usize]>::len).collect();
        assert_eq!(sizes, [512, 64, 64, 8, 8, 1, 1, 1, 1, 1, 1]);
        assert!(pieces(&rows).flatten().eq(&rows));
    }
}
