//! The bare ceiling of storing: the rows of complete records, taken by PostgreSQL's `COPY` and by nothing else.

use std::time::Instant;

use futures_util::TryStreamExt;
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::{AnalyzerName, BatchId};
use ocelli_testkit::servers::PostgresServer;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::fleet::NULLS;
use crate::lab::{Fallible, Lab};
use crate::texts;

/// The tables that a record has rows in, each after those that it refers to.
const TABLES: [&str; 6] =
    ["images", "sightings", "batch_images", "wants", "analyses", "search_answers"];
/// Records written at once.
const AT_ONCE: u64 = 500;

/// Rows of records, as `COPY` gives and takes them.
pub(crate) struct Rows {
    // Names of tables, and their rows in the text format of COPY.
    tables: Vec<(&'static str, Vec<u8>)>,
}

/// Writes made-up, complete records into a catalog, by the way that a collector's messages take.
pub(crate) async fn fill(catalog: &Catalog, records: u64) -> Fallible<()> {
    let names: Vec<AnalyzerName> =
        NULLS.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let batch = BatchId::new(uuid::Uuid::now_v7());
    for first in (0..records).step_by(usize::try_from(AT_ONCE)?) {
        let mut messages = Vec::new();
        for number in first..(first + AT_ONCE).min(records) {
            messages.extend(texts::record(number, &names, batch)?);
        }
        catalog.apply(&messages).await?;
    }
    Ok(())
}

impl Rows {
    /// The rows that so many images with an answer of each null analyzer leave.
    pub(crate) async fn of(lab: &Lab, images: u64) -> Fallible<Self> {
        let database = lab.database().await?;
        let catalog = Catalog::open(&database.url, CatalogOptions::default()).await?;
        fill(&catalog, images).await?;
        catalog.close().await;
        let mut connection = PgConnection::connect(&database.url).await?;
        let mut tables = Vec::new();
        for table in TABLES {
            let question = format!("COPY {table} TO STDOUT");
            let mut stream = connection.copy_out_raw(&question).await?;
            let mut rows = Vec::new();
            while let Some(part) = stream.try_next().await? {
                rows.extend_from_slice(&part);
            }
            drop(stream);
            let found: i64 =
                sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
                    .fetch_one(&mut connection)
                    .await?;
            if u64::try_from(found)? < images {
                return Err(format!("{images} images left {found} rows in {table}").into());
            }
            tables.push((table, rows));
        }
        connection.close().await?;
        Ok(Self { tables })
    }

    /// A fresh catalog with all its indexes, for them to be copied into.
    pub(crate) async fn target(&self, lab: &Lab) -> Fallible<Target<'_>> {
        let database = lab.database().await?;
        Catalog::open(&database.url, CatalogOptions::default()).await?.close().await;
        let connection = PgConnection::connect(&database.url).await?;
        Ok(Target { rows: self, connection, _database: database })
    }
}

/// Where rows are copied to.
pub(crate) struct Target<'a> {
    rows: &'a Rows,
    connection: PgConnection,
    // Lives as long as the connection.
    _database: PostgresServer,
}

impl Target<'_> {
    /// Copies all of them in one transaction: no smaller ones are faster. Returns the seconds from the first byte to the commit.
    pub(crate) async fn copy(mut self) -> Fallible<f64> {
        let started = Instant::now();
        let mut transaction = self.connection.begin().await?;
        for (table, rows) in &self.rows.tables {
            let mut copy = transaction.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
            copy.send(rows.as_slice()).await?;
            copy.finish().await?;
        }
        transaction.commit().await?;
        let took = started.elapsed().as_secs_f64();
        self.connection.close().await?;
        Ok(took)
    }
}
