//! Speed: the contenders take turns over one mixture, round after round, and each is compared with the pool.

use anyhow::Result;
use clap::ValueEnum;

use crate::contenders::{Arena, Loop, Run};
use crate::report::scores;
use crate::score::mean;
use crate::sets::{Sample, Set, WHOLE};

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    /// The children of the worker.
    Pool,
    /// `xargs tesseract` with one thread each.
    Command,
    /// The same without the limit on threads.
    Unlimited,
    /// What a child does, in one thread.
    Reading,
    /// One page pass over the pixels as they are, in one thread.
    Plain,
}

impl Contender {
    const fn shown(self) -> &'static str {
        match self {
            Self::Pool => "ocelli, through its pool",
            Self::Command => "xargs tesseract, 1 thread each",
            Self::Unlimited => "xargs tesseract, no thread limit",
            Self::Reading => "same reading, 1 thread in a loop",
            Self::Plain => "plain pass, 1 thread in a loop",
        }
    }

    fn run(self, arena: &Arena, images: &[Sample]) -> Result<Run> {
        match self {
            Self::Pool => arena.pool(images),
            Self::Command => arena.command_line(images, true),
            Self::Unlimited => arena.command_line(images, false),
            Self::Reading => arena.one_loop(images, Loop::Reading),
            Self::Plain => arena.one_loop(images, Loop::Plain),
        }
    }
}

/// How much is read.
#[derive(Clone, Copy)]
pub(crate) struct Amounts {
    /// Images of the mixture.
    pub(crate) mixed: usize,
    pub(crate) rounds: usize,
    /// Of them for the command without a limit on threads, which is slow.
    pub(crate) unlimited: usize,
}

/// Reads a mixture in the proportions of an archive of memes and screenshots.
pub(crate) fn compare(
    arena: &Arena,
    sets: &[Set],
    amounts: Amounts,
    contenders: &[Contender],
) -> Result<()> {
    let mixed = &mixed(sets, amounts.mixed)?[..];
    println!(
        "Speed with {} children or processes and '{}': {} images, mean of {} rounds",
        arena.children,
        arena.languages,
        mixed.len(),
        amounts.rounds
    );
    let shares: Vec<String> = sets
        .iter()
        .filter(|set| set.share > 0)
        .map(|set| format!("{} {}", set.share, set.name))
        .collect();
    println!("Of {WHOLE}: {}", shares.join(", "));
    // Each contender beside a pool that reads the same images.
    let all = Contender::value_variants().iter().copied().filter(|c| *c != Contender::Pool);
    let chosen: Vec<Contender> =
        all.filter(|c| contenders.is_empty() || contenders.contains(c)).collect();
    let few = amounts.unlimited.min(mixed.len());
    let images = |contender| match contender {
        Contender::Unlimited => &mixed[..few],
        _ => mixed,
    };
    let mut own: Vec<Run> = Vec::new();
    let mut runs: Vec<Vec<Run>> = chosen.iter().map(|_| Vec::new()).collect();
    for _ in 0..amounts.rounds {
        own.push(arena.pool(mixed)?);
        for (contender, runs) in chosen.iter().zip(&mut runs) {
            runs.push(contender.run(arena, images(*contender))?);
        }
    }
    println!(
        "{:<34} {:>6} {:>9} {:>9} {:>11} {:>12} {:>7} {:>7}",
        "", "images", "CPU s/img", "images/s", "pool by CPU", "pool by time", "recall", "peak"
    );
    row(arena, Contender::Pool, mixed, &own, &own);
    for (contender, runs) in chosen.iter().zip(&runs) {
        let images = images(*contender);
        if images.len() == mixed.len() {
            row(arena, *contender, images, runs, &own);
        } else {
            let own = vec![arena.pool(images)?];
            row(arena, Contender::Pool, images, &own, &own);
            row(arena, *contender, images, runs, &own);
        }
    }
    let sum = |of: fn(&Run) -> usize| own.iter().map(of).sum::<usize>();
    let (refused, crashed) = (sum(|run| run.refused), sum(|run| run.crashed));
    println!("Outcomes of the pool: {refused} refused, {crashed} crashed\n");
    anyhow::ensure!(crashed == 0, "{crashed} images cost a child");
    Ok(())
}

fn row(arena: &Arena, contender: Contender, images: &[Sample], runs: &[Run], own: &[Run]) {
    let (cpu, mut rate) = figures(runs, images.len());
    let (own_cpu, own_rate) = figures(own, images.len());
    if matches!(contender, Contender::Reading | Contender::Plain) {
        // W such threads with a core each.
        rate *= arena.children as f64;
    }
    let recall = runs.last().map_or(0.0, |run| mean(&scores(images, run)).recall);
    let peak = runs.iter().map(|run| run.peak).max().unwrap_or(0) as f64 / 1e6;
    println!(
        "{:<34} {:>6} {cpu:>9.3} {rate:>9.2} {:>10.2}x {:>11.3}x {recall:>7.3} {peak:>4.0} MB",
        contender.shown(),
        images.len(),
        cpu / own_cpu,
        own_rate / rate
    );
}

/// `count` pictures, each set by its share and from its beginning when it is exhausted; any part of the list is the same
/// mixture.
fn mixed(sets: &[Set], count: usize) -> Result<Vec<Sample>> {
    anyhow::ensure!(sets.iter().any(|set| set.share > 0), "none of these sets is of the mixture");
    let round = |number: usize| {
        sets.iter().flat_map(move |set| {
            let from = number * set.share;
            (from..from + set.share).map(|at| set.samples[at % set.samples.len()].clone())
        })
    };
    Ok((0..).flat_map(round).take(count).collect())
}

/// CPU seconds per image and images per second, over all rounds.
fn figures(runs: &[Run], images: usize) -> (f64, f64) {
    let all = (images * runs.len()) as f64;
    let cpu: f64 = runs.iter().map(|run| run.cpu).sum();
    let wall: f64 = runs.iter().map(|run| run.wall).sum();
    (cpu / all, all / wall)
}
