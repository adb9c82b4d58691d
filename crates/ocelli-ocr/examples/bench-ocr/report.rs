//! Accuracy: lets ocelli and the plain command read every set, and prints what came out side by side.

use anyhow::Result;

use crate::contenders::{Arena, Loop, Run};
use crate::languages;
use crate::score::{Score, compare as score, mean};
use crate::sets::{Sample, Set};

/// From this recall on, a plain pass is said to read an image well.
const WELL: f64 = 0.95;

/// Scores every set; found ones once more with the languages of their texts.
pub(crate) fn accuracy(arena: &Arena, sets: &[Set]) -> Result<()> {
    println!(
        "Accuracy with the language data '{}': mean over the images of a set",
        arena.languages
    );
    heading();
    let (mut cost, mut plain_cost, mut count) = (0.0, 0.0, 0);
    for set in sets {
        let reading = both(arena, set)?;
        let plain = arena.one_loop(&set.samples, Loop::Plain)?;
        for (index, score) in scores(&set.samples, &plain).iter().enumerate() {
            if score.recall >= WELL && !set.samples[index].truth.trim().is_empty() {
                cost += reading.each[index];
                plain_cost += plain.each[index];
                count += 1;
            }
        }
    }
    println!(
        "\nCost of the {count} images that one plain pass reads well (recall >= {WELL}): {:.2} x that pass\n",
        cost / plain_cost
    );
    for set in sets.iter().filter(|set| set.found) {
        let texts = set.samples.iter().map(|sample| sample.truth.as_str());
        let (all, missing) = languages::needed(&arena.languages, texts)?;
        if !missing.is_empty() {
            println!("No language data for {}: {} is read without", missing.join(", "), set.name);
        }
        if all != arena.languages {
            println!("{} with the languages of its texts, '{all}'", set.name);
            heading();
            both(&Arena { languages: all, ..arena.clone() }, set)?;
            println!();
        }
    }
    Ok(())
}

/// Reads a set both ways, prints a line for each, and returns ocelli's run.
fn both(arena: &Arena, set: &Set) -> Result<Run> {
    let reading = arena.one_loop(&set.samples, Loop::Reading)?;
    row(set, "ocelli", &reading);
    row(set, "tesseract command", &arena.command_line(&set.samples, true)?);
    Ok(reading)
}

/// Image by image: both scores, in the languages of the set.
pub(crate) fn images(arena: &Arena, sets: &[Set]) -> Result<()> {
    for set in sets {
        let texts = set.samples.iter().map(|sample| sample.truth.as_str());
        let (languages, _) = languages::needed(&arena.languages, texts)?;
        println!("{} ('{languages}'): recall, precision, CER, CPU s", set.name);
        let arena = Arena { languages, ..arena.clone() };
        let reading = arena.one_loop(&set.samples, Loop::Reading)?;
        let plain = arena.one_loop(&set.samples, Loop::Plain)?;
        let command = scores(&set.samples, &arena.command_line(&set.samples, true)?);
        for (index, own) in scores(&set.samples, &reading).iter().enumerate() {
            let name = set.samples[index].path.file_name().unwrap_or_default().to_string_lossy();
            let other = command[index];
            println!(
                "{name:<44} {:.2} {:.2} {:.2} {:>6.2}   command {:.2} {:.2} {:.2} {:>6.2}{}",
                own.recall,
                own.precision,
                own.error_rate,
                reading.each[index],
                other.recall,
                other.precision,
                other.error_rate,
                plain.each[index],
                if own.recall + 0.005 < other.recall { "   worse" } else { "" },
            );
        }
    }
    Ok(())
}

fn heading() {
    println!(
        "{:<16} {:>6}  {:<18} {:>6} {:>9} {:>6} {:>10}",
        "set", "images", "reader", "recall", "precision", "CER", "CPU s/img"
    );
}

pub(crate) fn scores(samples: &[Sample], run: &Run) -> Vec<Score> {
    samples.iter().zip(&run.texts).map(|(sample, text)| score(&sample.truth, text)).collect()
}

fn row(set: &Set, reader: &str, run: &Run) {
    let Score { recall, precision, error_rate } = mean(&scores(&set.samples, run));
    let count = set.samples.len();
    println!(
        "{:<16} {count:>6}  {reader:<18} {recall:>6.3} {precision:>9.3} {error_rate:>6.3} {:>10.3}",
        set.name,
        run.cpu / count as f64
    );
}
