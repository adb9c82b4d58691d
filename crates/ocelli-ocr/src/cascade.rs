//! Reads one picture, cheapest pass first, and stops when what was read is good enough.
//!
//! | pass | when | what |
//! |---|---|---|
//! | `page` | always, unless the picture is blank | the whole picture, text brought to the height that Tesseract likes |
//! | `caption` | rows of letters that `page` did not read well | each such row drawn again, black on white |
//! | `rotate-90` … | letters, but hardly a word of a language | a few words at each quarter turn, all at the best |
//! | `sparse` | still little | the whole picture without layout |
//!
//! Every pass leaves a [`Step`] with its reason. The whole is bounded: one page pass, [`MOST_ROWS`] rows, one sparse
//! pass, three glances and one more page pass, all within the soft deadline.

use std::time::{Duration, Instant};

use image::RgbImage;
use ocelli_core::{Step, Word};

use crate::engine::{Engine, EngineError, Found, PageMode, Pixels, Recognized, Until};
use crate::lines::{self, Row, Survey, covered};
use crate::protocol::Transcript;
use crate::raster::{Raster, turned_back};
use crate::words::{self, Line, mean};

/// Part of the revision: raise it whenever a change here can change an answer.
pub const PREPROCESSING_VERSION: u32 = 1;

/// Rows drawn again per picture: a screen full of captions has fewer.
const MOST_ROWS: usize = 30;
/// Other levels of brightness at which a row is tried that reads below [`GOOD_ROW`].
const MOST_ALTERNATIVES: usize = 2;
/// Mean confidence of a row that needs no other try.
const GOOD_ROW: f32 = 80.0;
/// A picture with less contrast is blank.
const LEAST_CONTRAST: u8 = 24;
/// Letters taller than this are shrunk to [`GOOD_LETTERS`].
const LARGE_LETTERS: f32 = 40.0;
/// Where more pixels cost more and bring nothing.
const GOOD_LETTERS: f32 = 26.0;
/// Letters smaller than this are enlarged to [`LEGIBLE_LETTERS`]: more helps little and costs by the square.
const SMALL_LETTERS: f32 = 11.0;
const LEGIBLE_LETTERS: f32 = 15.0;
/// The largest picture Tesseract is given: an A4 page at 400 dpi. Layout analysis of noise takes 1 s per megapixel.
const MOST_PIXELS: f32 = 16_000_000.0;
/// The longest side Tesseract is given, well below its own limit.
const LONGEST_SIDE: f32 = 20_000.0;
/// A picture in which no row of letters was found is read at this side: there may be text that the survey missed.
const SIDE_WITHOUT_ROWS: f32 = 1_400.0;
/// Share of convincing letters from which a picture is taken to be upright.
const CONVINCING: f32 = 0.4;
/// Words (for the engine: mostly lines) read in a glance at a turned picture.
const GLANCE_WORDS: u32 = 10;

/// How much may be spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// No pass begins after this, and a running one stops between words.
    pub ends: Instant,
    /// Only the page pass.
    pub page_only: bool,
    /// Mean confidence that ends the cascade.
    pub sufficient_confidence: f32,
}

impl Budget {
    fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

/// What was read in one picture.
#[derive(Debug, Default)]
pub(crate) struct PictureReading {
    lines: Vec<Line>,
    steps: Vec<Step>,
    rotation: u16,
    partial: bool,
}

/// Lets the libraries set up what they set up at first use.
pub(crate) fn warm_up(engine: &mut Engine) -> Result<(), EngineError> {
    let mut picture = Raster::blank(120, 60);
    for y in 20..40 {
        for x in (20..100).filter(|x| x % 10 < 4) {
            picture.data[y * 120 + x] = 0;
        }
    }
    for mode in [PageMode::Page, PageMode::Sparse, PageMode::Line] {
        recognize(engine, &picture, mode, Until { deadline: Duration::from_secs(5), words: None })?;
    }
    Ok(())
}

/// Reads one picture.
pub(crate) fn read(
    engine: &mut Engine,
    picture: RgbImage,
    budget: Budget,
) -> Result<PictureReading, EngineError> {
    let picture = Raster::from_rgb(picture);
    let grey = picture.grey();
    let mut pass = Passes { engine, picture, grey, budget, reading: PictureReading::default() };
    pass.run()?;
    Ok(pass.reading)
}

struct Passes<'a> {
    engine: &'a mut Engine,
    picture: Raster,
    grey: Raster,
    budget: Budget,
    reading: PictureReading,
}

