//! The cases that run on both backends. A case gets a world of its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_catalog::Catalog;
use ocelli_core::claim::{Claim, ClaimRequest, JobKey};
use ocelli_core::wire::{Fence, Intake, Message, Partial};
use ocelli_core::{
    Analysis, Digest, FailureClass, ImageFacts, Outcome, Reading, Record, SourceUri, Want,
};

use crate::jobs::all_open;
use crate::words::*;
use crate::world::World;

pub(crate) fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

pub(crate) async fn sound(catalog: &Catalog) {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn a_record_comes_back_as_it_was_sent(world: World) {
    let catalog = world.open().await;
    let mut expected = Record::new(facts("a"));
    expected.add_sighting(sighting("a", 0, 1));
    let outcomes = [
        Outcome::Done(full_reading()),
        Outcome::Empty,
        Outcome::Skipped { rule: "too small".to_owned(), reason: "12 pixels".to_owned() },
        failed(FailureClass::Crash, "killed twice"),
    ];
    let mut messages = Vec::new();
    let mut wants = Vec::new();
    for (number, outcome) in (1..).zip(outcomes) {
        let analyzer = name(&format!("analyzer-{number}"));
        let analysis = Analysis {
            analyzer: analyzer.clone(),
            revision: revision(1),
            outcome,
            attempts: u32::MAX,
            finished_at: at(10),
            provenance: full_provenance(),
        };
        expected.add_analysis(analysis.clone());
        messages.push(Message::Partial(Box::new(Partial {
            digest: digest("a"),
            analysis,
            hash: None,
            image: None,
        })));
        let want = Want { analyzer, revision: Some(revision(1)) };
        expected.add_want(at(0), want.clone());
        wants.push(want);
    }
    messages.insert(0, Message::Intake(Intake { wants, ..intake("a", &[]) }));
    let applied = catalog.apply(&messages).await.unwrap();
    assert_eq!(applied.completed, [digest("a")]);
    assert_eq!(catalog.record(&digest("a")).await.unwrap(), Some(expected));
    assert_eq!(catalog.record(&digest("b")).await.unwrap(), None);
    assert!(catalog.is_done(&digest("a"), &name("analyzer-4"), &revision(1)).await.unwrap());
    assert!(!catalog.is_done(&digest("a"), &name("analyzer-4"), &revision(2)).await.unwrap());
    // Workers ask about many at once, and are answered in order.
    let asked = [2, 1, 3].map(|number| ClaimRequest {
        job: JobKey {
            digest: digest("a"),
            analyzer: name("analyzer-4"),
            revision: revision(number),
        },
        attempt: crate::claims::attempt(number.into()),
        holder: "host:1".to_owned(),
        batch: None,
        lease: None,
    });
    let answers = catalog.look(asked.to_vec()).await.unwrap();
    let free = Claim::Free { batch: None };
    assert_eq!(answers, [free.clone(), Claim::Done, free]);
    sound(&catalog).await;
}

pub(crate) async fn a_partial_before_its_intake_is_kept_and_completes_with_it(world: World) {
    let catalog = world.open().await;
    let early = catalog.apply(&[partial("a", OCR, done("hello"), 5)]).await.unwrap();
    assert!(early.completed.is_empty());
    assert_eq!(catalog.record(&digest("a")).await.unwrap(), None);
    assert_eq!(catalog.status(at(6)).await.unwrap().images, 0);
    assert_eq!(catalog.audit().await.unwrap().problems.len(), 1);
    // A producer must send the image all the same: nothing is noted as wanted of it.
    assert!(catalog.lookup(&[digest("a"), digest("b")]).await.unwrap().is_empty());
    let asked = intake("a", &[OCR]);
    let asked_at = asked.enqueued_at;
    let late = catalog.apply(&[Message::Intake(asked)]).await.unwrap();
    assert_eq!((late.completed, late.asked), (vec![digest("a")], vec![asked_at]));
    assert!(catalog.record(&digest("a")).await.unwrap().unwrap().is_complete());
    sound(&catalog).await;
}

pub(crate) async fn a_redelivered_batch_changes_nothing(world: World) {
    let catalog = world.open().await;
    let batch = [
        Message::Intake(intake("a", &[OCR, LLM])),
        partial("a", OCR, done("hello"), 5),
        partial("a", OCR, done("hello"), 5),
        partial("a", LLM, Outcome::Empty, 6),
        deferred("a", LLM, 1, 100),
        Message::Announcement(announcement(OCR, "host:1", 0)),
        Message::Batch(report(1, 0, 1)),
        problem(1, "/b.png", 1),
    ];
    assert_eq!(catalog.apply(&batch).await.unwrap().completed, [digest("a")]);
    let (record, rows) =
        (catalog.record(&digest("a")).await.unwrap(), catalog.audit().await.unwrap().rows);
    let again = catalog.apply(&batch).await.unwrap();
    assert!(again.completed.is_empty());
    assert_eq!(catalog.record(&digest("a")).await.unwrap(), record);
    assert_eq!(catalog.audit().await.unwrap().rows, rows);
    sound(&catalog).await;
}

pub(crate) async fn a_reading_replaces_a_failure_and_never_the_other_way_round(world: World) {
    let catalog = world.open().await;
    let failure = partial("a", OCR, failed(FailureClass::Crash, "killed"), 1);
    catalog.apply(&[Message::Intake(intake("a", &[OCR])), failure.clone()]).await.unwrap();
    assert_eq!(catalog.status(at(9)).await.unwrap().analyzers[&name(OCR)].failed, 1);
    catalog.apply(&[partial("a", OCR, done("first"), 8)]).await.unwrap();
    catalog.apply(&[partial("a", OCR, done("second"), 9), failure]).await.unwrap();
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.current(&name(OCR)).unwrap().outcome, done("first"));
    let status = catalog.status(at(9)).await.unwrap().analyzers[&name(OCR)].clone();
    assert_eq!((status.failed, status.done, status.wanted), (0, 1, 1));
    sound(&catalog).await;
}

