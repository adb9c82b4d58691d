//! Rows of letter-like blobs: where text may stand, how tall it is, and a clean picture of each row.
//!
//! Captions on photographs are bright letters with a dark outline or shadow. Tesseract thresholds the whole picture
//! and loses them; here each level of brightness is looked at by itself, blobs that stand out clearly from what is
//! beside them are joined into rows, and a row is drawn again, black on white, at the height that Tesseract likes.

use crate::blobs::{self, Blob, Blobs, Ink};
use crate::fine::{self, Fine};
use crate::raster::Raster;

/// The survey looks at a picture of at most this side: letters of 8 pixels there are 16 in a 4,000-pixel photograph, and
/// those of a common screen are what they are.
const SURVEY_SIDE: usize = 2_000;
/// Levels looked at. Captions are almost white or almost black; the middle ones catch coloured text and shadows.
const INKS: [Ink; 5] =
    [Ink::Bright(225), Ink::Bright(180), Ink::Bright(140), Ink::Dark(50), Ink::Dark(105)];
/// The smallest letter: below it, blobs are texture.
const LEAST_HEIGHT: u32 = 7;
/// More letters than a dense page has; bounds the joining.
const MOST_LETTERS: usize = 12_000;
/// Alternatives kept: enough for some dozen captions.
const MOST_OTHERS: usize = 400;
/// Height of a capital in the picture drawn for Tesseract, which scales each line to 36 pixels with its margins.
const DRAWN_HEIGHT: f32 = 32.0;
/// White around a drawn line.
const MARGIN: usize = 16;

/// A row of letters found in the survey.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Left, top, right, bottom in pixels of the whole picture.
    pub bounds: [i32; 4],
    /// Median height of its letters, in pixels of the whole picture.
    pub letter_height: f32,
    /// Letters, wide blobs counted as several.
    pub letters: f32,
    /// 0 to 1: how clearly the letters stand out.
    pub clarity: f32,
    /// Bright or dark, and from which level.
    pub ink: Ink,
}

/// What the survey says about a picture.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The clearest rows, none over another.
    pub rows: Vec<Row>,
    /// Rows at other levels over one of them, clearest first.
    others: Vec<Row>,
    /// Letters that are too small to be rows.
    pub fine: Option<Fine>,
}

impl Survey {
    /// The same place at other levels.
    pub(crate) fn alternatives(&self, row: &Row) -> impl Iterator<Item = &Row> {
        let bounds = row.bounds;
        self.others.iter().filter(move |other| covered(bounds, other.bounds) > 0.5)
    }

    /// Letters in all rows.
    pub(crate) fn letters(&self) -> f32 {
        self.rows.iter().map(|row| row.letters).sum()
    }

    /// The letter height below which `share` of the letters lie.
    pub(crate) fn letter_height(&self, share: f32) -> Option<f32> {
        let mut heights: Vec<(f32, f32)> =
            self.rows.iter().map(|row| (row.letter_height, row.letters)).collect();
        heights.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut left = self.letters() * share;
        heights.into_iter().find_map(|(height, letters)| {
            left -= letters;
            (left <= 0.0).then_some(height)
        })
    }
}

/// Looks for rows of letters at all levels.
pub(crate) fn survey(grey: &Raster) -> Survey {
    let small = grey.at_most(SURVEY_SIDE);
    let scale = grey.width as f32 / small.width as f32;
    let mut rows = Vec::new();
    for ink in INKS {
        let Some(blobs) = blobs::find(&small, ink) else { continue };
        rows.extend(rows_of(&small, &blobs, ink));
    }
    rows.sort_by(|a, b| (b.letters * b.clarity).total_cmp(&(a.letters * a.clarity)));
    for row in &mut rows {
        row.bounds = row.bounds.map(|edge| (edge as f32 * scale) as i32);
        row.letter_height *= scale;
    }
    let mut survey = Survey { fine: fine::look(grey), ..Survey::default() };
    for row in rows {
        if survey.rows.iter().all(|other| covered(row.bounds, other.bounds) < 0.4) {
            survey.rows.push(row);
        } else if survey.others.len() < MOST_OTHERS {
            survey.others.push(row);
        }
    }
    survey
}

