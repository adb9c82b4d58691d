//! What fails, hangs, is away or is stopped: what is tried again, and what of it counts as an attempt.

use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;
use ocelli_core::{FailureClass, Outcome};

use crate::world::{Act, World};

#[tokio::test(start_paused = true)]
async fn a_passing_failure_is_noted_and_tried_again_with_its_count() {
    let fail = Act::Fail(FailureClass::Transient);
    let mut world = World::new(&[fail.clone(), fail, Act::Read("at last")]).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    world.start();
    for attempts in 1..=2 {
        let note = world.next_deferred().await;
        assert_eq!(
            (note.digest, note.class, note.attempts),
            (digest, FailureClass::Transient, attempts)
        );
        assert_eq!(note.reason, "as scripted");
    }
    assert_eq!(world.next_analysis().await.attempts, 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lasting_failure_becomes_an_outcome_at_once() {
    let mut world = World::new(&[Act::Fail(FailureClass::Permanent)]).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    world.start();
    let analysis = world.next_analysis().await;
    assert_eq!(
        analysis.outcome,
        Outcome::Failed { class: FailureClass::Permanent, reason: "as scripted".into() }
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_panics_twice_on_an_image_fails_it_and_goes_on_with_the_next() {
    let mut world = World::new(&[Act::Panic, Act::Panic, Act::Read("neighbour")]).await;
    let (bad, bad_digest) = world.file("bad", b"bad");
    world.enqueue(bad_digest, &[&bad], None).await;
    world.start();
    assert_eq!(world.next_deferred().await.class, FailureClass::Crash);
    let analysis = world.next_analysis().await;
    assert!(matches!(
        analysis.outcome,
        Outcome::Failed { class: FailureClass::Crash, reason } if reason.contains("as scripted")
    ));
    assert_eq!(analysis.attempts, 2);
    let (good, good_digest) = world.file("good", b"good");
    world.enqueue(good_digest, &[&good], None).await;
    assert!(matches!(world.next_analysis().await.outcome, Outcome::Done(_)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_spends_no_attempt_however_long_it_lasts() {
    let outage = Act::Fail(FailureClass::Outage);
    let mut world = World::new(&[&vec![outage; 20][..], &[Act::Read("back")]].concat()).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    world.start();
    for _ in 0..20 {
        let note = world.next_deferred().await;
        assert_eq!((note.class, note.attempts), (FailureClass::Outage, 0));
    }
    assert_eq!(world.next_analysis().await.attempts, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_analyzer_that_is_away_takes_no_job_and_says_why() {
    let mut world = World::new(&[]).await;
    world.reader.probes.lock().unwrap().extend([Err("the model server is away"); 5]);
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    let mut consumer = world.broker.consume(&Queue::Results, 10).await.unwrap();
    world.start();
    let mut waited = false;
    loop {
        let delivery = consumer.next().await.unwrap();
        match Message::decode(&delivery.body).unwrap() {
            Message::Announcement(a) => {
                waited |= a.waiting.as_deref() == Some("the model server is away");
            }
            Message::Partial(partial) => {
                assert_eq!(partial.analysis.attempts, 1);
                break;
            }
            other => panic!("{other:?}"),
        }
        delivery.ack().await.unwrap();
    }
    assert!(waited, "the reason must have been announced");
    drop(consumer);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_gives_the_job_back_uncounted() {
    let mut world = World::new(&[Act::Hang, Act::Read("second worker")]).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    world.start();
    world.reader.begun.notified().await;
    world.stop().await;
    assert_eq!(world.ready(world.jobs()).await, 1);
    world.start();
    assert_eq!(world.next_analysis().await.attempts, 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_analysis_without_end_is_cut_off_and_counted() {
    let mut world = World::new(&[Act::Hang, Act::Read("next time")]).await;
    let (path, digest) = world.file("a", b"image");
    world.enqueue(digest, &[&path], None).await;
    world.start();
    let note = world.next_deferred().await;
    assert_eq!((note.class, note.attempts), (FailureClass::Transient, 1));
    assert!(note.reason.contains("worker.job_deadline"), "{}", note.reason);
    assert_eq!(world.next_analysis().await.attempts, 2);
    world.stop().await;
}
