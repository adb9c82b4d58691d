//! All images that a query matches, page by page in the order of their digests: for whoever goes through an archive, in memory
//! that does not grow with it.
//!
//! Digests are as good as random, so the first so many of them are a fair sample, and the same one each time.

use ocelli_core::{AnalyzerName, Digest, Revision};

use super::run::{Plan, fetch};
use super::sql::{Sql, Value};
use super::{Search, Sort};
use crate::catalog::{Catalog, snapshot};
use crate::error::Fault;
use crate::query::Query;
use crate::rows::{Read, digest, number};

/// What the images must be without.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lack<'a> {
    /// Nothing: all that match and can be analyzed.
    Nothing,
    /// An outcome of this revision.
    Answer(&'a AnalyzerName, &'a Revision),
    /// An outcome of this revision, and a job that will lead to one.
    Job(&'a AnalyzerName, &'a Revision),
}

impl Lack<'_> {
    fn push(self, sql: &mut Sql) {
        sql.push(" AND i.refusal IS NULL");
        let (Self::Answer(analyzer, revision) | Self::Job(analyzer, revision)) = self else {
            return;
        };
        sql.push(
            " AND NOT EXISTS (SELECT 1 FROM analyses l WHERE l.image = i.id AND l.analyzer = ",
        );
        sql.text(analyzer.as_str()).push(" AND l.revision = ").text(revision.as_str()).push(")");
        if matches!(self, Self::Job(..)) {
            sql.push(
                " AND NOT EXISTS (SELECT 1 FROM wants o WHERE o.image = i.id AND o.analyzer = ",
            );
            sql.text(analyzer.as_str());
            sql.push(" AND o.state = 'open' AND (o.revision IS NULL OR o.revision = ");
            sql.text(revision.as_str()).push("))");
        }
    }
}

/// A search for all that matches.
pub(super) fn all(query: &Query) -> Search {
    Search { query: query.clone(), sort: Sort::Newest, limit: 1, cursor: None, facets: false }
}

/// A page of digests behind `after`.
pub(crate) async fn page(
    catalog: &Catalog,
    query: &Query,
    lack: Lack<'_>,
    after: Option<Digest>,
    limit: u32,
) -> Result<Vec<Digest>, Fault> {
    let search = all(&catalog.settled(query).await?);
    let plan = Plan::new(catalog, &search);
    let mut sql = Sql::new(plan.dialect());
    sql.push("SELECT DISTINCT i.digest ");
    plan.of_images(&mut sql);
    lack.push(&mut sql);
    if let Some(after) = after {
        sql.push(" AND i.digest > ").bind(Value::Bytes(after.as_bytes().to_vec()));
    }
    sql.push(&format!(" ORDER BY i.digest LIMIT {limit}"));
    let rows: Vec<(Vec<u8>,)> = snapshot!(catalog, connection => async {
        Ok::<_, Fault>(fetch!(sql, connection, fetch_all)?)
    }.await)
    .await?;
    Ok(rows.iter().map(|(bytes,)| digest(bytes)).collect::<Read<_>>()?)
}

/// How many there are.
pub(crate) async fn count(catalog: &Catalog, query: &Query, lack: Lack<'_>) -> Result<u64, Fault> {
    let search = all(&catalog.settled(query).await?);
    let plan = Plan::new(catalog, &search);
    let mut sql = Sql::new(plan.dialect());
    sql.push("SELECT COUNT(*) ");
    plan.of_images(&mut sql);
    lack.push(&mut sql);
    let (rows,): (i64,) = snapshot!(catalog, connection => async {
        Ok::<_, Fault>(fetch!(sql, connection, fetch_one)?)
    }.await)
    .await?;
    Ok(number("count", rows)?)
}
