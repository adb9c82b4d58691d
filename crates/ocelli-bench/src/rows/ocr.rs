//! OCR: what a fleet adds to Tesseract, and what it takes away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use ocelli_core::{Digest, Outcome};

use crate::cpu::{self, Used};
use crate::fleet::{Fleet, WITHOUT_MODELS, folder};
use crate::lab::{Fallible, Lab};
use crate::peer::{self, Running};
use crate::report::{Goal, Row};
use crate::rows::pictures::{self, Pictures};
use crate::series::{Series, alternate};
use crate::texts::recall;

/// Pictures of a round.
const PICTURES: u64 = 95;
/// Of the whole measurement.
const WHOLE: u64 = 500;
const OCR: &str = "tesseract-ocr";

/// The contenders, in the order of the series.
const FLEET: usize = 0;
const EMBEDDED: usize = 1;
const LOOP: usize = 2;
const COMMAND: usize = 3;
const UNLIMITED: usize = 4;
const PAGE: usize = 5;
const PLAIN: usize = 6;
const PEER: usize = 7;

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let pictures = Pictures::draw(lab, lab.count(if lab.whole { WHOLE } else { PICTURES })).await?;
    let mut contenders = vec![
        Series::new(
            "ocelli, a fleet",
            "images/s",
            "ocelli produce, one ocelli-ocr-worker with a child per core, collector; records complete, audit clean",
        ),
        Series::new(
            "ocelli run",
            "images/s",
            "one process and SQLite, a new archive, its start included",
        ),
        Series::new(
            "one thread in a loop, × cores",
            "images/s",
            "the same reading over every second picture, its start left out, times the number of cores",
        ),
        Series::new(
            "xargs tesseract, one thread each",
            "images/s",
            "as many processes as cores, OMP_THREAD_LIMIT=1; stores text files and nothing else",
        ),
        Series::new(
            "xargs tesseract, no limit",
            "images/s",
            "the same without the limit, over every fifth picture",
        ),
        Series::new(
            "ocelli, a fleet, one pass",
            "images/s",
            "the same fleet with effort = \"page\": one plain pass over the page, as the peer makes it, and its recall",
        ),
        Series::new(
            "one thread in a loop, one pass, × cores",
            "images/s",
            "one plain pass by one thread, its start left out, times the number of cores: more than this nobody can read in one pass",
        ),
    ];
    if lab.python().is_some() {
        contenders.push(Series::new(peer::OCR.name, "images/s", peer::OCR.note));
    }
    let (mut ours, mut once, mut theirs) = (Told::default(), Told::default(), Vec::new());
    let mut looped: Vec<f64> = Vec::new();
    let count = pictures.files.len() as f64;
    let series = alternate(lab, contenders, async |contender| {
        let took = match contender {
            FLEET => fleet(lab, &pictures, "full", &mut ours).await?,
            PAGE => fleet(lab, &pictures, "page", &mut once).await?,
            EMBEDDED => embedded(lab, &pictures).await?,
            LOOP | PLAIN => {
                let how = if contender == LOOP { "reading" } else { "plain" };
                let half: Vec<PathBuf> = pictures.files.iter().step_by(2).cloned().collect();
                let before = Used::now();
                let each = pictures::one_loop(lab, how, &half).await? / half.len() as f64;
                if contender == LOOP {
                    // With the picture that it reads before its clock starts.
                    let used = Used::now().each(&before, half.len() as u64 + 1);
                    looped.push(used.values().sum());
                }
                each * count / lab.cores as f64
            }
            COMMAND => {
                let (took, read) = pictures::command_line(lab, &pictures.files, true).await?;
                theirs = read;
                took
            }
            UNLIMITED => {
                let some: Vec<PathBuf> = pictures.files.iter().step_by(5).cloned().collect();
                let (took, _) = pictures::command_line(lab, &some, false).await?;
                took / some.len() as f64 * count
            }
            PEER => beside(lab, &pictures).await?,
            other => return Err(format!("there is no contender {other}").into()),
        };
        Ok(count / took)
    })
    .await;
    let mut row = row(&pictures, series, [&ours.texts, &once.texts, &theirs]);
    row.series.extend(cpu::series("a fleet", &ours.used));
    let looped = looped.get(1..).unwrap_or_default().to_vec();
    row.series.push(Series::of("CPU time of the loop", "µs/image", looped));
    Ok(row)
}

/// What a fleet read in its last round, and what its programs used in each.
#[derive(Default)]
struct Told {
    texts: Vec<String>,
    used: Vec<BTreeMap<String, f64>>,
}

