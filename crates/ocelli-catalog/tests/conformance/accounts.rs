//! Cases about what failed and what must add up, on both backends.

use ocelli_catalog::{Catalog, Content, FailureFilter, Fate, Letter, unknown_revision};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, FailureClass, Outcome, Want};
use sqlx::Connection as _;

use crate::words::*;
use crate::world::World;

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

async fn problems(catalog: &Catalog) -> Vec<String> {
    catalog.audit().await.unwrap().problems
}

fn dead_job(intake: &Intake, analyzer: &str, seconds: i64) -> Letter {
    Letter {
        message_id: "m".to_owned(),
        queue: format!("ocelli.jobs.{analyzer}"),
        reason: "handed out 100 times".to_owned(),
        body: Message::Intake(intake.clone()).encode().unwrap(),
        at: at(seconds),
        content: Content::Job {
            intake: Box::new(intake.clone()),
            analyzer: name(analyzer),
            class: FailureClass::Crash,
            attempts: 1,
        },
    }
}

async fn bury(catalog: &Catalog, letter: &Letter) -> Vec<Fate> {
    let buried = catalog.bury(std::slice::from_ref(letter)).await.unwrap();
    buried.fates.into_keys().collect()
}

pub(crate) async fn a_dead_job_is_a_failure_of_the_revision_that_was_asked_for(world: World) {
    let catalog = world.open().await;
    let job = intake("a", &[OCR, LLM]);
    catalog.apply(&[Message::Intake(job.clone())]).await.unwrap();
    let letter = dead_job(&job, OCR, 10);
    assert_eq!(bury(&catalog, &letter).await, [Fate::Failed]);
    let listed = catalog.failures(&FailureFilter::default()).await.unwrap();
    assert_eq!((&listed[0].revision, listed[0].class), (&revision(1), FailureClass::Crash));
    assert_eq!((listed[0].attempts, listed[0].at), (1, at(10)));
    let history = catalog.history(&digest("a")).await.unwrap();
    assert_eq!(Message::decode(&history.letters[0].body).unwrap(), Message::Intake(job.clone()));
    // The same delivery again, also after its job was opened again, is not a second death.
    assert_eq!(bury(&catalog, &letter).await, []);
    assert_eq!(catalog.reopen_failures(&FailureFilter::default()).await.unwrap().len(), 1);
    assert_eq!(bury(&catalog, &Letter { at: at(99), ..letter }).await, []);
    assert_eq!(catalog.status(at(0)).await.unwrap().analyzers[&name(OCR)].open, 1);
    // The job that was enqueued again is another one.
    let again = Intake { enqueued_at: at(50), ..job };
    assert_eq!(bury(&catalog, &dead_job(&again, OCR, 60)).await, [Fate::Failed]);
    assert_eq!(catalog.status(at(0)).await.unwrap().analyzers[&name(OCR)].failed, 1);
    assert_eq!(problems(&catalog).await, Vec::<String>::new());
}

pub(crate) async fn a_dead_job_that_is_answered_or_asked_anew_changes_nothing(world: World) {
    let catalog = world.open().await;
    let job = intake("a", &[OCR, LLM]);
    let mut anew = job.clone();
    (anew.wants, anew.enqueued_at) = (vec![want(LLM, 2)], at(5));
    let messages =
        [Message::Intake(job.clone()), partial("a", OCR, done("read"), 1), Message::Intake(anew)];
    catalog.apply(&messages).await.unwrap();
    for analyzer in [OCR, LLM] {
        assert_eq!(bury(&catalog, &dead_job(&job, analyzer, 10)).await, [Fate::Needless]);
    }
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.analyses.len(), 1);
    assert_eq!(record.open().len(), 1, "revision 2 is another job");
    assert_eq!(problems(&catalog).await, Vec::<String>::new());
}

