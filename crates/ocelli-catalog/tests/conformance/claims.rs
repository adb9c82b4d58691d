//! Cases about who works on which job, on both backends.

use std::time::{Duration, Instant};

use ocelli_catalog::Catalog;
use ocelli_core::claim::{Bookings, Claim, ClaimRequest, Cost, Ended, JobKey, Paid, Renewal};
use ocelli_core::wire::Message;
use ocelli_core::{AttemptId, Budget, Digest, Limit, Period};

use crate::words::*;
use crate::world::World;

const LONG: Duration = Duration::from_secs(600);

pub(crate) fn job(image: &str) -> JobKey {
    JobKey { digest: Digest::of(image.as_bytes()), analyzer: name(LLM), revision: revision(1) }
}

pub(crate) fn attempt(number: u128) -> AttemptId {
    AttemptId::new(number)
}

fn request(image: &str, number: u128, lease: Duration) -> ClaimRequest {
    ClaimRequest {
        job: job(image),
        attempt: attempt(number),
        holder: format!("host:{number}"),
        batch: Some(batch(1)),
        lease: Some(lease),
    }
}

pub(crate) async fn claim(
    catalog: &Catalog,
    image: &str,
    number: u128,
    budgets: &[Budget],
) -> Claim {
    let bookings = Bookings { claims: vec![request(image, number, LONG)], ..Bookings::default() };
    catalog.book(&bookings, budgets).await.unwrap().remove(0)
}

pub(crate) async fn claim_for(
    catalog: &Catalog,
    image: &str,
    number: u128,
    lease: Duration,
) -> Claim {
    let bookings = Bookings { claims: vec![request(image, number, lease)], ..Bookings::default() };
    catalog.book(&bookings, &[]).await.unwrap().remove(0)
}

pub(crate) fn ended(image: &str, number: u128, answered: Option<Duration>) -> Ended {
    Ended { job: job(image), attempt: attempt(number), answered }
}

/// What one call cost.
pub(crate) fn cost(tokens: u64, micros: u64) -> Cost {
    Cost {
        model: Some("model".to_owned()),
        calls: 1,
        tokens_in: tokens,
        tokens_out: 0,
        micros,
        currency: Some("USD".to_owned()),
    }
}

/// Notes what an attempt has cost so far.
pub(crate) async fn note(catalog: &Catalog, image: &str, number: u128, cost: Cost) {
    let paid = vec![Paid { job: job(image), attempt: attempt(number), cost }];
    catalog.book(&Bookings { paid, ..Bookings::default() }, &[]).await.unwrap();
}

pub(crate) async fn end(catalog: &Catalog, ended: Ended) {
    catalog.book(&Bookings { ended: vec![ended], ..Bookings::default() }, &[]).await.unwrap();
}

pub(crate) fn is_free(claim: &Claim) -> bool {
    matches!(claim, Claim::Free { .. })
}

