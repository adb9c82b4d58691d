//! The bare ceiling of storing: the rows of complete records, taken by PostgreSQL's `COPY` and by nothing else.

use std::time::Instant;

use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::{AnalyzerName, BatchId};
use ocelli_testkit::servers::{Copying, PostgresServer};

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
        let mut asking = database.asking().await;
        let mut tables = Vec::new();
        for table in TABLES {
            tables.push((table, database.copied_out(table).await?));
            let found = asking.number(&format!("SELECT count(*) FROM {table}")).await;
            if u64::try_from(found)? < images {
                return Err(format!("{images} images left {found} rows in {table}").into());
            }
        }
        Ok(Self { tables })
    }

    /// A fresh catalog with all its indexes, for them to be copied into.
    pub(crate) async fn target(&self, lab: &Lab) -> Fallible<Target<'_>> {
        let database = lab.database().await?;
        Catalog::open(&database.url, CatalogOptions::default()).await?.close().await;
        let connection = database.copying().await?;
        Ok(Target { rows: self, connection, _database: database })
    }
}

/// Where rows are copied to.
pub(crate) struct Target<'a> {
    rows: &'a Rows,
    connection: Copying,
    // Lives as long as the connection.
    _database: PostgresServer,
}

impl Target<'_> {
    /// Copies all of them in one transaction: no smaller ones are faster. Returns the seconds from the first byte to the commit.
    pub(crate) async fn copy(mut self) -> Fallible<f64> {
        let started = Instant::now();
        self.connection.copy_in(&self.rows.tables).await?;
        Ok(started.elapsed().as_secs_f64())
    }
}