pub(crate) async fn a_dead_job_of_any_revision_never_hides_a_reading(world: World) {
    let catalog = world.open().await;
    let any = |image: &str| {
        let mut job = intake(image, &[]);
        job.wants = vec![Want { analyzer: name(OCR), revision: None }];
        job
    };
    catalog.apply(&[Message::Intake(any("first")), Message::Intake(any("last"))]).await.unwrap();
    catalog.apply(&[partial("first", OCR, done("read"), 1)]).await.unwrap();
    assert_eq!(bury(&catalog, &dead_job(&any("first"), OCR, 10)).await, [Fate::Needless]);
    assert_eq!(bury(&catalog, &dead_job(&any("last"), OCR, 10)).await, [Fate::Failed]);
    let current = |record: ocelli_core::Record| record.current(&name(OCR)).unwrap().clone();
    let last = current(catalog.record(&digest("last")).await.unwrap().unwrap());
    assert_eq!((last.revision, last.finished_at), (unknown_revision(), at(10)));
    catalog.apply(&[partial("last", OCR, done("read"), 20)]).await.unwrap();
    for image in ["first", "last"] {
        let record = catalog.record(&digest(image)).await.unwrap().unwrap();
        assert_eq!(current(record).outcome, done("read"), "{image}");
    }
    assert_eq!(problems(&catalog).await, Vec::<String>::new());
}

pub(crate) async fn a_dead_job_before_its_intake_is_a_whole_record(world: World) {
    let catalog = world.open().await;
    let job = intake("a", &[OCR]);
    let buried = catalog.bury(&[dead_job(&job, OCR, 10)]).await.unwrap();
    assert_eq!(buried.completed, [digest("a")]);
    let before = catalog.record(&digest("a")).await.unwrap();
    catalog.apply(&[Message::Intake(job)]).await.unwrap();
    assert_eq!(catalog.record(&digest("a")).await.unwrap(), before);
    assert_eq!(problems(&catalog).await, Vec::<String>::new());
}

pub(crate) async fn dead_messages_are_written_if_they_can_be_and_kept_if_not(world: World) {
    let catalog = world.open().await;
    let letter = |content, body: &[u8]| Letter {
        message_id: String::new(),
        queue: "ocelli.results".to_owned(),
        reason: "no\0 reason".to_owned(),
        body: body.to_vec(),
        at: at(10),
        content,
    };
    let huge = Message::Batch(report(1, 0, u64::MAX));
    let letters = [
        letter(Content::Fact(Box::new(Message::Intake(intake("a", &[])))), b"1"),
        letter(Content::Fact(Box::new(huge)), b"2"),
        letter(Content::Unusable, &vec![7; 1_000_000]),
        letter(Content::Mark, b"4"),
        letter(Content::Mark, b"4"),
    ];
    let buried = catalog.bury(&letters).await.unwrap();
    let fates: Vec<_> = buried.fates.into_iter().collect();
    assert_eq!(fates, [(Fate::Written, 1), (Fate::Needless, 1), (Fate::Kept, 2)]);
    assert_eq!(buried.completed, [digest("a")]);
    let all = FailureFilter::default();
    let kept = catalog.dead_letters(&all).await.unwrap();
    assert_eq!(kept.len(), 2);
    let long = kept.iter().find(|letter| letter.size == 1_000_000).unwrap();
    assert_eq!((long.body.len(), long.reason.as_str()), (256 * 1024, "no\u{fffd} reason"));
    assert_eq!(catalog.status(at(0)).await.unwrap().dead_letters, 2);
    assert_eq!(catalog.audit().await.unwrap().dead_letters, 2);
    let later = FailureFilter { after: Some(at(11)), ..all.clone() };
    assert!(catalog.dead_letters(&later).await.unwrap().is_empty());
    assert_eq!(catalog.discard_letters(&later).await.unwrap(), 0);
    assert_eq!(catalog.discard_letters(&all).await.unwrap(), 2);
    assert!(catalog.dead_letters(&all).await.unwrap().is_empty());
}

pub(crate) async fn an_answer_that_is_no_text_is_kept_byte_by_byte_and_spoils_no_other(
    world: World,
) {
    let catalog = world.open().await;
    let mut body = partial("a", OCR, done("marker"), 5).encode().unwrap();
    let place = body.windows(6).position(|part| part == b"marker").unwrap();
    body[place] = 0xff;
    let error = Message::decode(&body).unwrap_err();
    let letter = Letter {
        message_id: "1".to_owned(),
        queue: "ocelli.results".to_owned(),
        reason: error.to_string(),
        body: body.clone(),
        at: at(10),
        content: Content::Unusable,
    };
    catalog.apply(&[Message::Intake(intake("a", &[OCR]))]).await.unwrap();
    assert_eq!(bury(&catalog, &letter).await, [Fate::Kept]);
    let kept = catalog.dead_letters(&FailureFilter::default()).await.unwrap();
    assert_eq!((kept.len(), &kept[0].body), (1, &body));
    // The job is open, and its next answer is written.
    let applied = catalog.apply(&[partial("a", OCR, done("text"), 9)]).await.unwrap();
    assert_eq!(applied.completed, [digest("a")]);
}

