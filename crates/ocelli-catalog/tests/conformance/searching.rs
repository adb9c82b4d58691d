//! What a query finds: each behaviour on both backends.

use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Page, Search, Sort, Total};
use ocelli_catalog::{Catalog, FailureFilter};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, Digest, FailureClass, Flag, ImageFacts, ImageFormat, Outcome, Provenance, Reading,
};

use crate::words::*;
use crate::world::World;

pub(crate) async fn ask(catalog: &Catalog, query: &str, sort: Sort) -> Page {
    let query = Query::parse(query).unwrap();
    catalog.search(&Search { query, sort, limit: 100, cursor: None, facets: false }).await.unwrap()
}

/// The names of the images found, oldest first. Images are named in [`NAMES`].
pub(crate) async fn found(catalog: &Catalog, query: &str) -> Vec<&'static str> {
    let page = ask(catalog, query, Sort::Oldest).await;
    assert_eq!(page.total, Total { records: page.hits.len() as u64, more: false }, "{query}");
    page.hits.iter().map(|hit| named(&hit.digest)).collect()
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

pub(crate) fn named(digest: &Digest) -> &'static str {
    NAMES.into_iter().find(|name| Digest::of(name.as_bytes()) == *digest).unwrap()
}

/// Intake of `image`, seen so many seconds after the start, asking both analyzers.
pub(crate) fn seen(image: &str, seconds: i64) -> Message {
    Message::Intake(Intake {
        sighting: Some(sighting(image, seconds, 1)),
        ..intake(image, &[OCR, LLM])
    })
}

fn answered(image: &str, analyzer: &str, number: u64, outcome: Outcome, seconds: i64) -> Message {
    let analysis = Analysis {
        analyzer: name(analyzer),
        revision: revision(number),
        outcome,
        attempts: 1,
        finished_at: at(seconds),
        provenance: Provenance { model: Some("Gemma3:27b".to_owned()), ..Provenance::default() },
    };
    let digest = Digest::of(image.as_bytes());
    Message::Partial(Box::new(Partial { digest, analysis, hash: None, image: None }))
}

pub(crate) async fn with(world: &World, texts: &[(&str, &str, &str)]) -> Catalog {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for (image, analyzer, text) in texts {
        let place = NAMES.iter().position(|name| name == image).unwrap();
        messages.push(seen(image, place as i64));
        messages.push(partial(image, analyzer, done(text), 50));
    }
    assert!(catalog.apply(&messages).await.unwrap().rejected.is_empty());
    catalog
}

pub(crate) async fn words_phrases_prefixes_and_insides_are_found(world: World) {
    let catalog = with(
        &world,
        &[
            ("a", OCR, "Scaling Open\nLanguage Models"),
            ("b", OCR, "RE16TGK, open the language"),
            ("c", OCR, "Le CAFÉ brûle à Łódź; die Straße"),
            ("d", OCR, "東京タワー 2024"),
            ("e", OCR, "don't e-mail x_y 100%"),
        ],
    )
    .await;
    for (query, expected) in [
        ("open", &["a", "b"][..]),
        ("OPEN language", &["a", "b"]),
        ("\"open language\"", &["a"]),
        ("scal*", &["a"]),
        ("\"open lang\"*", &["a"]),
        ("scal", &[]),
        ("*16tg*", &["b"]),
        ("*16TGK", &["b"]),
        ("*16tg", &[]),
        ("*caling", &["a"]),
        ("*pen the lan*", &["b"]),
        ("*pen lan*", &["a", "b"]),
        ("*\"pen lan\"*", &["a"]),
        ("*\"pen the lan\"*", &["b"]),
        ("cafe", &["c"]),
        ("CAFE\u{301} brule", &["c"]),
        ("lodz strasse", &["c"]),
        ("東京", &["d"]),
        ("京タ", &["d"]),
        ("東タ", &[]),
        ("2024", &["d"]),
        ("don't", &["e"]),
        ("email", &[]),
        ("e-mail", &["e"]),
        ("x_y 100", &["e"]),
        ("open OR cafe", &["a", "b", "c"]),
        ("open -scaling", &["b"]),
        ("(scaling | cafe) -open", &["c"]),
        ("-open", &["c", "d", "e"]),
        ("open *16tg* lang*", &["b"]),
        ("*16tg* OR cafe", &["b", "c"]),
    ] {
        assert_eq!(found(&catalog, query).await, expected, "{query}");
    }
}

