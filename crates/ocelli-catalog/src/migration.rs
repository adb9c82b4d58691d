//! Whether the schema of a database is the one of this build. The migrations themselves are SQL files, one folder per
//! backend, embedded into the program.

use sqlx::migrate::{MigrateError, Migrator};

use crate::CatalogError;
use crate::error::Fault;

/// Where sqlx notes what was applied.
pub(crate) const TABLE: &str = "_sqlx_migrations";

/// Version and checksum of what was applied.
pub(crate) const APPLIED: &str =
    "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";

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
