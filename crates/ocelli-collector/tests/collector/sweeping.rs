//! What got lost comes back, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_broker::MemoryOptions;
use ocelli_collector::{SweepOptions, Swept, requeue_jobs, requeue_open, sweep};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Deferred, Fence, Message};
use ocelli_core::{AnalyzerName, Digest, FailureClass};

use crate::world::{World, intake, ocr, partial};

/// A fleet whose jobs take no time and whose clocks agree.
fn options() -> SweepOptions {
    SweepOptions {
        longest_job: Duration::ZERO,
        silence: Duration::ZERO,
        clock_skew: Duration::ZERO,
        fence_patience: Duration::from_secs(600),
        turn: Duration::from_secs(1),
        needed_text: 1024,
    }
}

impl World {
    async fn sweep(&self) -> Swept {
        sweep(&self.broker, &self.catalog, &options(), &self.metrics).await.unwrap()
    }

    /// A worker that takes everything out of its queues: fences go on their way, jobs are returned to the test.
    async fn work(&self) -> Vec<Message> {
        let mut jobs = Vec::new();
        for queue in [Queue::Jobs(ocr()), Queue::Bulk(ocr())] {
            for message in self.drain(&queue).await {
                match message {
                    Message::Fence(fence) if fence.bulk => {
                        self.catalog.apply(&[Message::FencePassed(fence)]).await.unwrap();
                    }
                    Message::Fence(fence) => {
                        let next = Message::Fence(Fence { bulk: true, ..fence });
                        self.send(Queue::Bulk(ocr()), "fence", next.encode().unwrap()).await;
                    }
                    job => jobs.push(job),
                }
            }
        }
        jobs
    }

    /// As many sweeps as two fences take, with a worker that lives.
    async fn rounds(&self) -> (u64, Vec<Message>) {
        let (mut requeued, mut jobs) = (0, Vec::new());
        for _ in 0..4 {
            requeued += self.sweep().await.requeued;
            jobs.extend(self.work().await);
        }
        (requeued, jobs)
    }
}

#[tokio::test]
async fn a_broker_that_was_wiped_gets_every_open_job_again_exactly_once() {
    let world = World::new().await;
    for image in ["a", "b", "c"] {
        world.catalog.apply(&[Message::Intake(intake(image))]).await.unwrap();
    }
    world.catalog.apply(&[partial("c")]).await.unwrap();
    let (requeued, jobs) = world.rounds().await;
    assert_eq!((requeued, jobs.len()), (2, 2), "c has its answer");
    let Message::Intake(job) = &jobs[0] else { panic!("{jobs:?}") };
    assert_eq!((job.sources.len(), job.wants.len(), job.sighting.as_ref()), (1, 1, None));
    // Answered now: nothing is left to do.
    world.catalog.apply(&[partial("a"), partial("b")]).await.unwrap();
    assert_eq!(world.rounds().await, (0, vec![]));
    assert_eq!(world.metric("ocelli_swept_jobs_total"), 2.0);
}

#[tokio::test]
async fn a_job_that_waits_in_its_queue_is_left_alone_however_long() {
    let world = World::new().await;
    let job = Message::Intake(intake("a"));
    world.catalog.apply(std::slice::from_ref(&job)).await.unwrap();
    world.send(Queue::Jobs(ocr()), "m", job.encode().unwrap()).await;
    for _ in 0..5 {
        let swept = world.sweep().await;
        assert_eq!(swept.requeued, 0);
    }
    assert_eq!(world.ready(&Queue::Jobs(ocr())).await, 2, "the job, and one fence");
    assert_eq!(world.ready(&Queue::Bulk(ocr())).await, 0);
}

#[tokio::test]
async fn a_job_that_waits_for_a_later_attempt_is_left_alone() {
    let world = World::new().await;
    let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let deferred = Message::Deferred(Deferred {
        digest: Digest::of(b"a"),
        analyzer: ocr(),
        class: FailureClass::Transient,
        reason: "503".to_owned(),
        attempts: 1,
        next_at: later,
        spent: None,
    });
    world.catalog.apply(&[Message::Intake(intake("a")), deferred]).await.unwrap();
    assert_eq!(world.rounds().await, (0, vec![]));
}

