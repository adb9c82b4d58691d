//! A fleet of real programs in a folder of its own, with a database of its own, on a broker that the test names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use jiff::Timestamp;
use ocelli_broker::{Broker, RabbitOptions};
use ocelli_catalog::{Catalog, CatalogOptions, Status};
use ocelli_core::Digest;
use ocelli_core::routing::Queue;
use ocelli_testkit::bin;
use ocelli_testkit::servers::{OwnPostgres, PostgresServer};
use serde_json::Value;
use tempfile::TempDir;

use super::lab::Lab;
use super::program::{Program, bound};
use super::row::{Fallible, Row};

/// The analyzers of most tests: both are read by every null worker.
pub(super) const ANALYZERS: u64 = 2;
/// Jobs that a null worker does at once, per analyzer.
pub(super) const SLOTS: u64 = 4;
/// And takes beyond (`ocelli_worker::WorkerOptions::ahead`).
pub(super) const AHEAD: u64 = 2;
/// How often the catalog is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// One pixel; bytes behind a PNG's end are no part of the picture and make it another image.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Where the catalog of a fleet is.
pub(super) enum Store {
    /// A database on the PostgreSQL of the run.
    Shared,
    /// A PostgreSQL that the test harms.
    Own,
    /// A SQLite file in this folder.
    File(PathBuf),
}

/// What keeps the catalog's server alive.
enum Database {
    Shared(#[expect(dead_code, reason = "dropped with the fleet")] PostgresServer),
    Own(OwnPostgres),
    File,
}

pub(super) struct Fleet {
    pub(super) catalog: Catalog,
    pub(super) broker_url: String,
    /// More words for every null worker.
    pub(super) mischief: Vec<String>,
    database: Database,
    settings: String,
    /// Settings that go before those of the file, as flags.
    set: Vec<String>,
    passed: AtomicBool,
    keep: bool,
    kept: Arc<Mutex<Vec<PathBuf>>>,
    folder: Option<TempDir>,
}

impl Fleet {
    pub(super) async fn new(lab: &Lab, broker_url: &str, store: Store) -> Fallible<Self> {
        // Twenty thousand files in no time, where there is a file system in memory.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("ocelli-chaos-").tempdir_in(place)?;
        let (database, url) = match store {
            Store::Shared => {
                let database = lab.database().await?;
                let url = database.url.clone();
                (Database::Shared(database), url)
            }
            Store::Own => {
                let postgres = OwnPostgres::try_start().await?;
                let url = format!("{}/postgres", postgres.url());
                (Database::Own(postgres), url)
            }
            Store::File(at) => {
                (Database::File, format!("sqlite:{}", at.join("catalog.db").display()))
            }
        };
        let catalog = Catalog::open(&url, CatalogOptions::default()).await?;
        std::fs::create_dir(folder.path().join("calls"))?;
        let mut fleet = Self {
            catalog,
            broker_url: broker_url.to_owned(),
            mischief: Vec::new(),
            database,
            settings: String::new(),
            set: Vec::new(),
            passed: AtomicBool::new(false),
            keep: lab.keep,
            kept: Arc::clone(&lab.kept),
            folder: Some(folder),
        };
        fleet.settings(&format!(
            "[broker]\nurl = \"{broker_url}\"\ndelay_steps = [\"1s\", \"2s\"]\nheartbeat = \"4s\"\n\
             [catalog]\nurl = \"{url}\"\n\
             [worker]\nannounce_every = \"2s\"\nprobe_every = \"1s\"\ndrain = \"5s\"\n\
             [collector]\nsweep_every = \"2s\"\n[http]\nlisten = \"off\"\n"
        ))?;
        Ok(fleet)
    }

    /// As [`Fleet::new`], with the two null analyzers and no others.
    pub(super) async fn null(lab: &Lab, broker_url: &str) -> Fallible<Self> {
        Self::null_in(lab, broker_url, Store::Shared).await
    }

    pub(super) async fn null_in(lab: &Lab, broker_url: &str, store: Store) -> Fallible<Self> {
        let mut fleet = Self::new(lab, broker_url, store).await?;
        for name in ["gemma3-27b-vision", "llama3.2-vision", "tesseract-ocr"] {
            fleet.settings(&format!("[analyzers.\"{name}\"]\nenabled = false\n"))?;
        }
        for name in ["null-a", "null-b"] {
            fleet.settings(&format!(
                "[analyzers.{name}]\nkind = \"ocr\"\nchildren = {SLOTS}\nsoft_deadline = \"500ms\"\n\
                 hard_deadline = \"1s\"\njob_deadline = \"2s\"\n"
            ))?;
        }
        Ok(fleet)
    }

    /// The PostgreSQL that this test harms.
    pub(super) fn postgres(&mut self) -> Fallible<&mut OwnPostgres> {
        match &mut self.database {
            Database::Own(postgres) => Ok(postgres),
            Database::Shared(_) | Database::File => {
                Err("the test has no PostgreSQL of its own".into())
            }
        }
    }

