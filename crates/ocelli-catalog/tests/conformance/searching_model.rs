//! Random answers and random queries: both backends find what a plain reading of the rules finds. The rules are written down
//! here a second time, over words in a list, without anything of what they test.

use std::collections::BTreeSet;

use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Search, Sort, Total};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, Digest, FailureClass, Outcome, OutcomeKind, Provenance, Reading, Want,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::words::*;
use crate::world::World;

const ANALYZERS: [&str; 2] = [OCR, LLM];
const WORDS: [&str; 8] = ["cat", "Cats", "caf\u{e9}", "scaling", "LING", "open", "dog", "x1"];
const BETWEEN: [&str; 4] = [" ", ", ", "\n", "-"];

#[derive(Debug, Clone)]
struct Answer {
    analyzer: usize,
    revision: u64,
    kind: OutcomeKind,
    words: Vec<(usize, usize)>,
    confidence: Option<u8>,
    time: i64,
}

#[derive(Debug, Clone)]
struct Image {
    seen: i64,
    wants: Vec<Option<u64>>,
    answers: Vec<Answer>,
}

#[derive(Debug, Clone)]
enum Ask {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// Words, whether the first may begin earlier, whether the last may go on.
    Words(Vec<String>, bool, bool),
    Analyzer(usize),
    Has(usize),
    Missing(usize),
    Kind(OutcomeKind),
    Conf(u8),
    After(i64),
}

impl Answer {
    fn text(&self) -> String {
        let pieces =
            self.words.iter().map(|(word, gap)| format!("{}{}", WORDS[*word], BETWEEN[*gap]));
        pieces.collect()
    }

    fn plain(&self) -> Vec<String> {
        if self.kind != OutcomeKind::Done {
            return Vec::new();
        }
        self.words
            .iter()
            .map(|(word, _)| WORDS[*word].to_lowercase().replace('\u{e9}', "e"))
            .collect()
    }

    fn outcome(&self) -> Outcome {
        match self.kind {
            OutcomeKind::Done => Outcome::Done(Reading {
                text: self.text(),
                confidence: self.confidence.map(f32::from),
                ..Reading::default()
            }),
            OutcomeKind::Empty => Outcome::Empty,
            OutcomeKind::Skipped => Outcome::Skipped { rule: "r".into(), reason: "cat".into() },
            OutcomeKind::Failed => failed(FailureClass::Crash, "cat"),
        }
    }
}

impl Image {
    /// The answers that a reader sees.
    fn current<'a>(&'a self) -> Vec<&'a Answer> {
        let of = |analyzer: usize| -> Vec<&'a Answer> {
            let mut kept: Vec<&'a Answer> = Vec::new();
            for answer in self.answers.iter().filter(|answer| answer.analyzer == analyzer) {
                // Revisions of one case differ in time; of one revision the first sent stays here.
                if kept.iter().all(|other| other.revision != answer.revision) {
                    kept.push(answer);
                }
            }
            let newest = |kept: &[&'a Answer]| {
                kept.iter().copied().max_by_key(|answer| (answer.time, revision(answer.revision)))
            };
            let wanted = self.wants.get(analyzer).copied().flatten();
            let answer = match wanted {
                Some(wanted) => kept.iter().copied().find(|answer| answer.revision == wanted),
                None => newest(&kept),
            };
            if answer.is_some_and(|answer| answer.kind != OutcomeKind::Failed) {
                return Vec::from_iter(answer);
            }
            kept.retain(|answer| answer.kind == OutcomeKind::Done);
            answer.into_iter().chain(newest(&kept)).collect()
        };
        (0..ANALYZERS.len()).flat_map(of).collect()
    }

    fn matches(&self, ask: &Ask) -> bool {
        let current = self.current();
        if current.is_empty() {
            self.holds(ask, None)
        } else {
            current.iter().any(|a| self.holds(ask, Some(a)))
        }
    }

    fn holds(&self, ask: &Ask, answer: Option<&Answer>) -> bool {
        match ask {
            Ask::All(parts) => parts.iter().all(|part| self.holds(part, answer)),
            Ask::Any(parts) => parts.iter().any(|part| self.holds(part, answer)),
            Ask::Not(part) => match **part {
                Ask::All(_) | Ask::Any(_) | Ask::Not(_) | Ask::Words(..) => !self.matches(part),
                _ => !self.holds(part, answer),
            },
            Ask::Words(words, before, behind) => answer.is_some_and(|answer| {
                answer.plain().windows(words.len()).any(|run| stands(run, words, *before, *behind))
            }),
            Ask::Analyzer(analyzer) => answer.is_some_and(|answer| answer.analyzer == *analyzer),
            Ask::Has(analyzer) => self
                .current()
                .iter()
                .any(|a| a.analyzer == *analyzer && a.kind == OutcomeKind::Done),
            Ask::Missing(analyzer) => self.current().iter().all(|a| a.analyzer != *analyzer),
            Ask::Kind(kind) => answer.is_some_and(|answer| answer.kind == *kind),
            Ask::Conf(least) => answer.is_some_and(|answer| {
                answer.kind == OutcomeKind::Done && answer.confidence.is_some_and(|c| c >= *least)
            }),
            Ask::After(time) => self.seen >= *time,
        }
    }
}