impl Passes<'_> {
    fn run(&mut self) -> Result<(), EngineError> {
        let started = Instant::now();
        let contrast = self.grey.contrast();
        if contrast < LEAST_CONTRAST {
            self.step(
                "page",
                format!("not read: blank (contrast {contrast} of 255)"),
                started,
                None,
            );
            return Ok(());
        }
        let survey = lines::survey(&self.grey);
        let raw = self.page(&survey, started)?;
        let page_score: f32 = raw.iter().map(Line::score).sum();
        let page_words: usize = raw.iter().map(|line| line.words.len()).sum();
        let mut convincing = words::convincing(raw.iter().flat_map(|line| &line.words));
        self.reading.lines = words::without_noise(raw);
        if self.budget.page_only {
            return Ok(());
        }
        convincing = convincing.max(self.captions(&survey)?);
        let letters = survey.letters();
        if convincing < CONVINCING {
            // A line that stands on its end is no row of letters until the picture is turned.
            let sideways = lines::survey(&self.grey.turned(1));
            if letters.max(sideways.letters()) >= 3.0 || page_words >= 3 {
                let clearer = if sideways.letters() > letters { &sideways } else { &survey };
                self.rotations(clearer, page_score)?;
            }
        }
        if !self.is_sufficient() && (letters >= 3.0 || page_words > 0) {
            self.sparse(&survey)?;
        }
        Ok(())
    }

    fn is_sufficient(&self) -> bool {
        let words = || self.reading.lines.iter().flat_map(|line| &line.words);
        let letters: usize = words().map(|word| word.text.chars().count()).sum();
        letters >= 3 && mean(words()) >= self.budget.sufficient_confidence
    }

    /// The whole picture at the scale that the survey suggests.
    fn page(&mut self, survey: &Survey, started: Instant) -> Result<Vec<Line>, EngineError> {
        if self.budget.left().is_zero() {
            self.reading.partial = true;
            self.step("page", "not read: no time left".to_owned(), started, None);
            return Ok(Vec::new());
        }
        let (scale, reason) = page_scale(&self.picture, survey);
        let scaled = scaled(&self.picture, scale);
        let found = self.read_scaled(&scaled, PageMode::Page)?;
        let confidence = mean(found.iter());
        self.step("page", reason, started, Some(confidence));
        Ok(words::lines(found, "page"))
    }

    fn read_scaled(&mut self, scaled: &Raster, mode: PageMode) -> Result<Vec<Found>, EngineError> {
        let until = Until { deadline: self.budget.left(), words: None };
        let recognized = recognize(self.engine, scaled, mode, until)?;
        self.reading.partial |= !recognized.complete;
        let (x, y) = factors(&self.picture, scaled);
        Ok(recognized.words.into_iter().map(|word| rescaled(word, x, y)).collect())
    }

    /// Rows of letters that no confident word covers. Returns how convincing they are.
    fn captions(&mut self, survey: &Survey) -> Result<f32, EngineError> {
        let mut read: Vec<[i32; 4]> = Vec::new();
        for line in &self.reading.lines {
            let sure = |word: &&Found| word.confidence >= 75.0 && words::plausible(word);
            if line.words.len() > 2 && line.confidence() >= 80.0 {
                // What stands inside a line that reads well is a part of it.
                read.push(line.bounds());
            } else {
                read.extend(line.words.iter().filter(sure).map(|word| word.bounds));
            }
        }
        let unread = |row: &&Row| {
            let seen: f32 = read.iter().map(|bounds| covered(row.bounds, *bounds)).sum();
            seen < 0.55
        };
        let rows: Vec<&Row> = survey.rows.iter().filter(unread).take(MOST_ROWS).collect();
        if rows.is_empty() {
            return Ok(0.0);
        }
        let started = Instant::now();
        let reason = format!("{} rows of letters were not read by the page pass", rows.len());
        let (mut added, mut all) = (Vec::new(), Vec::new());
        for row in rows {
            if self.budget.left().is_zero() {
                self.reading.partial = true;
                break;
            }
            let mut words = self.row(row)?;
            for other in survey.alternatives(row).take(MOST_ALTERNATIVES) {
                let value = |words: &[Found]| words.iter().map(words::score).sum::<f32>();
                if mean(words.iter()) >= GOOD_ROW || self.budget.left().is_zero() {
                    break;
                }
                let again = self.row(other)?;
                if value(&again) > value(&words) {
                    words = again;
                }
            }
            all.extend(words.iter().cloned());
            let line = Line { words, step: "caption".to_owned(), paragraph: false };
            added.extend(words::without_noise(vec![line]));
        }
        let confidence = mean(all.iter());
        added.sort_by_key(|line: &Line| (line.bounds()[1], line.bounds()[0]));
        for line in added {
            words::merge(&mut self.reading.lines, line);
        }
        self.step("caption", reason, started, Some(confidence));
        Ok(words::convincing(all.iter()))
    }

    /// One row, drawn and read as a single line.
    fn row(&mut self, row: &Row) -> Result<Vec<Found>, EngineError> {
        let Some(drawn) = lines::draw(&self.grey, row) else { return Ok(Vec::new()) };
        let until = Until { deadline: self.budget.left(), words: None };
        let recognized = recognize(self.engine, &drawn.picture, PageMode::Line, until)?;
        self.reading.partial |= !recognized.complete;
        let words = recognized.words.into_iter();
        Ok(words.map(|word| Found { bounds: drawn.back(word.bounds), ..word }).collect())
    }

    fn sparse(&mut self, survey: &Survey) -> Result<(), EngineError> {
        if self.budget.left().is_zero() {
            self.reading.partial = true;
            return Ok(());
        }
        let started = Instant::now();
        let (scale, _) = page_scale(&self.picture, survey);
        let scaled = scaled(&self.grey, scale);
        let found = self.read_scaled(&scaled, PageMode::Sparse)?;
        let confidence = mean(found.iter());
        for line in words::without_noise(words::lines(found, "sparse")) {
            words::merge(&mut self.reading.lines, line);
        }
        let reason = "too little was read with confidence".to_owned();
        self.step("sparse", reason, started, Some(confidence));
        Ok(())
    }

    /// A glance at each quarter turn; the best one is read whole when it is clearly better than upright.
    fn rotations(&mut self, survey: &Survey, page_score: f32) -> Result<(), EngineError> {
        let mut best: Option<(f32, u8)> = None;
        let (scale, _) = page_scale(&self.picture, survey);
        let upright = scaled(&self.grey, scale);
        for quarters in [2, 1, 3] {
            if self.budget.left().is_zero() {
                self.reading.partial = true;
                return Ok(());
            }
            let started = Instant::now();
            let turned = upright.turned(quarters);
            let until = Until { deadline: self.budget.left(), words: Some(GLANCE_WORDS) };
            let words = recognize(self.engine, &turned, PageMode::Page, until)?.words;
            let confidence = mean(words.iter());
            let score: f32 = words.iter().map(words::score).sum();
            let name = rotation_name(quarters);
            self.step(
                name,
                "a glance: upright was not read well".to_owned(),
                started,
                Some(confidence),
            );
            if confidence >= 55.0 && best.is_none_or(|(most, _)| score > most) {
                best = Some((score, quarters));
            }
            // Nothing else reads at 85 % by chance.
            if confidence >= 85.0 && score >= 15.0 {
                break;
            }
        }
        let Some((glance, quarters)) = best else { return Ok(()) };
        let kept: f32 = self.reading.lines.iter().map(Line::score).sum();
        let started = Instant::now();
        let turned = scaled(&self.picture, scale).turned(quarters);
        let until = Until { deadline: self.budget.left(), words: None };
        let recognized = recognize(self.engine, &turned, PageMode::Page, until)?;
        self.reading.partial |= !recognized.complete;
        let confidence = mean(recognized.words.iter());
        let name = rotation_name(quarters);
        let (x, y) = factors(&self.picture, &upright);
        let found = recognized
            .words
            .into_iter()
            .map(|word| {
                let bounds = turned_back(word.bounds, quarters, upright.width, upright.height);
                rescaled(Found { bounds, ..word }, x, y)
            })
            .collect();
        let lines = words::without_noise(words::lines(found, name));
        let score: f32 = lines.iter().map(Line::score).sum();
        let reason = format!("the glance was worth {glance:.0}, upright {page_score:.0}");
        self.step(name, reason, started, Some(confidence));
        if score > kept.max(page_score) * 1.2 {
            self.reading.lines = lines;
            self.reading.rotation = u16::from(quarters) * 90;
        }
        Ok(())
    }

    fn step(&mut self, name: &str, reason: String, started: Instant, confidence: Option<f32>) {
        self.reading.steps.push(Step {
            name: name.to_owned(),
            reason,
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            confidence,
        });
    }
}

