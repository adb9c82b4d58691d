//! Archives of every schema that there ever was, with data in them, are brought up to date when they are opened.

use std::borrow::Cow;
use std::path::Path;

use ocelli_catalog::search::Sort;
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, PerceptualHash};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, Executor as _};

use crate::searching::ask;
use crate::words::*;
use crate::world::World;

/// The newest schemas of this build.
const SQLITE: i64 = 25;
const POSTGRES: i64 = 26;

/// The newest that older archives have: those behind it came all at once.
const OLDER: i64 = 5;

/// The newest in which rows named their images by digests. Whoever lacks an older one is given it before the next.
const UNNUMBERED: i64 = 22;

/// Images of an old archive: more than are put into the search index at once.
const IMAGES: i64 = 450;

async fn migrator(backend: &str, up_to: i64) -> Migrator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
    let mut all = Migrator::new(folder).await.unwrap();
    let newest = if backend == "sqlite" { SQLITE } else { POSTGRES };
    assert_eq!(all.iter().map(|migration| migration.version).max(), Some(newest));
    let kept = all.iter().filter(|migration| migration.version <= up_to).cloned();
    all.migrations = Cow::Owned(kept.collect());
    all
}

/// Writes records as a build of that schema would have left them: seen, read and answered.
macro_rules! fill {
    ($connection:expr, $version:expr) => {{
        for number in 0..IMAGES {
            let image = format!("image {number}");
            let digest = Digest::of(image.as_bytes()).as_bytes().to_vec();
            let batch = batch(1).uuid().into_bytes().to_vec();
            let seen = at(number).as_microsecond();
            sqlx::query(
                "INSERT INTO images (digest, bytes, format, width, height, first_seen, complete) \
                 VALUES ($1, 5, 'png', 640, 480, $2, true)",
            )
            .bind(&digest)
            .bind(seen)
            .execute(&mut $connection)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO sightings (digest, source_key, source, seen_at, batch) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(&digest)
            .bind(digest[..16].to_vec())
            .bind(format!("file:///pictures/{number}"))
            .bind(seen)
            .bind(&batch)
            .execute(&mut $connection)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO wants (digest, analyzer, revision, asked_at, enqueued_at, state, answer) \
                 VALUES ($1, $2, $3, $4, $4, 'done', $3)",
            )
            .bind(&digest)
            .bind(OCR)
            .bind(revision(1).as_str().to_owned())
            .bind(seen)
            .execute(&mut $connection)
            .await
            .unwrap();
            sqlx::query(
                "INSERT INTO analyses (digest, analyzer, revision, kind, attempts, finished_at, text, reading, provenance) \
                 VALUES ($1, $2, $3, 'done', 1, $4, $5, '{}', '{\"engine\":\"e\",\"worker\":\"w\"}')",
            )
            .bind(&digest)
            .bind(OCR)
            .bind(revision(1).as_str().to_owned())
            .bind(seen)
            .bind(format!("Caf\u{e9} number{number}x common"))
            .execute(&mut $connection)
            .await
            .unwrap();
            if $version > 1 {
                sqlx::query("INSERT INTO batch_images (batch, digest, reference_key) VALUES ($1, $2, $3)")
                    .bind(&batch)
                    .bind(&digest)
                    .bind(digest[..16].to_vec())
                    .execute(&mut $connection)
                    .await
                    .unwrap();
            }
            // That build indexed what it wrote.
            if $version > 4 && $version <= OLDER {
                sqlx::query(
                    "INSERT INTO search_answers (id, digest, analyzer, kind, current, words, languages, model, flags) \
                     SELECT id, digest, analyzer, kind, true, 3, '', '', '' FROM analyses WHERE digest = $1",
                )
                .bind(&digest)
                .execute(&mut $connection)
                .await
                .unwrap();
                sqlx::query("INSERT INTO search_texts (id, text) SELECT id, $2 FROM analyses WHERE digest = $1")
                    .bind(&digest)
                    .bind(format!(" cafe number{number}x common "))
                    .execute(&mut $connection)
                    .await
                    .unwrap();
            }
            if $version > OLDER {
                // As if that build had been killed before it had put them there.
                sqlx::query("INSERT INTO search_backlog (id) SELECT id FROM analyses WHERE digest = $1")
                    .bind(&digest)
                    .execute(&mut $connection)
                    .await
                    .unwrap();
            }
        }
    }};
}

