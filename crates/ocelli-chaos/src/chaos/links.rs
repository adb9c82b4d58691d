//! Links to the broker that break, are slow, or only look alive.

use std::time::{Duration, Instant};

use super::fleet::{ANALYZERS, Fleet};
use super::lab::Lab;
use super::processes::{PATIENCE, WORKERS, busy};
use super::program::Program;
use super::relay::Relay;
use super::row::{Fallible, Row};

/// As in the settings of the fleet.
const HEARTBEAT: Duration = Duration::from_secs(4);
/// Connections of a process: one publishes, one consumes.
const LINKS: usize = 2;
/// By which the threads and files of a process may differ between two looks.
const GROWTH: usize = 5;
const LATENCY: Duration = Duration::from_millis(200);

pub(super) async fn broken(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let upstream = vhost.url.split('@').nth(1).and_then(|rest| rest.split('/').next());
    let relay = Relay::start(vec![upstream.ok_or("a URL without a host")?.parse()?]).await?;
    let fleet = Fleet::null(lab, &format!("{}/{}", relay.url(), vhost.vhost)).await?;
    let images = lab.count(5_000, 3_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    // Before there is work: threads that read files stay for ten seconds after it.
    fleet.consumed_by(WORKERS as u64, PATIENCE).await?;
    let idle = sizes(&collector, &workers);
    let mut cuts = 0;
    let produced = fleet.produce();
    let cutting = fleet.complete(images, PATIENCE, Duration::from_secs(3), async |_| {
        relay.cut();
        cuts += 1;
        Ok(())
    });
    let (produced, took) = tokio::join!(produced, cutting);
    produced?;
    let took = took?;
    // Files once everything has been used: connections to the catalog are opened when they are needed, and stay.
    let used = sizes(&collector, &workers);
    let before: Sizes = idle.iter().zip(&used).map(|(idle, used)| (idle.0, used.1)).collect();
    // Far away: everything takes its time, and nothing breaks.
    relay.delay(LATENCY);
    let opened = relay.opened();
    let far = images + lab.count(300, 200);
    fleet.images(far)?;
    // From near by: a producer far away spends most of its time on its first declarations.
    let near = ["--set".to_owned(), format!("broker.url={}", vhost.url)];
    let (produced, slow) = tokio::join!(fleet.produce_with(&near), fleet.finishes(far, PATIENCE));
    produced?;
    let slow = slow?;
    let broke = relay.opened() - opened;
    relay.delay(Duration::ZERO);
    // Idle and cut very often: nothing may grow.
    let many = lab.count(160, 50);
    let mut most = 0;
    for cut in 0..many {
        relay.cut();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if cut > many / 2 {
            most = most.max(grown(&before, &sizes(&collector, &workers)));
        }
    }
    let cut_last = Instant::now();
    let after = settles(&collector, &workers, &before).await;
    let settled = cut_last.elapsed();
    // Dead without a word: a heartbeat has to notice.
    fleet.consumed_by(WORKERS as u64, PATIENCE).await?;
    let (opened, links) = (relay.opened(), LINKS * (workers.len() + 1));
    relay.deaden();
    let dead = Instant::now();
    while relay.opened() < opened + links && dead.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let noticed = dead.elapsed();
    let more = far + 200;
    fleet.images(more)?;
    fleet.produce().await?;
    fleet.finishes(more, PATIENCE).await?;
    let (calls, different) = fleet.calls()?;
    let same = collector.is_running() && workers.iter_mut().all(Program::is_running);
    let growth = growth(&before, &after);
    let row = Row::default()
        .figure("cuts under load", cuts)
        .took("drained in", took)
        .took("at +200 ms drained in", slow)
        .figure("cuts at rest", many)
        .figure("threads and files before", words(&before))
        .figure("after", words(&after))
        .figure("most above that while cut", most)
        .took("settled", settled)
        .figure("duplicate analyses", calls - different)
        .must("three or more cuts under load", cuts >= 3)
        .must("no link breaks at +200 ms", broke == 0)
        .must("threads and files stay the same (±5)", growth <= GROWTH)
        .within("all dead links are replaced", noticed, HEARTBEAT * 5 / 2)
        .must("no process had to be started again", same);
    fleet.verdict(row, more, ANALYZERS).await
}

type Sizes = Vec<(usize, usize)>;

/// Threads and open files of each process.
fn sizes(collector: &Program, workers: &[Program]) -> Sizes {
    std::iter::once(collector).chain(workers).map(Program::size).collect()
}

fn growth(before: &Sizes, after: &Sizes) -> usize {
    let each = before
        .iter()
        .zip(after)
        .flat_map(|(before, after)| [before.0.abs_diff(after.0), before.1.abs_diff(after.1)]);
    each.max().unwrap_or_default()
}

/// By how much the process that grew most grew.
fn grown(before: &Sizes, now: &Sizes) -> usize {
    let each = before
        .iter()
        .zip(now)
        .flat_map(|(before, now)| [now.0.saturating_sub(before.0), now.1.saturating_sub(before.1)]);
    each.max().unwrap_or_default()
}

/// The sizes once links stand again: the longest pause before connecting again is 15 s.
async fn settles(collector: &Program, workers: &[Program], before: &Sizes) -> Sizes {
    let started = Instant::now();
    loop {
        let now = sizes(collector, workers);
        if growth(before, &now) <= GROWTH || started.elapsed() > Duration::from_secs(20) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn words(sizes: &Sizes) -> String {
    let each: Vec<_> = sizes.iter().map(|(threads, files)| format!("{threads}+{files}")).collect();
    each.join(" ")
}
