//! How much is in hand at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::world::{Act, World};

/// Waits for something that tasks of this test bring about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect(what);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_jobs_at_once_follows_what_the_analyzer_learns_while_it_works() {
    let gate = Arc::new(Semaphore::new(0));
    let mut world = World::new(&vec![Act::Await(Arc::clone(&gate)); 20]).await;
    for n in 0..20_u8 {
        let (path, digest) = world.file(&n.to_string(), &[n]);
        world.enqueue(digest, &[&path], None).await;
    }
    let load = Arc::clone(&world.reader.load);
    let now = || load.now.load(Ordering::SeqCst);
    let ended = || load.ended.load(Ordering::SeqCst);
    world.start();
    until("one job", || now() == 1).await;

    world.reader.slots.store(4, Ordering::SeqCst);
    gate.add_permits(1);
    until("four jobs after the next one ended", || now() == 4).await;

    world.reader.slots.store(2, Ordering::SeqCst);
    gate.add_permits(1);
    until("the pipe has asked again", || ended() == 2).await;
    gate.add_permits(2);
    until("two jobs after some ended", || ended() == 4 && now() == 2).await;
    load.most.store(0, Ordering::SeqCst);
    gate.add_permits(16);
    until("all jobs", || ended() == 20).await;
    assert!(load.most.load(Ordering::SeqCst) <= 2, "never more than two again");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn images_in_hand_are_bounded_by_their_bytes_too() {
    let gate = Arc::new(Semaphore::new(0));
    let mut world = World::new(&vec![Act::Await(Arc::clone(&gate)); 9]).await;
    world.reader.slots.store(8, Ordering::SeqCst);
    // Each image says that it has one byte, and takes the smallest part that is handed out.
    world.reader.bytes = 3 * 4096;
    for n in 0..9_u8 {
        let (path, digest) = world.file(&n.to_string(), &[n]);
        world.enqueue(digest, &[&path], None).await;
    }
    let load = Arc::clone(&world.reader.load);
    world.start();
    until("three images", || load.now.load(Ordering::SeqCst) == 3).await;
    gate.add_permits(9);
    until("all images", || load.ended.load(Ordering::SeqCst) == 9).await;
    assert_eq!(load.most.load(Ordering::SeqCst), 3);
    world.stop().await;
}