/// Asks until the answer is free.
pub(crate) async fn until_free(catalog: &Catalog, image: &str, number: u128) {
    let started = Instant::now();
    while !is_free(&claim(catalog, image, number, &[]).await) {
        assert!(started.elapsed() < Duration::from_secs(60), "the claim does not end");
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn of_any_number_of_claimers_at_once_one_gets_each_job(world: World) {
    let catalogs = [world.open().await, world.open().await];
    let mut claimers = tokio::task::JoinSet::new();
    for claimer in 0..8_u128 {
        let catalog = catalogs[usize::from(claimer % 2 == 0)].clone();
        claimers.spawn(async move {
            // Every other one from behind: claimers must not wait for each other in a ring.
            let mut images: Vec<u128> = (0..40).collect();
            if claimer % 2 == 0 {
                images.reverse();
            }
            let wish = |image: &u128| request(&image.to_string(), claimer * 100 + image, LONG);
            let mut free = Vec::new();
            for part in images.chunks(10) {
                let claims = part.iter().map(wish).collect();
                let bookings = Bookings { claims, ..Bookings::default() };
                let answers = catalog.book(&bookings, &[]).await.unwrap();
                free.extend(
                    part.iter().zip(answers).filter(|(_, one)| is_free(one)).map(|(at, _)| *at),
                );
            }
            free
        });
    }
    let mut free: Vec<u128> = claimers.join_all().await.into_iter().flatten().collect();
    free.sort_unstable();
    assert_eq!(free, (0..40).collect::<Vec<_>>());
}

pub(crate) async fn a_claim_is_held_until_it_is_given_back(world: World) {
    let catalog = world.open().await;
    assert_eq!(claim(&catalog, "a", 1, &[]).await, Claim::Free { batch: Some(batch(1)) });
    for claimer in [2, 3] {
        let Claim::Held { holder, .. } = claim(&catalog, "a", claimer, &[]).await else {
            panic!("two work on one job")
        };
        assert_eq!(holder, "host:1");
    }
    assert!(is_free(&claim(&catalog, "b", 2, &[]).await), "another image is another job");
    // Whoever does not hold it can neither give it back nor keep it.
    end(&catalog, ended("a", 2, None)).await;
    assert!(!is_free(&claim(&catalog, "a", 2, &[]).await));
    end(&catalog, ended("a", 1, None)).await;
    assert!(is_free(&claim(&catalog, "a", 2, &[]).await));
    // Two wishes in one transaction.
    let claims = vec![request("c", 5, LONG), request("c", 6, LONG)];
    let answers = catalog.book(&Bookings { claims, ..Bookings::default() }, &[]).await.unwrap();
    assert!(is_free(&answers[0]) && !is_free(&answers[1]), "{answers:?}");
    // Whoever only asks claims nothing.
    let only = ClaimRequest { lease: None, ..request("d", 7, LONG) };
    let bookings = Bookings { claims: vec![only], ..Bookings::default() };
    assert!(is_free(&catalog.book(&bookings, &[]).await.unwrap()[0]));
    assert!(is_free(&claim(&catalog, "d", 8, &[]).await));
}

pub(crate) async fn a_claim_that_nobody_renews_ends_with_its_lease(world: World) {
    let catalog = world.open().await;
    assert!(is_free(&claim_for(&catalog, "dead", 1, Duration::from_millis(200)).await));
    assert!(!is_free(&claim(&catalog, "dead", 2, &[]).await));
    until_free(&catalog, "dead", 3).await;
    // The first holder was only slow: it does not get back what another one holds.
    let late = Renewal { job: job("dead"), attempt: attempt(1), lease: LONG };
    let bookings = Bookings { renewals: vec![late], ..Bookings::default() };
    catalog.book(&bookings, &[]).await.unwrap();
    end(&catalog, ended("dead", 1, None)).await;
    let Claim::Held { holder, .. } = claim(&catalog, "dead", 4, &[]).await else {
        panic!("two work on one job")
    };
    assert_eq!(holder, "host:3");
    // One that is renewed for longer does not end with its first lease.
    assert!(is_free(&claim_for(&catalog, "alive", 5, Duration::from_millis(1)).await));
    let renewal = Renewal { job: job("alive"), attempt: attempt(5), lease: LONG };
    let bookings = Bookings { renewals: vec![renewal], ..Bookings::default() };
    catalog.book(&bookings, &[]).await.unwrap();
    assert!(!is_free(&claim(&catalog, "alive", 6, &[]).await));
}

pub(crate) async fn a_claim_ends_in_the_transaction_that_writes_the_analysis(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[Message::Intake(intake("a", &[LLM]))]).await.unwrap();
    assert!(is_free(&claim(&catalog, "a", 1, &[]).await));
    end(&catalog, ended("a", 1, Some(LONG))).await;
    assert!(!is_free(&claim(&catalog, "a", 2, &[]).await), "the answer is on its way");
    catalog.apply(&[paid("a", done("read"), 1, 1, 10)]).await.unwrap();
    assert_eq!(claim(&catalog, "a", 3, &[]).await, Claim::Done);
    assert_eq!(catalog.audit().await.unwrap().rows["claims"], 0);
    // A failure that is reopened is a job again.
    catalog.apply(&[Message::Intake(intake("b", &[LLM]))]).await.unwrap();
    assert!(is_free(&claim(&catalog, "b", 4, &[]).await));
    let failure = failed(ocelli_core::FailureClass::Permanent, "no");
    catalog.apply(&[paid("b", failure, 4, 1, 10)]).await.unwrap();
    assert_eq!(claim(&catalog, "b", 5, &[]).await, Claim::Done);
    catalog.reopen_failures(&ocelli_catalog::FailureFilter::default()).await.unwrap();
    assert!(is_free(&claim(&catalog, "b", 5, &[]).await));
}

pub(crate) async fn nobody_gets_a_job_while_its_analysis_is_being_written(world: World) {
    let (writer, reader) = (world.open().await, world.open().await);
    for round in 0..30_u128 {
        let image = format!("image-{round}");
        writer.apply(&[Message::Intake(intake(&image, &[LLM]))]).await.unwrap();
        assert!(is_free(&claim(&writer, &image, 1, &[]).await));
        let messages = [paid(&image, done("read"), 1, 1, 10)];
        let claimer = async {
            loop {
                match claim(&reader, &image, 2, &[]).await {
                    Claim::Held { .. } => {}
                    end => break end,
                }
            }
        };
        let (applied, end) = tokio::join!(writer.apply(&messages), claimer);
        applied.unwrap();
        assert_eq!(end, Claim::Done, "round {round}");
    }
}

pub(crate) async fn a_clock_that_was_set_back_holds_no_job_for_that_long(world: World) {
    let catalog = world.open().await;
    assert!(is_free(&claim_for(&catalog, "a", 1, LONG).await));
    // As a claim looks that was taken before the clock of the database was set back by an hour.
    world
        .execute(
            "UPDATE claims SET renewed_at = renewed_at + 3600000000, until = until + 3600000000",
        )
        .await;
    assert!(is_free(&claim(&catalog, "a", 2, &[]).await));
    assert!(!is_free(&claim(&catalog, "a", 3, &[]).await));
}

pub(crate) async fn a_paused_analyzer_gives_no_job_away_until_it_goes_on(world: World) {
    let catalog = world.open().await;
    assert!(catalog.set_pause(&name(LLM), Some(("the house sleeps", at(0)))).await.unwrap());
    let paused = Claim::Paused { reason: "the house sleeps".to_owned(), all: true };
    assert_eq!(claim(&catalog, "a", 1, &[]).await, paused);
    let only = ClaimRequest { lease: None, ..request("a", 1, LONG) };
    let bookings = Bookings { claims: vec![only], ..Bookings::default() };
    assert_eq!(catalog.book(&bookings, &[]).await.unwrap(), [paused], "also without a claim");
    assert_eq!(catalog.pauses().await.unwrap()[&name(LLM)], "the house sleeps");
    assert!(catalog.set_pause(&name(LLM), None).await.unwrap());
    assert!(!catalog.set_pause(&name(LLM), None).await.unwrap());
    assert!(is_free(&claim(&catalog, "a", 1, &[]).await));
    // What has an analysis is done, paused or not.
    catalog.apply(&[partial("b", LLM, done("read"), 1)]).await.unwrap();
    catalog.set_pause(&name(LLM), Some(("again", at(1)))).await.unwrap();
    assert_eq!(claim(&catalog, "b", 2, &[]).await, Claim::Done);
}

pub(crate) async fn what_is_on_its_way_counts_against_a_budget(world: World) {
    let catalog = world.open().await;
    let money = |micros: u64| Budget {
        analyzer: Some(name(LLM)),
        batch: None,
        period: Period::Month,
        limit: Limit::Money { micros, currency: "USD".to_owned() },
    };
    let budgets = [money(30)];
    assert!(is_free(&claim(&catalog, "a", 1, &budgets).await));
    // The answer is on its way to the collector, which is away.
    note(&catalog, "a", 1, cost(100, 30)).await;
    end(&catalog, ended("a", 1, Some(LONG))).await;
    assert_eq!(catalog.budgets(&budgets).await.unwrap()[0].spent, 30);
    let Claim::Paused { reason, all: true } = claim(&catalog, "b", 2, &budgets).await else {
        panic!("the budget is used up")
    };
    assert!(reason.contains("0.00003 USD per month"), "{reason}");
    assert!(is_free(&claim(&catalog, "b", 2, &[money(31)]).await), "it was raised");
    let tokens =
        Budget { limit: Limit::Tokens(100), period: Period::Total, analyzer: None, ..money(0) };
    assert!(!is_free(&claim(&catalog, "c", 3, &[tokens]).await));
    // An attempt that led to nothing, and whose note has not arrived, counts too, and holds nobody up.
    note(&catalog, "b", 2, cost(5, 5)).await;
    end(&catalog, ended("b", 2, None)).await;
    assert_eq!(catalog.budgets(&budgets).await.unwrap()[0].spent, 35);
    assert!(is_free(&claim(&catalog, "b", 4, &[]).await));
}