#[tokio::test]
async fn a_dependent_job_that_nobody_has_enqueued_is_not_taken_for_lost() {
    let world = World::new().await;
    let mut job = intake("a");
    let need = "another".parse().unwrap();
    let need = ocelli_core::Need {
        analyzer: ocr(),
        of: vec![need],
        held: true,
        near: None,
        rules: Vec::new(),
        after: Vec::new(),
    };
    job.dependence.needs = vec![need];
    world.catalog.apply(&[Message::Intake(job)]).await.unwrap();
    assert_eq!(world.rounds().await, (0, vec![]));
    let jobs = [(Digest::of(b"a"), ocr())];
    let sent = requeue_jobs(&world.broker, &world.catalog, &jobs, 1024, &world.metrics).await;
    assert_eq!(sent.unwrap(), 0);
}

#[tokio::test]
async fn two_sweepers_at_once_enqueue_a_lost_job_once() {
    let world = World::new().await;
    let images: Vec<Message> = (0..50).map(|n| Message::Intake(intake(&n.to_string()))).collect();
    world.catalog.apply(&images).await.unwrap();
    let mut requeued = 0;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let (one, two) = tokio::join!(world.sweep(), world.sweep());
        requeued += one.requeued + two.requeued;
        jobs.extend(world.work().await);
    }
    let unique: BTreeSet<String> = jobs.iter().map(Message::id).collect();
    assert_eq!((jobs.len(), unique.len()), (50, 50), "{requeued} enqueued");
}

#[tokio::test]
async fn a_sweeper_that_dies_between_taking_and_publishing_loses_nothing() {
    let world = World::new().await;
    let job = intake("a");
    world.catalog.apply(&[Message::Intake(job.clone())]).await.unwrap();
    let open = world.catalog.open_job(&job.image.digest, &ocr()).await.unwrap().unwrap();
    let seen = [(job.image.digest, ocr(), open.enqueued_at)];
    assert_eq!(world.catalog.claim_jobs(&seen, Timestamp::now()).await.unwrap().len(), 1);
    let (requeued, jobs) = world.rounds().await;
    assert_eq!((requeued, jobs.len()), (1, 1));
}

#[tokio::test]
async fn an_analyzer_whose_queue_is_full_has_its_turn_and_keeps_no_other_waiting() {
    let full: AnalyzerName = "aaa-full".parse().unwrap();
    let options = MemoryOptions { capacity_per_queue: 1 };
    let world = World::with(options, &[full.clone(), ocr()]).await;
    let mut other = intake("b");
    other.wants[0].analyzer = full.clone();
    world.send(Queue::Jobs(full.clone()), "m", vec![1]).await;
    world.catalog.apply(&[Message::Intake(intake("a")), Message::Intake(other)]).await.unwrap();
    // Its turn comes first, and ends.
    assert_eq!(world.sweep().await, Swept { requeued: 0, fences: 1, postponed: 1 });
    assert_eq!(world.ready(&Queue::Jobs(ocr())).await, 1, "the fence of the other one");
    assert_eq!(world.ready(&Queue::Jobs(full)).await, 1);
}

#[tokio::test]
async fn an_analyzer_without_a_queue_keeps_no_other_waiting() {
    let world = World::new().await;
    let mut other = intake("b");
    other.wants[0].analyzer = "aaa-switched-off".parse().unwrap();
    world.catalog.apply(&[Message::Intake(intake("a")), Message::Intake(other)]).await.unwrap();
    assert_eq!(world.sweep().await, Swept { requeued: 0, fences: 1, postponed: 1 });
}

#[tokio::test]
async fn jobs_that_were_opened_again_are_enqueued_at_once_and_once() {
    let world = World::new().await;
    world.catalog.apply(&[Message::Intake(intake("a")), partial("b")]).await.unwrap();
    let jobs = ["a", "b", "unknown"].map(|image| (Digest::of(image.as_bytes()), ocr()));
    let send = || requeue_jobs(&world.broker, &world.catalog, &jobs, 1024, &world.metrics);
    assert_eq!(send().await.unwrap(), 1);
    assert_eq!(world.work().await.len(), 1);
    let all = BTreeSet::from([ocr()]);
    let before = Timestamp::MAX;
    let open =
        requeue_open(&world.broker, &world.catalog, &all, before, 1024, &world.metrics).await;
    assert_eq!(open.unwrap(), 1);
    assert_eq!(world.ready(&Queue::Jobs(ocr())).await, 1);
}