/// Share of `inner` that lies in `outer`.
pub(crate) fn covered(inner: [i32; 4], outer: [i32; 4]) -> f32 {
    let [left, top, right, bottom] = inner;
    let w = (right.min(outer[2]) - left.max(outer[0])).max(0);
    let h = (bottom.min(outer[3]) - top.max(outer[1])).max(0);
    (w as f32 * h as f32) / ((right - left).max(1) as f32 * (bottom - top).max(1) as f32)
}

fn rows_of(grey: &Raster, blobs: &Blobs, ink: Ink) -> Vec<Row> {
    let mut letters: Vec<&Blob> = blobs.all.iter().filter(|blob| is_letter(blob, grey)).collect();
    if letters.len() > MOST_LETTERS {
        return Vec::new();
    }
    letters.sort_by_key(|blob| blob.left);
    join(&letters)
        .into_iter()
        .filter_map(|members| row_of(&members, ink))
        .filter(|row| row.letters >= 2.5 && row.clarity >= 0.5)
        .collect()
}

fn is_letter(blob: &Blob, grey: &Raster) -> bool {
    let (w, h) = (blob.width(), blob.height());
    let fill = blob.area as f32 / (w as f32 * h as f32);
    h >= LEAST_HEIGHT
        && h as usize * 5 <= grey.height * 2
        && w <= h * 14
        && w as usize * 10 <= grey.width * 9
        && h <= w * 14
        && fill > 0.12
        && blob.clarity() >= 0.4
}

/// Joins letters to rows: neighbours of like height on like level.
fn join<'a>(letters: &[&'a Blob]) -> Vec<Vec<&'a Blob>> {
    let widest_gap = |blob: &Blob| blob.height() * 3 / 2;
    let mut row_of: Vec<usize> = (0..letters.len()).collect();
    for (index, letter) in letters.iter().enumerate() {
        // Only the nearest neighbour joins, so that rows stay rows.
        let mut nearest: Option<(u32, usize)> = None;
        for (other_index, other) in letters.iter().enumerate().skip(index + 1) {
            // A taller neighbour may stand further away, at most by the ratio below.
            if other.left > letter.right + widest_gap(letter) * 2 {
                break;
            }
            let gap = other.left.saturating_sub(letter.right);
            let (low, high) = minmax(letter.height(), other.height());
            let overlap = letter.bottom.min(other.bottom).saturating_sub(letter.top.max(other.top));
            let beside = other.left + other.width() / 2 > letter.right;
            if beside
                && gap <= high * 3 / 2
                && high * 10 <= low * 22
                && overlap * 10 >= low * 6
                && nearest.is_none_or(|(least, _)| gap < least)
            {
                nearest = Some((gap, other_index));
            }
        }
        if let Some((_, other)) = nearest {
            let (from, to) = (row_of[other], row_of[index]);
            if from == other {
                row_of[other] = to;
            } else {
                row_of.iter_mut().filter(|row| **row == to).for_each(|row| *row = from);
            }
        }
    }
    let mut rows: std::collections::BTreeMap<usize, Vec<&Blob>> = std::collections::BTreeMap::new();
    for (letter, row) in letters.iter().zip(row_of) {
        rows.entry(row).or_default().push(letter);
    }
    rows.into_values().collect()
}

fn minmax(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

fn row_of(members: &[&Blob], ink: Ink) -> Option<Row> {
    let mut heights: Vec<u32> = members.iter().map(|blob| blob.height()).collect();
    heights.sort_unstable();
    let height = *heights.get(heights.len() / 2)? as f32;
    let letters = members.iter().map(|blob| (blob.width() as f32 / height * 1.2).max(0.6)).sum();
    let clear: u32 = members.iter().map(|blob| blob.edges_clear).sum();
    let edges: u32 = members.iter().map(|blob| blob.edges).sum();
    let bounds = [
        members.iter().map(|blob| blob.left).min()? as i32,
        members.iter().map(|blob| blob.top).min()? as i32,
        members.iter().map(|blob| blob.right).max()? as i32,
        members.iter().map(|blob| blob.bottom).max()? as i32,
    ];
    // Two letters of very unlike width are a letter and a piece of the picture.
    (members.len() >= 2).then(|| Row {
        bounds,
        letter_height: height,
        letters,
        clarity: clear as f32 / edges.max(1) as f32,
        ink,
    })
}

/// A row drawn for Tesseract, and the way back to the picture.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub picture: Raster,
    scale: f32,
    left: i32,
    top: i32,
}

