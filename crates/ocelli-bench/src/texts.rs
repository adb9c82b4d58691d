//! Messages and records that are made up, as the null fleet would write them.

use jiff::Timestamp;
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Dependence, Digest, ImageFacts, ImageFormat, Outcome,
    Provenance, Reading, Revision, RevisionBuilder, Sighting, SourceUri, Want,
};

use crate::lab::Fallible;

/// The revision of a null analyzer.
pub(crate) fn revision(analyzer: &AnalyzerName) -> Revision {
    RevisionBuilder::new("null").part("name", analyzer).build()
}

/// What a producer says of an image at `source`.
pub(crate) fn intake(
    digest: Digest,
    source: SourceUri,
    analyzers: &[AnalyzerName],
    batch: BatchId,
) -> Message {
    let now = Timestamp::now();
    Message::Intake(Intake {
        image: ImageFacts {
            digest,
            bytes: 78,
            format: Some(ImageFormat::Png),
            width: Some(1),
            height: Some(1),
        },
        sources: vec![source.clone()],
        sighting: Some(Sighting { source, seen_at: now, batch }),
        wants: analyzers
            .iter()
            .map(|name| Want { analyzer: name.clone(), revision: None })
            .collect(),
        refusal: None,
        enqueued_at: now,
        dependence: Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    })
}

/// What a null worker answers.
pub(crate) fn partial(digest: Digest, analyzer: &AnalyzerName) -> Message {
    Message::Partial(Box::new(Partial {
        digest,
        hash: None,
        image: None,
        analysis: Analysis {
            analyzer: analyzer.clone(),
            revision: revision(analyzer),
            outcome: Outcome::Done(Reading {
                text: format!("nothing was read in {}", digest.short()),
                ..Reading::default()
            }),
            attempts: 1,
            finished_at: Timestamp::now(),
            provenance: Provenance { engine: "null".to_owned(), ..Provenance::default() },
        },
    }))
}

/// All messages of a record that nobody has to work on.
pub(crate) fn record(
    number: u64,
    analyzers: &[AnalyzerName],
    batch: BatchId,
) -> Fallible<Vec<Message>> {
    let digest = Digest::of(&number.to_be_bytes());
    let source = format!("file:///archive/{}/{number}.png", number / 1000).parse()?;
    let mut messages = vec![intake(digest, source, analyzers, batch)];
    messages.extend(analyzers.iter().map(|analyzer| partial(digest, analyzer)));
    Ok(messages)
}

/// How much of the words of `truth` was read, from 0 to 1: without case and punctuation, as a multiset.
pub(crate) fn recall(truth: &str, read: &str) -> f64 {
    let mut left = words(read);
    let wanted = words(truth);
    let found = wanted.iter().filter(|word| {
        let place = left.iter().position(|other| other == *word);
        place.map(|place| left.swap_remove(place)).is_some()
    });
    let found = found.count();
    if wanted.is_empty() { 1.0 } else { found as f64 / wanted.len() as f64 }
}

fn words(text: &str) -> Vec<String> {
    let letters = |word: &str| -> String {
        word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    text.split_whitespace().map(letters).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_each_word_as_often_as_it_stands_there() {
        assert_eq!(recall("One fish, two fish", "fish one"), 0.5);
        assert_eq!(recall("", "noise"), 1.0);
    }

    #[test]
    fn a_made_up_record_has_an_answer_of_each_analyzer() {
        let analyzers = ["null-a".parse().unwrap(), "null-b".parse().unwrap()];
        let batch = BatchId::new(uuid::Uuid::nil());
        let messages = record(7, &analyzers, batch).unwrap();
        let kinds: Vec<&str> = messages.iter().map(Message::kind).collect();
        assert_eq!(kinds, ["intake", "partial", "partial"]);
    }
}