pub(crate) async fn all_of_a_query_must_hold_for_one_answer_and_hits_name_their_analyzers(
    world: World,
) {
    let catalog = with(
        &world,
        &[
            ("a", OCR, "cat"),
            ("a", LLM, "A dog on a mat"),
            ("b", OCR, "cat dog"),
            ("b", LLM, "cat"),
        ],
    )
    .await;
    assert_eq!(found(&catalog, "cat dog").await, ["b"]);
    assert_eq!(found(&catalog, "cat -mat").await, ["b"], "excluded words stand in no answer");
    assert_eq!(found(&catalog, "-(cat dog)").await, ["a"]);
    assert_eq!(found(&catalog, &format!("dog analyzer:{LLM}")).await, ["a"]);
    assert_eq!(found(&catalog, &format!("dog -analyzer:{LLM}")).await, ["b"]);
    let page = ask(&catalog, "dog OR cat", Sort::Oldest).await;
    let answers = |place: usize| -> Vec<(String, Vec<(usize, usize)>)> {
        let hit: &ocelli_catalog::search::Hit = &page.hits[place];
        let marks = |answer: &ocelli_catalog::search::HitAnswer| {
            (answer.analyzer.to_string(), answer.snippet.as_ref().unwrap().marks.clone())
        };
        hit.answers.iter().map(marks).collect()
    };
    assert_eq!(answers(0), [(LLM.to_owned(), vec![(2, 5)]), (OCR.to_owned(), vec![(0, 3)])]);
    assert_eq!(
        answers(1),
        [(LLM.to_owned(), vec![(0, 3)]), (OCR.to_owned(), vec![(0, 3), (4, 7)])]
    );
    assert_eq!(page.hits[0].first_seen, Some(at(0)));
    assert_eq!(page.hits[0].source, Some(source("a")));
    assert_eq!(page.hits[0].format, Some(ImageFormat::Png));
}

