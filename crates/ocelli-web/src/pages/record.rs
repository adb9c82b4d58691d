//! The page of one image: when it was first seen, and what every analyzer read in it.

use askama::Template;
use ocelli_catalog::History;
use ocelli_catalog::query::Query;
use ocelli_core::{Analysis, AnalyzerName, Digest, DigestPrefix, Outcome, Record};
use ocelli_export::layout::{self, names};

use super::Frame;
use super::cards::Picture;
use crate::app::App;
use crate::assets;
use crate::boxes::Boxes;
use crate::call::{Call, Named};
use crate::failure::WebError;
use crate::pictures::Size;
use crate::prose;
use crate::records::{of_analyzer, said};
use crate::reply::{self, Answer, tagged};
use crate::shown::{self, Part, counted, grouped, line, link, millis, minute, parts, plain};
use crate::taken;

/// Of longer texts the beginning is shown; the twin has all of it.
const LONGEST: usize = 256 * 1024;
/// Sightings that are listed.
const SIGHTINGS: usize = 100;
/// Images that look alike and are shown: of the others a search tells.
const NEAR: usize = 8;

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    frame: Frame,
    digest: String,
    short: String,
    name: String,
    facts: String,
    width: u32,
    height: u32,
    view: String,
    original: String,
    /// Why the image itself is not there.
    gone: String,
    /// What is drawn instead of it.
    blank: String,
    first_seen: String,
    sightings: Vec<Seen>,
    more_sightings: usize,
    sections: Vec<Section>,
    boxes: Boxes,
    hits: String,
    query: String,
    newer: Option<String>,
    older: Option<String>,
    compare: Option<String>,
    /// The search for images that look like it, when that can be told.
    similar: Option<String>,
    /// The nearest of them.
    near: Vec<Near>,
    twin: String,
    takes: Vec<(String, &'static str)>,
    back: String,
    history: Vec<Happened>,
}

struct Seen {
    at: String,
    source: String,
    href: Option<String>,
    /// What lists said about it.
    said: Vec<(String, String)>,
}

/// An image that looks like this one.
struct Near {
    href: String,
    picture: Picture,
    /// In how many of 64 bits they differ.
    distance: u32,
}

struct Happened {
    at: String,
    what: String,
    analyzer: String,
    detail: String,
}

struct Section {
    id: String,
    name: String,
    /// Whether it has a text, and how it is shown.
    prose: Option<String>,
    parts: Vec<Part>,
    cut: bool,
    /// Instead of a text.
    state: String,
    state_kind: &'static str,
    badges: Vec<String>,
    facts: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    copy: bool,
    older: Vec<Older>,
}

struct Step {
    name: String,
    reason: String,
    took: String,
}

struct Older {
    revision: String,
    at: String,
    model: String,
    compare: String,
    parts: Vec<Part>,
    state: String,
}

/// `GET /record/DIGEST`, `DIGEST.json`, `DIGEST.txt`; the beginning of a digest leads to it.
pub(crate) async fn page(call: Call, Named(name): Named<String>) -> Answer {
    let app = &call.app;
    let (text, form) = match name.rsplit_once('.') {
        Some((text, form @ ("json" | "txt"))) => (text, form),
        _ => (name.as_str(), ""),
    };
    let digest = match text.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => return shortened(app, text, form).await,
    };
    let record = super::record(app, &digest).await?;
    let order = app.options.names();
    match form {
        "json" => twin(&call, &record).await,
        "txt" => {
            let text = layout::text(&record, &order);
            Ok(tagged(&call.head, "text/plain; charset=utf-8", text.into_bytes()))
        }
        _ => show(&call, &record, &order).await,
    }
}

/// The record for programs: as `ocelli show --format json` prints it.
pub(crate) async fn twin(call: &Call, record: &Record) -> Answer {
    let app = &call.app;
    let pairs = app.catalog.agreement(&record.image.digest).await?;
    call.json(&layout::Json::new(record, &app.options.names(), &pairs))
}

