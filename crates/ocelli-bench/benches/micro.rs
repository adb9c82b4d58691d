//! The hot pure parts: what every message, record and query costs. `make bench BENCH=micro`; `cargo test --bench micro` runs each
//! of them once.

use divan::{Bencher, black_box};
use jiff::Timestamp;
use ocelli_catalog::query::Query;
use ocelli_core::agreement::Agreement;
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Dependence, Digest, ImageFacts, ImageFormat, Outcome,
    Provenance, Reading, Record, RevisionBuilder, Sighting, SourceUri, Want, Word,
};

fn main() {
    divan::main();
}

/// Words of a reading of a full page.
const WORDS: usize = 300;

fn analyzer(name: &str) -> AnalyzerName {
    name.parse().expect("a name")
}

fn source() -> SourceUri {
    "file:///archive/2024/05/04/scaling-open-language-models.png".parse().expect("a source")
}

fn facts() -> ImageFacts {
    ImageFacts {
        digest: Digest::of(b"image"),
        bytes: 123_456,
        format: Some(ImageFormat::Png),
        width: Some(1200),
        height: Some(800),
    }
}

fn sighting() -> Sighting {
    let batch = BatchId::new(uuid::Uuid::nil());
    Sighting { source: source(), seen_at: Timestamp::UNIX_EPOCH, batch }
}

fn intake() -> Message {
    let names = ["tesseract-ocr", "gemma3-27b-vision", "llama3.2-vision"];
    Message::Intake(Intake {
        image: facts(),
        sources: vec![source()],
        sighting: Some(sighting()),
        wants: names.map(|name| Want { analyzer: analyzer(name), revision: None }).to_vec(),
        refusal: None,
        enqueued_at: Timestamp::UNIX_EPOCH,
        dependence: Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    })
}

fn word(number: usize) -> Word {
    let at = i32::try_from(number).unwrap_or(0);
    Word {
        text: format!("word{number}"),
        x: at * 7 % 900,
        y: at / 10 * 24,
        w: 60,
        h: 20,
        confidence: 91.5,
        line: u32::try_from(number / 10).unwrap_or(0),
        step: "page".to_owned(),
    }
}

/// What an OCR worker answers about a full page.
fn page() -> Analysis {
    let words: Vec<Word> = (0..WORDS).map(word).collect();
    let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let text = text.join(" ");
    Analysis {
        analyzer: analyzer("tesseract-ocr"),
        revision: RevisionBuilder::new("ocr").build(),
        outcome: Outcome::Done(Reading { text, words, ..Reading::default() }),
        attempts: 1,
        finished_at: Timestamp::UNIX_EPOCH,
        provenance: Provenance { engine: "tesseract 5.3.0".to_owned(), ..Provenance::default() },
    }
}

/// What a vision model answers about it.
fn answer() -> Analysis {
    let quotes: Vec<String> = (0..12)
        .map(|n| format!("The sign says \"word{} word{} word{}\".", n * 9, n * 9 + 1, n * 9 + 2))
        .collect();
    let text = format!("## Text\n\n{}\n\n## Meaning\n\nA page of words.", quotes.join(" "));
    Analysis {
        analyzer: analyzer("gemma3-27b-vision"),
        outcome: Outcome::Done(Reading { text, ..Reading::default() }),
        ..page()
    }
}

fn partial() -> Message {
    Message::Partial(Box::new(Partial {
        digest: facts().digest,
        hash: None,
        image: None,
        analysis: page(),
    }))
}

#[divan::bench]
fn encode_a_job(bencher: Bencher<'_, '_>) {
    let message = intake();
    bencher.bench(|| black_box(&message).encode().expect("it is encoded"));
}

#[divan::bench]
fn decode_a_job(bencher: Bencher<'_, '_>) {
    let bytes = intake().encode().expect("it is encoded");
    bencher.bench(|| Message::decode(black_box(&bytes)).expect("it is read"));
}

#[divan::bench]
fn encode_a_page_of_words(bencher: Bencher<'_, '_>) {
    let message = partial();
    bencher.bench(|| black_box(&message).encode().expect("it is encoded"));
}

#[divan::bench]
fn decode_a_page_of_words(bencher: Bencher<'_, '_>) {
    let bytes = partial().encode().expect("it is encoded");
    bencher.bench(|| Message::decode(black_box(&bytes)).expect("it is read"));
}

#[divan::bench]
fn merge_two_records(bencher: Bencher<'_, '_>) {
    let mut one = Record::new(facts());
    one.add_sighting(sighting());
    one.add_analysis(page());
    let mut other = Record::new(facts());
    other.add_analysis(answer());
    bencher.with_inputs(|| (one.clone(), other.clone())).bench_values(|(mut one, other)| {
        one.merge(other);
        one
    });
}

#[divan::bench]
fn hash_a_revision() -> ocelli_core::Revision {
    let mut builder = RevisionBuilder::new("llm");
    for name in ["model", "model-digest", "prompt", "temperature", "side", "format"] {
        builder = builder.part(black_box(name), black_box("a value of some length"));
    }
    builder.build()
}

#[divan::bench]
fn agree_on_a_page(bencher: Bencher<'_, '_>) {
    let answers = [page(), answer()];
    bencher.bench(|| Agreement::of(black_box(&answers)));
}

#[divan::bench]
fn parse_a_query() -> Query {
    let text = r#""open language" (scaling OR llam*) -is:partial after:2024 analyzer:tesseract-ocr agreement:<0.5"#;
    Query::parse(black_box(text)).expect("a query")
}
