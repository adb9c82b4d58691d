//! How far the answers of a record agree, for people.

use std::fmt::Write as _;

use ocelli_core::agreement::{Pair, Quote};

/// Below the layout of a record.
#[must_use]
pub fn text(pairs: &[Pair]) -> String {
    page(pairs, "Agreement\n", "")
}

/// The same as Markdown.
#[must_use]
pub fn markdown(pairs: &[Pair]) -> String {
    page(pairs, "\n## Agreement\n\n", "- ")
}

fn page(pairs: &[Pair], head: &str, mark: &str) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let mut page = head.to_owned();
    for pair in pairs {
        let _ = writeln!(page, "{mark}{} and {}: {:.2}", pair.a, pair.b, pair.score);
        for (quotes, word) in [(&pair.supported, "both have"), (&pair.unsupported, "alone in")] {
            for Quote { by, text, .. } in quotes {
                let whose = if word == "alone in" { format!(" {by}") } else { String::new() };
                let text: String =
                    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let _ = writeln!(page, "  {mark}{word}{whose}: {text}");
            }
        }
    }
    page
}
