//! A page of hits as people read it.

use std::fmt::Write as _;

use console::measure_text_width;
use ocelli_catalog::search::{Facets, Hit, HitAnswer, Page, Snippet, Sort};
use ocelli_core::AnalyzerName;

use crate::layout;
use crate::table::table;

/// What the reader's terminal can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Marked words are bold, else between `[` and `]`.
    colour: bool,
    /// Columns; none where nobody looks.
    width: Option<usize>,
}

impl Look {
    /// Of standard output. NO_COLOR is honoured.
    pub(super) fn of_stdout() -> Self {
        let width = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        Self { colour: console::colors_enabled(), width }
    }
}

pub(super) fn text(page: &Page, order: &[AnalyzerName], look: Look) -> String {
    let mut text = String::new();
    for hit in &page.hits {
        let _ = writeln!(text, "{}", head(hit, look));
        let mut answers: Vec<&HitAnswer> = hit.answers.iter().collect();
        let place = |name: &AnalyzerName| {
            order.iter().position(|other| other == name).unwrap_or(usize::MAX)
        };
        answers.sort_by_key(|answer| place(&answer.analyzer));
        for answer in answers {
            let _ = writeln!(text, "{}", line(answer, look));
        }
    }
    if let Some(facets) = &page.facets {
        text.push_str(&counts(facets));
    }
    text
}

/// How many there are, and how to see more.
pub(super) fn summary(page: &Page) -> String {
    let more = if page.total.more { "more than " } else { "" };
    let records = if page.total.records == 1 { "record" } else { "records" };
    let mut text = format!("{more}{} {records}", grouped(page.total.records));
    if page.hits.len() as u64 != page.total.records || page.total.more {
        let _ = write!(text, ", {} shown", page.hits.len());
    }
    if page.total.more && page.sort == Sort::Newest {
        text.push_str(", newest first");
    }
    if let Some(next) = &page.next {
        let _ = write!(text, "; next page: --cursor {next}");
    }
    text
}

fn head(hit: &Hit, look: Look) -> String {
    let seen = hit.first_seen.map_or_else(|| "time unknown".to_owned(), layout::time);
    let source = hit.source.as_ref().map(|source| plain(source.as_str())).unwrap_or_default();
    let start = format!("{}  {seen}  ", hit.digest.short());
    let room = look.width.map(|width| width.saturating_sub(measure_text_width(&start)).max(20));
    // The end of a path says more than its beginning.
    let source = match room {
        Some(room) if measure_text_width(&source) > room => {
            let mut end: Vec<char> = Vec::new();
            let mut used = 1;
            for char in source.chars().rev() {
                used += measure_text_width(char.encode_utf8(&mut [0; 4]));
                if used > room {
                    break;
                }
                end.push(char);
            }
            format!("…{}", end.into_iter().rev().collect::<String>())
        }
        _ => source,
    };
    format!("{start}{source}").trim_end().to_owned()
}

fn line(answer: &HitAnswer, look: Look) -> String {
    let older = if answer.current { "" } else { " (older)" };
    let start = format!("  {}{older}: ", answer.analyzer);
    let rest = match (&answer.snippet, &answer.reason) {
        (Some(snippet), _) => marked(snippet, look),
        (None, Some(reason)) => format!("[{}: {}]", answer.kind.name(), plain(reason)),
        (None, None) => format!("[{}]", answer.kind.name()),
    };
    let whole = format!("{start}{rest}");
    match look.width {
        Some(width) => console::truncate_str(&whole, width, "…").into_owned(),
        None => whole,
    }
}

