//! Every step at which a process may die: the built programs die exactly there, start again, and nothing is lost and
//! nothing is there twice.
//!
//! Analyzers read nothing here (`ocelli-chaos null-worker`), except in the embedded tier. A point that no test brings
//! about does not compile: see [`cause`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli_failpoint::Failpoint;
use ocelli_testkit::models::{ModelServer, ModelServerOptions};
use serde_json::{Value, json};

use crate::services::{Database, Fleet};
use crate::world::{NOTE, PATIENCE, Service, World, sample_folder};

/// What has to happen for a process to come to a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A producer enqueues.
    Producing,
    /// A worker does a job.
    Working,
    /// A job fails and will be tried again.
    Retrying,
    /// A worker gets an answer that costs something; see `spend`.
    Paying,
    /// A worker has another revision than was asked for.
    Upgrading,
    /// A collector writes.
    Collecting,
    /// A job needs the answer of another.
    Depending,
    /// Something in a queue is no message.
    Garbage,
    /// The database refuses one message.
    Refusing,
    /// Failures are opened again.
    Reopening,
    /// A queue was wiped.
    Healing,
    /// Another revision over the archive: in `backfill`.
    Backfilling,
    /// Records are written into files: in `export`.
    Exporting,
    /// Somebody listens: in `events`.
    Telling,
}

/// Complete by the compiler: a new point without a cause, and so without a test, is an error here.
const fn cause(point: Failpoint) -> Cause {
    match point {
        Failpoint::ProducerPlanned
        | Failpoint::ProducerFirstJob
        | Failpoint::ProducerJobs
        | Failpoint::ProducerConfirmed
        | Failpoint::ProducerListed
        | Failpoint::ProducerReported => Cause::Producing,
        Failpoint::WorkerAnnounced
        | Failpoint::WorkerDelivered
        | Failpoint::WorkerFetched
        | Failpoint::WorkerAnalyzed
        | Failpoint::WorkerPublished
        | Failpoint::WorkerSettled => Cause::Working,
        Failpoint::WorkerDeferred | Failpoint::MovedToDelay => Cause::Retrying,
        Failpoint::WorkerPaid => Cause::Paying,
        Failpoint::WorkerSuperseded => Cause::Upgrading,
        Failpoint::CollectorGathered
        | Failpoint::CatalogWritten
        | Failpoint::CollectorCommitted
        | Failpoint::CollectorAcked => Cause::Collecting,
        Failpoint::DependentTaken | Failpoint::DependentPublished => Cause::Depending,
        Failpoint::MovedToDead | Failpoint::LettersGathered | Failpoint::LettersCommitted => {
            Cause::Garbage
        }
        Failpoint::CollectorBuried => Cause::Refusing,
        Failpoint::SweeperClaimed | Failpoint::SweeperPublished | Failpoint::FailuresReopened => {
            Cause::Reopening
        }
        Failpoint::BackfillAdded | Failpoint::BackfillPublished => Cause::Backfilling,
        Failpoint::ExportPart | Failpoint::ExportRenamed => Cause::Exporting,
        Failpoint::EventsTaken | Failpoint::EventsTold => Cause::Telling,
        Failpoint::FenceNoted | Failpoint::FencePublished | Failpoint::SweeperForgot => {
            Cause::Healing
        }
    }
}

fn points(of: Cause) -> impl Iterator<Item = Failpoint> {
    Failpoint::ALL.iter().copied().filter(move |point| cause(*point) == of)
}

/// `count` different images in a folder named after the point.
fn images(world: &World, point: Failpoint, count: usize) -> PathBuf {
    let folder = world.path(point.name());
    fs::create_dir_all(&folder).unwrap();
    let note = fs::read(sample_folder().join(NOTE)).unwrap();
    for n in 0..count {
        let name = format!("{}-{n}", point.name());
        fs::write(folder.join(format!("{name}.png")), [&note[..], name.as_bytes()].concat())
            .unwrap();
    }
    folder
}

/// Asks until the answer is yes; seldom, because each question starts a program.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(250));
    }
}

/// Waits until `images` have one complete record each with one outcome of every analyzer, and checks the account.
fn whole(world: &World, point: Failpoint, images: u64, analyzers: usize) {
    let settled = |row: &Value| -> u64 {
        ["done", "empty", "skipped", "failed"].iter().filter_map(|key| row[key].as_u64()).sum()
    };
    let mut last = Value::Null;
    until(point.name(), || {
        last = world.json(["status", "--json"]);
        last["images"] == images
            && last["complete"] == images
            && last["analyzers"].as_array().is_some_and(|rows| {
                rows.iter().filter(|row| settled(row) == images).count() == analyzers
            })
    });
    let audit = world.ocelli(["audit", "--json"]);
    let account: Value = serde_json::from_str(&audit.out).unwrap();
    assert_eq!(audit.code, 0, "{}: {account}", point.name());
    let analyses = images * analyzers as u64;
    assert_eq!(account["rows"]["analyses"], analyses, "{}: one analysis each", point.name());
}

