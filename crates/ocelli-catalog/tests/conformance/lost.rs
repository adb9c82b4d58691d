//! Cases about attempts that were paid and never heard of again, and about payments that grow old, on both backends.

use std::time::Duration;

use ocelli_catalog::{Catalog, Tidied};
use ocelli_core::claim::Cost;
use ocelli_core::wire::Message;
use ocelli_core::{Budget, Limit, Period};

use crate::claims::{claim, claim_for, cost, is_free, note, until_free};
use crate::spending::{put_off, total};
use crate::words::*;
use crate::world::World;

const QUARTER: Duration = Duration::from_secs(90 * 24 * 3600);

/// These images are known.
async fn seen<const N: usize>(catalog: &Catalog, images: [&str; N]) {
    catalog.apply(&images.map(|image| Message::Intake(intake(image, &[LLM])))).await.unwrap();
}

/// A worker that gets an answer, notes what it cost, and dies.
async fn dies(catalog: &Catalog, image: &str, number: u128, cost: Cost) {
    let claim = claim_for(catalog, image, number, Duration::from_millis(1)).await;
    assert!(is_free(&claim), "{claim:?}");
    note(catalog, image, number, cost).await;
}

pub(crate) async fn a_paid_attempt_that_was_never_heard_of_is_waste_once_its_job_is_taken_over(
    world: World,
) {
    let catalog = world.open().await;
    let budget = Budget {
        analyzer: None,
        batch: None,
        period: Period::Month,
        limit: Limit::Money { micros: 1000, currency: "USD".to_owned() },
    };
    let spent = async || catalog.budgets(std::slice::from_ref(&budget)).await.unwrap()[0].spent;
    // Two answers in one attempt: what is noted is all of it each time.
    dies(&catalog, "a", 1, cost(60, 10)).await;
    note(&catalog, "a", 1, Cost { calls: 2, ..cost(100, 30) }).await;
    assert_eq!((total(&catalog).await, spent().await), ([0; 6], 30), "it may still be on its way");
    until_free(&catalog, "a", 2).await;
    assert_eq!((total(&catalog).await, spent().await), ([2, 100, 0, 30, 100, 30], 30));
    let rows = catalog.spend().await.unwrap();
    assert_eq!((rows[0].model.as_str(), rows[0].batch), ("model", Some(batch(1))));
    // Who does not hold the claim any more notes nothing.
    note(&catalog, "a", 1, cost(9999, 9999)).await;
    let answer = [Message::Intake(intake("a", &[LLM])), paid("a", done("read"), 2, 1, 10)];
    catalog.apply(&answer).await.unwrap();
    assert_eq!(total(&catalog).await, [3, 110, 4, 40, 100, 30]);
    assert_eq!(catalog.audit().await.unwrap().rows["claims"], 0);
}

pub(crate) async fn a_message_that_comes_after_all_takes_the_place_of_what_was_presumed(
    world: World,
) {
    let catalog = world.open().await;
    seen(&catalog, ["a", "b"]).await;
    dies(&catalog, "a", 1, cost(100, 30)).await;
    until_free(&catalog, "a", 2).await;
    assert_eq!(total(&catalog).await, [1, 100, 0, 30, 100, 30]);
    for _ in 0..2 {
        catalog.apply(&[paid("a", done("late"), 1, 1, 50)]).await.unwrap();
        assert_eq!(total(&catalog).await, [1, 50, 20, 50, 0, 0], "it was kept after all");
    }
    catalog.apply(&[paid("a", done("again"), 2, 5, 10)]).await.unwrap();
    assert_eq!(total(&catalog).await, [2, 60, 24, 60, 14, 10], "now the second is the waste");
    // The same where the attempt was put off.
    dies(&catalog, "b", 3, cost(7, 7)).await;
    until_free(&catalog, "b", 4).await;
    assert_eq!(total(&catalog).await, [3, 67, 24, 67, 21, 17]);
    for _ in 0..2 {
        catalog.apply(&[put_off("b", 3, 10)]).await.unwrap();
        assert_eq!(total(&catalog).await, [5, 70, 34, 70, 34, 20]);
    }
}

pub(crate) async fn an_answer_of_another_attempt_writes_off_what_the_holder_of_the_claim_has_paid(
    world: World,
) {
    let catalog = world.open().await;
    catalog.apply(&[Message::Intake(intake("a", &[LLM]))]).await.unwrap();
    assert!(is_free(&claim(&catalog, "a", 1, &[]).await));
    note(&catalog, "a", 1, cost(100, 30)).await;
    catalog.apply(&[paid("a", done("read"), 9, 1, 10)]).await.unwrap();
    assert_eq!(total(&catalog).await, [2, 110, 4, 40, 100, 30]);
    assert_eq!(catalog.audit().await.unwrap().rows["claims"], 0);
    catalog.apply(&[paid("a", done("too late"), 1, 5, 50)]).await.unwrap();
    assert_eq!(total(&catalog).await, [2, 60, 24, 60, 70, 50]);
}

