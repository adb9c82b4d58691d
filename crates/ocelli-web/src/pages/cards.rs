//! A page of records as the gallery and the search show them: the same question, two looks.

use ocelli_catalog::query::{Query, QueryLimits};
use ocelli_catalog::search::{Facets, Hit, HitAnswer, Page, Search, Sort};
use ocelli_catalog::{Catalog, Sheet};
use ocelli_core::{AnalyzerName, Digest, OutcomeKind};

use crate::app::Site;
use crate::assets;
use crate::failure::WebError;
use crate::shown::{self, Asked, Part, counted, grouped, line, link, minute, parts};

/// The longest page that may be asked for.
const LONGEST_PAGE: u32 = 200;
/// Characters of a thumbnail's description.
const DESCRIBED: usize = 160;

/// An order, as it stands in an address.
pub(crate) fn sort(text: &str) -> Result<Sort, WebError> {
    match text {
        "" | "relevance" => Ok(Sort::Relevance),
        "newest" => Ok(Sort::Newest),
        "oldest" => Ok(Sort::Oldest),
        _ => Err(WebError::Bad("sort is relevance, newest or oldest".to_owned())),
    }
}

/// What is asked, as it stands in the address.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// As it was typed.
    pub(crate) typed: String,
    pub(crate) query: Query,
    pub(crate) sort: Sort,
    pub(crate) limit: u32,
    pub(crate) cursor: String,
    pub(crate) facets: bool,
}

impl Wish {
    /// Reads an address. `limit` is what is shown when nobody asks for another number.
    pub(crate) fn of(asked: &Asked, limit: u32, bounds: &QueryLimits) -> Result<Self, WebError> {
        let typed = asked.get("q").to_owned();
        let query = Query::parse_within(&typed, bounds)
            .map_err(|error| WebError::Bad(error.to_string()))?;
        let sort = sort(asked.get("sort"))?;
        let limit = super::limit(asked, limit, LONGEST_PAGE)?;
        let (cursor, facets) = (asked.get("cursor").to_owned(), !asked.get("facets").is_empty());
        Ok(Self { typed, query, sort, limit, cursor, facets })
    }

    pub(crate) const fn sort_name(&self) -> &'static str {
        match self.sort {
            Sort::Relevance => "",
            Sort::Newest => "newest",
            Sort::Oldest => "oldest",
        }
    }

    /// The same wish with another query, from its first page on.
    pub(crate) fn with_query(&self, path: &str, query: &str) -> String {
        link(path, &[("q", query), ("sort", self.sort_name()), ("facets", self.facets_name())])
    }

    pub(crate) fn with_cursor(&self, path: &str, cursor: &str) -> String {
        let limit = self.limit.to_string();
        link(
            path,
            &[
                ("q", &self.typed),
                ("sort", self.sort_name()),
                ("limit", &limit),
                ("cursor", cursor),
            ],
        )
    }

    /// The same wish with its facets; nothing where they are counted already.
    pub(crate) fn narrowing(&self, path: &str) -> String {
        if self.facets {
            return String::new();
        }
        link(path, &[("q", &self.typed), ("sort", self.sort_name()), ("facets", "1")])
    }

    const fn facets_name(&self) -> &'static str {
        if self.facets { "1" } else { "" }
    }

    /// Asks the catalog.
    pub(crate) async fn ask(&self, catalog: &Catalog) -> Result<Page, WebError> {
        let bad = |error: ocelli_catalog::search::CursorError| WebError::Bad(error.to_string());
        let cursor: Option<ocelli_catalog::search::Cursor> = match self.cursor.as_str() {
            "" => None,
            text => Some(text.parse().map_err(bad)?),
        };
        if let Some(cursor) = &cursor {
            cursor.check(&self.query, self.sort).map_err(bad)?;
        }
        Ok(catalog
            .search(&Search {
                query: self.query.clone(),
                sort: self.sort,
                limit: self.limit,
                cursor,
                facets: self.facets,
            })
            .await?)
    }
}

/// One record of a page.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    pub(crate) href: String,
    pub(crate) thumb: String,
    pub(crate) name: String,
    pub(crate) alt: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Its ratio, as the style knows it.
    pub(crate) ratio: String,
    pub(crate) seen: String,
    pub(crate) seen_full: String,
    pub(crate) place: String,
    /// What a reader should know before opening it.
    pub(crate) notes: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

/// The thumbnail of an image, and the place that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) src: String,
    pub(crate) short: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Picture {
    /// Of what was refused there is none: a drawing stands there.
    pub(crate) fn of(digest: Digest, sheet: Option<&Sheet>) -> Self {
        let size = sheet.and_then(|sheet| sheet.image.width.zip(sheet.image.height));
        let (width, height) = small(size.unwrap_or((3, 2)));
        let src = if sheet.is_some_and(|sheet| sheet.refusal.is_some()) {
            assets::at("gone.svg")
        } else {
            format!("/image/{digest}/thumb")
        };
        Self { src, short: digest.short(), width, height }
    }
}

