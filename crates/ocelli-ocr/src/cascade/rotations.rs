//! Which way is up: a few rows read at each quarter turn, and the whole picture at the best.
//!
//! Rows cost a hundredth of a page. Where no rows were seen (text too small or too dense for the survey) the engine
//! takes a glance at the whole turned picture instead.

use std::time::Instant;

use super::{CONVINCING, Judged, Passes, factors, page_scale, recognize, rescaled, scaled};
use crate::engine::{EngineError, Found, Layout, Until};
use crate::lines::{self, Survey};
use crate::raster::{Raster, turned_back};
use crate::words::{self, Line, mean};

/// Rows read at each quarter turn.
const VOTES: usize = 3;
/// From so many letters on a look at two rows is cheap beside the page pass that it may save.
const MANY_LETTERS: f32 = 80.0;
/// Rows that are looked at before the page pass.
const LOOKS: usize = 2;
/// Mean confidence of rows that stand upright.
const LEGIBLE: f32 = 65.0;
/// With fewer rows a glance is taken.
const LEAST_ROWS: usize = 2;
/// Words (for the engine: mostly lines) read in a glance.
const GLANCE_WORDS: u32 = 10;
/// Mean confidence, and worth, of what nothing but upright text reads as.
const CERTAIN: (f32, f32) = (85.0, 15.0);

/// What a quarter turn promises.
#[derive(Debug, Clone, Copy)]
struct Promise {
    quarters: u8,
    score: f32,
    confidence: f32,
    convincing: f32,
}

impl Promise {
    fn of(quarters: u8, words: &[Found]) -> Self {
        Self {
            quarters,
            score: words.iter().map(words::score).sum(),
            confidence: mean(words.iter()),
            convincing: words::convincing(words.iter()),
        }
    }

    fn is_certain(&self) -> bool {
        self.confidence >= CERTAIN.0 && self.score >= CERTAIN.1
    }
}

