//! Which tables an archive has, and the statements about one of them.

use super::ROWS_AT_ONCE;
use super::side::{Cell, Side};
use crate::error::Fault;

/// Tables that are made anew, or that belong to a database and not to the archive in it.
const NOT_CARRIED: [&str; 3] = ["search_", "_sqlx_", "transfers"];

/// Parameters of one statement; SQLite takes 32,766.
const MOST_PARAMETERS: usize = 30_000;

/// What is in a column, in the words of SQLite. Truth values are numbers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes,
    Int,
    Text,
    Bool,
    Real,
}

/// A table as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<(String, Kind)>,
    /// Places of the columns of its primary key, in the order of the key.
    pub(super) key: Vec<usize>,
    /// Whether the database numbers its rows.
    pub(super) has_identity: bool,
}

const OF_SQLITE: &str = "SELECT t.name, c.name, c.type, c.pk, t.wr FROM pragma_table_list t \
     JOIN pragma_table_info(t.name) c WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite%' \
     ORDER BY t.name, c.name";

const OF_POSTGRES: &str = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), \
     coalesce(array_position(i.indkey::int2[], a.attnum), -1)::bigint + 1, (a.attidentity <> '')::int::bigint \
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
     WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace \
     ORDER BY c.relname::text COLLATE \"C\", a.attname::text COLLATE \"C\"";

/// All tables that are carried, in the order of their names, columns too: the same on both databases.
pub(super) async fn tables(side: &mut Side<'_>) -> Result<Vec<Table>, Fault> {
    let sql = if side.is_postgres() { OF_POSTGRES } else { OF_SQLITE };
    let kinds = [Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int];
    let mut tables: Vec<(Table, Vec<(i64, usize)>)> = Vec::new();
    for row in side.select(sql, &[], &kinds).await? {
        let [
            Cell::Text(name),
            Cell::Text(column),
            Cell::Text(kind),
            Cell::Int(key),
            Cell::Int(flag),
        ] = row.as_slice()
        else {
            continue;
        };
        if NOT_CARRIED.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        if tables.last().is_none_or(|(table, _)| table.name != *name) {
            let table = Table {
                name: name.clone(),
                columns: Vec::new(),
                key: Vec::new(),
                has_identity: false,
            };
            tables.push((table, Vec::new()));
        }
        let Some((table, keys)) = tables.last_mut() else { continue };
        if *key > 0 {
            keys.push((*key, table.columns.len()));
        }
        let kind = match kind.to_lowercase().as_str() {
            "blob" | "bytea" => Kind::Bytes,
            "boolean" => Kind::Bool,
            "real" | "double precision" => Kind::Real,
            "text" => Kind::Text,
            _ => Kind::Int,
        };
        table.columns.push((column.clone(), kind));
        // SQLite: a table with one whole number as its key, which is no table without row ids, is numbered.
        table.has_identity |= side.is_postgres() && *flag > 0;
    }
    Ok(tables
        .into_iter()
        .map(|(table, mut keys)| {
            keys.sort_unstable();
            Table { key: keys.into_iter().map(|(_, place)| place).collect(), ..table }
        })
        .collect())
}

impl Table {
    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.columns.iter().map(|(_, kind)| *kind).collect()
    }

    pub(super) fn key_kinds(&self) -> Vec<Kind> {
        self.key.iter().map(|place| self.columns[*place].1).collect()
    }

    pub(super) fn rows_per_statement(&self) -> usize {
        (MOST_PARAMETERS / self.columns.len().max(1)).clamp(1, ROWS_AT_ONCE)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// The columns of the key; texts in the order of their bytes.
    fn ordered(&self, is_postgres: bool, order: &str) -> String {
        let column = |place: &usize| {
            let (name, kind) = &self.columns[*place];
            let bytes = is_postgres && *kind == Kind::Text;
            format!("{name}{}{order}", if bytes { " COLLATE \"C\"" } else { "" })
        };
        self.key.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    /// The next rows in the order of the key; behind the key of the parameters.
    pub(super) fn page(&self, is_postgres: bool, behind: bool) -> String {
        let condition = if behind {
            let parameters: Vec<_> =
                (1..=self.key.len()).map(|number| format!("${number}")).collect();
            format!("WHERE ({}) > ({}) ", self.ordered(is_postgres, ""), parameters.join(", "))
        } else {
            String::new()
        };
        format!(
            "SELECT {} FROM {} {condition}ORDER BY {} LIMIT {ROWS_AT_ONCE}",
            self.names(),
            self.name,
            self.ordered(is_postgres, "")
        )
    }

    /// The last key.
    pub(super) fn last(&self, is_postgres: bool) -> String {
        let names: Vec<_> = self.key.iter().map(|place| self.columns[*place].0.as_str()).collect();
        let order = self.ordered(is_postgres, " DESC");
        format!("SELECT {} FROM {} ORDER BY {order} LIMIT 1", names.join(", "), self.name)
    }

    /// Inserts so many rows; what is there stays.
    pub(super) fn insert(&self, rows: usize, is_postgres: bool) -> String {
        let width = self.columns.len();
        let row = |row: usize| {
            let cells: Vec<_> =
                (1..=width).map(|cell| format!("${}", row * width + cell)).collect();
            format!("({})", cells.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        let numbered = if is_postgres { " OVERRIDING SYSTEM VALUE" } else { "" };
        format!(
            "INSERT INTO {} ({}){numbered} VALUES {} ON CONFLICT DO NOTHING",
            self.name,
            self.names(),
            rows.join(", ")
        )
    }

    pub(super) fn emptied(&self) -> String {
        format!("DELETE FROM {}", self.name)
    }

    /// PostgreSQL goes on numbering behind what was carried.
    pub(super) fn numbered_on(&self) -> String {
        let column = self.key.first().map_or("id", |place| self.columns[*place].0.as_str());
        format!(
            "SELECT setval(pg_get_serial_sequence('{0}', '{column}'), coalesce(max({column}), 0) + 1, false) FROM {0}",
            self.name
        )
    }
}
