//! Jobs that are open, put off or failed: how they are listed, counted and asked again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ocelli_catalog::{Catalog, FailureFilter, OpenJobs};
use ocelli_core::wire::Message;
use ocelli_core::{Digest, FailureClass, Outcome};

use crate::cases::{digest, sound};
use crate::words::*;
use crate::world::World;

pub(crate) fn all_open() -> OpenJobs {
    OpenJobs { analyzer: None, enqueued_before: Timestamp::MAX, after: None, limit: 1000 }
}

pub(crate) async fn deferred_jobs_are_counted_until_their_time_comes(world: World) {
    let catalog = world.open().await;
    // Before its intake, twice, and in the wrong order.
    catalog.apply(&[deferred("a", OCR, 2, 200), deferred("a", OCR, 1, 100)]).await.unwrap();
    catalog.apply(&[Message::Intake(intake("a", &[OCR]))]).await.unwrap();
    catalog.apply(&[deferred("a", OCR, 1, 100)]).await.unwrap();
    let deferred_at =
        async |seconds| catalog.status(at(seconds)).await.unwrap().analyzers[&name(OCR)].deferred;
    assert_eq!(deferred_at(150).await, 1);
    assert_eq!(deferred_at(200).await, 0);
    assert_eq!(catalog.open_jobs(&all_open()).await.unwrap()[0].next_at, Some(at(200)));
    catalog.apply(&[partial("a", OCR, Outcome::Empty, 120)]).await.unwrap();
    catalog.apply(&[deferred("a", OCR, 2, 200)]).await.unwrap();
    assert_eq!(deferred_at(150).await, 0);
    assert_eq!(
        catalog.status(at(150)).await.unwrap().analyzers[&name(OCR)].finished_last_minute,
        1
    );
    assert_eq!(
        catalog.status(at(181)).await.unwrap().analyzers[&name(OCR)].finished_last_minute,
        0
    );
    sound(&catalog).await;
}

