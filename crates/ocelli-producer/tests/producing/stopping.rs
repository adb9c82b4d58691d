//! The end of a run before its sources': shutdown, a missing queue.

use ocelli_broker::{Broker, MemoryOptions};
use ocelli_core::routing::Queue;
use ocelli_producer::{ProducerError, Source, run};
use tokio_util::sync::CancellationToken;

use crate::world::{ANALYZERS, PATIENCE, World};

#[tokio::test]
async fn a_stopped_run_says_so_and_the_next_one_enqueues_exactly_the_rest() {
    let mut world = World::new().await;
    // The job queues hold ten: the run waits there until it is stopped.
    world.broker = Broker::memory(MemoryOptions { capacity_per_queue: 10 });
    let names = ANALYZERS.map(|name| name.parse().unwrap());
    world.broker.declare(&ocelli_core::routing::queues(&names, &[])).await.unwrap();
    world.options.drain = std::time::Duration::from_millis(50);
    world.options.report_every = std::time::Duration::from_secs(3600);
    for n in 0..50 {
        world.put_image(format!("{n:02}.png"), n);
    }
    let shutdown = CancellationToken::new();
    let mut progress = world.progress.subscribe();
    let running =
        tokio::spawn(run(world.parts(vec![Source::Path(world.images())]), shutdown.clone()));
    // One place in the results queue belongs to the report at the start.
    let full = progress.wait_for(|progress| progress.accepted >= 9);
    tokio::time::timeout(PATIENCE, full).await.unwrap().unwrap();
    shutdown.cancel();
    let first = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    assert!(!first.finished);
    assert!(first.accepted < 50);

    let sent = world.collect().await;
    let mut digests: Vec<_> = sent.intakes.iter().map(|intake| intake.image.digest).collect();
    world.broker = Broker::memory(MemoryOptions { capacity_per_queue: 1000 });
    world.broker.declare(&ocelli_core::routing::queues(&names, &[])).await.unwrap();
    let (second, sent) = world.produce(&[&world.images()]).await;
    assert_eq!(second.known as usize, digests.len());
    assert_eq!(second.enqueued as usize, 50 - digests.len());
    digests.extend(sent.intakes.iter().filter(|i| !i.wants.is_empty()).map(|i| i.image.digest));
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 50);
}

#[tokio::test]
async fn a_missing_queue_ends_the_run_with_its_name() {
    let mut world = World::new().await;
    world.broker = Broker::memory(MemoryOptions { capacity_per_queue: 10 });
    world.broker.declare(&[Queue::Results]).await.unwrap();
    world.put_image("a.png", 1);
    let error = world.try_produce(&[&world.images()]).await.unwrap_err();
    let ProducerError::Publish { source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("jobs."), "{source}");
    let sent = world.collect().await;
    assert!(!sent.reports.last().unwrap().finished);
}

#[tokio::test]
async fn an_empty_folder_is_a_finished_run() {
    let world = World::new().await;
    let (summary, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.accepted, summary.problems, sent.intakes.len()), (0, 0, 0));
}
