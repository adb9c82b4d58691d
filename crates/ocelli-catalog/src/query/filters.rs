//! `name:value`: what a record or an answer is, apart from its words.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ocelli_core::phash::MOST_DISTANCE;
use ocelli_core::{AnalyzerName, Digest, DigestPrefix, ImageFormat};

use super::error::shown;
use super::measures::{Bounds, Measure};
use super::quoted;
use crate::gather::{clean, micros};

/// Names of filters with an example value each.
pub(super) const NAMES: [(&str, &str); 19] = [
    ("analyzer", "tesseract-ocr"),
    ("has", "tesseract-ocr"),
    ("missing", "tesseract-ocr"),
    ("is", "failed"),
    ("lang", "eng"),
    ("conf", "<60"),
    ("before", "2024-05-04"),
    ("after", "2024-05-04"),
    ("source", "example.org"),
    ("batch", "pictures"),
    ("model", "gemma3"),
    ("format", "png"),
    ("bytes", "<20MB"),
    ("width", ">=640"),
    ("height", ">=480"),
    ("pixels", ">2MP"),
    ("agreement", "<0.5"),
    ("like", "cfbfaddac8ae"),
    ("meta", "author=me"),
];

/// A filter of a query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// The answer is of this analyzer.
    Analyzer(AnalyzerName),
    /// The record has a text by this analyzer (`has:text`: by any).
    Has(Option<AnalyzerName>),
    /// This analyzer has not answered for the record: no text, no failure, nothing.
    Missing(AnalyzerName),
    /// A state of the answer or of the record.
    Is(Is),
    /// The answer was read in this language.
    Lang(String),
    /// How sure the analyzer was, 0 to 100.
    Conf(Confidence),
    /// First seen before this moment.
    Before(Timestamp),
    /// First seen at this moment or later.
    After(Timestamp),
    /// One of the record's sources contains this, as it is written there.
    Source(String),
    /// The record is of the batch with this id or name.
    Batch(String),
    /// The name of the model contains this, whatever the case.
    Model(String),
    /// The container format of the image.
    Format(ImageFormat),
    /// A number of the image lies within bounds.
    Measured(Measure, Bounds),
    /// Two answers of the record agree so far, 0 to 1 (bounds in hundredths).
    Agreement(Confidence),
    /// The image looks like this one.
    Like(Like),
    /// A list said something under this name about one of the record's sources; with a text, exactly that.
    Meta(String, Option<String>),
}

/// `like:…`: an image, and up to which distance others look like it.
#[derive(Debug, Clone)]
pub struct Like {
    /// The beginning of its digest.
    pub(crate) image: DigestPrefix,
    /// In how many bits their hashes may differ; none: as the settings say.
    pub(crate) distance: Option<u32>,
    /// Where it stands in the query, in characters from 1: for messages.
    pub(crate) place: usize,
    /// The images that look like it, once the catalog was asked.
    pub(crate) found: Vec<Digest>,
}

/// Two are equal when they ask the same, wherever they stand and whatever was found.
impl PartialEq for Like {
    fn eq(&self, other: &Self) -> bool {
        (&self.image, self.distance) == (&other.image, other.distance)
    }
}

/// `is:…`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Is {
    /// The answer is a text.
    Done,
    /// The answer is that there is nothing to read.
    Empty,
    /// The answer is that a rule said no.
    Skipped,
    /// The answer is a failure.
    Failed,
    /// The deadline came before the end of the reading.
    Partial,
    /// Something about the answer is noted: partial, truncated, refused …
    Flagged,
    /// The answer was replaced by one of a newer revision. Without this word such answers are not looked at.
    Older,
    /// Every wanted analyzer has answered for the record.
    Complete,
    /// Some wanted analyzer has not.
    Incomplete,
    /// The image was refused before any analyzer was asked.
    Refused,
    /// The answer points to a near-identical image that was asked instead.
    Same,
}