pub(crate) async fn a_newer_want_opens_the_record_again(world: World) {
    let catalog = world.open().await;
    let first = Message::Intake(intake("a", &[OCR]));
    catalog.apply(&[first.clone(), partial("a", OCR, done("old"), 1)]).await.unwrap();
    let mut newer = intake("a", &[]);
    newer.wants = vec![want(OCR, 2)];
    newer.enqueued_at = at(10);
    assert!(catalog.apply(&[Message::Intake(newer)]).await.unwrap().completed.is_empty());
    let known = &catalog.lookup(&[digest("a")]).await.unwrap()[&digest("a")];
    assert_eq!(known.open, BTreeSet::from([name(OCR)]));
    assert_eq!(known.wanted, BTreeMap::from([(name(OCR), Some(revision(2)))]));
    assert_eq!(catalog.status(at(11)).await.unwrap().complete, 0);
    // The older want comes again: the newer one stays.
    catalog.apply(&[first]).await.unwrap();
    let Message::Partial(mut answer) = partial("a", OCR, done("new"), 20) else { unreachable!() };
    answer.analysis.revision = revision(2);
    let applied = catalog.apply(&[Message::Partial(answer)]).await.unwrap();
    assert_eq!(applied.completed, [digest("a")]);
    assert_eq!(catalog.record(&digest("a")).await.unwrap().unwrap().analyses.len(), 2);
    sound(&catalog).await;
}

pub(crate) async fn a_refused_image_is_complete_and_counted_apart(world: World) {
    let catalog = world.open().await;
    let refused = Intake { refusal: Some("\0 an archive".to_owned()), ..intake("a", &[OCR, LLM]) };
    let applied = catalog.apply(&[Message::Intake(refused)]).await.unwrap();
    assert_eq!(applied.completed, [digest("a")]);
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.refusal.as_deref(), Some("\u{fffd} an archive"));
    let status = catalog.status(at(1)).await.unwrap();
    assert_eq!((status.images, status.refused, status.complete), (1, 1, 1));
    let ocr = &status.analyzers[&name(OCR)];
    assert_eq!((ocr.wanted, ocr.refused, ocr.open), (1, 1, 0));
    let known = &catalog.lookup(&[digest("a")]).await.unwrap()[&digest("a")];
    assert!(known.refused && known.open.is_empty());
    assert!(catalog.open_jobs(&all_open()).await.unwrap().is_empty());
    sound(&catalog).await;
}

