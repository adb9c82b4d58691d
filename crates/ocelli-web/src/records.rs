//! What analyses say, apart from how a page shows it.

use ocelli_core::{Analysis, AnalyzerName, Outcome, Record};

use crate::shown::{counted, line};

/// All revisions of an analyzer's answer, the latest first.
pub(crate) fn of_analyzer<'a>(record: &'a Record, name: &AnalyzerName) -> Vec<&'a Analysis> {
    let mut all: Vec<_> = record.answers().filter(|one| one.analyzer == *name).collect();
    all.sort_by_key(|analysis| std::cmp::Reverse(analysis.finished_at));
    all
}

/// What an analysis says: a text, or why there is none.
pub(crate) fn said(analysis: &Analysis) -> Result<&str, (&'static str, String)> {
    match &analysis.outcome {
        Outcome::Done(reading) => Ok(&reading.text),
        Outcome::Empty => Err(("empty", "nothing to read".to_owned())),
        Outcome::Skipped { rule, reason } => {
            Err(("skipped", format!("skipped by rule '{}': {}", line(rule, 80), line(reason, 500))))
        }
        Outcome::Failed { class, reason } => {
            let times = counted(analysis.attempts.into(), "attempt", "attempts");
            Err(("failed", format!("failed after {times}, {class}: {}", line(reason, 1_000))))
        }
    }
}