impl Is {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Empty,
        Self::Skipped,
        Self::Failed,
        Self::Partial,
        Self::Flagged,
        Self::Older,
        Self::Complete,
        Self::Incomplete,
        Self::Refused,
        Self::Same,
    ];

    /// As it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Empty => "empty",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Flagged => "flagged",
            Self::Older => "older",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
            Self::Same => "same",
        }
    }
}

/// Bounds in hundredths: `<60`, `<=60`, `>60`, `>=60`, `60..80` (both included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// `<`
    Below(u16),
    /// `<=`
    AtMost(u16),
    /// `>`
    Above(u16),
    /// `>=`
    AtLeast(u16),
    /// `a..b`
    Between(u16, u16),
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Analyzer(name) => write!(f, "analyzer:{name}"),
            Self::Has(None) => f.write_str("has:text"),
            Self::Has(Some(name)) => write!(f, "has:{name}"),
            Self::Missing(name) => write!(f, "missing:{name}"),
            Self::Is(is) => write!(f, "is:{}", is.name()),
            Self::Lang(lang) => write!(f, "lang:{}", quoted(lang)),
            Self::Conf(confidence) => write!(f, "conf:{confidence}"),
            Self::Before(at) => write!(f, "before:{at}"),
            Self::After(at) => write!(f, "after:{at}"),
            Self::Source(text) => write!(f, "source:{}", quoted(text)),
            Self::Batch(text) => write!(f, "batch:{}", quoted(text)),
            Self::Model(text) => write!(f, "model:{}", quoted(text)),
            Self::Format(format) => write!(f, "format:{}", format.name()),
            Self::Measured(measure, bounds) => measure.write(*bounds, f),
            Self::Agreement(bounds) => write!(f, "agreement:{bounds}"),
            Self::Meta(name, None) => write!(f, "meta:{}", quoted(name)),
            Self::Meta(name, Some(text)) => write!(f, "meta:{}", quoted(&format!("{name}={text}"))),
            Self::Like(like) => {
                write!(f, "like:{}", like.image.as_str())?;
                like.distance.map_or(Ok(()), |distance| write!(f, "~{distance}"))
            }
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |hundredths: u16| f64::from(hundredths) / 100.0;
        match *self {
            Self::Below(to) => write!(f, "<{}", number(to)),
            Self::AtMost(to) => write!(f, "<={}", number(to)),
            Self::Above(from) => write!(f, ">{}", number(from)),
            Self::AtLeast(from) => write!(f, ">={}", number(from)),
            Self::Between(from, to) => write!(f, "{}..{}", number(from), number(to)),
        }
    }
}

/// Reads the value of the filter `name`, which is one of [`NAMES`]; an error says what may stand there.
pub(super) fn read(name: &str, value: &str) -> Result<Filter, String> {
    let analyzer = || value.parse::<AnalyzerName>().map_err(|error| error.to_string());
    if let Some(measure) = Measure::ALL.into_iter().find(|measure| measure.name() == name) {
        let bounds = measure
            .bounds(value)
            .ok_or_else(|| format!("{name}: takes {}, not '{}'", measure.takes(), shown(value)))?;
        return Ok(Filter::Measured(measure, bounds));
    }
    Ok(match name {
        "analyzer" => Filter::Analyzer(analyzer()?),
        "has" if value == "text" => Filter::Has(None),
        "has" => Filter::Has(Some(analyzer()?)),
        "missing" => Filter::Missing(analyzer()?),
        "is" => Filter::Is(Is::ALL.into_iter().find(|is| is.name() == value).ok_or_else(|| {
            format!("is: takes one of {}, not '{}'", Is::ALL.map(Is::name).join(", "), shown(value))
        })?),
        "lang" => Filter::Lang(clean(value)),
        "conf" => Filter::Conf(confidence(value).ok_or_else(|| {
            format!("conf: takes <60, <=60, >60, >=60 or 60..80 (0 to 100), not '{}'", shown(value))
        })?),
        "before" => Filter::Before(time(name, value)?),
        "after" => Filter::After(time(name, value)?),
        "source" => Filter::Source(clean(value)),
        "batch" => Filter::Batch(clean(value)),
        "agreement" => Filter::Agreement(agreement(value).ok_or_else(|| {
            format!(
                "agreement: takes <0.5, <=0.5, >0.5, >=0.5 or 0.5..0.75 (0 to 1), not '{}'",
                shown(value)
            )
        })?),
        "like" => Filter::Like(like(value).ok_or_else(|| {
            format!(
                "like: takes a digest or its beginning (4 to 64 hexadecimal characters), and behind a '~' how many of 64 bits \
                 may differ (0 to {MOST_DISTANCE}), as in like:cfbfaddac8ae~4, not '{}'",
                shown(value)
            )
        })?),
        "meta" => match value.split_once('=') {
            _ if value.is_empty() || value.starts_with('=') => {
                return Err("meta: takes a name, or a name and a text, as in meta:author or meta:author=me".to_owned());
            }
            Some((name, text)) => Filter::Meta(clean(name), Some(clean(text))),
            None => Filter::Meta(clean(value), None),
        },
        "model" => Filter::Model(clean(&value.to_lowercase())),
        _ => Filter::Format(ImageFormat::from_name(value).ok_or_else(|| {
            format!("'{}' is no image format; one is 'png', another 'jpeg'", shown(value))
        })?),
    })
}

