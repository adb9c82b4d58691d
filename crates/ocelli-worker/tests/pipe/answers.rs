//! What is done and told: each job once, over bytes that are what was asked for, under the revision that read them.

use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;
use ocelli_core::{Digest, FailureClass, Outcome};

use crate::world::{Act, World, revision};

#[tokio::test(start_paused = true)]
async fn an_answer_is_published_and_the_job_is_gone() {
    let mut world = World::new(&[Act::Read("hello")]).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    world.start();
    let analysis = world.next_analysis().await;
    assert_eq!(analysis.revision, revision(1));
    assert_eq!(analysis.attempts, 1);
    assert!(matches!(analysis.outcome, Outcome::Done(reading) if reading.text == "hello"));
    world.stop().await;
    assert_eq!(world.ready(world.jobs()).await, 0);
    assert_eq!(world.ready(Queue::Dead).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_knows_is_not_done_again() {
    let mut world = World::new(&[]).await;
    let (path, digest) = world.file("a", b"image");
    let (other, other_digest) = world.file("b", b"other");
    world.done.lock().unwrap().push(digest);
    world.enqueue(digest, &[&path], None).await;
    world.enqueue(other_digest, &[&other], None).await;
    world.start();
    assert!(matches!(world.next().await, Message::Partial(p) if p.digest == other_digest));
    world.stop().await;
    assert_eq!(*world.reader.calls.lock().unwrap(), 1);
    assert_eq!(world.ready(world.jobs()).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changed_is_found_out_and_another_source_is_tried() {
    let mut world = World::new(&[]).await;
    let (changed, _) = world.file("changed", b"new content");
    let (intact, digest) = world.file("intact", b"image");
    let gone = world.folder.path().join("gone");
    world.enqueue(digest, &[&gone, &changed, &intact], None).await;
    world.enqueue(Digest::of(b"never"), &[&changed], None).await;
    world.start();
    // Both are in hand at once: either may be first.
    let analyses = [world.next_analysis().await, world.next_analysis().await];
    assert!(analyses.iter().any(|analysis| matches!(analysis.outcome, Outcome::Done(_))));
    let failed = analyses.iter().find_map(|analysis| match &analysis.outcome {
        Outcome::Failed { class: FailureClass::Permanent, reason } => Some(reason.clone()),
        _ => None,
    });
    let Some(reason) = failed else { panic!("{analyses:?}") };
    assert!(reason.contains("has changed") && reason.contains("changed"), "{reason}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_another_revision_says_so_before_it_answers() {
    let mut world = World::new(&[]).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], Some(revision(9))).await;
    world.start();
    let Message::Intake(intake) = world.next().await else { panic!("expected the new want") };
    assert_eq!(intake.wants[0].revision, Some(revision(1)));
    assert_eq!(world.next_analysis().await.revision, revision(1));
    world.stop().await;
}

#[tokio::test]
async fn whoever_reads_an_image_first_tells_what_it_is() {
    let mut world = World::new(&[Act::Read("text"), Act::Fail(FailureClass::Permanent)]).await;
    world.size = 0;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x07\0\0\0\x05\x08\x02\0\0\0";
    let (path, digest) = world.file("a.png", png);
    let (broken, other) = world.file("b.png", b"no image at all");
    world.start();
    for (digest, path, bytes) in [(digest, &path, png.len()), (other, &broken, 15)] {
        world.enqueue(digest, &[path], None).await;
        let Message::Partial(partial) = world.next().await else { panic!("an answer comes") };
        let found = partial.image.unwrap();
        assert_eq!((found.digest, found.bytes), (digest, bytes as u64));
        assert_eq!(found.format.is_some(), digest != other);
    }
    world.size = 1;
    world.enqueue(digest, &[&path], None).await;
    let Message::Partial(partial) = world.next().await else { panic!("an answer comes") };
    assert_eq!(partial.image, None, "it is known");
    world.stop().await;
}
