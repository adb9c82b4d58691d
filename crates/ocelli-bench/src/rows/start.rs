//! Start: how soon a program is there.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use crate::fleet::{WITHOUT_MODELS, folder};
use crate::lab::{Fallible, Lab};
use crate::report::{Goal, Row};
use crate::rows::pictures::{self, Pictures};
use crate::series::{Series, alternate, median};

/// Starts of one round.
const STARTS: u64 = 20;
const RUNS: u64 = 3;

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let pictures = Pictures::draw(lab, 1).await?;
    let mut contenders = vec![
        Series::new("ocelli --help", "ms", "medians of rounds"),
        Series::new(
            "ocelli run, one image",
            "ms",
            "a new archive, from start to end of the process",
        ),
        Series::new("its OCR, by one thread in a loop", "ms", "the start of that process left out"),
    ];
    if lab.python().is_some() {
        contenders.push(Series::new("celery --help", "ms", "for comparison"));
    }
    let series = alternate(lab, contenders, async |index| match index {
        0 => {
            repeated(lab.count(STARTS), async || help(lab.program("ocelli")?, &["--help"]).await)
                .await
        }
        1 => repeated(lab.count(RUNS), async || run(lab, &pictures).await).await,
        2 => Ok(pictures::one_loop(lab, "reading", &pictures.files).await? * 1_000.0),
        _ => {
            let python = lab.python().ok_or("no Python")?.to_owned();
            repeated(lab.count(RUNS), async || {
                help(python.clone(), &["-m", "celery", "--help"]).await
            })
            .await
        }
    })
    .await;
    let pairs = series[1].values.iter().zip(&series[2].values);
    let beyond: Vec<f64> = pairs.map(|(run, read)| run - read).collect();
    let goals = vec![
        Goal::at_most("ocelli --help", 20.0, "ms", series[0].median()),
        Goal::at_most("ocelli run of one image, beyond its OCR", 500.0, "ms", median(&beyond)),
    ];
    let how = vec![format!(
        "a round: the median of {} starts for help, of {} for a run",
        lab.count(STARTS),
        lab.count(RUNS)
    )];
    Ok(Row { series, goals, how, ..Row::default() })
}

/// The median of some measurements.
async fn repeated(count: u64, one: impl AsyncFn() -> Fallible<f64>) -> Fallible<f64> {
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(one().await?);
    }
    median(&times).ok_or_else(|| "nothing was measured".into())
}

async fn help(program: PathBuf, words: &[&str]) -> Fallible<f64> {
    let mut command = tokio::process::Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().await?;
    let took = started.elapsed().as_secs_f64() * 1_000.0;
    if status.success() { Ok(took) } else { Err(format!("it ended with {status}").into()) }
}

async fn run(lab: &Lab, pictures: &Pictures) -> Fallible<f64> {
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
    let took = started.elapsed().as_secs_f64() * 1_000.0;
    match output.status.success() {
        true => Ok(took),
        false => Err(format!("ocelli run: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