pub(crate) async fn filters_tell_states_times_sources_and_models_apart(world: World) {
    let catalog = world.open().await;
    let reading = |text: &str, confidence, flags: &[Flag]| {
        Outcome::Done(Reading {
            text: text.to_owned(),
            confidence,
            flags: flags.to_vec(),
            languages: Some("eng+deu".to_owned()),
            ..Reading::default()
        })
    };
    let mut refused = intake("f", &[OCR]);
    refused.refusal = Some("an archive".to_owned());
    refused.sighting = None;
    refused.image = ImageFacts { format: None, ..refused.image };
    let mut elsewhere = intake("e", &[OCR]);
    elsewhere.sighting = Some(sighting("e", 86_400, 2));
    let mut report = report(2, 0, 1);
    report.name = "second look".to_owned();
    catalog
        .apply(&[
            seen("a", 0),
            answered("a", OCR, 1, reading("one", Some(90.0), &[]), 5),
            answered("a", LLM, 1, done("one by a model"), 5),
            seen("b", 1),
            answered("b", OCR, 1, reading("one", Some(59.99), &[Flag::Partial]), 5),
            partial("b", LLM, failed(FailureClass::Quality, "it repeats itself"), 6),
            seen("c", 2),
            partial("c", OCR, Outcome::Empty, 5),
            seen("d", 3),
            partial("d", OCR, Outcome::Skipped { rule: "r".into(), reason: "too small".into() }, 5),
            answered("d", LLM, 1, reading("none", None, &[Flag::Refused]), 5),
            Message::Intake(elsewhere),
            Message::Intake(refused),
            Message::Batch(report),
        ])
        .await
        .unwrap();
    let second = batch(2).to_string();
    for (query, expected) in [
        ("is:done", &["a", "b", "d"][..]),
        ("is:failed", &["b"]),
        ("is:empty", &["c"]),
        ("is:skipped", &["d"]),
        ("is:partial", &["b"]),
        ("is:flagged", &["b", "d"]),
        ("is:refused", &["f"]),
        ("is:complete", &["f", "a", "b", "d"]),
        ("is:incomplete", &["c", "e"]),
        ("is:older", &[]),
        ("has:text", &["a", "b", "d"]),
        ("has:llama3.2-vision", &["a", "d"]),
        ("-has:llama3.2-vision", &["f", "b", "c", "e"]),
        ("missing:llama3.2-vision", &["f", "c", "e"]),
        ("missing:llama3.2-vision -is:refused", &["c", "e"]),
        ("missing:tesseract-ocr is:done", &[]),
        ("lang:deu", &["a", "b", "d"]),
        ("lang:eu", &[]),
        ("conf:<60", &["b"]),
        ("conf:>=60", &["a"]),
        ("conf:59.99..90", &["a", "b"]),
        ("-conf:>=60 analyzer:tesseract-ocr", &["b", "c", "d"]),
        ("one conf:>0", &["a", "b"]),
        ("one -conf:>0", &["a"]),
        ("one model:gemma", &["a", "b"]),
        ("model:GEMMA3:27", &["a", "b", "d"]),
        ("before:2024-05-04T09:00:52Z", &["a"]),
        ("after:2024-05-04T09:00:53Z before:2024-05-05", &["c", "d"]),
        ("after:2024-05-05", &["e"]),
        ("source:pictures/b", &["b"]),
        ("source:%", &[]),
        ("source:file:///", &["a", "b", "c", "d", "e"]),
        ("batch:\"second look\"", &["e"]),
        (&format!("batch:{second}"), &["e"]),
        ("batch:pictures", &[]),
        ("format:png", &["a", "b", "c", "d", "e"]),
        ("format:jpeg", &[]),
        ("", &["f", "a", "b", "c", "d", "e"]),
        ("one OR is:refused", &["f", "a", "b"]),
        ("-one", &["f", "c", "d", "e"]),
    ] {
        assert_eq!(found(&catalog, query).await, expected, "{query}");
    }
    let page = ask(&catalog, "is:failed", Sort::Newest).await;
    let answer = &page.hits[0].answers[0];
    assert_eq!((answer.reason.as_deref(), &answer.snippet), (Some("it repeats itself"), &None));
}

pub(crate) async fn only_current_answers_are_found_unless_older_ones_are_asked_for(world: World) {
    let catalog = with(&world, &[("a", OCR, "old text")]).await;
    let mut newer = intake("a", &[]);
    newer.wants = vec![want(OCR, 2)];
    newer.enqueued_at = at(100);
    catalog.apply(&[Message::Intake(newer)]).await.unwrap();
    assert_eq!(found(&catalog, "text").await, ["a"], "until what is asked for is there");
    assert_eq!(found(&catalog, "text is:older").await, [""; 0]);
    let failure = failed(FailureClass::Crash, "it died");
    catalog.apply(&[answered("a", OCR, 2, failure, 100)]).await.unwrap();
    assert_eq!(found(&catalog, "is:failed").await, ["a"]);
    assert_eq!(found(&catalog, "text").await, ["a"], "a failure takes no text away");
    catalog.apply(&[answered("a", OCR, 2, done("new text"), 101)]).await.unwrap();
    assert_eq!(found(&catalog, "new").await, ["a"]);
    assert_eq!(found(&catalog, "old").await, [""; 0]);
    assert_eq!(found(&catalog, "old is:older").await, ["a"]);
    assert_eq!(found(&catalog, "new is:older").await, [""; 0]);
    let page = ask(&catalog, "text is:older", Sort::Newest).await;
    assert_eq!(page.hits[0].answers.len(), 1);
    assert_eq!(
        (page.hits[0].answers[0].current, &page.hits[0].answers[0].revision),
        (false, &revision(1))
    );
    // Of an analyzer that nobody wants any revision of, the newest answer is the current one.
    catalog
        .apply(&[
            answered("a", "guest", 1, done("first guest"), 1),
            answered("a", "guest", 2, done("second guest"), 2),
        ])
        .await
        .unwrap();
    assert_eq!(found(&catalog, "second").await, ["a"]);
    assert_eq!(found(&catalog, "first").await, [""; 0]);
}