pub(crate) async fn a_paid_attempt_whose_job_nobody_takes_over_is_written_off_after_a_while(
    world: World,
) {
    let catalog = world.open().await;
    dies(&catalog, "a", 1, cost(100, 30)).await;
    assert_eq!(catalog.tidy_accounts(QUARTER).await.unwrap(), Tidied::default(), "too early");
    world
        .execute(
            "UPDATE claims SET renewed_at = renewed_at - 7200000000, until = until - 7200000000",
        )
        .await;
    // One that goes on for as long is not lost.
    assert!(is_free(&claim(&catalog, "b", 2, &[]).await));
    note(&catalog, "b", 2, cost(5, 5)).await;
    world.execute("UPDATE claims SET renewed_at = renewed_at - 7200000000 WHERE calls = 1").await;
    assert_eq!(catalog.tidy_accounts(QUARTER).await.unwrap().lost, 1);
    assert_eq!(total(&catalog).await, [1, 100, 0, 30, 100, 30]);
    assert_eq!(catalog.tidy_accounts(QUARTER).await.unwrap(), Tidied::default());
}

/// Paid today, by the clock of this process.
fn paid_now(image: &str, number: u128, cost: u64) -> Message {
    let mut message = paid(image, done("read"), number, 0, cost);
    let Message::Partial(partial) = &mut message else { unreachable!() };
    partial.analysis.finished_at = jiff::Timestamp::now();
    message
}

pub(crate) async fn old_payments_are_taken_out_their_sums_stay_and_no_message_counts_them_again(
    world: World,
) {
    let catalog = world.open().await;
    seen(&catalog, ["a", "b", "c", "d", "e", "f"]).await;
    let old = [
        put_off("a", 1, 10),
        paid("a", done("read"), 2, 100, 100),
        paid("b", failed(ocelli_core::FailureClass::Quality, "no"), 3, 200, 7),
    ];
    catalog.apply(&old).await.unwrap();
    catalog.apply(&[paid_now("c", 4, 1000)]).await.unwrap();
    let sums = total(&catalog).await;
    let spend = catalog.spend().await.unwrap();
    assert_eq!(catalog.tidy_accounts(QUARTER).await.unwrap().taken_out, 3);
    assert_eq!(catalog.audit().await.unwrap().rows["payments"], 1);
    assert_eq!((total(&catalog).await, catalog.spend().await.unwrap()), (sums, spend));
    assert_eq!(catalog.tidy_accounts(QUARTER).await.unwrap(), Tidied::default());
    // Again, one that was lost since then, and an earlier answer than the one that is kept.
    for _ in 0..2 {
        catalog.apply(&old).await.unwrap();
        catalog.apply(&[paid("d", done("lost"), 5, 50, 70)]).await.unwrap();
        catalog.apply(&[paid("a", done("earlier"), 6, 60, 70)]).await.unwrap();
        assert_eq!(total(&catalog).await, sums);
    }
    // What is newer than what was taken out counts, however old it is.
    catalog.apply(&[paid("e", done("read"), 7, 201, 1)]).await.unwrap();
    catalog.apply(&[paid_now("f", 8, 1)]).await.unwrap();
    assert_eq!(
        total(&catalog).await,
        [sums[0] + 2, sums[1] + 2, sums[2], sums[3] + 2, sums[4], sums[5]]
    );
}

pub(crate) async fn nothing_is_counted_twice_while_payments_are_taken_out(world: World) {
    let catalogs = [world.open().await, world.open().await];
    for round in 0..15_u128 {
        let messages: Vec<Message> = (0..10_u128)
            .map(|n| {
                let image = format!("{round}-{n}");
                let seconds = i64::try_from(round * 10 + n).unwrap();
                paid(&image, done("read"), 1000 * (round + 1) + n, seconds, 10)
            })
            .collect();
        let intakes = (0..10).map(|n| Message::Intake(intake(&format!("{round}-{n}"), &[LLM])));
        catalogs[0].apply(&intakes.collect::<Vec<_>>()).await.unwrap();
        catalogs[0].apply(&messages).await.unwrap();
        let (tidied, one, two) = tokio::join!(
            catalogs[0].tidy_accounts(QUARTER),
            catalogs[0].apply(&messages),
            catalogs[1].apply(&messages),
        );
        tidied.unwrap();
        one.unwrap();
        two.unwrap();
        let done = 10 * (u64::try_from(round).unwrap() + 1);
        let sums = total(&catalogs[1]).await;
        assert_eq!(sums, [done, 10 * done, 4 * done, 10 * done, 0, 0], "round {round}");
    }
}
