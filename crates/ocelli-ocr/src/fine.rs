//! Letters too small for the survey: text of a screen, where an x is 3 to 9 pixels high.
//!
//! Such letters are grey threads that touch each other and make no blobs. What tells them from the texture of a photograph
//! is that for a few rows the picture changes every few pixels along a row, and that there is quiet above and below.

use crate::engine::Found;
use crate::raster::Raster;

/// Width of the columns that are looked at by themselves: a word or two.
const COLUMN: usize = 128;
/// Luma difference, over two pixels, that counts as a change.
const CHANGE: u8 = 40;
/// Changes in a row of a column from which on it may cross letters: about four of them.
const LEAST_CHANGES: u8 = 20;
/// Changes that one letter makes in a row.
const CHANGES_OF_A_LETTER: f32 = 6.0;
/// Heights of an x, in pixels. Larger letters are blobs that the survey finds.
const HEIGHTS: std::ops::RangeInclusive<usize> = 3..=9;
/// Rows within which lines of such letters follow each other.
const REACH: usize = 10;
/// Fewer are no text but chance.
const LEAST_LETTERS: f32 = 24.0;

/// Small letters that were seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fine {
    /// Height of an x in pixels: the median of what was seen.
    pub x_height: f32,
    bands: Vec<Band>,
}

/// Rows of one column in which there are letters.
#[derive(Debug, Clone, PartialEq)]
struct Band {
    left: i32,
    middle: i32,
    height: usize,
    letters: f32,
}

impl Fine {
    /// How many of the letters stand where no word was read, and which share of all they are.
    pub(crate) fn unread<'a>(&self, words: impl Iterator<Item = &'a Found>) -> (f32, f32) {
        let mut boxes: Vec<[i32; 4]> = words.map(|word| word.bounds).collect();
        boxes.sort_unstable_by_key(|bounds| bounds[1]);
        let tallest = boxes.iter().map(|[_, top, _, bottom]| bottom - top).max().unwrap_or(0);
        let is_read = |band: &Band| {
            let from = boxes.partition_point(|[_, top, ..]| *top < band.middle - tallest);
            boxes[from..].iter().take_while(|[_, top, ..]| *top <= band.middle).any(
                |[left, _, right, bottom]| {
                    *bottom > band.middle && *right > band.left && *left < band.left + COLUMN as i32
                },
            )
        };
        let all: f32 = self.bands.iter().map(|band| band.letters).sum();
        let unread: f32 =
            self.bands.iter().filter(|band| !is_read(band)).map(|band| band.letters).sum();
        (unread, unread / all.max(1.0))
    }
}

/// Looks for small letters in a grey raster.
pub(crate) fn look(grey: &Raster) -> Option<Fine> {
    let columns = grey.width.div_ceil(COLUMN);
    let changes = changes(grey, columns);
    let mut found = Vec::new();
    for column in 0..columns {
        let rows: Vec<u8> = changes.iter().skip(column).step_by(columns).copied().collect();
        bands(&rows, |top, height, most| {
            found.push(Band {
                left: (column * COLUMN) as i32,
                middle: (top + height / 2) as i32,
                height,
                letters: f32::from(most) / CHANGES_OF_A_LETTER,
            });
        });
    }
    let all: f32 = found.iter().map(|band| band.letters).sum();
    if all < LEAST_LETTERS {
        return None;
    }
    let mut left = all / 2.0;
    let x_height = HEIGHTS.clone().find(|height| {
        let of_it = found.iter().filter(|band| band.height == *height);
        left -= of_it.map(|band| band.letters).sum::<f32>();
        left <= 0.0
    });
    Some(Fine { x_height: x_height.unwrap_or(*HEIGHTS.end()) as f32, bands: found })
}

/// Changes by row and column, row after row.
fn changes(grey: &Raster, columns: usize) -> Vec<u8> {
    let mut changes = vec![0; grey.height * columns];
    for (row, counts) in grey.data.chunks_exact(grey.width).zip(changes.chunks_exact_mut(columns)) {
        for (column, count) in counts.iter_mut().enumerate() {
            let from = column * COLUMN;
            let part = &row[from..(from + COLUMN + 2).min(row.len())];
            let pairs = part.iter().zip(part.iter().skip(2));
            *count = pairs.map(|(a, b)| u8::from(a.abs_diff(*b) >= CHANGE)).sum();
        }
    }
    changes
}

/// Calls `found` with top, height and changes of each band of rows that may be a line of small letters.
fn bands(rows: &[u8], mut found: impl FnMut(usize, usize, u8)) {
    let peak = |from: usize, to: usize| rows[from..to.min(rows.len())].iter().copied().max();
    let busy = |y: usize| {
        let near = peak(y.saturating_sub(REACH), y + REACH + 1).unwrap_or(0);
        rows[y] >= LEAST_CHANGES && u16::from(rows[y]) * 20 >= u16::from(near) * 9
    };
    let mut y = 0;
    while y < rows.len() {
        let top = y;
        while y < rows.len() && busy(y) {
            y += 1;
        }
        let height = y - top;
        if HEIGHTS.contains(&height) {
            let most = peak(top, y).unwrap_or(0);
            let quiet = |part: &[u8]| part.iter().min().is_none_or(|least| *least <= most / 3);
            let above = &rows[top.saturating_sub(height.max(4))..top];
            let below = &rows[y..(y + height.max(4)).min(rows.len())];
            if quiet(above) && quiet(below) {
                found(top, height, most);
            }
        }
        y = y.max(top + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of upright strokes, `height` high and `pitch` apart.
    fn lines(height: usize, pitch: usize) -> Raster {
        let mut raster = Raster::blank(300, 120);
        for y in (0..120).filter(|y| y % pitch >= pitch - height) {
            for x in (10..280).filter(|x| x % 3 == 0) {
                raster.data[y * 300 + x] = 60;
            }
        }
        raster
    }

    #[test]
    fn lines_of_small_strokes_are_seen_with_their_height() {
        for height in 4..=8 {
            let fine = look(&lines(height, height * 5 / 2)).expect("small letters");
            assert_eq!(fine.x_height as usize, height);
        }
    }

    #[test]
    fn letters_under_no_word_are_unread() {
        let fine = look(&lines(6, 15)).expect("small letters");
        let word = |bounds| Found {
            text: "word".to_owned(),
            bounds,
            confidence: 90.0,
            known: true,
            starts_line: true,
            starts_paragraph: false,
        };
        assert!(fine.unread([].iter()).1 > 0.99);
        assert!(fine.unread([word([0, 0, 300, 120])].iter()).1 < 0.01);
        let half = fine.unread([word([0, 0, 300, 62])].iter()).1;
        assert!((0.4..0.6).contains(&half), "{half}");
    }

    #[test]
    fn large_strokes_flat_ground_and_noise_are_no_small_letters() {
        assert_eq!(look(&Raster::blank(300, 120)), None);
        assert_eq!(look(&lines(20, 50)), None);
        assert_eq!(look(&lines(1, 1)), None);
        let mut state = 1_u32;
        let mut noise = Raster::blank(600, 400);
        for value in &mut noise.data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = (state >> 24) as u8;
        }
        assert_eq!(look(&noise), None);
    }
}
