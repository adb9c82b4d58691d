//! Whole records, page by page in the order of their first sightings: for whoever takes an archive out.
//!
//! Images that are seen first later come later, so whoever remembers the last place gets what is new from there. Absent on
//! purpose: one state of the archive for all pages, which would keep a database from forgetting anything for hours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use async_recursion::async_recursion;
use ocelli_core::{Digest, Record};

use super::run::{Plan, fetch};
use super::sql::{Dialect, SEEN, Sql, Value};
use super::walk::all;
use crate::answers::record;
use crate::catalog::{Catalog, Store, snapshot};
use crate::error::{CatalogError, Fault};
use crate::load::{self, AnalysisColumns, ImageColumns, WantColumns};
use crate::query::Query;
use crate::rows::{Read, digest};

/// A record's place in the order of first sightings. As text it is opaque for everyone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(crate) seen: i64,
    /// Which image.
    pub digest: Digest,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p1.{}.{}", self.seen, self.digest)
    }
}

/// Why a text is no [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of an export; take the one that an export ended with")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;
    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (seen, digest) =
            text.strip_prefix("p1.").and_then(|rest| rest.split_once('.')).ok_or(NoPlace)?;
        Ok(Self {
            seen: seen.parse().map_err(|_| NoPlace)?,
            digest: digest.parse().map_err(|_| NoPlace)?,
        })
    }
}

type SightingColumns = (Vec<u8>, String, i64, Vec<u8>);
/// The same for what lists said.
type SaidColumns = (Vec<u8>, Vec<u8>, String, Vec<u8>, String);

impl Catalog {
    /// The places of the next records that match, behind `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn places(
        &self,
        query: &Query,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Place>, CatalogError> {
        let search = all(&self.settled(query).await?);
        let plan = Plan::new(self, &search);
        let mut sql = Sql::new(plan.dialect());
        sql.push(&format!("SELECT {SEEN} AS seen, i.digest "));
        // Through the index of time: a page costs what it holds.
        plan.of_images(&mut sql);
        if let Some(after) = after {
            // The first part alone would do, but SQLite finds its place in an index of an expression only by the second.
            sql.push(&format!(" AND ({SEEN}, i.digest) > ("));
            sql.bind(Value::Number(after.seen)).push(", ");
            sql.bind(Value::Bytes(after.digest.as_bytes().to_vec()));
            sql.push(&format!(") AND {SEEN} >= ")).bind(Value::Number(after.seen));
        }
        sql.push(&format!(" ORDER BY {SEEN}, i.digest LIMIT {limit}"));
        let rows = snapshot!(self, connection => async {
            Ok::<Vec<(i64, Vec<u8>)>, Fault>(fetch!(sql, connection, fetch_all)?)
        }.await);
        let rows = self.timed("list records", rows).await?;
        rows.iter()
            .map(|(seen, bytes)| Ok(Place { seen: *seen, digest: digest(bytes)? }))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// Those of these images that match.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn matching(
        &self,
        query: &Query,
        digests: &[Digest],
    ) -> Result<BTreeSet<Digest>, CatalogError> {
        if digests.is_empty() {
            return Ok(BTreeSet::new());
        }
        let search = all(query);
        let plan = Plan::new(self, &search);
        let mut sql = Sql::new(plan.dialect());
        sql.push("SELECT DISTINCT i.digest ");
        plan.of_images(&mut sql);
        for (place, image) in digests.iter().enumerate() {
            sql.push(if place == 0 { " AND i.digest IN (" } else { ", " });
            sql.bind(Value::Bytes(image.as_bytes().to_vec()));
        }
        sql.push(")");
        let rows = snapshot!(self, connection => async {
            Ok::<Vec<(Vec<u8>,)>, Fault>(fetch!(sql, connection, fetch_all)?)
        }.await);
        let rows = self.timed("look which records match", rows).await?;
        rows.iter()
            .map(|(bytes,)| digest(bytes))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// The place of the last record that matches; none where none does.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn last_place(&self, query: &Query) -> Result<Option<Place>, CatalogError> {
        let search = all(query);
        let plan = Plan::new(self, &search);
        let mut sql = Sql::new(plan.dialect());
        sql.push(&format!("SELECT {SEEN} AS seen, i.digest "));
        plan.of_images(&mut sql);
        sql.push(&format!(" ORDER BY {SEEN} DESC, i.digest DESC LIMIT 1"));
        let rows = snapshot!(self, connection => async {
            Ok::<Vec<(i64, Vec<u8>)>, Fault>(fetch!(sql, connection, fetch_all)?)
        }.await);
        let rows = self.timed("find the last record", rows).await?;
        rows.first()
            .map(|(seen, bytes)| Ok(Place { seen: *seen, digest: digest(bytes)? }))
            .transpose()
            .map_err(|error| self.unreadable(error))
    }

