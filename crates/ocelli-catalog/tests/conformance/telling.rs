//! Cases about who is told of complete records, on both backends.

use std::collections::BTreeSet;
use std::time::Duration;

use ocelli_catalog::query::Query;
use ocelli_catalog::{BatchOrder, Catalog, Due, Retry};
use ocelli_core::wire::Message;
use ocelli_core::{Digest, FailureClass};

use crate::words::*;
use crate::world::World;

/// Longer than a case takes.
const LEASE: Duration = Duration::from_secs(600);

async fn due(catalog: &Catalog, listener: &str, lease: Duration) -> Vec<Due> {
    catalog.take_due(listener, lease, 100).await.unwrap()
}

fn images(due: &[Due]) -> BTreeSet<Digest> {
    due.iter().map(|one| one.digest).collect()
}

/// A record that is complete with its answer.
async fn complete(catalog: &Catalog, image: &str) {
    let answer = partial(image, OCR, done("a word"), 5);
    catalog.apply(&[Message::Intake(intake(image, &[OCR])), answer]).await.unwrap();
}

/// What a listener waits for, and what was given up.
async fn state(catalog: &Catalog, listener: &str) -> (u64, u64) {
    let states = catalog.listeners().await.unwrap();
    let state = states.iter().find(|state| state.name == listener).unwrap();
    (state.waiting, state.dead)
}