impl Drawn {
    /// A box in the drawn row as a box in the whole picture.
    pub(crate) fn back(&self, bounds: [i32; 4]) -> [i32; 4] {
        let margin = MARGIN as i32;
        let turn = |edge: i32, offset: i32| ((edge - margin) as f32 / self.scale) as i32 + offset;
        [
            turn(bounds[0], self.left),
            turn(bounds[1], self.top),
            turn(bounds[2], self.left),
            turn(bounds[3], self.top),
        ]
    }
}

/// Draws one row black on white: only blobs of its ink that are not larger than its letters, with the soft rim that
/// the picture gives them.
pub(crate) fn draw(grey: &Raster, row: &Row) -> Option<Drawn> {
    let pad = (row.letter_height * 0.45) as i32 + 2;
    // Wider than the row: its first or last letters may not have been seen as letters.
    let aside = (row.letter_height * 2.5) as i32;
    let left = (row.bounds[0] - aside).max(0);
    let top = (row.bounds[1] - pad).max(0);
    let right = (row.bounds[2] + aside).min(grey.width as i32);
    let bottom = (row.bounds[3] + pad).min(grey.height as i32);
    let (width, height) =
        (usize::try_from(right - left).ok()?, usize::try_from(bottom - top).ok()?);
    let mut crop = Raster::blank(width, height);
    for (y, line) in crop.data.chunks_exact_mut(width.max(1)).enumerate() {
        let from = (y + top as usize) * grey.width + left as usize;
        line.copy_from_slice(&grey.data[from..from + width]);
    }
    // Work on a crop of bounded size: enough pixels per letter, and not more.
    let scale = DRAWN_HEIGHT / row.letter_height;
    let target = |side: usize| ((side as f32 * scale) as usize).clamp(1, 12_000);
    let crop = crop.resized(target(width), target(height));
    let letter = DRAWN_HEIGHT as u32;
    let blobs = blobs::find(&crop, row.ink)?;
    let mut shade = Raster::blank(crop.width, crop.height);
    let inside_row = |blob: &Blob| {
        let middle = (blob.top + blob.bottom) / 2;
        let edge = (pad as f32 * scale * 0.7) as u32;
        middle >= edge && middle + edge <= crop.height as u32
    };
    let first = ((row.bounds[0] - left) as f32 * scale) as u32;
    let last = ((row.bounds[2] - left) as f32 * scale) as u32;
    for blob in &blobs.all {
        let speck = blob.area < letter * letter / 150;
        let huge = blob.height() > letter * 9 / 5 || blob.width() > letter * 16;
        let unclear = blob.clarity() < 0.4;
        let outside = blob.right < first || blob.left > last;
        let stray = outside && (blob.clarity() < 0.6 || blob.height() * 2 < letter);
        if speck || huge || unclear || stray || !inside_row(blob) {
            continue;
        }
        for run in blobs.runs(blob) {
            let from = (run.from as usize).saturating_sub(1);
            let to = (run.to as usize + 1).min(crop.width);
            for y in [run.y.wrapping_sub(1), run.y, run.y + 1] {
                let y = y as usize;
                if y < crop.height {
                    for x in from..to {
                        let value = crop.data[y * crop.width + x];
                        let at = &mut shade.data[y * crop.width + x];
                        *at = (*at).min(tone(value, row.ink));
                    }
                }
            }
        }
    }
    let mut picture = Raster::blank(crop.width + 2 * MARGIN, crop.height + 2 * MARGIN);
    for (y, line) in shade.data.chunks_exact(crop.width).enumerate() {
        let at = (y + MARGIN) * picture.width + MARGIN;
        picture.data[at..at + crop.width].copy_from_slice(line);
    }
    Some(Drawn { picture, scale, left, top })
}

/// Ink becomes black; what is 90 steps or more beyond the level becomes white.
fn tone(value: u8, ink: Ink) -> u8 {
    let beyond = match ink {
        Ink::Bright(level) => level.saturating_sub(value),
        Ink::Dark(level) => value.saturating_sub(level),
    };
    (u16::from(beyond) * 255 / 90).min(255) as u8
}
