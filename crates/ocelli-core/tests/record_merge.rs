//! The merge of records is commutative, associative and idempotent: any order, any number of deliveries, one record.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use jiff::Timestamp;
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Digest, FailureClass, ImageFacts, Meta, Outcome, Provenance,
    Reading, Record, Revision, RevisionBuilder, Sighting, Want,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Fact {
    Seen(Sighting),
    Said(u8, BatchId, Meta),
    Wanted(Timestamp, Want),
    Analyzed(Box<Analysis>),
}

fn time(second: u8) -> Timestamp {
    Timestamp::from_second(i64::from(second)).unwrap()
}

fn analyzer(n: u8) -> AnalyzerName {
    format!("analyzer-{n}").parse().unwrap()
}

fn revision(n: u8) -> Revision {
    RevisionBuilder::new("test").part("n", n).build()
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        "[a-c]{1,2}".prop_map(|text| Outcome::Done(Reading { text, ..Reading::default() })),
        Just(Outcome::Empty),
        Just(Outcome::Skipped { rule: "r".into(), reason: "s".into() }),
        "[a-c]".prop_map(|reason| Outcome::Failed { class: FailureClass::Crash, reason }),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        (0_u8..3, 0_u8..4, 0_u128..3).prop_map(|(source, at, batch)| Fact::Seen(Sighting {
            source: format!("file:///{source}.png").parse().unwrap(),
            seen_at: time(at),
            batch: BatchId::new(uuid::Uuid::from_u128(batch)),
        })),
        (0_u8..3, 0_u128..3, "[a-b]", "[a-c]").prop_map(|(source, batch, name, text)| Fact::Said(
            source,
            BatchId::new(uuid::Uuid::from_u128(batch)),
            Meta::from_iter([(name, text)]),
        )),
        (0_u8..3, 0_u8..4, proptest::option::of(0_u8..2)).prop_map(|(name, at, rev)| Fact::Wanted(
            time(at),
            Want { analyzer: analyzer(name), revision: rev.map(revision) }
        )),
        (0_u8..3, 0_u8..2, 0_u8..3, outcome()).prop_map(|(name, rev, at, outcome)| {
            Fact::Analyzed(Box::new(Analysis {
                analyzer: analyzer(name),
                revision: revision(rev),
                outcome,
                attempts: 1,
                finished_at: time(at),
                provenance: Provenance::default(),
            }))
        }),
    ]
}

fn empty() -> Record {
    Record::new(ImageFacts {
        digest: Digest::of(b"x"),
        bytes: 1,
        format: None,
        width: None,
        height: None,
    })
}

fn fold(facts: &[Fact]) -> Record {
    let mut record = empty();
    for fact in facts.iter().cloned() {
        match fact {
            Fact::Seen(sighting) => record.add_sighting(sighting),
            Fact::Said(source, batch, meta) => {
                let source = format!("file:///{source}.png").parse().unwrap();
                record.add_meta(&source, batch, &meta);
            }
            Fact::Wanted(at, want) => record.add_want(at, want),
            Fact::Analyzed(analysis) => record.add_analysis(*analysis),
        }
    }
    record
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_number_of_deliveries_give_one_record(
        (facts, shuffled) in proptest::collection::vec(fact(), 0..12)
            .prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
        repeats in proptest::collection::vec(0_usize..12, 0..6),
        cut in 0_usize..12,
    ) {
        let expected = fold(&facts);
        let mut disturbed = shuffled.clone();
        disturbed.extend(repeats.iter().filter_map(|&n| shuffled.get(n).cloned()));
        prop_assert_eq!(&fold(&disturbed), &expected);

        let (left, right) = shuffled.split_at(cut.min(shuffled.len()));
        let (left, right) = (fold(left), fold(right));
        let (mut one, mut other) = (left.clone(), right.clone());
        one.merge(right);
        other.merge(left);
        prop_assert_eq!(&one, &expected);
        prop_assert_eq!(&other, &expected);
        one.merge(expected.clone());
        prop_assert_eq!(&one, &expected);
    }

    #[test]
    fn first_seen_never_grows_and_a_reading_is_never_lost(
        facts in proptest::collection::vec(fact(), 0..12), more in fact()
    ) {
        let before = fold(&facts);
        let after = fold(&[facts, vec![more]].concat());
        if let (Some(old), Some(new)) = (before.first_seen(), after.first_seen()) {
            prop_assert!(new <= old);
        }
        for (key, analysis) in &before.analyses {
            let now = &after.analyses[key];
            prop_assert!(now.outcome.kind().rank() >= analysis.outcome.kind().rank());
        }
    }
}