/// What one analyzer says about it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) analyzer: String,
    pub(crate) older: bool,
    pub(crate) before: bool,
    pub(crate) parts: Vec<Part>,
    pub(crate) more: bool,
    /// Instead of a text.
    pub(crate) state: String,
}

/// The records of a page, ready to be written.
pub(crate) async fn cards(site: &Site, page: &Page, typed: &str) -> Result<Vec<Card>, WebError> {
    let digests: Vec<Digest> = page.hits.iter().map(|hit| hit.digest).collect();
    let sheets = site.catalog.sheets(&digests).await?;
    let order = site.options.names();
    let card = |hit: &Hit| {
        let sheet = sheets.get(&hit.digest);
        let trouble = match sheet.and_then(|sheet| sheet.refusal.as_ref()) {
            Some(reason) => Some(format!("refused: {reason}")),
            None => site.pictures.trouble(&hit.digest),
        };
        card(hit, sheet, trouble.as_deref(), &order, typed)
    };
    Ok(page.hits.iter().map(card).collect())
}

/// `trouble` is why its image cannot be shown, where that is known.
fn card(
    hit: &Hit,
    sheet: Option<&Sheet>,
    trouble: Option<&str>,
    order: &[AnalyzerName],
    typed: &str,
) -> Card {
    let mut answers: Vec<&HitAnswer> = hit.answers.iter().collect();
    let place =
        |name: &AnalyzerName| order.iter().position(|other| other == name).unwrap_or(usize::MAX);
    answers.sort_by_key(|answer| place(&answer.analyzer));
    let source = hit.source.as_ref();
    let name = source.map_or_else(|| hit.digest.short(), shown::name);
    let text = answers.iter().find_map(|answer| answer.snippet.as_ref().map(|one| &one.text));
    let said = text.map(|text| line(text, DESCRIBED)).unwrap_or_default();
    let mut notes = Vec::new();
    if let Some(sheet) = sheet {
        if sheet.refusal.is_some() {
            notes.push("refused".to_owned());
        }
        if sheet.failed > 0 {
            notes.push(format!("{} failed", sheet.failed));
        }
        if sheet.open > 0 {
            notes.push(format!("{} waiting", sheet.open));
        }
    }
    let alt = match trouble {
        Some(reason) => line(&format!("{name}: {reason}"), DESCRIBED),
        None if said.is_empty() => format!("Image {name}"),
        None => said,
    };
    let Picture { src, width, height, .. } = Picture::of(hit.digest, sheet);
    Card {
        href: link(&format!("/record/{}", hit.digest), &[("q", typed)]),
        thumb: src,
        alt,
        name,
        ratio: ratio(width, height),
        width,
        height,
        seen: hit.first_seen.map(minute).unwrap_or_default(),
        seen_full: hit.first_seen.map(shown::time).unwrap_or_default(),
        place: source.map(|source| line(&source.to_string(), 300)).unwrap_or_default(),
        notes,
        lines: answers.into_iter().map(answer_line).collect(),
    }
}

/// The size of a thumbnail: a browser keeps its place free before it is there.
fn small((width, height): (u32, u32)) -> (u32, u32) {
    let (width, height) = (width.clamp(1, 100_000), height.clamp(1, 100_000));
    let longest = width.max(height);
    if longest <= 480 {
        return (width, height);
    }
    let scaled = |side: u32| (u64::from(side) * 480 / u64::from(longest)).max(1) as u32;
    (scaled(width), scaled(height))
}

/// The class of a ratio: its tenths, from a strip that stands to one that lies. What is beyond is shown within that.
fn ratio(width: u32, height: u32) -> String {
    let exact = (width * 10 + height / 2) / height.max(1);
    let shown = exact.clamp(4, 30);
    let far = if shown == exact { "" } else { " far" };
    format!("r{shown}{far}")
}

fn answer_line(answer: &HitAnswer) -> Line {
    let mut one = Line {
        analyzer: answer.analyzer.to_string(),
        older: !answer.current,
        before: false,
        parts: Vec::new(),
        more: false,
        state: String::new(),
    };
    match (&answer.snippet, &answer.reason) {
        (Some(snippet), _) => {
            let from = snippet.start;
            let marks =
                snippet.marks.iter().map(|(a, b)| (a.saturating_sub(from), b.saturating_sub(from)));
            let marks: Vec<_> = marks.collect();
            one.parts = parts(&shown::plain(&snippet.text), &marks);
            (one.before, one.more) = (from > 0, snippet.more);
        }
        (None, Some(reason)) => {
            one.state = format!("{}: {}", answer.kind.name(), line(reason, 200));
        }
        (None, None) if answer.kind == OutcomeKind::Empty => {
            one.state = "nothing to read".to_owned();
        }
        (None, None) => one.state = answer.kind.name().to_owned(),
    }
    one
}

