//! How PostgreSQL finds what messages and workers are about, in an archive that nobody analyzed yet: statements are prepared while its
//! tables are nearly empty, and are used on while they grow.

use std::time::{Duration, Instant};

use ocelli_catalog::query::Query;
use ocelli_catalog::search::Detail;
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::Digest;
use ocelli_core::claim::{ClaimRequest, JobKey};
use ocelli_core::wire::Message;
use ocelli_testkit::servers::OwnPostgres;
use ocelli_testkit::wait_until;
use sqlx::{Connection as _, Executor as _};

use crate::claims::attempt;
use crate::words::*;
use crate::world::World;

const ROUNDS: u64 = 30;
const RECORDS: u64 = 50;
/// Rows of a table that may be read along, all rounds together: fewer than it has. Read from one end to the other in each round, they
/// would be twenty times as many.
const READ_ALONG: i64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_messages_and_jobs_are_about_is_never_looked_for_in_whole_tables() {
    let world = World::postgres().await;
    let catalog = world.open().await;
    let images = |round: u64| (0..RECORDS).map(move |number| format!("image {round} {number}"));
    for round in 0..ROUNDS {
        let mut messages = Vec::new();
        for image in images(round) {
            let mut seen = intake(&image, &[OCR, LLM]);
            seen.sighting = Some(sighting(&image, 1, 1));
            messages.push(Message::Intake(seen));
            messages.push(partial(&image, OCR, done("some words"), 5));
        }
        catalog.apply(&messages).await.unwrap();
        let later = images(round).map(|image| partial(&image, LLM, done("some words"), 6));
        catalog.apply(&later.collect::<Vec<_>>()).await.unwrap();
        let asked = images(round).chain(["unknown".to_owned()]).map(|image| ClaimRequest {
            job: JobKey {
                digest: Digest::of(image.as_bytes()),
                analyzer: name(OCR),
                revision: revision(1),
            },
            attempt: attempt(1),
            holder: "host:1".to_owned(),
            batch: Some(batch(1)),
            lease: None,
        });
        assert_eq!(catalog.look(asked.collect()).await.unwrap().len() as u64, RECORDS + 1);
        let digests: Vec<Digest> =
            images(round).map(|image| Digest::of(image.as_bytes())).collect();
        let records = catalog.records(&digests, Detail::Whole).await.unwrap();
        assert!(records.values().all(|record| record.analyses.len() == 2 && record.is_complete()));
        assert_eq!(records.len() as u64, RECORDS);
    }
    // The database counts what a connection did at the latest when it ends.
    catalog.close().await;
    wait_until("the rows that were read are counted", Duration::from_secs(20), || async {
        counted(&world).await.iter().any(|(table, _, looks)| table == "analyses" && *looks > 1_500)
    })
    .await;
    let read = counted(&world).await;
    assert_eq!(read.len(), 7);
    for (table, along, _) in &read {
        assert!(*along <= READ_ALONG, "{along} rows of {table} were read along: {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_words_are_sorted_into_their_index_beside_whoever_writes() {
    let world = World::postgres().await;
    let catalog = world.open().await;
    world.execute("CREATE EXTENSION pgstattuple").await;
    let texts = |part: u32| {
        let word = move |number: u32| format!("w{}x ", 1_000_000 * part + number);
        let text: String = (100_000..140_000).map(word).collect();
        [Message::Intake(intake(&text[..20], &[OCR])), partial(&text[..20], OCR, done(&text), 5)]
    };
    // Less than is sorted in by anybody while more comes.
    let started = Instant::now();
    catalog.apply(&texts(1)).await.unwrap();
    let waited = waiting(&world).await;
    assert!(waited > 10 || started.elapsed() > Duration::from_secs(2), "nothing waits");
    // More than that, and less than a transaction sorts in by itself.
    for part in 2..14 {
        catalog.apply(&texts(part)).await.unwrap();
    }
    wait_until("the words are sorted in", Duration::from_secs(30), || async {
        waiting(&world).await == 0
    })
    .await;
    catalog.close().await;
}

/// A server that would compile everything, as it does by itself what it takes for long: of tables that nobody analyzed, the rows of
/// a hundred images.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_read_without_compiling_statements() {
    let with = ["shared_preload_libraries=pg_stat_statements", "jit_above_cost=0"];
    let server = OwnPostgres::start_with(&with).await.unwrap();
    let database = server.database().await;
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    let catalog = Catalog::open(&database.url, CatalogOptions::default()).await.unwrap();
    catalog
        .apply(&[Message::Intake(intake("a", &[OCR])), partial("a", OCR, done("some words"), 5)])
        .await
        .unwrap();
    connection.execute("CREATE EXTENSION pg_stat_statements").await.unwrap();
    connection.execute("SELECT pg_stat_statements_reset()").await.unwrap();
    let listed = catalog.places(&Query::parse("").unwrap(), None, 10).await.unwrap();
    assert_eq!(catalog.listed_records(&listed, Detail::Whole).await.unwrap().len(), 1);
    catalog.close().await;
    connection.execute("SELECT i.first_seen FROM images i").await.unwrap();
    let asked: Vec<(bool, i64)> = sqlx::query_as(
        "SELECT jit_functions > 0, count(*) FROM pg_stat_statements \
         WHERE query LIKE '%i.first_seen%' OR query LIKE '%a.provenance%' GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    // Places, images and answers; then what this test asked for comparison.
    assert_eq!(asked, [(false, 3), (true, 1)]);
}

/// Pages of words that wait to be sorted into the index.
async fn waiting(world: &World) -> i64 {
    let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
    sqlx::query_scalar("SELECT pending_pages::bigint FROM pgstatginindex('search_words')")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// Of each table, how many rows were read along, and how often its indexes were looked into.
async fn counted(world: &World) -> Vec<(String, i64, i64)> {
    let mut connection = sqlx::PgConnection::connect(&world.url).await.unwrap();
    sqlx::query_as(
        "SELECT relname::text, seq_tup_read, idx_scan FROM pg_stat_user_tables WHERE relname IN \
         ('images', 'sightings', 'batch_images', 'wants', 'analyses', 'search_answers', 'agreements') ORDER BY relname",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}
