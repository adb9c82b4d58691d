//! What comes through the queue of jobs and is none: garbage, jobs of others, fences and heartbeats.

use jiff::Timestamp;
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Fence, Intake, Message};
use ocelli_core::{Digest, ImageFacts, Want};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn what_is_no_job_ends_in_the_dead_queue_and_never_loops() {
    let mut world = World::new(&[]).await;
    world.send(b"garbage".to_vec()).await;
    let elsewhere = Message::Intake(Intake {
        image: ImageFacts {
            digest: Digest::of(b"x"),
            bytes: 1,
            format: None,
            width: None,
            height: None,
        },
        sources: vec![],
        sighting: None,
        wants: vec![Want { analyzer: "someone-else".parse().unwrap(), revision: None }],
        refusal: None,
        enqueued_at: Timestamp::now(),
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    });
    world.send(elsewhere.encode().unwrap()).await;
    world.start();
    let mut dead = world.broker.consume(&Queue::Dead, 10).await.unwrap();
    for _ in 0..2 {
        let delivery = dead.next().await.unwrap();
        delivery.ack().await.unwrap();
    }
    drop(dead);
    world.stop().await;
    assert_eq!(world.ready(world.jobs()).await, 0);
    assert_eq!(*world.reader.calls.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fence_passes_through_both_queues_and_comes_out_once() {
    let mut world = World::new(&[]).await;
    let fence = Fence {
        analyzer: world.reader.name.clone(),
        published_at: "2024-05-04T09:00:51Z".parse().unwrap(),
        bulk: false,
        pulse: false,
    };
    world.send(Message::Fence(fence.clone()).encode().unwrap()).await;
    world.start();
    assert_eq!(world.next().await, Message::FencePassed(Fence { bulk: true, ..fence }));
    world.stop().await;
    assert_eq!(world.ready(Queue::Bulk(world.reader.name.clone())).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_leaves_out_the_queue_for_backfills() {
    let mut world = World::new(&[]).await;
    let mark = Fence {
        analyzer: world.reader.name.clone(),
        published_at: "2024-05-04T09:00:51Z".parse().unwrap(),
        bulk: false,
        pulse: true,
    };
    world.send(Message::Fence(mark.clone()).encode().unwrap()).await;
    world.start();
    assert_eq!(world.next().await, Message::FencePassed(mark));
    world.stop().await;
}