/// Nothing is left in a queue and nothing was given up.
fn clean(fleet: &Fleet) {
    let audit = fleet.world.json(["audit", "--json"]);
    assert_eq!(audit["dead_letters"], 0, "{audit}");
    until("no message is left", || {
        ["jobs", "bulk", "delay"].iter().all(|queue| fleet.messages(queue) == 0)
    });
    assert_eq!(fleet.messages("dead"), 0);
}

fn collector(fleet: &Fleet, failpoint: &str) -> Service {
    fleet.world.start_dying("ocelli-collector", ["--listen", "off"], failpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_dies_at_any_step_is_run_again_and_enqueues_what_is_missing() {
    let mut fleet = Fleet::new(Database::Postgres).await;
    fleet.world.settings("[analyzers.second-ocr]\nkind = \"ocr\"\norder = 40\nenabled = true");
    let _services = [fleet.start("ocelli-collector"), fleet.null_worker("", &[])];
    let mut count = 0;
    for point in points(Cause::Producing) {
        images(&fleet.world, point, 3);
        let arguments = ["produce", point.name()];
        fleet.world.start_dying("ocelli", arguments, point.name()).dies_at(point.name());
        let again = fleet.produce(point.name());
        assert_eq!(again["accepted"], 3, "{}: {again}", point.name());
        count += 3;
        // At once: no sweeper proves anything within this time, so it is the second run that heals.
        whole(&fleet.world, point, count, 2);
    }
    clean(&fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_producer_leaves_in_the_job_queues_alone_is_complete_after_its_next_run() {
    let fleet = Fleet::new(Database::Postgres).await;
    let point = Failpoint::ProducerJobs;
    images(&fleet.world, point, 1);
    let _services = [fleet.start("ocelli-collector"), fleet.null_worker("", &[])];
    fleet
        .world
        .start_dying("ocelli", ["produce", point.name()], point.name())
        .dies_at(point.name());
    until("its answer is there", || fleet.world.json(["audit", "--json"])["rows"]["analyses"] == 1);
    let audit = fleet.world.ocelli(["audit"]);
    assert!(audit.code != 0 && audit.out.contains("run their producer again"), "{audit:?}");
    let again = fleet.produce(point.name());
    assert_eq!((&again["accepted"], &again["jobs"]), (&1.into(), &1.into()), "{again}");
    whole(&fleet.world, point, 1, 1);
    clean(&fleet);
    let calls = fs::read_dir(fleet.world.path("calls")).unwrap().filter_map(Result::ok);
    let calls: String = calls.map(|file| fs::read_to_string(file.path()).unwrap()).collect();
    assert_eq!(calls.lines().count(), 1, "what is answered is not asked again: {calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_at_any_step_loses_no_job_and_doubles_no_answer() {
    let fleet = Fleet::new(Database::Postgres).await;
    let _collector = fleet.start("ocelli-collector");
    let mut count = 0;
    for point in points(Cause::Working).chain(points(Cause::Retrying)) {
        images(&fleet.world, point, 3);
        assert_eq!(fleet.produce(point.name())["jobs"], 3);
        let crash = if cause(point) == Cause::Retrying { "1000" } else { "0" };
        fleet.null_worker(point.name(), &["--crash", crash, "--readers"]).dies_at(point.name());
        let worker = fleet.null_worker("", &[]);
        count += 3;
        whole(&fleet.world, point, count, 1);
        assert_eq!(fleet.world.row("tesseract-ocr")["done"], count, "{}", point.name());
        worker.kill();
    }
    // A second copy of a job may still be on its way through the delay queue.
    let _last = fleet.null_worker("", &[]);
    clean(&fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_at_any_step_loses_nothing_and_writes_nothing_twice() {
    let fleet = Fleet::new(Database::Postgres).await;
    let _worker = fleet.null_worker("", &[]);
    let mut count = 0;
    for point in points(Cause::Collecting) {
        images(&fleet.world, point, 3);
        assert_eq!(fleet.produce(point.name())["jobs"], 3);
        until("sightings and answers wait", || fleet.messages("results") >= 6);
        collector(&fleet, point.name()).dies_at(point.name());
        let again = collector(&fleet, "");
        count += 3;
        whole(&fleet.world, point, count, 1);
        again.kill();
    }
    clean(&fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_over_jobs_that_need_an_answer_enqueues_them_all_the_same() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    fleet.needs_ocr(&models);
    let _workers = [fleet.start("ocelli-ocr-worker"), fleet.start("ocelli-llm-worker")];
    let mut count = 0;
    for point in points(Cause::Depending) {
        images(&fleet.world, point, 3);
        let dying = collector(&fleet, point.name());
        fleet.produce(point.name());
        dying.dies_at(point.name());
        let again = collector(&fleet, "");
        count += 3;
        // What was taken and not enqueued is taken again after the dispatcher's lease.
        whole(&fleet.world, point, count, 2);
        again.kill();
    }
    clean(&fleet);
    // A job may be there twice; its ledger keeps the second from being paid.
    assert_eq!(models.calls(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_over_garbage_keeps_each_piece_once() {
    let fleet = Fleet::new(Database::Postgres).await;
    collector_has_begun(&fleet);
    for (point, count) in points(Cause::Garbage).zip(1..) {
        fleet.inject("ocelli.results", json!({}), point.name().as_bytes());
        collector(&fleet, point.name()).dies_at(point.name());
        let again = collector(&fleet, "");
        until(point.name(), || {
            fleet.world.json(["audit", "--json"])["dead_letters"] == count
                && fleet.messages("dead") + fleet.messages("results") == 0
        });
        again.kill();
    }
    let listed = fleet.world.ocelli(["failures", "list", "--json"]).out;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    fleet.world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_database_refuses_is_kept_once_and_its_neighbours_are_written() {
    let fleet = Fleet::new(Database::Postgres).await;
    collector_has_begun(&fleet);
    let database = fleet.postgres.as_ref().unwrap();
    database
        .execute("ALTER TABLE sightings ADD CONSTRAINT no_three CHECK (source NOT LIKE '%-3.png')")
        .await;
    let point = Failpoint::CollectorBuried;
    images(&fleet.world, point, 6);
    let worker = fleet.null_worker("", &["--fail", "0"]);
    assert_eq!(fleet.produce(point.name())["accepted"], 6);
    collector(&fleet, point.name()).dies_at(point.name());
    let _again = collector(&fleet, "");
    let started = Instant::now();
    until("the others are complete and the refused one is shown", || {
        let status = fleet.world.json(["status", "--json"]);
        status["complete"] == 5 && fleet.world.json(["audit", "--json"])["dead_letters"] == 1
    });
    assert!(started.elapsed() < PATIENCE, "no hot loop keeps it from the rest");
    let listed = fleet.world.ocelli(["failures", "list"]).out;
    assert!(listed.contains("no_three") || listed.contains("intake:"), "{listed}");
    assert_eq!(fleet.messages("results"), 0);
    worker.kill();
}

/// Tables and queues are there.
fn collector_has_begun(fleet: &Fleet) {
    let first = collector(fleet, "");
    until("the queues are there", || fleet.has_queue("ocelli.dead"));
    first.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_whose_retry_dies_at_any_step_are_proven_lost_and_done() {
    let fleet = quick(Fleet::new(Database::Postgres).await);
    let point = Failpoint::SweeperClaimed;
    let names: Vec<_> = points(Cause::Reopening).collect();
    images(&fleet.world, point, names.len() * 2);
    let _collector = quick_collector(&fleet, "");
    let broken = fleet.null_worker("", &["--fail", "1000"]);
    assert_eq!(fleet.produce(point.name())["jobs"], 6);
    until("all have failed", || fleet.world.row("tesseract-ocr")["failed"] == 6);
    broken.kill();
    for point in names {
        let arguments = ["failures", "retry", "--limit", "2"];
        fleet.world.start_dying("ocelli", arguments, point.name()).dies_at(point.name());
    }
    assert_eq!(fleet.world.row("tesseract-ocr")["failed"], 0, "all are open again");
    let _worker = fleet.null_worker("", &[]);
    until("the sweeper has found them", || fleet.world.row("tesseract-ocr")["done"] == 6);
    fleet.world.audit();
    clean(&fleet);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweeper_that_dies_at_any_step_still_proves_what_is_lost() {
    let fleet = quick(Fleet::new(Database::Postgres).await);
    let point = Failpoint::FenceNoted;
    images(&fleet.world, point, 4);
    let first = quick_collector(&fleet, "");
    assert_eq!(fleet.produce(point.name())["jobs"], 4);
    until("the catalog knows them", || fleet.world.json(["status", "--json"])["images"] == 4);
    first.kill();
    let queue = format!("queues/{}/ocelli.jobs.tesseract-ocr/contents", fleet.rabbitmq.vhost);
    fleet.rabbitmq.api().delete(&queue).unwrap();
    let _worker = fleet.null_worker("", &[]);
    // The proof comes last: after it the jobs are done, and no further fence is sent.
    let mut healing: Vec<_> = points(Cause::Healing).collect();
    healing.sort_by_key(|point| *point == Failpoint::SweeperForgot);
    for point in healing {
        quick_collector(&fleet, point.name()).dies_at(point.name());
    }
    let _last = quick_collector(&fleet, "");
    whole(&fleet.world, point, 4, 1);
    clean(&fleet);
}

/// Settings with which a proof takes some ten seconds.
fn quick(mut fleet: Fleet) -> Fleet {
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        fleet.world.settings(&format!("[analyzers.\"{name}\"]\nenabled = false"));
    }
    fleet.world.settings(
        "[analyzers.tesseract-ocr]\nsoft_deadline = \"200ms\"\nhard_deadline = \"500ms\"\njob_deadline = \"1s\"",
    );
    fleet
}

fn quick_collector(fleet: &Fleet, failpoint: &str) -> Service {
    let arguments = ["--listen", "off", "--set", "worker.drain=1s"];
    fleet.world.start_dying("ocelli-collector", arguments, failpoint)
}

/// Whether the embedded tier comes to a point, and what it needs for that.
const fn embedded(point: Failpoint) -> Option<Cause> {
    match point {
        // It has one analyzer here, which costs nothing, no dead letters, no delays that outlast it, nobody listens, and its queues are
        // known to be empty.
        Failpoint::ProducerFirstJob
        | Failpoint::WorkerPaid
        | Failpoint::WorkerDeferred
        | Failpoint::MovedToDelay
        | Failpoint::MovedToDead
        | Failpoint::DependentTaken
        | Failpoint::DependentPublished
        | Failpoint::CollectorBuried
        | Failpoint::LettersGathered
        | Failpoint::LettersCommitted
        | Failpoint::SweeperForgot
        | Failpoint::FenceNoted
        | Failpoint::FencePublished
        | Failpoint::BackfillAdded
        | Failpoint::BackfillPublished
        | Failpoint::ExportPart
        | Failpoint::ExportRenamed
        | Failpoint::EventsTaken
        | Failpoint::EventsTold
        | Failpoint::FailuresReopened => None,
        // Jobs that an earlier run left open.
        Failpoint::SweeperClaimed | Failpoint::SweeperPublished | Failpoint::WorkerSuperseded => {
            Some(Cause::Healing)
        }
        _ => Some(cause(point)),
    }
}

/// Jobs of the images in a folder, which cannot be decoded, are open in the catalog and in no queue.
fn leave_open(world: &World, folder: &Path) {
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let whole = fs::read(&file).unwrap();
        let (start, name) = (&whole[..whole.len() / 2], &whole[whole.len() - 16..]);
        fs::write(&file, [start, name].concat()).unwrap();
    }
    assert_eq!(world.ocelli([Path::new("run"), folder]).code, 3);
    let again = world.json(["failures", "retry", "--json"]);
    assert!(again["reopened"].as_u64() >= Some(2), "{again}");
}

fn run_dying(world: &World, folder: &Path, failpoint: &str) {
    world.start_dying("ocelli", [Path::new("run"), folder], failpoint).dies_at(failpoint);
}

#[test]
fn a_run_that_dies_at_any_step_is_run_again_and_reads_what_is_missing() {
    let mut world = World::new();
    let mut count = 0;
    for point in Failpoint::ALL.iter().copied() {
        let Some(cause) = embedded(point) else { continue };
        let folder = images(&world, point, 2);
        let mut code = 0;
        if cause == Cause::Healing {
            leave_open(&world, &folder);
            code = 3;
        }
        if point == Failpoint::WorkerSuperseded {
            world.settings("[analyzers.tesseract-ocr]\nlanguages = \"eng+osd\"");
        }
        run_dying(&world, &folder, point.name());
        assert_eq!(world.ocelli([Path::new("run"), &folder]).code, code, "{}", point.name());
        count += 2;
        whole(&world, point, count, 1);
    }
}

#[test]
fn a_failpoint_that_does_not_exist_ends_every_program_before_it_does_anything() {
    let world = World::new();
    for (program, arguments) in [
        ("ocelli", &["run", "."][..]),
        ("ocelli-collector", &[]),
        ("ocelli-ocr-worker", &[]),
        ("ocelli-llm-worker", &[]),
        ("ocelli-producer", &["."]),
    ] {
        for wrong in ["worker-publishd", "worker-published:0"] {
            let mut service = world.start_dying(program, arguments, wrong);
            assert_eq!(service.wait(), 2, "{program}: {}", service.log());
            assert!(service.log().contains(wrong), "{program}: {}", service.log());
        }
    }
}
