//! Whether the schema of a database is the one of this build. The migrations themselves are SQL files, one folder per
//! backend, embedded into the program.
//!
//! They are listed by hand: sqlx's macro for it would have all of sqlx and SQLite compiled twice. A test compares the lists with the
//! folders.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::CatalogError;
use crate::error::Fault;

/// Where sqlx notes what was applied.
pub(crate) const TABLE: &str = "_sqlx_migrations";

/// Version and checksum of what was applied.
pub(crate) const APPLIED: &str =
    "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";

/// The migrations of a backend, from the files of its folder with these names.
macro_rules! embedded {
    ($backend:literal: $($name:literal),* $(,)?) => {
        std::sync::LazyLock::new(|| $crate::migration::migrator(&[$((
            $name,
            include_str!(concat!("../migrations/", $backend, "/", $name)),
        )),*]))
    };
}
pub(crate) use embedded;

/// Migrations by the names of their files (`0001_records.sql`) and their SQL. Files with other names are none.
pub(crate) fn migrator(files: &[(&'static str, &'static str)]) -> Migrator {
    let migration = |(name, sql): &(&'static str, &'static str)| {
        let (version, what) = name.strip_suffix(".sql")?.split_once('_')?;
        let (version, what) = (version.parse().ok()?, what.replace('_', " "));
        let kind = MigrationType::Simple;
        Some(Migration::new(version, what.into(), kind, sql.into_sql_str(), false))
    };
    Migrator::with_migrations(files.iter().filter_map(migration).collect())
}

/// Whether nothing is left to do: then opening writes nothing, and waits for no writer.
pub(crate) fn is_current(
    migrator: &Migrator,
    applied: &[(i64, Vec<u8>)],
    place: &str,
) -> Result<bool, CatalogError> {
    let known = newest(migrator);
    match applied.last() {
        Some((found, _)) if *found > known => {
            Err(CatalogError::NewerSchema { place: place.to_owned(), found: *found, known })
        }
        _ => Ok(migrator
            .iter()
            .map(|migration| (migration.version, &*migration.checksum))
            .eq(applied.iter().map(|(version, checksum)| (*version, checksum.as_slice())))),
    }
}

/// The error of a migration in words of the catalog.
pub(crate) fn failed(error: MigrateError, migrator: &Migrator, place: &str) -> CatalogError {
    let known = newest(migrator);
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Fault::Sql(error).at(place, "migrate its schema")
        }
        MigrateError::VersionMissing(found) if found > known => {
            CatalogError::NewerSchema { place: place.to_owned(), found, known }
        }
        source => CatalogError::Schema { place: place.to_owned(), source },
    }
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn every_file_is_embedded_as_it_is_and_no_other() {
        let backends =
            [("sqlite", &*crate::sqlite::MIGRATOR), ("postgres", &*crate::postgres::MIGRATOR)];
        for (backend, ours) in backends {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
            let files = Migrator::new(folder).await.unwrap();
            let said = |migrator: &Migrator| -> Vec<_> {
                let one = |one: &Migration| {
                    (one.version, one.description.to_string(), one.checksum.to_vec(), one.no_tx)
                };
                migrator.iter().map(one).collect()
            };
            assert_eq!(said(ours), said(&files), "{backend}");
        }
    }
}