pub(crate) async fn first_seen_never_grows(world: World) {
    let catalog = world.open().await;
    for (path, seconds, number) in
        [("x", 50, 3), ("x", 40, 4), ("y", 45, 1), ("x", 40, 2), ("x", 90, 1)]
    {
        let mut seen = intake("a", &[]);
        seen.sighting = Some(sighting(path, seconds, number));
        catalog.apply(&[Message::Intake(seen)]).await.unwrap();
    }
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.first_seen(), Some(at(40)));
    assert_eq!(record.sightings[&source("x")], sighting("x", 40, 2));
    assert_eq!(catalog.status(at(0)).await.unwrap().sightings, 2);
    sound(&catalog).await;
}

pub(crate) async fn the_latest_report_of_a_batch_counts(world: World) {
    let catalog = world.open().await;
    let mut last = report(1, 9, 3);
    last.finished = true;
    let reports = [report(1, 5, 2), last.clone(), report(1, 7, 1), report(2, 1, 0)];
    for report in reports {
        catalog.apply(&[Message::Batch(report)]).await.unwrap();
    }
    assert_eq!(catalog.batches(10).await.unwrap(), [report(2, 1, 0), last]);
    assert_eq!(catalog.batches(1).await.unwrap().len(), 1);
    let status = catalog.status(at(0)).await.unwrap();
    assert_eq!((status.batches, status.batches_running), (2, 1));
}

pub(crate) async fn problems_are_kept_once_per_reference(world: World) {
    let catalog = world.open().await;
    let long = "x".repeat(100_000);
    let messages =
        [problem(1, "a\0b", 2), problem(1, "a\0b", 1), problem(2, "a\0b", 3), problem(1, &long, 4)];
    catalog.apply(&messages).await.unwrap();
    catalog.apply(&messages).await.unwrap();
    let all = catalog.problems(None, 10).await.unwrap();
    assert_eq!(all.iter().map(|problem| problem.at).collect::<Vec<_>>(), [at(4), at(3), at(1)]);
    assert_eq!(all[2].reference, "a\u{fffd}b");
    assert_eq!(catalog.problems(Some(batch(1)), 10).await.unwrap().len(), 2);
    assert_eq!(catalog.problems(Some(batch(1)), 1).await.unwrap()[0].reference, long);
    assert_eq!(catalog.status(at(0)).await.unwrap().problems, 3);
}

pub(crate) async fn fences_are_noted_when_sent_and_when_passed(world: World) {
    let catalog = world.open().await;
    let fence = |seconds| Fence {
        analyzer: name(OCR),
        published_at: at(seconds),
        bulk: true,
        pulse: false,
    };
    catalog.note_fence(&name(OCR), at(10)).await.unwrap();
    catalog.note_fence(&name(OCR), at(20)).await.unwrap();
    catalog.apply(&[Message::FencePassed(fence(20))]).await.unwrap();
    let fences = catalog.fences().await.unwrap()[&name(OCR)].clone();
    assert_eq!((fences[0].published_at, fences[0].passed_at), (at(10), None));
    assert!(fences[1].passed_at.unwrap() > at(20), "by the clock of the database");
    // Twice, and one that nobody noted.
    catalog
        .apply(&[Message::FencePassed(fence(20)), Message::FencePassed(fence(30))])
        .await
        .unwrap();
    let again = catalog.fences().await.unwrap()[&name(OCR)].clone();
    assert_eq!((&again[..2], again[2].published_at), (&fences[..], at(30)));
    catalog.forget_fences(&name(OCR), at(30)).await.unwrap();
    assert_eq!(catalog.fences().await.unwrap()[&name(OCR)], again[2..]);
    // A heartbeat proves nothing.
    let pulse = Fence { bulk: false, pulse: true, ..fence(40) };
    catalog.apply(&[Message::FencePassed(pulse)]).await.unwrap();
    assert_eq!(catalog.fences().await.unwrap()[&name(OCR)], again[2..]);
}

pub(crate) async fn a_message_that_cannot_be_kept_spoils_no_other(world: World) {
    let catalog = world.open().await;
    let huge =
        Intake { image: ImageFacts { bytes: u64::MAX, ..facts("huge") }, ..intake("huge", &[]) };
    let mut endless = announcement(OCR, "host", 0);
    endless.worker = "w".repeat(5000);
    let messages = [
        Message::Fence(Fence {
            analyzer: name(OCR),
            published_at: at(0),
            bulk: false,
            pulse: false,
        }),
        Message::Intake(intake("a", &[])),
        Message::Intake(huge),
        Message::Batch(report(1, 0, u64::MAX)),
        Message::Announcement(endless),
    ];
    let applied = catalog.apply(&messages).await.unwrap();
    let positions: Vec<usize> = applied.rejected.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [0, 2, 3, 4]);
    assert!(applied.rejected.iter().all(|(_, reason)| reason.len() > 20));
    assert_eq!(applied.completed, [digest("a")]);
}

