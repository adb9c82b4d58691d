//! Cases about what the web site asks, on both backends.

use jiff::SignedDuration;
use ocelli_catalog::{FailureCursor, FailureFilter};
use ocelli_core::wire::Message;
use ocelli_core::{Digest, FailureClass, Outcome};

use crate::words::*;
use crate::world::World;

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

pub(crate) async fn sheets_tell_sizes_and_states_of_many_images_at_once(world: World) {
    let catalog = world.open().await;
    let mut refused = intake("refused", &[OCR]);
    refused.refusal = Some("not an image".to_owned());
    let messages = [
        Message::Intake(intake("a", &[OCR, LLM])),
        partial("a", OCR, failed(FailureClass::Crash, "died"), 1),
        Message::Intake(intake("b", &[OCR])),
        partial("b", OCR, done("read"), 1),
        Message::Intake(refused),
        // Of this one only an analysis has arrived.
        partial("c", OCR, done("read"), 1),
    ];
    catalog.apply(&messages).await.unwrap();
    let asked: Vec<Digest> =
        ["a", "b", "c", "refused", "unknown"].map(digest).into_iter().cycle().take(1_200).collect();
    let sheets = catalog.sheets(&asked).await.unwrap();
    assert_eq!(sheets.len(), 3);
    let a = &sheets[&digest("a")];
    assert_eq!((a.failed, a.open, a.complete, a.refusal.as_deref()), (1, 1, false, None));
    assert_eq!((a.image.width, a.image.height), (Some(640), Some(480)));
    let b = &sheets[&digest("b")];
    assert_eq!((b.failed, b.open, b.complete), (0, 0, true));
    assert_eq!(sheets[&digest("refused")].refusal.as_deref(), Some("not an image"));
    assert!(catalog.sheets(&[]).await.unwrap().is_empty());
}

pub(crate) async fn neighbours_lead_through_the_whole_archive_in_the_order_of_time(world: World) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for (image, seconds) in [("a", 5), ("b", 9), ("c", 9), ("d", 1)] {
        let mut one = intake(image, &[]);
        one.sighting = Some(sighting(image, seconds, 1));
        messages.push(Message::Intake(one));
    }
    messages.push(partial("orphan", OCR, done("read"), 1));
    catalog.apply(&messages).await.unwrap();
    let mut at = digest("d");
    let mut walked = vec![at];
    while let Some(newer) = catalog.neighbours(&at).await.unwrap().newer {
        assert_eq!(catalog.neighbours(&newer).await.unwrap().older, Some(at));
        at = newer;
        walked.push(at);
    }
    let mut last = [digest("b"), digest("c")];
    last.sort();
    assert_eq!(walked, [digest("d"), digest("a"), last[0], last[1]]);
    let unknown = catalog.neighbours(&digest("unknown")).await.unwrap();
    assert_eq!((unknown.newer, unknown.older), (None, None));
}

pub(crate) async fn a_batch_is_seen_with_the_states_of_its_images_alone(world: World) {
    let catalog = world.open().await;
    let mut other = intake("other", &[OCR]);
    other.sighting = Some(sighting("other", 0, 2));
    let messages = [
        Message::Batch(report(1, 3, 2)),
        Message::Intake(intake("a", &[OCR, LLM])),
        Message::Intake(intake("b", &[OCR])),
        partial("a", OCR, done("read"), 1),
        Message::Intake(other),
    ];
    catalog.apply(&messages).await.unwrap();
    let view = catalog.batch(batch(1), 1).await.unwrap().unwrap();
    assert_eq!((view.report.accepted, view.images, view.sample.len()), (2, 2, 1));
    let ocr = &view.analyzers[&name(OCR)];
    assert_eq!((ocr.wanted, ocr.done, ocr.open), (2, 1, 1));
    assert_eq!(view.analyzers[&name(LLM)].open, 1);
    assert_eq!(catalog.batch(batch(2), 1).await.unwrap(), None, "no report of it has arrived");
}