    /// Appends to the settings file that all programs read.
    pub(super) fn settings(&mut self, toml: &str) -> Fallible<()> {
        self.settings.push_str(toml);
        Ok(std::fs::write(self.path("ocelli.toml"), &self.settings)?)
    }

    /// Analyses that take no time, for many images.
    pub(super) fn quick(&mut self) {
        self.mischief.extend(["--latency", "5"].map(str::to_owned));
    }

    /// One setting for all programs that are started from here on.
    pub(super) fn set(&mut self, key: &str, value: impl std::fmt::Display) {
        self.set.extend(["--set".to_owned(), format!("{key}={value}")]);
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map(|folder| folder.path().join(name)).unwrap_or_default()
    }

    /// `count` different images in the folder `in`; what their digests are.
    pub(super) fn images(&self, count: u64) -> Fallible<Vec<Digest>> {
        let mut digests = Vec::new();
        for first in (0..count).step_by(1000) {
            let part = first..(first + 1000).min(count);
            digests.extend(self.more(&(first / 1000).to_string(), part)?);
        }
        Ok(digests)
    }

    /// The images with these numbers in the folder `in/FOLDER`; what their digests are.
    pub(super) fn more(
        &self,
        folder: &str,
        numbers: std::ops::Range<u64>,
    ) -> Fallible<Vec<Digest>> {
        let pixel = base64::engine::general_purpose::STANDARD.decode(PIXEL)?;
        let folder = self.path("in").join(folder);
        std::fs::create_dir_all(&folder)?;
        let mut digests = Vec::new();
        for n in numbers {
            let bytes = [&pixel[..], format!("{n:08}").as_bytes()].concat();
            std::fs::write(folder.join(format!("{n}.png")), &bytes)?;
            digests.push(Digest::of(&bytes));
        }
        Ok(digests)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = bound("KILL", program);
        command
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("NO_COLOR", "1");
        command
    }

