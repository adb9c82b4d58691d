//! Cases about what models cost, on both backends.

use ocelli_catalog::{Catalog, SpendRow};
use ocelli_core::claim::{Bookings, Claim, ClaimRequest};
use ocelli_core::wire::{Deferred, Message};
use ocelli_core::{Budget, Digest, FailureClass, Limit, Period, Spent};

use crate::claims::{attempt, claim, is_free, job};
use crate::words::*;
use crate::world::World;

/// Calls, tokens read, tokens written, money, wasted tokens, wasted money.
fn sums(rows: &[SpendRow]) -> [u64; 6] {
    rows.iter().fold([0; 6], |sum, row| {
        let more = [
            row.calls,
            row.tokens_in,
            row.tokens_out,
            row.micros,
            row.wasted_tokens,
            row.wasted_micros,
        ];
        std::array::from_fn(|at| sum[at] + more[at])
    })
}

pub(crate) async fn total(catalog: &Catalog) -> [u64; 6] {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
    sums(&catalog.spend().await.unwrap())
}

pub(crate) fn put_off(image: &str, number: u128, micros: u64) -> Message {
    Message::Deferred(Deferred {
        digest: Digest::of(image.as_bytes()),
        analyzer: name(LLM),
        class: FailureClass::Quality,
        reason: "it repeats itself".to_owned(),
        attempts: 1,
        next_at: at(10),
        spent: Some(Spent {
            attempt: attempt(number),
            revision: revision(1),
            batch: Some(batch(1)),
            model: Some("model".to_owned()),
            calls: 3,
            tokens_in: micros,
            tokens_out: micros,
            cost_micros: micros,
            currency: Some("USD".to_owned()),
            at: at(0),
        }),
    })
}

pub(crate) async fn every_attempt_is_counted_once_and_what_led_to_nothing_is_waste(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[Message::Intake(intake("a", &[LLM]))]).await.unwrap();
    // Two attempts were put off, the third failed, was reopened, the fourth answered at its second try.
    let first = [put_off("a", 1, 10), put_off("a", 2, 10)];
    let failure = paid("a", failed(FailureClass::Quality, "still"), 3, 5, 100);
    for _ in 0..2 {
        catalog.apply(&first).await.unwrap();
        catalog.apply(&[failure.clone(), first[1].clone()]).await.unwrap();
        assert_eq!(total(&catalog).await, [7, 120, 60, 120, 180, 120]);
    }
    catalog.reopen_failures(&ocelli_catalog::FailureFilter::default()).await.unwrap();
    let mut answer = paid("a", done("read"), 4, 9, 100);
    let Message::Partial(partial) = &mut answer else { unreachable!() };
    let how = &mut partial.analysis.provenance;
    (how.calls, how.wasted_tokens, how.wasted_cost_micros) = (2, 70, 40);
    for _ in 0..3 {
        catalog.apply(&[answer.clone(), failure.clone()]).await.unwrap();
        assert_eq!(total(&catalog).await, [9, 220, 100, 220, 250, 160]);
    }
    // A second paid answer to the same job is waste, whenever it comes.
    let second = paid("a", done("read"), 5, 20, 1000);
    for _ in 0..2 {
        catalog.apply(std::slice::from_ref(&second)).await.unwrap();
        assert_eq!(total(&catalog).await, [10, 1220, 500, 1220, 250 + 1400, 1160]);
    }
    let rows = catalog.spend().await.unwrap();
    assert_eq!((rows.len(), rows[0].batch, rows[0].month), (1, Some(batch(1)), 202_405));
}

pub(crate) async fn when_an_earlier_answer_is_preferred_the_other_one_was_waste(world: World) {
    let catalog = world.open().await;
    let (late, early) = (paid("a", done("x"), 1, 20, 100), paid("a", done("y"), 2, 10, 1000));
    catalog.apply(&[Message::Intake(intake("a", &[LLM])), late.clone()]).await.unwrap();
    assert_eq!(total(&catalog).await[4..], [0, 0]);
    catalog.apply(std::slice::from_ref(&early)).await.unwrap();
    assert_eq!(total(&catalog).await, [2, 1100, 440, 1100, 140, 100]);
    // Both in one batch, and again.
    let other = world.open().await;
    other.apply(&[late, early]).await.unwrap();
    assert_eq!(total(&catalog).await, [2, 1100, 440, 1100, 140, 100]);
}

pub(crate) async fn two_collectors_of_the_same_messages_count_them_once(world: World) {
    let catalogs = [world.open().await, world.open().await];
    let mut messages = Vec::new();
    for image in 0..30_u128 {
        let name = image.to_string();
        messages.push(Message::Intake(intake(&name, &[LLM])));
        messages.push(put_off(&name, 1000 + image, 1));
        messages.push(paid(&name, done("read"), 2000 + image, 1, 10));
    }
    let mut collectors = tokio::task::JoinSet::new();
    for catalog in catalogs.clone() {
        let messages = messages.clone();
        collectors.spawn(async move {
            for part in messages.chunks(7) {
                catalog.apply(part).await.unwrap();
            }
        });
    }
    collectors.join_all().await;
    assert_eq!(total(&catalogs[0]).await, [30 * 4, 30 * 11, 30 * 5, 30 * 11, 60, 30]);
}

