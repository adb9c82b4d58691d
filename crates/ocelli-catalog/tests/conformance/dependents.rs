//! Jobs that wait for what other analyzers answer.

use std::collections::BTreeSet;

use ocelli_catalog::{Catalog, FailureFilter, Hold};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Dependence, Digest, FailureClass, Need, NeededText, Outcome, OutcomeKind};

use crate::words::*;
use crate::world::World;

const READER: &str = "reader";

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

/// An intake whose analyzer READER needs OCR and LLM, and whose sender left it to the collector.
fn held(image: &str, analyzers: &[&str]) -> Message {
    let need = Need {
        analyzer: name(READER),
        of: vec![name(OCR), name(LLM)],
        held: true,
        near: None,
        rules: Vec::new(),
        after: Vec::new(),
    };
    let dependence = Dependence { needs: vec![need], texts: Vec::new(), ..Dependence::default() };
    Message::Intake(Intake { dependence, ..intake(image, analyzers) })
}

async fn hold(catalog: &Catalog, image: &str) -> Option<Hold> {
    catalog.open_job(&digest(image), &name(READER)).await.unwrap().unwrap().hold
}

async fn ready(catalog: &Catalog) -> usize {
    catalog.ready_jobs(&name(READER), at(1_000), 10).await.unwrap().len()
}

