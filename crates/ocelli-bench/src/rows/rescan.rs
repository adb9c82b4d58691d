//! Rescan: the same folder again, when all its files are known.

use std::process::Stdio;
use std::time::Instant;

use crate::fleet::{Fleet, folder, images};
use crate::lab::{Fallible, Lab};
use crate::report::{Goal, Row};
use crate::series::{Series, alternate};

const FILES: u64 = 100_000;
/// Bytes of a file: as many as it takes to notice who reads them.
const BYTES: usize = 4_000;
const ANALYZER: [&str; 1] = ["null-a"];

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let (place, count) = (folder()?, lab.count(FILES));
    let files = place.path().join("files");
    images(&files, 0..count, BYTES)?;
    let fleet = Fleet::null(lab, &ANALYZER, 64).await?;
    let _collector = fleet.collector()?;
    let _workers = fleet.null_workers(1)?;
    let source = files.display().to_string();
    fleet.consumed_by(&ANALYZER, 1).await?;
    fleet.produce(&source).await?;
    fleet.analyses(0, count).await?;
    let contenders = vec![
        Series::new(
            "ocelli produce, all known",
            "files/s",
            "the sightings of this run are published too",
        ),
        Series::new(
            "find -printf",
            "files/s",
            "lists the same files with size and times, and nothing else",
        ),
    ];
    let series = alternate(lab, contenders, async |index| {
        let started = Instant::now();
        if index == 0 {
            let told = fleet.produce(&source).await?;
            let took = started.elapsed().as_secs_f64();
            if told["accepted"].as_u64() != Some(count) || told["jobs"].as_u64() != Some(0) {
                return Err(format!("{count} known files became {told}").into());
            }
            return Ok(count as f64 / took);
        }
        let mut find = tokio::process::Command::new("find");
        find.arg(&files).args(["-type", "f", "-printf", "%s %T@ %i %p\\n"]).stdout(Stdio::null());
        let status = find.status().await?;
        if !status.success() {
            return Err(format!("find: {status}").into());
        }
        Ok(count as f64 / started.elapsed().as_secs_f64())
    })
    .await;
    fleet.check(count, 1).await?;
    let goals =
        vec![Goal::at_least("rescan of known files", 20_000.0, "files/s", series[0].median())];
    let how = vec![format!(
        "{count} files of {BYTES} bytes in a file system in memory, produced and analyzed once before; fleet idle"
    )];
    Ok(Row { series, goals, how, ..Row::default() })
}
