//! How far answers agree, as pages show it; and where models disagree, as a list: the lowest first.

use askama::Template;
use ocelli_catalog::{Disagreement, DisagreementCursor, NoCursor, PairOfNames};
use ocelli_core::AnalyzerName;
use ocelli_core::agreement::{Pair, Quote};
use serde::Serialize;

use super::Frame;
use super::cards::Picture;
use crate::app::App;
use crate::call::Call;
use crate::failure::WebError;
use crate::reply::Answer;
use crate::shown::{Asked, counted, line, link};

/// Pairs on a page.
pub(crate) const PAGE: u32 = 24;
/// The most that may be asked for.
pub(crate) const MOST: u32 = 200;
/// Quotes of one pair that a list shows: those that the other one has not.
const QUOTES: usize = 3;

/// Two answers, as a page shows how far they agree.
pub(crate) struct PairView {
    pub(crate) a: String,
    pub(crate) b: String,
    /// `0.43`
    pub(crate) score: String,
    /// As the path of a bar 100 wide.
    pub(crate) bar: String,
    pub(crate) supported: Vec<QuoteView>,
    pub(crate) unsupported: Vec<QuoteView>,
}

pub(crate) struct QuoteView {
    pub(crate) by: String,
    pub(crate) text: String,
    /// How much of it the other one has, in percent.
    pub(crate) found: u32,
}

impl PairView {
    pub(crate) fn of(pair: &Pair) -> Self {
        let quotes = |quotes: &[Quote]| quotes.iter().map(quote).collect();
        let percent = percent(pair.score);
        Self {
            a: pair.a.to_string(),
            b: pair.b.to_string(),
            score: format!("{:.2}", pair.score),
            bar: format!("M0 0H{percent}V4H0Z"),
            supported: quotes(&pair.supported),
            unsupported: quotes(&pair.unsupported),
        }
    }
}

fn quote(quote: &Quote) -> QuoteView {
    let (by, text) = (quote.by.to_string(), line(&quote.text, 300));
    QuoteView { by, text, found: percent(quote.found) }
}

fn percent(part: f32) -> u32 {
    (part.clamp(0.0, 1.0) * 100.0).round() as u32
}

struct Entry {
    picture: Picture,
    compare: String,
    pair: PairView,
    more: String,
}

struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "disagreements.html")]
struct Disagreements {
    frame: Frame,
    entries: Vec<Entry>,
    choices: Vec<Choice>,
    first: String,
    is_first: bool,
    next: Option<String>,
    twin: String,
}

/// A page of the list, for programs.
#[derive(Serialize)]
pub(crate) struct Listed {
    pub(crate) pairs: Vec<Disagreement>,
    /// Where the next page begins, when there is one.
    pub(crate) next: Option<DisagreementCursor>,
}

/// `tesseract-ocr@llama3.2-vision`, in either order.
fn pair(text: &str) -> Result<Option<PairOfNames>, WebError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (a, b) = text.split_once('@').ok_or_else(|| {
        WebError::Bad("pair is two analyzers with an @ between them: ANALYZER@ANALYZER".to_owned())
    })?;
    let (a, b): (AnalyzerName, AnalyzerName) = (super::analyzer(a)?, super::analyzer(b)?);
    Ok(Some(if a < b { (a, b) } else { (b, a) }))
}

/// Reads an address and asks the catalog: `pair`, `cursor`, `limit`.
pub(crate) async fn listed(app: &App, asked: &Asked) -> Result<Listed, WebError> {
    let limit = super::limit(asked, PAGE, MOST)?;
    let after: Option<DisagreementCursor> = match asked.get("cursor") {
        "" => None,
        text => Some(text.parse().map_err(|error: NoCursor| WebError::Bad(error.to_string()))?),
    };
    let of = pair(asked.get("pair"))?;
    let mut pairs = app.catalog.disagreements(of.as_ref(), after.as_ref(), limit + 1).await?;
    let more = pairs.len() > limit as usize;
    pairs.truncate(limit as usize);
    let next = pairs.last().filter(|_| more).map(|one| one.place.clone());
    Ok(Listed { pairs, next })
}

/// `GET /disagreements`, `/disagreements.json`
pub(crate) async fn page(call: Call) -> Answer {
    let (app, asked) = (&call.app, &call.asked);
    let listed = listed(app, asked).await?;
    if call.wants_json() {
        return call.json(&listed);
    }
    let digests: Vec<_> = listed.pairs.iter().map(|one| one.digest).collect();
    let sheets = app.catalog.sheets(&digests).await?;
    let entries = listed.pairs.iter().map(|one| {
        let with = [("with", one.pair.a.as_str()), ("with", one.pair.b.as_str())];
        let mut pair = PairView::of(&one.pair);
        let left_out = pair.unsupported.len().saturating_sub(QUOTES);
        pair.unsupported.truncate(QUOTES);
        Entry {
            picture: Picture::of(one.digest, sheets.get(&one.digest)),
            compare: link(&format!("/compare/{}", one.digest), &with),
            pair,
            more: if left_out == 0 {
                String::new()
            } else {
                format!("and {}", counted(left_out as u64, "more quote", "more quotes"))
            },
        }
    });
    let chosen = pair(asked.get("pair"))?;
    let named = |(a, b): &PairOfNames| format!("{a}@{b}");
    let chosen_name = chosen.as_ref().map(named).unwrap_or_default();
    let mut choices: Vec<Choice> = app
        .catalog
        .compared_pairs()
        .await?
        .iter()
        .map(|pair| Choice {
            value: named(pair),
            label: format!("{} and {}", pair.0, pair.1),
            chosen: chosen.as_ref() == Some(pair),
        })
        .collect();
    let any = Choice { value: String::new(), label: "all".to_owned(), chosen: chosen.is_none() };
    choices.insert(0, any);
    let to = |path: &str, cursor: &str| {
        link(path, &[("pair", &chosen_name), ("limit", asked.get("limit")), ("cursor", cursor)])
    };
    let page = Disagreements {
        frame: call.frame("disagreements"),
        entries: entries.collect(),
        choices,
        first: to("/disagreements", ""),
        is_first: asked.get("cursor").is_empty(),
        next: listed.next.as_ref().map(|next| to("/disagreements", &next.to_string())),
        twin: to("/disagreements.json", asked.get("cursor")),
    };
    call.page(&page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_one_in_either_order_and_nonsense_is_answered_in_words() {
        let one = pair("tesseract-ocr@llama3.2-vision").unwrap();
        assert_eq!(one, pair("llama3.2-vision@tesseract-ocr").unwrap());
        assert_eq!(pair("").unwrap(), None);
        assert!(pair("tesseract-ocr").unwrap_err().to_string().contains("two analyzers"));
        assert!(pair("A B@c").is_err());
    }
}
