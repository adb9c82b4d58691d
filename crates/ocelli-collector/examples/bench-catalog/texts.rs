//! Made-up records and queries. The same number gives the same record in every run.

use jiff::Timestamp;
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, BatchId, Dependence, Digest, ImageFacts, ImageFormat, Outcome, Provenance, Reading,
    Revision, RevisionBuilder, Sighting, Want,
};

use crate::Failed;

pub(crate) const ANALYZERS: [&str; 2] = ["tesseract-ocr", "gemma3-27b-vision"];
/// Bytes of a text.
const LENGTH: usize = 300;
/// Different words, apart from those that occur once.
const WORDS: usize = 50_000;
/// Every so many words one that nobody wrote before.
const ODD: u64 = 50;
const FIRST: i64 = 1_704_067_200;

pub(crate) struct Texts {
    words: Vec<String>,
    revision: Revision,
}

pub(crate) fn digest(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

/// When a record was first seen, in microseconds.
pub(crate) const fn seen_at(number: u64) -> i64 {
    (FIRST + number as i64 * 31) * 1_000_000
}

/// Numbers that are the same in every run.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn share(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 31) as f64
    }
}

impl Texts {
    pub(crate) fn new() -> Self {
        let mut draw = Draw(1);
        let syllables =
            ["ka", "lo", "mi", "ster", "en", "ta", "ri", "ung", "pe", "so", "va", "nd", "ol", "xe"];
        let words = (0..WORDS).map(|rank| {
            let count = 1 + (rank + 1).ilog10() as usize;
            let word: String =
                (0..count).map(|_| syllables[draw.next() as usize % syllables.len()]).collect();
            format!("{word}{}", char::from(b'a' + (rank % 26) as u8))
        });
        Self { words: words.collect(), revision: RevisionBuilder::new("bench").build() }
    }

    /// About as in real language: the rank is spread evenly over powers of ten.
    fn word(&self, draw: &mut Draw) -> &str {
        let rank = (WORDS as f64).powf(draw.share()) as usize;
        &self.words[(rank - 1).min(WORDS - 1)]
    }

    fn text(&self, number: u64, analyzer: usize) -> String {
        let mut draw = Draw(number * 2 + analyzer as u64 + 77);
        draw.next();
        let mut text = String::new();
        while text.len() < LENGTH {
            text.push_str(self.word(&mut draw));
            if draw.next().is_multiple_of(ODD) {
                text.push_str(&format!("{:x}", draw.next() % 65_536));
            }
            text.push(' ');
        }
        text
    }

    /// The messages of one image: its intake and its answers.
    pub(crate) fn record(&self, number: u64) -> Result<Vec<Message>, Failed> {
        let digest = digest(number);
        let seen_at = Timestamp::from_microsecond(seen_at(number))?;
        let source: ocelli_core::SourceUri =
            format!("https://example.org/pictures/{number}.png").parse()?;
        let mut wants = Vec::new();
        let mut messages = Vec::new();
        for (place, name) in ANALYZERS.into_iter().enumerate() {
            let analyzer: ocelli_core::AnalyzerName = name.parse()?;
            wants.push(Want { analyzer: analyzer.clone(), revision: Some(self.revision.clone()) });
            let reading = Reading {
                text: self.text(number, place),
                confidence: Some((number % 100) as f32),
                languages: Some("eng".to_owned()),
                ..Reading::default()
            };
            let analysis = Analysis {
                analyzer,
                revision: self.revision.clone(),
                outcome: Outcome::Done(reading),
                attempts: 1,
                finished_at: seen_at,
                provenance: Provenance::default(),
            };
            messages.push(Message::Partial(Box::new(Partial {
                digest,
                analysis,
                hash: None,
                image: None,
            })));
        }
        let intake = Intake {
            image: ImageFacts {
                digest,
                bytes: 123_456,
                format: Some(ImageFormat::Png),
                width: Some(640),
                height: Some(480),
            },
            sources: vec![source.clone()],
            sighting: Some(Sighting { source, seen_at, batch: BatchId::new(uuid::Uuid::nil()) }),
            wants,
            refusal: None,
            enqueued_at: seen_at,
            dependence: Dependence::default(),
            hash: None,
            meta: ocelli_core::Meta::default(),
        };
        messages.insert(0, Message::Intake(intake));
        Ok(messages)
    }

    /// Queries by class, about an archive of so many records.
    pub(crate) fn queries(&self, records: u64, count: usize) -> Vec<(&'static str, Vec<String>)> {
        let mut draw = Draw(4_711);
        let mut of = |from: usize, to: usize| -> Vec<String> {
            let span = (to - from) as u64;
            (0..count).map(|_| self.words[from + (draw.next() % span) as usize].clone()).collect()
        };
        let (common, middle, rare) = (of(0, 20), of(200, 2_000), of(10_000, WORDS));
        let mut draw = Draw(815);
        let drawn: Vec<(String, String, String)> = (0..count)
            .map(|_| {
                let text = self.text(draw.next() % records, 0);
                let words: Vec<&str> = text.split_whitespace().collect();
                let at = draw.next() as usize % (words.len() - 1);
                let longest = words.iter().max_by_key(|word| word.len()).copied().unwrap_or("x");
                (words[at].to_owned(), words[at + 1].to_owned(), longest.to_owned())
            })
            .collect();
        let each = |make: &dyn Fn(&(String, String, String)) -> String| {
            drawn.iter().map(make).collect::<Vec<String>>()
        };
        let with = |words: &[String], more: &str| {
            words.iter().map(|word| format!("{word} {more}")).collect::<Vec<String>>()
        };
        vec![
            ("a word of some text", each(&|(first, _, _)| first.clone())),
            ("one of the 20 commonest", common),
            ("a middling word", middle.clone()),
            ("a rare word", rare),
            ("two words of a text", each(&|(first, second, _)| format!("{first} {second}"))),
            ("a phrase", each(&|(first, second, _)| format!("\"{first} {second}\""))),
            ("a prefix", each(&|(_, _, long)| format!("{}*", &long[..long.len().min(6)]))),
            ("a part of a word", each(&|(_, _, long)| format!("*{}*", &long[1..long.len() - 1]))),
            (
                "a word and filters",
                with(&middle, "conf:<60 analyzer:tesseract-ocr after:2024-01-02"),
            ),
            ("a word and not another", with(&middle, "-kaloe")),
            ("filters alone", vec!["is:done conf:>=90".to_owned(); count]),
        ]
    }
}