    /// Whole records of one state of the database. Those whose intake has not arrived are missing.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn records(
        &self,
        digests: &[Digest],
    ) -> Result<HashMap<Digest, Record>, CatalogError> {
        if digests.is_empty() {
            return Ok(HashMap::new());
        }
        let dialect = match &self.store {
            Store::Sqlite(_) => Dialect::Sqlite,
            Store::Postgres(_) => Dialect::Postgres,
        };
        let of = |columns: &str, rows: &str| {
            let mut sql = Sql::new(dialect);
            sql.push(columns).push(rows).push(" IN ");
            sql.joined(digests, ", ", "(NULL)", |sql, digest| {
                sql.bind(Value::Bytes(digest.as_bytes().to_vec()));
            });
            sql
        };
        let rows = snapshot!(self, connection => async {
            let images: Vec<ImageColumns> =
                fetch!(of(load::image_columns!(), "images i WHERE i.digest"), connection, fetch_all)?;
            let sightings: Vec<SightingColumns> = fetch!(
                of(
                    "SELECT i.digest, s.source, s.seen_at, s.batch FROM ",
                    "images i CROSS JOIN sightings s WHERE s.image = i.id AND i.digest"
                ),
                connection, fetch_all
            )?;
            let meta: Vec<SaidColumns> = fetch!(
                of(
                    "SELECT m.digest, m.source_key, m.name, m.batch, m.text FROM ",
                    "sighting_meta m WHERE m.digest"
                ),
                connection, fetch_all
            )?;
            let wants: Vec<WantColumns> = fetch!(
                of(load::want_columns!(), "images i CROSS JOIN wants w WHERE w.image = i.id AND i.digest"),
                connection, fetch_all
            )?;
            let analyses: Vec<AnalysisColumns> = fetch!(
                of(load::analysis_columns!(), "images i CROSS JOIN analyses a WHERE a.image = i.id AND i.digest"),
                connection, fetch_all
            )?;
            Ok::<_, Fault>((images, (sightings, meta), wants, analyses))
        }.await);
        let (images, (sightings, meta), wants, analyses) = self.timed("read records", rows).await?;
        let mut meta = by_image(meta, |row| &row.0);
        let mut sightings = by_image(sightings, |row| &row.0);
        let mut wants = by_image(wants, |row| &row.0);
        let mut analyses = by_image(analyses, |row| &row.0);
        let mut records = HashMap::with_capacity(images.len());
        let mut read = |image: ImageColumns| -> Read<()> {
            let key = image.1.clone();
            let seen = sightings.remove(&key).unwrap_or_default();
            let seen = seen.into_iter().map(|(_, source, at, batch)| (source, at, batch)).collect();
            let said = meta.remove(&key).unwrap_or_default();
            let said =
                said.into_iter().map(|(_, source, name, batch, text)| (source, name, batch, text));
            let seen = (seen, said.collect());
            let wants = wants.remove(&key).unwrap_or_default();
            let analyses = analyses.remove(&key).unwrap_or_default();
            if let Some(record) = record(image, seen, wants, analyses)? {
                records.insert(record.image.digest, record);
            }
            Ok(())
        };
        images.into_iter().try_for_each(&mut read).map_err(|error| self.unreadable(error))?;
        Ok(records)
    }
}

fn by_image<T>(rows: Vec<T>, key: impl Fn(&T) -> &Vec<u8>) -> BTreeMap<Vec<u8>, Vec<T>> {
    let mut all: BTreeMap<Vec<u8>, Vec<T>> = BTreeMap::new();
    for row in rows {
        all.entry(key(&row).clone()).or_default().push(row);
    }
    all
}
