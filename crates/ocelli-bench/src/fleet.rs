//! A fleet of the built programs, with a virtual host and a database of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use jiff::Timestamp;
use ocelli_broker::{Broker, RabbitOptions};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::routing::Queue;
use ocelli_testkit::program::{Program, bound};
use ocelli_testkit::servers::{Asking, PostgresServer, RabbitmqServer};
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Fallible, Lab};

/// The null analyzers: what is measured is the way to them and back.
pub(crate) const NULLS: [&str; 3] = ["null-a", "null-b", "null-c"];
/// Nothing measured here takes longer on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked how far the work is.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// The analyzers that every archive has.
const SHIPPED: [&str; 3] = ["gemma3-27b-vision", "llama3.2-vision", "tesseract-ocr"];
/// Settings of an archive that asks no model server, should there be one on this machine.
pub(crate) const WITHOUT_MODELS: &str = "[analyzers.gemma3-27b-vision]\nenabled = false\n[analyzers.\"llama3.2-vision\"]\nenabled = false\n";
/// One pixel; bytes behind a PNG's end are no part of the picture and make it another image.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A folder in memory where there is one, so that no disk is measured that nobody asked about.
pub(crate) fn folder() -> Fallible<TempDir> {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    Ok(tempfile::Builder::new().prefix("ocelli-bench-").tempdir_in(place)?)
}

/// Writes different images of `bytes` bytes each (at least a hundred) into `folder`, a thousand in each of its folders.
pub(crate) fn images(folder: &Path, numbers: std::ops::Range<u64>, bytes: usize) -> Fallible<()> {
    let pixel = base64::engine::general_purpose::STANDARD.decode(PIXEL)?;
    let padding = vec![b'.'; bytes.saturating_sub(pixel.len() + 8)];
    for number in numbers {
        let part = folder.join((number / 1000).to_string());
        std::fs::create_dir_all(&part)?;
        let content = [&pixel, format!("{number:08}").as_bytes(), &padding].concat();
        std::fs::write(part.join(format!("{number}.png")), content)?;
    }
    Ok(())
}

/// Programs, their settings, and what they work on.
pub(crate) struct Fleet<'a> {
    lab: &'a Lab,
    pub(crate) catalog: Catalog,
    pub(crate) vhost: RabbitmqServer,
    // Lives as long as the fleet.
    _database: PostgresServer,
    asking: tokio::sync::Mutex<Asking>,
    folder: TempDir,
}

impl<'a> Fleet<'a> {
    /// A fleet with these settings beside broker and catalog, and with none of the shipped analyzers that they do not name.
    pub(crate) async fn new(lab: &'a Lab, settings: &str) -> Fallible<Self> {
        let folder = folder()?;
        let (vhost, database) = (lab.vhost().await?, lab.database().await?);
        let catalog = Catalog::open(&database.url, CatalogOptions::default()).await?;
        let mut text = format!(
            "[broker]\nurl = \"{}\"\n[catalog]\nurl = \"{}\"\n[http]\nlisten = \"off\"\n{settings}\n",
            vhost.url, database.url
        );
        for name in SHIPPED.iter().filter(|name| !settings.contains(**name)) {
            text.push_str(&format!("[analyzers.\"{name}\"]\nenabled = false\n"));
        }
        std::fs::write(folder.path().join("ocelli.toml"), text)?;
        let asking = tokio::sync::Mutex::new(database.asking().await);
        Ok(Self { lab, catalog, vhost, _database: database, asking, folder })
    }