pub(crate) async fn outcomes_are_counted_in_the_span_they_fall_into(world: World) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for (image, seconds) in [("a", 0), ("b", 1), ("c", 60), ("d", 61), ("e", 120), ("f", 121)] {
        messages.push(Message::Intake(intake(image, &[OCR])));
        messages.push(partial(image, OCR, Outcome::Empty, seconds));
    }
    catalog.apply(&messages).await.unwrap();
    let pulse = catalog.pulse(at(120), 2, SignedDuration::from_secs(60)).await.unwrap();
    // What finished exactly at the beginning belongs to the span before it.
    assert_eq!(pulse[&name(OCR)], [2, 2]);
    let later = catalog.pulse(at(10_000), 2, SignedDuration::from_secs(60)).await.unwrap();
    assert!(later.is_empty());
}

pub(crate) async fn failures_are_counted_as_they_are_listed(world: World) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for (image, class) in
        [("a", FailureClass::Crash), ("b", FailureClass::Permanent), ("c", FailureClass::Crash)]
    {
        messages.push(Message::Intake(intake(image, &[OCR, LLM])));
        messages.push(partial(image, OCR, failed(class, "died"), 1));
    }
    messages.push(partial("a", LLM, failed(FailureClass::Quality, "babble"), 1));
    catalog.apply(&messages).await.unwrap();
    let counts = catalog.failure_counts().await.unwrap();
    let counts: Vec<_> =
        counts.iter().map(|one| (one.analyzer.as_str(), one.class.name(), one.count)).collect();
    assert_eq!(counts, [(OCR, "crash", 2), (LLM, "quality", 1), (OCR, "permanent", 1)]);
    // One that was answered after all is no failure any more.
    catalog.apply(&[partial("a", OCR, done("read"), 2)]).await.unwrap();
    let all: u64 = catalog.failure_counts().await.unwrap().iter().map(|one| one.count).sum();
    assert_eq!(all, 3);
}

pub(crate) async fn what_people_did_is_listed_the_latest_first_and_page_by_page(world: World) {
    let catalog = world.open().await;
    let detail = serde_json::json!({ "reason": "nul \u{0} and \u{1b}[2J" });
    for second in 0..5 {
        let kind = format!("deed {second}");
        let analyzer = name(OCR);
        catalog.note_deed(at(second), &kind, Some(&analyzer), &detail).await.unwrap();
    }
    let first = catalog.deeds(None, 3).await.unwrap();
    let kinds: Vec<_> = first.iter().map(|deed| deed.kind.as_str()).collect();
    assert_eq!(kinds, ["deed 4", "deed 3", "deed 2"]);
    assert_eq!((first[0].at, &first[0].analyzer), (at(4), &Some(name(OCR))));
    let rest = catalog.deeds(Some(first[2].id), 3).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[1].kind, "deed 0");
    // A failure that was opened again is among them.
    let messages = [
        Message::Intake(intake("a", &[OCR])),
        partial("a", OCR, failed(FailureClass::Crash, "died"), 1),
    ];
    catalog.apply(&messages).await.unwrap();
    catalog.reopen_failures(&FailureFilter::default()).await.unwrap();
    let latest = &catalog.deeds(None, 1).await.unwrap()[0];
    assert_eq!((latest.kind.as_str(), latest.digest), ("failure reopened", Some(digest("a"))));
}

pub(crate) async fn searches_are_kept_replaced_and_forgotten_within_a_bound(world: World) {
    let catalog = world.open().await;
    assert!(catalog.saved_searches().await.unwrap().is_empty());
    for (name, query, seconds) in [("b", "cat", 1), ("a", "dog \0", 2), ("b", "hot dog", 3)] {
        assert!(catalog.save_search(name, query, at(seconds), 2).await.unwrap());
    }
    // A third name is one too many; a known one is not.
    assert!(!catalog.save_search("c", "x", at(4), 2).await.unwrap());
    assert!(catalog.save_search("a", "x", at(5), 2).await.unwrap());
    let kept = catalog.saved_searches().await.unwrap();
    let seen: Vec<_> = kept.iter().map(|one| (&*one.name, &*one.query, one.saved_at)).collect();
    assert_eq!(seen, [("a", "x", at(5)), ("b", "hot dog", at(3))]);
    assert!(catalog.forget_search("a").await.unwrap());
    assert!(!catalog.forget_search("a").await.unwrap());
    assert_eq!(catalog.saved_searches().await.unwrap().len(), 1);
}

