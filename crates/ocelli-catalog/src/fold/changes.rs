//! Changes that no message brings: what people, rules and other images make of the jobs of one image. Pure, as all of the fold.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest, Outcome, OutcomeKind, RuleText};

use super::{Folded, Key, Stored, fold};
use crate::gather::News;
use crate::model::Hold;
use crate::rows::Rows;

/// The rule that an outcome names which was settled by `ocelli failures discard`.
const DISCARDED_RULE: &str = "discarded";

/// Takes failures out again, so that their wants are open. Returns the keys that were taken out.
pub(crate) fn reopen(digest: Digest, keys: &[Key], stored: Stored, rows: &mut Rows) -> Vec<Key> {
    let mut now = stored.clone();
    let mut taken = Vec::new();
    for key in keys {
        let failed = now.heads.get(key).copied().filter(|head| head.kind == OutcomeKind::Failed);
        let (Some(head), Some(want)) = (failed, now.wants.get_mut(&key.0)) else { continue };
        want.reopened = want.reopened.max(Some(head.finished_at));
        now.heads.remove(key);
        rows.forgotten.push((digest, key.clone()));
        taken.push(key.clone());
    }
    now.hold_again();
    now.settle(digest, &stored, rows);
    taken
}

/// Takes open wants out: nothing is asked of these analyzers any more. What they have answered stays. The rows themselves are
/// deleted by the caller.
pub(crate) fn withdraw(
    digest: Digest,
    analyzers: &[AnalyzerName],
    stored: Stored,
    rows: &mut Rows,
) {
    let mut now = stored.clone();
    for analyzer in analyzers {
        now.wants.remove(analyzer);
    }
    now.settle(digest, &stored, rows);
}

/// Lets an open job wait for another image's answer, or no more: then it is ready, unless it needs other analyzers.
pub(crate) fn wait(
    digest: Digest,
    analyzer: &AnalyzerName,
    other: Option<Digest>,
    stored: Stored,
    rows: &mut Rows,
) {
    let mut now = stored.clone();
    if let Some(want) = now.wants.get_mut(analyzer) {
        want.waits_for = other;
        want.hold = Some(Hold::Needs);
    }
    now.settle(digest, &stored, rows);
}

/// Settles a ready job by a rule that does not hold: the rule's revision is wanted in place of the analyzer's.
pub(crate) fn leave_out(
    digest: Digest,
    analyzer: &AnalyzerName,
    rule: &RuleText,
    at: Timestamp,
    stored: Stored,
    rows: &mut Rows,
) -> Folded {
    let asked_at = stored.wants.get(analyzer).map(|want| want.asked_at);
    // Later than what it replaces, whatever the clock says.
    let next = asked_at.and_then(|at| at.checked_add(Duration::from_micros(1)).ok());
    let at = next.map_or(at, |next| at.max(next));
    let mut news = News { analyses: vec![rule.skip(analyzer, at)], ..News::default() };
    news.wants.insert(analyzer.clone(), (at, Some(rule.revision())));
    fold(digest, news, stored, &BTreeMap::new(), rows)
}

/// Takes a ready job, to enqueue it.
pub(crate) fn take(
    digest: Digest,
    analyzer: &AnalyzerName,
    at: Timestamp,
    stored: Stored,
    rows: &mut Rows,
) {
    let mut now = stored.clone();
    if let Some(want) = now.wants.get_mut(analyzer) {
        want.hold = Some(Hold::Taken);
        want.enqueued_at = at;
    }
    now.settle(digest, &stored, rows);
}

/// Settles failures without another attempt: each is replaced by a skip that keeps its reason, which outranks it, so that a
/// late duplicate of the failure does not bring it back. `contents` holds them. Returns how many there were.
pub(crate) fn discard(
    digest: Digest,
    keys: &[Key],
    stored: Stored,
    contents: &BTreeMap<Key, Analysis>,
    rows: &mut Rows,
) -> u64 {
    let mut news = News::default();
    for key in keys {
        let Some(failure) = contents.get(key) else { continue };
        let Outcome::Failed { class, reason } = &failure.outcome else { continue };
        let answers = stored.wants.get(&key.0).and_then(|want| want.answer.as_ref());
        if answers != Some(&key.1) {
            continue;
        }
        let reason = format!("{class}: {reason}");
        let outcome = Outcome::Skipped { rule: DISCARDED_RULE.to_owned(), reason };
        news.analyses.push(Analysis { outcome, ..failure.clone() });
        rows.discarded.push((digest, key.clone()));
    }
    let count = news.analyses.len() as u64;
    fold(digest, news, stored, contents, rows);
    count
}
