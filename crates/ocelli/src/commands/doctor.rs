//! `ocelli doctor`: everything ocelli needs, one line each, with what to do.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_broker::BrokerMetrics;
use ocelli_catalog::rules::Rule;
use ocelli_catalog::{Catalog, CatalogError};
use ocelli_core::AnalyzerName;
use ocelli_llm::{LlmAnalyzer, LlmMetrics, LlmOptions, Preparation};
use ocelli_runtime::settings::{AnalyzerSettings, Enabled, OcrSettings, Reader};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::rules::rules;
use ocelli_wiring::{Fault, fault::chain, parts};
use ocelli_worker::Analyzer as _;
use serde::Serialize;

use crate::arguments::JsonArgs;
use crate::output;

/// Free space below which the disk is reported: a catalog that cannot grow stops the archive.
const LOW_DISK_BYTES: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Off,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    health: Health,
    what: String,
    detail: String,
}

fn finding(health: Health, what: impl Into<String>, detail: impl Into<String>) -> Finding {
    Finding { health, what: what.into(), detail: detail.into() }
}

pub(crate) async fn doctor(settings: &Settings, arguments: &JsonArgs) -> Result<ExitCode, Fault> {
    let mut findings = vec![data(&settings.data.dir)];
    findings.extend(catalog(settings).await);
    findings.push(broker(settings).await);
    findings.push(heif(settings).await);
    for analyzer in &settings.analyzers {
        findings.extend(look(settings, analyzer).await);
    }
    findings.extend(rules(settings)?.iter().map(rule));
    let failed = findings.iter().any(|finding| finding.health == Health::Fail);
    if arguments.json {
        output::json(&findings)?;
    } else {
        let width = findings.iter().map(|one| one.what.chars().count()).max().unwrap_or(0);
        let lines = findings.iter().map(|one| {
            let mark = match one.health {
                Health::Ok => "ok  ",
                Health::Off => "off ",
                Health::Fail => "FAIL",
            };
            let fill = " ".repeat(width - one.what.chars().count());
            format!("{mark}  {}{fill}  {}", one.what, one.detail)
        });
        output::print(&lines.collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if failed { ExitCode::ServiceAway } else { ExitCode::Ok })
}

/// The nearest folder that exists says how much space the archive will have.
fn data(dir: &Path) -> Finding {
    let what = "data folder";
    let existing = dir.ancestors().find(|one| one.exists()).unwrap_or(Path::new("/"));
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        return finding(
            Health::Fail,
            what,
            format!("'{}' cannot be written; choose another one with --data", dir.display()),
        );
    }
    match rustix::fs::statvfs(existing) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let text = format!("{}, {:.1} GB free", dir.display(), free as f64 / 1e9);
            if free < LOW_DISK_BYTES {
                finding(
                    Health::Fail,
                    what,
                    format!("{text}: make room, or choose another one with --data"),
                )
            } else {
                finding(Health::Ok, what, text)
            }
        }
        Err(error) => finding(Health::Fail, what, format!("{}: {error}", dir.display())),
    }
}

async fn catalog(settings: &Settings) -> Vec<Finding> {
    let url = settings.catalog.url.expose();
    let masked = settings.catalog.url.masked();
    if let Some(path) = url.strip_prefix("sqlite:")
        && !Path::new(path.trim_start_matches("//")).exists()
    {
        return vec![finding(Health::Ok, "catalog", format!("{masked}, made by the first run"))];
    }
    let opened = parts::catalog(settings, None).await;
    let looked = match opened {
        Ok(catalog) => {
            let looked = images_and_clock(&catalog).await;
            catalog.close().await;
            looked.map_err(|error| chain(&error))
        }
        Err(fault) => Err(fault.message),
    };
    match looked {
        Ok((images, ahead)) => vec![
            finding(Health::Ok, "catalog", format!("{masked}, {images} images")),
            clock(ahead, settings.collector.clock_skew),
        ],
        Err(reason) => vec![finding(Health::Fail, "catalog", reason)],
    }
}

/// How many images there are, and how far the clock of this machine is ahead of the database's at least: the answer took its time.
async fn images_and_clock(catalog: &Catalog) -> Result<(u64, SignedDuration), CatalogError> {
    let status = catalog.status(Timestamp::now()).await?;
    let asked = Timestamp::now();
    let there = catalog.clock().await?;
    let here = there.clamp(asked, Timestamp::now().max(asked));
    Ok((status.images, here.duration_since(there)))
}

/// Times that differ are no reason to stop, but whatever is counted by them is off.
fn clock(ahead: SignedDuration, most: Duration) -> Finding {
    let off = ahead.unsigned_abs();
    if off <= most {
        return finding(Health::Ok, "clock", "as the clock of the catalog's database");
    }
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let detail = format!(
        "{} s {side} the clock of the catalog's database: set the one that is wrong, 'timedatectl status' shows this one",
        off.as_secs()
    );
    finding(Health::Fail, "clock", detail)
}

async fn broker(settings: &Settings) -> Finding {
    if settings.broker.is_memory() {
        return finding(
            Health::Ok,
            "broker",
            "in memory of 'ocelli run' and 'ocelli up'; no server needed",
        );
    }
    match parts::broker(settings, "ocelli doctor", BrokerMetrics::default()).await {
        Ok(broker) => {
            let checked = match broker.check(&parts::topology(settings)).await {
                Ok(()) => broker.check_dead_lettering().await,
                missing => missing,
            };
            broker.close().await;
            match checked {
                Ok(()) => finding(Health::Ok, "broker", settings.broker.url.masked()),
                Err(error) => finding(Health::Fail, "broker", chain(&error)),
            }
        }
        Err(error) => finding(Health::Fail, "broker", chain(&error)),
    }
}

