//! Cases about batches that people pause, resume or cancel, on both backends.

use ocelli_catalog::{BatchOrder, Catalog, FailureFilter, Known};
use ocelli_core::claim::{Bookings, Claim, ClaimRequest};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{BatchId, Digest, FailureClass};

use crate::claims::{attempt, is_free, job};
use crate::words::*;
use crate::world::World;

/// What a worker is told about a job of [`LLM`] that came with this batch, with a claim and without.
async fn told(catalog: &Catalog, image: &str, came_with: Option<BatchId>) -> Claim {
    let request = ClaimRequest {
        job: job(image),
        attempt: attempt(1),
        holder: "host:1".to_owned(),
        batch: came_with,
        lease: None,
    };
    let looked = catalog.look(vec![request.clone()]).await.unwrap().remove(0);
    let bookings = Bookings { claims: vec![request], ..Bookings::default() };
    let answer = catalog.book(&bookings, &[]).await.unwrap().remove(0);
    assert_eq!(looked, answer, "both ways say the same");
    answer
}

/// An image that a batch saw and of which it asks an answer of [`LLM`].
fn seen(image: &str, number: u128) -> Message {
    let sighting = sighting(image, i64::try_from(number).unwrap(), number);
    Message::Intake(Intake { sighting: Some(sighting), ..intake(image, &[LLM]) })
}

async fn reported(catalog: &Catalog, numbers: &[u128]) {
    let reports: Vec<_> =
        numbers.iter().map(|number| Message::Batch(report(*number, 1, 0))).collect();
    catalog.apply(&reports).await.unwrap();
}

async fn order(catalog: &Catalog, number: u128, order: BatchOrder) -> bool {
    catalog.order_batch(batch(number), order, at(100)).await.unwrap()
}

async fn withdraw(catalog: &Catalog, number: u128) -> u64 {
    let (mut jobs, mut after) = (0, None);
    loop {
        let page = catalog.withdraw_batch(batch(number), after, 2).await.unwrap();
        jobs += page.jobs;
        after = page.last;
        if after.is_none() {
            return jobs;
        }
    }
}

async fn known(catalog: &Catalog, image: &str) -> Known {
    let digest = Digest::of(image.as_bytes());
    catalog.lookup(&[digest]).await.unwrap().remove(&digest).unwrap()
}

async fn assert_sound(catalog: &Catalog) {
    let audit = catalog.audit().await.unwrap();
    assert!(audit.problems.is_empty(), "{:?}", audit.problems);
}

pub(crate) async fn jobs_of_a_paused_batch_wait_and_those_of_others_go_on(world: World) {
    let catalog = world.open().await;
    reported(&catalog, &[1, 2]).await;
    catalog.apply(&[seen("a", 1), seen("b", 2), seen("both", 1), seen("both", 2)]).await.unwrap();
    assert!(!order(&catalog, 1, BatchOrder::Resumed).await, "it was not paused");
    assert!(order(&catalog, 1, BatchOrder::Paused).await);
    assert!(!order(&catalog, 1, BatchOrder::Paused).await, "it is paused already");
    let waits = |claim: &Claim| matches!(claim, Claim::Paused { all: false, .. });
    assert!(waits(&told(&catalog, "a", Some(batch(1))).await));
    assert!(waits(&told(&catalog, "a", None).await), "also a job that was enqueued again");
    assert!(
        waits(&told(&catalog, "unheard of", Some(batch(1))).await),
        "its sighting is on its way"
    );
    assert!(is_free(&told(&catalog, "b", Some(batch(2))).await));
    assert!(is_free(&told(&catalog, "both", Some(batch(1))).await), "another batch wants it");
    assert_eq!(catalog.open_of_paused_batches().await.unwrap()[&name(LLM)], 2);
    // A worker puts it off, for long.
    let put_off = |image: &str| {
        let Message::Deferred(mut note) = deferred(image, LLM, 0, 5_000) else { unreachable!() };
        note.class = FailureClass::Outage;
        Message::Deferred(note)
    };
    catalog.apply(&[put_off("a"), put_off("b")]).await.unwrap();
    assert!(order(&catalog, 1, BatchOrder::Resumed).await);
    assert!(is_free(&told(&catalog, "a", Some(batch(1))).await));
    let waited = catalog.postponed_of_batch(batch(1), at(200), None, 10).await.unwrap();
    assert_eq!(waited, [(Digest::of(b"a"), name(LLM))], "to be enqueued at once");
    let more = catalog.postponed_of_batch(batch(1), at(200), waited.last(), 10).await.unwrap();
    assert!(more.is_empty(), "{more:?}");
    catalog.forget_resumed(batch(1)).await.unwrap();
    assert!(catalog.batch_orders().await.unwrap().is_empty());
}

