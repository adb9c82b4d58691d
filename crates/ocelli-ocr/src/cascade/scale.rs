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
/// Where an x is lower than this, letters are enlarged: on screens of text of 10 pixels the engine's word recall rose from .92 to
/// .99 at 1.5 times the size, of 13 narrow ones from .79 to .93. Text of 14 pixels and more reads well as it is.
const SMALL_X: f32 = 8.0;
const ENLARGED: f32 = 1.5;
/// Where it is lower than this, they are enlarged more.
const TINY_X: f32 = 5.0;
const ENLARGED_MORE: f32 = 2.0;
/// The largest picture Tesseract is given: an A4 page at 400 dpi. Layout analysis of noise takes 1 s per megapixel.
const MOST_PIXELS: f32 = 16_000_000.0;
/// The longest side Tesseract is given, well below its own limit.
const LONGEST_SIDE: f32 = 20_000.0;
/// A picture in which no row of letters was found is read at this side: there may be text that the survey missed, and it is
/// large, for small letters are looked for by themselves. Photographs took a quarter less CPU than at 1,400 pixels.
const SIDE_WITHOUT_ROWS: f32 = 1_000.0;

/// What Tesseract is told about a picture whose letters have the height that they are brought to: 10 point at 260 dpi are
/// about 26 pixels.
pub(super) const RESOLUTION: u32 = 260;
/// Dots per inch for each pixel of the height of an x: 10 point have about 10 at 160 dpi.
const RESOLUTION_OF_X: f32 = 16.0;

/// How the page pass is given the picture.
#[derive(Debug)]
pub(super) struct Scale {
    pub factor: f32,
    /// Dots per inch. Layout analysis takes what is small for its resolution for dirt.
    pub resolution: u32,
    pub reason: String,
}

/// The scale of the page pass, and why.
pub(super) fn page_scale(picture: &Raster, survey: &Survey) -> Scale {
    let (width, height) = (picture.width as f32, picture.height as f32);
    let largest = (MOST_PIXELS / (width * height)).sqrt().min(LONGEST_SIDE / width.max(height));
    let x_height = survey.fine.as_ref().map(|fine| fine.x_height);
    let (wanted, why) = match (x_height, survey.letter_height(0.2)) {
        (Some(x), _) if x < SMALL_X => {
            let scale = if x < TINY_X { ENLARGED_MORE } else { ENLARGED };
            (scale, format!("first pass; small letters, an x of {x:.0} px, enlarged"))
        }
        (Some(x), _) => (1.0, format!("first pass; small letters, an x of {x:.0} px")),
        (None, Some(small)) if small > LARGE_LETTERS => {
            (GOOD_LETTERS / small, format!("first pass; letters of {small:.0} px shrunk"))
        }
        (None, Some(small)) if small < SMALL_LETTERS => {
            let scale = (LEGIBLE_LETTERS / small).min(2.0);
            (scale, format!("first pass; letters of {small:.0} px enlarged"))
        }
        (None, Some(_)) => (1.0, "first pass".to_owned()),
        (None, None) => {
            let scale = (SIDE_WITHOUT_ROWS / width.max(height)).min(1.0);
            (scale, "first pass; no rows of letters seen".to_owned())
        }
    };
    let factor = wanted.min(largest);
    let reason = if wanted > largest { format!("{why}; bounded to {largest:.2}") } else { why };
    let resolution = x_height.map_or(RESOLUTION, |x| (x * factor * RESOLUTION_OF_X).round() as u32);
    Scale { factor, resolution, reason }
}

pub(super) fn scaled(picture: &Raster, scale: f32) -> Raster {
    if (scale - 1.0).abs() < 0.05 {
        return picture.clone();
    }
    let side = |side: usize| ((side as f32 * scale).round() as usize).max(1);
    picture.resized(side(picture.width), side(picture.height))
}

/// The picture as it is, as the plain command reads it.
pub(super) fn as_it_is() -> Scale {
    let reason = "again, as it is: there are small letters where no word was read".to_owned();
    Scale { factor: 1.0, resolution: 70, reason }
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
