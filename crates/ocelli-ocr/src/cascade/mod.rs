//! Reads one picture, cheapest pass first, and stops when what was read is good enough.
//!
//! | pass | when | what |
//! |---|---|---|
//! | `page` | always, unless the picture is blank | the whole picture, text brought to the height that Tesseract likes |
//! | `again` | small letters where `page` read no word | the whole picture as it is |
//! | `row` | many letters | one or two rows: a page that lies on its side is turned before it is read |
//! | `caption` | rows of letters that `page` did not read well | each such row drawn again, black on white |
//! | `rotate-90` … | letters, but hardly a word of a language | a few rows at each quarter turn, all at the best |
//! | `sparse` | still little | the whole picture without layout |
//!
//! Every pass leaves a [`Step`] with its reason. The whole is bounded: two page passes, 30 rows, one sparse
//! pass, a few rows at three quarter turns and one more page pass, all within the soft deadline.

mod captions;
mod rotations;
mod scale;
mod transcript;

use std::time::{Duration, Instant};

use image::RgbImage;
use ocelli_core::Step;

use crate::engine::{Engine, EngineError, Found, Layout, Pixels, Recognized, Until};
use crate::lines::{self, Survey};
use crate::options::PageMode;
use crate::raster::Raster;
use crate::words::{self, Line, mean};

use scale::{RESOLUTION, factors, page_scale, rescaled, scaled};
pub(crate) use transcript::Writing;

/// Part of the revision: raise it whenever a change here can change an answer.
pub const PREPROCESSING_VERSION: u32 = 5;

/// A picture with less contrast is blank.
const LEAST_CONTRAST: u8 = 24;
/// Share of convincing letters from which a picture is taken to be upright.
const CONVINCING: f32 = 0.4;
/// Rows read before the picture is turned.
const PROBES: usize = 3;

/// So many small letters, and such a share of all, are worth a second page pass when no word stands where they are.
const UNREAD_LETTERS: f32 = 40.0;
const UNREAD_SHARE: f32 = 0.12;

/// No sparse pass where the page pass took more than this part of all the time: layout analysis of noise cannot be
/// interrupted, and took 19 s without layout where it took 5 s with it.
const PATIENCE: u32 = 8;

/// How much may be spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// No pass begins after this, and a running one stops between words.
    pub ends: Instant,
    /// The time from the beginning to `ends`.
    pub whole: Duration,
    /// Only the page pass.
    pub page_only: bool,
    /// How the page pass looks for text.
    pub page_mode: PageMode,
    /// Mean confidence from which on nothing is looked for without layout.
    pub sufficient_confidence: f32,
}

