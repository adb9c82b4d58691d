//! Loops: the commonest way in which a vision model's answer fails.
//!
//! Three forms are looked for. A tail that repeats with a fixed period (thresholds as in the public project
//! dsh-vision-router: period up to 200 characters, at least 6 times, at least 35 % of the answer); one line
//! over and over; and long texts that turn around the same phrases with small changes.

use std::collections::{HashMap, HashSet};

/// Longest period of a tail, in characters.
const PERIOD: usize = 200;
/// Fewest rounds of a loop.
const ROUNDS: usize = 6;
/// Smallest part of an answer that a loop covers, in percent.
const PERCENT: usize = 35;
/// Fewest characters of a loop: a short "ha ha ha ha ha ha" is an answer.
const LOOP_CHARACTERS: usize = 80;
/// Fewest words of a text whose phrases are counted.
const WORDS: usize = 150;
/// Fewest different phrases of four words, in percent of all of them. Prose is above 90, lists above 60.
const DIFFERENT_PHRASES: usize = 35;

/// The part of the text, in percent, that is a loop; `None` when there is none.
#[must_use]
pub fn looping_percent(text: &str) -> Option<u8> {
    let characters: Vec<char> = text.trim_end().chars().collect();
    let total = characters.len();
    let looping = tail(&characters).max(same_lines(text)).max(phrases(text, total));
    let percent = looping * 100 / total.max(1);
    (looping >= LOOP_CHARACTERS && percent >= PERCENT)
        .then(|| u8::try_from(percent.min(100)).unwrap_or(100))
}

/// Characters of the longest periodic tail.
fn tail(characters: &[char]) -> usize {
    let total = characters.len();
    (1..=PERIOD.min(total / ROUNDS))
        .filter_map(|period| {
            let equal = (period..total)
                .rev()
                .take_while(|&at| characters[at] == characters[at - period])
                .count();
            let covered = equal + period;
            (covered / period >= ROUNDS).then_some(covered)
        })
        .max()
        .unwrap_or(0)
}

/// Characters of the line that covers most, when it comes often enough.
fn same_lines(text: &str) -> usize {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for line in text.lines().map(str::trim).filter(|line| line.chars().count() >= 8) {
        *counts.entry(line).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count >= ROUNDS)
        .map(|(line, count)| line.chars().count() * count)
        .max()
        .unwrap_or(0)
}

/// An estimate of the characters that only say again what was said.
fn phrases(text: &str, total: usize) -> usize {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < WORDS {
        return 0;
    }
    let all = words.len() - 3;
    let different = words.windows(4).collect::<HashSet<_>>().len();
    if different * 100 / all >= DIFFERENT_PHRASES { 0 } else { total * (all - different) / all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_at_the_end_is_found_whatever_its_period() {
        for unit in
            ["ha", "the graph shows ", "and the image shows a small red graph; ", "\n- item"]
        {
            let text = format!("The meme shows a graph. {}", unit.repeat(60));
            assert!(looping_percent(&text).is_some(), "{unit:?}");
            // Cut in the middle of a round, as a token budget does.
            assert!(looping_percent(&text[..text.len() - unit.len() / 2]).is_some(), "{unit:?}");
        }
    }

    #[test]
    fn the_part_that_loops_is_told() {
        let prose: String = (0..120).map(|n| format!("word{n} ")).collect();
        let text = format!("{prose}{}", "again and ".repeat(prose.len() / 10));
        let percent = looping_percent(&text).unwrap();
        assert!((45..=55).contains(&percent), "{percent}");
    }

    #[test]
    fn lines_and_phrases_that_come_again_with_small_changes_are_found() {
        let lines = "The image shows a graph.\nIt is about something.\n".repeat(10);
        assert!(looping_percent(&lines).is_some());
        let phrases: String = (0..80)
            .map(|n| format!("the model is a large language model number {} ", n % 7))
            .collect();
        assert!(looping_percent(&phrases).is_some());
    }

    #[test]
    fn ordinary_answers_do_not_loop() {
        let table = (0..40).map(|n| format!("| row {n} | {} |\n", n * n)).collect::<String>();
        for text in [
            "",
            "ha ha ha ha ha ha ha ha",
            "The meme is a humorous image that shows a graph of the size of popular AI models.",
            "## A\n\nOne.\n\n## B\n\nTwo.\n\n## C\n\nThree.\n\n-----------------------------------",
            &table,
            include_str!("../../prompts/critical-lenses.md"),
        ] {
            assert_eq!(looping_percent(text), None, "{text}");
        }
    }

    #[test]
    fn a_very_long_answer_is_looked_at_in_reasonable_time() {
        let text = "a".repeat(200_000);
        assert_eq!(looping_percent(&text), Some(100));
    }
}
