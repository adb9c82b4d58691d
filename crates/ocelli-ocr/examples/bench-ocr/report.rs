//! Runs the contenders and prints what came out.

use anyhow::Result;

use crate::contenders::{Arena, Loop, Run};
use crate::score::{Score, compare as score, mean};
use crate::sets::{Sample, Set, WHOLE};

/// From this recall on, a plain pass is said to read an image well.
const WELL: f64 = 0.95;

/// Scores every set; one whose texts are in several languages once more with `all_languages`.
pub(crate) fn accuracy(arena: &Arena, sets: &[Set], all_languages: &str) -> Result<()> {
    println!(
        "Accuracy with the language data '{}': mean over the images of a set",
        arena.languages
    );
    heading();
    let (mut cost, mut plain_cost) = (0.0, 0.0);
    for set in sets {
        let reading = arena.one_loop(&set.samples, Loop::Reading)?;
        let plain = arena.one_loop(&set.samples, Loop::Plain)?;
        let command = arena.command_line(&set.samples, true)?;
        row(set, "ocelli", &reading);
        row(set, "tesseract command", &command);
        let plain_scores = scores(&set.samples, &plain);
        for (index, score) in plain_scores.iter().enumerate() {
            if score.recall >= WELL && !set.samples[index].truth.trim().is_empty() {
                cost += reading.each[index];
                plain_cost += plain.each[index];
            }
        }
    }
    println!(
        "\nCost where one plain pass reads well (recall >= {WELL}): {:.2} x that pass\n",
        cost / plain_cost
    );
    if all_languages == arena.languages || !sets.iter().any(|set| set.many_languages) {
        return Ok(());
    }
    let arena = Arena { languages: all_languages.to_owned(), ..arena.clone() };
    println!("The same with all language data that is installed, '{all_languages}'");
    heading();
    for set in sets.iter().filter(|set| set.many_languages) {
        row(set, "ocelli", &arena.one_loop(&set.samples, Loop::Reading)?);
        row(set, "tesseract command", &arena.command_line(&set.samples, true)?);
    }
    println!();
    Ok(())
}

fn heading() {
    println!(
        "{:<34} {:>6}  {:<22} {:>6} {:>9} {:>6} {:>10}",
        "set", "images", "reader", "recall", "precision", "CER", "CPU s/img"
    );
}

/// `count` pictures, each set by its share and from its beginning when it is exhausted; any part of the list is the same
/// mixture.
fn mixed(sets: &[Set], count: usize) -> Vec<Sample> {
    let round = |number: usize| {
        sets.iter().flat_map(move |set| {
            let from = number * set.share;
            (from..from + set.share).map(|at| set.samples[at % set.samples.len()].clone())
        })
    };
    (0..).flat_map(round).take(count).collect()
}

/// Speed over `count` pictures in the proportions of an archive of memes and screenshots.
pub(crate) fn speed(
    arena: &Arena,
    sets: &[Set],
    count: usize,
    rounds: usize,
    unlimited: usize,
) -> Result<()> {
    anyhow::ensure!(!sets.is_empty(), "no images to read");
    let mixed = &mixed(sets, count)[..];
    println!(
        "Speed with {} children or processes and '{}': {} images, mean of {rounds} rounds",
        arena.children,
        arena.languages,
        mixed.len()
    );
    let shares: Vec<String> =
        sets.iter().map(|set| format!("{} {}", set.share, set.name)).collect();
    println!("Of {WHOLE}: {}", shares.join(", "));
    let few = &mixed[..unlimited.min(mixed.len())];
    let mut runs: [Vec<Run>; 5] = Default::default();
    for _ in 0..rounds {
        runs[0].push(arena.pool(mixed)?);
        runs[1].push(arena.command_line(mixed, true)?);
        runs[2].push(arena.command_line(few, false)?);
        runs[3].push(arena.one_loop(mixed, Loop::Reading)?);
        runs[4].push(arena.one_loop(mixed, Loop::Plain)?);
    }
    let children = arena.children as f64;
    let names = [
        "ocelli, through its pool",
        "xargs tesseract, 1 thread each",
        "xargs tesseract, no thread limit",
        "same reading, 1 thread in a loop",
        "plain pass, 1 thread in a loop",
    ];
    println!(
        "{:<34} {:>9} {:>9} {:>11} {:>11} {:>7} {:>8}",
        "", "CPU s/img", "images/s", "pool by CPU", "pool by time", "recall", "peak"
    );
    let own = figures(&runs[0], mixed.len());
    for (index, (name, runs)) in names.iter().zip(&runs).enumerate() {
        let count = if index == 2 { few.len() } else { mixed.len() };
        let (cpu, mut rate) = figures(runs, count);
        if index >= 3 {
            // W such threads with a core each.
            rate *= children;
        }
        let last = &runs[runs.len() - 1];
        let recall = mean(&scores(&mixed[..count], last)).recall;
        let peak = runs.iter().map(|run| run.peak).max().unwrap_or(0) as f64 / 1e6;
        println!(
            "{name:<34} {cpu:>9.3} {rate:>9.2} {:>10.2}x {:>11.2}x {recall:>7.2} {peak:>5.0} MB",
            cpu / own.0,
            own.1 / rate
        );
    }
    let (refused, crashed): (usize, usize) =
        (runs[0].iter().map(|r| r.refused).sum(), runs[0].iter().map(|r| r.crashed).sum());
    println!("\nOutcomes of the pool: {refused} refused, {crashed} crashed");
    anyhow::ensure!(crashed == 0, "{crashed} images cost a child");
    Ok(())
}

/// CPU seconds per image and images per second, over all rounds.
fn figures(runs: &[Run], images: usize) -> (f64, f64) {
    let all = (images * runs.len()) as f64;
    let cpu: f64 = runs.iter().map(|run| run.cpu).sum();
    let wall: f64 = runs.iter().map(|run| run.wall).sum();
    (cpu / all, all / wall)
}

fn scores(samples: &[Sample], run: &Run) -> Vec<Score> {
    samples.iter().zip(&run.texts).map(|(sample, text)| score(&sample.truth, text)).collect()
}

fn row(set: &Set, reader: &str, run: &Run) {
    let Score { recall, precision, error_rate } = mean(&scores(&set.samples, run));
    let count = set.samples.len();
    println!(
        "{:<34} {count:>6}  {reader:<22} {recall:>6.3} {precision:>9.3} {error_rate:>6.3} {:>10.3}",
        set.name,
        run.cpu / count as f64
    );
}