impl Budget {
    fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    const fn layout(&self) -> Layout {
        match self.page_mode {
            PageMode::Auto => Layout::Page,
            PageMode::Column => Layout::Column,
            PageMode::Block => Layout::Block,
            PageMode::Sparse => Layout::Sparse,
        }
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
    for mode in [Layout::Page, Layout::Sparse, Layout::Line] {
        let until = Until { deadline: Duration::from_secs(5), words: None };
        recognize(engine, &picture, mode, RESOLUTION, until)?;
    }
    Ok(())
}

/// Reads one picture.
pub(crate) fn read(
    engine: &mut Engine,
    picture: RgbImage,
    budget: Budget,
) -> Result<PictureReading, EngineError> {
    // The network reads brightness alone. In colour, layout analysis cost a tenth more and found no more.
    let grey = Raster::grey(&picture);
    let mut pass = Passes { engine, grey, budget, reading: PictureReading::default() };
    pass.run()?;
    Ok(pass.reading)
}

/// What the page pass was worth before its noise was removed.
struct Judged {
    score: f32,
    words: usize,
    convincing: f32,
}

impl Judged {
    fn of(lines: &[Line]) -> Self {
        Self {
            score: lines.iter().map(Line::score).sum(),
            words: lines.iter().map(|line| line.words.len()).sum(),
            convincing: words::convincing(lines.iter().flat_map(|line| &line.words)),
        }
    }
}

struct Passes<'a> {
    engine: &'a mut Engine,
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
        if !self.budget.page_only && self.stands_otherwise(&survey)? {
            return Ok(());
        }
        let began = Instant::now();
        let raw = self.page(&survey, started)?;
        let page_took = began.elapsed();
        let page = Judged::of(&raw);
        self.reading.lines = words::without_noise(raw);
        if self.budget.page_only {
            return Ok(());
        }
        self.second_look(&survey)?;
        let rows = self.unread(&survey);
        let turned = page.convincing < CONVINCING && {
            // The clearest rows tell whether the picture stands upright, before much is spent on it.
            let (first, _) = rows.split_at(rows.len().min(PROBES));
            let heard = self.captions(&survey, first)?;
            heard < CONVINCING && self.turn(&survey, &page)?
        };
        if !turned {
            let read = if page.convincing < CONVINCING { rows.len().min(PROBES) } else { 0 };
            self.captions(&survey, &rows[read..])?;
        }
        let letters = survey.letters();
        let page_words = page.words;
        if !self.is_sufficient() && (letters >= 3.0 || page_words > 0) {
            if page_took * PATIENCE > self.budget.whole {
                let reason =
                    format!("not read: the page pass took {page_took:.1?}, this takes longer");
                self.step("sparse", reason, Instant::now(), None);
                return Ok(());
            }
            self.sparse(&survey)?;
        }
        Ok(())
    }

    fn is_sufficient(&self) -> bool {
        let words = || self.reading.lines.iter().flat_map(|line| &line.words);
        let letters: usize = words().map(|word| word.text.chars().count()).sum();
        letters >= 3 && mean(words()) >= self.budget.sufficient_confidence
    }

    /// Layout analysis drops whole blocks of a dense screen at one size and finds them at another. Where small letters were
    /// left, the picture is read once more as it is.
    fn second_look(&mut self, survey: &Survey) -> Result<(), EngineError> {
        let Some(fine) = &survey.fine else { return Ok(()) };
        let (letters, share) = fine.unread(self.reading.lines.iter().flat_map(|line| &line.words));
        if letters < UNREAD_LETTERS || share < UNREAD_SHARE || self.budget.left().is_zero() {
            return Ok(());
        }
        let started = Instant::now();
        let scale = scale::as_it_is();
        let found =
            self.read_scaled(&scaled(&self.grey, scale.factor), Layout::Page, scale.resolution)?;
        let confidence = mean(found.iter());
        for line in words::without_noise(words::lines(found, "again")) {
            words::merge(&mut self.reading.lines, line);
        }
        self.step("again", scale.reason, started, Some(confidence));
        Ok(())
    }

    /// The whole picture at the scale that the survey suggests.
    fn page(&mut self, survey: &Survey, started: Instant) -> Result<Vec<Line>, EngineError> {
        if self.budget.left().is_zero() {
            self.reading.partial = true;
            self.step("page", "not read: no time left".to_owned(), started, None);
            return Ok(Vec::new());
        }
        let scale = page_scale(&self.grey, survey);
        let scaled = scaled(&self.grey, scale.factor);
        let found = self.read_scaled(&scaled, self.budget.layout(), scale.resolution)?;
        let confidence = mean(found.iter());
        self.step("page", scale.reason, started, Some(confidence));
        Ok(words::lines(found, "page"))
    }

    fn read_scaled(
        &mut self,
        scaled: &Raster,
        mode: Layout,
        resolution: u32,
    ) -> Result<Vec<Found>, EngineError> {
        let until = Until { deadline: self.budget.left(), words: None };
        let recognized = recognize(self.engine, scaled, mode, resolution, until)?;
        self.reading.partial |= !recognized.complete;
        let (x, y) = factors(&self.grey, scaled);
        Ok(recognized.words.into_iter().map(|word| rescaled(word, x, y)).collect())
    }

    fn sparse(&mut self, survey: &Survey) -> Result<(), EngineError> {
        if self.budget.left().is_zero() {
            self.reading.partial = true;
            return Ok(());
        }
        let started = Instant::now();
        let scale = page_scale(&self.grey, survey);
        let scaled = scaled(&self.grey, scale.factor);
        let found = self.read_scaled(&scaled, Layout::Sparse, scale.resolution)?;
        let confidence = mean(found.iter());
        for line in words::without_noise(words::lines(found, "sparse")) {
            words::merge(&mut self.reading.lines, line);
        }
        let reason = "too little was read with confidence".to_owned();
        self.step("sparse", reason, started, Some(confidence));
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

fn recognize(
    engine: &mut Engine,
    raster: &Raster,
    mode: Layout,
    resolution: u32,
    until: Until,
) -> Result<Recognized, EngineError> {
    let pixels = Pixels {
        bytes: &raster.data,
        width: u32::try_from(raster.width).unwrap_or(u32::MAX),
        height: u32::try_from(raster.height).unwrap_or(u32::MAX),
        channels: 1,
    };
    engine.read(pixels, mode, resolution, until)
}
