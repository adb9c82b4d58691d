//! Brings text to the height that Tesseract likes, and boxes back.
//!
//! Height decides both accuracy and cost: layout analysis costs by the pixel, and the network scales every line to 36
//! pixels anyway.

use crate::engine::Found;
use crate::lines::Survey;
use crate::raster::Raster;

/// Letters taller than this are shrunk to [`GOOD_LETTERS`]. Text of 10 point at 300 dpi stays as it is.
const LARGE_LETTERS: f32 = 24.0;
/// Where more pixels cost more and bring nothing: 105 memes took 17 % less CPU than at 26 pixels, at the same recall.
const GOOD_LETTERS: f32 = 16.0;
/// Letters smaller than this are enlarged to [`LEGIBLE_LETTERS`]. Text of a screen in 14 to 18 pixels reads as well as it
/// is (word recall .994 to 1), and enlarged to 15 it took up to 1.6 times the CPU time and memory; text in 9 to 12 pixels gains.
const SMALL_LETTERS: f32 = 8.0;
const LEGIBLE_LETTERS: f32 = 12.0;
/// The largest picture Tesseract is given: an A4 page at 400 dpi. Layout analysis of noise takes 1 s per megapixel.
const MOST_PIXELS: f32 = 16_000_000.0;
/// The longest side Tesseract is given, well below its own limit.
const LONGEST_SIDE: f32 = 20_000.0;
/// A picture in which no row of letters was found is read at this side: there may be text that the survey missed.
const SIDE_WITHOUT_ROWS: f32 = 1_400.0;

/// The factor for the page pass, and why.
pub(super) fn page_scale(picture: &Raster, survey: &Survey) -> (f32, String) {
    let (width, height) = (picture.width as f32, picture.height as f32);
    let largest = (MOST_PIXELS / (width * height)).sqrt().min(LONGEST_SIDE / width.max(height));
    let (wanted, why) = match survey.letter_height(0.2) {
        Some(small) if small > LARGE_LETTERS => {
            (GOOD_LETTERS / small, format!("first pass; letters of {small:.0} px shrunk"))
        }
        Some(small) if small < SMALL_LETTERS => {
            let scale = (LEGIBLE_LETTERS / small).min(2.0);
            (scale, format!("first pass; letters of {small:.0} px enlarged"))
        }
        Some(_) => (1.0, "first pass".to_owned()),
        None => {
            let scale = (SIDE_WITHOUT_ROWS / width.max(height)).min(1.0);
            (scale, "first pass; no rows of letters seen".to_owned())
        }
    };
    if wanted > largest {
        (largest, format!("{why}; bounded to {largest:.2}"))
    } else {
        (wanted, why)
    }
}

pub(super) fn scaled(picture: &Raster, scale: f32) -> Raster {
    if (scale - 1.0).abs() < 0.05 {
        return picture.clone();
    }
    let side = |side: usize| ((side as f32 * scale).round() as usize).max(1);
    picture.resized(side(picture.width), side(picture.height))
}

/// From pixels of `scaled` to pixels of `picture`.
pub(super) fn factors(picture: &Raster, scaled: &Raster) -> (f32, f32) {
    (picture.width as f32 / scaled.width as f32, picture.height as f32 / scaled.height as f32)
}

pub(super) fn rescaled(word: Found, x: f32, y: f32) -> Found {
    let [left, top, right, bottom] = word.bounds.map(|edge| edge as f32);
    let bounds = [left * x, top * y, right * x, bottom * y].map(|edge| edge.round() as i32);
    Found { bounds, ..word }
}
