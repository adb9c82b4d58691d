//! Resident memory of a worker with 64 requests under way and large images, in a process that does nothing else.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ocelli_llm::InFlight;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::Line;
use crate::double::Double;
use crate::fleet::{Fleet, options};

/// Requests at once.
const AT_ONCE: usize = 64;
/// So long that none has ended when the last one begins, although preparing the images takes its time.
const LATENCY: Duration = Duration::from_secs(290);
/// How long that may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(280);
/// 200 MB.
const MOST_MIB: u64 = 190;

/// Starts the process, waits until all requests are under way, and looks at what it needed until then.
pub(crate) async fn measure() -> anyhow::Result<Vec<Line>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("photograph.jpg");
    photograph(&path)?;
    let megabytes = std::fs::metadata(&path)?.len() as f64 / 1e6;
    let mut double = Double::start(LATENCY, AT_ONCE).await?;
    let worker = Command::new(std::env::current_exe()?)
        .args(["memory".as_ref(), path.as_os_str(), double.url.as_str().as_ref()])
        .kill_on_drop(true)
        .spawn()?;
    let process = worker.id().context("the measured process is gone")?;
    let begun = Instant::now();
    let mut open = 0;
    while open < AT_ONCE && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
        open = double.tell("most").await?;
    }
    // What is prepared beyond the places counts too.
    sleep(Duration::from_secs(5)).await;
    let peak = peak(process)?;
    Ok(vec![Line::new(
        &format!("{open} at once, 12-megapixel JPEGs of {megabytes:.1} MB: peak"),
        format!("{peak} MiB"),
        "<= 190 MiB",
        peak <= MOST_MIB && open == AT_ONCE,
    )])
}

/// The program `memory`: works until it is killed.
pub(crate) async fn work(image: &Path, server: &str) -> anyhow::Result<()> {
    let url = server.parse()?;
    let options = options(&[&url], InFlight::Fixed(AT_ONCE));
    let _fleet = Fleet::start_with(options, image).await?;
    std::future::pending().await
}

/// The most memory that a process ever held, in MiB (`VmHWM` of proc(5)).
fn peak(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.context("no VmHWM")?.trim().trim_end_matches(" kB").parse::<u64>()?;
    Ok(kilobytes / 1024)
}

/// Twelve megapixels with the grain of a photograph: a smooth one would be a small file.
fn photograph(path: &Path) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(1);
    let image = image::RgbImage::from_fn(4000, 3000, |x, y| {
        let grain = random.random_range(0..16);
        image::Rgb([(x / 16) as u8 ^ grain, (y / 12) as u8 ^ grain, ((x + y) / 28) as u8])
    });
    image.save(path)?;
    Ok(())
}