/// Whether AVIF and HEIC are read here. Nobody needs what has no such images.
async fn heif(settings: &Settings) -> Finding {
    let what = "AVIF and HEIC";
    let converter = parts::converter(settings);
    let introduced = tokio::task::spawn_blocking(move || converter.introduce()).await;
    match introduced {
        Ok(Ok(Some(found))) => {
            let version = found.version.as_deref().unwrap_or("of an unknown version");
            let program = format!("{}, libheif {version}", found.program.display());
            let missing = "none: apt-get install libheif-plugin-dav1d libheif-plugin-libde265";
            let by = |decoder: Option<&String>| decoder.map_or(missing, String::as_str).to_owned();
            let (avif, heic) = (by(found.avif.as_ref()), by(found.heic.as_ref()));
            let whole = found.avif.is_some() && found.heic.is_some();
            let health = if whole { Health::Ok } else { Health::Off };
            finding(health, what, format!("{program}, AVIF by {avif}, HEIC by {heic}"))
        }
        Ok(Ok(None)) => finding(
            Health::Off,
            what,
            "such images fail as not supported: apt-get install libheif-examples",
        ),
        Ok(Err(error)) => finding(Health::Fail, what, chain(&error)),
        Err(error) => finding(Health::Fail, what, error.to_string()),
    }
}

async fn look(settings: &Settings, analyzer: &AnalyzerSettings) -> Vec<Finding> {
    let what = analyzer.name.to_string();
    if analyzer.enabled == Enabled::No {
        let hint = format!("switched off: analyzers.\"{what}\".enabled = false");
        return vec![finding(Health::Off, what, hint)];
    }
    match &analyzer.reader {
        Reader::Ocr(ocr) => tesseract(what, ocr).await,
        Reader::Llm(_) => vec![model(what, settings, analyzer).await],
    }
}

/// Rules that cannot be followed have kept the program from starting.
fn rule(rule: &Rule) -> Finding {
    let about = match rule.analyzers() {
        [] => "every analyzer".to_owned(),
        names => names.iter().map(AnalyzerName::as_str).collect::<Vec<_>>().join(", "),
    };
    let mut detail = format!("{about} is asked when {}", rule.query());
    if !rule.after().is_empty() {
        let names: Vec<_> = rule.after().iter().map(AnalyzerName::as_str).collect();
        detail.push_str(&format!(", once {} has answered", names.join(" and ")));
    }
    finding(Health::Ok, format!("rule {}", rule.text().name), detail)
}

async fn tesseract(what: String, ocr: &OcrSettings) -> Vec<Finding> {
    let diagnosis = ocelli_ocr::diagnose(&ocr.languages, ocr.data_path.as_deref(), None).await;
    let engine = format!("Tesseract {}", diagnosis.engine_version);
    let language = match (&diagnosis.data_path, diagnosis.missing.as_slice()) {
        (Err(reason), _) => finding(Health::Fail, what, format!("{engine}: {reason}")),
        (Ok(folder), []) => {
            let detail = format!(
                "{engine}, reads {} (there are {} in {})",
                ocr.languages,
                diagnosis.present.join(", "),
                folder.display()
            );
            finding(Health::Ok, what, detail)
        }
        (Ok(_), missing) => {
            let advice = ocelli_ocr::data::advice(missing);
            let names = missing.join(", ");
            finding(Health::Fail, what, format!("{engine}, no data for {names}: apt-get {advice}"))
        }
    };
    let what = "reader processes";
    let sandbox = match diagnosis.sandbox {
        Ok(report) => finding(
            Health::Ok,
            what,
            format!(
                "limits {}; die with parent {}; Landlock {}; seccomp {}",
                report.limits, report.dies_with_parent, report.landlock, report.seccomp
            ),
        ),
        Err(reason) => finding(Health::Fail, what, reason),
    };
    vec![language, sandbox]
}

async fn model(what: String, settings: &Settings, analyzer: &AnalyzerSettings) -> Finding {
    let away = if analyzer.enabled == Enabled::Auto { Health::Off } else { Health::Fail };
    let metrics = match LlmMetrics::register(&prometheus::Registry::new()) {
        Ok(metrics) => metrics,
        Err(error) => return finding(Health::Fail, what, error.to_string()),
    };
    let preparation = Preparation::from_settings(settings);
    let made = LlmOptions::from_settings(settings, analyzer).and_then(|options| {
        LlmAnalyzer::new(options, preparation, &metrics).map_err(|error| chain(&error))
    });
    match made {
        Err(reason) => finding(Health::Fail, what, reason),
        Ok(one) => match one.probe().await {
            Ok(revision) => {
                finding(Health::Ok, what, format!("{}, revision {revision}", one.description()))
            }
            Err(unavailable) => finding(away, what, unavailable.reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_from_the_database_s_is_reported_with_its_side() {
        let of = |seconds| clock(SignedDuration::from_secs(seconds), Duration::from_secs(5));
        assert_eq!([of(0).health, of(5).health, of(-5).health], [Health::Ok; 3]);
        assert_eq!([of(6).health, of(-3_600).health], [Health::Fail; 2]);
        assert!(of(6).detail.starts_with("6 s ahead of the clock"));
        assert!(of(-3_600).detail.starts_with("3600 s behind the clock"));
    }
}