fn stands(run: &[String], words: &[String], before: bool, behind: bool) -> bool {
    (0..words.len()).all(|place| {
        let (first, last) = (before && place == 0, behind && place + 1 == words.len());
        let (text, word) = (&run[place], &words[place]);
        match (first, last) {
            (true, true) => text.contains(word),
            (true, false) => text.ends_with(word),
            (false, true) => text.starts_with(word),
            (false, false) => text == word,
        }
    })
}

/// As a person would type it.
fn typed(ask: &Ask) -> String {
    let group = |part: &Ask| match part {
        Ask::All(_) | Ask::Any(_) => format!("({})", typed(part)),
        _ => typed(part),
    };
    match ask {
        Ask::All(parts) => parts.iter().map(group).collect::<Vec<_>>().join(" "),
        Ask::Any(parts) => parts.iter().map(group).collect::<Vec<_>>().join(" OR "),
        Ask::Not(part) => format!("-{}", group(part)),
        Ask::Words(words, before, behind) => {
            let star = |open: &bool| if *open { "*" } else { "" };
            format!("{}\"{}\"{}", star(before), words.join(" "), star(behind))
        }
        Ask::Analyzer(analyzer) => format!("analyzer:{}", ANALYZERS[*analyzer]),
        Ask::Has(analyzer) => format!("has:{}", ANALYZERS[*analyzer]),
        Ask::Missing(analyzer) => format!("missing:{}", ANALYZERS[*analyzer]),
        Ask::Kind(kind) => format!("is:{}", kind.name()),
        Ask::Conf(least) => format!("conf:>={least}"),
        Ask::After(time) => format!("after:{}", at(*time)),
    }
}

fn answer() -> impl Strategy<Value = Answer> {
    let kind = prop::sample::select(vec![
        OutcomeKind::Done,
        OutcomeKind::Done,
        OutcomeKind::Done,
        OutcomeKind::Done,
        OutcomeKind::Empty,
        OutcomeKind::Skipped,
        OutcomeKind::Failed,
    ]);
    let words = prop::collection::vec((0..WORDS.len(), 0..BETWEEN.len()), 0..5);
    (0..ANALYZERS.len(), 1_u64..3, kind, words, prop::option::of(50_u8..53), 0_i64..3).prop_map(
        |(analyzer, revision, kind, words, confidence, time)| Answer {
            analyzer,
            revision,
            kind,
            words,
            confidence,
            time: time * 2 + i64::try_from(revision).unwrap() % 2,
        },
    )
}

fn image() -> impl Strategy<Value = Image> {
    let wants = prop::collection::vec(prop::option::of(1_u64..3), 0..3);
    (0_i64..4, wants, prop::collection::vec(answer(), 0..4)).prop_map(
        |(seen, wants, mut answers)| {
            // Of two answers of one revision another rule decides, which has tests of its own.
            let mut keys = BTreeSet::new();
            answers.retain(|answer| keys.insert((answer.analyzer, answer.revision)));
            Image { seen, wants, answers }
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    let word = prop::sample::select(vec![
        "cat", "cats", "cafe", "scaling", "ling", "open", "dog", "x1", "cal", "ca",
    ]);
    let words =
        (prop::collection::vec(word.prop_map(str::to_owned), 1..3), any::<bool>(), any::<bool>())
            .prop_map(|(words, before, behind)| {
                let before = before && words.join(" ").len() > 2;
                Ask::Words(words, before, behind)
            });
    let leaf = prop_oneof![
        6 => words,
        1 => (0..ANALYZERS.len()).prop_map(Ask::Analyzer),
        1 => (0..ANALYZERS.len()).prop_map(Ask::Has),
        1 => (0..ANALYZERS.len()).prop_map(Ask::Missing),
        1 => prop::sample::select(OutcomeKind::ALL.to_vec()).prop_map(Ask::Kind),
        1 => (50_u8..54).prop_map(Ask::Conf),
        1 => (0_i64..4).prop_map(Ask::After),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(Ask::All),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(Ask::Any),
            2 => inner.prop_map(|part| match part {
                Ask::Not(_) => part,
                other => Ask::Not(Box::new(other)),
            }),
        ]
    })
}

