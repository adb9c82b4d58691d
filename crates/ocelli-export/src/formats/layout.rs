//! Pages, paragraphs and lines of a reading, from its text and its words.
//!
//! Words know their line; the text knows where paragraphs (an empty line) and pages (a form feed) end. Both come from
//! the same lines, so counting them brings the two together. Where the counts differ, everything is one paragraph of
//! one page: the words are all there in any case.

use std::collections::BTreeMap;

use ocelli_core::Word;

use super::Document;

/// A rectangle in pixels: never negative, at least one wide and high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
}

impl Area {
    fn of(word: &Word) -> Self {
        let (left, top) = (word.x.max(0), word.y.max(0));
        let right = word.x.saturating_add(word.w).max(left.saturating_add(1));
        let bottom = word.y.saturating_add(word.h).max(top.saturating_add(1));
        Self { left, top, right, bottom }
    }

    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// All of them together; a point in the corner for none.
    pub(super) fn around(areas: impl Iterator<Item = Self>) -> Self {
        areas.reduce(Self::with).unwrap_or(Self { left: 0, top: 0, right: 1, bottom: 1 })
    }

    pub(super) fn width(self) -> i32 {
        self.right - self.left
    }

    pub(super) fn height(self) -> i32 {
        self.bottom - self.top
    }
}

/// A word with its place.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub text: &'a str,
    pub area: Area,
    /// 0 to 100.
    pub confidence: f32,
}

/// Words of one line, never none.
#[derive(Debug)]
pub(super) struct Line<'a>(pub Vec<Placed<'a>>);

/// Lines of one paragraph, never none.
#[derive(Debug)]
pub(super) struct Paragraph<'a>(pub Vec<Line<'a>>);

/// Paragraphs of one page, perhaps none.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub paragraphs: Vec<Paragraph<'a>>,
    pub area: Area,
}

impl Line<'_> {
    pub(super) fn area(&self) -> Area {
        Area::around(self.0.iter().map(|word| word.area))
    }
}

impl Paragraph<'_> {
    pub(super) fn area(&self) -> Area {
        Area::around(self.0.iter().map(Line::area))
    }
}

/// Never none: an image without words is a page without paragraphs.
pub(super) fn pages<'a>(document: &Document<'a>) -> Vec<Page<'a>> {
    let mut lines: BTreeMap<u32, Vec<Placed<'a>>> = BTreeMap::new();
    for word in &document.reading.words {
        let confidence =
            if word.confidence.is_finite() { word.confidence.clamp(0.0, 100.0) } else { 0.0 };
        let placed = Placed { text: word.text.as_str(), area: Area::of(word), confidence };
        lines.entry(word.line).or_default().push(placed);
    }
    let shape = shape(&document.reading.text);
    let counted: usize = shape.iter().flatten().sum();
    let shape = if counted == lines.len() { shape } else { vec![vec![lines.len()]] };
    let mut lines = lines.into_values().map(Line);
    let size = document.image.width.zip(document.image.height);
    shape
        .into_iter()
        .enumerate()
        .map(|(index, paragraphs)| {
            let paragraphs: Vec<Paragraph<'a>> = paragraphs
                .into_iter()
                .map(|count| Paragraph(lines.by_ref().take(count).collect()))
                .filter(|paragraph| !paragraph.0.is_empty())
                .collect();
            let words = Area::around(paragraphs.iter().map(Paragraph::area));
            // The size on record is that of the first page.
            let (width, height) = size.filter(|_| index == 0).unwrap_or((1, 1));
            let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
            let area = Area {
                left: 0,
                top: 0,
                right: words.right.max(side(width)),
                bottom: words.bottom.max(side(height)),
            };
            Page { paragraphs, area }
        })
        .collect()
}

/// Lines by paragraph by page.
fn shape(text: &str) -> Vec<Vec<usize>> {
    text.split('\u{c}')
        .map(|page| {
            let mut paragraphs = vec![0];
            for line in page.split('\n') {
                match paragraphs.last_mut() {
                    Some(count) if !line.trim().is_empty() => *count += 1,
                    Some(0) | None => {}
                    Some(_) => paragraphs.push(0),
                }
            }
            paragraphs.retain(|count| *count > 0);
            paragraphs
        })
        .collect()
}