fn like(value: &str) -> Option<Like> {
    let (image, distance) = match value.split_once('~') {
        Some((image, distance)) => (image, Some(distance)),
        None => (value, None),
    };
    let distance = match distance {
        Some(text) if text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(text.parse::<u32>().ok().filter(|distance| *distance <= MOST_DISTANCE)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some(Like { image: image.parse().ok()?, distance, place: 1, found: Vec::new() })
}

fn confidence(value: &str) -> Option<Confidence> {
    if let Some((from, to)) = value.split_once("..") {
        return Some(Confidence::Between(hundredths(from)?, hundredths(to)?));
    }
    let (make, number): (fn(u16) -> Confidence, _) = if let Some(number) = value.strip_prefix("<=")
    {
        (Confidence::AtMost, number)
    } else if let Some(number) = value.strip_prefix(">=") {
        (Confidence::AtLeast, number)
    } else if let Some(number) = value.strip_prefix('<') {
        (Confidence::Below, number)
    } else {
        (Confidence::Above, value.strip_prefix('>')?)
    };
    Some(make(hundredths(number)?))
}

/// The same from 0 to 1.
fn agreement(value: &str) -> Option<Confidence> {
    let bounds = confidence(value)?;
    let most = match bounds {
        Confidence::Below(to) | Confidence::AtMost(to) | Confidence::Between(_, to) => to,
        Confidence::Above(from) | Confidence::AtLeast(from) => from,
    };
    (most <= 100).then_some(bounds)
}

/// `0` to `100` with at most two decimals.
fn hundredths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let part: u32 = format!("{part:0<2}").parse().ok()?;
    let all = whole.parse::<u32>().ok()? * 100 + part;
    u16::try_from(all).ok().filter(|all| *all <= 10_000)
}

/// A year, a month, a day (their beginning, UTC) or a moment.
fn time(name: &str, value: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "{name}: takes a year, a month, a day (UTC) or a time, such as 2024, 2024-05, 2024-05-04 or \
             2024-05-04T09:00:51Z, not '{}'",
            shown(value)
        )
    };
    let number = |text: &str, length: usize| {
        (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<i16>().ok())
            .flatten()
    };
    let parts: Vec<&str> = value.split('-').collect();
    let (year, month, day) = match parts.as_slice() {
        [year] => (number(year, 4), Some(1), Some(1)),
        [year, month] => (number(year, 4), number(month, 2), Some(1)),
        [year, month, day] => (number(year, 4), number(month, 2), number(day, 2)),
        _ => (None, None, None),
    };
    if let (Some(year), Some(month), Some(day)) = (year, month, day) {
        let small = |number: i16| i8::try_from(number).map_err(|_| wrong());
        return Date::new(year, small(month)?, small(day)?)
            .and_then(|date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)))
            .map_err(|_| wrong());
    }
    value.parse::<Timestamp>().map(micros).map_err(|_| wrong())
}