async fn two_batches(catalog: &Catalog) {
    let mut second = intake("b", &[OCR]);
    second.sighting = Some(sighting("b", 5, 2));
    let messages = [
        Message::Intake(intake("a", &[OCR])),
        Message::Intake(second),
        partial("a", OCR, failed(FailureClass::Permanent, "broken"), 10),
        partial("b", OCR, failed(FailureClass::Crash, "killed"), 20),
    ];
    catalog.apply(&messages).await.unwrap();
}

pub(crate) async fn failures_are_found_by_batch_and_by_age(world: World) {
    let catalog = world.open().await;
    two_batches(&catalog).await;
    let all = FailureFilter::default();
    let found = async |filter: FailureFilter| {
        let listed = catalog.failures(&filter).await.unwrap();
        listed.into_iter().map(|failure| failure.digest).collect::<Vec<_>>()
    };
    let (a, b) = (digest("a"), digest("b"));
    assert_eq!(found(FailureFilter { batch: Some(batch(2)), ..all.clone() }).await, [b]);
    assert_eq!(found(FailureFilter { batch: Some(batch(3)), ..all.clone() }).await, []);
    assert_eq!(found(FailureFilter { before: Some(at(20)), ..all.clone() }).await, [a]);
    assert_eq!(found(FailureFilter { after: Some(at(20)), ..all.clone() }).await, [b]);
    let neither = FailureFilter { after: Some(at(11)), before: Some(at(20)), ..all.clone() };
    assert_eq!(found(neither.clone()).await, []);
    assert!(catalog.reopen_failures(&neither).await.unwrap().is_empty());
    let first = FailureFilter { batch: Some(batch(1)), ..all };
    assert_eq!(catalog.reopen_failures(&first).await.unwrap(), [(a, name(OCR))]);
}

pub(crate) async fn a_discarded_failure_is_a_skip_that_no_duplicate_brings_back(world: World) {
    let catalog = world.open().await;
    two_batches(&catalog).await;
    let first = FailureFilter { batch: Some(batch(1)), ..FailureFilter::default() };
    assert_eq!(catalog.discard_failures(&first).await.unwrap(), 1);
    assert_eq!(catalog.discard_failures(&first).await.unwrap(), 0);
    catalog
        .apply(&[partial("a", OCR, failed(FailureClass::Permanent, "broken"), 10)])
        .await
        .unwrap();
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    let skipped =
        Outcome::Skipped { rule: "discarded".to_owned(), reason: "permanent: broken".to_owned() };
    assert_eq!(record.current(&name(OCR)).unwrap().outcome, skipped);
    assert!(record.is_complete());
    let history = catalog.history(&digest("a")).await.unwrap();
    assert_eq!(history.events[0].kind, "failure discarded");
    assert_eq!(history.events[0].detail["reason"], "broken");
    let ocr = catalog.status(at(0)).await.unwrap().analyzers[&name(OCR)].clone();
    assert_eq!((ocr.skipped, ocr.failed, ocr.open), (1, 1, 0));
    // A reading that comes after all is worth more.
    catalog.apply(&[partial("a", OCR, done("read"), 30)]).await.unwrap();
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.current(&name(OCR)).unwrap().outcome, done("read"));
    assert_eq!(problems(&catalog).await, Vec::<String>::new());
}