/// The beginning of a digest, as people copy it.
async fn shortened(app: &App, text: &str, form: &str) -> Answer {
    let prefix: DigestPrefix = text
        .parse()
        .map_err(|error: ocelli_core::ids::IdError| WebError::Bad(error.to_string()))?;
    match app.catalog.find(&prefix, 2).await?.as_slice() {
        [digest] if form.is_empty() => Ok(reply::see(&format!("/record/{digest}"))),
        [digest] => Ok(reply::see(&format!("/record/{digest}.{form}"))),
        [] => {
            Err(WebError::Missing(format!("there is no image {} in this archive", line(text, 64))))
        }
        _ => Err(WebError::Bad(format!("{} is the beginning of several digests", line(text, 64)))),
    }
}

/// The beginning of a text that is too long for a page, and whether it was cut.
fn beginning(text: &str) -> (&str, bool) {
    if text.len() <= LONGEST {
        return (text, false);
    }
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (&text[..end], true)
}

pub(crate) fn lit_parts(text: &str, query: Option<&Query>) -> Vec<Part> {
    let text = plain(text);
    let marks = query.map(|query| query.marks(&text)).unwrap_or_default();
    parts(&text, &marks)
}

async fn show(call: &Call, record: &Record, order: &[AnalyzerName]) -> Answer {
    let (app, digest, typed) = (&call.app, record.image.digest, call.asked.get("q"));
    // A query that cannot be read lights nothing; where it is typed it is told.
    let query = Query::parse_within(typed, &app.options.query).ok().filter(|_| !typed.is_empty());
    let neighbours = app.catalog.neighbours(&digest).await?;
    let history = app.catalog.history(&digest).await?;
    let mut sightings: Vec<_> = record.sightings.values().collect();
    sightings.sort_by_key(|sighting| (sighting.seen_at, sighting.source.clone()));
    let latest = sightings.iter().max_by_key(|sighting| sighting.seen_at);
    let name = latest.map_or_else(|| digest.short(), |sighting| shown::name(&sighting.source));
    let names = names(record, order);
    let with_words = names.iter().filter_map(|name| match &record.current(name)?.outcome {
        Outcome::Done(reading) if !reading.words.is_empty() => Some(reading),
        _ => None,
    });
    let boxes = with_words.take(1).map(|reading| Boxes::of(reading, query.as_ref())).next();
    let boxes = boxes.unwrap_or_default();
    let (width, height) = record.image.width.zip(record.image.height).unwrap_or((3, 2));
    let answered = names
        .iter()
        .filter(|name| record.current(name).is_some_and(|analysis| said(analysis).is_ok()));
    let compare = (record.answers().filter(|one| said(one).is_ok()).count() > 1
        && answered.count() > 0)
        .then(|| link(&format!("/compare/{digest}"), &[]));
    let beside = |digest: Option<Digest>| {
        digest.map(|digest| link(&format!("/record/{digest}"), &[("q", typed)]))
    };
    let near = near(app, &digest).await?;
    // Also of an image that nothing looks like: the search may go further.
    let similar =
        near.is_some().then(|| link("/search", &[("q", &format!("like:{}", digest.short()))]));
    let mut frame = call.frame("");
    typed.clone_into(&mut frame.query);
    let page = RecordPage {
        frame,
        short: digest.short(),
        name,
        facts: shown::facts(&record.image),
        width: width.clamp(1, 100_000),
        height: height.clamp(1, 100_000),
        view: format!("/image/{digest}/view"),
        original: format!("/image/{digest}/original"),
        gone: gone(app, record).await,
        blank: assets::at("gone.svg"),
        takes: takes(&digest, !boxes.words.is_empty()),
        first_seen: record.first_seen().map(shown::time).unwrap_or_default(),
        more_sightings: sightings.len().saturating_sub(SIGHTINGS),
        sightings: sightings
            .iter()
            .take(SIGHTINGS)
            .map(|sighting| seen(record, sighting))
            .collect(),
        sections: names.iter().map(|name| section(record, name, query.as_ref())).collect(),
        hits: if boxes.lit > 0 {
            counted(boxes.lit as u64, "word lit", "words lit")
        } else {
            String::new()
        },
        boxes,
        query: typed.to_owned(),
        newer: beside(neighbours.newer),
        older: beside(neighbours.older),
        compare,
        similar,
        near: near.unwrap_or_default(),
        twin: format!("/record/{digest}.json"),
        back: if typed.is_empty() { "/".to_owned() } else { link("/search", &[("q", typed)]) },
        history: happened(history),
        digest: digest.to_string(),
    };
    call.page(&page)
}