pub(crate) async fn open_jobs_come_in_pages_that_miss_none_and_repeat_none(world: World) {
    let catalog = world.open().await;
    let images: Vec<String> = (0..25).map(|number| format!("image-{number}")).collect();
    let intakes: Vec<Message> =
        images.iter().map(|image| Message::Intake(intake(image, &[OCR, LLM]))).collect();
    catalog.apply(&intakes).await.unwrap();
    catalog.apply(&[partial("image-3", OCR, Outcome::Empty, 1)]).await.unwrap();
    let mut expected: BTreeSet<(Digest, ocelli_core::AnalyzerName)> = images
        .iter()
        .flat_map(|image| [OCR, LLM].map(|analyzer| (digest(image), name(analyzer))))
        .collect();
    expected.remove(&(digest("image-3"), name(OCR)));
    let mut query = OpenJobs { limit: 7, ..all_open() };
    let mut found = Vec::new();
    loop {
        let page = catalog.open_jobs(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some((last.image.digest, last.analyzer.clone()));
        assert!(page.iter().all(|job| job.sources.len() == 1 && job.image.bytes == 123_456));
        found.extend(page.into_iter().map(|job| (job.image.digest, job.analyzer)));
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let only = OpenJobs { analyzer: Some(name(OCR)), ..all_open() };
    assert_eq!(catalog.open_jobs(&only).await.unwrap().len(), 24);
}

pub(crate) async fn touched_jobs_are_not_listed_until_later(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[Message::Intake(intake("a", &[OCR, LLM]))]).await.unwrap();
    let due = OpenJobs { enqueued_before: at(10), ..all_open() };
    assert_eq!(catalog.open_jobs(&due).await.unwrap().len(), 2);
    let jobs = [(digest("a"), name(OCR), at(0)), (digest("unknown"), name(OCR), at(0))];
    let claimed = catalog.claim_jobs(&jobs, at(20)).await.unwrap();
    assert_eq!(claimed, BTreeSet::from([(digest("a"), name(OCR))]));
    let second = catalog.claim_jobs(&jobs, at(15)).await.unwrap();
    assert!(second.is_empty(), "of two that saw the same, one gets it");
    let left = catalog.open_jobs(&due).await.unwrap();
    assert_eq!(left.iter().map(|job| job.analyzer.clone()).collect::<Vec<_>>(), [name(LLM)]);
    let later = OpenJobs { enqueued_before: at(21), ..all_open() };
    let touched = catalog.open_jobs(&later).await.unwrap();
    assert_eq!(touched.iter().find(|job| job.analyzer == name(OCR)).unwrap().enqueued_at, at(20));
    // The old intake comes again: that does not make the job older.
    catalog.apply(&[Message::Intake(intake("a", &[OCR]))]).await.unwrap();
    assert_eq!(catalog.open_jobs(&due).await.unwrap().len(), 1);
}

async fn three_failures(catalog: &Catalog) {
    let mut messages = Vec::new();
    for (number, (class, reason)) in [
        (FailureClass::Permanent, "100% broken_file"),
        (FailureClass::Crash, "killed: out of memory"),
        (FailureClass::Crash, "killed: took too long"),
    ]
    .into_iter()
    .enumerate()
    {
        let image = format!("image-{number}");
        messages.push(Message::Intake(intake(&image, &[OCR])));
        messages.push(partial(&image, OCR, failed(class, reason), 10 + number as i64));
    }
    messages.push(Message::Intake(intake("fine", &[OCR])));
    messages.push(partial("fine", OCR, done("fine"), 10));
    assert_eq!(catalog.apply(&messages).await.unwrap().completed.len(), 4);
}

pub(crate) async fn failures_are_listed_and_reopened_by_filter(world: World) {
    let catalog = world.open().await;
    three_failures(&catalog).await;
    let all = FailureFilter::default();
    let listed = catalog.failures(&all).await.unwrap();
    assert_eq!(
        listed.iter().map(|failure| failure.at).collect::<Vec<_>>(),
        [at(12), at(11), at(10)]
    );
    assert_eq!(listed[2].source, Some(source("image-0")));
    assert_eq!(listed[2].class, FailureClass::Permanent);
    let count = async |filter: FailureFilter| catalog.failures(&filter).await.unwrap().len();
    assert_eq!(count(FailureFilter { class: Some(FailureClass::Crash), ..all.clone() }).await, 2);
    let containing =
        |text: &str| FailureFilter { reason_contains: Some(text.to_owned()), ..all.clone() };
    assert_eq!(count(containing("memory")).await, 1);
    assert_eq!(count(containing("Memory")).await, 0);
    assert_eq!(count(containing("% broken_")).await, 1);
    assert_eq!(count(containing("%")).await, 1);
    assert_eq!(count(containing("\0' OR 1=1 --")).await, 0);
    assert_eq!(count(FailureFilter { analyzer: Some(name(LLM)), ..all.clone() }).await, 0);
    assert_eq!(count(FailureFilter { limit: 2, ..all.clone() }).await, 2);

    let reopened = catalog.reopen_failures(&containing("memory")).await.unwrap();
    assert_eq!(reopened, [(digest("image-1"), name(OCR))]);
    let job = catalog.open_job(&digest("image-1"), &name(OCR)).await.unwrap().unwrap();
    assert_eq!((job.revision, job.sources), (Some(revision(1)), vec![source("image-1")]));
    assert!(catalog.reopen_failures(&containing("memory")).await.unwrap().is_empty());
    let status = catalog.status(at(20)).await.unwrap();
    let ocr = &status.analyzers[&name(OCR)];
    assert_eq!((ocr.open, ocr.failed, ocr.done, status.complete), (1, 2, 1, 3));
    assert_eq!(catalog.audit().await.unwrap().rows["events"], 1);
    assert_eq!(catalog.reopen_failures(&all).await.unwrap().len(), 2);
    assert_eq!(catalog.open_jobs(&all_open()).await.unwrap().len(), 3);
    let applied = catalog.apply(&[partial("image-1", OCR, done("read"), 30)]).await.unwrap();
    assert_eq!(applied.completed, [digest("image-1")]);
    sound(&catalog).await;
}

pub(crate) async fn a_late_duplicate_of_a_reopened_failure_is_ignored(world: World) {
    let catalog = world.open().await;
    three_failures(&catalog).await;
    catalog.apply(&[deferred("image-1", OCR, 1, 1000)]).await.unwrap();
    assert_eq!(catalog.reopen_failures(&FailureFilter::default()).await.unwrap().len(), 3);
    let late = partial("image-1", OCR, failed(FailureClass::Crash, "killed: out of memory"), 11);
    assert!(catalog.apply(&[late]).await.unwrap().completed.is_empty());
    let ocr = catalog.status(at(20)).await.unwrap().analyzers[&name(OCR)].clone();
    assert_eq!((ocr.open, ocr.failed, ocr.deferred), (3, 0, 0));
    let again = partial("image-1", OCR, failed(FailureClass::Crash, "killed again"), 12);
    assert_eq!(catalog.apply(&[again]).await.unwrap().completed, [digest("image-1")]);
    sound(&catalog).await;
}