    /// Starts a program of the fleet; its log is `NAME.log`.
    pub(super) fn start<S: AsRef<OsStr>>(
        &self,
        name: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Fallible<Program> {
        let mut command = self.command(&bin(name));
        command.args(words).args(&self.set);
        Ok(Program::start(command, &self.path(&format!("{name}.log")))?)
    }

    pub(super) fn collector(&self) -> Fallible<Program> {
        self.start("ocelli-collector", ["--log-format", "json"])
    }

    pub(super) fn null_worker(&self) -> Fallible<Program> {
        let mut words = vec!["null-worker".to_owned(), "--calls".to_owned()];
        words.push(self.path("calls").display().to_string());
        words.extend(self.mischief.iter().cloned());
        self.start("ocelli-chaos", words)
    }

    pub(super) fn workers(&self, count: usize) -> Fallible<Vec<Program>> {
        (0..count).map(|_| self.null_worker()).collect()
    }

    /// Produces the folder `in` to its end.
    pub(super) async fn produce(&self) -> Fallible<Value> {
        self.produce_with(&[]).await
    }

    /// As [`Fleet::produce`], with more words.
    pub(super) async fn produce_with(&self, words: &[String]) -> Fallible<Value> {
        self.produce_folder("in", words).await
    }

    /// Produces the folder `in/FOLDER` to its end.
    pub(super) async fn produce_from(&self, folder: &str) -> Fallible<Value> {
        self.produce_folder(&format!("in/{folder}"), &[]).await
    }

    async fn produce_folder(&self, folder: &str, words: &[String]) -> Fallible<Value> {
        let mut command = self.command(&bin("ocelli"));
        command.args(["produce", folder, "--json"]).args(&self.set).args(words);
        command.stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("produce: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// A producer that can be killed.
    pub(super) fn producer(&self) -> Fallible<Program> {
        self.start("ocelli", ["produce", "in", "--json"])
    }

    pub(super) async fn status(&self) -> Fallible<Status> {
        Ok(self.catalog.status(Timestamp::now()).await?)
    }

    /// Waits until `images` records are complete, and meanwhile does `harm` every so often. How long it took.
    pub(super) async fn complete(
        &self,
        images: u64,
        limit: Duration,
        every: Duration,
        mut harm: impl AsyncFnMut(&Status) -> Fallible<()>,
    ) -> Fallible<Duration> {
        let started = Instant::now();
        let mut harmed = Instant::now();
        loop {
            // The database may be what is harmed.
            if let Ok(Ok(status)) =
                tokio::time::timeout(Duration::from_secs(5), self.status()).await
            {
                let open = status.analyzers.values().any(|analyzer| analyzer.open > 0);
                if status.images >= images && status.complete >= images && !open {
                    return Ok(started.elapsed());
                }
                if started.elapsed() > limit {
                    return Err(format!(
                        "{} of {images} records are complete after {limit:?}",
                        status.complete
                    )
                    .into());
                }
                if harmed.elapsed() >= every {
                    harmed = Instant::now();
                    harm(&status).await?;
                }
            } else if started.elapsed() > limit {
                return Err("the catalog does not answer".into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// As [`Fleet::complete`], without harm.
    pub(super) async fn finishes(&self, images: u64, limit: Duration) -> Fallible<Duration> {
        self.complete(images, limit, limit, async |_| Ok(())).await
    }

    /// Waits until at least so many records are complete.
    pub(super) async fn reaches(&self, complete: u64, limit: Duration) -> Fallible<Duration> {
        let started = Instant::now();
        while self.status().await.map_or(0, |status| status.complete) < complete {
            if started.elapsed() > limit {
                return Err(format!("fewer than {complete} records after {limit:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(started.elapsed())
    }

    /// Waits until the collector and so many workers consume their queues.
    pub(super) async fn consumed_by(&self, workers: u64, limit: Duration) -> Fallible<Duration> {
        let observer = self.observer().await?;
        let started = Instant::now();
        for (queue, consumers) in [
            (Queue::Results, 1),
            (Queue::Jobs("null-a".parse()?), workers),
            (Queue::Jobs("null-b".parse()?), workers),
        ] {
            while observer.depth(&queue).await.map_or(0, |depth| depth.consumers) < consumers {
                if started.elapsed() > limit {
                    return Err(format!("{queue} has too few consumers after {limit:?}").into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        observer.close().await;
        Ok(started.elapsed())
    }

    /// Analyses that null workers began, and how many different ones.
    pub(super) fn calls(&self) -> Fallible<(u64, u64)> {
        let (mut all, mut different) = (0, BTreeSet::new());
        for file in std::fs::read_dir(self.path("calls"))? {
            for line in std::fs::read_to_string(file?.path())?.lines() {
                all += 1;
                different.insert(line.to_owned());
            }
        }
        Ok((all, different.len() as u64))
    }

    /// Messages in a queue, as the broker counts them now.
    pub(super) async fn waiting(&self, queue: &Queue) -> Fallible<u64> {
        let broker = Broker::rabbitmq(RabbitOptions::new(&self.broker_url)).await?;
        let depth = broker.depth(queue).await?;
        broker.close().await;
        Ok(depth.ready)
    }

    /// Attempts at these images beyond the first of each analysis.
    pub(super) async fn extra_attempts(&self, digests: &[Digest]) -> Fallible<u64> {
        let mut extra = 0;
        for digest in digests {
            if let Some(record) = self.catalog.record(digest).await? {
                extra += record.answers().map(|of| u64::from(of.attempts) - 1).sum::<u64>();
            }
        }
        Ok(extra)
    }

    /// The most attempts that any analysis of these images took.
    pub(super) async fn most_attempts(&self, digests: &[Digest]) -> Fallible<u32> {
        let mut most = 0;
        for digest in digests {
            if let Some(record) = self.catalog.record(digest).await? {
                most = record.answers().map(|of| of.attempts).fold(most, u32::max);
            }
        }
        Ok(most)
    }

    /// What every test asks of the end: a complete record each, nothing failed, no dead letter, an archive that adds up.
    pub(super) async fn verdict(&self, row: Row, images: u64, analyzers: u64) -> Fallible<Row> {
        let row = self.adds_up(row, images, analyzers).await?;
        let failed: u64 = self.status().await?.analyzers.values().map(|of| of.failed).sum();
        Ok(self.noted(row.figure("failed", failed).must("nothing failed", failed == 0)))
    }

    /// The same, where some images have to fail.
    pub(super) async fn adds_up(&self, row: Row, images: u64, analyzers: u64) -> Fallible<Row> {
        let status = self.status().await?;
        let settled: u64 =
            status.analyzers.values().map(|of| of.done + of.empty + of.skipped + of.failed).sum();
        // The collector moves dead letters into the catalog; either place counts.
        let dead = self.waiting(&Queue::Dead).await? + status.dead_letters;
        let audit = self.catalog.audit().await?;
        let rows = audit.rows.get("analyses").copied().unwrap_or(0);
        let lost = (images * analyzers).saturating_sub(settled);
        let row = row
            .figure("images", images)
            .figure("complete", status.complete)
            .figure("lost", lost)
            .figure("dead letters", dead)
            .must("exactly one record for each image", status.images == images)
            .must("every record is complete", status.complete == images)
            .must("exactly one analysis each", rows == images * analyzers && lost == 0)
            .must("no dead letter", dead == 0)
            .must(&format!("audit: {}", audit.problems.join("; ")), audit.problems.is_empty());
        Ok(self.noted(row))
    }

    /// Remembers whether the test passed: the folder of one that failed stays.
    pub(super) fn noted(&self, row: Row) -> Row {
        self.passed.store(row.passed(), Ordering::Relaxed);
        row
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if (self.keep || !self.passed.load(Ordering::Relaxed))
            && let Some(folder) = self.folder.take()
        {
            // The images say nothing.
            drop(std::fs::remove_dir_all(folder.path().join("in")));
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(folder.keep());
        }
    }
}
