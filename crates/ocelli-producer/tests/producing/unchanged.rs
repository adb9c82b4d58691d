//! Folders that are listed again: what has not changed is not read.

use std::fs::{File, FileTimes};
use std::time::Duration;

use ocelli_core::{Digest, RevisionBuilder};

use crate::world::{ANALYZERS, World, png};

/// A world whose file system has a fine clock, so that what is written now may be remembered now.
async fn world() -> World {
    let mut world = World::new().await;
    world.options.clock_grain = Duration::ZERO;
    world
}

#[tokio::test]
async fn a_file_that_has_not_changed_is_neither_read_nor_sent_again() {
    let world = world().await;
    for n in 0..5 {
        world.put_image(format!("{n}.png"), n);
    }
    world.put("broken.png", b"\x89PNG\r\n\x1a\n and no more");
    let (first, _) = world.produce(&[&world.images()]).await;
    assert_eq!((first.enqueued, first.refused, first.unread), (5, 1, 0));
    let (second, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((second.accepted, second.known, second.refused), (6, 5, 1));
    assert_eq!((second.unread, second.bytes, sent.intakes.len()), (6, 0, 0));
    let audit = world.catalog.audit().await.unwrap();
    assert!(audit.problems.is_empty(), "{:?}", audit.problems);
}

#[tokio::test]
async fn what_changed_is_read_though_its_size_and_its_time_are_as_before() {
    let world = world().await;
    // What stands behind the end of a PNG is no part of the picture.
    let padded = |number| {
        let mut bytes = png(number);
        bytes.resize(500, 0);
        bytes
    };
    let path = world.put("a.png", &padded(1));
    let modified = path.metadata().unwrap().modified().unwrap();
    world.produce(&[&world.images()]).await;
    std::fs::write(&path, padded(2)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    let (again, _) = world.produce(&[&world.images()]).await;
    assert_eq!((again.enqueued, again.unread), (1, 0));
    assert!(world.catalog.record(&Digest::of(&padded(2))).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_another_one_replaced_is_read() {
    let world = world().await;
    let path = world.put_image("a.png", 1);
    let new = world.put_image("b.png", 2);
    world.produce(&[&world.images()]).await;
    std::fs::rename(new, path).unwrap();
    let (again, _) = world.produce(&[&world.images()]).await;
    assert_eq!((again.known, again.unread), (1, 0), "known bytes at another place");
    let record = world.catalog.record(&Digest::of(&png(2))).await.unwrap().unwrap();
    assert_eq!(record.sightings.len(), 2);
}

#[tokio::test]
async fn a_file_that_was_written_a_moment_ago_is_not_remembered() {
    let mut world = World::new().await;
    world.options.clock_grain = Duration::from_secs(3600);
    world.put_image("a.png", 1);
    world.produce(&[&world.images()]).await;
    let (second, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((second.known, second.unread, sent.intakes.len()), (1, 0, 1));
}

#[tokio::test]
async fn a_file_whose_sighting_has_not_arrived_is_read_again() {
    let world = world().await;
    world.put_image("a.png", 1);
    let parts = world.parts(vec![ocelli_producer::Source::Path(world.images())]);
    let stop = tokio_util::sync::CancellationToken::new();
    let first = ocelli_producer::run(parts, stop.clone()).await.unwrap();
    // What the first run sent is still in its queue: nobody but the memory of files knows of it.
    let parts = world.parts(vec![ocelli_producer::Source::Path(world.images())]);
    let second = ocelli_producer::run(parts, stop).await.unwrap();
    assert_eq!((first.enqueued, second.enqueued, second.unread), (1, 1, 0));
}

#[tokio::test]
async fn a_new_analyzer_is_asked_about_a_file_that_is_not_read() {
    let mut world = world().await;
    world.put_image("a.png", 1);
    let all = std::mem::take(&mut world.wanted);
    world.wanted = vec![all[0].clone()];
    world.produce(&[&world.images()]).await;
    world.wanted = all;
    let (second, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((second.jobs, second.unread, second.bytes), (1, 1, 0));
    assert_eq!(sent.intakes[0].wants, [world.wanted[1].clone()]);
    assert_eq!(
        (sent.intakes[0].image.width, sent.intakes[0].image.bytes),
        (Some(8), png(1).len() as u64)
    );
    let revision = RevisionBuilder::new("ocr").build();
    world.answer(Digest::of(&png(1)), ANALYZERS[0], &revision).await;
    let (third, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((third.known, third.unread, sent.intakes.len()), (1, 1, 0));
}

#[tokio::test]
async fn an_earlier_date_in_a_list_is_told_of_a_file_that_is_not_read() {
    let world = world().await;
    world.put_image("a.png", 1);
    world.produce(&[&world.images()]).await;
    let list = world.put("list.csv", b"path,first_seen\na.png,2004-05-04T09:00:51Z\n");
    let (listed, sent) = world.produce(&[&list]).await;
    assert_eq!((listed.known, listed.unread, listed.bytes, sent.intakes.len()), (1, 1, 0, 1));
    let record = world.catalog.record(&Digest::of(&png(1))).await.unwrap().unwrap();
    assert_eq!(record.first_seen().unwrap().to_string(), "2004-05-04T09:00:51Z");
}

#[tokio::test]
async fn a_digest_in_a_list_that_is_not_the_remembered_one_has_the_file_read() {
    let world = world().await;
    world.put_image("a.png", 1);
    world.produce(&[&world.images()]).await;
    let other = Digest::of(b"other");
    let list = world.put("list.csv", format!("path,digest\na.png,{other}\n").as_bytes());
    let (listed, sent) = world.produce(&[&list]).await;
    assert_eq!((listed.problems, listed.unread), (1, 0));
    assert!(sent.problems[0].reason.contains("another digest"), "{:?}", sent.problems);
}

#[tokio::test]
async fn all_files_are_read_on_request() {
    let mut world = world().await;
    world.put_image("a.png", 1);
    world.produce(&[&world.images()]).await;
    world.options.skip_unchanged = false;
    let (second, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((second.known, second.unread, sent.intakes.len()), (1, 0, 1));
    assert_eq!(second.bytes, png(1).len() as u64);
}
