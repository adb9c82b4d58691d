//! What one transaction writes to PostgreSQL: one `UNNEST` statement for all rows of a table.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest};
use sqlx::{Postgres, Transaction};

use super::sorting::Added;
use super::{contents, stored};
use crate::claims::FORGET_CLAIMS_AFTER_MICROSECONDS;
use crate::error::Fault;
use crate::fold::{Key, Stored};
use crate::gather::{body, text_key};
use crate::model::{Hold, SeenJob};
use crate::numbers::Numbers;
use crate::rows::{OutcomeColumns, Rows, column, json, keys, names, rules};
use crate::search::{index::IndexRows, vocabulary::Adding};
use crate::unit::Unit;
use crate::upserts;

/// A write transaction.
pub(crate) struct Writing(
    pub(super) Transaction<'static, Postgres>,
    pub(super) Adding,
    pub(super) Numbers,
    pub(super) Added,
);

impl Writing {
    async fn write_sightings(&mut self, rows: &Rows, numbers: &Numbers) -> Result<(), sqlx::Error> {
        let rows = &rows.sightings;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO sightings (image, source_key, source, seen_at, batch) ",
            "SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::text[], $4::bigint[], $5::bytea[])",
            upserts::sightings!()
        ))
        .bind(rows.iter().map(|(digest, _)| numbers.of(digest)).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|(_, sighting)| text_key(sighting.source.as_str()).to_vec())
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|(_, sighting)| sighting.source.as_str()).collect::<Vec<_>>())
        .bind(
            rows.iter().map(|(_, sighting)| sighting.seen_at.as_microsecond()).collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|(_, sighting)| sighting.batch.uuid().into_bytes().to_vec())
                .collect::<Vec<_>>(),
        )
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_meta(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.meta;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO sighting_meta (digest, source_key, name, batch, text, text_key) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::bytea[], $5::text[], $6::bytea[])",
            upserts::sighting_meta!()
        ))
        .bind(rows.iter().map(|(digest, ..)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, source, ..)| source.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, name, _)| name.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(.., said)| said.batch.uuid().into_bytes().to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(.., said)| said.text.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(.., said)| text_key(&said.text).to_vec()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_letters(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.letters;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO dead_letters (letter, at, queue, message_id, reason, fate, digest, analyzer, size, body) \
             SELECT * FROM UNNEST($1::bytea[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], \
             $7::bytea[], $8::text[], $9::bigint[], $10::bytea[]) ON CONFLICT DO NOTHING",
        )
        .bind(rows.iter().map(|letter| letter.key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|letter| letter.at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|letter| letter.queue.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|letter| letter.message_id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|letter| letter.fate.name()).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|letter| letter.digest.as_ref().map(|digest| digest.as_bytes().as_slice()))
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|letter| letter.analyzer.as_ref().map(AnalyzerName::as_str))
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|letter| column(letter.size)).collect::<Vec<_>>())
        .bind(rows.iter().map(|letter| letter.body.as_slice()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_wants(&mut self, rows: &Rows, numbers: &Numbers) -> Result<(), sqlx::Error> {
        let rows = &rows.wants;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO wants (image, analyzer, revision, asked_at, enqueued_at, state, answer, reopened, needs, hold, near, waits_for, rules, rules_after) ",
            "SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::bigint[], $12::bytea[], $13::text[], $14::text[])",
            upserts::wants!()
        ))
        .bind(rows.iter().map(|(digest, _, _)| numbers.of(digest)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.revision.as_ref().map(|revision| revision.as_str())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.asked_at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.enqueued_at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.state.name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.answer.as_ref().map(|revision| revision.as_str())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.reopened.map(|at| at.as_microsecond())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| names(&want.needs)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.hold.map(|hold| hold.name())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.near.map(i64::from)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.waits_for.as_ref().map(|digest| digest.as_bytes().as_slice())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| rules(&want.rules)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| names(&want.after)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_analyses(&mut self, rows: &Rows, numbers: &Numbers) -> Result<(), sqlx::Error> {
        let rows = &rows.analyses;
        if rows.is_empty() {
            return Ok(());
        }
        let mut outcomes: Vec<OutcomeColumns> =
            rows.iter().map(|(_, analysis)| OutcomeColumns::of(&analysis.outcome)).collect();
        let mut texts = |field: fn(&mut OutcomeColumns) -> &mut Option<String>| {
            outcomes.iter_mut().map(|outcome| field(outcome).take()).collect::<Vec<_>>()
        };
        sqlx::query(concat!(
            "INSERT INTO analyses (image, analyzer, revision, kind, attempts, finished_at, class, rule, reason, ",
            "text, reading, provenance) SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::text[], ",
            "$5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])",
            upserts::analyses!()
        ))
        .bind(rows.iter().map(|(digest, _)| numbers.of(digest)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.revision.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.outcome.kind().name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| i64::from(row.attempts)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.finished_at.as_microsecond()).collect::<Vec<_>>())
        .bind(texts(|outcome| &mut outcome.class))
        .bind(texts(|outcome| &mut outcome.rule))
        .bind(texts(|outcome| &mut outcome.reason))
        .bind(texts(|outcome| &mut outcome.text))
        .bind(texts(|outcome| &mut outcome.reading))
        .bind(rows.iter().map(|(_, row)| json(&row.provenance)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_deferrals(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.deferrals;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO deferrals (digest, analyzer, class, reason, attempts, next_at) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])",
            upserts::deferrals!()
        ))
        .bind(rows.iter().map(|(digest, _, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| deferral.class).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| deferral.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| i64::from(deferral.attempts)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| deferral.next_at.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_workers(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.workers;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO workers (analyzer, worker, at, leaving, body, heard_at) SELECT analyzer, worker, at, leaving, body, ",
            "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint ",
            "FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bool[], $5::text[]) AS said (analyzer, worker, at, leaving, body)",
            upserts::workers!()
        ))
        .bind(rows.iter().map(|said| said.analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| said.worker.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| said.at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| said.leaving).collect::<Vec<_>>())
        .bind(rows.iter().map(body).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_revisions(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.revisions;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO revisions (analyzer, revision, kind, description, first_announced, last_announced) ",
            "SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])",
            upserts::revisions!()
        ))
        .bind(rows.iter().map(|(analyzer, _, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, revision, _)| revision.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.kind.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.description.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.first.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.last.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_batches(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.batches;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO batches (batch, name, started_at, at, finished, accepted, known, skipped, problems) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])",
            upserts::batches!()
        ))
        .bind(rows.iter().map(|report| report.batch.uuid().into_bytes().to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.name.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.started_at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.finished).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.accepted)).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.known)).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.skipped)).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.problems)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_fences(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        if rows.fences.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO fences (analyzer, published_at, passed_at) SELECT analyzer, published_at, ",
            "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint ",
            "FROM UNNEST($1::text[], $2::bigint[]) AS passed (analyzer, published_at)",
            upserts::fences!()
        ))
        .bind(rows.fences.iter().map(|(analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.fences.iter().map(|(_, at)| at.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Runs a statement for keys of analyses; `$4` is the kind of the event, where it makes one.
    async fn for_keys(
        &mut self,
        statement: &'static str,
        keys: &[(Digest, Key)],
        event: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        let query = sqlx::query(statement)
            .bind(keys.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
            .bind(keys.iter().map(|(_, key)| key.0.as_str()).collect::<Vec<_>>())
            .bind(keys.iter().map(|(_, key)| key.1.as_str()).collect::<Vec<_>>());
        match event {
            Some(event) => query.bind(event).execute(&mut *self.0).await?,
            None => query.execute(&mut *self.0).await?,
        };
        Ok(())
    }

    /// Notes what is taken out or settled by people's will while it is still there, then takes it out.
    async fn forget(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        const NOTE: &str = "INSERT INTO events (at, kind, digest, analyzer, detail) \
             SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint, $4, gone.digest, \
             a.analyzer, json_build_object('revision', a.revision, 'class', a.class, 'reason', a.reason, \
             'attempts', a.attempts, 'finished_at', a.finished_at)::text \
             FROM UNNEST($1::bytea[], $2::text[], $3::text[]) AS gone (digest, analyzer, revision) \
             JOIN analyses a ON a.image = (SELECT i.id FROM images i WHERE i.digest = gone.digest) AND a.analyzer = gone.analyzer \
             AND a.revision = gone.revision WHERE a.kind = 'failed'";
        if !rows.discarded.is_empty() {
            self.for_keys(NOTE, &rows.discarded, Some(upserts::DISCARDED)).await?;
        }
        let gone = &rows.forgotten;
        if gone.is_empty() {
            return Ok(());
        }
        self.for_keys(NOTE, gone, Some(upserts::REOPENED)).await?;
        for statement in [
            "DELETE FROM deferrals d USING UNNEST($1::bytea[], $2::text[], $3::text[]) \
             AS gone (digest, analyzer, revision) WHERE d.digest = gone.digest AND d.analyzer = gone.analyzer",
            "DELETE FROM search_answers s USING UNNEST($1::bytea[], $2::text[], $3::text[]) \
             AS gone (digest, analyzer, revision) JOIN analyses a ON a.image = (SELECT i.id FROM images i WHERE i.digest = gone.digest) \
             AND a.analyzer = gone.analyzer AND a.revision = gone.revision AND a.kind = 'failed' WHERE s.id = a.id",
            "DELETE FROM analyses a USING UNNEST($1::bytea[], $2::text[], $3::text[]) \
             AS gone (digest, analyzer, revision) WHERE a.image = (SELECT i.id FROM images i WHERE i.digest = gone.digest) \
             AND a.analyzer = gone.analyzer AND a.revision = gone.revision AND a.kind = 'failed'",
        ] {
            self.for_keys(statement, gone, None).await?;
        }
        Ok(())
    }
}

impl Unit for Writing {
    async fn load(&mut self, digests: &[Digest]) -> Result<BTreeMap<Digest, Stored>, Fault> {
        self.lock(digests).await?;
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
        self.write_images(rows, &numbers).await?;
        self.write_hashes(rows).await?;
        self.write_sightings(rows, &numbers).await?;
        self.write_meta(rows).await?;
        self.write_members(rows, &numbers).await?;
        self.write_wants(rows, &numbers).await?;
        self.write_analyses(rows, &numbers).await?;
        self.2 = numbers;
        self.write_deferrals(rows).await?;
        self.write_workers(rows).await?;
        self.write_revisions(rows).await?;
        self.write_batches(rows).await?;
        self.write_problems(rows).await?;
        self.write_letters(rows).await?;
        self.write_fences(rows).await?;
        if !rows.workers.is_empty() {
            sqlx::query(
                "DELETE FROM workers WHERE heard_at < \
                 (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint - $1",
            )
            .bind(upserts::FORGET_WORKERS_AFTER_MICROSECONDS)
            .execute(&mut *self.0)
            .await?;
            sqlx::query(
                "DELETE FROM claims WHERE calls = 0 AND renewed_at < \
                 (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint - $1",
            )
            .bind(FORGET_CLAIMS_AFTER_MICROSECONDS)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn buried(&mut self, letters: &[[u8; 16]]) -> Result<BTreeSet<[u8; 16]>, Fault> {
        let keys: Vec<&[u8]> = letters.iter().map(<[u8; 16]>::as_slice).collect();
        let known: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT letter FROM dead_letters WHERE letter = ANY($1)")
                .bind(keys)
                .fetch_all(&mut *self.0)
                .await?;
        Ok(known.iter().filter_map(|key| key.as_slice().try_into().ok()).collect())
    }

    async fn claim(
        &mut self,
        jobs: &[SeenJob],
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
        // The same lock as for messages, so that the two never meet head-on.
        let digests: Vec<&[u8]> =
            jobs.iter().map(|(digest, _, _)| digest.as_bytes().as_slice()).collect();
        sqlx::query("SELECT 1 FROM images WHERE digest = ANY($1) ORDER BY digest FOR UPDATE")
            .bind(&digests)
            .execute(&mut *self.0)
            .await?;
        let claimed: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "UPDATE wants w SET enqueued_at = $4 \
             FROM UNNEST($1::bytea[], $2::text[], $3::bigint[]) AS job (digest, analyzer, seen) \
             WHERE w.image = (SELECT i.id FROM images i WHERE i.digest = job.digest) AND w.analyzer = job.analyzer AND w.enqueued_at = job.seen \
             AND w.state = 'open' RETURNING job.digest, w.analyzer",
        )
        .bind(&digests)
        .bind(jobs.iter().map(|(_, analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|(_, _, seen)| seen.as_microsecond()).collect::<Vec<_>>())
        .bind(at.as_microsecond())
        .fetch_all(&mut *self.0)
        .await?;
        keys(&claimed)
    }

    async fn hold(
        &mut self,
        jobs: &[SeenJob],
        hold: Option<Hold>,
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
        // The same lock as for messages: they write whole rows of wants.
        let digests: Vec<&[u8]> =
            jobs.iter().map(|(digest, _, _)| digest.as_bytes().as_slice()).collect();
        sqlx::query("SELECT 1 FROM images WHERE digest = ANY($1) ORDER BY digest FOR UPDATE")
            .bind(&digests)
            .execute(&mut *self.0)
            .await?;
        let changed: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "UPDATE wants w SET enqueued_at = $4, hold = $5 \
             FROM UNNEST($1::bytea[], $2::text[], $3::bigint[]) AS job (digest, analyzer, seen) \
             WHERE w.image = (SELECT i.id FROM images i WHERE i.digest = job.digest) AND w.analyzer = job.analyzer AND w.enqueued_at = job.seen \
             AND w.hold IN ('ready', 'taken') RETURNING job.digest, w.analyzer",
        )
        .bind(&digests)
        .bind(jobs.iter().map(|(_, analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|(_, _, seen)| seen.as_microsecond()).collect::<Vec<_>>())
        .bind(at.as_microsecond())
        .bind(hold.map(|hold| hold.name()))
        .fetch_all(&mut *self.0)
        .await?;
        keys(&changed)
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
        self.0.commit().await?;
        self.1.committed();
        self.3.committed();
        Ok(())
    }
}