/// An archive of an old schema.
async fn old(world: &World, version: i64) {
    if let Some(path) = world.url.strip_prefix("sqlite:") {
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        migrator("sqlite", version).await.run_direct(None, &mut connection, false).await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        fill!(connection, version);
        connection.execute("COMMIT").await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
        connection.execute("CREATE EXTENSION pg_trgm").await.unwrap();
        migrator("postgres", version).await.run_direct(None, &mut connection, false).await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        fill!(connection, version);
        connection.execute("COMMIT").await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn is_whole(catalog: &Catalog) {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
    let status = catalog.status(at(0)).await.unwrap();
    assert_eq!((status.images, status.complete), (450, 450));
    let record = catalog.record(&Digest::of(b"image 17")).await.unwrap().unwrap();
    assert_eq!(record.first_seen(), Some(at(17)));
    for (query, records) in [
        ("cafe common", 450),
        ("number17x", 1),
        ("\"number17x common\"", 1),
        ("\"number17x cafe\"", 0),
        ("*mber17*", 11),
        ("common after:2024-05-05", 0),
    ] {
        assert_eq!(ask(catalog, query, Sort::Newest).await.total.records, records, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_every_older_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    for version in (1..=OLDER).chain([UNNUMBERED]) {
        for world in [World::sqlite(), World::postgres().await] {
            old(&world, version).await;
            let catalog = world.open().await;
            is_whole(&catalog).await;
            let next = [partial("image 17", LLM, done("a later answer"), 900)];
            catalog.apply(&next).await.unwrap();
            assert_eq!(ask(&catalog, "later", Sort::Newest).await.total.records, 1);
            looks_of(&catalog).await;
            catalog.close().await;
        }
    }
}

/// Images of before have no perceptual hash; the next that reads one, or produces it, tells it.
async fn looks_of(catalog: &Catalog) {
    let hash: PerceptualHash = "dct1:83c3b0e0f0b8f8f0".parse().unwrap();
    let digest = Digest::of(b"image 17");
    assert_eq!(catalog.perceptual_hash(&digest).await.unwrap(), None);
    let again = Intake { hash: Some(hash.clone()), ..intake("image 17", &[]) };
    catalog.apply(&[Message::Intake(again)]).await.unwrap();
    assert_eq!(catalog.perceptual_hash(&digest).await.unwrap(), Some(hash));
    assert_eq!(ask(catalog, &format!("like:{digest}"), Sort::Newest).await.total.records, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_has_later_schemas_but_not_the_one_of_perceptual_hashes_gets_it() {
    for world in [World::sqlite(), World::postgres().await] {
        let without = |mut all: Migrator| {
            let kept = all.iter().filter(|one| one.version != 9).cloned().collect();
            all.migrations = Cow::Owned(kept);
            all
        };
        if let Some(path) = world.url.strip_prefix("sqlite:") {
            let options =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            let migrator = without(migrator("sqlite", UNNUMBERED).await);
            migrator.run_direct(None, &mut connection, false).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
            connection.execute("CREATE EXTENSION pg_trgm").await.unwrap();
            let migrator = without(migrator("postgres", UNNUMBERED).await);
            migrator.run_direct(None, &mut connection, false).await.unwrap();
            connection.close().await.unwrap();
        }
        let catalog = world.open().await;
        catalog.apply(&[Message::Intake(intake("image 17", &[OCR]))]).await.unwrap();
        looks_of(&catalog).await;
        assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
        catalog.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_from_before_the_search_index_is_indexed_when_it_is_opened() {
    for world in [World::sqlite(), World::postgres().await] {
        old(&world, 4).await;
        // Several at once, as a fleet does it.
        let open = |_| {
            let url = world.url.clone();
            tokio::spawn(
                async move { Catalog::open(&url, CatalogOptions::default()).await.unwrap() },
            )
        };
        for task in (0..3).map(open).collect::<Vec<_>>() {
            is_whole(&task.await.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn words_that_wait_to_be_sorted_into_the_vocabulary_wait_on() {
    let world = World::sqlite();
    let path = world.url.strip_prefix("sqlite:").unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    migrator("sqlite", 24).await.run_direct(None, &mut connection, false).await.unwrap();
    let words = "INSERT INTO search_new_words (word) VALUES ('number17x'), ('東京')";
    connection.execute(words).await.unwrap();
    world.open().await.close().await;
    let waiting: Vec<(i64, String)> = sqlx::query_as("SELECT total, words FROM search_new_words")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(waiting, [(2, r#"["number17x","東京"]"#.to_owned())]);
}
