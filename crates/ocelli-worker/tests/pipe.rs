//! The pipe from job to settlement, with real queues in memory and real files; only the reader of images is scripted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, MemoryOptions, Outgoing};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Deferred, Fence, Intake, Message};
use ocelli_core::{
    Analysis, AnalyzerName, Digest, FailureClass, ImageFacts, Outcome, Provenance, Reading,
    Revision, RevisionBuilder, SourceUri, Want,
};
use ocelli_media::{FetchLimits, Fetcher};
use ocelli_worker::{
    AnalyzeError, Analyzer, Answer, Job, Ledger, Parts, Unavailable, WorkerMetrics, WorkerOptions,
    run,
};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the scripted reader does with its next job.
#[derive(Debug, Clone)]
enum Act {
    Read(&'static str),
    Fail(FailureClass),
    Panic,
    Hang,
    Await(Arc<Semaphore>),
}

/// How many jobs a reader has in its hands.
#[derive(Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
    ended: AtomicUsize,
}

#[derive(Clone)]
struct Scripted {
    name: AnalyzerName,
    acts: Arc<Mutex<VecDeque<Act>>>,
    probes: Arc<Mutex<VecDeque<Result<u8, &'static str>>>>,
    begun: Arc<Notify>,
    calls: Arc<Mutex<u32>>,
    slots: Arc<AtomicUsize>,
    bytes: u64,
    load: Arc<Load>,
}

fn revision(n: u8) -> Revision {
    RevisionBuilder::new("scripted").part("n", n).build()
}

impl Analyzer for Scripted {
    fn name(&self) -> &AnalyzerName {
        &self.name
    }
    fn kind(&self) -> &'static str {
        "ocr"
    }
    fn description(&self) -> String {
        "scripted".into()
    }
    fn slots(&self) -> usize {
        self.slots.load(Ordering::SeqCst)
    }
    fn most_slots(&self) -> usize {
        8
    }
    fn bytes_in_hand(&self) -> u64 {
        self.bytes
    }
    async fn probe(&self) -> Result<Revision, Unavailable> {
        match self.probes.lock().unwrap().pop_front().unwrap_or(Ok(1)) {
            Ok(n) => Ok(revision(n)),
            Err(reason) => Err(Unavailable { reason: reason.into() }),
        }
    }
    async fn analyze(&self, job: Job) -> Result<Answer, AnalyzeError> {
        assert_eq!(Digest::of(&job.bytes), job.image.digest);
        *self.calls.lock().unwrap() += 1;
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Read("text"));
        self.begun.notify_one();
        match act {
            Act::Read(text) => Ok(Answer {
                outcome: Outcome::Done(Reading { text: text.into(), ..Reading::default() }),
                provenance: Provenance::default(),
                hash: None,
            }),
            Act::Fail(class) => {
                Err(AnalyzeError { class, reason: "as scripted".into(), provenance: None })
            }
            Act::Panic => panic!("as scripted"),
            Act::Hang => std::future::pending().await,
            Act::Await(gate) => {
                let now = self.load.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.load.most.fetch_max(now, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                self.load.now.fetch_sub(1, Ordering::SeqCst);
                self.load.ended.fetch_add(1, Ordering::SeqCst);
                Ok(Answer {
                    outcome: Outcome::Empty,
                    provenance: Provenance::default(),
                    hash: None,
                })
            }
        }
    }
}

struct World {
    broker: Broker,
    reader: Scripted,
    folder: TempDir,
    done: Arc<Mutex<Vec<Digest>>>,
    shutdown: CancellationToken,
    worker: Option<JoinHandle<()>>,
    /// What is said about the size of images; 0: nobody has read them.
    size: u64,
}

impl World {
    async fn new(acts: &[Act]) -> Self {
        let name: AnalyzerName = "reader".parse().unwrap();
        let broker = Broker::memory(MemoryOptions::default());
        let steps = WorkerOptions::default().policy.steps;
        broker.declare(&queues(std::slice::from_ref(&name), &steps)).await.unwrap();
        Self {
            broker,
            reader: Scripted {
                name,
                acts: Arc::new(Mutex::new(acts.iter().cloned().collect())),
                probes: Arc::default(),
                begun: Arc::default(),
                calls: Arc::default(),
                slots: Arc::new(AtomicUsize::new(1)),
                bytes: u64::MAX,
                load: Arc::default(),
            },
            folder: tempfile::tempdir().unwrap(),
            done: Arc::default(),
            shutdown: CancellationToken::new(),
            worker: None,
            size: 1,
        }
    }

    fn start(&mut self) {
        let done = Arc::clone(&self.done);
        let parts = Parts {
            analyzer: Arc::new(self.reader.clone()),
            broker: self.broker.clone(),
            fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
            ledger: Ledger::new(move |digest, _, _| {
                let known = done.lock().unwrap().contains(&digest);
                async move { Ok(known) }
            }),
            options: WorkerOptions { drain: Duration::from_secs(1), ..WorkerOptions::default() },
            metrics: WorkerMetrics::register(&prometheus::Registry::new()).unwrap(),
        };
        let shutdown = self.shutdown.clone();
        self.worker = Some(tokio::spawn(async move { run(parts, shutdown).await.unwrap() }));
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        self.worker.take().unwrap().await.unwrap();
        self.shutdown = CancellationToken::new();
    }

    fn file(&self, name: &str, bytes: &[u8]) -> (PathBuf, Digest) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (path, Digest::of(bytes))
    }

    async fn enqueue(&self, digest: Digest, sources: &[&PathBuf], wanted: Option<Revision>) {
        let message = Message::Intake(Intake {
            image: ImageFacts { digest, bytes: self.size, format: None, width: None, height: None },
            sources: sources.iter().map(|path| SourceUri::from_path(path).unwrap()).collect(),
            sighting: None,
            wants: vec![Want { analyzer: self.reader.name.clone(), revision: wanted }],
            refusal: None,
            enqueued_at: Timestamp::now(),
            dependence: ocelli_core::Dependence::default(),
            hash: None,
            meta: ocelli_core::Meta::default(),
        });
        self.send(message.encode().unwrap()).await;
    }

    async fn send(&self, body: Vec<u8>) {
        let routes = vec![Queue::Jobs(self.reader.name.clone())];
        let outgoing = Outgoing {
            id: "test".into(),
            body: body.into(),
            routes,
            attempts: 0,
            traceparent: None,
        };
        self.broker.publish(outgoing).await.unwrap();
    }

    /// The next message for the collector that is no announcement.
    async fn next(&self) -> Message {
        let mut consumer = self.broker.consume(&Queue::Results, 1).await.unwrap();
        loop {
            let delivery = tokio::time::timeout(Duration::from_secs(7200), consumer.next())
                .await
                .expect("a message for the collector")
                .unwrap();
            let message = Message::decode(&delivery.body).unwrap();
            delivery.ack().await.unwrap();
            if !matches!(message, Message::Announcement(_)) {
                consumer.cancel().await;
                return message;
            }
        }
    }

    async fn next_analysis(&self) -> Analysis {
        match self.next().await {
            Message::Partial(partial) => partial.analysis,
            other => panic!("expected a partial result, got {other:?}"),
        }
    }

    async fn next_deferred(&self) -> Deferred {
        match self.next().await {
            Message::Deferred(deferred) => deferred,
            other => panic!("expected a note about another attempt, got {other:?}"),
        }
    }

    async fn ready(&self, queue: Queue) -> u64 {
        self.broker.depth(&queue).await.unwrap().ready
    }

    fn jobs(&self) -> Queue {
        Queue::Jobs(self.reader.name.clone())
    }
}

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
