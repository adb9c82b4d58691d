//! A record as rows of a table: one for each answer, and one for a record without any. The columns of CSV and Parquet.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use ocelli_core::{Analysis, Outcome, Record};

use crate::document::answers;

/// What a column holds. All but the first column may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Real,
    Flag,
    /// Microseconds since 1970, UTC.
    Time,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    None,
    Text(Cow<'a, str>),
    Whole(i64),
    Real(f64),
    Flag(bool),
    Time(Timestamp),
}

/// Names and kinds, in their order.
pub(crate) const COLUMNS: [(&str, Kind); 36] = [
    ("digest", Kind::Text),
    ("first_seen", Kind::Time),
    ("source", Kind::Text),
    ("sightings", Kind::Whole),
    ("format", Kind::Text),
    ("width", Kind::Whole),
    ("height", Kind::Whole),
    ("bytes", Kind::Whole),
    ("complete", Kind::Flag),
    ("refusal", Kind::Text),
    ("analyzer", Kind::Text),
    ("revision", Kind::Text),
    ("current", Kind::Flag),
    ("outcome", Kind::Text),
    ("text", Kind::Text),
    ("sections", Kind::Text),
    ("confidence", Kind::Real),
    ("languages", Kind::Text),
    ("rotation", Kind::Whole),
    ("flags", Kind::Text),
    ("class", Kind::Text),
    ("rule", Kind::Text),
    ("reason", Kind::Text),
    ("attempts", Kind::Whole),
    ("finished_at", Kind::Time),
    ("engine", Kind::Text),
    ("model", Kind::Text),
    ("model_digest", Kind::Text),
    ("prompt", Kind::Text),
    ("tokens_in", Kind::Whole),
    ("tokens_out", Kind::Whole),
    ("cost_micros", Kind::Whole),
    ("currency", Kind::Text),
    ("took_ms", Kind::Whole),
    ("waited_ms", Kind::Whole),
    ("meta", Kind::Text),
];

/// Hands out the rows of a record, one after the other. How many there were.
pub(crate) fn rows(
    record: &Record,
    older: bool,
    mut take: impl FnMut(&[Cell<'_>]) -> io::Result<()>,
) -> io::Result<u64> {
    let image = &record.image;
    let digest = image.digest.to_string();
    // The place where it was seen last is the likeliest to be there still.
    let last =
        record.sightings.values().max_by_key(|sighting| (sighting.seen_at, &sighting.source));
    let said: BTreeMap<&str, &str> =
        last.map(|last| record.said(&last.source).collect()).unwrap_or_default();
    let meta = serde_json::to_string(&said).ok().filter(|_| !said.is_empty());
    let mut cells = Vec::with_capacity(COLUMNS.len());
    cells.extend([
        text(Some(&digest)),
        record.first_seen().map_or(Cell::None, Cell::Time),
        text(last.map(|sighting| sighting.source.as_str())),
        Cell::Whole(whole(record.sightings.len() as u64)),
        text(image.format.map(ocelli_core::ImageFormat::name)),
        number(image.width.map(u64::from)),
        number(image.height.map(u64::from)),
        number(Some(image.bytes).filter(|_| !image.is_unread())),
        Cell::Flag(record.is_complete()),
        text(record.refusal.as_deref()),
    ]);
    let of_the_record = cells.len();
    let answers = answers(record, older);
    if answers.is_empty() {
        cells.resize(COLUMNS.len() - 1, Cell::None);
        cells.push(text(meta.as_deref()));
        take(&cells)?;
        return Ok(1);
    }
    for (analysis, current) in &answers {
        cells.truncate(of_the_record);
        answer(&mut cells, analysis, *current);
        cells.push(text(meta.as_deref()));
        take(&cells)?;
    }
    Ok(answers.len() as u64)
}

fn answer<'a>(cells: &mut Vec<Cell<'a>>, analysis: &'a Analysis, current: bool) {
    cells.extend([
        text(Some(analysis.analyzer.as_str())),
        text(Some(analysis.revision.as_str())),
        Cell::Flag(current),
        text(Some(analysis.outcome.kind().name())),
    ]);
    let reading = match &analysis.outcome {
        Outcome::Done(reading) => Some(reading),
        _ => None,
    };
    let json = |value: Option<String>| value.map_or(Cell::None, |json| Cell::Text(json.into()));
    cells.extend([
        text(reading.map(|reading| reading.text.as_str())),
        json(
            reading
                .filter(|reading| !reading.sections.is_empty())
                .and_then(|reading| serde_json::to_string(&reading.sections).ok()),
        ),
        reading
            .and_then(|reading| reading.confidence)
            .map_or(Cell::None, |value| Cell::Real(f64::from(value))),
        text(reading.and_then(|reading| reading.languages.as_deref())),
        number(reading.map(|reading| u64::from(reading.rotation))),
        json(reading.filter(|reading| !reading.flags.is_empty()).map(|reading| {
            let names = reading
                .flags
                .iter()
                .filter_map(|flag| serde_json::to_value(flag).ok()?.as_str().map(str::to_owned));
            names.collect::<Vec<_>>().join(" ")
        })),
    ]);
    let (class, rule, reason) = match &analysis.outcome {
        Outcome::Failed { class, reason } => (Some(class.name()), None, Some(reason.as_str())),
        Outcome::Skipped { rule, reason } => (None, Some(rule.as_str()), Some(reason.as_str())),
        Outcome::Done(_) | Outcome::Empty => (None, None, None),
    };
    let how = &analysis.provenance;
    cells.extend([
        text(class),
        text(rule),
        text(reason),
        Cell::Whole(i64::from(analysis.attempts)),
        Cell::Time(analysis.finished_at),
        text(Some(how.engine.as_str()).filter(|engine| !engine.is_empty())),
        text(how.model.as_deref()),
        text(how.model_digest.as_deref()),
        text(how.prompt.as_deref()),
        number(how.tokens_in),
        number(how.tokens_out),
        number(how.cost_micros),
        text(how.currency.as_deref()),
        Cell::Whole(whole(how.took_ms)),
        Cell::Whole(whole(how.waited_ms)),
    ]);
}

fn text(value: Option<&str>) -> Cell<'_> {
    value.map_or(Cell::None, |text| Cell::Text(text.into()))
}

fn number(value: Option<u64>) -> Cell<'static> {
    value.map_or(Cell::None, |value| Cell::Whole(whole(value)))
}

/// Tables have no larger numbers.
fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
