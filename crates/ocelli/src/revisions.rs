//! Answers of other revisions than the wanted ones, for people: `ocelli show --revision`, `--all-revisions`.

use std::fmt::Write as _;

use ocelli_core::{Analysis, AnalyzerName, Record};
use ocelli_runtime::ExitCode;
use ocelli_wiring::Fault;

use crate::layout;

/// Every answer there is: of each analyzer the current one first, then the others, the latest first.
pub(crate) fn all(record: &Record, order: &[AnalyzerName]) -> String {
    let mut page = layout::head(record);
    for name in layout::names(record, order) {
        let current = record.current(name);
        if current.is_none() {
            let _ = writeln!(page, "{name}\n{}", layout::body(None));
        }
        for analysis in newest_first(record, name) {
            let is_current = current.is_some_and(|one| std::ptr::eq(one, analysis));
            let _ =
                writeln!(page, "{}\n{}", title(analysis, is_current), layout::body(Some(analysis)));
        }
    }
    page
}

/// The answers of the revisions that begin so.
///
/// # Errors
/// When the record has none.
pub(crate) fn of(
    record: &Record,
    order: &[AnalyzerName],
    beginning: &str,
) -> Result<String, Fault> {
    let mut page = layout::head(record);
    let mut found = false;
    for name in layout::names(record, order) {
        let current = record.current(name);
        for analysis in newest_first(record, name) {
            if analysis.revision.as_str().starts_with(beginning) {
                found = true;
                let is_current = current.is_some_and(|one| std::ptr::eq(one, analysis));
                let _ = writeln!(
                    page,
                    "{}\n{}",
                    title(analysis, is_current),
                    layout::body(Some(analysis))
                );
            }
        }
    }
    if found {
        return Ok(page);
    }
    let there: Vec<String> =
        record.analyses.keys().map(|(name, revision)| format!("{name} {revision}")).collect();
    Err(Fault::new(
        ExitCode::Usage,
        format!(
            "no answer in this record is of a revision that begins with '{beginning}'; there are: {}",
            if there.is_empty() { "none".to_owned() } else { there.join(", ") }
        ),
    ))
}

fn newest_first<'a>(record: &'a Record, name: &AnalyzerName) -> Vec<&'a Analysis> {
    let current = record.current(name);
    let mut all: Vec<_> = record.answers().filter(|analysis| analysis.analyzer == *name).collect();
    all.sort_by_key(|analysis| {
        let is_current = current.is_some_and(|one| std::ptr::eq(one, *analysis));
        (!is_current, std::cmp::Reverse(analysis.finished_at))
    });
    all
}

fn title(analysis: &Analysis, is_current: bool) -> String {
    let age = if is_current { "" } else { "older " };
    let at = layout::time(analysis.finished_at);
    format!("{} ({age}revision {}, {at})", analysis.analyzer, analysis.revision)
}
