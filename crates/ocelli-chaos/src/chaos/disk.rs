//! A full disk under the catalog, and one under the broker.
//!
//! The disks are two small file systems in memory. They are mounted in a mount namespace of their own, in which this
//! program runs a second time: nobody else sees them, and they are gone with their last process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ocelli_core::{Digest, Outcome};
use ocelli_testkit::servers::{OwnRabbitmq, Place};
use serde_json::Value;

use super::fleet::{ANALYZERS, Fleet, Store};
use super::lab::Lab;
use super::processes::PATIENCE;
use super::row::{Fallible, Row};
use crate::null;

/// Room for a catalog, or a broker, with some thousand images.
const DISK: &str = "size=192m";
/// The broker's warning must come before its end, on a disk this small; and its log of 512 MB must fit.
const BROKER: &str = "disk_free_limit.absolute = 20MB\nraft.wal_max_size_bytes = 8000000\n\
                      collect_statistics_interval = 500";
/// Works again within this after there is room.
const RESUMES: Duration = Duration::from_secs(30);

pub(super) async fn filled(lab: &Lab) -> Fallible<Row> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--").arg(std::env::current_exe()?).arg("full-disk");
    command.arg("--minutes").arg(lab.minutes().to_string()).stderr(Stdio::piped());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let answer = said.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let Some(answer) = answer else {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("no small disk could be made, or nothing run on it: {reason}").into());
    };
    let kept = answer["kept"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lab.kept
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .extend(kept.map(PathBuf::from));
    Row::from_json(&answer)
}

/// The test itself, inside of the namespace. Prints its row as JSON.
pub(crate) fn full_disk(minutes: f64) -> Fallible<()> {
    let lab = Lab::new(minutes, 0, false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let row = runtime.block_on(run(&lab)).unwrap_or_else(|error| {
        Row::default().must(&format!("could not be run to its end: {error}"), false)
    });
    let mut answer = row.to_json();
    answer["kept"] = serde_json::json!(lab.take_kept());
    println!("{answer}");
    Ok(())
}

async fn run(lab: &Lab) -> Fallible<Row> {
    let (under_catalog, under_broker) = (Disk::mount()?, Disk::mount()?);
    let mut broker = OwnRabbitmq::start_with(BROKER, &Place::at(under_broker.path())).await?;
    let store = Store::File(under_catalog.path().to_owned());
    let mut fleet = Fleet::null_in(lab, &broker.url(), store).await?;
    fleet.mischief = ["--latency", "100"].map(str::to_owned).to_vec();
    let images = lab.count(1_300, 1_200);
    let digests = fleet.images(images)?;
    let mut collector = fleet.collector()?;
    let mut workers = fleet.workers(2)?;
    fleet.produce().await?;
    let lasts = lab.lasting(Duration::from_secs(4), Duration::from_secs(3));
    let mut row = Row::default().took("each full for", lasts);

    fleet.reaches(images / 5, PATIENCE).await?;
    under_catalog.fill()?;
    tokio::time::sleep(lasts).await;
    let held = fleet.status().await?.complete;
    let error = said(&fleet, "ocelli-collector.log", "the catalog cannot be written")?;
    under_catalog.make_room()?;
    let room = Instant::now();
    fleet.reaches((held + 1).min(images), PATIENCE).await?;
    row = row
        .figure("catalog full at", held)
        .must("catalog: the disk was full in time", held < images)
        .must("catalog: the collector says that it is full", error.contains("full"))
        .within("catalog: resumes after", room.elapsed(), RESUMES);

    fleet.reaches(images * 2 / 5, PATIENCE).await?;
    under_broker.fill()?;
    tokio::time::sleep(lasts).await;
    let log = "ocelli-chaos.log";
    let visible = !said(&fleet, log, "takes no messages")?.is_empty()
        || !said(&fleet, log, "the connection to the broker is lost")?.is_empty()
        || !said(&fleet, log, "the consumer was lost")?.is_empty();
    under_broker.make_room()?;
    let (held, room) = (fleet.status().await?.complete, Instant::now());
    // RabbitMQ itself may not survive that; whoever runs it starts it again.
    let survived = matches!(
        tokio::time::timeout(RESUMES / 2, fleet.reaches((held + 1).min(images), PATIENCE)).await,
        Ok(Ok(_))
    );
    let mut resumed = room.elapsed();
    if !survived {
        broker.try_start_again().await?;
        let again = Instant::now();
        fleet.reaches((held + 1).min(images), PATIENCE).await?;
        resumed = again.elapsed();
    }
    row = row
        .figure("broker full at", held)
        .figure("RabbitMQ had to be started again", if survived { "no" } else { "yes" })
        .must("broker: the disk was full in time", held < images)
        .must("broker: the workers say what is wrong", visible)
        .within("broker: resumes after", resumed, RESUMES);

    let took = fleet.finishes(images, PATIENCE).await?;
    let same =
        collector.is_running() && workers.iter_mut().all(super::program::Program::is_running);
    let corrupt = corrupt(&fleet, &digests).await?;
    let row = row
        .took("rest drained in", took)
        .figure("corrupt records", corrupt)
        .must("no process of the fleet had to be started again", same)
        .must("every record says what was read", corrupt == 0);
    fleet.verdict(row, images, ANALYZERS).await
}

/// The first line of a log with these words.
fn said(fleet: &Fleet, log: &str, words: &str) -> Fallible<String> {
    let text = std::fs::read_to_string(fleet.path(log))?;
    Ok(text.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned())
}

async fn corrupt(fleet: &Fleet, digests: &[Digest]) -> Fallible<usize> {
    let mut corrupt = 0;
    for digest in digests {
        let record = fleet.catalog.record(digest).await?;
        let whole = record.is_some_and(|record| {
            record.answers().all(|analysis| {
                matches!(&analysis.outcome, Outcome::Done(read) if read.text == null::text(digest))
            })
        });
        corrupt += usize::from(!whole);
    }
    Ok(corrupt)
}

/// A small file system in memory.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Fallible<Self> {
        let folder = tempfile::Builder::new().prefix("ocelli-disk-").tempdir()?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(folder.path())
            .output()?;
        if !mount.status.success() {
            return Err(String::from_utf8_lossy(&mount.stderr).into_owned().into());
        }
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Writes until not one more byte fits.
    fn fill(&self) -> Fallible<()> {
        let mut file = std::fs::File::create(self.ballast())?;
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0; size];
            while file.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    fn make_room(&self) -> Fallible<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The folder cannot be removed while something is mounted on it.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).output());
    }
}
