//! The metrics of all programs: which there are, that Prometheus's own linter has nothing to say about them, and that
//! they are right. `docs/metrics.md` is the catalogue; rules and dashboards may use nothing that is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ocelli_testkit::ports;

use crate::health::get;
use crate::services::{Database, Fleet};
use crate::world::{NOTE, Service, World, until};

/// Labels whose values come from settings or the build; all others have a closed set of values.
const OPEN_LABELS: &[&str] =
    &["analyzer", "binary", "budget", "currency", "listener", "queue", "revision", "version"];

/// One metric of the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metric {
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) help: String,
    /// By name; with their values where these are a closed set.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
    pub(crate) programs: BTreeSet<String>,
}

pub(crate) type Catalogue = BTreeMap<String, Metric>;

/// Somebody who listens, so that there is something to say about that.
const WEBHOOK: &str = "[[webhook]]\nname = \"site\"\nurl = \"https://site.invalid/\"\nsecret = \"secrets-of-this-length-are-fine\"";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")
}

/// The catalogue as it is written down.
pub(crate) fn catalogue() -> Catalogue {
    let text = std::fs::read_to_string(file()).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, programs, help] = cells[..] else { panic!("{row}") };
        let labels = labels.split("; ").filter(|label| !label.is_empty()).map(|label| {
            let (name, values) = label.split_once(": ").unwrap_or((label, ""));
            let values = values.split(", ").filter(|value| !value.is_empty());
            (name.trim_matches('`').to_owned(), values.map(str::to_owned).collect())
        });
        let metric = Metric {
            kind: kind.to_owned(),
            help: help.to_owned(),
            labels: labels.collect(),
            programs: programs.split(", ").map(str::to_owned).collect(),
        };
        (name.trim_matches('`').to_owned(), metric)
    })
    .collect()
}

const HEAD: &str = "\
# Metrics

<!-- Made from what the programs serve; a test compares (UPDATE_DOCS=1 writes it anew). Do not edit. -->

Every program serves these at `/metrics` of `http.listen`, from its start on, in Prometheus's text format. Units are seconds
and bytes; times are seconds since 1970. No label holds a URL, a digest, a prompt or a word of a model; where a label has
a closed set of values, they are named here. `ocelli up` is one process and serves what all programs serve.

| metric | type | labels | programs | what it says |
|---|---|---|---|---|
";

fn written(catalogue: &Catalogue) -> String {
    let mut text = HEAD.to_owned();
    for (name, metric) in catalogue {
        let labels = metric.labels.iter().map(|(label, values)| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            if values.is_empty() {
                format!("`{label}`")
            } else {
                format!("`{label}`: {}", values.join(", "))
            }
        });
        let labels: Vec<String> = labels.collect();
        let programs: Vec<&str> = metric.programs.iter().map(String::as_str).collect();
        let (labels, programs) = (labels.join("; "), programs.join(", "));
        writeln!(text, "| `{name}` | {} | {labels} | {programs} | {} |", metric.kind, metric.help)
            .unwrap();
    }
    text
}

/// Takes what a program serves into the catalogue.
fn take(catalogue: &mut Catalogue, program: &str, exposition: &str) {
    let mut name = String::new();
    for line in exposition.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (of, help) = rest.split_once(' ').unwrap();
            of.clone_into(&mut name);
            let metric = catalogue.entry(name.clone()).or_default();
            help.clone_into(&mut metric.help);
            metric.programs.insert(program.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (of, kind) = rest.split_once(' ').unwrap();
            kind.clone_into(&mut catalogue.get_mut(of).unwrap().kind);
        } else if let Some((_, labels)) = line.rsplit_once('}').and_then(|(s, _)| s.split_once('{'))
        {
            for label in labels.split("\",") {
                let (label, value) = label.trim_end_matches('"').split_once("=\"").unwrap();
                if label == "le" {
                    continue;
                }
                let values =
                    catalogue.get_mut(&name).unwrap().labels.entry(label.to_owned()).or_default();
                if !OPEN_LABELS.contains(&label) {
                    values.insert(value.to_owned());
                }
            }
        }
    }
}