pub(crate) async fn what_only_a_cancelled_batch_wants_is_taken_back_and_everything_adds_up(
    world: World,
) {
    let catalog = world.open().await;
    reported(&catalog, &[1, 2]).await;
    let mut messages: Vec<Message> =
        (0..5).map(|n| Message::Intake(intake(&format!("{n}"), &[LLM, OCR]))).collect();
    messages.extend([seen("both", 1), seen("both", 2), seen("answered", 1)]);
    messages.push(partial("answered", LLM, done("read"), 1));
    messages.push(partial("0", OCR, done("read"), 1));
    catalog.apply(&messages).await.unwrap();
    assert!(order(&catalog, 1, BatchOrder::Cancelled).await);
    assert!(!order(&catalog, 1, BatchOrder::Paused).await, "that is final");
    assert!(!order(&catalog, 1, BatchOrder::Resumed).await);
    assert_eq!(catalog.batch_order(batch(1)).await.unwrap(), Some(BatchOrder::Cancelled));
    // Workers obey before anything is written.
    assert_eq!(told(&catalog, "1", Some(batch(1))).await, Claim::Withdrawn);
    assert_eq!(told(&catalog, "1", None).await, Claim::Withdrawn);
    assert_eq!(told(&catalog, "answered", Some(batch(1))).await, Claim::Done);
    assert!(is_free(&told(&catalog, "both", Some(batch(1))).await));

    assert_eq!(
        withdraw(&catalog, 1).await,
        9,
        "five images and two analyzers, one of them answered"
    );
    assert_eq!(withdraw(&catalog, 1).await, 0);
    assert_eq!(withdraw(&catalog, 2).await, 0, "it was not cancelled");
    assert_eq!(catalog.batch_orders().await.unwrap()[&batch(1)].withdrawn, 9);
    let status = catalog.status(at(0)).await.unwrap();
    assert_eq!((status.images, status.complete), (7, 6));
    assert_eq!(status.analyzers[&name(LLM)].open, 1);
    assert_eq!(status.analyzers[&name(OCR)].done, 1, "an answer stays");
    assert_sound(&catalog).await;
    // An answer of a worker that had begun is kept, and asks for nothing.
    catalog.apply(&[partial("2", LLM, done("read"), 9)]).await.unwrap();
    assert_eq!(catalog.status(at(0)).await.unwrap().analyzers[&name(LLM)].open, 1);
    assert_sound(&catalog).await;
}

pub(crate) async fn messages_of_a_cancelled_batch_that_come_late_ask_nothing(world: World) {
    let catalog = world.open().await;
    reported(&catalog, &[1, 2]).await;
    catalog.apply(&[seen("before", 1), seen("other", 2)]).await.unwrap();
    order(&catalog, 1, BatchOrder::Cancelled).await;
    assert_eq!(withdraw(&catalog, 1).await, 1);
    // One is delivered again, one comes for the first time, and one is of an image that another batch wants.
    catalog.apply(&[seen("before", 1), seen("late", 1), seen("other", 1)]).await.unwrap();
    assert!(known(&catalog, "before").await.open.is_empty());
    assert!(known(&catalog, "late").await.open.is_empty());
    assert_eq!(known(&catalog, "other").await.open, [name(LLM)].into());
    assert_eq!(catalog.status(at(0)).await.unwrap().images, 3, "they were seen all the same");
    assert_sound(&catalog).await;
}

pub(crate) async fn another_batch_asks_anew_for_what_a_cancelled_one_gave_up(world: World) {
    let catalog = world.open().await;
    reported(&catalog, &[1]).await;
    catalog.apply(&[seen("a", 1)]).await.unwrap();
    order(&catalog, 1, BatchOrder::Cancelled).await;
    assert_eq!(withdraw(&catalog, 1).await, 1);
    // Its job may be done before its sighting is written.
    assert!(is_free(&told(&catalog, "a", Some(batch(2))).await));
    reported(&catalog, &[2]).await;
    catalog.apply(&[seen("a", 2)]).await.unwrap();
    assert_eq!(known(&catalog, "a").await.open, [name(LLM)].into());
    assert!(is_free(&told(&catalog, "a", Some(batch(1))).await), "also an old copy");
    assert_eq!(withdraw(&catalog, 1).await, 0);
    assert_sound(&catalog).await;
}

pub(crate) async fn what_was_tried_again_by_hand_is_not_taken_back(world: World) {
    let catalog = world.open().await;
    reported(&catalog, &[1]).await;
    catalog.apply(&[seen("a", 1)]).await.unwrap();
    let failure = failed(FailureClass::Permanent, "no");
    catalog.apply(&[partial("a", LLM, failure, 1)]).await.unwrap();
    order(&catalog, 1, BatchOrder::Cancelled).await;
    catalog.reopen_failures(&FailureFilter::default()).await.unwrap();
    assert_eq!(withdraw(&catalog, 1).await, 0);
    assert!(is_free(&told(&catalog, "a", None).await));
    assert_sound(&catalog).await;
}