/// The images that look most like it, nearest first; none while it is not known what it looks like.
async fn near(app: &App, digest: &Digest) -> Result<Option<Vec<Near>>, WebError> {
    let Some(nearest) = app.catalog.nearest(digest, NEAR).await? else { return Ok(None) };
    if nearest.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let digests: Vec<Digest> = nearest.iter().map(|(_, digest)| *digest).collect();
    let sheets = app.catalog.sheets(&digests).await?;
    let one = |(distance, digest): &(u32, Digest)| Near {
        href: format!("/record/{digest}"),
        picture: Picture::of(*digest, sheets.get(digest)),
        distance: *distance,
    };
    Ok(Some(nearest.iter().map(one).collect()))
}

/// The files that a record can be taken out as; words with boxes only where somebody read some.
fn takes(digest: &Digest, has_words: bool) -> Vec<(String, &'static str)> {
    let names = ["hOCR", "ALTO", "TSV", "Text", "Markdown", "JSON"];
    let all = taken::FILES.iter().zip(names).skip(if has_words { 0 } else { 3 });
    all.map(|((format, _, _), name)| (format!("/record/{digest}/{format}"), name)).collect()
}

/// Why the image itself cannot be shown, where that is known at once. Addresses are not asked: that may take long, and the
/// picture says it.
async fn gone(app: &App, record: &Record) -> String {
    let digest = &record.image.digest;
    if let Some(reason) = &record.refusal {
        return format!("Not analyzed: {}", line(reason, 500));
    }
    if app.pictures.has(digest, Size::View) || record.sightings.is_empty() {
        return String::new();
    }
    let mut is_there = false;
    for sighting in record.sightings.values().take(20) {
        let Some(path) = sighting.source.path() else { return String::new() };
        match tokio::fs::metadata(&path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            _ => is_there = true,
        }
    }
    if !is_there {
        return "The image is no longer where it was seen. What was read in it is kept.".to_owned();
    }
    let trouble = app.pictures.look(digest).await;
    trouble.map_or_else(String::new, |reason| {
        let reason = line(&reason, 500);
        let mut chars = reason.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
        format!("{first}{}. What was read in it is kept.", chars.as_str())
    })
}

fn seen(record: &Record, sighting: &ocelli_core::Sighting) -> Seen {
    let is_web = matches!(sighting.source.url().scheme(), "http" | "https");
    Seen {
        at: shown::time(sighting.seen_at),
        source: line(&sighting.source.to_string(), 500),
        href: is_web.then(|| sighting.source.as_str().to_owned()),
        said: record
            .said(&sighting.source)
            .map(|(name, text)| (line(name, 200), line(text, 500)))
            .collect(),
    }
}

fn section(record: &Record, name: &AnalyzerName, query: Option<&Query>) -> Section {
    let current = record.current(name);
    let digest = record.image.digest;
    let mut section = Section {
        id: format!("a-{name}"),
        name: name.to_string(),
        prose: None,
        parts: Vec::new(),
        cut: false,
        state: String::new(),
        state_kind: "",
        badges: Vec::new(),
        facts: Vec::new(),
        steps: Vec::new(),
        copy: false,
        older: Vec::new(),
    };
    match current.map(|analysis| (analysis, said(analysis))) {
        None if record.refusal.is_some() => {
            (section.state_kind, section.state) =
                ("skipped", "not asked: the image was refused".to_owned());
        }
        None => {
            (section.state_kind, section.state) = ("waiting", "waiting for its turn".to_owned());
        }
        Some((_, Err((kind, state)))) => (section.state_kind, section.state) = (kind, state),
        Some((analysis, Ok(text))) => {
            let is_prose =
                matches!(&analysis.outcome, Outcome::Done(reading) if reading.words.is_empty());
            section.prose = if is_prose { prose::html(text, query) } else { None };
            if section.prose.is_none() {
                let (text, cut) = beginning(text);
                (section.parts, section.cut) = (lit_parts(text, query), cut);
            }
            section.copy = true;
        }
    }
    if let Some(analysis) = current {
        if let Outcome::Done(reading) = &analysis.outcome {
            section.badges.extend(reading.confidence.map(|sure| format!("{sure:.0} % sure")));
            section.badges.extend(reading.flags.iter().map(|flag| shown::flag(*flag).to_owned()));
        }
        (section.facts, section.steps) = (facts(analysis), steps(analysis));
    }
    let this = current.map(|analysis| format!("{name}@{}", analysis.revision)).unwrap_or_default();
    let older = of_analyzer(record, name).into_iter();
    let older = older.filter(|one| !current.is_some_and(|current| std::ptr::eq(current, *one)));
    section.older = older
        .map(|analysis| {
            let that = format!("{name}@{}", analysis.revision);
            let text = said(analysis);
            Older {
                revision: analysis.revision.to_string(),
                at: minute(analysis.finished_at),
                model: analysis
                    .provenance
                    .model
                    .as_deref()
                    .map(|model| line(model, 80))
                    .unwrap_or_default(),
                compare: link(&format!("/compare/{digest}"), &[("with", &that), ("with", &this)]),
                parts: text
                    .as_ref()
                    .map(|text| lit_parts(beginning(text).0, query))
                    .unwrap_or_default(),
                state: text.err().map(|(_, state)| state).unwrap_or_default(),
            }
        })
        .collect();
    section
}