/// What `promtool check metrics` says.
fn lint(exposition: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: make setup-servers");
    promtool.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// The value of a series, as it is written: `name{label="value"}`.
pub(crate) fn value(exposition: &str, series: &str) -> Option<f64> {
    let rest = exposition.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    rest.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_of_metrics_is_what_all_programs_serve_and_promtool_has_nothing_to_say() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.settings("[[budget]]\nper = \"total\"\ntokens = 1000");
    fleet.world.settings(WEBHOOK);
    let address = || format!("127.0.0.1:{}", ports::free());
    let mut running: Vec<(&str, String, Service)> =
        ["ocelli-collector", "ocelli-ocr-worker", "ocelli-llm-worker"]
            .into_iter()
            .map(|program| {
                let address = address();
                let service = fleet.world.start(program, ["--listen", &address]);
                (program, address, service)
            })
            .collect();
    // The site serves an archive that is there: the collector makes it.
    until("the collector is ready", || {
        get(&running[0].1, "/metrics").1.contains("ocelli_budget_used_ratio")
    });
    let web = address();
    let arguments = ["--listen", web.as_str(), "--set", "web.listen=127.0.0.1:0"];
    let service = fleet.world.start("ocelli-web", arguments);
    running.push(("ocelli-web", web, service));
    // It lists what it reads from standard input, and nothing comes.
    let producer = address();
    let mut command = fleet.world.command("ocelli-producer");
    command.args(["--listen", &producer, "-"]).stdin(Stdio::piped());
    let service = Service::start(&mut command, fleet.world.path("producer.log"));
    running.push(("ocelli-producer", producer, service));
    let mut alone = World::new();
    alone.settings("[[budget]]\nper = \"total\"\ntokens = 1000");
    alone.settings(WEBHOOK);
    alone.settings("[analyzers.tesseract-ocr]\nchildren = 1");
    for model in ["gemma3-27b-vision", "llama3.2-vision"] {
        alone.settings(&format!("[analyzers.\"{model}\"]\nenabled = true"));
    }
    alone.samples("in", &[NOTE]);
    let up = address();
    let service = alone.start("ocelli", ["up", "in", "--listen", &up]);
    running.push(("ocelli up", up, service));

    let mut found = Catalogue::new();
    for (program, address, service) in &running {
        let last = match *program {
            "ocelli-producer" => "ocelli_producer_references_total",
            "ocelli-ocr-worker" | "ocelli-llm-worker" => "ocelli_jobs_total",
            "ocelli-web" => "ocelli_broker_blocked_seconds_total",
            _ => "ocelli_budget_used_ratio",
        };
        until(&format!("{program} shows {last}"), || {
            get(address, "/readyz").0 == 200 && get(address, "/metrics").1.contains(last)
        });
        let exposition = get(address, "/metrics").1;
        let said = lint(&exposition);
        assert!(said.is_empty(), "{program}: {said}\n{exposition}\n{}", service.log());
        take(&mut found, program, &exposition);
    }
    let text = written(&found);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file(), &text).unwrap();
    }
    let shipped = std::fs::read_to_string(file()).unwrap();
    assert!(text == shipped, "UPDATE_DOCS=1 writes docs/metrics.md anew; it should be:\n{text}");
    assert_eq!(catalogue(), found, "the written catalogue is read as it was meant");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_what_was_done_how_long_it_took_and_that_the_way_is_free() {
    let fleet = Fleet::new(Database::Postgres).await;
    let settings = std::fs::read_to_string(fleet.world.path("ocelli.toml")).unwrap();
    let more = "sweep_every = \"1s\"\nheartbeat_every = \"1s\"\ncount_every = \"1s\"\naudit_every = \"1s\"";
    let settings = settings.replace("sweep_every = \"1s\"", more);
    std::fs::write(fleet.world.path("ocelli.toml"), settings).unwrap();
    fleet.world.many("in", 3);
    let (collector, worker) =
        (format!("127.0.0.1:{}", ports::free()), format!("127.0.0.1:{}", ports::free()));
    let mut services = vec![fleet.world.start("ocelli-collector", ["--listen", &collector])];
    until("the collector is ready", || get(&collector, "/readyz").0 == 200);
    let series = "ocelli_heartbeat_timestamp_seconds{analyzer=\"tesseract-ocr\"}";
    let heard = || value(&get(&collector, "/metrics").1, series).unwrap();
    let before = heard();
    services.push(fleet.world.start("ocelli-ocr-worker", ["--listen", &worker]));
    until("a heartbeat came through", || heard() > before);
    assert_eq!(fleet.produce("in")["jobs"], 3);
    fleet.finished(3, 1);
    let count = |name: &str| value(&get(&collector, "/metrics").1, name).unwrap_or(-1.0);
    until("the catalog was counted", || count("ocelli_records{state=\"complete\"}") == 3.0);
    assert_eq!(count("ocelli_record_completion_seconds_count"), 3.0);
    assert_eq!(count("ocelli_record_completion_seconds_bucket{le=\"3600\"}"), 3.0);
    assert_eq!(count("ocelli_records{state=\"incomplete\"}"), 0.0);
    let ocr = "analyzer=\"tesseract-ocr\"";
    assert_eq!(count(&format!("ocelli_catalog_jobs{{{ocr},state=\"done\"}}")), 3.0);
    assert_eq!(count(&format!("ocelli_workers{{{ocr},state=\"ready\"}}")), 1.0);
    assert_eq!(count(&format!("ocelli_oldest_open_job_age_seconds{{{ocr}}}")), 0.0);
    until("it was audited", || count("ocelli_audit_timestamp_seconds") > 0.0);
    assert_eq!(count("ocelli_audit_differences"), 0.0);
    let exposition = get(&worker, "/metrics").1;
    let count = |name: &str| value(&exposition, name).unwrap_or(-1.0);
    assert_eq!(count(&format!("ocelli_jobs_total{{{ocr},outcome=\"done\"}}")), 3.0);
    assert_eq!(count(&format!("ocelli_job_failures_total{{{ocr},class=\"crash\"}}")), 0.0);
    let bytes: u64 = std::fs::read_dir(fleet.world.path("in"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(count(&format!("ocelli_fetched_bytes_total{{{ocr}}}")), bytes as f64);
    assert!(count(&format!("ocelli_last_job_timestamp_seconds{{{ocr}}}")) >= before);
    let stage = |part: &str, stage: &str| {
        count(&format!("ocelli_job_duration_seconds_{part}{{{ocr},stage=\"{stage}\"}}"))
    };
    for name in ["fetch", "decode", "analyze", "publish"] {
        assert!(stage("count", name) >= 3.0, "{name}");
    }
    assert_eq!(stage("count", "decode"), 3.0);
    let (decoding, analyzing) = (stage("sum", "decode"), stage("sum", "analyze"));
    assert!(0.0 < decoding && decoding < analyzing, "{decoding} of {analyzing}");
}
