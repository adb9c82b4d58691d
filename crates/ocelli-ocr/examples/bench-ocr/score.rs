//! Word recall, word precision and character error rate of one reading.
//!
//! Words are compared without case and punctuation, as a multiset: the order of columns is a matter of taste. The
//! character error rate is Levenshtein's distance over everything, white space squeezed, at most 1.

use std::collections::HashMap;

/// Each from 0 to 1.
#[derive(Default, Clone, Copy)]
pub(crate) struct Score {
    pub(crate) recall: f64,
    pub(crate) precision: f64,
    pub(crate) error_rate: f64,
}

/// The mean over images: a short text weighs as much as a long one.
pub(crate) fn mean(scores: &[Score]) -> Score {
    let n = scores.len().max(1) as f64;
    let of = |part: fn(&Score) -> f64| scores.iter().map(part).sum::<f64>() / n;
    Score {
        recall: of(|s| s.recall),
        precision: of(|s| s.precision),
        error_rate: of(|s| s.error_rate),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| {
            word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        })
        .filter(|word: &String| !word.is_empty())
        .collect()
}

/// Scores one reading against the text that a person reads.
pub(crate) fn compare(truth: &str, read: &str) -> Score {
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
