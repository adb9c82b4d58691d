//! Which parts of a model's answer claim to be text of the image.
//!
//! Quotation marks of all kinds, code, block quotes, and what stands behind words such as "the text reads:". Writers also put single
//! words into quotation marks to distance themselves from them; so one or two words count only where a word before them says that
//! they are read off the image, or where they follow closely upon a quote that counts.

use super::MOST_QUOTES;

/// Opening and closing marks. A straight mark closes itself.
const MARKS: [(char, char); 7] =
    [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('»', '«'), ('「', '」'), ('`', '`')];

/// Words that say that text of the image follows.
const CUES: [&str; 30] = [
    "reads",
    "reading",
    "read",
    "says",
    "saying",
    "say",
    "text",
    "texts",
    "caption",
    "captioned",
    "captions",
    "titled",
    "title",
    "label",
    "labels",
    "labeled",
    "labelled",
    "states",
    "stating",
    "written",
    "words",
    "word",
    "headline",
    "sign",
    "slogan",
    "inscription",
    "transcription",
    "phrase",
    "displays",
    "banner",
];

/// Characters before a quote in which such a word is looked for.
const BEFORE: usize = 60;

/// Beyond this a pair of marks is a slip of the writer.
const LONGEST_QUOTE: usize = 1_000;

/// The quotes of an answer in their order, each once.
#[must_use]
pub fn quotes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if is_fence(trimmed) {
            for inner in lines.by_ref().map(str::trim).take_while(|inner| !is_fence(inner)) {
                keep(&mut found, inner);
            }
            continue;
        }
        if let Some(quoted) = trimmed.strip_prefix('>') {
            keep(&mut found, quoted.trim_start_matches(['>', ' ']));
            continue;
        }
        marked(trimmed, &mut found);
        let Some(rest) = announced(trimmed) else { continue };
        if !rest.is_empty() {
            if !rest.contains(|c| MARKS.iter().any(|(open, _)| c == *open)) {
                keep(&mut found, rest);
            }
            continue;
        }
        // A list or a paragraph below it, up to an empty line.
        while lines.peek().is_some_and(|next| next.trim().is_empty()) {
            lines.next();
        }
        while let Some(next) = lines.next_if(|next| {
            let next = next.trim();
            !next.is_empty() && !is_fence(next) && !next.starts_with(['>', '#'])
        }) {
            let item = next.trim().trim_start_matches(['-', '*', '•', '+']).trim_start();
            let before = found.len();
            marked(item, &mut found);
            if found.len() == before {
                keep(&mut found, item);
            }
        }
    }
    found.truncate(MOST_QUOTES);
    found
}

fn is_fence(line: &str) -> bool {
    line.starts_with("```") || line.starts_with("~~~")
}

/// What stands behind "…text reads:", with nothing behind the colon for "below it".
fn announced(line: &str) -> Option<&str> {
    let (head, rest) = line.split_once(':')?;
    let words = cue_words(head);
    // "The text" at the beginning of a sentence about it announces nothing.
    let is_cue = words.last().is_some_and(|word| CUES.contains(&word.as_str()));
    let rest = rest.trim_start_matches(['*', '_']).trim();
    is_cue.then_some(rest)
}

fn cue_words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Quotes between marks on one line.
fn marked(line: &str, found: &mut Vec<String>) {
    let (mut at, mut last_kept) = (0, None);
    while let Some((start, open)) = line[at..].char_indices().find_map(|(place, c)| {
        let mark = MARKS.iter().find(|(open, _)| *open == c)?;
        Some((at + place, *mark))
    }) {
        let from = start + open.0.len_utf8();
        // No further than a quote may be: a line of opening marks must not be searched to its end for each.
        let end = line.floor_char_boundary(from + 4 * LONGEST_QUOTE);
        let Some(length) = line[from..end].find(open.1) else {
            at = from;
            continue;
        };
        let quote = line[from..from + length].trim();
        at = from + length + open.1.len_utf8();
        // Inches: 5" by 7".
        let is_measure = open.0 == '"' && line[..start].ends_with(|c: char| c.is_ascii_digit());
        if quote.is_empty() || is_measure || quote.chars().nth(LONGEST_QUOTE).is_some() {
            continue;
        }
        let is_long = quote.split_whitespace().nth(2).is_some();
        let before = line.floor_char_boundary(start.saturating_sub(BEFORE));
        let has_cue =
            || cue_words(&line[before..start]).iter().any(|word| CUES.contains(&word.as_str()));
        // What follows closely upon one that counts goes on with it: from “less” to “more”.
        let goes_on = last_kept.is_some_and(|end: usize| start.saturating_sub(end) <= BEFORE);
        if is_long || goes_on || has_cue() {
            keep(found, quote);
            last_kept = Some(at);
        }
    }
}

fn keep(found: &mut Vec<String>, quote: &str) {
    let quote = quote.trim_matches(|c: char| c.is_whitespace() || "*_\"“”„«»`".contains(c));
    let has_letters = quote.chars().filter(|c| c.is_alphanumeric()).nth(1).is_some();
    if has_letters && found.len() < MOST_QUOTES && !found.iter().any(|old| old == quote) {
        found.push(quote.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_code_and_announced_lines_are_quotes() {
        for (text, expected) in [
            ("The title says \"Scaling Laws\".", &["Scaling Laws"][..]),
            (
                "Unten steht „Offene Sprachmodelle für alle“, daneben nichts.",
                &["Offene Sprachmodelle für alle"],
            ),
            (
                "On lit « moins de calcul » … et «plus de jetons par euro».",
                &["moins de calcul", "plus de jetons par euro"],
            ),
            ("看板の「東京タワー」 with the sign 「東京タワー」.", &["東京タワー"]),
            ("The axis label `Active Param x Tokens` is", &["Active Param x Tokens"]),
            ("The text reads: Scaling Open Language Models", &["Scaling Open Language Models"]),
            (
                "**Text:**\n- Less compute\n- \"More compute\"\n\nThe rest.",
                &["Less compute", "More compute"],
            ),
            ("```\nLlama 3 70B\nGPT 4\n```\nafter", &["Llama 3 70B", "GPT 4"]),
            (
                "> One does not simply\n> walk into Mordor\n",
                &["One does not simply", "walk into Mordor"],
            ),
            ("It says “stop it now” and “stop it now”.", &["stop it now"]),
        ] {
            assert_eq!(quotes(text), expected, "{text}");
        }
    }

    #[test]
    fn words_at_a_distance_measures_and_slips_are_none() {
        for text in [
            "The so-called \"progress\" is a \"grand narrative\".",
            "A frame of 5\" by 7\" and more.",
            "An open mark \" and the end",
            "The following sections: analysis, theory.",
            "**Disclaimer:** this is an analysis.",
            "It's the artist's own 'view' of things.",
            "",
        ] {
            assert_eq!(quotes(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_loop_of_quotes_is_bounded() {
        let text: String = (0..10_000).map(|n| format!("it reads \"number {n}\" ")).collect();
        assert_eq!(quotes(&text).len(), MOST_QUOTES);
        let open = "“".repeat(100_000);
        assert!(quotes(&open).is_empty());
    }
}
