//! Measures reading against known texts, side by side with the plain `tesseract` command.
//!
//! `accuracy FOLDER [FOLDER ...]`: every image with a `.txt` of the same stem beside it. Prints word recall, word
//! precision, character error rate and CPU-bound seconds per image. `ONLY=part` in the environment keeps images whose
//! name holds that part; `SHOW=1` prints what was read; `TURN=90` (180, 270) turns each picture first; `NO_PLAIN=1` leaves
//! the comparison out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use ocelli_media::DecodeLimits;
use ocelli_ocr::local::LocalReader;
use ocelli_ocr::{OcrOptions, data};

#[derive(Default, Clone, Copy)]
struct Score {
    recall: f64,
    precision: f64,
    error_rate: f64,
    seconds: f64,
}

fn main() -> Result<()> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        bail!("usage: accuracy FOLDER [FOLDER ...]");
    }
    if std::env::var_os("OMP_THREAD_LIMIT").is_none() {
        bail!("set OMP_THREAD_LIMIT=1: the figures mean nothing without it");
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    let show = std::env::var_os("SHOW").is_some();
    let plain_too = std::env::var_os("NO_PLAIN").is_none();
    let turn = std::env::var("TURN").unwrap_or_default();
    let data_path = data::folder(None, None)?;
    let mut reader = LocalReader::new(&data_path, OcrOptions::default())?;
    println!("{:<44} {:>24}   {:>24}", "", "ocelli", "tesseract");
    println!(
        "{:<44} {:>5} {:>5} {:>5} {:>6}   {:>5} {:>5} {:>5} {:>6}",
        "image", "rec", "prec", "cer", "s", "rec", "prec", "cer", "s"
    );
    for folder in folders {
        let mut sums = [Score::default(); 2];
        let mut count = 0;
        for (image, truth) in pairs(&folder, &only)? {
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = std::fs::read(&image).with_context(|| name.clone())?;
            let started = Instant::now();
            let mut text = String::new();
            let mut steps = Vec::new();
            for page in ocelli_media::decode(&bytes, &DecodeLimits::default())
                .with_context(|| name.clone())?
            {
                let picture = match turn.as_str() {
                    "90" => image::imageops::rotate90(&page.pixels),
                    "180" => image::imageops::rotate180(&page.pixels),
                    "270" => image::imageops::rotate270(&page.pixels),
                    _ => page.pixels,
                };
                let transcript = reader.read(picture)?;
                text.push_str(&transcript.text);
                text.push('\n');
                steps.extend(transcript.steps);
            }
            let mut ours = compare(&truth, &text);
            ours.seconds = started.elapsed().as_secs_f64();
            let mut plain = Score::default();
            if plain_too {
                let started = Instant::now();
                plain = compare(&truth, &tesseract(&image)?);
                plain.seconds = started.elapsed().as_secs_f64();
            }
            print_row(&name, ours, plain);
            if show {
                for step in steps {
                    println!(
                        "    {} {:?} {} ms: {}",
                        step.name, step.confidence, step.took_ms, step.reason
                    );
                }
                println!("    | {}", text.trim().replace('\n', "\n    | "));
            }
            for (sum, score) in sums.iter_mut().zip([ours, plain]) {
                sum.recall += score.recall;
                sum.precision += score.precision;
                sum.error_rate += score.error_rate;
                sum.seconds += score.seconds;
            }
            count += 1;
        }
        let mean = sums.map(|sum| {
            let n = f64::from(count.max(1));
            Score {
                recall: sum.recall / n,
                precision: sum.precision / n,
                error_rate: sum.error_rate / n,
                seconds: sum.seconds / n,
            }
        });
        print_row(&format!("MEAN of {count} in {}", folder.display()), mean[0], mean[1]);
    }
    Ok(())
}

fn print_row(name: &str, ours: Score, plain: Score) {
    let row = |s: Score| {
        format!("{:>5.2} {:>5.2} {:>5.2} {:>6.2}", s.recall, s.precision, s.error_rate, s.seconds)
    };
    println!("{name:<44} {}   {}", row(ours), row(plain));
}

fn pairs(folder: &Path, only: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut pairs = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let image = entry?.path();
        let truth = image.with_extension("txt");
        if image.extension().is_some_and(|e| e != "txt")
            && truth.is_file()
            && image.to_string_lossy().contains(only)
        {
            pairs.push((image, std::fs::read_to_string(truth)?));
        }
    }
    pairs.sort();
    Ok(pairs)
}

fn tesseract(image: &Path) -> Result<String> {
    let output = Command::new("tesseract")
        .arg(image)
        .arg("stdout")
        .output()
        .context("the command line program 'tesseract' is needed for comparison")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| {
            word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        })
        .filter(|word: &String| !word.is_empty())
        .collect()
}

fn compare(truth: &str, read: &str) -> Score {
    let (truth_words, read_words) = (words(truth), words(read));
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in &truth_words {
        *counts.entry(word).or_default() += 1;
    }
    let mut hits = 0.0;
    for word in &read_words {
        if let Some(count) = counts.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            hits += 1.0;
        }
    }
    let share = |of: usize| if of == 0 { 1.0 } else { hits / of as f64 };
    let squeeze = |text: &str| -> Vec<char> {
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect()
    };
    let (truth, read) = (squeeze(truth), squeeze(read));
    let error_rate = distance(&truth, &read) as f64 / truth.len().max(1) as f64;
    Score {
        recall: share(truth_words.len()),
        precision: share(read_words.len()),
        error_rate: error_rate.min(1.0),
        seconds: 0.0,
    }
}

/// Levenshtein.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