/// `1,204 records`, `more than 10,000 records`
pub(crate) fn total(page: &Page) -> String {
    let count = counted(page.total.records, "record", "records");
    if page.total.more { format!("more than {count}") } else { count }
}

/// A part of the query, and the address without it.
#[derive(Debug, Clone)]
pub(crate) struct ChipLink {
    pub(crate) text: String,
    pub(crate) without: String,
}

pub(crate) fn chips(wish: &Wish, path: &str) -> Vec<ChipLink> {
    let chips = wish.query.chips().into_iter();
    chips
        .map(|chip| ChipLink {
            without: wish.with_query(path, &chip.rest),
            text: line(&chip.text, 80),
        })
        .collect()
}

/// A facet with its values.
#[derive(Debug, Clone)]
pub(crate) struct FacetList {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<FacetValue>,
}

#[derive(Debug, Clone)]
pub(crate) struct FacetValue {
    pub(crate) text: String,
    pub(crate) count: String,
    pub(crate) href: String,
    /// Whether the query asks for it already; the address takes it away then.
    pub(crate) chosen: bool,
}

/// The facets that a query can be narrowed by.
pub(crate) fn facets(wish: &Wish, path: &str, facets: &Facets) -> Vec<FacetList> {
    let lists = [
        ("Analyzer", "analyzer", &facets.analyzer),
        ("Outcome", "is", &facets.outcome),
        ("Format", "format", &facets.format),
        ("First seen", "month", &facets.month),
        ("Batch", "batch", &facets.batch),
    ];
    let chips = wish.query.chips();
    let list = |(name, filter, values): (&'static str, &str, &Vec<(String, u64)>)| {
        let values = values.iter().take(12).filter_map(|(value, count)| {
            let wanted = narrowed(filter, value)?;
            let chosen = chips.iter().find(|chip| wanted.split(' ').any(|part| chip.text == part));
            let href = match chosen {
                Some(chip) => wish.with_query(path, &chip.rest),
                None => wish.with_query(path, format!("{} {wanted}", wish.typed).trim()),
            };
            Some(FacetValue {
                text: line(value, 60),
                count: grouped(*count),
                href,
                chosen: chosen.is_some(),
            })
        });
        let values: Vec<_> = values.collect();
        (!values.is_empty()).then_some(FacetList { name, values })
    };
    lists.into_iter().filter_map(list).collect()
}

/// The filter for one value of a facet; none where there is no filter for it.
fn narrowed(filter: &str, value: &str) -> Option<String> {
    let text = match filter {
        "month" => {
            let (year, month) = value.split_once('-')?;
            let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
            let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            format!("after:{value} before:{next_year:04}-{next:02}")
        }
        _ => {
            let bare = value.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            if bare { format!("{filter}:{value}") } else { format!("{filter}:\"{value}\"") }
        }
    };
    Query::parse(&text).ok().map(|query| query.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_facet_becomes_a_filter_of_the_query_language() {
        assert_eq!(narrowed("format", "png").unwrap(), "format:png");
        assert_eq!(narrowed("format", "unknown"), None);
        assert_eq!(
            narrowed("batch", "my \"own\" pictures").unwrap(),
            "batch:\"my \\\"own\\\" pictures\""
        );
        let month = narrowed("month", "2024-12").unwrap();
        assert!(
            month.contains("after:2024-12-01") && month.contains("before:2025-01-01"),
            "{month}"
        );
        assert_eq!(narrowed("month", "unknown"), None);
    }

    #[test]
    fn a_wish_that_makes_no_sense_is_answered_in_words() {
        let wish = |query: &str| Wish::of(&Asked::of(Some(query)), 48, &QueryLimits::default());
        for (query, words) in [
            ("limit=1000000000", "limit is a number from 1 to 200, not '1000000000'"),
            ("sort=x", "sort is relevance"),
            ("page=1000000000", "pages have no numbers here"),
            ("q=nosuch:x", "unknown filter 'nosuch:'"),
        ] {
            let error = wish(query).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let wish = wish("q=cat+is%3Adone&sort=oldest").unwrap();
        assert_eq!(wish.with_query("/search", "cat"), "/search?q=cat&sort=oldest");
        assert_eq!(chips(&wish, "/")[0].without, "/?q=is%3Adone&sort=oldest");
    }

    #[test]
    fn a_thumbnail_keeps_its_place_whatever_the_size_of_its_image() {
        assert_eq!(small((1200, 600)), (480, 240));
        assert_eq!(small((100, 50)), (100, 50));
        assert_eq!(small((1, 20_000)), (1, 480));
        assert_eq!(small((0, 0)), (1, 1));
        assert_eq!(ratio(480, 320), "r15");
        assert_eq!(ratio(1, 480), "r4 far");
        assert_eq!(ratio(480, 1), "r30 far");
    }
}
