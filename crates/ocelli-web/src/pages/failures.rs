//! What failed, in groups that have one reason, and what to do about each.

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;
use ocelli_catalog::{DeadLetter, Failure, FailureFilter};
use ocelli_core::wire::Problem;
use ocelli_core::{AnalyzerName, FailureClass};
use serde::Serialize;

use super::Frame;
use crate::app::App;
use crate::call::{Call, Press};
use crate::failure::WebError;
use crate::hands::Requeued;
use crate::reply::{Answer, see};
use crate::shown::{self, Asked, counted, line, link, minute};

/// Failures that are grouped: the latest.
const LOOKED_AT: u32 = 2_000;
/// Images shown of one group.
const EXAMPLES: usize = 5;
/// References and messages that are listed.
const LISTED: u32 = 50;
/// Failures that are opened again before their jobs are enqueued: whoever stops the program leaves few for the sweeper.
const AT_ONCE: u32 = 500;
/// The most that one press of a button changes.
pub(crate) const MOST: u32 = 50_000;

/// Failures of one analyzer, class and reason.
#[derive(Debug, Serialize)]
struct Group {
    analyzer: AnalyzerName,
    class: FailureClass,
    /// The reason, without what is different in each.
    reason: String,
    /// What all of their reasons contain.
    contains: String,
    count: u64,
    latest: Timestamp,
    examples: Vec<Example>,
    #[serde(skip)]
    at: String,
    #[serde(skip)]
    search: String,
}

#[derive(Debug, Serialize)]
struct Example {
    digest: String,
    name: String,
    reason: String,
    attempts: u32,
    /// How its job went.
    #[serde(skip)]
    href: String,
}

#[derive(Debug, Serialize)]
struct Twin<'a> {
    groups: &'a [Group],
    counts: &'a [ocelli_catalog::FailureCount],
    messages: &'a [DeadLetter],
    references: &'a [Problem],
}

struct Reference {
    reference: String,
    reason: String,
    at: String,
}

#[derive(Template)]
#[template(path = "failures.html")]
struct FailuresPage {
    frame: Frame,
    did: String,
    total: String,
    capped: bool,
    groups: Vec<Group>,
    messages: Vec<Reference>,
    references: Vec<Reference>,
}

/// `GET /failures`, `/failures.json`
pub(crate) async fn page(call: Call) -> Answer {
    let (app, asked) = (&call.app, &call.asked);
    let filter = FailureFilter { limit: LOOKED_AT, ..FailureFilter::default() };
    let failures = app.catalog.failures(&filter).await?;
    let counts = app.catalog.failure_counts().await?;
    let filter = FailureFilter { limit: LISTED, ..FailureFilter::default() };
    let messages = app.catalog.dead_letters(&filter).await?;
    let references = app.catalog.problems(None, LISTED).await?;
    let total: u64 = counts.iter().map(|one| one.count).sum();
    let capped = total > failures.len() as u64;
    let groups = groups(&failures);
    if call.wants_json() {
        let twin =
            Twin { groups: &groups, counts: &counts, messages: &messages, references: &references };
        return call.json(&twin);
    }
    let page = FailuresPage {
        frame: call.frame("failures"),
        did: did(asked),
        total: counted(total, "failed analysis", "failed analyses"),
        capped,
        groups,
        messages: messages
            .into_iter()
            .map(|letter| Reference {
                reference: line(&letter.queue, 100),
                reason: line(&letter.reason, 300),
                at: minute(letter.at),
            })
            .collect(),
        references: references
            .into_iter()
            .map(|problem| Reference {
                reference: line(&problem.reference, 300),
                reason: line(&problem.reason, 300),
                at: minute(problem.at),
            })
            .collect(),
    };
    call.page(&page)
}

/// What the last press of a button did.
fn did(asked: &Asked) -> String {
    let count = |name: &str| asked.get(name).parse::<u64>().ok();
    match (count("opened"), count("enqueued"), count("discarded")) {
        (Some(opened), Some(enqueued), _) => format!(
            "{} open again, {} given to the workers.",
            counted(opened, "failed analysis is", "failed analyses are"),
            counted(enqueued, "job was", "jobs were")
        ),
        (Some(opened), None, _) => format!(
            "{} open again; the next ‘ocelli run’ does them.",
            counted(opened, "failed analysis is", "failed analyses are")
        ),
        (None, _, Some(discarded)) => {
            format!(
                "{} as skipped now.",
                counted(discarded, "failed analysis counts", "failed analyses count")
            )
        }
        _ => String::new(),
    }
}

fn groups(failures: &[Failure]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for failure in failures {
        let (reason, contains) = pattern(&failure.reason);
        let is_same = |group: &&mut Group| {
            group.analyzer == failure.analyzer
                && group.class == failure.class
                && group.reason == reason
        };
        if let Some(group) = groups.iter_mut().find(is_same) {
            group.count += 1;
            if group.examples.len() < EXAMPLES {
                group.examples.push(example(failure));
            }
            continue;
        }
        groups.push(Group {
            analyzer: failure.analyzer.clone(),
            class: failure.class,
            reason,
            contains,
            count: 1,
            latest: failure.at,
            examples: vec![example(failure)],
            at: minute(failure.at),
            search: link("/search", &[("q", &format!("is:failed analyzer:{}", failure.analyzer))]),
        });
    }
    groups.sort_by_key(|group| std::cmp::Reverse((group.count, group.latest)));
    groups
}

