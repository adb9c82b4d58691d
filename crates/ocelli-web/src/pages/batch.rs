//! One run of a producer: what it found, and how far its images are.

use askama::Template;
use ocelli_catalog::{AnalyzerStatus, BatchView};
use ocelli_core::{AnalyzerName, BatchId};
use serde::Serialize;

use super::Frame;
use crate::call::{Call, Named, bare};
use crate::failure::WebError;
use crate::live::Texts;
use crate::reply::Answer;
use crate::shown::{counted, grouped, line, link, minute};

/// Images that are shown.
const SAMPLE: u32 = 24;
/// References that could not be read and are listed.
const PROBLEMS: u32 = 50;

#[derive(Template)]
#[template(path = "batch.html")]
struct BatchPage {
    frame: Frame,
    id: String,
    name: String,
    at: String,
    texts: Texts,
    analyzers: Vec<AnalyzerName>,
    images: Vec<Thumb>,
    problems: Vec<(String, String)>,
    all: String,
    over: bool,
    known: bool,
}

struct Thumb {
    href: String,
    src: String,
    short: String,
}

#[derive(Serialize)]
struct Twin<'a> {
    report: &'a ocelli_core::wire::BatchReport,
    images: u64,
    analyzers: &'a std::collections::BTreeMap<AnalyzerName, AnalyzerStatus>,
    over: bool,
}

impl BatchPage {
    fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    fn of(&self, name: &str, analyzer: &AnalyzerName) -> &str {
        self.text(&format!("{name} {analyzer}"))
    }
}

/// `GET /batch/ID`, `ID.json`
pub(crate) async fn page(call: Call, Named(name): Named<String>) -> Answer {
    let id = super::batch_id(bare(&name))?;
    let app = &call.app;
    if call.wants_json() {
        return twin(&call, id).await;
    }
    let view = app.catalog.batch(id, SAMPLE).await?;
    let problems = app.catalog.problems(Some(id), PROBLEMS).await?;
    let over = view.as_ref().is_some_and(is_over);
    let mut frame = call.frame("fleet");
    // Without a script the page asks again by itself.
    frame.refresh = (!over).then_some(4);
    let page = BatchPage {
        frame,
        id: id.to_string(),
        name: view
            .as_ref()
            .map_or_else(|| "A new batch".to_owned(), |view| line(&view.report.name, 120)),
        at: view.as_ref().map(|view| minute(view.report.started_at)).unwrap_or_default(),
        texts: view.as_ref().map(texts).unwrap_or_default(),
        analyzers: view
            .as_ref()
            .map(|view| view.analyzers.keys().cloned().collect())
            .unwrap_or_default(),
        images: view
            .iter()
            .flat_map(|view| &view.sample)
            .map(|digest| Thumb {
                href: format!("/record/{digest}"),
                src: format!("/image/{digest}/thumb"),
                short: digest.short(),
            })
            .collect(),
        problems: problems
            .into_iter()
            .map(|problem| (line(&problem.reference, 300), line(&problem.reason, 300)))
            .collect(),
        all: link("/", &[("q", &format!("batch:{id}"))]),
        over,
        known: view.is_some(),
    };
    call.page(&page)
}

/// The same for programs.
async fn twin(call: &Call, id: BatchId) -> Answer {
    let view = call.app.catalog.batch(id, 0).await?;
    let view = view.ok_or_else(|| WebError::Missing(format!("there is no batch {id}")))?;
    let over = is_over(&view);
    let (report, images) = (&view.report, view.images);
    call.json(&Twin { report, images, analyzers: &view.analyzers, over })
}

/// Whether nothing will change any more.
pub(crate) fn is_over(view: &BatchView) -> bool {
    view.report.finished && view.analyzers.values().all(|count| count.open == 0)
}

/// What changes on the page, by the names of its places.
pub(crate) fn texts(view: &BatchView) -> Texts {
    let report = &view.report;
    let mut texts = Texts::new();
    let mut put = |name: &str, text: String| texts.insert(name.to_owned(), text);
    put("images", counted(view.images, "image", "images"));
    put("known", counted(report.known, "was known", "were known"));
    put("skipped", counted(report.skipped, "other file", "other files"));
    put("problems", counted(report.problems, "could not be read", "could not be read"));
    put(
        "state",
        match (report.finished, is_over(view)) {
            (_, true) => "Everything is done.".to_owned(),
            (true, false) => "All are listed; they are being read.".to_owned(),
            (false, _) => "Still being listed.".to_owned(),
        },
    );
    for (name, count) in &view.analyzers {
        let settled = count.wanted - count.open.min(count.wanted);
        let percent = (settled * 100).checked_div(count.wanted).unwrap_or(100);
        put(&format!("bar {name}"), format!("M0 0H{percent}V4H0Z"));
        put(
            &format!("settled {name}"),
            format!("{} of {}", grouped(settled), grouped(count.wanted)),
        );
        put(&format!("done {name}"), grouped(count.done));
        put(&format!("empty {name}"), grouped(count.empty));
        put(&format!("failed {name}"), grouped(count.failed));
    }
    texts
}
