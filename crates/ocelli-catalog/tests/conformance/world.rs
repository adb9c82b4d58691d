//! A fresh catalog of either backend.

use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_testkit::servers::{self, PostgresServer};
use sqlx::Connection as _;

/// Where a catalog is, for as long as this lives.
pub(crate) struct World {
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
    _server: Option<PostgresServer>,
}

impl World {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::sqlite_in(folder)
    }

    /// Without a disk below: for cases in great numbers.
    pub(crate) fn sqlite_in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self::sqlite_in(folder)
    }

    fn sqlite_in(folder: tempfile::TempDir) -> Self {
        let url = format!("sqlite:{}", folder.path().join("catalog ?%20.db").display());
        Self { url, _folder: Some(folder), _server: None }
    }

    pub(crate) async fn postgres() -> Self {
        let server = servers::postgres().await;
        Self { url: server.url.clone(), _folder: None, _server: Some(server) }
    }

    /// Changes rows behind the catalog's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        } else {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }

    pub(crate) async fn open(&self) -> Catalog {
        Catalog::open(&self.url, CatalogOptions::default()).await.unwrap()
    }
}