pub(crate) async fn numbers_beyond_all_reason_stay_numbers(world: World) {
    let catalog = world.open().await;
    for image in ["a", "b", "c"] {
        let mut message = paid(image, done("read"), 1, 1, u64::MAX);
        let Message::Partial(partial) = &mut message else { unreachable!() };
        partial.analysis.provenance.wasted_tokens = u64::MAX;
        partial.analysis.provenance.model = Some("\0".repeat(5000));
        catalog.apply(&[Message::Intake(intake(image, &[LLM])), message]).await.unwrap();
    }
    assert_eq!(total(&catalog).await[3], 3_000_000_000_000);
    let budget = Budget {
        analyzer: None,
        batch: None,
        period: Period::Total,
        limit: Limit::Tokens(u64::MAX),
    };
    assert!(!catalog.budgets(&[budget]).await.unwrap()[0].is_reached());
}

pub(crate) async fn a_budget_of_a_batch_stops_the_jobs_of_that_batch_alone(world: World) {
    let catalog = world.open().await;
    let mut reports = Vec::new();
    for (number, name) in [(1, "50%_[news]?-may"), (2, "50x_news-may"), (3, "other")] {
        let mut report = report(number, 1, 1);
        report.name = name.to_owned();
        reports.push(Message::Batch(report));
    }
    catalog.apply(&reports).await.unwrap();
    catalog.apply(&[Message::Intake(intake("seen", &[LLM]))]).await.unwrap();
    catalog.apply(&[paid("a", done("read"), 1, 1, 50)]).await.unwrap();
    let budget = |pattern: &str, tokens| Budget {
        analyzer: None,
        batch: Some(pattern.to_owned()),
        period: Period::Total,
        limit: Limit::Tokens(tokens),
    };
    let ask = async |number: Option<u128>, budget: Budget| {
        let request = ClaimRequest {
            job: job("seen"),
            attempt: attempt(9),
            holder: "host:9".to_owned(),
            batch: number.map(batch),
            lease: Some(std::time::Duration::from_millis(1)),
        };
        let bookings = Bookings { claims: vec![request], ..Bookings::default() };
        catalog.book(&bookings, &[budget]).await.unwrap().remove(0)
    };
    for pattern in ["50%_[news]?-may", "50%_*", "*"] {
        let answer = ask(Some(1), budget(pattern, 70)).await;
        assert!(matches!(answer, Claim::Paused { all: false, .. }), "{pattern}: {answer:?}");
        // A job that was enqueued again names no batch: the one that saw the image first pays.
        let answer = ask(None, budget(pattern, 70)).await;
        assert!(matches!(answer, Claim::Paused { all: false, .. }), "{pattern}: {answer:?}");
        assert_eq!(catalog.open_of_batches(&name(LLM), pattern).await.unwrap(), 1);
    }
    // A batch whose name has not arrived yet could be meant: its jobs wait.
    let answer = ask(Some(99), budget("other", 1)).await;
    assert!(matches!(answer, Claim::Held { .. }), "{answer:?}");
    for (number, pattern, tokens) in
        [(2, "50%_*", 70), (3, "50*", 70), (1, "50*", 71), (1, "50_*", 1), (1, "other", 1)]
    {
        let answer = ask(Some(number), budget(pattern, tokens)).await;
        assert!(
            matches!(answer, Claim::Free { .. } | Claim::Held { .. }),
            "{number} {pattern}: {answer:?}"
        );
    }
    assert_eq!(catalog.open_of_batches(&name(LLM), "other").await.unwrap(), 0);
}

pub(crate) async fn a_budget_of_a_month_ends_with_it_and_money_counts_in_its_currency(
    world: World,
) {
    let catalog = world.open().await;
    // Long ago, by the clock of the database.
    catalog.apply(&[paid("a", done("read"), 1, 1, 1000)]).await.unwrap();
    let budget = |period, currency: &str| Budget {
        analyzer: Some(name(LLM)),
        batch: None,
        period,
        limit: Limit::Money { micros: 1000, currency: currency.to_owned() },
    };
    assert!(is_free(&claim(&catalog, "b", 1, &[budget(Period::Month, "USD")]).await));
    assert!(!is_free(&claim(&catalog, "c", 2, &[budget(Period::Total, "USD")]).await));
    assert!(is_free(&claim(&catalog, "d", 3, &[budget(Period::Total, "EUR")]).await));
    let other = Budget { analyzer: Some(name("other")), ..budget(Period::Total, "USD") };
    assert!(is_free(&claim(&catalog, "e", 4, &[other]).await));
    let now = jiff::Timestamp::now();
    let mut message = paid("f", done("read"), 5, 1, 1000);
    let Message::Partial(partial) = &mut message else { unreachable!() };
    partial.analysis.finished_at = now;
    catalog.apply(&[message]).await.unwrap();
    assert!(!is_free(&claim(&catalog, "g", 6, &[budget(Period::Month, "USD")]).await));
}
