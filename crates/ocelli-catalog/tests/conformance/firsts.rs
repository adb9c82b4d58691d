//! Jobs that are for the first of near-identical images only.

use ocelli_catalog::search::Sort;
use ocelli_catalog::{BatchOrder, Catalog, FailureFilter, Firsts, Hold, SAME_RULE, SeenJob};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Dependence, Digest, FailureClass, Need, Outcome};

use crate::searching::ask;
use crate::words::*;
use crate::world::World;

const BITS: u64 = 0x83c3_b0e0_f0b8_f8f0;

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

/// An image of which [`LLM`] is asked as the first of those within a distance of 6, seen by this batch.
fn held(image: &str, bits: u64, number: u128) -> Message {
    let need = Need {
        analyzer: name(LLM),
        of: Vec::new(),
        held: true,
        near: Some(6),
        rules: Vec::new(),
        after: Vec::new(),
    };
    Message::Intake(Intake {
        sighting: Some(sighting(image, 0, number)),
        dependence: Dependence { needs: vec![need], texts: Vec::new(), ..Dependence::default() },
        hash: Some(format!("dct1:{bits:016x}").parse().unwrap()),
        ..intake(image, &[LLM])
    })
}

async fn ready(catalog: &Catalog) -> Vec<SeenJob> {
    let jobs = catalog.ready_jobs(&name(LLM), at(0), 1_000).await.unwrap();
    jobs.iter().map(|job| (job.image.digest, job.analyzer.clone(), job.enqueued_at)).collect()
}

/// What a collector does when it looks: decides, and notes as enqueued what is to be asked.
async fn turn(catalog: &Catalog, seconds: i64) -> Firsts {
    catalog.wake_waiting().await.unwrap();
    let jobs = ready(catalog).await;
    let firsts = catalog.take_first(&name(LLM), &jobs, at(seconds)).await.unwrap();
    let taken: Vec<SeenJob> = firsts
        .taken
        .iter()
        .map(|(digest, analyzer)| (*digest, analyzer.clone(), at(seconds)))
        .collect();
    catalog.note_enqueued(&taken, at(seconds)).await.unwrap();
    firsts
}

fn counts(firsts: &Firsts) -> (usize, u64, u64) {
    (firsts.taken.len(), firsts.same, firsts.waiting)
}

/// The only image that is asked.
fn asked(firsts: &Firsts) -> Digest {
    assert_eq!(firsts.taken.len(), 1, "{firsts:?}");
    firsts.taken.first().unwrap().0
}

