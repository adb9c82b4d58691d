//! All records, page by page in the order of their first sightings: for whoever takes an archive out.
//!
//! Images that are seen first later come later, so whoever remembers the last place gets what is new from there. Absent on
//! purpose: one state of the archive for all pages, which would keep a database from forgetting anything for hours.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use async_recursion::async_recursion;
use ocelli_core::Digest;

use super::run::{Plan, fetch};
use super::sql::{SEEN, Sql, Value};
use super::walk::all;
use crate::catalog::{Catalog, snapshot};
use crate::error::{CatalogError, Fault};
use crate::query::Query;
use crate::rows::{Read, digest};

/// A record's place in the order of first sightings. As text it is opaque for everyone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(crate) seen: i64,
    /// Which image.
    pub digest: Digest,
}

/// A record that is there, at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub place: Place,
    pub(crate) number: i64,
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
    ) -> Result<Vec<Listed>, CatalogError> {
        let search = all(&self.settled(query).await?);
        let plan = Plan::new(self, &search);
        let mut sql = Sql::new(plan.dialect());
        sql.push(&format!("SELECT {SEEN} AS seen, i.digest, i.id "));
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
            Ok::<Vec<(i64, Vec<u8>, i64)>, Fault>(fetch!(sql, connection, fetch_all)?)
        }.await);
        let rows = self.timed("list records", rows).await?;
        rows.iter()
            .map(|(seen, bytes, number)| {
                Ok(Listed { place: Place { seen: *seen, digest: digest(bytes)? }, number: *number })
            })
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
}
