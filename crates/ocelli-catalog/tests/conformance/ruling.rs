//! Rules: what they leave out, how it is asked after all, and that they mean what a search means.

use std::collections::BTreeSet;

use ocelli_catalog::query::{Query, QueryLimits};
use ocelli_catalog::rules::{Rule, RuleSource, Rules, Seeing, Verdict};
use ocelli_catalog::{Catalog, Hold};
use ocelli_core::wire::{BatchReport, Intake, Message};
use ocelli_core::{
    Dependence, Digest, FailureClass, ImageFacts, ImageFormat, LeftOut, Need, Outcome, Revision,
    RuleText, Sighting, Want,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::words::*;
use crate::world::World;

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

fn rule(rule_name: &str, when: &str) -> RuleText {
    RuleText { name: rule_name.to_owned(), when: when.to_owned() }
}

/// An intake of which a rule leaves [`LLM`] out.
fn left_out(image: &str, rule: RuleText, seconds: i64) -> Message {
    let left_out = vec![LeftOut { analyzer: name(LLM), rule }];
    let dependence = Dependence { left_out, ..Dependence::default() };
    Message::Intake(Intake { dependence, enqueued_at: at(seconds), ..intake(image, &[]) })
}

fn asked(image: &str, wanted: Want, seconds: i64) -> Message {
    Message::Intake(Intake { wants: vec![wanted], enqueued_at: at(seconds), ..intake(image, &[]) })
}

async fn counts(catalog: &Catalog, analyzer: &str) -> (u64, u64, u64, u64) {
    let status = catalog.status(at(1)).await.unwrap();
    let one = &status.analyzers[&name(analyzer)];
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
    (one.done, one.skipped, one.failed, one.open)
}

async fn found(catalog: &Catalog, query: &str, image: &str) -> bool {
    let query = Query::parse(query).unwrap();
    !catalog.matching(&query, &[digest(image)]).await.unwrap().is_empty()
}

pub(crate) async fn what_a_rule_leaves_out_is_skipped_until_it_is_asked_after_all(world: World) {
    after_all(world, Some(revision(1))).await;
}

pub(crate) async fn what_a_rule_leaves_out_is_asked_where_any_revision_will_do(world: World) {
    after_all(world, None).await;
}

async fn after_all(world: World, revision: Option<Revision>) {
    let (catalog, image) = (world.open().await, "a");
    let again = Want { analyzer: name(LLM), revision };
    let first = left_out(image, rule("small", "bytes < 5"), 10);
    let applied = catalog.apply(&[first.clone(), first.clone()]).await.unwrap();
    assert_eq!(applied.completed, [digest(image)]);
    let record = catalog.record(&digest(image)).await.unwrap().unwrap();
    let answer = record.current(&name(LLM)).unwrap();
    let Outcome::Skipped { rule, reason } = &answer.outcome else { panic!("{answer:?}") };
    assert_eq!((rule.as_str(), reason.as_str()), ("small", "asked only when bytes < 5"));
    assert!(found(&catalog, "is:skipped -has:text", image).await);
    assert_eq!(counts(&catalog, LLM).await, (0, 1, 0, 0));
    // The rule is gone: the same revision is asked, and a failure is not hidden behind the skip.
    catalog.apply(&[asked(image, again, 20)]).await.unwrap();
    assert_eq!(counts(&catalog, LLM).await, (0, 0, 0, 1));
    assert!(!found(&catalog, "is:skipped", image).await);
    // A late duplicate of what the rule said changes nothing.
    catalog.apply(&[first]).await.unwrap();
    let failure = failed(FailureClass::Permanent, "no");
    catalog.apply(&[partial(image, LLM, failure, 30)]).await.unwrap();
    assert_eq!(counts(&catalog, LLM).await, (0, 0, 1, 0));
    catalog.apply(&[partial(image, LLM, done("a cat"), 31)]).await.unwrap();
    assert_eq!(counts(&catalog, LLM).await, (1, 0, 0, 0));
    // And once more under a rule: the text stays, beside the skip.
    catalog.apply(&[left_out(image, rule_of_later(), 40)]).await.unwrap();
    assert_eq!(counts(&catalog, LLM).await, (0, 1, 0, 0));
    assert!(found(&catalog, "cat", image).await && found(&catalog, "is:skipped", image).await);
    catalog.apply(&[asked(image, want(LLM, 1), 50)]).await.unwrap();
    assert_eq!(counts(&catalog, LLM).await, (1, 0, 0, 0), "its answer is there");
    catalog.apply(&[left_out(image, rule_of_later(), 45)]).await.unwrap();
    assert_eq!(counts(&catalog, LLM).await, (1, 0, 0, 0), "the later word counts");
}

fn rule_of_later() -> RuleText {
    rule("later", "bytes < 6")
}

/// An intake whose analyzer [`LLM`] is asked where OCR has read something that is no receipt.
fn held(image: &str, near: Option<u32>) -> Message {
    let need = Need {
        analyzer: name(LLM),
        of: Vec::new(),
        held: true,
        near,
        rules: vec![rule("read", "has:tesseract-ocr"), rule("worth-it", "-receipt bytes > 5")],
        after: vec![name(OCR)],
    };
    let dependence = Dependence { needs: vec![need], ..Dependence::default() };
    Message::Intake(Intake { dependence, ..intake(image, &[OCR, LLM]) })
}

pub(crate) async fn a_rule_about_answers_is_decided_once_they_are_there(world: World) {
    let catalog = world.open().await;
    catalog.apply(&["a", "b", "c", "d"].map(|image| held(image, None))).await.unwrap();
    let status = catalog.status(at(1)).await.unwrap();
    assert_eq!(status.analyzers[&name(LLM)].waiting_for[OCR], 4);
    assert_eq!(counts(&catalog, LLM).await, (0, 0, 0, 4));
    let answers = [
        partial("a", OCR, done("an invoice"), 5),
        partial("b", OCR, done("a receipt"), 5),
        partial("c", OCR, failed(FailureClass::Crash, "killed"), 5),
    ];
    assert_eq!(catalog.apply(&answers).await.unwrap().ready, 3);
    let page = catalog.ready_jobs(&name(LLM), at(1_000), 10).await.unwrap();
    let jobs: Vec<_> = page
        .iter()
        .map(|job| ((job.image.digest, job.analyzer.clone(), job.enqueued_at), job.rules.clone()))
        .collect();
    assert_eq!((jobs.len(), jobs[0].1.len()), (3, 2));
    let mut stale = jobs.clone();
    stale.iter_mut().for_each(|(seen, _)| seen.2 = at(999));
    assert!(catalog.leave_out(&name(LLM), &stale, at(20)).await.unwrap().out.is_empty());
    let left = catalog.leave_out(&name(LLM), &jobs, at(20)).await.unwrap();
    assert_eq!(left.out, BTreeSet::from([digest("b"), digest("c")]));
    assert_eq!(left.completed.len(), 2);
    let again = catalog.leave_out(&name(LLM), &jobs, at(21)).await.unwrap();
    assert!(again.out.is_empty(), "they are settled");
    let record = catalog.record(&digest("c")).await.unwrap().unwrap();
    let answer = &record.current(&name(LLM)).unwrap().outcome;
    assert!(matches!(answer, Outcome::Skipped { rule, .. } if rule == "read"), "{answer:?}");
    let job = catalog.open_job(&digest("a"), &name(LLM)).await.unwrap().unwrap();
    assert_eq!(job.hold, Some(Hold::Ready));
    assert_eq!(counts(&catalog, LLM).await, (0, 2, 0, 2));
    let newer = || rule("newer", "unheard:of");
    let open = jobs.iter().find(|(seen, _)| seen.0 == digest("a")).unwrap();
    let undecided = [(open.0.clone(), vec![newer()])];
    let left = catalog.leave_out(&name(LLM), &undecided, at(22)).await.unwrap();
    assert!(left.out.is_empty(), "nobody knows what it says");
    assert_eq!(left.undecided, BTreeSet::from([digest("a")]));
    assert!(left.unread[&newer()].to_string().contains("unheard"), "{:?}", left.unread);
    let settled = [(open.0.clone(), vec![newer(), rule("read", "has:nobody")])];
    let left = catalog.leave_out(&name(LLM), &settled, at(23)).await.unwrap();
    assert_eq!((left.out, left.undecided), (BTreeSet::from([digest("a")]), BTreeSet::new()));
}

pub(crate) async fn a_backfill_asks_what_no_rule_leaves_out(world: World) {
    let catalog = world.open().await;
    let messages = [
        left_out("a", rule("small", "bytes < 5"), 10),
        asked("b", want(LLM, 1), 10),
        Message::Intake(intake("c", &[OCR])),
        Message::Intake(intake("d", &[OCR])),
        partial("b", LLM, done("x"), 11),
        partial("c", OCR, Outcome::Empty, 11),
    ];
    catalog.apply(&messages).await.unwrap();
    let llm = name(LLM);
    let lacking = async |when: &str, after: &[&str]| {
        let source = RuleSource {
            text: rule("r", when),
            analyzers: vec![llm.clone()],
            after: after.iter().map(|one| name(one)).collect(),
        };
        let rules = Rules::new(vec![Rule::new(source, &QueryLimits::default()).unwrap()]);
        let query = rules.narrow(&Query::parse("").unwrap(), &llm);
        let wanted = revision(2);
        let found = catalog.lacking(&query, Some((&llm, &wanted)), None, 10).await.unwrap();
        ["a", "b", "c", "d"]
            .into_iter()
            .filter(|one| found.contains(&digest(one)))
            .collect::<String>()
    };
    assert_eq!(lacking("bytes < 5", &[]).await, "");
    assert_eq!(lacking("bytes > 5", &[]).await, "abcd", "also what a rule left out before");
    assert_eq!(lacking("not source:a", &[]).await, "bcd");
    assert_eq!(lacking("is:empty", &[OCR]).await, "c");
    assert_eq!(lacking("-is:done", &[OCR]).await, "c", "what OCR has not answered waits");
}

#[derive(Debug, Clone)]
struct Image {
    bytes: u64,
    width: Option<u32>,
    height: Option<u32>,
    format: Option<ImageFormat>,
    path: &'static str,
    seen: i64,
    batch: u128,
    said: &'static [(&'static str, &'static str)],
}

const PATHS: [&str; 4] = ["a.png", "thumbs/a.png", "thumbs/b%20b.jpg", "Thumbs"];
/// What lists say: the same name in several spellings, no text, and a character that no database keeps.
const SAID: [&[(&str, &str)]; 5] = [
    &[],
    &[("author", "Ann Ex")],
    &[("author", "ann ex"), ("pages", "7")],
    &[("author", ""), ("zero", "a\0b")],
    &[("Author", "Ann Ex"), ("pages", "70")],
];
const LEAVES: [&str; 22] = [
    "bytes < 20KB",
    "bytes:>=19999",
    "bytes = 20KB",
    "width >= 640",
    "height:1..640",
    "pixels > 1MP",
    "pixels<=409600",
    "format:png",
    "format:jpeg",
    "source:thumbs/",
    "source:\"b%20b\"",
    "batch:one",
    "batch:00000000-0000-0000-0000-000000000002",
    "after:2024-05-04T09:00:53Z",
    "before:2024-05-04T09:00:53Z",
    "before:2023",
    "meta:author",
    "meta:\"author=Ann Ex\"",
    "meta:author=",
    "meta:pages=7",
    "meta:Author",
    "meta:\"zero=a\u{fffd}b\"",
];

fn image() -> impl Strategy<Value = Image> {
    let side = || prop::option::of(prop::sample::select(vec![1_u32, 639, 640, 641, 4_000_000_000]));
    let format = prop::option::of(prop::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg]));
    let bytes = prop::sample::select(vec![0_u64, 19_999, 20_000, 20_001, 1 << 40]);
    let path = prop::sample::select(PATHS.to_vec());
    let said = prop::sample::select(SAID.to_vec());
    (bytes, side(), side(), format, path, 0_i64..4, 1_u128..3, said).prop_map(
        |(bytes, width, height, format, path, seen, batch, said)| Image {
            bytes,
            width,
            height,
            format,
            path,
            seen,
            batch,
            said,
        },
    )
}