fn example(failure: &Failure) -> Example {
    Example {
        digest: failure.digest.to_string(),
        name: failure.source.as_ref().map_or_else(|| failure.digest.short(), shown::name),
        reason: line(&failure.reason, 300),
        attempts: failure.attempts,
        href: link(
            &format!("/attempts/{}", failure.digest),
            &[("analyzer", failure.analyzer.as_str())],
        ),
    }
}

/// A reason without its numbers, paths and names, and the longest part of it that is the same in all that are alike.
fn pattern(reason: &str) -> (String, String) {
    let reason: String = reason.chars().take(1_000).collect();
    let is_special = |word: &str| {
        word.contains(|c: char| c.is_ascii_digit() || "/'\"‘’“”`".contains(c)) || word.len() > 40
    };
    let (mut shown, mut constant, mut longest) = (String::new(), String::new(), String::new());
    for word in reason.split_inclusive(char::is_whitespace) {
        if is_special(word.trim()) {
            if constant.trim().len() > longest.len() {
                constant.trim().clone_into(&mut longest);
            }
            constant.clear();
            if !shown.ends_with("… ") {
                shown.push_str("… ");
            }
        } else {
            shown.push_str(word);
            constant.push_str(word);
        }
    }
    if constant.trim().len() > longest.len() {
        constant.trim().clone_into(&mut longest);
    }
    (line(&shown, 300), longest)
}

/// What a form names.
pub(crate) fn chosen(form: &Asked) -> Result<FailureFilter, WebError> {
    let mut filter = FailureFilter { limit: MOST, ..FailureFilter::default() };
    let bad = |error: String| WebError::Bad(error);
    if !form.get("analyzer").is_empty() {
        let name = form.get("analyzer").parse();
        filter.analyzer =
            Some(name.map_err(|error: ocelli_core::ids::IdError| bad(error.to_string()))?);
    }
    if !form.get("class").is_empty() {
        filter.class = Some(form.get("class").parse().map_err(bad)?);
    }
    let reason = form.get("contains");
    filter.reason_contains = (!reason.is_empty()).then(|| reason.to_owned());
    Ok(filter)
}

async fn note(app: &App, kind: &str, filter: &FailureFilter, count: u64) -> Result<(), WebError> {
    let detail = serde_json::json!({
        "count": count,
        "class": filter.class.map(|class| class.name()),
        "reason contains": filter.reason_contains,
    });
    app.catalog.note_deed(Timestamp::now(), kind, filter.analyzer.as_ref(), &detail).await?;
    app.live.forget().await;
    Ok(())
}

/// `POST /failures/retry`
pub(crate) async fn retry(State(app): State<App>, Press(form): Press) -> Answer {
    let filter = chosen(&form)?;
    let (opened, enqueued) = open_again(&app, &filter).await?;
    let (opened, enqueued) = (opened.to_string(), enqueued.map(|count| count.to_string()));
    Ok(see(&link(
        "/failures",
        &[("opened", &opened), ("enqueued", enqueued.as_deref().unwrap_or_default())],
    )))
}

/// Opens failures again and gives their jobs to the workers; how many of each, and none for the latter where there are none.
pub(crate) async fn open_again(
    app: &App,
    filter: &FailureFilter,
) -> Result<(u64, Option<u64>), WebError> {
    let (mut opened, mut enqueued, mut left) = (0_u64, None, filter.limit);
    while left > 0 {
        let part = FailureFilter { limit: left.min(AT_ONCE), ..filter.clone() };
        let jobs = app.catalog.reopen_failures(&part).await?;
        if jobs.is_empty() {
            break;
        }
        left = left.saturating_sub(part.limit);
        opened += jobs.len() as u64;
        match app.hands.0.requeue(jobs).await.map_err(WebError::Away)? {
            Requeued::Enqueued(count) => enqueued = Some(enqueued.unwrap_or(0) + count),
            Requeued::NextRun => {}
        }
    }
    note(app, "failures retried", filter, opened).await?;
    Ok((opened, enqueued))
}

/// `POST /failures/discard`
pub(crate) async fn discard(State(app): State<App>, Press(form): Press) -> Answer {
    let discarded = settle(&app, &chosen(&form)?).await?;
    Ok(see(&link("/failures", &[("discarded", &discarded.to_string())])))
}

/// Settles failures without another attempt; how many.
pub(crate) async fn settle(app: &App, filter: &FailureFilter) -> Result<u64, WebError> {
    let discarded = app.catalog.discard_failures(filter).await?;
    note(app, "failures discarded", filter, discarded).await?;
    Ok(discarded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_and_names_only_are_one_group() {
        let (one, contains) = pattern("file:///a/cat 1.png: the file does not exist (any more)");
        let (other, _) = pattern("file:///b/dog 27.png: the file does not exist (any more)");
        assert_eq!(one, other.replace("dog", "cat"));
        assert_eq!(contains, "the file does not exist (any more)");
        let (shown, contains) = pattern("HTTP 503 after 12 s");
        assert_eq!((shown.as_str(), contains.as_str()), ("HTTP … after … s", "after"));
        assert_eq!(pattern(""), (String::new(), String::new()));
    }

    #[test]
    fn whatever_all_reasons_of_a_group_contain_stands_in_each_of_them() {
        for reason in ["died: signal 6", "a b 'c d' e f g", "no\nnewline 1 here", "1 2 3"] {
            assert!(reason.contains(&pattern(reason).1), "{reason}");
        }
    }
}