/// How an answer came about.
pub(crate) fn facts(analysis: &Analysis) -> Vec<(&'static str, String)> {
    let how = &analysis.provenance;
    let some =
        |text: &Option<String>| text.as_deref().map(|text| line(text, 200)).unwrap_or_default();
    let mut facts = vec![("Engine", line(&how.engine, 200)), ("Model", some(&how.model))];
    facts.push(("Model digest", some(&how.model_digest)));
    facts.push(("Prompt", some(&how.prompt)));
    facts.push(("Revision", analysis.revision.to_string()));
    if let Outcome::Done(reading) = &analysis.outcome {
        facts.push(("Languages", some(&reading.languages)));
        if reading.rotation > 0 {
            facts.push(("Rotated", format!("{}°", reading.rotation)));
        }
    }
    let tokens = |count: Option<u64>| count.map(grouped).unwrap_or_default();
    facts.push(("Tokens read", tokens(how.tokens_in)));
    facts.push(("Tokens written", tokens(how.tokens_out)));
    if let Some(cost) = how.cost_micros {
        let currency = how.currency.as_deref().unwrap_or_default();
        facts.push(("Cost", format!("{} {}", ocelli_core::Micros(cost), line(currency, 8))));
    }
    facts.push(("Took", millis(how.took_ms)));
    facts.push(("Waited", millis(how.waited_ms)));
    facts.push(("Attempts", analysis.attempts.to_string()));
    facts.push(("Finished", shown::time(analysis.finished_at)));
    facts.push(("Trace", how.trace.map(|trace| trace.to_string()).unwrap_or_default()));
    facts.push(("Endpoint", some(&how.endpoint)));
    facts.push(("Worker", line(&how.worker, 200)));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn steps(analysis: &Analysis) -> Vec<Step> {
    let steps = analysis.provenance.steps.iter().take(50);
    steps
        .map(|step| {
            let sure =
                step.confidence.map(|sure| format!(", {sure:.0} % sure")).unwrap_or_default();
            Step {
                name: line(&step.name, 60),
                reason: line(&step.reason, 300),
                took: format!("{}{sure}", millis(step.took_ms)),
            }
        })
        .collect()
}

/// What happened beside the record.
fn happened(history: History) -> Vec<Happened> {
    let mut all: Vec<Happened> = Vec::new();
    for event in history.events {
        let class = event.detail["class"].as_str().unwrap_or_default();
        let reason = event.detail["reason"].as_str().unwrap_or_default();
        all.push(Happened {
            at: minute(event.at),
            what: line(&event.kind, 80),
            analyzer: event.analyzer.map(|name| name.to_string()).unwrap_or_default(),
            detail: line(&format!("{class}: {reason}"), 300),
        });
    }
    for postponed in history.deferrals {
        all.push(Happened {
            at: minute(postponed.next_at),
            what: format!(
                "next attempt, after {}",
                counted(postponed.attempts.into(), "try", "tries")
            ),
            analyzer: postponed.analyzer.to_string(),
            detail: line(&format!("{}: {}", postponed.class, postponed.reason), 300),
        });
    }
    for letter in history.letters {
        all.push(Happened {
            at: minute(letter.at),
            what: format!("message {}", letter.fate.name()),
            analyzer: letter.analyzer.map(|name| name.to_string()).unwrap_or_default(),
            detail: line(&letter.reason, 300),
        });
    }
    all.sort_by(|a, b| a.at.cmp(&b.at));
    all
}