fn when() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(LEAVES.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(3, 10, 3, |inner| {
        let joined = |between: &'static str| {
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(move |parts| format!("({})", parts.join(between)))
        };
        let not = prop_oneof![Just("not "), Just("-"), Just("NOT ")];
        prop_oneof![
            2 => joined(" and "),
            1 => joined(" "),
            2 => joined(" or "),
            2 => (not, inner.clone()).prop_map(|(not, part)| format!("{not}{part}")),
        ]
    })
}

fn check(cases: u32, sqlite: bool) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (world, catalog) = runtime.block_on(async {
        let world = if sqlite { World::sqlite_in_memory() } else { World::postgres().await };
        let catalog = world.open().await;
        let report = |number: u128, of: &str| {
            Message::Batch(BatchReport {
                batch: batch(number),
                name: of.to_owned(),
                started_at: at(0),
                at: at(0),
                finished: false,
                accepted: 0,
                known: 0,
                skipped: 0,
                problems: 0,
            })
        };
        catalog.apply(&[report(1, "one"), report(2, "two")]).await.unwrap();
        (world, catalog)
    });
    let number = std::cell::Cell::new(0);
    let config =
        Config { cases, source_file: Some(file!()), max_shrink_iters: 200, ..Config::default() };
    let corpus = (prop::collection::vec(image(), 1..5), prop::collection::vec(when(), 6));
    let outcome = TestRunner::new(config).run(&corpus, |(images, asks)| {
        number.set(number.get() + 1);
        let taken: Vec<Intake> = images
            .iter()
            .enumerate()
            .map(|(place, image)| {
                let seen = sighting(image.path, image.seen, image.batch);
                Intake {
                    image: ImageFacts {
                        digest: digest(&format!("{}-{place}", number.get())),
                        bytes: image.bytes,
                        format: image.format,
                        width: image.width,
                        height: image.height,
                    },
                    sources: vec![seen.source.clone()],
                    sighting: Some(seen),
                    meta: image
                        .said
                        .iter()
                        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                        .collect(),
                    ..intake("any", &[])
                }
            })
            .collect();
        let messages: Vec<Message> = taken.iter().cloned().map(Message::Intake).collect();
        let digests: Vec<Digest> = taken.iter().map(|intake| intake.image.digest).collect();
        runtime.block_on(async {
            catalog.apply(&messages).await.unwrap();
            for ask in &asks {
                let source =
                    RuleSource { text: rule("r", ask), analyzers: Vec::new(), after: Vec::new() };
                let rules = Rules::new(vec![Rule::new(source, &QueryLimits::default()).unwrap()]);
                let holds = |intake: &&Intake| {
                    let Sighting { source, seen_at, batch } = intake.sighting.as_ref().unwrap();
                    let seeing = Seeing {
                        image: &intake.image,
                        source,
                        seen_at: *seen_at,
                        batch: *batch,
                        batch_name: if batch.uuid().as_u128() == 1 { "one" } else { "two" },
                        meta: &intake.meta,
                    };
                    match rules.decide(&name(LLM), &seeing) {
                        Verdict::Asked => true,
                        Verdict::LeftOut(_) => false,
                        Verdict::Later { .. } => panic!("nothing is left to know: {ask}"),
                    }
                };
                let said: BTreeSet<Digest> =
                    taken.iter().filter(holds).map(|intake| intake.image.digest).collect();
                let query = Query::parse(ask).unwrap();
                let found = catalog.matching(&query, &digests).await.unwrap();
                if found != said {
                    return Err(TestCaseError::fail(format!("{ask}: {found:?}, not {said:?}")));
                }
                let narrowed = rules.narrow(&Query::parse("").unwrap(), &name(LLM));
                prop_assert_eq!(catalog.matching(&narrowed, &digests).await.unwrap(), said);
            }
            Ok(())
        })
    });
    outcome.unwrap();
    drop(world);
}

#[test]
fn a_rule_says_of_an_image_what_a_search_says_on_sqlite() {
    check(300, true);
}

#[test]
fn a_rule_says_of_an_image_what_a_search_says_on_postgres() {
    check(100, false);
}