/// The snippet on one line, its marks highlighted, nothing in it that moves the cursor.
fn marked(snippet: &Snippet, look: Look) -> String {
    let (on, off) = if look.colour { ("\u{1b}[1;33m", "\u{1b}[0m") } else { ("[", "]") };
    let mut text = String::new();
    if snippet.start > 0 {
        text.push_str("… ");
    }
    let mut blank = true;
    for (place, char) in (snippet.start..).zip(snippet.text.chars()) {
        if snippet.marks.iter().any(|(_, behind)| *behind == place) {
            text.push_str(off);
        }
        if snippet.marks.iter().any(|(first, _)| *first == place) {
            text.push_str(on);
        }
        if char.is_whitespace() {
            if !std::mem::replace(&mut blank, true) {
                text.push(' ');
            }
        } else {
            blank = false;
            text.push(visible(char));
        }
    }
    let end = snippet.start + snippet.text.chars().count();
    if snippet.marks.iter().any(|(_, behind)| *behind >= end) {
        text.push_str(off);
    }
    let text = text.trim_end();
    if snippet.more { format!("{text} …") } else { text.to_owned() }
}

/// One line without control characters.
fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_whitespace() { ' ' } else { visible(char) }).collect()
}

/// Control characters, and those that turn the direction of a line, are shown as what they are: not text.
fn visible(char: char) -> char {
    let turns =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if char.is_control() || turns { '\u{fffd}' } else { char }
}

fn counts(facets: &Facets) -> String {
    let all = [
        ("analyzer", &facets.analyzer),
        ("outcome", &facets.outcome),
        ("format", &facets.format),
        ("month", &facets.month),
        ("batch", &facets.batch),
    ];
    let mut text = String::new();
    for (name, values) in all {
        if !values.is_empty() {
            let rows: Vec<_> =
                values.iter().map(|(value, count)| vec![plain(value), grouped(*count)]).collect();
            let _ = writeln!(text, "\n{}", table(&[name, "records"], &rows, true));
        }
    }
    text
}

/// 10,000
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use ocelli_catalog::search::Total;
    use ocelli_core::{Digest, OutcomeKind, RevisionBuilder};

    use super::*;

    fn page() -> Page {
        let answer = |analyzer: &str, snippet, reason: Option<&str>| HitAnswer {
            analyzer: analyzer.parse().unwrap(),
            revision: RevisionBuilder::new("t").build(),
            kind: OutcomeKind::Failed,
            current: reason.is_none(),
            reason: reason.map(str::to_owned),
            snippet,
        };
        let text = "an open\n\n\u{1b}[2JLanguage \u{202e}model".to_owned();
        let snippet = Snippet { text, start: 7, marks: vec![(10, 14), (20, 28)], more: true };
        Page {
            hits: vec![Hit {
                digest: Digest::of(b"x"),
                first_seen: Some("2024-05-04T09:00:51Z".parse().unwrap()),
                source: Some("file:///pictures/of/many/things/chart.png".parse().unwrap()),
                format: None,
                answers: vec![
                    answer("b", None, Some("died\nof it")),
                    answer("a", Some(snippet), None),
                ],
            }],
            total: Total { records: 10_000, more: true },
            sort: Sort::Newest,
            next: None,
            facets: Some(Facets {
                of: 1,
                format: vec![("png".to_owned(), 1234)],
                ..Facets::default()
            }),
        }
    }

    #[test]
    fn marks_are_shown_and_nothing_moves_the_cursor() {
        let order = ["a".parse().unwrap(), "b".parse().unwrap()];
        let plain = text(&page(), &order, Look { colour: false, width: None });
        assert_eq!(
            plain,
            "2d711642b726  2024-05-04T09:00:51+00:00  file:///pictures/of/many/things/chart.png\n\
             \u{20} a: … an [open] \u{fffd}[2J[Language] \u{fffd}model …\n\
             \u{20} b (older): [failed: died of it]\n\
             \nformat  records\npng       1,234\n"
        );
        let bold = text(&page(), &order, Look { colour: true, width: None });
        assert!(bold.contains("an \u{1b}[1;33mopen\u{1b}[0m "), "{bold}");
        assert_eq!(summary(&page()), "more than 10,000 records, 1 shown, newest first");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [60, 72] {
            let narrow = text(&page(), &[], Look { colour: true, width: Some(width) });
            for line in narrow.lines() {
                assert!(measure_text_width(line) <= width.max(61), "{width}: {line}");
            }
            assert!(narrow.contains("chart.png\n"), "{narrow}");
        }
    }
}
