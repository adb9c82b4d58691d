//! Questions about single images and jobs.

use std::collections::{BTreeMap, HashMap};

use async_recursion::async_recursion;
use futures_util::stream::{self, StreamExt as _};
use ocelli_core::{AnalyzerName, Digest, DigestPrefix, Record, Revision, SourceUri};

use crate::catalog::{Catalog, ask, snapshot};
use crate::error::{CatalogError, Fault};
use crate::gather::{micros, text_key};
use crate::load;
use crate::load::KnownColumns;
use crate::model::{Known, OpenJob, OpenJobs};
use crate::rows::{Read, digest, facts, parse, parse_some, time, unreadable};
use crate::search::Detail;

/// Digests of one lookup statement: 10,000 are a parameter of less than a megabyte.
const LOOKED_UP_AT_ONCE: usize = 10_000;
/// Lookups under way: while one answer is read, the database works on the next.
const LOOKED_UP_BESIDE: usize = 2;

pub(crate) type OpenColumns = (
    Vec<u8>,
    String,
    Option<String>,
    i64,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<String>,
);

/// A job that waits for an image of which nothing is asked any more is as good as ready: the next look makes it so.
macro_rules! open_columns {
    () => {
        "SELECT i.digest, w.analyzer, w.revision, w.enqueued_at, i.bytes, i.format, i.width, i.height, \
         d.next_at, w.needs, CASE WHEN w.waits_for IS NOT NULL AND NOT EXISTS (SELECT 1 FROM wants f \
         WHERE f.image = (SELECT o.id FROM images o WHERE o.digest = w.waits_for) AND f.analyzer = w.analyzer \
         AND f.state = 'open') THEN 'ready' ELSE w.hold END, w.near, w.rules FROM wants w CROSS JOIN images i \
         LEFT JOIN deferrals d ON d.digest = i.digest AND d.analyzer = w.analyzer \
         WHERE i.id = w.image AND w.state = 'open'"
    };
}

pub(crate) use open_columns;

impl Catalog {
    /// What is known about these images, for any number of them. Unknown ones are missing from the answer; images of
    /// which only an analysis arrived are in it.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn lookup(&self, digests: &[Digest]) -> Result<HashMap<Digest, Known>, CatalogError> {
        let mut all = HashMap::with_capacity(digests.len());
        // In the order of the index, whose pages are then looked at once instead of once for each image.
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        let parts = digests.chunks(LOOKED_UP_AT_ONCE);
        let lookups: Vec<_> = parts.map(|part| self.lookup_part(part)).collect();
        let mut lookups = stream::iter(lookups).buffer_unordered(LOOKED_UP_BESIDE);
        while let Some(rows) = lookups.next().await {
            for row in rows? {
                let (digest, known) = known(&row).map_err(|error| self.unreadable(error))?;
                all.insert(digest, known);
            }
        }
        Ok(all)
    }

    async fn lookup_part(&self, part: &[Digest]) -> Result<Vec<KnownColumns>, CatalogError> {
        let rows = snapshot!(keyed, self, connection, backend => {
            backend::known(connection, part).await
        });
        self.timed("look up images", rows).await
    }

    /// Whether this key has an outcome, so that the job need not be done.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn is_done(
        &self,
        digest: &Digest,
        analyzer: &AnalyzerName,
        revision: &Revision,
    ) -> Result<bool, CatalogError> {
        ask!(self, "look up an analysis", pool => sqlx::query_scalar::<_, bool>(
            "SELECT EXISTS (SELECT 1 FROM analyses WHERE image = (SELECT id FROM images WHERE digest = $1) \
             AND analyzer = $2 AND revision = $3)",
        )
        .bind(digest.as_bytes().as_slice())
        .bind(analyzer.as_str())
        .bind(revision.as_str())
        .fetch_one(pool))
    }

    /// The whole record of an image; `None` when no intake of it has arrived.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record(&self, digest: &Digest) -> Result<Option<Record>, CatalogError> {
        Ok(self.records(&[*digest], Detail::Whole).await?.remove(digest))
    }

    /// Images whose digest begins with `prefix`, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn find(
        &self,
        prefix: &DigestPrefix,
        limit: u32,
    ) -> Result<Vec<Digest>, CatalogError> {
        let (low, high) = prefix.range();
        let rows: Vec<Vec<u8>> = ask!(self, "find images", pool => sqlx::query_scalar(
            "SELECT digest FROM images WHERE digest BETWEEN $1 AND $2 AND bytes IS NOT NULL ORDER BY digest LIMIT $3",
        )
        .bind(low.as_bytes().as_slice())
        .bind(high.as_bytes().as_slice())
        .bind(i64::from(limit))
        .fetch_all(pool))?;
        rows.iter()
            .map(|bytes| digest(bytes))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// The image that was seen last at `source`.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn find_source(&self, source: &SourceUri) -> Result<Option<Digest>, CatalogError> {
        let row: Option<Vec<u8>> = ask!(self, "find a source", pool => sqlx::query_scalar(
            "SELECT i.digest FROM sightings s CROSS JOIN images i WHERE substr(s.source, 1, 128) = substr($2, 1, 128) \
             AND s.source_key = $1 AND i.id = s.image \
             ORDER BY s.seen_at DESC, s.batch DESC, i.digest DESC LIMIT 1",
        )
        .bind(text_key(source.as_str()).to_vec())
        .bind(source.as_str())
        .fetch_optional(pool))?;
        row.map(|bytes| digest(&bytes)).transpose().map_err(|error| self.unreadable(error))
    }

    /// A page of jobs that wait for an outcome, in the order in which their images came, then by analyzer. Behind an image that is
    /// not here there is nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn open_jobs(&self, query: &OpenJobs) -> Result<Vec<OpenJob>, CatalogError> {
        let (after, after_analyzer) = match &query.after {
            Some((digest, analyzer)) => (digest.as_bytes().as_slice(), analyzer.as_str()),
            None => (&[][..], ""),
        };
        let rows = snapshot!(keyed, self, connection, backend => {
            let jobs: Vec<OpenColumns> = sqlx::query_as(concat!(
                open_columns!(),
                " AND w.enqueued_at < $1 AND (w.image, w.analyzer) > \
                 (coalesce((SELECT id FROM images WHERE digest = $2), CASE WHEN length($2) = 0 THEN 0 END), $3) \
                 AND (CAST($4 AS TEXT) IS NULL OR w.analyzer = $4) ORDER BY w.image, w.analyzer LIMIT $5",
            ))
            .bind(micros(query.enqueued_before).as_microsecond())
            .bind(after)
            .bind(after_analyzer)
            .bind(query.analyzer.as_ref().map(AnalyzerName::as_str))
            .bind(i64::from(query.limit))
            .fetch_all(&mut *connection)
            .await?;
            let mut digests: Vec<Digest> = Vec::with_capacity(jobs.len());
            for job in &jobs {
                digests.push(digest(&job.0)?);
            }
            digests.dedup();
            let sources = backend::sources(connection, &digests).await?;
            Ok::<_, Fault>((jobs, sources))
        });
        let (jobs, rows) = self.timed("list open jobs", rows).await?;
        read_jobs(jobs, rows).map_err(|error| self.unreadable(error))
    }

    /// One job, if it waits for an outcome.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn open_job(
        &self,
        image: &Digest,
        analyzer: &AnalyzerName,
    ) -> Result<Option<OpenJob>, CatalogError> {
        let rows = snapshot!(keyed, self, connection, backend => {
            let job: Vec<OpenColumns> = sqlx::query_as(concat!(
                open_columns!(),
                " AND w.image = (SELECT id FROM images WHERE digest = $1) AND w.analyzer = $2"
            ))
            .bind(image.as_bytes().as_slice())
            .bind(analyzer.as_str())
            .fetch_all(&mut *connection)
            .await?;
            let sources = backend::sources(connection, &[*image]).await?;
            Ok::<_, Fault>((job, sources))
        });
        let (job, rows) = self.timed("look up an open job", rows).await?;
        let jobs = read_jobs(job, rows).map_err(|error| self.unreadable(error))?;
        Ok(jobs.into_iter().next())
    }

    pub(crate) fn unreadable(&self, error: crate::rows::Unreadable) -> CatalogError {
        Fault::Unreadable(error).at(&self.place, "read")
    }
}

