//! From the queues into the catalog.

use ocelli_broker::Delivery;
use ocelli_catalog::FailureFilter;
use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;
use ocelli_core::{Digest, FailureClass};
use sqlx::{Connection as _, Executor as _};

use crate::world::{World, intake, ocr, partial, revision, until};

#[tokio::test]
async fn duplicates_and_answers_before_their_image_make_one_record_each() {
    let world = World::new().await;
    let messages: Vec<Message> = (0..40)
        .flat_map(|n| {
            let image = n.to_string();
            [partial(&image), Message::Intake(intake(&image)), partial(&image)]
        })
        .collect();
    world.results(&messages).await;
    world.results(&messages).await;
    world.results(&[partial("unknown")]).await;
    let (stop, collector) = world.collector();
    until("all is written", async || world.metric("ocelli_collected_messages_total") >= 241.0)
        .await;
    stop.cancel();
    collector.await.unwrap().unwrap();
    let status = world.catalog.status(jiff::Timestamp::now()).await.unwrap();
    assert_eq!((status.images, status.complete, status.sightings), (40, 40, 40));
    assert_eq!(world.metric("ocelli_records_completed_total"), 40.0);
    assert_eq!(world.ready(&Queue::Results).await, 0);
    let problems = world.catalog.audit().await.unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("has not arrived"), "{problems:?}");
}

#[tokio::test]
async fn garbage_and_messages_of_the_future_are_rows_and_keep_nothing_up() {
    let world = World::new().await;
    let mut future = Message::Intake(intake("future")).encode().unwrap();
    let version = future.windows(3).position(|bytes| bytes == b"\xa1v\x01").unwrap() + 2;
    future[version] = 99;
    world.send(Queue::Results, "", vec![0xff; 100]).await;
    world.send(Queue::Results, "future", future).await;
    world.send(Queue::Dead, "direct", b"who put this here".to_vec()).await;
    let unwritable = Message::Fence(ocelli_core::wire::Fence {
        analyzer: ocr(),
        published_at: jiff::Timestamp::now(),
        bulk: false,
        pulse: false,
    });
    world.results(&[unwritable, Message::Intake(intake("a")), partial("a")]).await;
    let (stop, collector) = world.collector();
    until("all is told", async || world.metric("ocelli_dead_letters_total") >= 4.0).await;
    until("the good ones are written", async || {
        world.metric("ocelli_records_completed_total") >= 1.0
    })
    .await;
    stop.cancel();
    collector.await.unwrap().unwrap();
    let letters = world.catalog.dead_letters(&FailureFilter::default()).await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(letters.len(), 3, "a lost fence is only a mark: {reasons:?}");
    for words in ["not an ocelli envelope", "upgrade this process", "directly"] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
    }
    assert_eq!(world.ready(&Queue::Dead).await + world.ready(&Queue::Results).await, 0);
}

#[tokio::test]
async fn a_job_that_died_is_a_failure_with_its_reason() {
    let world = World::new().await;
    let jobs = Queue::Jobs(ocr());
    let job = intake("a");
    let body = Message::Intake(job.clone()).encode().unwrap();
    world.results(&[Message::Intake(job)]).await;
    world.send(jobs.clone(), "m", body).await;
    // As a worker that is killed each time it has the job.
    let mut consumer = world.broker.consume(&jobs, 1).await.unwrap();
    for _ in 0..=ocelli_broker::topology::DELIVERY_LIMIT {
        drop::<Option<Delivery>>(consumer.next().await);
    }
    let (stop, collector) = world.collector();
    until("it is a failure", async || {
        !world.catalog.failures(&FailureFilter::default()).await.unwrap().is_empty()
    })
    .await;
    stop.cancel();
    collector.await.unwrap().unwrap();
    let failure = &world.catalog.failures(&FailureFilter::default()).await.unwrap()[0];
    assert_eq!((failure.class, &failure.revision), (FailureClass::Crash, &revision()));
    assert!(failure.reason.contains("delivery_limit"), "{}", failure.reason);
    let history = world.catalog.history(&Digest::of(b"a")).await.unwrap();
    assert!(matches!(Message::decode(&history.letters[0].body), Ok(Message::Intake(_))));
    assert!(world.catalog.audit().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn while_the_catalog_is_away_nothing_is_acked_and_nothing_is_lost() {
    let world = World::new().await;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(world.folder.path().join("c.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let messages: Vec<Message> = (0..30).map(|n| Message::Intake(intake(&n.to_string()))).collect();
    world.results(&messages).await;
    world.send(Queue::Dead, "direct", b"?".to_vec()).await;
    let (stop, collector) = world.collector();
    until("it has tried several times", async || {
        world.metric("ocelli_collector_commit_failures_total") >= 4.0
    })
    .await;
    assert!(world.metric("ocelli_collector_commit_failures_total") < 50.0, "a hot loop");
    stop.cancel();
    collector.await.unwrap().unwrap();
    assert_eq!(world.ready(&Queue::Results).await, 30, "given back");
    assert_eq!(world.ready(&Queue::Dead).await, 1, "given back");
    let (stop, collector) = world.collector();
    other.execute("ROLLBACK").await.unwrap();
    until("all is written", async || {
        let status = world.catalog.status(jiff::Timestamp::now()).await.unwrap();
        (status.images, status.dead_letters) == (30, 1)
    })
    .await;
    stop.cancel();
    collector.await.unwrap().unwrap();
    assert_eq!(world.ready(&Queue::Results).await + world.ready(&Queue::Dead).await, 0);
}