pub(crate) async fn a_reading_that_replaces_a_failure_is_found_and_what_is_taken_out_is_not(
    world: World,
) {
    let catalog = world.open().await;
    let failure = partial("a", OCR, failed(FailureClass::Crash, "killed"), 1);
    catalog.apply(&[Message::Intake(intake("a", &[OCR])), failure.clone()]).await.unwrap();
    assert_eq!(found(&catalog, "is:failed").await, ["a"]);
    catalog
        .reopen_failures(&FailureFilter { limit: 10, ..FailureFilter::default() })
        .await
        .unwrap();
    assert_eq!(found(&catalog, "is:failed").await, [""; 0]);
    assert_eq!(found(&catalog, "missing:tesseract-ocr").await, ["a"]);
    let again = partial("a", OCR, failed(FailureClass::Crash, "killed"), 5);
    catalog.apply(&[again]).await.unwrap();
    catalog.apply(&[partial("a", OCR, done("second words"), 8)]).await.unwrap();
    catalog.apply(&[partial("a", OCR, done("second words"), 8)]).await.unwrap();
    assert_eq!(found(&catalog, "second is:done").await, ["a"]);
    assert_eq!(found(&catalog, "is:failed").await, [""; 0]);
    // The earlier of two answers of one revision stays, and with it its words.
    catalog.apply(&[partial("a", OCR, done("first words"), 7)]).await.unwrap();
    assert_eq!(found(&catalog, "first").await, ["a"]);
    assert_eq!(found(&catalog, "second").await, [""; 0]);
    assert_eq!(found(&catalog, "*econd*").await, [""; 0]);
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn an_answer_before_its_intake_is_found_once_the_record_is_there(world: World) {
    let catalog = world.open().await;
    catalog.apply(&[partial("a", OCR, done("early"), 5)]).await.unwrap();
    assert_eq!(found(&catalog, "early").await, [""; 0]);
    catalog.apply(&[Message::Intake(intake("a", &[OCR]))]).await.unwrap();
    assert_eq!(found(&catalog, "early").await, ["a"]);
}

pub(crate) async fn hostile_texts_and_queries_are_only_words(world: World) {
    let huge = format!("{} needle", "haystack ".repeat(560_000));
    let unbroken = "x".repeat(5_000_000);
    let different: String = (0..400_000).map(|number| format!("w{number} ")).collect();
    let catalog = with(
        &world,
        &[
            ("a", OCR, "nul\0l \u{fffd} '; DROP TABLE images; -- \" OR \u{1b}[31m 100% a_b \\"),
            ("b", OCR, &huge),
            ("c", OCR, &unbroken),
            ("d", OCR, &different),
            ("e", OCR, "AND OR NOT NEAR rowid text"),
        ],
    )
    .await;
    for (query, expected) in [
        ("\"drop table images\"", &["a"][..]),
        ("'; -drop", &[]),
        ("\"%\" OR x", &[]),
        ("haystack", &["b"]),
        ("needle", &[]),
        ("xxxx*", &["c"]),
        ("*xxxx*", &["c"]),
        ("w17 w4711", &["d"]),
        ("\"AND OR NOT NEAR\"", &["e"]),
        ("rowid text", &["e"]),
        ("source:\"' OR 1=1 --\"", &[]),
        ("batch:\"\0\"", &[]),
        ("31m", &["a"]),
    ] {
        let Ok(parsed) = Query::parse(query) else {
            assert!(expected.is_empty(), "{query}");
            continue;
        };
        let search =
            Search { query: parsed, sort: Sort::Oldest, limit: 10, cursor: None, facets: false };
        let page = catalog.search(&search).await.unwrap();
        let names: Vec<_> = page.hits.iter().map(|hit| named(&hit.digest)).collect();
        assert_eq!(names, expected, "{query}");
    }
    let worst = format!("({})", vec!["*xxx* OR w1* OR -(haystack needle)"; 16].join(") ("));
    assert_eq!(ask(&catalog, &worst, Sort::Relevance).await.hits.len(), 5);
    let deep = format!("{}haystack", "-".repeat(15));
    assert_eq!(found(&catalog, &deep).await, ["a", "c", "d", "e"]);
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}