pub(crate) async fn failures_and_batches_come_in_pages_that_miss_none_and_repeat_none(
    world: World,
) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    // Some ended in the same moment.
    for (image, seconds) in [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("e", 3)] {
        messages.push(Message::Intake(intake(image, &[OCR, LLM])));
        messages.push(partial(image, OCR, failed(FailureClass::Crash, "died"), seconds));
        messages.push(partial(image, LLM, failed(FailureClass::Crash, "died"), 2));
    }
    for number in 1..=5 {
        let mut report = report(number, 1, 0);
        report.started_at = at(i64::try_from(number).unwrap() / 2);
        messages.push(Message::Batch(report));
    }
    catalog.apply(&messages).await.unwrap();
    let all = catalog.failures(&FailureFilter::default()).await.unwrap();
    assert_eq!(all.len(), 10);
    let (mut paged, mut filter) = (Vec::new(), FailureFilter { limit: 3, ..Default::default() });
    loop {
        let page = catalog.failures(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        let cursor = FailureCursor::from(last).to_string();
        filter.behind = Some(cursor.parse().unwrap());
        paged.extend(page);
    }
    assert_eq!(paged, all);
    for text in ["", "f1", "f1.x", "f1.1.00.a@b", "d1.1.2.a@b"] {
        assert!(text.parse::<FailureCursor>().is_err(), "{text}");
    }
    let all = catalog.batches(10).await.unwrap();
    let (mut paged, mut behind) = (Vec::new(), None);
    loop {
        let page = catalog.batches_behind(behind, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        behind = Some((last.started_at, last.batch));
        paged.extend(page);
    }
    assert_eq!((paged.len(), paged), (5, all));
}

pub(crate) async fn a_mark_of_the_archive_changes_with_every_record_and_with_nothing_else(
    world: World,
) {
    let catalog = world.open().await;
    catalog.apply(&[Message::Batch(report(1, 3, 2))]).await.unwrap();
    let mut last = catalog.fingerprint().await.unwrap();
    let mut seen_earlier = intake("a", &[OCR, LLM]);
    seen_earlier.sighting = Some(sighting("a", -60, 1));
    let mut seen_elsewhere = intake("a", &[OCR, LLM]);
    seen_elsewhere.sighting = Some(sighting("elsewhere", 0, 1));
    for (what, message) in [
        ("an image", Message::Intake(intake("a", &[OCR, LLM]))),
        ("an earlier sighting", Message::Intake(seen_earlier)),
        ("another place", Message::Intake(seen_elsewhere)),
        ("a failure", partial("a", OCR, failed(FailureClass::Crash, "died"), 1)),
        ("an answer", partial("a", LLM, done("read"), 2)),
        ("an answer to an image that has not arrived", partial("b", LLM, done("read"), 2)),
        ("that image", Message::Intake(intake("b", &[LLM]))),
    ] {
        catalog.apply(std::slice::from_ref(&message)).await.unwrap();
        let mark = catalog.fingerprint().await.unwrap();
        assert_ne!(mark, last, "{what}");
        // The same once more is no change.
        catalog.apply(&[message]).await.unwrap();
        assert_eq!(catalog.fingerprint().await.unwrap(), mark, "{what}");
        last = mark;
    }
    let told = [
        Message::Announcement(announcement(OCR, "host:1", 9)),
        Message::Batch(report(1, 9, 4)),
        problem(1, "x.png", 4),
    ];
    catalog.apply(&told).await.unwrap();
    catalog.note_deed(at(4), "deed", None, &serde_json::json!({})).await.unwrap();
    assert_eq!(catalog.fingerprint().await.unwrap(), last, "no record has changed");
    assert_eq!(catalog.reopen_failures(&FailureFilter::default()).await.unwrap().len(), 1);
    assert_ne!(catalog.fingerprint().await.unwrap(), last, "a failure is open again");
}