fn messages(prefix: &str, images: &[Image]) -> Vec<Message> {
    let mut messages = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let label = format!("{prefix}-{number}");
        let wants = image.wants.iter().zip(ANALYZERS).map(|(wanted, analyzer)| Want {
            analyzer: name(analyzer),
            revision: wanted.map(revision),
        });
        messages.push(Message::Intake(Intake {
            wants: wants.collect(),
            sighting: Some(sighting(&label, image.seen, 1)),
            ..intake(&label, &[])
        }));
        for answer in &image.answers {
            let analysis = Analysis {
                analyzer: name(ANALYZERS[answer.analyzer]),
                revision: revision(answer.revision),
                outcome: answer.outcome(),
                attempts: 1,
                finished_at: at(answer.time),
                provenance: Provenance::default(),
            };
            let digest = Digest::of(label.as_bytes());
            messages.push(Message::Partial(Box::new(Partial {
                digest,
                analysis,
                hash: None,
                image: None,
            })));
        }
    }
    messages
}

fn check(cases: u32, sqlite: bool) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The second counts hardly anything, so that it finds every page of more than one record on its way along the order of time.
    let (world, catalog, walking) = runtime.block_on(async {
        let world = if sqlite { World::sqlite_in_memory() } else { World::postgres().await };
        let catalog = world.open().await;
        let options = CatalogOptions { counted: 1, ..CatalogOptions::default() };
        let walking = Catalog::open(&world.url, options).await.unwrap();
        (world, catalog, walking)
    });
    let state = std::cell::RefCell::new((Vec::<(Digest, Image)>::new(), 0));
    let config =
        Config { cases, source_file: Some(file!()), max_shrink_iters: 200, ..Config::default() };
    let corpus = (prop::collection::vec(image(), 1..4), prop::collection::vec(ask(), 4));
    let outcome = TestRunner::new(config).run(&corpus, |(images, asks)| {
        let (all, number) = &mut *state.borrow_mut();
        *number += 1;
        let prefix = number.to_string();
        let named = images.iter().enumerate();
        all.extend(named.map(|(place, image)| {
            (Digest::of(format!("{prefix}-{place}").as_bytes()), image.clone())
        }));
        runtime.block_on(async {
            catalog.apply(&messages(&prefix, &images)).await.unwrap();
            for ask in &asks {
                let expected: BTreeSet<Digest> = all
                    .iter()
                    .filter(|(_, image)| image.matches(ask))
                    .map(|(digest, _)| *digest)
                    .collect();
                let query = Query::parse(&typed(ask)).unwrap();
                let search = Search {
                    query,
                    sort: Sort::Relevance,
                    limit: 1_000,
                    cursor: None,
                    facets: false,
                };
                let page = catalog.search(&search).await.unwrap();
                let found: BTreeSet<Digest> = page.hits.iter().map(|hit| hit.digest).collect();
                prop_assert_eq!(page.total.records, found.len() as u64, "{}", typed(ask));
                let page = walking.search(&search).await.unwrap();
                let walked: BTreeSet<Digest> = page.hits.iter().map(|hit| hit.digest).collect();
                prop_assert_eq!(&walked, &found, "on the way: {}", typed(ask));
                let counted = Total { records: found.len().min(1) as u64, more: found.len() > 1 };
                prop_assert_eq!(page.total, counted, "on the way: {}", typed(ask));
                if found != expected {
                    let wrong = found.symmetric_difference(&expected).next().unwrap();
                    let image = all.iter().find(|(digest, _)| digest == wrong).unwrap();
                    return Err(TestCaseError::fail(format!("{}: {image:?}", typed(ask))));
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
    let audit = runtime.block_on(catalog.audit()).unwrap();
    assert_eq!(audit.problems, Vec::<String>::new());
    drop(world);
}

#[test]
fn any_query_finds_what_the_rules_say_on_sqlite() {
    check(150, true);
}

#[test]
fn any_query_finds_what_the_rules_say_on_postgres() {
    check(100, false);
}