pub(crate) async fn whatever_completes_a_record_is_told_to_every_listener(world: World) {
    let catalog = world.open().await;
    complete(&catalog, "before anybody listens").await;
    assert!(catalog.listen("a", at(0)).await.unwrap());
    assert!(!catalog.listen("a", at(1)).await.unwrap(), "it is known");
    catalog.listen("b", at(0)).await.unwrap();
    let ask = |image: &str| Message::Intake(intake(image, &[OCR]));
    catalog.apply(&[ask("answered"), ask("failed"), ask("withdrawn")]).await.unwrap();
    assert!(due(&catalog, "a", LEASE).await.is_empty(), "none is complete");
    let failure = failed(FailureClass::Permanent, "broken");
    catalog
        .apply(&[partial("answered", OCR, done("x"), 5), partial("failed", OCR, failure, 6)])
        .await
        .unwrap();
    let mut refused = intake("refused", &[OCR]);
    refused.refusal = Some("too large".to_owned());
    catalog.apply(&[Message::Intake(refused)]).await.unwrap();
    catalog.order_batch(batch(1), BatchOrder::Cancelled, at(9)).await.unwrap();
    catalog.withdraw_batch(batch(1), None, 100).await.unwrap();
    // The same messages once more complete nothing.
    catalog.apply(&[partial("answered", OCR, done("x"), 5)]).await.unwrap();

    let all = ["answered", "failed", "refused", "withdrawn"];
    let all: BTreeSet<Digest> = all.iter().map(|image| Digest::of(image.as_bytes())).collect();
    for listener in ["a", "b"] {
        let taken = due(&catalog, listener, LEASE).await;
        assert_eq!(images(&taken), all, "{listener}");
        assert!(taken.iter().all(|one| one.attempts == 0 && one.waits < LEASE), "{taken:?}");
        assert!(due(&catalog, listener, LEASE).await.is_empty(), "somebody has them");
        assert_eq!(state(&catalog, listener).await, (4, 0));
        catalog.note_told(listener, &taken, &[]).await.unwrap();
        assert_eq!(state(&catalog, listener).await, (0, 0));
    }
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn a_record_that_completes_again_while_it_is_told_is_told_again(world: World) {
    let catalog = world.open().await;
    catalog.listen("a", at(0)).await.unwrap();
    complete(&catalog, "x").await;
    let first = due(&catalog, "a", LEASE).await;
    let mut again = intake("x", &[]);
    again.wants = vec![want(OCR, 2)];
    again.enqueued_at = at(50);
    catalog.apply(&[Message::Intake(again)]).await.unwrap();
    let mut answer = partial("x", OCR, done("another word"), 60);
    let Message::Partial(partial) = &mut answer else { unreachable!() };
    partial.analysis.revision = revision(2);
    catalog.apply(&[answer]).await.unwrap();
    // Whoever told the first completion does not take the second one out, nor puts it off.
    catalog.note_told("a", &first, &[]).await.unwrap();
    let late = [(first[0].clone(), "late".to_owned(), Retry::Never)];
    catalog.note_told("a", &[], &late).await.unwrap();
    let second = due(&catalog, "a", LEASE).await;
    assert_eq!(images(&second), images(&first));
    assert!(second[0].completed_at > first[0].completed_at, "{second:?} {first:?}");
    catalog.note_told("a", &second, &[]).await.unwrap();
    assert_eq!(state(&catalog, "a").await, (0, 0));
}

pub(crate) async fn what_is_not_taken_is_tried_again_and_what_is_given_up_waits_for_people(
    world: World,
) {
    let catalog = world.open().await;
    catalog.listen("a", at(0)).await.unwrap();
    complete(&catalog, "x").await;
    // Whoever took it died: nobody notes anything.
    assert_eq!(due(&catalog, "a", Duration::ZERO).await.len(), 1);
    let taken = due(&catalog, "a", Duration::ZERO).await.remove(0);
    let soon = (taken.clone(), "500 \u{0} and more".to_owned(), Retry::After(Duration::ZERO));
    catalog.note_told("a", &[], &[soon]).await.unwrap();
    let taken = due(&catalog, "a", Duration::ZERO).await.remove(0);
    assert_eq!(taken.attempts, 1);
    let later = (taken.clone(), "500".to_owned(), Retry::After(LEASE));
    catalog.note_told("a", &[], &[later]).await.unwrap();
    assert!(due(&catalog, "a", LEASE).await.is_empty(), "not before its time");
    let never = (taken, "for days".to_owned(), Retry::Never);
    catalog.note_told("a", &[], &[never]).await.unwrap();
    assert!(due(&catalog, "a", LEASE).await.is_empty());
    assert_eq!(state(&catalog, "a").await, (0, 1));
    let states = catalog.listeners().await.unwrap();
    assert_eq!(states[0].reason.as_deref(), Some("for days"));
    assert_eq!(states[0].oldest, None, "nothing waits");

    assert_eq!(catalog.tell_again("a", at(0)).await.unwrap(), 1);
    assert_eq!(catalog.tell_again("a", at(0)).await.unwrap(), 0);
    let taken = due(&catalog, "a", Duration::ZERO).await.remove(0);
    assert_eq!(taken.attempts, 0);
    // One that was given up is alive again when its record completes once more.
    let never = (taken, "for days".to_owned(), Retry::Never);
    catalog.note_told("a", &[], &[never]).await.unwrap();
    let mut again = intake("x", &[]);
    again.wants = vec![want(LLM, 1)];
    again.enqueued_at = at(50);
    let answer = partial("x", LLM, done("another word"), 60);
    catalog.apply(&[Message::Intake(again)]).await.unwrap();
    catalog.apply(&[answer]).await.unwrap();
    assert_eq!(due(&catalog, "a", LEASE).await.len(), 1);
    assert_eq!(catalog.forget_listener("a").await.unwrap(), Some(1));
    assert_eq!(catalog.forget_listener("a").await.unwrap(), None);
    complete(&catalog, "y").await;
    assert!(catalog.listeners().await.unwrap().is_empty());
}

pub(crate) async fn of_any_number_that_tell_at_once_one_gets_each(world: World) {
    let catalog = world.open().await;
    catalog.listen("a", at(0)).await.unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("image {number}")).collect();
    let messages: Vec<Message> = names
        .iter()
        .flat_map(|image| {
            [Message::Intake(intake(image, &[OCR])), partial(image, OCR, done("x"), 5)]
        })
        .collect();
    catalog.apply(&messages).await.unwrap();
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let catalog = catalog.clone();
        takers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let taken = catalog.take_due("a", LEASE, 3).await.unwrap();
                if taken.is_empty() {
                    return mine;
                }
                mine.extend(taken);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(taken) = takers.join_next().await {
        all.extend(taken.unwrap());
    }
    assert_eq!((all.len(), images(&all).len()), (40, 40));
}

pub(crate) async fn of_some_records_those_that_match_are_told_apart(world: World) {
    let catalog = world.open().await;
    for (image, text) in [("a", "an invoice"), ("b", "a letter"), ("c", "another invoice")] {
        let answer = partial(image, OCR, done(text), 5);
        catalog.apply(&[Message::Intake(intake(image, &[OCR])), answer]).await.unwrap();
    }
    let digests = ["a", "b"].map(|image| Digest::of(image.as_bytes()));
    let query = Query::parse("invoice").unwrap();
    let found = catalog.matching(&query, &digests).await.unwrap();
    assert_eq!(found, BTreeSet::from([digests[0]]));
    let found = catalog.matching(&Query::parse("-invoice is:complete").unwrap(), &digests).await;
    assert_eq!(found.unwrap(), BTreeSet::from([digests[1]]));
    assert!(catalog.matching(&query, &[]).await.unwrap().is_empty());
}
