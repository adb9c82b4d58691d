//! Carrying a whole archive over into another database: `ocelli migrate`, and backups of PostgreSQL.
//!
//! Rows go table by table in the order of their keys, in transactions of [`ROWS_AT_ONCE`]. A run that was killed is run again and
//! goes on behind the last key that arrived. At the end every table is read once more on both sides and compared by the
//! number of its rows and a checksum over their values; one that differs (its archive was written to meanwhile) is carried
//! again, once. Only then the target may be opened by others. The search index is not carried but made anew.
//!
//! | module | room for |
//! |---|---|
//! | this | the order of things |
//! | `table` | which tables there are, and the statements about them |
//! | `side` | one of the two databases: cells in, cells out |
//!
//! Which tables and columns there are is asked of the databases: one that is added by a later schema is carried too.

mod side;
mod table;

use std::collections::BTreeMap;

use ocelli_core::Digest;
use side::{Cell, Side};
use table::Table;

use crate::catalog::{Catalog, Store};
use crate::error::{CatalogError, Fault};

/// Rows of one transaction, and of one question.
const ROWS_AT_ONCE: usize = 500;

/// What was carried: rows by table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// All rows of the archive, by table, as they were compared at the end.
    pub rows: BTreeMap<String, u64>,
    /// How many of them this run wrote; fewer than there are when it went on with one that was killed.
    pub written: u64,
}

/// Rows and checksum of a table.
type Sum = (u64, Digest);

/// The table that has a row in every new catalog. It is taken out of an empty target, so that the row of the source is carried.
macro_rules! seeded {
    () => {
        "payment_horizon"
    };
}
const SEEDED: &str = seeded!();

impl Catalog {
    /// Carries everything into `target`, which must be empty, or hold what a killed run from this catalog had carried so far;
    /// it was opened with [`crate::CatalogOptions::half_carried`]. Nobody should write to this catalog meanwhile: what is
    /// written is carried too when the comparison finds it, but not twice. `said` hears of each table with its rows so far.
    ///
    /// # Errors
    /// [`CatalogError::NotEmpty`] when the target holds something else, [`CatalogError::Differs`] when this catalog changes
    /// faster than it is carried, or what the databases say.
    pub async fn carry_to(
        &self,
        target: &Self,
        mut said: impl FnMut(&str, u64),
    ) -> Result<Carried, CarryError> {
        let from = |fault: Fault| CarryError::Source(fault.at(&self.place, "be read whole"));
        let into = |fault: Fault| CarryError::Target(fault.at(&target.place, "take the archive"));
        let tables = {
            let mut reader = Reader::open(self).await.map_err(from)?;
            table::tables(&mut reader.side()).await.map_err(from)?
        };
        target.begin_carrying(&self.place, &tables).await?;
        // The same tables and columns, of the types that they have there: SQLite has no truth values of its own.
        let arrive_in = {
            let mut reader = Reader::open(target).await.map_err(into)?;
            table::tables(&mut reader.side()).await.map_err(into)?
        };
        let there = |table: &Table| {
            arrive_in.iter().find(|one| one.name == table.name).unwrap_or(table).clone()
        };
        let mut carried = Carried::default();
        for attempt in 0..2 {
            let mut reader = Reader::open(self).await.map_err(from)?;
            for table in &tables {
                carried.written +=
                    carry(&mut reader, target, (table, &there(table)), &mut said).await?;
            }
            let mut different = Vec::new();
            for table in &tables {
                let theirs = sum(&mut reader.side(), table).await.map_err(from)?;
                let mut other = Reader::open(target).await.map_err(into)?;
                let ours = sum(&mut other.side(), &there(table)).await.map_err(into)?;
                if theirs == ours {
                    carried.rows.insert(table.name.clone(), theirs.0);
                } else {
                    different.push(table);
                }
            }
            let Some(first) = different.first() else { break };
            if attempt > 0 {
                let table = first.name.clone();
                return Err(CarryError::Target(CatalogError::Differs {
                    place: target.place.to_string(),
                    table,
                }));
            }
            for table in different {
                target.write(&table.emptied(), &[], &[]).await.map_err(into)?;
            }
        }
        target.end_carrying(&arrive_in).await.map_err(into)?;
        target.catch_up().await.map_err(CarryError::Target)?;
        Ok(carried)
    }

    /// Makes sure that the target is empty or belongs to a run that did not end, and notes that one goes on.
    async fn begin_carrying(&self, source: &str, tables: &[Table]) -> Result<(), CarryError> {
        let fail = |fault: Fault| CarryError::Target(fault.at(&self.place, "be looked at"));
        let mut reader = Reader::open(self).await.map_err(fail)?;
        let mut side = reader.side();
        let open = side
            .select("SELECT source FROM transfers WHERE NOT finished", &[], &[table::Kind::Text])
            .await
            .map_err(fail)?;
        match open.first().and_then(|row| row.first()) {
            Some(Cell::Text(other)) if other == source => return Ok(()),
            Some(other) => {
                let from = if let Cell::Text(text) = other { text.clone() } else { String::new() };
                let place = self.place.to_string();
                return Err(CarryError::Target(CatalogError::HalfCarried { place, from }));
            }
            None => {}
        }
        for table in tables.iter().filter(|table| table.name != SEEDED) {
            let exists =
                format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS found", table.name);
            let found = side.select(&exists, &[], &[table::Kind::Int]).await.map_err(fail)?;
            if found != [[Cell::Int(0)]] {
                let place = self.place.to_string();
                return Err(CarryError::Target(CatalogError::NotEmpty { place }));
            }
        }
        self.write(concat!("DELETE FROM ", seeded!()), &[], &[]).await.map_err(fail)?;
        self.write(
            "INSERT INTO transfers (source, finished) VALUES ($1, false) ON CONFLICT (source) DO UPDATE SET \
             finished = false",
            &[&Cell::Text(source.to_owned())],
            &[table::Kind::Text],
        )
        .await
        .map_err(fail)
    }

