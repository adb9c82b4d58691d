//! Measures the search index on made-up texts: what it costs when analyses are written, and how long searches take.
//!
//! `cargo run --release -p ocelli-catalog --example bench-search -- URL RECORDS`, where URL is that of an empty catalog. On SQLite
//! the first fifth is written without the FTS tables, so that the two rates can be compared in one run.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Search, Sort};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, BatchId, Digest, ImageFacts, ImageFormat, Outcome, Provenance, Reading,
    RevisionBuilder, Sighting, Want,
};
use sqlx::{Connection as _, Executor as _};

type Failed = Box<dyn std::error::Error>;

/// Records of one transaction.
const AT_ONCE: u64 = 250;
/// Searches per query.
const ROUNDS: usize = 15;

/// Common and rare words, phrases, parts of words and filters.
const QUERIES: [&str; 12] = [
    "w3",
    "w500",
    "w20000",
    "w500 w700",
    "\"w40 w41\"",
    "w500 OR w20000",
    "w1999*",
    "*19999*",
    "w700 analyzer:tesseract-ocr",
    "w500 conf:<60 after:2024-06",
    "w2000 -w3",
    "is:done",
];

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, records] = arguments.as_slice() else {
        return Err("usage: bench-search URL RECORDS".into());
    };
    let records: u64 = records.parse()?;
    let catalog = Catalog::open(url, CatalogOptions::default()).await?;
    let mut random = 1_u64;
    let mut from = 0;
    if let Some(path) = url.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
        let trigger: String =
            sqlx::query_scalar("SELECT sql FROM sqlite_schema WHERE name = 'search_texts_added'")
                .fetch_one(&mut connection)
                .await?;
        connection.execute("DROP TRIGGER search_texts_added").await?;
        from = records / 5;
        write(&catalog, 0..from, &mut random, "without the FTS tables").await?;
        connection.execute(sqlx::AssertSqlSafe(trigger)).await?;
        connection.close().await?;
    }
    write(&catalog, from..records, &mut random, "with the whole index").await?;
    for query in QUERIES {
        let mut times = Vec::new();
        let mut total = None;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let search = Search {
                query: Query::parse(query)?,
                sort: Sort::Relevance,
                limit: 20,
                cursor: None,
                facets: false,
            };
            total = Some(catalog.search(&search).await?.total);
            times.push(started.elapsed());
        }
        times.sort_unstable();
        let (middle, most) = (times[ROUNDS / 2], times[ROUNDS * 95 / 100]);
        let records = total.map(|total| (total.records, total.more));
        println!("{query:32} {middle:>10.1?} p50 {most:>10.1?} p95  {records:?}");
    }
    catalog.close().await;
    Ok(())
}

async fn write(
    catalog: &Catalog,
    numbers: std::ops::Range<u64>,
    random: &mut u64,
    how: &str,
) -> Result<(), Failed> {
    let count = numbers.end - numbers.start;
    let mut spent = Duration::ZERO;
    let mut number = numbers.start;
    while number < numbers.end {
        let end = (number + AT_ONCE).min(numbers.end);
        let messages: Result<Vec<_>, Failed> =
            (number..end).map(|number| record(number, random)).collect();
        let messages: Vec<Message> = messages?.into_iter().flatten().collect();
        let started = Instant::now();
        catalog.apply(&messages).await?;
        spent += started.elapsed();
        number = end;
    }
    let rate = 2.0 * count as f64 / spent.as_secs_f64();
    println!("{count} records, 2 analyses each, {how}: {rate:.0} analyses/s");
    Ok(())
}

/// An image with 40 words by Tesseract and 250 by a model.
fn record(number: u64, random: &mut u64) -> Result<[Message; 3], Failed> {
    let digest = Digest::of(&number.to_le_bytes());
    let seen_at = Timestamp::from_second(1_704_067_200 + i64::try_from(number)? * 31)?;
    let source: ocelli_core::SourceUri =
        format!("https://example.org/pictures/{number}.png").parse()?;
    let revision = RevisionBuilder::new("bench").build();
    let mut wants = Vec::new();
    let mut answer = |analyzer: &str, words: usize| -> Result<Message, Failed> {
        let analyzer: ocelli_core::AnalyzerName = analyzer.parse()?;
        wants.push(Want { analyzer: analyzer.clone(), revision: Some(revision.clone()) });
        let words: Vec<String> = (0..words).map(|_| word(random)).collect();
        let reading = Reading {
            text: words.join(" "),
            confidence: Some((number % 100) as f32),
            languages: Some("eng".to_owned()),
            ..Reading::default()
        };
        let analysis = Analysis {
            analyzer,
            revision: revision.clone(),
            outcome: Outcome::Done(reading),
            attempts: 1,
            finished_at: seen_at,
            provenance: Provenance::default(),
        };
        Ok(Message::Partial(Box::new(Partial { digest, analysis })))
    };
    let answers = [answer("tesseract-ocr", 40)?, answer("gemma3-27b-vision", 250)?];
    let intake = Intake {
        image: ImageFacts {
            digest,
            bytes: 1,
            format: Some(ImageFormat::Png),
            width: None,
            height: None,
        },
        sources: vec![],
        sighting: Some(Sighting { source, seen_at, batch: BatchId::new(uuid::Uuid::nil()) }),
        wants,
        refusal: None,
        enqueued_at: seen_at,
        dependence: ocelli_core::Dependence::default(),
    };
    let [ocr, llm] = answers;
    Ok([Message::Intake(intake), ocr, llm])
}

/// `w1` is common, `w50000` rare: about as in real language (the rank is spread over powers of ten).
fn word(random: &mut u64) -> String {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let share = (*random >> 11) as f64 / (1_u64 << 53) as f64;
    format!("w{}", 50_000_f64.powf(share) as u64)
}
