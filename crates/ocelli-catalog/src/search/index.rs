//! What the index keeps of analyses. Written in the transaction that writes the analyses themselves.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ocelli_core::{Analysis, Digest, Flag, Outcome};

use super::form::Form;
use crate::error::Fault;
use crate::fold::Key;
use crate::rows::{Rows, Shown};
use crate::unit::Unit;

/// Images whose analyses are put into the index in one transaction, so that others wait only shortly.
pub(crate) const CAUGHT_UP_AT_ONCE: u32 = 200;

/// Characters of the shortest part of a word that is looked for; shorter words are in no vocabulary.
pub(crate) const SHORTEST_PART: usize = 3;

/// A row of `search_answers`, and of `search_texts` where there is a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AnswerRow {
    pub(crate) digest: Digest,
    pub(crate) key: Key,
    pub(crate) kind: &'static str,
    /// Only for a new row: of one that is there, [`IndexRows::shown`] says what changes.
    pub(crate) current: bool,
    /// See [`crate::fold::Image::seen`].
    pub(crate) seen: Option<i64>,
    pub(crate) words: i64,
    pub(crate) confidence: Option<f64>,
    pub(crate) languages: String,
    pub(crate) model: String,
    pub(crate) flags: String,
    pub(crate) text: Option<String>,
}

/// What one transaction writes into the index.
#[derive(Debug)]
pub(crate) struct IndexRows {
    pub(crate) answers: Vec<AnswerRow>,
    /// Rows that are there and whose `current` is to be this.
    pub(crate) shown: Vec<(Digest, Key, bool)>,
    /// Images whose rows are to have this time.
    pub(crate) moved: Vec<(Digest, Option<i64>)>,
    /// The different words of all texts in which parts can be looked for, in order.
    pub(crate) words: Vec<Box<str>>,
}

impl IndexRows {
    pub(crate) fn of(rows: &Rows) -> Self {
        let new: BTreeMap<(Digest, &Key), bool> =
            rows.shown.iter().map(|shown| ((shown.digest, &shown.key), shown.current)).collect();
        let answers = rows.analyses.iter().map(|(digest, analysis)| {
            let key = (analysis.analyzer.clone(), analysis.revision.clone());
            let current = new.get(&(*digest, &key)).copied().unwrap_or(false);
            let seen = rows.seen.get(digest).copied().flatten();
            AnswerRow::new(*digest, key, analysis, current, seen)
        });
        let stored = rows.shown.iter().filter(|shown| shown.stored);
        let shown =
            stored.map(|Shown { digest, key, current, .. }| (*digest, key.clone(), *current));
        Self::new(answers.collect(), shown.collect(), rows.moved.clone())
    }

    fn new(
        answers: Vec<AnswerRow>,
        shown: Vec<(Digest, Key, bool)>,
        moved: Vec<(Digest, Option<i64>)>,
    ) -> Self {
        let words: HashSet<&str> = answers
            .iter()
            .filter_map(|row| row.text.as_deref())
            .flat_map(|text| text.split(' '))
            .filter(|word| word.chars().nth(SHORTEST_PART - 1).is_some())
            .collect();
        let mut words: Vec<Box<str>> = words.into_iter().map(Box::from).collect();
        words.sort_unstable();
        Self { answers, shown, moved, words }
    }
}

impl AnswerRow {
    fn new(
        digest: Digest,
        key: Key,
        analysis: &Analysis,
        current: bool,
        seen: Option<i64>,
    ) -> Self {
        let mut row = Self {
            digest,
            key,
            kind: analysis.outcome.kind().name(),
            current,
            seen,
            words: 0,
            confidence: None,
            languages: String::new(),
            model: analysis.provenance.model.as_deref().unwrap_or_default().to_lowercase(),
            flags: String::new(),
            text: None,
        };
        if let Outcome::Done(reading) = &analysis.outcome {
            let form = Form::of(&reading.text);
            row.words = i64::try_from(form.count()).unwrap_or(i64::MAX);
            row.text = Some(form.text);
            row.confidence = reading.confidence.map(f64::from);
            row.languages =
                reading.languages.as_ref().map_or_else(String::new, |all| format!("+{all}+"));
            row.flags = flags(&reading.flags);
        }
        row
    }
}

/// ` partial truncated `, or nothing.
fn flags(flags: &[Flag]) -> String {
    let names: BTreeSet<String> = flags
        .iter()
        .filter_map(|flag| serde_json::to_value(flag).ok()?.as_str().map(str::to_owned))
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!(" {} ", names.join(" ")) }
}

/// Puts analyses from before the index into it. Returns whether there may be more.
pub(crate) async fn catch_up<U: Unit>(mut unit: U) -> Result<bool, Fault> {
    let digests = unit.backlog(CAUGHT_UP_AT_ONCE).await?;
    if digests.is_empty() {
        unit.commit().await?;
        return Ok(false);
    }
    let stored = unit.load(&digests).await?;
    let (mut answers, mut shown) = (Vec::new(), Vec::new());
    for (digest, analysis) in unit.contents(&digests).await? {
        let key = (analysis.analyzer.clone(), analysis.revision.clone());
        let stored = stored.get(&digest);
        let current = stored.is_some_and(|stored| stored.current().contains(&key));
        let seen = stored.and_then(|stored| stored.image.seen());
        answers.push(AnswerRow::new(digest, key.clone(), &analysis, current, seen));
        shown.push((digest, key, current));
    }
    unit.index(&IndexRows::new(answers, shown, Vec::new())).await?;
    unit.caught_up(&digests).await?;
    unit.commit().await?;
    Ok(true)
}