async fn sound(catalog: &Catalog) {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn a_dependent_job_is_ready_with_the_last_answer_it_needs_and_taken_once(
    world: World,
) {
    let catalog = world.open().await;
    let first = catalog.apply(&[held("a", &[OCR, LLM, READER])]).await.unwrap();
    assert_eq!((first.ready, hold(&catalog, "a").await), (0, Some(Hold::Needs)));
    let waiting = &catalog.status(at(1)).await.unwrap().analyzers[&name(READER)].waiting_for;
    assert_eq!(waiting.iter().next(), Some((&format!("{OCR}, {LLM}"), &1)));
    sound(&catalog).await;
    let one = catalog.apply(&[partial("a", OCR, done("Grüße"), 5)]).await.unwrap();
    assert_eq!((one.ready, ready(&catalog).await), (0, 0));
    let failed = partial("a", LLM, failed(FailureClass::Permanent, "no"), 6);
    let both = catalog.apply(std::slice::from_ref(&failed)).await.unwrap();
    assert_eq!((both.ready, hold(&catalog, "a").await), (1, Some(Hold::Ready)));
    // The same message once more is no second event.
    assert_eq!(catalog.apply(&[failed]).await.unwrap().ready, 0);
    assert_eq!(catalog.ready_analyzers().await.unwrap(), BTreeSet::from([name(READER)]));

    let page = catalog.ready_jobs(&name(READER), at(1_000), 10).await.unwrap();
    let seen = [(digest("a"), name(READER), page[0].enqueued_at)];
    let (mine, yours) =
        tokio::join!(catalog.take_ready(&seen, at(100)), catalog.take_ready(&seen, at(101)));
    let (mine, yours) = (mine.unwrap().len(), yours.unwrap().len());
    assert_eq!(mine + yours, 1, "of two at once one gets it");
    let taken_at = if mine == 1 { at(100) } else { at(101) };
    assert_eq!(ready(&catalog).await, 1, "taken before that time and never enqueued");
    let early = catalog.ready_jobs(&name(READER), at(50), 10).await.unwrap();
    assert!(early.is_empty(), "somebody is enqueueing it");
    catalog.note_enqueued(&[(digest("a"), name(READER), taken_at)], at(102)).await.unwrap();
    let job = catalog.open_job(&digest("a"), &name(READER)).await.unwrap().unwrap();
    assert_eq!((job.hold, job.enqueued_at, ready(&catalog).await), (None, at(102), 0));
    assert_eq!(job.needs, [name(OCR), name(LLM)]);
    // What was asked once more is in its queue already.
    catalog.apply(&[held("a", &[OCR, LLM, READER])]).await.unwrap();
    assert_eq!(hold(&catalog, "a").await, None);
    let last = catalog.apply(&[partial("a", READER, done("yes"), 9)]).await.unwrap();
    assert_eq!(last.completed, [digest("a")]);
    sound(&catalog).await;
}

pub(crate) async fn a_dependent_job_over_known_answers_is_ready_at_once_in_any_order(world: World) {
    let catalog = world.open().await;
    let answers = [partial("a", OCR, done("x"), 5), partial("a", LLM, Outcome::Empty, 6)];
    catalog.apply(&[Message::Intake(intake("a", &[OCR, LLM]))]).await.unwrap();
    catalog.apply(&answers).await.unwrap();
    assert_eq!(catalog.apply(&[held("a", &[READER])]).await.unwrap().ready, 1);
    // The answers came before anything was asked.
    let early = [partial("b", LLM, Outcome::Empty, 5), partial("b", OCR, done("x"), 6)];
    catalog.apply(&early).await.unwrap();
    assert_eq!(catalog.apply(&[held("b", &[OCR, LLM, READER])]).await.unwrap().ready, 1);
    // All in one transaction.
    let mut all = vec![held("c", &[OCR, LLM, READER])];
    all.extend([partial("c", OCR, done("x"), 5), partial("c", LLM, done("y"), 6)]);
    assert_eq!(catalog.apply(&all).await.unwrap().ready, 1);
    let Message::Intake(refused) = held("d", &[OCR, LLM, READER]) else { unreachable!() };
    let refused = Intake { refusal: Some("too large".to_owned()), ..refused };
    let applied = catalog.apply(&[Message::Intake(refused)]).await.unwrap();
    assert_eq!((applied.ready, applied.completed.len()), (0, 1), "nothing is asked of it");
    sound(&catalog).await;
}

pub(crate) async fn a_failure_that_is_tried_again_holds_what_needs_it(world: World) {
    let catalog = world.open().await;
    let no = || failed(FailureClass::Permanent, "no");
    let all = [
        held("a", &[OCR, LLM, READER]),
        partial("a", OCR, no(), 5),
        partial("a", LLM, done("y"), 6),
        partial("a", READER, no(), 7),
    ];
    catalog.apply(&all).await.unwrap();
    let opened = catalog.reopen_failures(&FailureFilter::default()).await.unwrap();
    assert_eq!((opened.len(), hold(&catalog, "a").await), (2, Some(Hold::Needs)));
    sound(&catalog).await;
    let again = catalog.apply(&[partial("a", OCR, done("now"), 50)]).await.unwrap();
    assert_eq!(again.ready, 1);
    sound(&catalog).await;
}

pub(crate) async fn needed_texts_are_the_wanted_answers_cut_between_characters(world: World) {
    let catalog = world.open().await;
    let long = format!("grüße {}", "ü".repeat(10_000));
    let messages = [
        Message::Intake(intake("a", &[OCR, LLM])),
        partial("a", OCR, done(&long), 5),
        partial("a", LLM, failed(FailureClass::Crash, "killed"), 5),
        Message::Intake(intake("b", &[OCR])),
    ];
    catalog.apply(&messages).await.unwrap();
    let (digests, names) = ([digest("a"), digest("b")], BTreeSet::from([name(OCR), name(LLM)]));
    let texts = catalog.needed_texts(&digests, &names, 4).await.unwrap();
    let cut = NeededText {
        analyzer: name(OCR),
        outcome: OutcomeKind::Done,
        text: "grü".to_owned(),
        cut: true,
    };
    assert_eq!(texts.get(&(digest("a"), name(OCR))), Some(&cut));
    let none = &texts[&(digest("a"), name(LLM))];
    assert_eq!((none.outcome, none.text.as_str(), none.cut), (OutcomeKind::Failed, "", false));
    assert_eq!(texts.len(), 2, "b has no answer");
    let whole = catalog.needed_texts(&digests, &names, 1_000_000).await.unwrap();
    assert_eq!(whole[&(digest("a"), name(OCR))].text, long);
}