    /// A fleet with null analyzers, each with so many slots in every worker.
    pub(crate) async fn null(lab: &'a Lab, analyzers: &[&str], slots: usize) -> Fallible<Self> {
        Self::new(lab, &nulls(analyzers, slots)).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of one of the programs, in the folder of the settings.
    pub(crate) fn command(&self, name: &str) -> Fallible<Command> {
        let mut command = bound("KILL", &self.lab.program(name)?);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("NO_COLOR", "1");
        Ok(command)
    }

    /// Starts a program; its log is `NAME.log`.
    pub(crate) fn start(&self, name: &str, words: &[&str]) -> Fallible<Program> {
        let mut command = self.command(name)?;
        command.args(words);
        Ok(Program::start(command, &self.path(&format!("{name}.log")))?)
    }

    pub(crate) fn collector(&self) -> Fallible<Program> {
        self.start("ocelli-collector", &[])
    }

    pub(crate) fn null_workers(&self, count: usize) -> Fallible<Vec<Program>> {
        let words = ["null-worker", "--latency", "0"];
        (0..count).map(|_| self.start("ocelli-chaos", &words)).collect()
    }

    /// Waits until the collector and so many workers consume their queues.
    pub(crate) async fn consumed_by(&self, analyzers: &[&str], workers: usize) -> Fallible<()> {
        let broker = Broker::rabbitmq(RabbitOptions::new(&self.vhost.url)).await?;
        let mut queues = vec![(Queue::Results, 1)];
        for name in analyzers {
            queues.push((Queue::Jobs(name.parse()?), workers as u64));
        }
        let started = Instant::now();
        for (queue, consumers) in queues {
            while broker.depth(&queue).await.map_or(0, |depth| depth.consumers) < consumers {
                if started.elapsed() > PATIENCE {
                    return Err(format!("{queue} has too few consumers").into());
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        broker.close().await;
        Ok(())
    }

    /// Waits until so many messages wait for a collector.
    pub(crate) async fn results(&self, count: u64) -> Fallible<()> {
        let broker = Broker::rabbitmq(RabbitOptions::new(&self.vhost.url)).await?;
        let started = Instant::now();
        while broker.depth(&Queue::Results).await.map_or(0, |depth| depth.ready) < count {
            if started.elapsed() > PATIENCE {
                return Err("too few answers came".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        broker.close().await;
        Ok(())
    }

    /// Produces a folder or a manifest to its end.
    pub(crate) async fn produce(&self, source: &str) -> Fallible<Value> {
        let mut command = self.command("ocelli")?;
        command.args(["produce", source, "--json"]).stdin(Stdio::null());
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("produce: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// The number of the image that came last.
    pub(crate) async fn last_image(&self) -> i64 {
        self.asking.lock().await.number("SELECT coalesce(max(id), 0) FROM images").await
    }

    /// Waits until the images behind one have so many analyses. Counting many of them at every look would take the processors from who is
    /// measured: those of large archives are left out, and nothing is counted before there can be enough.
    pub(crate) async fn analyses(&self, behind: i64, count: u64) -> Fallible<()> {
        let question = format!(
            "SELECT CASE WHEN coalesce(max(id), 0) < {count} THEN coalesce(max(id), 0) \
             ELSE (SELECT count(*) FROM analyses WHERE image > {behind}) END FROM analyses"
        );
        wait_for(&mut *self.asking.lock().await, &question, count).await
    }

    /// What has to be true after every round: one complete record for each image, one outcome of every analyzer, nothing
    /// failed, no dead letter, and an audit without a finding.
    pub(crate) async fn check(&self, images: u64, analyzers: u64) -> Fallible<()> {
        let status = self.catalog.status(Timestamp::now()).await?;
        let settled: u64 =
            status.analyzers.values().map(|of| of.done + of.empty + of.skipped).sum();
        if status.images != images || status.complete != images || settled != images * analyzers {
            return Err(format!(
                "{} images, {} complete, {settled} outcomes: {images} of them with {analyzers} each were asked for",
                status.images, status.complete
            )
            .into());
        }
        let audit = self.catalog.audit().await?;
        match audit.problems.is_empty() && status.dead_letters == 0 {
            true => Ok(()),
            false => Err(format!(
                "{} dead letters; audit: {}",
                status.dead_letters,
                audit.problems.join("; ")
            )
            .into()),
        }
    }
}

/// Settings of null analyzers, each with so many slots in every worker.
pub(crate) fn nulls(analyzers: &[&str], slots: usize) -> String {
    let of = |name: &&str| format!("[analyzers.{name}]\nkind = \"ocr\"\nchildren = {slots}\n");
    analyzers.iter().map(of).collect()
}

/// Waits until the answer to a question is so many.
pub(crate) async fn wait_for(asking: &mut Asking, question: &str, count: u64) -> Fallible<()> {
    let started = Instant::now();
    loop {
        let found = u64::try_from(asking.number(question).await)?;
        if found >= count {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{found} of {count} after {PATIENCE:?}: {question}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}
