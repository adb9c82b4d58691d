//! What can be wrong with an address, a file or a server: each is told apart, names the place and says what to do.

use std::time::{Duration, Instant};

use ocelli_catalog::{Catalog, CatalogError, CatalogOptions};
use ocelli_core::wire::Message;
use sqlx::{Connection, Executor};

use crate::words::*;
use crate::world::World;

async fn refused(url: &str) -> CatalogError {
    match Catalog::open(url, CatalogOptions::default()).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holiday.jpg");
    let bytes = vec![0xff; 100_000];
    std::fs::write(&path, &bytes).unwrap();
    let error = refused(&format!("sqlite:{}", path.display())).await;
    assert!(matches!(error, CatalogError::NotADatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("holiday.jpg"));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let url = format!("sqlite:{}", path.display());
    let mut other = sqlx::SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    other.execute("CREATE TABLE bookmarks (url TEXT)").await.unwrap();
    let error = refused(&url).await;
    assert!(matches!(error, CatalogError::NotACatalog { .. }), "{error:?}");
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_folder_that_is_missing_or_a_path_that_is_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing/catalog.db"), folder.path().to_owned()] {
        let error = refused(&format!("sqlite://{}", path.display())).await;
        assert!(matches!(error, CatalogError::CannotOpen { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}

async fn says_newer(world: &World) {
    let error = refused(&world.url).await;
    assert!(matches!(error, CatalogError::NewerSchema { found: 9999, .. }), "{error:?}");
    assert!(error.to_string().contains("upgrade ocelli"));
}

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     SELECT 9999, 'future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";

#[tokio::test]
async fn a_newer_schema_is_refused_by_its_version() {
    let world = World::sqlite();
    world.open().await.close().await;
    let path = world.url.strip_prefix("sqlite:").unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(NEWER).await.unwrap();
    connection.close().await.unwrap();
    says_newer(&world).await;

    let world = World::postgres().await;
    world.open().await.close().await;
    let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
    connection.execute(NEWER).await.unwrap();
    connection.close().await.unwrap();
    says_newer(&world).await;
}

#[tokio::test]
async fn many_processes_may_open_a_new_catalog_at_once() {
    for world in [World::sqlite(), World::postgres().await] {
        let open = |_| {
            let url = world.url.clone();
            tokio::spawn(async move {
                let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
                catalog.apply(&[Message::Intake(intake("a", &[OCR]))]).await.unwrap();
            })
        };
        for task in (0..6).map(open).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(world.open().await.status(at(0)).await.unwrap().images, 1);
    }
}

#[tokio::test]
async fn a_file_that_another_program_keeps_locked_is_an_error_until_it_lets_go() {
    let world = World::sqlite();
    let options =
        CatalogOptions { busy_timeout: Duration::from_millis(100), ..CatalogOptions::default() };
    let catalog = Catalog::open(&world.url, options.clone()).await.unwrap();
    let path = world.url.strip_prefix("sqlite:").unwrap();
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = sqlx::SqliteConnection::connect_with(&connect).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let message = [Message::Intake(intake("a", &[OCR]))];
    let error = catalog.apply(&message).await.unwrap_err();
    assert!(matches!(error, CatalogError::Locked { .. }) && error.is_temporary(), "{error:?}");
    assert_eq!(catalog.status(at(0)).await.unwrap().images, 0, "reading goes on");
    Catalog::open(&world.url, options).await.expect("opening for reading goes on");
    other.execute("ROLLBACK").await.unwrap();
    catalog.apply(&message).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_within_five_seconds_without_the_password() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        port.local_addr().unwrap()
    };
    for address in [silent.local_addr().unwrap(), closed] {
        let started = Instant::now();
        let error = refused(&format!("postgres://me:s3cret@{address}/archive")).await;
        assert!(matches!(error, CatalogError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("{address}/archive")), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        assert!(started.elapsed() < Duration::from_millis(5500));
    }
}

#[tokio::test]
async fn a_login_that_is_refused_names_the_user_and_no_password() {
    let world = World::postgres().await;
    let (server, _) = world.url.rsplit_once('/').unwrap();
    let error = refused(&format!("{server}/no_such_database")).await;
    assert!(matches!(error, CatalogError::Login { .. }), "{error:?}");
    let host = server.rsplit_once('@').unwrap().1;
    let error = refused(&format!("postgres://nobody_here:s3cret@{host}/postgres")).await;
    assert!(matches!(error, CatalogError::Login { .. }), "{error:?}");
    assert!(error.to_string().contains("nobody_here"));
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_address_that_is_none_is_answered_with_examples() {
    for url in [
        "",
        "catalog.db",
        "mysql://me:s3cret@host/db",
        "sqlite:",
        "sqlite::memory:",
        "postgres://me:s3cret@host:99999999/db",
    ] {
        let error = refused(url).await;
        assert!(matches!(error, CatalogError::Address { .. }), "{url}: {error:?}");
        assert!(error.to_string().contains("sqlite:/path/to/file.db"));
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_server_where_the_extension_cannot_be_made_is_told_what_an_administrator_must_run() {
    let world = World::postgres().await;
    let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
    let database: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut connection).await.unwrap();
    let user = format!("guest_{database}");
    for statement in [
        format!("CREATE ROLE \"{user}\" LOGIN PASSWORD 'guest'"),
        "GRANT ALL ON SCHEMA public TO PUBLIC".to_owned(),
    ] {
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    let (_, host) = world.url.rsplit_once('@').unwrap();
    let url = format!("postgres://{user}:guest@{host}");
    let error = refused(&url).await;
    assert!(matches!(error, CatalogError::Extension { .. }), "{error:?}");
    assert!(error.to_string().contains("CREATE EXTENSION pg_trgm"), "{error}");
    connection.execute("CREATE EXTENSION pg_trgm").await.unwrap();
    Catalog::open(&url, CatalogOptions::default()).await.unwrap().close().await;
    for statement in [format!("DROP OWNED BY \"{user}\""), format!("DROP ROLE \"{user}\"")] {
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
}