fn row(pictures: &Pictures, mut series: Vec<Series>, [ours, once, theirs]: [&[String]; 3]) -> Row {
    let ratio = |mine: usize, other: usize| series.get(mine)?.ratio(series.get(other)?);
    let goals = vec![
        Goal::at_least("OCR fleet beside the loop", 0.95, "×", ratio(FLEET, LOOP)),
        Goal::at_least("ocelli run beside the fleet", 0.97, "×", ratio(EMBEDDED, FLEET)),
        Goal::at_least("OCR fleet beside xargs, one thread", 1.5, "×", ratio(FLEET, COMMAND)),
        Goal::at_least("OCR fleet beside xargs, no limit", 2.5, "×", ratio(FLEET, UNLIMITED)),
        Goal::at_least("OCR fleet beside Celery + tesserocr", 1.3, "×", ratio(FLEET, PEER)),
        Goal::at_least(
            "OCR fleet with one pass beside Celery + tesserocr",
            1.3,
            "×",
            ratio(PAGE, PEER),
        ),
    ];
    for (name, texts) in [
        ("word recall, ocelli", ours),
        ("word recall, ocelli with one pass", once),
        ("word recall, tesseract", theirs),
    ] {
        let pairs = pictures.truths.iter().zip(texts).filter(|(truth, _)| !truth.trim().is_empty());
        let recalls: Vec<f64> = pairs.map(|(truth, read)| recall(truth, read)).collect();
        if !recalls.is_empty() {
            let mean = recalls.iter().sum::<f64>() / recalls.len() as f64;
            series.push(Series::of(name, "of 1", vec![mean]));
        }
    }
    let how = vec![format!(
        "{} drawn pictures: of 19 ten memes, four pages, one turned page, four photographs without text; English; the same \
         language data for all",
        pictures.files.len()
    )];
    Row { series, goals, how, ..Row::default() }
}

/// Seconds of a fleet; what it read and used goes into `told`.
async fn fleet(lab: &Lab, pictures: &Pictures, effort: &str, told: &mut Told) -> Fallible<f64> {
    let settings =
        format!("[analyzers.\"{OCR}\"]\nchildren = {}\neffort = \"{effort}\"\n", lab.cores);
    let fleet = Fleet::new(lab, &settings).await?;
    let _programs = (fleet.collector()?, fleet.start("ocelli-ocr-worker", &[])?);
    fleet.consumed_by(&[OCR], 1).await?;
    let folder = pictures.folder.path().join("in").display().to_string();
    let (started, before) = (Instant::now(), Used::now());
    fleet.produce(&folder).await?;
    fleet.analyses(0, pictures.files.len() as u64).await?;
    let took = started.elapsed().as_secs_f64();
    told.used.push(Used::now().each(&before, pictures.files.len() as u64));
    fleet.check(pictures.files.len() as u64, 1).await?;
    told.texts.clear();
    for file in &pictures.files {
        let record = fleet.catalog.record(&Digest::of(&std::fs::read(file)?)).await?;
        let analysis = record.and_then(|record| record.analyses.into_values().next());
        told.texts.push(match analysis.map(|analysis| analysis.outcome) {
            Some(Outcome::Done(reading)) => reading.text,
            _ => String::new(),
        });
    }
    Ok(took)
}

/// Seconds of `ocelli run`, its start included.
async fn embedded(lab: &Lab, pictures: &Pictures) -> Fallible<f64> {
    let home = folder()?;
    std::fs::write(home.path().join("ocelli.toml"), WITHOUT_MODELS)?;
    let mut command = tokio::process::Command::new(lab.program("ocelli")?);
    command
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.path())
        .args(["run", "--json"])
        .arg(pictures.folder.path().join("in"))
        .stdin(Stdio::null());
    let started = Instant::now();
    let output = command.kill_on_drop(true).output().await?;
    let took = started.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!("ocelli run: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let audit = tokio::process::Command::new(lab.program("ocelli")?)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("XDG_DATA_HOME", home.path())
        .args(["audit", "--json"])
        .output()
        .await?;
    let audit: serde_json::Value = serde_json::from_slice(&audit.stdout)?;
    match audit["rows"]["analyses"].as_u64() == Some(pictures.files.len() as u64) {
        true => Ok(took),
        false => Err(format!("ocelli run left {}", audit["rows"]).into()),
    }
}

/// Seconds of Celery with tesserocr.
async fn beside(lab: &Lab, pictures: &Pictures) -> Fallible<f64> {
    let place = folder()?;
    let mut running = Running::start(lab, &peer::OCR, place.path()).await?;
    let count = pictures.files.len() as u64;
    let took = running.work(&pictures.folder.path().join("in"), count).await?;
    running.check(count, count).await?;
    let read = running.number("SELECT count(*) FROM analyses WHERE text <> ''").await;
    if read == 0 {
        return Err("the peer read nothing".into());
    }
    Ok(took.as_secs_f64())
}
