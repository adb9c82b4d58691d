//! Images that break their readers, among others that do not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ocelli_catalog::FailureFilter;
use ocelli_core::{Digest, FailureClass};

use super::fleet::{ANALYZERS, Fleet, SLOTS};
use super::lab::Lab;
use super::processes::{PATIENCE, WORKERS, busy};
use super::row::{Fallible, Row};
use crate::null::{Mischief, Nature};
use crate::readers;

/// Attempts at an image that kills its reader: the default.
const CRASH: u32 = 2;
/// An analysis takes …
const LATENCY: u64 = 100;
/// … and a reader that takes longer than this is killed.
const DEADLINE: u64 = 200;
/// Of a thousand images, so many of each kind.
const OF_EACH: u16 = 10;

pub(super) async fn mixed(lab: &Lab) -> Fallible<Row> {
    let images = lab.count(2_500, 1_500);
    let without = run(lab, images, Mischief::default()).await?;
    let mischief = Mischief { crash: OF_EACH, hang: OF_EACH, fail: OF_EACH, slow: 0 };
    let with = run(lab, images, mischief).await?;
    // Time that poison takes from the readers: attempts at what crashes and hangs end later than others, or come twice.
    // A reader that is gone has to be started again before the next image.
    let start = readers::start_takes().await?.as_millis() as u64;
    let extra = |times: u64| times as f64 * f64::from(OF_EACH) / 1000.0;
    let per_image = extra(u64::from(CRASH) * (LATENCY + start))
        + extra(u64::from(CRASH) * (DEADLINE + start))
        + extra(LATENCY)
        + (1.0 - 3.0 * f64::from(OF_EACH) / 1000.0) * LATENCY as f64;
    let fair = LATENCY as f64 / per_image;
    let ratio = with.speed / without.speed;
    let row = with
        .row
        .figure("neighbours per second", format!("{:.0}", with.speed))
        .figure("without poison", format!("{:.0}", without.speed))
        .figure("ratio", format!("{ratio:.2}"))
        .figure("start of a reader", format!("{start} ms"))
        .figure("with the readers' time that poison takes", format!("{:.2}", ratio / fair))
        .must("neighbours are as fast as without poison (≥ 0.9)", ratio / fair >= 0.9);
    with.fleet.adds_up(row, images, ANALYZERS).await
}

struct Run {
    /// Good images a second, between the first tenth and nine tenths of them.
    speed: f64,
    row: Row,
    fleet: Fleet,
    _vhost: ocelli_testkit::servers::RabbitmqServer,
}

async fn run(lab: &Lab, images: u64, mischief: Mischief) -> Fallible<Run> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    let words = [
        ("--latency", LATENCY),
        ("--crash", mischief.crash.into()),
        ("--hang", mischief.hang.into()),
        ("--fail", mischief.fail.into()),
    ];
    fleet.mischief = vec!["--readers".to_owned()];
    fleet
        .mischief
        .extend(words.iter().flat_map(|(word, value)| [(*word).to_owned(), value.to_string()]));
    for name in ["null-a", "null-b"] {
        fleet.set(&format!("analyzers.{name}.soft_deadline"), "100ms");
        fleet.set(&format!("analyzers.{name}.hard_deadline"), format!("{DEADLINE}ms"));
    }
    let natures: BTreeMap<Digest, Nature> = fleet
        .images(images)?
        .into_iter()
        .map(|digest| (digest, mischief.nature(&digest)))
        .collect();
    let good = natures.values().filter(|nature| **nature == Nature::Good).count() as u64;
    fleet.produce().await?;
    let _running = busy(&fleet).await?;
    let (speed, took) = tokio::join!(speed(&fleet, good), fleet.finishes(images, PATIENCE));
    let row = judge(&fleet, &natures, took?).await?;
    fleet.noted(Row::default());
    Ok(Run { speed: speed?, row, fleet, _vhost: vhost })
}

/// Good analyses that are in the catalog, over time.
async fn speed(fleet: &Fleet, good: u64) -> Fallible<f64> {
    let done = async || -> Fallible<u64> {
        Ok(fleet.status().await?.analyzers.values().map(|of| of.done).sum())
    };
    let all = good * ANALYZERS;
    let started = Instant::now();
    let mut first = None;
    loop {
        let (now, at) = (done().await?, Instant::now());
        if first.is_none() && now >= all / 10 {
            first = Some((now, at));
        }
        if let Some((from, since)) = first
            && now >= all * 9 / 10
        {
            return Ok((now - from) as f64 / at.duration_since(since).as_secs_f64());
        }
        if started.elapsed() > PATIENCE {
            return Err("the good images do not come to an end".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn judge(fleet: &Fleet, natures: &BTreeMap<Digest, Nature>, took: Duration) -> Fallible<Row> {
    let filter = FailureFilter { limit: 1_000_000, ..FailureFilter::default() };
    let failures = fleet.catalog.failures(&filter).await?;
    let (mut innocent, mut wrong) = (0, 0);
    for failure in &failures {
        let (class, attempts, word) = match natures.get(&failure.digest) {
            Some(Nature::Crashes) => (FailureClass::Crash, CRASH, "died"),
            Some(Nature::Hangs) => (FailureClass::Crash, CRASH, "was killed after"),
            Some(Nature::Fails) => (FailureClass::Permanent, 1, "decoded"),
            Some(Nature::Good | Nature::Slow) | None => {
                innocent += 1;
                continue;
            }
        };
        let same = failure.class == class && failure.attempts == attempts;
        wrong += usize::from(!same || !failure.reason.contains(word));
    }
    let of = |nature| natures.values().filter(|other| **other == nature).count();
    let guilty = natures.len() - of(Nature::Good);
    Ok(Row::default()
        .figure("readers crashed by", of(Nature::Crashes))
        .figure("hung by", of(Nature::Hangs))
        .figure("undecodable", of(Nature::Fails))
        .figure("workers and slots", format!("{WORKERS} × {SLOTS}"))
        .took("drained in", took)
        .figure("failures", failures.len())
        .figure("innocent failures", innocent)
        .must("there is poison of each kind", of(Nature::Crashes).min(of(Nature::Hangs)) > 0)
        .must("no innocent image failed", innocent == 0)
        .must("every failure has its class, reason and attempts", wrong == 0)
        .must("every poisonous image failed", failures.len() as u64 == guilty as u64 * ANALYZERS))
}