pub(crate) async fn hostile_text_is_stored_whole(world: World) {
    let catalog = world.open().await;
    let texts = [
        "x\u{10ffff}".repeat(1_000_000),
        "a\0b".to_owned(),
        "𝔘𝔫𝔦 👩‍👩‍👧‍👦 \u{202e}rtl\u{7f}\u{1b}[31m".to_owned(),
        "'; DROP TABLE images; -- $1 ?1 {}".to_owned(),
        String::new(),
    ];
    for (number, text) in texts.iter().enumerate() {
        let image = format!("image-{number}");
        let mut reading =
            Reading { text: text.clone(), confidence: Some(f32::NAN), ..full_reading() };
        reading.words[0].confidence = f32::INFINITY;
        reading.words[0].text.clone_from(text);
        reading.sections[0].heading = "nul\0nul".to_owned();
        let messages = [
            Message::Intake(intake(&image, &[OCR])),
            partial(&image, OCR, Outcome::Done(reading), 1),
        ];
        catalog.apply(&messages).await.unwrap();
        catalog.apply(&messages).await.unwrap();
        let record = catalog.record(&digest(&image)).await.unwrap().unwrap();
        let Outcome::Done(stored) = &record.current(&name(OCR)).unwrap().outcome else {
            panic!("not a reading");
        };
        assert_eq!(stored.text, text.replace('\0', "\u{fffd}"));
        assert_eq!(stored.words[0].text, stored.text);
        assert_eq!(stored.sections[0].heading, "nul\u{fffd}nul");
        assert_eq!((stored.confidence, stored.words[0].confidence), (None, 0.0));
    }
    sound(&catalog).await;
}

pub(crate) async fn a_source_of_the_greatest_length_is_kept_and_found(world: World) {
    let catalog = world.open().await;
    // Not compressible: an index entry could not hold it.
    let noise: String = (0..125).map(|number| digest(&format!("{number}")).to_string()).collect();
    let long: SourceUri = format!("http://host/{noise}").parse().unwrap();
    let mut seen = intake("a", &[OCR]);
    seen.sighting.as_mut().unwrap().source = long.clone();
    catalog.apply(&[Message::Intake(seen)]).await.unwrap();
    assert_eq!(catalog.find_source(&long).await.unwrap(), Some(digest("a")));
    assert_eq!(catalog.open_jobs(&all_open()).await.unwrap()[0].sources, [long]);
}

pub(crate) async fn times_at_the_edges_of_the_calendar_are_kept(world: World) {
    let catalog = world.open().await;
    let times = [Timestamp::MIN, "1969-12-31T23:59:59.999999Z".parse().unwrap(), Timestamp::MAX];
    for (number, time) in times.into_iter().enumerate() {
        let image = format!("image-{number}");
        let mut seen = intake(&image, &[OCR]);
        seen.sighting.as_mut().unwrap().seen_at = time;
        seen.enqueued_at = time;
        catalog.apply(&[Message::Intake(seen)]).await.unwrap();
        let record = catalog.record(&digest(&image)).await.unwrap().unwrap();
        assert_eq!(record.first_seen().unwrap().as_microsecond(), time.as_microsecond());
    }
    catalog.status(Timestamp::MIN).await.unwrap();
    catalog.status(Timestamp::MAX).await.unwrap();
    assert_eq!(catalog.open_jobs(&all_open()).await.unwrap().len(), 2);
}

pub(crate) async fn images_are_found_by_prefix_and_by_source(world: World) {
    let catalog = world.open().await;
    let intakes: Vec<Message> =
        (0..50).map(|number| Message::Intake(intake(&format!("image-{number}"), &[]))).collect();
    catalog.apply(&intakes).await.unwrap();
    let one = digest("image-7");
    let prefix = |length: usize| one.to_string()[..length].to_uppercase().parse().unwrap();
    assert_eq!(catalog.find(&prefix(12), 10).await.unwrap(), [one]);
    assert_eq!(catalog.find(&prefix(64), 10).await.unwrap(), [one]);
    assert!(catalog.find(&"ffffffffffff".parse().unwrap(), 10).await.unwrap().is_empty());
    assert_eq!(catalog.find_source(&source("image-7")).await.unwrap(), Some(one));
    assert_eq!(catalog.find_source(&source("nowhere")).await.unwrap(), None);
    // Other bytes lie there now.
    let mut changed = intake("new bytes", &[]);
    changed.sighting = Some(sighting("image-7", 100, 2));
    catalog.apply(&[Message::Intake(changed)]).await.unwrap();
    assert_eq!(catalog.find_source(&source("image-7")).await.unwrap(), Some(digest("new bytes")));
}