fn named(image: Digest, names: &[&'static str]) -> &'static str {
    names.iter().copied().find(|name| digest(name) == image).unwrap()
}

async fn sound(catalog: &Catalog) {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

/// What the record says for [`LLM`]: the rule and reason of a skip.
async fn skip(catalog: &Catalog, image: &str) -> Option<(String, String)> {
    let record = catalog.record(&digest(image)).await.unwrap().unwrap();
    match &record.current(&name(LLM))?.outcome {
        Outcome::Skipped { rule, reason } => Some((rule.clone(), reason.clone())),
        _ => None,
    }
}

const NEAR: [&str; 3] = ["a", "b", "c"];

pub(crate) async fn of_near_images_one_is_asked_and_the_others_point_to_it(world: World) {
    let catalog = world.open().await;
    let all =
        [held("a", BITS, 1), held("b", BITS ^ 7, 1), held("c", BITS ^ 56, 1), held("d", !BITS, 1)];
    assert_eq!(catalog.apply(&all).await.unwrap().ready, 4);
    let first = turn(&catalog, 10).await;
    assert_eq!(counts(&first), (2, 0, 2), "one of three, and the one that is like none");
    assert!(first.taken.contains(&(digest("d"), name(LLM))));
    let status = &catalog.status(at(10)).await.unwrap().analyzers[&name(LLM)];
    assert_eq!((status.open, status.waiting_for["a near-identical image"]), (4, 2));
    sound(&catalog).await;
    assert_eq!(counts(&turn(&catalog, 11).await), (0, 0, 0), "nothing has changed");

    let one = first.taken.iter().find(|(image, _)| *image != digest("d")).unwrap().0;
    let one = named(one, &NEAR);
    let others: Vec<&str> = NEAR.into_iter().filter(|name| *name != one).collect();
    let waiting = catalog.open_job(&digest(others[0]), &name(LLM)).await.unwrap().unwrap();
    assert_eq!(waiting.hold, Some(Hold::Needs));
    let answer = partial(one, LLM, done("a cat"), 20);
    assert_eq!(catalog.apply(std::slice::from_ref(&answer)).await.unwrap().firsts, 1);
    // As good as ready, also before anybody has looked: whoever waits for the end must not take it for one that waits.
    let waiting = catalog.open_job(&digest(others[0]), &name(LLM)).await.unwrap().unwrap();
    assert_eq!(waiting.hold, Some(Hold::Ready));
    let second = turn(&catalog, 21).await;
    assert_eq!((counts(&second), second.completed.len()), ((0, 2, 0), 2));
    for other in &others {
        let said = (SAME_RULE.to_owned(), format!("same as {}", digest(one)));
        assert_eq!(skip(&catalog, other).await, Some(said));
    }
    let status = catalog.status(at(30)).await.unwrap();
    let row = &status.analyzers[&name(LLM)];
    assert_eq!((row.done, row.skipped, row.open, status.complete), (1, 2, 1, 3));
    assert_eq!(ask(&catalog, "is:same", Sort::Newest).await.total.records, 2);
    assert_eq!(ask(&catalog, "is:skipped -is:same", Sort::Newest).await.total.records, 0);
    sound(&catalog).await;

    // Everything once more, and late: nothing changes, nothing is asked.
    catalog.apply(&all).await.unwrap();
    catalog.apply(&[answer]).await.unwrap();
    assert_eq!(counts(&turn(&catalog, 40).await), (0, 0, 0));
    // Another one that comes when all is answered points at once, and not to one that points.
    catalog.apply(&[held("e", BITS ^ 7, 2)]).await.unwrap();
    assert_eq!(counts(&turn(&catalog, 41).await), (0, 1, 0));
    assert_eq!(skip(&catalog, "e").await.unwrap().1, format!("same as {}", digest(one)));
    sound(&catalog).await;
}

pub(crate) async fn when_the_first_fails_the_next_of_its_like_is_asked(world: World) {
    let catalog = world.open().await;
    let all = NEAR.map(|image| held(image, BITS, 1));
    catalog.apply(&all).await.unwrap();
    let first = named(asked(&turn(&catalog, 10).await), &NEAR);
    let broken = failed(FailureClass::Permanent, "the server refuses the image");
    catalog.apply(&[partial(first, LLM, broken, 20)]).await.unwrap();
    let next = turn(&catalog, 21).await;
    assert_eq!(counts(&next), (1, 0, 1), "one more is asked, not all");
    let second = named(asked(&next), &NEAR);
    assert_ne!(first, second);
    sound(&catalog).await;
    catalog.apply(&[partial(second, LLM, Outcome::Empty, 30)]).await.unwrap();
    assert_eq!(counts(&turn(&catalog, 31).await), (0, 1, 0));
    let third = NEAR.into_iter().find(|name| ![first, second].contains(name)).unwrap();
    assert_eq!(skip(&catalog, third).await.unwrap().1, format!("same as {}", digest(second)));
    // The failure stays one, and can be tried again.
    let failures = catalog.failures(&FailureFilter::default()).await.unwrap();
    assert_eq!(failures.iter().map(|one| one.digest).collect::<Vec<_>>(), [digest(first)]);
    assert_eq!(catalog.reopen_failures(&FailureFilter::default()).await.unwrap().len(), 1);
    catalog.apply(&[partial(first, LLM, done("a cat"), 50)]).await.unwrap();
    let status = catalog.status(at(60)).await.unwrap();
    assert_eq!((status.complete, status.analyzers[&name(LLM)].skipped), (3, 1));
    sound(&catalog).await;
}

pub(crate) async fn when_the_first_is_taken_back_another_is_asked(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[1, 2].map(|number| Message::Batch(report(number, 1, 0)))).await.unwrap();
    catalog.apply(&[held("a", BITS, 1)]).await.unwrap();
    assert_eq!(asked(&turn(&catalog, 10).await), digest("a"));
    catalog.apply(&[held("b", BITS, 2), held("c", BITS, 2)]).await.unwrap();
    assert_eq!(counts(&turn(&catalog, 11).await), (0, 0, 2));
    assert!(catalog.order_batch(batch(1), BatchOrder::Cancelled, at(12)).await.unwrap());
    assert_eq!(catalog.withdraw_batch(batch(1), None, 10).await.unwrap().jobs, 1);
    assert_eq!(counts(&turn(&catalog, 13).await), (1, 0, 1));
    sound(&catalog).await;
}

pub(crate) async fn of_near_images_at_two_collectors_at_once_one_is_asked(world: World) {
    let catalogs = [world.open().await, world.open().await];
    // Two producers: each has a dozen copies that the other does not know.
    let names: Vec<String> = (0..24).map(|number| format!("copy {number}")).collect();
    let copies: Vec<Message> = names.iter().map(|name| held(name, BITS, 1)).collect();
    let (one, other) = copies.split_at(12);
    let (left, right) = tokio::join!(catalogs[0].apply(one), catalogs[1].apply(other));
    assert_eq!(left.unwrap().ready + right.unwrap().ready, 24);
    let jobs = ready(&catalogs[0]).await;
    // Each decides about all of them.
    let llm = name(LLM);
    let (left, right) = tokio::join!(
        catalogs[0].take_first(&llm, &jobs, at(10)),
        catalogs[1].take_first(&llm, &jobs, at(11))
    );
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(left.taken.len() + right.taken.len(), 1, "{left:?} {right:?}");
    assert_eq!(left.waiting + right.waiting, 23);
    sound(&catalogs[0]).await;
}

pub(crate) async fn an_answer_of_another_revision_stands_for_no_other_image(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[held("a", BITS, 1)]).await.unwrap();
    turn(&catalog, 10).await;
    catalog.apply(&[partial("a", LLM, done("a cat"), 20)]).await.unwrap();
    // The next model is asked anew, once; those that come with the old one are not.
    let newer = |image: &str| {
        let Message::Intake(intake) = held(image, BITS, 2) else { unreachable!() };
        Message::Intake(Intake { wants: vec![want(LLM, 2)], enqueued_at: at(30), ..intake })
    };
    catalog.apply(&[newer("b"), newer("c"), held("d", BITS, 2)]).await.unwrap();
    assert_eq!(counts(&turn(&catalog, 31).await), (1, 1, 1));
    assert_eq!(skip(&catalog, "d").await.unwrap().1, format!("same as {}", digest("a")));
    sound(&catalog).await;
}

pub(crate) async fn what_cannot_be_compared_and_what_needs_others_keep_their_ways(world: World) {
    let catalog = world.open().await;
    let Message::Intake(blank) = held("a", BITS, 1) else { unreachable!() };
    let blank = Intake { hash: None, ..blank };
    // It also needs OCR: its turn comes when that has answered.
    let Message::Intake(mut needing) = held("b", !BITS, 1) else { unreachable!() };
    needing.wants.push(want(OCR, 1));
    needing.dependence.needs[0].of = vec![name(OCR)];
    catalog.apply(&[Message::Intake(blank), Message::Intake(needing)]).await.unwrap();
    assert_eq!(asked(&turn(&catalog, 10).await), digest("a"));
    catalog.apply(&[partial("b", OCR, done("cat"), 20)]).await.unwrap();
    assert_eq!(asked(&turn(&catalog, 21).await), digest("b"));
    sound(&catalog).await;
}