impl Passes<'_> {
    /// Whether the picture is a page that lies on its side or stands on its head; then it has been read so. What is not
    /// certain is left to the page pass.
    pub(super) fn stands_otherwise(&mut self, survey: &Survey) -> Result<bool, EngineError> {
        if survey.letters() < MANY_LETTERS {
            return Ok(false);
        }
        let started = Instant::now();
        let mut words = Vec::new();
        for row in survey.rows.iter().take(LOOKS) {
            if let Some(drawn) = lines::draw(&self.grey, row) {
                words.extend(self.line(&drawn.picture)?);
            }
            // Upside down, some letters still make short words.
            if words::convincing(words.iter()) >= CONVINCING && mean(words.iter()) >= LEGIBLE {
                return Ok(false);
            }
        }
        let confidence = mean(words.iter());
        let reason = format!("a look at two rows: {:.0} letters seen", survey.letters());
        self.step("row", reason, started, Some(confidence));
        let aside = self.grey.turned(1);
        let sideways = lines::survey(&aside);
        let Some(promise) = self.vote(survey, &aside, &sideways)?.filter(Promise::is_certain)
        else {
            return Ok(false);
        };
        let clearer = if promise.quarters % 2 == 1 { &sideways } else { survey };
        let nothing = Judged { score: 0.0, words: 0, convincing: 0.0 };
        if !self.whole(clearer, promise, &nothing)? {
            return Ok(false);
        }
        let read = self.reading.lines.iter().flat_map(|line| &line.words);
        let convincing = words::convincing(read) >= CONVINCING;
        if !convincing {
            self.reading.lines.clear();
            self.reading.rotation = 0;
        }
        Ok(convincing)
    }

    /// Looks for the turn at which the picture can be read. Returns whether it was turned.
    pub(super) fn turn(&mut self, survey: &Survey, page: &Judged) -> Result<bool, EngineError> {
        // A line that stands on its end is no row of letters until the picture is turned.
        let aside = self.grey.turned(1);
        let sideways = lines::survey(&aside);
        if survey.letters().max(sideways.letters()) < 3.0 && page.words < 3 {
            return Ok(false);
        }
        let best = if survey.rows.len().max(sideways.rows.len()) >= LEAST_ROWS {
            self.vote(survey, &aside, &sideways)?
        } else {
            self.glance(survey)?
        };
        let Some(promise) = best else { return Ok(false) };
        let clearer = if promise.quarters % 2 == 1 { &sideways } else { survey };
        self.whole(clearer, promise, page)
    }

    /// Reads the clearest rows at each turn.
    fn vote(
        &mut self,
        survey: &Survey,
        aside: &Raster,
        sideways: &Survey,
    ) -> Result<Option<Promise>, EngineError> {
        // Lent for the time of the votes: a copy of a large picture is not made.
        let upright = std::mem::replace(&mut self.grey, Raster::blank(0, 0));
        let best = self.votes(survey, &upright, aside, sideways);
        self.grey = upright;
        best
    }

    fn votes(
        &mut self,
        survey: &Survey,
        upright: &Raster,
        aside: &Raster,
        sideways: &Survey,
    ) -> Result<Option<Promise>, EngineError> {
        let mut best: Option<Promise> = None;
        let mut turns = [(2, upright, survey, 2), (1, aside, sideways, 0), (3, aside, sideways, 2)];
        if sideways.letters() > survey.letters() {
            turns.rotate_left(1);
        }
        for (quarters, grey, survey, further) in turns {
            let started = Instant::now();
            let mut words = Vec::new();
            for row in survey.rows.iter().take(VOTES) {
                if self.budget.left().is_zero() {
                    self.reading.partial = true;
                    return Ok(None);
                }
                if let Some(drawn) = lines::draw(grey, row) {
                    words.extend(self.line(&drawn.picture.turned(further))?);
                }
            }
            let promise = Promise::of(quarters, &words);
            let reason = "a few rows: upright was not read well".to_owned();
            self.step(rotation_name(quarters), reason, started, Some(promise.confidence));
            if promise.convincing >= CONVINCING && best.is_none_or(|b| promise.score > b.score) {
                best = Some(promise);
            }
            if promise.is_certain() {
                break;
            }
        }
        Ok(best)
    }

    /// Reads the beginning of the whole picture at each turn.
    fn glance(&mut self, survey: &Survey) -> Result<Option<Promise>, EngineError> {
        let mut best: Option<Promise> = None;
        let scale = page_scale(&self.grey, survey);
        let upright = scaled(&self.grey, scale.factor);
        for quarters in [2, 1, 3] {
            if self.budget.left().is_zero() {
                self.reading.partial = true;
                return Ok(None);
            }
            let started = Instant::now();
            let until = Until { deadline: self.budget.left(), words: Some(GLANCE_WORDS) };
            let turned = upright.turned(quarters);
            let words =
                recognize(self.engine, &turned, Layout::Page, scale.resolution, until)?.words;
            let promise = Promise::of(quarters, &words);
            let reason = "a glance: upright was not read well".to_owned();
            self.step(rotation_name(quarters), reason, started, Some(promise.confidence));
            if promise.confidence >= 55.0 && best.is_none_or(|b| promise.score > b.score) {
                best = Some(promise);
            }
            if promise.is_certain() {
                break;
            }
        }
        Ok(best)
    }

    /// Reads the whole picture turned, and keeps that when it is clearly better.
    fn whole(
        &mut self,
        survey: &Survey,
        promise: Promise,
        page: &Judged,
    ) -> Result<bool, EngineError> {
        let quarters = promise.quarters;
        let kept: f32 = self.reading.lines.iter().map(Line::score).sum();
        let started = Instant::now();
        let scale = page_scale(&self.grey, survey);
        let upright = scaled(&self.grey, scale.factor);
        let turned = upright.turned(quarters);
        let until = Until { deadline: self.budget.left(), words: None };
        let recognized =
            recognize(self.engine, &turned, self.budget.layout(), scale.resolution, until)?;
        self.reading.partial |= !recognized.complete;
        let confidence = mean(recognized.words.iter());
        let (x, y) = factors(&self.grey, &upright);
        let found = recognized
            .words
            .into_iter()
            .map(|word| {
                let bounds = turned_back(word.bounds, quarters, upright.width, upright.height);
                rescaled(Found { bounds, ..word }, x, y)
            })
            .collect();
        let name = rotation_name(quarters);
        let lines = words::without_noise(words::lines(found, name));
        let score: f32 = lines.iter().map(Line::score).sum();
        let reason =
            format!("this turn promised {:.0}, upright gave {:.0}", promise.score, page.score);
        self.step(name, reason, started, Some(confidence));
        let better = score > kept.max(page.score) * 1.2;
        if better {
            self.reading.lines = lines;
            self.reading.rotation = u16::from(quarters) * 90;
        }
        Ok(better)
    }
}

const fn rotation_name(quarters: u8) -> &'static str {
    match quarters {
        1 => "rotate-90",
        2 => "rotate-180",
        _ => "rotate-270",
    }
}