pub(crate) async fn every_batch_is_accounted_for_whatever_was_seen_before(world: World) {
    let catalog = world.open().await;
    let seen = |image: &str, seconds, number, analyzers: &[&str]| {
        let mut seen = intake(image, analyzers);
        seen.sighting = Some(sighting(image, seconds, number));
        Message::Intake(seen)
    };
    let mut refused = intake("no image", &[]);
    refused.refusal = Some("a text file".to_owned());
    let end = |number, known, accepted| {
        let mut end = report(number, 50, accepted);
        (end.finished, end.known) = (true, known);
        Message::Batch(end)
    };
    let messages = [
        seen("a", 1, 1, &[OCR, LLM]),
        seen("b", 2, 1, &[OCR, LLM]),
        Message::Intake(refused),
        end(1, 0, 3),
        // The second run sees one of them again, earlier, and a new one.
        seen("a", 0, 2, &[]),
        seen("c", 3, 2, &[OCR]),
        end(2, 1, 2),
        partial("a", OCR, done("read"), 10),
        partial("b", OCR, Outcome::Empty, 10),
        partial("b", LLM, failed(FailureClass::Quality, "repeats"), 10),
    ];
    catalog.apply(&messages).await.unwrap();
    catalog.apply(&messages).await.unwrap();
    let audit = catalog.audit().await.unwrap();
    assert_eq!(audit.problems, Vec::<String>::new());
    let [second, first] = &audit.batches[..] else { panic!("{:?}", audit.batches) };
    assert_eq!((first.reported, first.references, first.images), (3, 3, 3));
    let ocr = &first.analyzers[&name(OCR)];
    assert_eq!((ocr.accepted, ocr.done, ocr.empty, ocr.refused), (3, 1, 1, 1));
    let llm = &first.analyzers[&name(LLM)];
    assert_eq!((llm.accepted, llm.failed, llm.refused, llm.open), (3, 1, 1, 1));
    let ocr = &second.analyzers[&name(OCR)];
    assert_eq!((ocr.accepted, ocr.done, ocr.open), (2, 1, 1));
    // A reference that was confirmed to the producer and is not here.
    catalog.apply(&[end(3, 0, 1)]).await.unwrap();
    let found = problems(&catalog).await;
    assert!(found.len() == 1 && found[0].contains("accepted 1 references"), "{found:?}");
}

/// Runs a statement behind the catalog's back.
async fn damage(world: &World, statement: &'static str) {
    match world.url.strip_prefix("sqlite:") {
        Some(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query(statement).execute(&mut other).await.unwrap();
        }
        None => {
            let mut other = sqlx::PgConnection::connect(&world.url).await.unwrap();
            sqlx::query(statement).execute(&mut other).await.unwrap();
        }
    }
}

pub(crate) async fn a_record_that_is_noted_as_complete_too_early_is_found_out(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[Message::Intake(intake("a", &[OCR]))]).await.unwrap();
    damage(&world, "UPDATE images SET complete = (1 = 1)").await;
    assert_eq!(
        problems(&catalog).await,
        ["1 images are noted as complete although a want is open"]
    );
}

pub(crate) async fn a_damaged_catalog_is_found_out(world: World) {
    let catalog = world.open().await;
    two_batches(&catalog).await;
    catalog
        .apply(&[Message::Intake(intake("c", &[OCR])), partial("c", OCR, done("read"), 5)])
        .await
        .unwrap();
    assert_eq!(problems(&catalog).await, Vec::<String>::new());
    // Each makes one thing wrong that the one before did not.
    let damages = [
        ("UPDATE images SET complete = (1 = 0)", "noted as incomplete"),
        ("DELETE FROM analyses WHERE kind = 'done'", "not there or not of that kind"),
        ("DELETE FROM wants WHERE state = 'done'", "noted as incomplete"),
        ("UPDATE wants SET state = 'open', answer = NULL", "noted as open although"),
        (
            "INSERT INTO sighting_meta (digest, source_key, name, batch, text, text_key) \
             SELECT digest, substr(digest, 1, 16), 'n', substr(digest, 1, 16), 't', substr(digest, 1, 16) FROM images",
            "metadata belongs to no sighting",
        ),
        ("DELETE FROM sightings", "were seen nowhere"),
        ("DELETE FROM images", "belong to no row of images"),
    ];
    for (statement, words) in damages {
        damage(&world, statement).await;
        let found = problems(&catalog).await;
        assert!(found.iter().any(|problem| problem.contains(words)), "{statement}: {found:?}");
        if statement.contains("analyses") {
            assert!(found.iter().any(|problem| problem.contains("accounted for")), "{found:?}");
        }
    }
}
