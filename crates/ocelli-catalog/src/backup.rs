//! Backups: a consistent copy of a catalog in one SQLite file, made while others write, and the way back.
//!
//! A backup is a catalog itself: `sqlite:FILE` opens it. Of SQLite it is what `VACUUM INTO` writes; of PostgreSQL the rows of one
//! state, carried over as `ocelli migrate` does it. It is written beside its name, checked, made safe on the disk, and only then
//! given that name: a backup that is there is whole.

use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};

use crate::carry::{Carried, CarryError};
use crate::catalog::{Catalog, CatalogOptions, Store};
use crate::error::{CatalogError, Fault};

impl Catalog {
    /// Writes everything into the new file `file`. Others may write meanwhile; what they wrote before this began is in it.
    /// `said` hears of tables with their rows, where they are carried one by one.
    ///
    /// # Errors
    /// When the file is there already, cannot be written, or is not sound afterwards.
    pub async fn back_up(
        &self,
        file: &Path,
        said: impl FnMut(&str, u64),
    ) -> Result<(), CarryError> {
        let partial = beside(file);
        refuse_existing(file).map_err(CarryError::Target)?;
        discard(&partial);
        match &self.store {
            Store::Sqlite(store) => {
                let written = async {
                    let mut connection = store.read.acquire().await?;
                    sqlx::query("VACUUM INTO $1")
                        .bind(partial.display().to_string())
                        .execute(&mut *connection)
                        .await?;
                    Ok::<_, Fault>(())
                };
                written
                    .await
                    .map_err(|fault| CarryError::Source(fault.at(&self.place, "be copied")))?;
            }
            Store::Postgres(_) => {
                let options = CatalogOptions { half_carried: true, ..CatalogOptions::default() };
                let url = format!("sqlite:{}", partial.display());
                let target = Self::open(&url, options).await.map_err(CarryError::Target)?;
                let carried = self.carry_to(&target, said).await;
                target.close().await;
                carried?;
                one_file(&partial).await.map_err(CarryError::Target)?;
            }
        }
        check(&partial).await.map_err(CarryError::Target)?;
        put(&partial, file).map_err(CarryError::Target)
    }

    /// Makes the catalog at `url` from a backup. It must be empty, or not be there.
    ///
    /// # Errors
    /// When `file` is no sound catalog, when the catalog at `url` holds something, or what the databases say.
    pub async fn restore(
        file: &Path,
        url: &str,
        options: CatalogOptions,
        said: impl FnMut(&str, u64),
    ) -> Result<Carried, CarryError> {
        check(file).await.map_err(CarryError::Source)?;
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
        if let Some(path) = path.map(Path::new).filter(|path| !path.exists()) {
            let partial = beside(path);
            discard(&partial);
            let into = |error| {
                CarryError::Target(Fault::Sql(error).at(&path.display().to_string(), "be written"))
            };
            let mut backup = connect(file).await.map_err(CarryError::Source)?;
            sqlx::query("VACUUM INTO $1")
                .bind(partial.display().to_string())
                .execute(&mut backup)
                .await
                .map_err(into)?;
            check(&partial).await.map_err(CarryError::Target)?;
            put(&partial, path).map_err(CarryError::Target)?;
            let catalog = Self::open(url, options).await.map_err(CarryError::Target)?;
            let rows = catalog.audit().await.map_err(CarryError::Target)?.rows;
            catalog.close().await;
            let written = rows.values().sum();
            return Ok(Carried { rows, written });
        }
        let options = CatalogOptions { half_carried: true, ..options };
        let from = format!("sqlite:{}", file.display());
        let backup =
            Self::open(&from, CatalogOptions::default()).await.map_err(CarryError::Source)?;
        let target = Self::open(url, options).await.map_err(CarryError::Target)?;
        let carried = backup.carry_to(&target, said).await;
        target.close().await;
        backup.close().await;
        carried
    }
}

/// The name under which a file is written before it is whole.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    file.with_file_name(name)
}

fn refuse_existing(file: &Path) -> Result<(), CatalogError> {
    if file.exists() {
        return Err(CatalogError::Exists { place: file.display().to_string() });
    }
    Ok(())
}

/// What a run that was killed left.
fn discard(partial: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = partial.as_os_str().to_owned();
        name.push(end);
        // Mostly it is not there; where it cannot be removed, writing says why.
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

/// Gives a file its name for good.
fn put(partial: &Path, file: &Path) -> Result<(), CatalogError> {
    let done = || {
        std::fs::File::open(partial)?.sync_all()?;
        std::fs::rename(partial, file)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    done().map_err(|error| {
        Fault::Sql(sqlx::Error::Io(error)).at(&file.display().to_string(), "be written")
    })
}

/// Without a log beside it: a backup is one file.
async fn one_file(file: &Path) -> Result<(), CatalogError> {
    let fail = |error| Fault::Sql(error).at(&file.display().to_string(), "be written");
    let options =
        SqliteConnectOptions::new().filename(file).journal_mode(SqliteJournalMode::Delete);
    let connection = SqliteConnection::connect_with(&options).await.map_err(fail)?;
    connection.close().await.map_err(fail)
}

async fn connect(file: &Path) -> Result<SqliteConnection, CatalogError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| Fault::Sql(error).at(&file.display().to_string(), "be opened"))
}

/// Whether SQLite finds the file sound, and it is a catalog.
async fn check(file: &Path) -> Result<(), CatalogError> {
    let place = file.display().to_string();
    let fail = |error| Fault::Sql(error).at(&place, "be checked");
    let mut connection = connect(file).await?;
    let lines: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&mut connection)
        .await
        .map_err(fail)?;
    let known: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(fail)?;
    connection.close().await.map_err(fail)?;
    if lines != ["ok"] {
        let reason = lines.into_iter().next().unwrap_or_default();
        return Err(CatalogError::Damaged { place, reason });
    }
    if known { Ok(()) } else { Err(CatalogError::NotACatalog { place }) }
}
