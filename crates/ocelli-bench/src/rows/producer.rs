//! The producer: files beside `sha256sum`, files and references beside a client that only publishes, and its memory over many of them.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ocelli_core::Digest;
use ocelli_testkit::program::Program;

use crate::bare;
use crate::fleet::{Fleet, folder, images};
use crate::lab::{Fallible, Lab};
use crate::report::{Goal, Row};
use crate::series::{Series, alternate};

/// Files of a round, and the bytes of each.
const FILES: u64 = 20_000;
const BYTES: usize = 50_000;
/// References of a manifest.
const REFERENCES: u64 = 60_000;
/// And of the two that its memory is compared over. After the few it remembers as many images as it ever does.
const FEW: u64 = 200_000;
const MANY: u64 = 600_000;
/// Instead of the many, in the whole measurement.
const WHOLE: u64 = 1_000_000;
const ANALYZER: [&str; 1] = ["null-a"];

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let place = folder()?;
    let files = place.path().join("files");
    images(&files, 0..lab.count(FILES), BYTES)?;
    let list = place.path().join("references.ndjson");
    manifest(&list, lab.count(REFERENCES))?;
    let contenders = vec![
        Series::new(
            "ocelli produce, files",
            "files/s",
            "listed, read, hashed, sniffed, looked up in PostgreSQL, one job and one sighting published with confirms",
        ),
        Series::new(
            "sha256sum",
            "files/s",
            "find | xargs -P CORES sha256sum over the same files, warm cache",
        ),
        Series::new(
            "ocelli produce, references",
            "references/s",
            "a manifest of URLs with digests: nothing is fetched",
        ),
        Series::new(
            "bare client, references",
            "references/s",
            "a job and a sighting for each, published and confirmed by one process that does nothing else: no list is read, nothing is looked up",
        ),
        Series::new(
            "sha256sum beside the bare client",
            "files/s",
            "both at once, for the same files; what takes longer of the two",
        ),
    ];
    let series = alternate(lab, contenders, async |index| match index {
        0 => produced(lab, &files, lab.count(FILES)).await,
        1 => Ok(lab.count(FILES) as f64 / summed(lab, &files).await?.as_secs_f64()),
        2 => produced(lab, &list, lab.count(REFERENCES)).await,
        3 => {
            let count = lab.count(REFERENCES);
            Ok(count as f64 / bare::published(lab, &ANALYZER, count).await?.as_secs_f64())
        }
        _ => {
            let count = lab.count(FILES);
            let (summed, published) =
                tokio::try_join!(summed(lab, &files), bare::published(lab, &ANALYZER, count))?;
            Ok(count as f64 / summed.max(published).as_secs_f64())
        }
    })
    .await;
    let (few, many) = (lab.count(FEW), lab.count(if lab.whole { WHOLE } else { MANY }));
    let peaks = (peak(lab, place.path(), few).await?, peak(lab, place.path(), many).await?);
    let goals = vec![
        Goal::at_least("producer beside sha256sum", 0.8, "×", series[0].ratio(&series[1])),
        Goal::at_least(
            "producer, references with digests",
            15_000.0,
            "references/s",
            series[2].median(),
        ),
        Goal::at_least(
            "producer beside sha256sum and the bare client",
            0.8,
            "×",
            series[0].ratio(&series[4]),
        ),
        Goal::at_least(
            "producer, references beside the bare client",
            0.5,
            "×",
            series[2].ratio(&series[3]),
        ),
        Goal::at_most(
            &format!("producer's peak memory, {many} references beside {few}"),
            1.05,
            "×",
            Some(peaks.1 / peaks.0),
        ),
    ];
    let mut series = series;
    series.push(Series::of(&format!("peak memory over {few} references"), "MB", vec![peaks.0]));
    series.push(Series::of(&format!("peak memory over {many} references"), "MB", vec![peaks.1]));
    let how = vec![format!(
        "{} files of {BYTES} bytes in a file system in memory; manifests of {} references; one analyzer, a fresh virtual host and \
         database in every round, nobody who takes anything from the queues; the start of the process is in the figures",
        lab.count(FILES),
        lab.count(REFERENCES)
    )];
    Ok(Row { series, goals, how, ..Row::default() })
}

/// References per second; all of them have to be accepted.
async fn produced(lab: &Lab, source: &Path, count: u64) -> Fallible<f64> {
    let fleet = Fleet::null(lab, &ANALYZER, 1).await?;
    let started = Instant::now();
    let told = fleet.produce(&source.display().to_string()).await?;
    let took = started.elapsed().as_secs_f64();
    if told["accepted"].as_u64() != Some(count) || told["jobs"].as_u64() != Some(count) {
        return Err(format!("{count} references became {told}").into());
    }
    Ok(count as f64 / took)
}

async fn summed(lab: &Lab, files: &Path) -> Fallible<Duration> {
    let line = format!("find \"$0\" -type f -print0 | xargs -0 -n 200 -P {} sha256sum", lab.cores);
    let mut command = tokio::process::Command::new("sh");
    command.arg("-c").arg(line).arg(files).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().await?;
    if status.success() {
        Ok(started.elapsed())
    } else {
        Err(format!("sha256sum: {status}").into())
    }
}

/// References to images that nobody has to fetch to know.
fn manifest(path: &Path, count: u64) -> Fallible<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for number in 0..count {
        let digest = Digest::of(&number.to_be_bytes());
        writeln!(
            file,
            "{{\"uri\":\"https://images.example.org/{}/{number}.jpg\",\"digest\":\"{digest}\",\"first_seen\":\"2024-05-04T09:00:51Z\"}}",
            number / 1000
        )?;
    }
    Ok(file.flush()?)
}

/// The most memory, in MB, that a producer has while it goes through so many references.
async fn peak(lab: &Lab, place: &Path, count: u64) -> Fallible<f64> {
    let list = place.join(format!("{count}.ndjson"));
    manifest(&list, count)?;
    let fleet = Fleet::null(lab, &ANALYZER, 1).await?;
    let mut producer: Program =
        fleet.start("ocelli", &["produce", &list.display().to_string(), "--json"])?;
    let mut peak = 0;
    while producer.is_running() {
        peak = peak.max(producer.peak());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    match producer.ended(Duration::ZERO).await {
        Some(0) => Ok(peak as f64 / 1e6),
        other => Err(format!("the producer of {count} references ended with {other:?}").into()),
    }
}
