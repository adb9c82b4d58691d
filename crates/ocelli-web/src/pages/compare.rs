//! Two or more answers about one image side by side, with the words that only one of them has.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use askama::Template;
use ocelli_core::agreement::Pair;
use ocelli_core::{Analysis, AnalyzerName, Outcome, Record, Revision};
use ocelli_export::layout::names;
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::Frame;
use super::agreement::PairView;
use crate::call::{Call, Named, bare};
use crate::failure::WebError;
use crate::records::said;
use crate::reply::Answer;
use crate::shown::{link, minute, plain};

/// Answers side by side: more columns than a wide screen has.
const MOST: usize = 6;
/// Words of one answer that are compared.
const WORDS: usize = 20_000;
/// How long the comparison of two answers may take; beyond it is coarser.
const PATIENCE: Duration = Duration::from_millis(200);

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    /// Whether only this answer has it.
    pub(crate) own: bool,
    pub(crate) text: String,
}

#[derive(Debug, Serialize)]
struct Column {
    analyzer: AnalyzerName,
    revision: Revision,
    current: bool,
    finished_at: jiff::Timestamp,
    model: Option<String>,
    pieces: Vec<Piece>,
    state: String,
    /// Words that it has in common with the first column, of all words of both, in percent; none for the first.
    in_common: Option<u32>,
    #[serde(skip)]
    at: String,
}

struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

#[derive(Serialize)]
struct Twin<'a> {
    columns: &'a [Column],
    /// Of those that are shown, as far as they are current.
    agreement: &'a [Pair],
}

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    frame: Frame,
    short: String,
    record: String,
    thumb: String,
    columns: Vec<Column>,
    pairs: Vec<PairView>,
    choices: Vec<Choice>,
    here: String,
    twin: String,
}

/// `GET /compare/DIGEST?with=ANALYZER@REVISION&with=…`, `DIGEST.json`
pub(crate) async fn page(call: Call, Named(name): Named<String>) -> Answer {
    let (app, asked) = (&call.app, &call.asked);
    let digest = super::digest(bare(&name))?;
    let record = super::record(app, &digest).await?;
    let order = app.options.names();
    let wanted: Vec<&str> = asked.all("with").filter(|with| !with.is_empty()).collect();
    let chosen = choose(&record, &order, &wanted)?;
    let all: Vec<Analysis> = chosen.iter().map(|one| (*one).clone()).collect();
    let current: Vec<bool> = chosen.iter().map(|one| is_current(&record, one)).collect();
    // Long answers take a while, and other requests should not wait for them.
    let columns = tokio::task::spawn_blocking(move || columns(&all, &current));
    let columns = columns.await.map_err(|_| WebError::Defect)?;
    let is_shown = |name: &AnalyzerName| {
        columns.iter().any(|column| column.current && column.analyzer == *name)
    };
    let mut pairs = app.catalog.agreement(&digest).await?;
    pairs.retain(|pair| is_shown(&pair.a) && is_shown(&pair.b));
    if call.wants_json() {
        return call.json(&Twin { columns: &columns, agreement: &pairs });
    }
    let with: Vec<(&str, &str)> = wanted.iter().map(|with| ("with", *with)).collect();
    let page = ComparePage {
        frame: call.frame(""),
        short: digest.short(),
        record: format!("/record/{digest}"),
        thumb: format!("/image/{digest}/thumb"),
        choices: choices(&record, &order, &columns),
        here: format!("/compare/{digest}"),
        twin: link(&format!("/compare/{digest}.json"), &with),
        pairs: pairs.iter().map(PairView::of).collect(),
        columns,
    };
    call.page(&page)
}

fn is_current(record: &Record, analysis: &Analysis) -> bool {
    record.current(&analysis.analyzer).is_some_and(|one| one.revision == analysis.revision)
}

/// The answers that are asked for; without any, the current text of each analyzer.
fn choose<'a>(
    record: &'a Record,
    order: &'a [AnalyzerName],
    wanted: &[&str],
) -> Result<Vec<&'a Analysis>, WebError> {
    if wanted.len() > MOST {
        return Err(WebError::Bad(format!("at most {MOST} answers are shown side by side")));
    }
    if wanted.is_empty() {
        let current = names(record, order).into_iter().filter_map(|name| record.current(name));
        return Ok(current.filter(|analysis| said(analysis).is_ok()).take(MOST).collect());
    }
    let one = |with: &&str| {
        let (name, revision) = with.split_once('@').unwrap_or((with, ""));
        let name: AnalyzerName = name.parse().ok()?;
        if revision.is_empty() {
            return record.current(&name);
        }
        record.analyses.get(&(name, revision.parse().ok()?)).map(Box::as_ref)
    };
    wanted
        .iter()
        .map(|with| {
            one(with).ok_or_else(|| {
                let with: String = with.chars().filter(|c| !c.is_control()).take(90).collect();
                WebError::Missing(format!("this image has no answer '{with}'"))
            })
        })
        .collect()
}

