//! Folders, run once and again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use ocelli_core::routing::Queue;
use ocelli_core::{Digest, RevisionBuilder};

use crate::world::{ANALYZERS, World, png};

#[tokio::test]
async fn a_second_run_enqueues_nothing_and_a_third_only_what_is_new() {
    let world = World::new().await;
    for n in 0..5 {
        world.put_image(format!("{n}.png"), n);
    }
    let (first, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((first.accepted, first.enqueued, first.jobs), (5, 5, 10));
    assert_eq!(first.name, "images");
    let facts = &sent.intakes[0].image;
    assert_eq!((facts.width, facts.height), (Some(8), Some(8)));
    assert_eq!(facts.bytes, png(0).len() as u64);

    let (second, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((second.accepted, second.known, second.jobs), (5, 5, 0));
    assert_eq!(sent.reports.last().unwrap().known, 5);

    world.put_image("sub/new.png", 99);
    let (third, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((third.accepted, third.known, third.enqueued), (6, 5, 1));
    let new: Vec<_> = sent.intakes.iter().filter(|intake| !intake.wants.is_empty()).collect();
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].image.digest, Digest::of(&png(99)));
    for analyzer in ANALYZERS {
        assert_eq!(world.waiting(analyzer).await, 6);
    }
}

#[tokio::test]
async fn a_new_analyzer_or_revision_enqueues_only_itself() {
    let mut world = World::new().await;
    world.put_image("a.png", 1);
    let digest = Digest::of(&png(1));
    let all = std::mem::take(&mut world.wanted);
    world.wanted = vec![all[0].clone()];
    assert_eq!(world.produce(&[&world.images()]).await.0.jobs, 1);
    let old = RevisionBuilder::new("ocr").build();
    world.answer(digest, ANALYZERS[0], &old).await;

    world.wanted = all;
    let (_, sent) = world.produce(&[&world.images()]).await;
    assert_eq!(sent.intakes[0].wants, [world.wanted[1].clone()]);

    world.wanted[0].revision = Some(old);
    assert_eq!(world.produce(&[&world.images()]).await.0.jobs, 0);
    world.wanted[0].revision = Some(RevisionBuilder::new("ocr").part("version", 2).build());
    let (_, sent) = world.produce(&[&world.images()]).await;
    assert_eq!(sent.intakes[0].wants, [world.wanted[0].clone()]);
}

#[tokio::test]
async fn the_same_bytes_under_two_names_are_one_set_of_jobs_and_two_sightings() {
    let world = World::new().await;
    world.put_image("a.png", 1);
    world.put_image("copy of a.png", 1);
    let (summary, _) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.accepted, summary.enqueued, summary.known), (2, 1, 1));
    let record = world.catalog.record(&Digest::of(&png(1))).await.unwrap().unwrap();
    assert_eq!(record.sightings.len(), 2);
    assert_eq!(record.open().len(), 2);
    assert_eq!(world.waiting(ANALYZERS[0]).await, 1);
}

#[tokio::test]
async fn names_that_are_not_utf8_or_hold_line_breaks_keep_their_bytes() {
    let world = World::new().await;
    let names = [OsStr::from_bytes(b"a\xff\xfe.png"), OsStr::new("line\nbreak %41.png")];
    for (number, name) in (0..).zip(names) {
        world.put_image(name, number);
    }
    let (summary, sent) = world.produce(&[&world.images()]).await;
    assert_eq!(summary.enqueued, 2);
    for name in names {
        let path = world.at(name);
        assert!(sent.intakes.iter().any(|intake| intake.sources[0].path() == Some(path.clone())));
    }
}

#[tokio::test]
async fn broken_links_and_loops_are_problems_and_everything_else_goes_on() {
    let mut world = World::new().await;
    world.options.follow_links = true;
    world.put_image("deep/a.png", 1);
    symlink("gone.png", world.at("broken.png")).unwrap();
    symlink("..", world.at("deep/back")).unwrap();
    symlink("deep/a.png", world.at("z.png")).unwrap();
    let (summary, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.accepted, summary.enqueued, summary.problems), (2, 1, 2));
    assert!(sent.problem("broken.png").reason.contains("broken link"));
    assert!(sent.problem("deep/back").reason.contains("loop of folders"));
    assert_eq!(summary.first_problems.len(), 2);
    let stored = world.catalog.problems(Some(summary.batch), 10).await.unwrap();
    assert_eq!(stored.len(), 2);
}

#[tokio::test]
async fn files_that_are_no_images_are_skipped_unless_somebody_named_them() {
    let world = World::new().await;
    world.put("notes.md", b"# notes");
    world.put("empty", b"");
    let script = world.put("script.sh", b"#!/bin/sh\n");
    world.put_image("image without extension", 3);
    let (summary, _) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.skipped, summary.accepted, summary.problems), (3, 1, 0));
    let (summary, sent) = world.produce(&[&script]).await;
    assert_eq!((summary.skipped, summary.refused), (0, 1));
    assert!(sent.refusals()[0].contains("not an image"), "{:?}", sent.refusals());
}

#[tokio::test]
async fn bulk_work_goes_to_its_own_queues() {
    let mut world = World::new().await;
    world.options.bulk = true;
    world.options.batch_name = Some("backfill".to_owned());
    world.put_image("a.png", 1);
    let (summary, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.name.as_str(), sent.reports[0].name.as_str()), ("backfill", "backfill"));
    let bulk = Queue::Bulk(ANALYZERS[0].parse().unwrap());
    assert_eq!(world.broker.depth(&bulk).await.unwrap().ready, 1);
    assert_eq!(world.waiting(ANALYZERS[0]).await, 0);
}

#[tokio::test]
async fn thousands_of_small_files_are_each_accepted_once() {
    let mut world = World::new().await;
    // Small widths: what is in memory at once must not depend on the number of files.
    world.options.listed_ahead = 16;
    world.options.lookup_batch = 100;
    world.options.publish_window = 32;
    for n in 0..5000 {
        world.put_image(format!("{}/{n}.png", n % 7), n / 2);
    }
    let (summary, _) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.accepted, summary.enqueued, summary.known), (5000, 2500, 2500));
    let progress = world.progress.borrow().clone();
    assert!(progress.is_finished());
    assert_eq!((progress.listed, progress.bytes), (5000, summary.bytes));
    let (again, _) = world.produce(&[&world.images()]).await;
    assert_eq!((again.known, again.jobs), (5000, 0));
}

#[tokio::test]
async fn a_large_batch_goes_behind_fresh_work_after_its_share() {
    let mut world = World::new().await;
    world.options.fresh_images = 3;
    for n in 0..5 {
        world.put_image(format!("{n}.png"), n);
    }
    let (summary, _) = world.produce(&[&world.images()]).await;
    assert_eq!(summary.enqueued, 5);
    for analyzer in ANALYZERS {
        let bulk = Queue::Bulk(analyzer.parse().unwrap());
        let bulk = world.broker.depth(&bulk).await.unwrap().ready;
        assert_eq!((world.waiting(analyzer).await, bulk), (3, 2), "{analyzer}");
    }
    world.put_image("small/a.png", 9);
    world.produce(&[&world.at("small")]).await;
    assert_eq!(world.waiting(ANALYZERS[0]).await, 4, "another batch has its own share");
}
