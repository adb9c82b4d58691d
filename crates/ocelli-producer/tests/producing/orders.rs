//! A batch that people pause, resume or cancel while it is produced; what failed is tried again.

use std::time::Duration;

use jiff::Timestamp;
use ocelli_catalog::{BatchOrder, ReferenceOutcome};
use ocelli_core::{BatchId, Digest};
use ocelli_producer::{ProducerError, Source, run};
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, World, png};

/// The id of the run, as soon as it has begun.
async fn begun(world: &World) -> BatchId {
    let mut progress = world.progress.subscribe();
    let progress = tokio::time::timeout(PATIENCE, progress.wait_for(|now| now.batch.is_some()));
    progress.await.unwrap().unwrap().batch.unwrap()
}

#[tokio::test]
async fn a_paused_run_publishes_nothing_until_it_goes_on_and_a_cancelled_one_ends() {
    for cancelled in [false, true] {
        let mut world = World::new().await;
        world.options.report_every = Duration::from_millis(10);
        // A pipe that nobody closes keeps the run from ending.
        let pipe = world.at("list.txt");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let path = world.put_image("a.png", 1);
        let lines = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::OpenOptions::new().write(true).open(pipe).unwrap()
        });
        let running =
            tokio::spawn(run(world.parts(vec![Source::Manifest(pipe)]), CancellationToken::new()));
        let batch = begun(&world).await;
        let mut lines = tokio::task::spawn_blocking(|| lines.join().unwrap()).await.unwrap();
        world.catalog.order_batch(batch, BatchOrder::Paused, Timestamp::now()).await.unwrap();
        let mut progress = world.progress.subscribe();
        let paused = progress.wait_for(|now| now.paused);
        tokio::time::timeout(PATIENCE, paused).await.unwrap().unwrap();
        std::io::Write::write_all(&mut lines, format!("{}\n", path.display()).as_bytes()).unwrap();
        let listed = progress.wait_for(|now| now.listed == 1);
        tokio::time::timeout(PATIENCE, listed).await.unwrap().unwrap();
        // It goes on reporting, and sends nothing else.
        world.reports_of(batch, 20).await;
        assert_eq!(world.progress.borrow().accepted, 0, "it waits");
        let order = if cancelled { BatchOrder::Cancelled } else { BatchOrder::Resumed };
        world.catalog.order_batch(batch, order, Timestamp::now()).await.unwrap();
        if cancelled {
            let ended = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
            assert!(matches!(ended, Err(ProducerError::Cancelled)), "{ended:?}");
        } else {
            let accepted = progress.wait_for(|now| now.accepted == 1);
            tokio::time::timeout(PATIENCE, accepted).await.unwrap().unwrap();
            drop(lines);
            let summary = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
            assert!(summary.finished);
        }
    }
}

#[tokio::test]
async fn every_reference_is_told_and_what_failed_can_be_tried_again_alone() {
    let world = World::new().await;
    world.put_image("a.png", 1);
    world.put("b.png", b"not an image, although its name says so");
    world.put("c.txt", b"a text");
    let list = world.put("../list.txt", b"images/a.png\nimages/later.png\n\xff\0bad\n");
    let (summary, _) = world.produce(&[&world.images(), &list]).await;
    let outcomes = async |batch: BatchId| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = world.catalog.references(batch, after.as_ref(), false, 2).await.unwrap();
            all.extend(page.references);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    };
    let all = outcomes(summary.batch).await;
    let count = |outcome| all.iter().filter(|one| one.outcome == outcome).count() as u64;
    assert_eq!(all.len() as u64, summary.accepted + summary.skipped + summary.problems);
    assert_eq!(count(ReferenceOutcome::Accepted), summary.enqueued, "{all:?}");
    assert_eq!(count(ReferenceOutcome::Known), summary.known);
    assert_eq!(count(ReferenceOutcome::Refused), summary.refused);
    assert_eq!(count(ReferenceOutcome::Skipped), 1);
    assert_eq!(count(ReferenceOutcome::Failed), 2);
    let skipped = all.iter().find(|one| one.outcome == ReferenceOutcome::Skipped).unwrap();
    assert!(skipped.reference.ends_with("c.txt") && skipped.rule.as_deref() == Some("type"));
    let refused = all.iter().find(|one| one.outcome == ReferenceOutcome::Refused).unwrap();
    assert!(refused.reference.ends_with("b.png") && refused.reason.is_some());

    world.put("later.png", &png(2));
    let again = Source::Failed(summary.batch.to_string());
    let (summary, sent) = world.produce_sources(vec![again]).await;
    assert_eq!((summary.enqueued, summary.problems), (1, 1));
    assert!(sent.problems[0].reason.contains("tried again alone"), "{:?}", sent.problems);
    let error = world.try_sources(vec![Source::Failed("no such batch".to_owned())]).await;
    assert!(error.unwrap_err().to_string().contains("there is no batch 'no such batch'"));
}

#[tokio::test]
async fn what_a_list_said_of_a_reference_counts_when_it_is_tried_again() {
    let world = World::new().await;
    let digest = Digest::of(&png(1));
    let list = format!(
        "path,first_seen,digest,author\nlater.png,2024-05-04T09:00:51Z,{digest},me\nwrong.png,,{digest},\n"
    );
    let list = world.put("list.csv", list.as_bytes());
    let (mut failed, _) = world.produce(&[&list]).await;
    assert_eq!((failed.accepted, failed.problems), (0, 2));
    world.put_image("later.png", 1);
    world.put_image("wrong.png", 2);
    // The second time it is known from the first one only.
    for enqueued in [1, 0] {
        let again = Source::Failed(failed.batch.to_string());
        let (summary, sent) = world.produce_sources(vec![again]).await;
        assert_eq!((summary.enqueued, summary.problems), (enqueued, 1));
        assert!(sent.problem("wrong.png").reason.contains("another digest"), "{sent:?}");
        failed = summary;
    }
    let record = world.catalog.record(&digest).await.unwrap().unwrap();
    assert_eq!(record.first_seen().unwrap().to_string(), "2024-05-04T09:00:51Z");
    let source = record.sightings.keys().next().unwrap();
    let said: Vec<_> = record.said(source).collect();
    assert_eq!(said, [("author", "me")]);
}
