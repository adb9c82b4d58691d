//! Random messages, doubled, shuffled and cut into random batches, against the fold of [`ocelli_core::Record`].

use std::collections::{BTreeMap, BTreeSet};

use ocelli_catalog::{AnalyzerStatus, Catalog, Known, Status};
use ocelli_core::wire::{Deferred, Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, Dependence, Digest, FailureClass, LeftOut, Outcome, OutcomeKind,
    Provenance, Record, RuleText, Want,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::words::*;
use crate::world::World;

/// Images of one case; few, so that messages meet.
const IMAGES: u8 = 3;
const ANALYZERS: [&str; 3] = ["a", "b", "c"];
/// Status counts run over everything that is in a database: it is compared this often, and a new one is made this often.
const STATUS_EVERY: usize = 25;
const DATABASE_EVERY: usize = 500;

#[derive(Debug, Clone)]
enum Act {
    Intake {
        image: u8,
        sighting: Option<(u8, i64, u128)>,
        wants: Vec<(u8, Option<u64>)>,
        refused: bool,
        time: i64,
        /// Analyzers that a rule leaves out, and which of two rules.
        left_out: Vec<(u8, u8)>,
    },
    Partial {
        image: u8,
        analyzer: u8,
        revision: u64,
        outcome: u8,
        time: i64,
        attempts: u32,
    },
    Deferred {
        image: u8,
        analyzer: u8,
        attempts: u32,
        next: i64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let intake = (
        0..IMAGES,
        proptest::option::of((0_u8..2, 0_i64..4, 0_u128..3)),
        proptest::collection::vec((0_u8..3, proptest::option::of(1_u64..4)), 0..4),
        proptest::bool::weighted(0.08),
        0_i64..4,
        proptest::collection::vec((0_u8..3, 0_u8..2), 0..2),
    )
        .prop_map(|(image, sighting, wants, refused, time, left_out)| Act::Intake {
            image,
            sighting,
            wants,
            refused,
            time,
            left_out,
        });
    let partial = (0..IMAGES, 0_u8..3, 1_u64..4, 0_u8..6, 0_i64..3, 1_u32..3).prop_map(
        |(image, analyzer, revision, outcome, time, attempts)| Act::Partial {
            image,
            analyzer,
            revision,
            outcome,
            time,
            attempts,
        },
    );
    let deferred =
        (0..IMAGES, 0_u8..3, 0_u32..3, 40_i64..70).prop_map(|(image, analyzer, attempts, next)| {
            Act::Deferred { image, analyzer, attempts, next }
        });
    prop_oneof![4 => intake, 5 => partial, 1 => deferred]
}

/// Acts, the order in which their messages are sent (some twice), and where batches end.
#[derive(Debug, Clone)]
struct Case {
    acts: Vec<Act>,
    sent: Vec<(usize, bool)>,
}

fn case() -> impl Strategy<Value = Case> {
    proptest::collection::vec(act(), 1..16)
        .prop_flat_map(|acts| {
            let count = acts.len();
            let order = Just((0..count).collect::<Vec<usize>>()).prop_shuffle();
            let again = proptest::collection::vec(0..count, 0..6);
            let ends = proptest::collection::vec(proptest::bool::weighted(0.3), count + 6);
            (Just(acts), order, again, ends)
        })
        .prop_map(|(acts, mut order, again, ends)| {
            order.extend(again);
            Case { acts, sent: order.into_iter().zip(ends).collect() }
        })
}

/// What should be in the catalog.
#[derive(Default)]
struct Model {
    records: BTreeMap<Digest, Record>,
    /// Of these an intake arrived.
    arrived: BTreeSet<Digest>,
    deferred: BTreeMap<(Digest, AnalyzerName), i64>,
}

impl Model {
    fn record(&mut self, image: &str) -> &mut Record {
        let facts = facts(image);
        self.records.entry(facts.digest).or_insert_with(|| Record::new(facts))
    }

    fn complete(&self) -> BTreeSet<Digest> {
        let arrived = self.arrived.iter().filter(|digest| self.records[digest].is_complete());
        arrived.copied().collect()
    }

    fn add(&mut self, image: &str, message: &Message) {
        match message {
            Message::Intake(intake) => {
                self.arrived.insert(intake.image.digest);
                let record = self.record(image);
                let mut news = Record::new(intake.image.clone());
                news.refusal.clone_from(&intake.refusal);
                intake.sighting.clone().into_iter().for_each(|seen| news.add_sighting(seen));
                for want in &intake.wants {
                    news.add_want(intake.enqueued_at, want.clone());
                }
                for LeftOut { analyzer, rule } in &intake.dependence.left_out {
                    let wanted =
                        Want { analyzer: analyzer.clone(), revision: Some(rule.revision()) };
                    news.add_want(intake.enqueued_at, wanted);
                    news.add_analysis(rule.skip(analyzer, intake.enqueued_at));
                }
                record.merge(news);
            }
            Message::Partial(partial) => self.record(image).add_analysis(partial.analysis.clone()),
            Message::Deferred(deferred) => {
                let key = (deferred.digest, deferred.analyzer.clone());
                let next = self.deferred.entry(key).or_insert(i64::MIN);
                *next = (*next).max(deferred.next_at.as_second());
            }
            _ => unreachable!("no other kind is made"),
        }
    }

    fn status(&self) -> Status {
        let now = at(55).as_second();
        let mut status = Status {
            images: self.arrived.len() as u64,
            complete: self.complete().len() as u64,
            ..Status::default()
        };
        for (digest, record) in &self.records {
            for analysis in record.answers() {
                let entry = status.analyzers.entry(analysis.analyzer.clone()).or_default();
                entry.finished_last_minute += 1;
            }
            status.refused += u64::from(record.refusal.is_some());
            status.sightings += record.sightings.len() as u64;
            for analyzer in record.wants.keys() {
                let entry: &mut AnalyzerStatus =
                    status.analyzers.entry(analyzer.clone()).or_default();
                entry.wanted += 1;
                let kind = record.current(analyzer).map(|analysis| analysis.outcome.kind());
                let next = self.deferred.get(&(*digest, analyzer.clone()));
                *match kind {
                    Some(OutcomeKind::Done) => &mut entry.done,
                    Some(OutcomeKind::Empty) => &mut entry.empty,
                    Some(OutcomeKind::Skipped) => &mut entry.skipped,
                    Some(OutcomeKind::Failed) => &mut entry.failed,
                    None if record.refusal.is_some() => &mut entry.refused,
                    None => {
                        entry.deferred += u64::from(next.is_some_and(|next| *next > now));
                        &mut entry.open
                    }
                } += 1;
            }
        }
        status
    }
}

fn known(record: &Record) -> Known {
    Known {
        refused: record.refusal.is_some(),
        answered: record.analyses.keys().cloned().collect(),
        wanted: record
            .wants
            .iter()
            .map(|(analyzer, (_, revision))| (analyzer.clone(), revision.clone()))
            .collect(),
        open: if record.refusal.is_some() {
            BTreeSet::new()
        } else {
            record.open().into_iter().cloned().collect()
        },
    }
}

fn message(prefix: &str, act: &Act) -> (String, Message) {
    match act {
        Act::Intake { image, sighting: seen, wants, refused, time, left_out } => {
            let image = format!("{prefix}-{image}");
            let seen =
                seen.map(|(path, time, batch)| sighting(&format!("{image}-{path}"), time, batch));
            let mut unique = BTreeMap::new();
            for (analyzer, number) in wants {
                unique.insert(ANALYZERS[usize::from(*analyzer)], number.map(revision));
            }
            let message = Message::Intake(Intake {
                image: facts(&image),
                sources: vec![],
                sighting: seen,
                wants: unique
                    .into_iter()
                    .map(|(analyzer, revision)| Want { analyzer: name(analyzer), revision })
                    .collect(),
                refusal: refused.then(|| "a text file".to_owned()),
                enqueued_at: at(*time),
                dependence: Dependence {
                    left_out: left_out
                        .iter()
                        .map(|(analyzer, rule)| LeftOut {
                            analyzer: name(ANALYZERS[usize::from(*analyzer)]),
                            rule: RuleText { name: format!("rule-{rule}"), when: "x".to_owned() },
                        })
                        .collect(),
                    ..Dependence::default()
                },
                hash: None,
                meta: ocelli_core::Meta::default(),
            });
            (image, message)
        }
        Act::Partial { image, analyzer, revision: number, outcome, time, attempts } => {
            let image = format!("{prefix}-{image}");
            let outcome = match outcome {
                0 => done("one"),
                1 => done("two"),
                2 => Outcome::Empty,
                3 => Outcome::Skipped { rule: "r".to_owned(), reason: "s".to_owned() },
                4 => failed(FailureClass::Crash, "killed"),
                _ => failed(FailureClass::Permanent, "broken"),
            };
            let analysis = Analysis {
                analyzer: name(ANALYZERS[usize::from(*analyzer)]),
                revision: revision(*number),
                outcome,
                attempts: *attempts,
                finished_at: at(*time),
                provenance: Provenance::default(),
            };
            let digest = Digest::of(image.as_bytes());
            (
                image,
                Message::Partial(Box::new(Partial { digest, analysis, hash: None, image: None })),
            )
        }
        Act::Deferred { image, analyzer, attempts, next } => {
            let image = format!("{prefix}-{image}");
            let message = Message::Deferred(Deferred {
                digest: Digest::of(image.as_bytes()),
                analyzer: name(ANALYZERS[usize::from(*analyzer)]),
                class: FailureClass::Transient,
                reason: "busy".to_owned(),
                attempts: *attempts,
                next_at: at(*next),
                spent: None,
            });
            (image, message)
        }
    }
}

async fn run(catalog: &Catalog, model: &mut Model, prefix: &str, case: &Case) {
    let messages: Vec<(String, Message)> =
        case.acts.iter().map(|act| message(prefix, act)).collect();
    let mut batch = Vec::new();
    let mut before = model.complete();
    for (position, (index, ends)) in case.sent.iter().enumerate() {
        let (image, message) = &messages[*index];
        model.add(image, message);
        batch.push(message.clone());
        if *ends || position + 1 == case.sent.len() {
            let applied = catalog.apply(&batch).await.unwrap();
            batch.clear();
            let now = model.complete();
            let became: Vec<Digest> = now.difference(&before).copied().collect();
            assert_eq!(applied.completed, became, "completed by this batch");
            assert!(applied.rejected.is_empty());
            before = now;
        }
    }
    let digests: Vec<Digest> =
        (0..IMAGES).map(|image| Digest::of(format!("{prefix}-{image}").as_bytes())).collect();
    let found = catalog.lookup(&digests).await.unwrap();
    for digest in &digests {
        let expected = model.records.get(digest);
        let arrived = expected.filter(|_| model.arrived.contains(digest));
        assert_eq!(catalog.record(digest).await.unwrap().as_ref(), arrived);
        assert_eq!(found.get(digest), arrived.map(known).as_ref());
    }
}

fn check(cases: u32, sqlite: bool) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let new_world = || {
        runtime.block_on(async {
            let world = if sqlite { World::sqlite_in_memory() } else { World::postgres().await };
            let catalog = world.open().await;
            (world, catalog, Model::default())
        })
    };
    let state = std::cell::RefCell::new((0_usize, new_world()));
    let config =
        Config { cases, source_file: Some(file!()), max_shrink_iters: 400, ..Config::default() };
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let (number, (world, catalog, model)) = &mut *state.borrow_mut();
        *number += 1;
        let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                run(catalog, model, &format!("{number}"), &case).await;
                if *number % STATUS_EVERY == 0 {
                    assert_eq!(catalog.status(at(55)).await.unwrap(), model.status());
                }
            });
        }));
        if attempt.is_err() || *number % DATABASE_EVERY == 0 {
            if attempt.is_ok() {
                let audit = runtime.block_on(catalog.audit()).unwrap();
                assert!(audit.problems.iter().all(|problem| problem.contains("has not arrived")));
            }
            runtime.block_on(catalog.close());
            (*world, *catalog, *model) = new_world();
        }
        attempt.map_err(|_| TestCaseError::fail("the catalog and the model differ (see above)"))
    });
    outcome.unwrap();
}

#[test]
fn any_sequence_of_messages_makes_the_record_that_the_fold_makes_on_sqlite() {
    check(10_000, true);
}

#[test]
fn any_sequence_of_messages_makes_the_record_that_the_fold_makes_on_postgres() {
    check(200, false);
}