    /// Lets others open the target, and has its search index made.
    async fn end_carrying(&self, tables: &[Table]) -> Result<(), Fault> {
        for statement in [
            "INSERT INTO search_backlog (id) SELECT id FROM analyses WHERE true ON CONFLICT DO NOTHING",
            "UPDATE transfers SET finished = true WHERE NOT finished",
        ] {
            self.write(statement, &[], &[]).await?;
        }
        if matches!(self.store, Store::Postgres(_)) {
            for table in tables.iter().filter(|table| table.has_identity) {
                self.write(&table.numbered_on(), &[], &[]).await?;
            }
        }
        Ok(())
    }

    /// Runs one statement in a transaction of its own.
    async fn write(&self, sql: &str, cells: &[&Cell], kinds: &[table::Kind]) -> Result<(), Fault> {
        match &self.store {
            Store::Sqlite(store) => {
                let mut guard = store.writing().await?;
                Side::Sqlite(&mut guard).execute(sql, cells, kinds).await?;
                Ok(guard.end().await?)
            }
            Store::Postgres(store) => {
                let mut transaction = store.pool.begin().await?;
                Side::Postgres(&mut transaction).execute(sql, cells, kinds).await?;
                Ok(transaction.commit().await?)
            }
        }
    }
}

/// Which of the two databases was the reason.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The one that is read.
    #[error(transparent)]
    Source(CatalogError),
    /// The one that is written.
    #[error(transparent)]
    Target(CatalogError),
}

/// One state of a catalog.
enum Reader {
    Sqlite(crate::sqlite::Guard),
    Postgres(crate::postgres::Snapshot),
}

impl Reader {
    async fn open(catalog: &Catalog) -> Result<Self, Fault> {
        Ok(match &catalog.store {
            Store::Sqlite(store) => Self::Sqlite(store.snapshot().await?),
            Store::Postgres(store) => Self::Postgres(store.snapshot().await?),
        })
    }

    fn side(&mut self) -> Side<'_> {
        match self {
            Self::Sqlite(guard) => Side::Sqlite(guard),
            Self::Postgres(snapshot) => Side::Postgres(snapshot),
        }
    }
}

/// Carries the rows of one table that are behind the last one that arrived. Returns how many. The table as it is here, and there.
async fn carry(
    reader: &mut Reader,
    target: &Catalog,
    (table, there): (&Table, &Table),
    said: &mut impl FnMut(&str, u64),
) -> Result<u64, CarryError> {
    let into = |fault: Fault| CarryError::Target(fault.at(&target.place, "take the archive"));
    let mut last: Option<Vec<Cell>> = {
        let mut other = Reader::open(target).await.map_err(into)?;
        let mut side = other.side();
        let found = side.select(&there.last(side.is_postgres()), &[], &there.key_kinds()).await;
        found.map_err(into)?.pop()
    };
    let mut rows = 0;
    loop {
        let mut side = reader.side();
        let sql = table.page(side.is_postgres(), last.is_some());
        let after: Vec<&Cell> = last.iter().flatten().collect();
        let page = side
            .select_after(&sql, &after, &table.key_kinds(), &table.kinds())
            .await
            .map_err(|fault| {
                CarryError::Source(fault.at("the archive that is carried", "be read whole"))
            })?;
        let Some(end) = page.last() else { return Ok(rows) };
        last = Some(table.key.iter().map(|place| end[*place].clone()).collect());
        for part in page.chunks(table.rows_per_statement()) {
            let cells: Vec<&Cell> = part.iter().flatten().collect();
            let kinds: Vec<_> = part.iter().flat_map(|_| there.kinds()).collect();
            let is_postgres = matches!(target.store, Store::Postgres(_));
            let sql = there.insert(part.len(), is_postgres);
            target.write(&sql, &cells, &kinds).await.map_err(into)?;
        }
        rows += page.len() as u64;
        said(&table.name, rows);
    }
}

/// Reads a table whole. The checksum of a row goes over that of the row before, its values, and what kind each is.
async fn sum(side: &mut Side<'_>, table: &Table) -> Result<Sum, Fault> {
    let (mut count, mut digest) = (0, Digest::of(table.name.as_bytes()));
    let mut last: Option<Vec<Cell>> = None;
    loop {
        let sql = table.page(side.is_postgres(), last.is_some());
        let after: Vec<&Cell> = last.iter().flatten().collect();
        let page = side.select_after(&sql, &after, &table.key_kinds(), &table.kinds()).await?;
        let Some(end) = page.last() else { return Ok((count, digest)) };
        last = Some(table.key.iter().map(|place| end[*place].clone()).collect());
        for row in &page {
            let mut bytes = digest.as_bytes().to_vec();
            row.iter().for_each(|cell| cell.write_to(&mut bytes));
            digest = Digest::of(&bytes);
            count += 1;
        }
    }
}
