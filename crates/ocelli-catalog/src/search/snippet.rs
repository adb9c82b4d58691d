//! The part of a text where the words of a query stand. Computed from the text itself, so that both databases show the same.

use super::form::{Form, FormWord};
use crate::query::Term;

/// Characters of a snippet, about two lines of a terminal.
pub(super) const LENGTH: usize = 160;
/// Of them so many may stand before the first mark.
const BEFORE: usize = 40;
/// Marks of one text that are looked for: more are not shown anyway.
const MOST_MARKS: usize = 1_000;

/// A part of an answer. All positions are characters of the whole text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Snippet {
    /// The part as it stands in the answer: whoever prints it has to take care of control characters.
    pub text: String,
    /// Where it begins.
    pub start: usize,
    /// Where matching words stand: the first character and the one behind the last, in order.
    pub marks: Vec<(usize, usize)>,
    /// Whether the text goes on behind the part.
    pub more: bool,
}

/// Makes the snippet of `text`; without `terms` its beginning.
pub(super) fn snippet(text: &str, terms: &[&Term]) -> Snippet {
    let form = Form::of(text);
    let words: Vec<FormWord<'_>> = form.words().collect();
    let marks = marks(&words, terms);
    let count = text.chars().count();
    let best = best(&marks);
    let start = match marks.get(best) {
        Some((first, _)) if *first > BEFORE => words
            .iter()
            .map(|word| word.start)
            .find(|start| start + BEFORE >= *first)
            .unwrap_or(*first),
        _ => 0,
    };
    let longest = (start + LENGTH).min(count);
    // A whole last word, unless that would leave almost nothing.
    let end = if longest == count {
        count
    } else {
        words
            .iter()
            .map(|word| word.end)
            .take_while(|end| *end <= longest)
            .last()
            .filter(|end| *end > start + LENGTH / 2)
            .unwrap_or(longest)
    };
    Snippet {
        text: text.chars().skip(start).take(end - start).collect(),
        start,
        marks: marks
            .into_iter()
            .filter(|(first, behind)| *first >= start && *first < end && *behind > *first)
            .map(|(first, behind)| (first, behind.min(end)))
            .collect(),
        more: end < count,
    }
}

/// Which mark should come first so that the most fit in.
fn best(marks: &[(usize, usize)]) -> usize {
    let within = |from: usize| {
        marks[from..]
            .iter()
            .take_while(|(_, behind)| *behind <= marks[from].0 + LENGTH - BEFORE)
            .count()
    };
    (0..marks.len()).max_by_key(|from| (within(*from), std::cmp::Reverse(*from))).unwrap_or(0)
}

/// Where the terms stand, in order and without overlaps.
pub(super) fn marks(text: &[FormWord<'_>], terms: &[&Term]) -> Vec<(usize, usize)> {
    let mut marks: Vec<(usize, usize)> = Vec::new();
    for term in terms {
        let wanted: Vec<&str> = term.words.split(' ').collect();
        let found =
            text.windows(wanted.len()).filter(|run| stands(run, &wanted, term)).take(MOST_MARKS);
        marks.extend(found.map(|run| (run[0].start, run[run.len() - 1].end)));
    }
    marks.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in marks {
        match joined.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Whether the term stands in this run of words.
fn stands(run: &[FormWord<'_>], wanted: &[&str], term: &Term) -> bool {
    let last = run.len() - 1;
    run.iter().zip(wanted).enumerate().all(|(place, (word, wanted))| {
        let (before, behind) = (term.open_start && place == 0, term.open_end && place == last);
        match (before, behind) {
            (false, false) => word.text == *wanted,
            (false, true) => word.text.starts_with(wanted),
            (true, false) => word.text.ends_with(wanted),
            (true, true) => word.text.contains(wanted),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Expr, Query};

    fn of(text: &str, query: &str) -> (Snippet, Vec<String>) {
        let query = Query::parse(query).unwrap();
        let mut terms = Vec::new();
        query.expr.asked(&mut |leaf| {
            if let Expr::Term(term) = leaf {
                terms.push(term);
            }
        });
        let snippet = snippet(text, &terms);
        let chars: Vec<char> = text.chars().collect();
        let marked =
            snippet.marks.iter().map(|(from, to)| chars[*from..*to].iter().collect()).collect();
        (snippet, marked)
    }

    #[test]
    fn marks_are_positions_in_the_original() {
        let (_, marked) = of("Ein CAFÉ, zwei Cafés: Straßen\u{7}", "cafe* strassen \"zwei cafes\"");
        assert_eq!(marked, ["CAFÉ", "zwei Cafés", "Straßen"]);
        let (_, marked) = of("RE16TGK and talking 東京タワー", "*16tg* *king 京タ -and");
        assert_eq!(marked, ["RE16TGK", "talking", "京タ"]);
    }

    #[test]
    fn the_part_with_most_marks_is_shown_whole_words_only() {
        let text = format!(
            "{} cat {} cat dog cat {}",
            "lorem ".repeat(60),
            "ipsum ".repeat(60),
            "dolor ".repeat(60)
        );
        let (snippet, marked) = of(&text, "cat dog");
        assert_eq!(marked, ["cat", "dog", "cat"]);
        assert!(
            snippet.text.starts_with("ipsum") && snippet.text.ends_with("dolor"),
            "{snippet:?}"
        );
        assert!(snippet.text.chars().count() <= LENGTH && snippet.more);
        assert_eq!(text.chars().skip(snippet.start).take(5).collect::<String>(), "ipsum");
    }

    #[test]
    fn without_words_to_mark_the_beginning_is_shown() {
        let (snippet, marked) = of(&"é".repeat(1000), "is:done");
        assert_eq!((snippet.start, snippet.more, marked.len()), (0, true, 0));
        assert!((LENGTH / 2..=LENGTH).contains(&snippet.text.chars().count()));
        let (snippet, _) = of("", "");
        assert_eq!((snippet.text.as_str(), snippet.more), ("", false));
    }
}