const fn rotation_name(quarters: u8) -> &'static str {
    match quarters {
        1 => "rotate-90",
        2 => "rotate-180",
        _ => "rotate-270",
    }
}

/// The factor for the page pass, and why.
fn page_scale(picture: &Raster, survey: &Survey) -> (f32, String) {
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

fn scaled(picture: &Raster, scale: f32) -> Raster {
    if (scale - 1.0).abs() < 0.05 {
        return picture.clone();
    }
    let side = |side: usize| ((side as f32 * scale).round() as usize).max(1);
    picture.resized(side(picture.width), side(picture.height))
}

/// From pixels of `scaled` to pixels of `picture`.
fn factors(picture: &Raster, scaled: &Raster) -> (f32, f32) {
    (picture.width as f32 / scaled.width as f32, picture.height as f32 / scaled.height as f32)
}

fn rescaled(word: Found, x: f32, y: f32) -> Found {
    let [left, top, right, bottom] = word.bounds.map(|edge| edge as f32);
    let bounds = [left * x, top * y, right * x, bottom * y].map(|edge| edge.round() as i32);
    Found { bounds, ..word }
}

fn recognize(
    engine: &mut Engine,
    raster: &Raster,
    mode: PageMode,
    until: Until,
) -> Result<Recognized, EngineError> {
    let pixels = Pixels {
        bytes: &raster.data,
        width: u32::try_from(raster.width).unwrap_or(u32::MAX),
        height: u32::try_from(raster.height).unwrap_or(u32::MAX),
        channels: raster.channels as u32,
    };
    // Letters are brought to about 26 px, which is 10 point at 260 dpi.
    engine.read(pixels, mode, 260, until)
}

/// Adds the reading of one page to the transcript of the image.
pub(crate) fn append(transcript: &mut Transcript, reading: PictureReading, page: usize) {
    let mut line_number = transcript.words.last().map_or(0, |word| word.line + 1);
    if page > 0 {
        transcript.text.push('\u{c}');
    }
    for (index, line) in reading.lines.iter().enumerate() {
        if index > 0 {
            transcript.text.push_str(if line.paragraph { "\n\n" } else { "\n" });
        }
        for (index, word) in line.words.iter().enumerate() {
            if index > 0 {
                transcript.text.push(' ');
            }
            transcript.text.push_str(&word.text);
            let [left, top, right, bottom] = word.bounds;
            transcript.words.push(Word {
                text: word.text.clone(),
                x: left,
                y: top,
                w: right - left,
                h: bottom - top,
                confidence: word.confidence,
                line: line_number,
                step: line.step.clone(),
            });
        }
        line_number += 1;
    }
    transcript.partial |= reading.partial;
    // The turn of the first page that needed one: pages of one file are turned alike.
    if transcript.rotation == 0 {
        transcript.rotation = reading.rotation;
    }
    transcript.steps.extend(reading.steps.into_iter().map(|mut step| {
        if page > 0 {
            step.reason = format!("page {}: {}", page + 1, step.reason);
        }
        step
    }));
}

/// Works out what concerns all pages together.
pub(crate) fn finish(transcript: &mut Transcript) {
    transcript.text.truncate(transcript.text.trim_end().len());
    let letters: usize = transcript.words.iter().map(|word| word.text.chars().count()).sum();
    let sum: f32 = transcript
        .words
        .iter()
        .map(|word| word.confidence * word.text.chars().count() as f32)
        .sum();
    transcript.confidence = (letters > 0).then(|| sum / letters as f32);
}