fn choices(record: &Record, order: &[AnalyzerName], columns: &[Column]) -> Vec<Choice> {
    let place =
        |name: &AnalyzerName| order.iter().position(|one| one == name).unwrap_or(usize::MAX);
    let mut all: Vec<&Analysis> =
        record.answers().filter(|one| matches!(one.outcome, Outcome::Done(_))).collect();
    all.sort_by_key(|one| (place(&one.analyzer), std::cmp::Reverse(one.finished_at)));
    all.into_iter()
        .take(50)
        .map(|one| {
            let shown = |column: &Column| {
                column.analyzer == one.analyzer && column.revision == one.revision
            };
            let at = minute(one.finished_at);
            let older = if is_current(record, one) { String::new() } else { format!(" · {at}") };
            Choice {
                value: format!("{}@{}", one.analyzer, one.revision),
                label: format!("{}{older}", one.analyzer),
                chosen: columns.iter().any(shown),
            }
        })
        .collect()
}

fn columns(all: &[Analysis], current: &[bool]) -> Vec<Column> {
    let texts: Vec<Vec<&str>> =
        all.iter().map(|one| words(said(one).unwrap_or_default())).collect();
    all.iter()
        .zip(current)
        .enumerate()
        .map(|(place, (analysis, current))| {
            let other = if place == 0 { texts.get(1) } else { texts.first() };
            let compared = other.map(|other| compare(&texts[place], other));
            let in_common = compared.as_ref().map(|(_, common)| *common).filter(|_| place > 0);
            let pieces = compared.map_or_else(
                || vec![Piece { own: false, text: plain(&texts[place].concat()) }],
                |(pieces, _)| pieces,
            );
            Column {
                analyzer: analysis.analyzer.clone(),
                revision: analysis.revision.clone(),
                current: *current,
                finished_at: analysis.finished_at,
                model: analysis.provenance.model.clone(),
                pieces,
                state: said(analysis).err().map(|(_, state)| state).unwrap_or_default(),
                in_common,
                at: minute(analysis.finished_at),
            }
        })
        .collect()
}

/// Words with the white space behind each, so that all together are the text again.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && words.len() < WORDS {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let behind = rest[word..].find(|c: char| !c.is_whitespace());
        let end = behind.map_or(rest.len(), |behind| word + behind);
        let (one, others) = rest.split_at(end);
        words.push(one);
        rest = others;
    }
    words
}

/// A word as it is compared: its letters and digits, whatever their case; marks around it make no difference.
fn essence(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// `this` in pieces, and how much both have in common, in percent of the words of both.
fn compare(this: &[&str], other: &[&str]) -> (Vec<Piece>, u32) {
    let (left, right): (Vec<_>, Vec<_>) = (
        this.iter().map(|word| essence(word)).collect(),
        other.iter().map(|word| essence(word)).collect(),
    );
    let deadline = Some(Instant::now() + PATIENCE);
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &left, &right, deadline);
    let mut pieces: Vec<Piece> = Vec::new();
    for op in ops {
        let (range, own) = match op {
            DiffOp::Equal { old_index, len, .. } => (old_index..old_index + len, false),
            DiffOp::Delete { old_index, old_len, .. }
            | DiffOp::Replace { old_index, old_len, .. } => (old_index..old_index + old_len, true),
            DiffOp::Insert { .. } => continue,
        };
        for place in range {
            // Marks alone are nobody's own.
            let own = own && !left[place].is_empty();
            match pieces.last_mut() {
                Some(piece) if piece.own == own => piece.text.push_str(this[place]),
                _ => pieces.push(Piece { own, text: this[place].to_owned() }),
            }
        }
    }
    for piece in &mut pieces {
        piece.text = plain(&piece.text);
    }
    (pieces, in_common(&left, &right))
}

/// Words of both, whatever their order, in percent of the words of both.
fn in_common(left: &[String], right: &[String]) -> u32 {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for word in left.iter().filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    let mut common = 0_usize;
    for word in right.iter().filter(|word| !word.is_empty()) {
        if let Some(count) = counts.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    let all = left.iter().chain(right).filter(|word| !word.is_empty()).count();
    (common * 200).checked_div(all).and_then(|percent| u32::try_from(percent).ok()).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(this: &str, other: &str) -> (String, u32) {
        let (pieces, common) = compare(&words(this), &words(other));
        let all: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(all, this, "nothing of an answer is lost");
        let own = pieces.iter().map(|piece| {
            if piece.own { format!("[{}]", piece.text.trim_end()) } else { piece.text.clone() }
        });
        (own.collect(), common)
    }

    #[test]
    fn words_that_only_one_answer_has_are_its_own_whatever_case_and_marks() {
        let (own, common) = marked("The chart, shows\n16 models.", "the chart SHOWS: 18 models");
        assert_eq!((own.as_str(), common), ("The chart, shows\n[16]models.", 80));
        assert_eq!(marked("same", "Same!"), ("same".to_owned(), 100));
        assert_eq!(marked("", ""), (String::new(), 100));
        assert_eq!(marked("a b", "c d").1, 0);
    }

    #[test]
    fn answers_without_end_are_compared_in_bounded_time() {
        let (left, right): (String, String) = (
            (0..100_000).map(|n| format!("l{n} ")).collect(),
            (0..100_000).map(|n| format!("r{n} ")).collect(),
        );
        let started = Instant::now();
        let (pieces, common) = compare(&words(&left), &words(&right));
        assert_eq!((pieces.len(), common), (1, 0));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
