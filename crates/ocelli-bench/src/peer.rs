//! The peers: small Python programs (`peers/`) that do the same work on the same broker and database.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ocelli_testkit::program::{Program, bound};
use ocelli_testkit::servers::{Asking, PostgresServer, RabbitmqServer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::fleet::{LOOK, PATIENCE, wait_for};
use crate::lab::{Fallible, Lab};

/// A peer, and how it was set.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    /// More environment for all its processes.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    pub(crate) note: &'static str,
}

/// What all of them are given.
pub(crate) const SETTINGS: &str = "peers: the same RabbitMQ and PostgreSQL as ocelli, a quorum queue, publisher confirms, \
    messages acknowledged after the row is committed (fsync on), one process per core; publishers written as each framework \
    advises, the asynchronous ones with 256 publishes in flight; every task reads its file and checks its digest, as a worker \
    of ocelli does";

pub(crate) const QUEUEING: [Peer; 5] = [
    Peer {
        name: "Celery, group, rows",
        script: "peer_celery.py",
        environment: &[],
        note: "acks_late, reject_on_worker_lost, prefetch multiplier 32, no result backend: each task commits its row. No record \
               is put together: whoever reads counts rows",
    },
    Peer {
        name: "Celery, group + chord",
        script: "peer_celery.py",
        environment: &[("CHORD", "1")],
        note: "the same with a chord: texts travel through the result backend (this PostgreSQL), the callback commits three rows \
               at once; chord retry interval 0.1 s",
    },
    Peer {
        name: "Dramatiq, group",
        script: "peer_dramatiq.py",
        environment: &[],
        note: "4 threads per process, prefetch 64; quorum queue by a subclass of its broker, as it declares classic ones. Group \
               callbacks would need Redis and are not used",
    },
    Peer {
        name: "Taskiq",
        script: "peer_taskiq.py",
        environment: &[],
        note: "taskiq-aio-pika, ack when executed, 64 tasks at once in each process, asyncpg with 8 connections",
    },
    Peer {
        name: "FastStream",
        script: "peer_faststream.py",
        environment: &[],
        note: "prefetch 64, nack on error, asyncpg with 8 connections",
    },
];

pub(crate) const OCR: Peer = Peer {
    name: "Celery + tesserocr",
    script: "peer_ocr.py",
    environment: &[("OMP_THREAD_LIMIT", "1")],
    note: "one task per image, acks_late, confirms, one Tesseract per process with one thread, page mode 3, the row committed \
           before the ack; reads in the process that holds the connections, so an image that kills Tesseract kills those too",
};

/// A running peer with tables, worker and database connection.
pub(crate) struct Running<'a> {
    peer: &'a Peer,
    lab: &'a Lab,
    folder: &'a Path,
    vhost: RabbitmqServer,
    database: PostgresServer,
    asking: Asking,
    _worker: Program,
}

impl<'a> Running<'a> {
    /// Makes the tables, starts the worker, whose log goes into `folder`, and waits until it consumes.
    pub(crate) async fn start(lab: &'a Lab, peer: &'a Peer, folder: &'a Path) -> Fallible<Self> {
        let (vhost, database) = (lab.vhost().await?, lab.database().await?);
        let asking = database.asking().await;
        let python = python(lab)?;
        let command = |words: &[&str]| -> Fallible<Command> {
            let mut command = bound("KILL", python);
            command
                .arg(scripts()?.join(peer.script))
                .args(words)
                .current_dir(scripts()?)
                .env("AMQP_URL", &vhost.url)
                .env("DATABASE_URL", &database.url)
                .env("CONCURRENCY", lab.cores.to_string())
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("TESSDATA_PREFIX", tessdata())
                .envs(peer.environment.iter().copied());
            Ok(command)
        };
        let prepared = tokio::process::Command::from(command(&["prepare"])?).output().await?;
        if !prepared.status.success() {
            return Err(String::from_utf8_lossy(&prepared.stderr).into_owned().into());
        }
        let worker = Program::start(command(&["worker"])?, &folder.join("worker.log"))?;
        let mut this = Self { peer, lab, folder, vhost, database, asking, _worker: worker };
        this.consumed().await?;
        Ok(this)
    }

    async fn consumed(&mut self) -> Fallible<()> {
        let (api, vhost, started) = (self.vhost.api(), self.vhost.vhost.clone(), Instant::now());
        loop {
            let (api, path) = (api.clone(), format!("consumers/{vhost}"));
            let consumers = tokio::task::spawn_blocking(move || api.get(&path)).await??;
            if consumers.as_array().is_some_and(|found| !found.is_empty()) {
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(30) {
                return Err(format!("nobody consumes\n{}", self.log()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The end of what the worker said.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("worker.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Produces a folder, and waits until there are `rows` analyses. From the moment in which the producer could begin.
    pub(crate) async fn work(&mut self, folder: &Path, rows: u64) -> Fallible<Duration> {
        let mut command = bound("KILL", python(self.lab)?);
        command
            .arg(scripts()?.join(self.peer.script))
            .arg("produce")
            .arg(folder)
            .current_dir(scripts()?)
            .env("AMQP_URL", &self.vhost.url)
            .env("DATABASE_URL", &self.database.url)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TESSDATA_PREFIX", tessdata())
            .envs(self.peer.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut producer = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let (stdin, stdout) = (producer.stdin.take(), producer.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err("the producer has no pipes".into());
        };
        let mut said = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(PATIENCE, said.next_line()).await??;
        if ready.as_deref() != Some("ready") {
            return Err("the producer did not become ready".into());
        }
        let started = Instant::now();
        stdin.write_all(b"go\n").await?;
        let status = producer.wait().await?;
        if !status.success() {
            return Err(format!("the producer ended with {status}").into());
        }
        wait_for(&mut self.asking, "SELECT count(*) FROM analyses", rows)
            .await
            .map_err(|error| format!("{error}\n{}", self.log()))?;
        Ok(started.elapsed())
    }

    /// One row for each image and each of its analyses, and no more.
    pub(crate) async fn check(&mut self, images: u64, analyses: u64) -> Fallible<()> {
        for (table, count) in [("images", images), ("analyses", analyses)] {
            let found = self.asking.number(&format!("SELECT count(*) FROM {table}")).await;
            if u64::try_from(found)? != count {
                return Err(format!("{found} rows in {table}, {count} were asked for").into());
            }
        }
        Ok(())
    }

    /// For questions of a row.
    pub(crate) async fn number(&mut self, question: &str) -> i64 {
        self.asking.number(question).await
    }
}

fn python(lab: &Lab) -> Fallible<&Path> {
    Ok(lab.python().ok_or("no Python with the peers was given (--python)")?)
}

/// Where the peers' programs are.
fn scripts() -> Fallible<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(format!("{} is not there", folder.display()).into()),
    }
}

/// The language data that Debian's Tesseract reads with: everybody gets the same.
fn tessdata() -> PathBuf {
    let mut found = std::fs::read_dir("/usr/share/tesseract-ocr").into_iter().flatten().flatten();
    let newest = found.find(|entry| entry.path().join("tessdata").is_dir());
    newest.map_or_else(PathBuf::new, |entry| entry.path().join("tessdata"))
}