pub(crate) async fn what_was_applied_survives_a_process_that_vanishes(world: World) {
    let catalog = world.open().await;
    let messages = [Message::Intake(intake("a", &[OCR])), partial("a", OCR, done("kept"), 1)];
    catalog.apply(&messages).await.unwrap();
    // Neither closed nor dropped: what a killed process leaves.
    std::mem::forget(catalog);
    let catalog = world.open().await;
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.current(&name(OCR)).unwrap().outcome, done("kept"));
    sound(&catalog).await;
}

pub(crate) async fn two_writers_of_the_same_messages_make_one_record_and_complete_it_once(
    world: World,
) {
    let (first, second) = tokio::join!(world.open(), world.open());
    let images: Vec<String> = (0..60).map(|number| format!("image-{number}")).collect();
    let mut messages: Vec<Message> = Vec::new();
    for image in &images {
        messages.push(Message::Intake(intake(image, &[OCR, LLM])));
        messages.push(partial(image, OCR, done("text"), 1));
        messages.push(partial(image, LLM, failed(FailureClass::Quality, "repeats itself"), 2));
        messages.push(deferred(image, LLM, 1, 5));
        messages.push(Message::Announcement(announcement(OCR, image, 1)));
    }
    let write = |catalog: Catalog, mut messages: Vec<Message>, backwards: bool| async move {
        if backwards {
            messages.reverse();
        }
        let mut completed = Vec::new();
        for part in messages.chunks(17) {
            completed.extend(catalog.apply(part).await.unwrap().completed);
        }
        completed
    };
    let tasks = [
        tokio::spawn(write(first.clone(), messages.clone(), false)),
        tokio::spawn(write(second.clone(), messages.clone(), true)),
        tokio::spawn(write(first.clone(), messages.clone(), true)),
    ];
    let mut completed = Vec::new();
    for task in tasks {
        completed.extend(task.await.unwrap());
    }
    completed.sort();
    let mut expected: Vec<Digest> = images.iter().map(|image| digest(image)).collect();
    expected.sort();
    assert_eq!(completed, expected);
    assert_eq!(second.status(at(1)).await.unwrap().complete, 60);
    sound(&second).await;
}

pub(crate) async fn readers_are_served_while_a_writer_writes(world: World) {
    let (writer, reader) = tokio::join!(world.open(), world.open());
    let writing = tokio::spawn(async move {
        for number in 0..40 {
            let messages: Vec<Message> = (0..20)
                .map(|image| Message::Intake(intake(&format!("image-{number}-{image}"), &[OCR])))
                .collect();
            writer.apply(&messages).await.unwrap();
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let status = reader.status(at(0)).await.unwrap();
        let ocr = status.analyzers.get(&name(OCR)).cloned().unwrap_or_default();
        assert_eq!(status.images, ocr.open, "a status is of one moment");
        assert!(status.images >= seen);
        seen = status.images;
    }
    writing.await.unwrap();
    assert_eq!(reader.status(at(0)).await.unwrap().images, 800);
}

pub(crate) async fn a_thousand_images_are_looked_up_at_once(world: World) {
    let catalog = world.open().await;
    let images: Vec<String> = (0..1000).map(|number| format!("image-{number}")).collect();
    let messages: Vec<Message> =
        images.iter().map(|image| Message::Intake(intake(image, &[OCR, LLM]))).collect();
    catalog.apply(&messages).await.unwrap();
    let mut asked: Vec<Digest> = images.iter().map(|image| digest(image)).collect();
    asked.extend((0..11_000).map(|number| digest(&format!("unknown-{number}"))));
    asked.push(asked[0]);
    let known = catalog.lookup(&asked).await.unwrap();
    assert_eq!(known.len(), 1000);
    assert!(known.values().all(|known| known.open.len() == 2));
    assert!(catalog.lookup(&[]).await.unwrap().is_empty());
}
