//! Cases about taking whole records out, on both backends.

use std::collections::BTreeSet;

use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Detail, Place};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, FailureClass, Outcome, Record};

use crate::words::*;
use crate::world::World;

pub(crate) async fn whole_records_come_in_the_order_of_first_sightings(world: World) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for image in 0..25_i64 {
        let name = format!("image-{image}");
        // Two at each time, and two places for some.
        let sighting = sighting(&name, image / 2, 1);
        messages.push(Message::Intake(Intake {
            sighting: Some(sighting),
            ..intake(&name, &[OCR, LLM])
        }));
        messages.push(partial(&name, OCR, Outcome::Done(full_reading()), 50));
        messages.push(partial(&name, LLM, failed(FailureClass::Crash, "x"), 60));
    }
    messages.push(Message::Intake(Intake {
        sighting: Some(sighting("elsewhere", 100, 2)),
        ..intake("image-3", &[])
    }));
    messages.push(Message::Intake(Intake {
        sighting: Some(sighting("refused", 5, 1)),
        refusal: Some("not an image".to_owned()),
        ..intake("refused", &[])
    }));
    // An answer without its image is no record yet.
    messages.push(partial("early", OCR, done("x"), 5));
    catalog.apply(&messages).await.unwrap();
    let mut words = 0;
    for (query, count) in [("", 26), ("scaling", 25), ("is:refused", 1), ("nothing", 0)] {
        let query = Query::parse(query).unwrap();
        let (mut after, mut all): (Option<Place>, Vec<Digest>) = (None, Vec::new());
        let mut seen = Vec::new();
        loop {
            let page = catalog.places(&query, after, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            assert_eq!(last.place.to_string().parse(), Ok(last.place));
            after = Some(last.place);
            let digests: Vec<_> = page.iter().map(|listed| listed.place.digest).collect();
            let records = catalog.records(&digests, Detail::Whole).await.unwrap();
            let twice = [digests.as_slice(), digests.as_slice()].concat();
            assert_eq!(catalog.records(&twice, Detail::Whole).await.unwrap(), records);
            let outlines = catalog.listed_records(&page, Detail::Outline).await.unwrap();
            for digest in &digests {
                let alone = catalog.record(digest).await.unwrap().unwrap();
                assert_eq!(records[digest], alone, "the same as asked for alone");
                seen.push((alone.first_seen(), *digest));
                let mut outline = alone;
                words += take_words(&mut outline);
                assert_eq!(outlines[digest], outline, "the same without its words");
            }
            all.extend(digests);
        }
        assert_eq!(all.len(), count, "{query}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), count, "each once");
        assert!(seen.is_sorted(), "{query}");
        assert_eq!(catalog.last_place(&query).await.unwrap(), after);
        // What is seen later comes behind.
        assert!(catalog.places(&query, after, 4).await.unwrap().is_empty() || count == 0);
    }
    assert!(words > 0, "some answer has words");
    assert!("p1.x.y".parse::<Place>().is_err() && "".parse::<Place>().is_err());
    assert!(catalog.records(&[], Detail::Whole).await.unwrap().is_empty());
}

/// What would be something else in JSON, in SQL, in a format or on a terminal.
const ODD: &str = "\"a\" 'b' c\\d %s %d $1 ?1 {} [] , null \t\r\n\u{1}\u{1b}[2J\u{7f}\u{2028} é 😀";

pub(crate) async fn texts_come_back_as_they_were_whatever_is_in_them(world: World) {
    let catalog = world.open().await;
    let mut reading = full_reading();
    reading.text = ODD.to_owned();
    reading.languages = Some(ODD.to_owned());
    let answers = [
        (OCR, Outcome::Done(reading)),
        (LLM, Outcome::Skipped { rule: ODD.to_owned(), reason: ODD.to_owned() }),
    ];
    let seen = sighting("odd \"place\" \\ 'of' é", 1, 1);
    let mut messages = vec![Message::Intake(Intake {
        sighting: Some(seen.clone()),
        ..intake("odd", &[OCR, LLM])
    })];
    messages.extend(answers.iter().map(|(of, outcome)| partial("odd", of, outcome.clone(), 5)));
    catalog.apply(&messages).await.unwrap();
    let record = catalog.record(&Digest::of(b"odd")).await.unwrap().unwrap();
    for (of, outcome) in answers {
        assert_eq!(record.current(&name(of)).unwrap().outcome, outcome);
    }
    assert_eq!(record.sightings.into_iter().collect::<Vec<_>>(), [(seen.source.clone(), seen)]);
}

/// Takes the words of all readings away. How many there were.
fn take_words(record: &mut Record) -> usize {
    let readings =
        record.analyses.values_mut().filter_map(|analysis| match &mut analysis.outcome {
            Outcome::Done(reading) => Some(reading),
            _ => None,
        });
    readings.map(|reading| std::mem::take(&mut reading.words).len()).sum()
}
