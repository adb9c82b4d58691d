//! One of the two databases: any row as cells, any statement with cells as parameters.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::table::Kind;
use crate::error::Fault;

/// A value of a column. Truth values are numbers, as in SQLite.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bytes(Vec<u8>),
    Int(i64),
    Text(String),
    Real(f64),
}

impl Cell {
    /// Adds it to what a checksum goes over, so that no two rows give the same bytes.
    pub(super) fn write_to(&self, bytes: &mut Vec<u8>) {
        let (mark, value): (u8, &[u8]) = match self {
            Self::Null => (0, &[]),
            Self::Bytes(value) => (1, value),
            Self::Int(value) => (2, &value.to_be_bytes()),
            Self::Text(value) => (3, value.as_bytes()),
            Self::Real(value) => (4, &value.to_bits().to_be_bytes()),
        };
        bytes.push(mark);
        bytes.extend((value.len() as u64).to_be_bytes());
        bytes.extend(value);
    }
}

/// A connection in a transaction.
pub(super) enum Side<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

macro_rules! bound {
    ($sql:expr, $cells:expr, $kinds:expr, $database:ty) => {{
        let mut query = sqlx::query::<$database>(AssertSqlSafe($sql.to_owned())).persistent(false);
        for (cell, kind) in $cells.iter().zip($kinds) {
            query = match (kind, cell) {
                (Kind::Bytes, Cell::Bytes(value)) => query.bind(value.clone()),
                (Kind::Bytes, _) => query.bind(None::<Vec<u8>>),
                (Kind::Int, Cell::Int(value)) => query.bind(*value),
                (Kind::Int, _) => query.bind(None::<i64>),
                (Kind::Bool, Cell::Int(value)) => query.bind(*value != 0),
                (Kind::Bool, _) => query.bind(None::<bool>),
                (Kind::Text, Cell::Text(value)) => query.bind(value.clone()),
                (Kind::Text, _) => query.bind(None::<String>),
                (Kind::Real, Cell::Real(value)) => query.bind(*value),
                (Kind::Real, _) => query.bind(None::<f64>),
            };
        }
        query
    }};
}

macro_rules! cells {
    ($rows:expr, $kinds:expr) => {{
        let cell = |row: &_, (place, kind): (usize, &Kind)| {
            Ok::<Cell, sqlx::Error>(match kind {
                Kind::Bytes => get(row, place)?.map_or(Cell::Null, Cell::Bytes),
                Kind::Int => get(row, place)?.map_or(Cell::Null, Cell::Int),
                Kind::Bool => get(row, place)?.map_or(Cell::Null, |is: bool| Cell::Int(is.into())),
                Kind::Text => get(row, place)?.map_or(Cell::Null, Cell::Text),
                Kind::Real => get(row, place)?.map_or(Cell::Null, Cell::Real),
            })
        };
        let row = |row| $kinds.iter().enumerate().map(|kind| cell(row, kind)).collect();
        $rows.iter().map(row).collect::<Result<Vec<Vec<Cell>>, sqlx::Error>>()
    }};
}

impl Side<'_> {
    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Rows of columns of these kinds.
    pub(super) async fn select(
        &mut self,
        sql: &str,
        cells: &[&Cell],
        kinds: &[Kind],
    ) -> Result<Vec<Vec<Cell>>, Fault> {
        self.select_after(sql, cells, &[], kinds).await
    }

    /// The same with parameters of the kinds `asked`.
    pub(super) async fn select_after(
        &mut self,
        sql: &str,
        cells: &[&Cell],
        asked: &[Kind],
        kinds: &[Kind],
    ) -> Result<Vec<Vec<Cell>>, Fault> {
        Ok(match self {
            Self::Sqlite(connection) => {
                fn get<'r, T>(
                    row: &'r sqlx::sqlite::SqliteRow,
                    place: usize,
                ) -> Result<Option<T>, sqlx::Error>
                where
                    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
                {
                    row.try_get_unchecked(place)
                }
                let rows =
                    bound!(sql, cells, asked, sqlx::Sqlite).fetch_all(&mut **connection).await?;
                cells!(rows, kinds)?
            }
            Self::Postgres(connection) => {
                fn get<'r, T>(
                    row: &'r sqlx::postgres::PgRow,
                    place: usize,
                ) -> Result<Option<T>, sqlx::Error>
                where
                    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
                {
                    row.try_get(place)
                }
                let rows =
                    bound!(sql, cells, asked, sqlx::Postgres).fetch_all(&mut **connection).await?;
                cells!(rows, kinds)?
            }
        })
    }

    pub(super) async fn execute(
        &mut self,
        sql: &str,
        cells: &[&Cell],
        kinds: &[Kind],
    ) -> Result<(), Fault> {
        match self {
            Self::Sqlite(connection) => {
                bound!(sql, cells, kinds, sqlx::Sqlite).execute(&mut **connection).await?;
            }
            Self::Postgres(connection) => {
                bound!(sql, cells, kinds, sqlx::Postgres).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }
}