pub(crate) fn read_jobs(
    jobs: Vec<OpenColumns>,
    rows: Vec<(Vec<u8>, String)>,
) -> Read<Vec<OpenJob>> {
    let mut sources: BTreeMap<Vec<u8>, Vec<SourceUri>> = BTreeMap::new();
    for (bytes, source) in rows {
        sources.entry(bytes).or_default().push(parse("source", &source)?);
    }
    jobs.into_iter()
        .map(|job| {
            let places = sources.get(&job.0).cloned().unwrap_or_default();
            open_job(job, places)
        })
        .collect()
}

fn known((bytes, refused, answered, wanted): &KnownColumns) -> Read<(Digest, Known)> {
    let mut known = Known { refused: *refused, ..Known::default() };
    // Neither names nor revisions have a space or a comma.
    for entry in answered.iter().flat_map(|list| list.split(',')) {
        let (analyzer, revision) =
            entry.split_once(' ').ok_or_else(|| unreadable("analysis", entry))?;
        known.answered.insert((parse("analyzer name", analyzer)?, parse("revision", revision)?));
    }
    for entry in wanted.iter().flat_map(|list| list.split(',')) {
        let mut parts = entry.split(' ');
        let (Some(analyzer), Some(revision), Some(state)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(unreadable("want", entry));
        };
        let analyzer: AnalyzerName = parse("analyzer name", analyzer)?;
        if state == "open" {
            known.open.insert(analyzer.clone());
        }
        let revision = Some(revision).filter(|revision| !revision.is_empty());
        known.wanted.insert(analyzer, parse_some("revision", revision)?);
    }
    Ok((digest(bytes)?, known))
}

fn open_job(row: OpenColumns, sources: Vec<SourceUri>) -> Read<OpenJob> {
    let (
        bytes,
        analyzer,
        revision,
        enqueued_at,
        size,
        format,
        width,
        height,
        next_at,
        needs,
        hold,
        near,
        rules,
    ) = row;
    let digest = digest(&bytes)?;
    Ok(OpenJob {
        image: facts(digest, size, format.as_deref(), width, height)?
            .ok_or_else(|| unreadable("image", "a want without an intake"))?,
        sources,
        analyzer: parse("analyzer name", &analyzer)?,
        revision: parse_some("revision", revision.as_deref())?,
        enqueued_at: time(enqueued_at)?,
        next_at: next_at.map(time).transpose()?,
        needs: load::needs_of(needs.as_deref())?,
        hold: load::hold_of(hold.as_deref())?,
        near: near.map(|near| crate::rows::number("distance", near)).transpose()?,
        rules: load::rules_of(rules.as_deref())?,
    })
}
