//! What can be decided about an image without a catalog: three values, as far as it is known.

use jiff::Timestamp;
use ocelli_core::{BatchId, ImageFacts, Meta, SourceUri};

use crate::gather::{clean, micros};
use crate::query::{Expr, Filter, Is};

/// An image at a place: what a producer knows.
#[derive(Debug, Clone, Copy)]
pub struct Seeing<'a> {
    /// The image.
    pub image: &'a ImageFacts,
    /// Where it was seen.
    pub source: &'a SourceUri,
    /// When.
    pub seen_at: Timestamp,
    /// In which batch.
    pub batch: BatchId,
    /// The batch's name.
    pub batch_name: &'a str,
    /// What its list said about it.
    pub meta: &'a Meta,
}

/// On what a filter is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// On the image, and where and when it was seen.
    Image,
    /// On what analyzers have answered.
    Answers,
    /// On what is only there once the record is complete, or is about answers of other times.
    Nothing,
}

/// Every filter is one of the three: a new one is decided about here, and where it is about the image, in [`fact`].
pub(super) const fn ground(filter: &Filter) -> Ground {
    match filter {
        Filter::Measured(..)
        | Filter::Format(_)
        | Filter::Source(_)
        | Filter::Batch(_)
        | Filter::Meta(..)
        | Filter::Before(_)
        | Filter::After(_) => Ground::Image,
        Filter::Analyzer(_)
        | Filter::Has(_)
        | Filter::Missing(_)
        | Filter::Lang(_)
        | Filter::Conf(_)
        | Filter::Model(_) => Ground::Answers,
        Filter::Is(is) => match is {
            Is::Done | Is::Empty | Is::Skipped | Is::Failed | Is::Partial | Is::Flagged => {
                Ground::Answers
            }
            Is::Older | Is::Complete | Is::Incomplete | Is::Refused | Is::Same => Ground::Nothing,
        },
        Filter::Agreement(_) | Filter::Like(_) => Ground::Nothing,
    }
}

/// Whether a filter about the image holds; none for all others.
fn fact(filter: &Filter, seeing: &Seeing<'_>) -> Option<bool> {
    Some(match filter {
        Filter::Measured(measure, bounds) => {
            measure.of(seeing.image).is_some_and(|number| bounds.hold(number))
        }
        Filter::Format(format) => seeing.image.format == Some(*format),
        Filter::Source(text) => seeing.source.as_str().contains(text.as_str()),
        Filter::Batch(text) => {
            seeing.batch_name == text.as_str()
                || text.parse::<uuid::Uuid>().is_ok_and(|id| id == seeing.batch.uuid())
        }
        Filter::Meta(name, text) => seeing.meta.iter().any(|(said, value)| {
            said == name && text.as_ref().is_none_or(|text| clean(value) == *text)
        }),
        Filter::Before(at) => micros(seeing.seen_at) < *at,
        Filter::After(at) => micros(seeing.seen_at) >= *at,
        _ => return None,
    })
}

/// Whether an expression holds, whatever analyzers answer; none when that depends on them (Kleene's logic).
pub(super) fn holds(expr: &Expr, seeing: &Seeing<'_>) -> Option<bool> {
    match expr {
        Expr::All(parts) => parts
            .iter()
            .try_fold(true, |all, part| match holds(part, seeing) {
                Some(false) => Err(()),
                known => Ok(all && known.is_some()),
            })
            .map_or(Some(false), |known| known.then_some(true)),
        Expr::Any(parts) => parts
            .iter()
            .try_fold(true, |all, part| match holds(part, seeing) {
                Some(true) => Err(()),
                known => Ok(all && known.is_some()),
            })
            .map_or(Some(true), |known| known.then_some(false)),
        Expr::Not(part) => holds(part, seeing).map(|holds| !holds),
        Expr::Term(_) => None,
        Expr::Filter(filter) => fact(filter, seeing),
    }
}
