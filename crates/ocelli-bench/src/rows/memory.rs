//! Memory: what the programs hold when they wait and when they work, and whether it grows.

use std::time::Duration;

use ocelli_testkit::ports;
use ocelli_testkit::program::{Program, memory};

use crate::fleet::{Fleet, NULLS, images};
use crate::lab::{Fallible, Lab};
use crate::report::{Goal, Row};
use crate::series::Series;

/// Images that go through before the first look, and up to the last.
const FIRST: u64 = 5_000;
const LAST: u64 = 25_000;
/// Of the whole measurement.
const WHOLE: u64 = 100_000;
/// What a program may do after its start before it counts as idle.
const SETTLED: Duration = Duration::from_secs(3);
const SLOTS: usize = 32;

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let mut series = idle(lab).await?;
    let (worked, growth) = worked(lab).await?;
    series.extend(worked);
    let goals = growth
        .into_iter()
        .map(|(name, growth)| {
            let (first, last) = (lab.count(FIRST), lab.count(last(lab)));
            Goal::at_most(
                &format!("memory of the {name}, {last} images beside {first}"),
                1.05,
                "×",
                Some(growth),
            )
        })
        .collect();
    let how = vec![
        "resident memory (VmRSS), once; of an OCR worker with its children".to_owned(),
        format!("idle: {} s after the start", SETTLED.as_secs()),
        "the first images were answered before the collector was started: it has held full batches by the first look".to_owned(),
    ];
    Ok(Row { series, goals, how, ..Row::default() })
}

fn last(lab: &Lab) -> u64 {
    if lab.whole { WHOLE } else { LAST }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Every program that stays, idle.
async fn idle(lab: &Lab) -> Fallible<Vec<Series>> {
    let (model, site) = (ports::free(), ports::free());
    let fleet = Fleet::new(
        lab,
        &format!(
            "[analyzers.\"tesseract-ocr\"]\nchildren = {}\n[analyzers.\"gemma3-27b-vision\"]\nendpoints = \
             [{{ url = \"http://127.0.0.1:{model}\" }}]\n[web]\nlisten = \"127.0.0.1:{site}\"\n",
            lab.cores
        ),
    )
    .await?;
    let listen = format!("127.0.0.1:{model}");
    let _model = fleet.start("ocelli-testkit", &["model-server", "--listen", &listen])?;
    let names = ["ocelli-collector", "ocelli-ocr-worker", "ocelli-llm-worker", "ocelli-web"];
    let mut programs: Vec<Program> = Vec::new();
    for name in names {
        programs.push(fleet.start(name, &[])?);
    }
    fleet.consumed_by(&["tesseract-ocr", "gemma3-27b-vision"], 1).await?;
    tokio::time::sleep(SETTLED).await;
    let mut series = Vec::new();
    for (name, program) in names.iter().zip(&mut programs) {
        if !program.is_running() {
            let log = std::fs::read_to_string(fleet.path(&format!("{name}.log")));
            return Err(format!("{name} ended: {}", log.unwrap_or_default()).into());
        }
        let own = megabytes(program.resident());
        series.push(Series::of(&format!("{name}, idle"), "MB", vec![own]));
        let children: u64 = children(program.id()).iter().map(|pid| memory(*pid, "VmRSS:")).sum();
        if children > 0 {
            let name = format!("{name}, its children, idle");
            series.push(Series::of(&name, "MB", vec![megabytes(children)]));
        }
    }
    Ok(series)
}

/// Collector and null worker after some images and after many; how many times as much they hold then. The first ones wait until a collector
/// comes: so it has held the fullest batches before it is looked at, and what it holds later is growth.
async fn worked(lab: &Lab) -> Fallible<(Vec<Series>, Vec<(&'static str, f64)>)> {
    let fleet = Fleet::null(lab, &NULLS, SLOTS).await?;
    let (first, last, analyzers) = (lab.count(FIRST), lab.count(last(lab)), NULLS.len() as u64);
    images(&fleet.path("first"), 0..first, 100)?;
    images(&fleet.path("rest"), first..last, 100)?;
    let workers = fleet.null_workers(1)?;
    fleet.produce("first").await?;
    fleet.results(first * (1 + analyzers)).await?;
    let collector = fleet.collector()?;
    let programs = [("collector", &collector), ("null worker", &workers[0])];
    let look = || programs.map(|(_, program)| megabytes(program.resident()));
    fleet.analyses(0, first * analyzers).await?;
    let before = look();
    fleet.produce("rest").await?;
    fleet.analyses(0, last * analyzers).await?;
    let after = look();
    fleet.check(last, analyzers).await?;
    let (mut series, mut growth) = (Vec::new(), Vec::new());
    for (index, (name, program)) in programs.into_iter().enumerate() {
        for (images, held) in [(first, before[index]), (last, after[index])] {
            series.push(Series::of(&format!("{name}, after {images} images"), "MB", vec![held]));
        }
        let peak = megabytes(program.peak());
        series.push(Series::of(&format!("{name}, at most"), "MB", vec![peak]));
        growth.push((name, after[index] / before[index]));
    }
    Ok((series, growth))
}

fn children(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}
