//! `ocelli plan --fleet`: how large a fleet has to be, from what its own answers took so far, or from figures that people give.
//!
//! Nothing is guessed: an analyzer that has answered nothing yet, and of which nothing is given, has no figure, and says so.

use std::fmt::Write as _;

use jiff::Timestamp;
use ocelli_catalog::Service;
use ocelli_core::{AnalyzerName, Micros};
use ocelli_runtime::settings::{AnalyzerSettings, Enabled};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::table::table;
use crate::{archive, output};

/// Answers of each analyzer that are averaged: enough for a steady mean, the latest for what the fleet is now.
const SAMPLES: u32 = 1000;
/// Images below which the size of the catalog says nothing about more of them.
const LEAST_IMAGES: u64 = 1000;
/// Part of the time that a slot is at work: the rest is for restarts, retries, and images that are slower than most.
const UTILISATION: f64 = 0.8;

/// What is to be done, in how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FleetArgs {
    /// How many machines, slots and how much money a number of images takes, from what answers took so far.
    #[arg(long, requires_all = ["images", "days"])]
    pub(crate) fleet: bool,
    /// How many images: 1000000 or 1e6.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) images: Option<u64>,
    /// In how many days.
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub(crate) days: Option<f64>,
    /// That an image takes an analyzer so many seconds, in place of what was measured: tesseract-ocr=0.9. May be given several times.
    #[arg(long, value_name = "ANALYZER=SECONDS", value_parser = takes, requires = "fleet")]
    pub(crate) takes: Vec<(AnalyzerName, f64)>,
}

fn takes(text: &str) -> Result<(AnalyzerName, f64), String> {
    let (name, seconds) = text.split_once('=').ok_or("expected ANALYZER=SECONDS")?;
    let name = name.parse::<AnalyzerName>().map_err(|error| error.to_string())?;
    match seconds.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && (0.000_1..=86_400.0).contains(&seconds) => {
            Ok((name, seconds))
        }
        _ => Err("expected from 0.0001 to 86400 seconds".to_owned()),
    }
}

fn count(text: &str) -> Result<u64, String> {
    let number: f64 =
        text.parse().map_err(|_| "expected a number such as 1000000 or 1e6".to_owned())?;
    if !(1.0..=1e12).contains(&number) {
        return Err("expected from 1 to 1e12 images".to_owned());
    }
    Ok(number as u64)
}

fn days(text: &str) -> Result<f64, String> {
    let number: f64 =
        text.parse().map_err(|_| "expected a number of days such as 30 or 0.5".to_owned())?;
    if number.is_finite() && (0.001..=36_500.0).contains(&number) {
        Ok(number)
    } else {
        Err("expected from 0.001 to 36500 days".to_owned())
    }
}

/// The size of a fleet.
#[derive(Debug, Serialize)]
struct Plan {
    images: u64,
    days: f64,
    images_per_second: f64,
    /// Into the broker: a sighting and a job and an answer for each analyzer.
    messages_per_second: f64,
    analyzers: Vec<Need>,
    /// What the catalog will take, by what it takes now for each image.
    catalog_bytes: Option<u64>,
}

/// What one analyzer needs.
#[derive(Debug, Serialize, PartialEq)]
struct Need {
    analyzer: AnalyzerName,
    kind: &'static str,
    /// Answers that the time is measured on; 0: nothing is known, or it was given.
    samples: u64,
    seconds_per_image: Option<f64>,
    /// Jobs at once; for OCR also the cores.
    slots: Option<u64>,
    tokens: Option<f64>,
    /// In millionths.
    cost_micros: Option<u64>,
    currency: Option<String>,
}

pub(crate) async fn plan(
    settings: &Settings,
    arguments: &FleetArgs,
    json: bool,
) -> Result<ExitCode, Fault> {
    let (Some(images), Some(days)) = (arguments.images, arguments.days) else {
        return Err(Fault::new(ExitCode::Usage, "--fleet needs --images and --days"));
    };
    if let Some((name, _)) =
        arguments.takes.iter().find(|(name, _)| settings.analyzer(name).is_none())
    {
        return Err(Fault::new(
            ExitCode::Usage,
            format!("there is no analyzer '{name}' in the settings"),
        ));
    }
    let given = |name: &AnalyzerName| {
        arguments.takes.iter().rev().find(|(of, _)| of == name).map(|(_, seconds)| *seconds)
    };
    let wanted: Vec<_> =
        settings.analyzers.iter().filter(|one| one.enabled != Enabled::No).collect();
    // Who has no archive yet can plan with figures of others.
    let catalog = match wanted.iter().all(|one| given(&one.name).is_some()) {
        true => archive::open(settings).await.ok(),
        false => Some(archive::open(settings).await?),
    };
    let seconds = days * 86_400.0;
    let mut analyzers = Vec::new();
    for analyzer in wanted {
        let measured = match &catalog {
            Some(catalog) => catalog.service(&analyzer.name, SAMPLES).await?,
            None => None,
        };
        let service = match given(&analyzer.name) {
            Some(seconds) => Some(replaced(measured, seconds)),
            None => measured,
        };
        analyzers.push(need(analyzer, images, seconds, service));
    }
    let (mut known, mut size) = (0, 0);
    if let Some(catalog) = catalog {
        known = catalog.status(Timestamp::now()).await?.images;
        size = catalog.size().await?;
        catalog.close().await;
    }
    let per_second = images as f64 / seconds;
    let plan = Plan {
        images,
        days,
        images_per_second: per_second,
        messages_per_second: per_second * (1 + 2 * analyzers.len()) as f64,
        analyzers,
        catalog_bytes: (known >= LEAST_IMAGES)
            .then(|| (size as f64 / known as f64 * images as f64) as u64),
    };
    if json {
        output::json(&plan)?;
    } else {
        output::print(&plan.text(known))?;
    }
    Ok(ExitCode::Ok)
}

/// What was measured, but for the time. Without a measurement only that is known.
fn replaced(measured: Option<Service>, seconds: f64) -> Service {
    let none = Service { samples: 0, seconds, tokens: 0.0, micros: 0.0, currency: None };
    Service { samples: 0, seconds, ..measured.unwrap_or(none) }
}

fn need(analyzer: &AnalyzerSettings, images: u64, seconds: f64, service: Option<Service>) -> Need {
    let mut need = Need {
        analyzer: analyzer.name.clone(),
        kind: analyzer.kind().name(),
        samples: 0,
        seconds_per_image: None,
        slots: None,
        tokens: None,
        cost_micros: None,
        currency: None,
    };
    let Some(service) = service else { return need };
    let images = images as f64;
    need.samples = service.samples;
    need.seconds_per_image = Some(service.seconds);
    need.slots = Some((images * service.seconds / seconds / UTILISATION).ceil().max(1.0) as u64);
    if service.tokens > 0.0 {
        need.tokens = Some(images * service.tokens);
    }
    if service.currency.is_some() {
        need.cost_micros = Some((images * service.micros) as u64);
        need.currency = service.currency;
    }
    need
}

impl Plan {
    fn text(&self, known: u64) -> String {
        let mut text = format!(
            "{} images in {} days: {:.1} a second, {:.0} messages a second\n\n",
            self.images, self.days, self.images_per_second, self.messages_per_second
        );
        let rows = self.analyzers.iter().map(|need| {
            let or = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            vec![
                need.analyzer.to_string(),
                match need.samples {
                    0 if need.seconds_per_image.is_some() => "given".to_owned(),
                    samples => samples.to_string(),
                },
                or(need.seconds_per_image.map(|seconds| format!("{seconds:.3}"))),
                or(need.slots.map(|slots| slots.to_string())),
                or(need.slots.filter(|_| need.kind == "ocr").map(|slots| slots.to_string())),
                or(need.tokens.map(|tokens| format!("{tokens:.3e}"))),
                or(need
                    .cost_micros
                    .zip(need.currency.as_ref())
                    .map(|(micros, currency)| format!("{} {currency}", Micros(micros)))),
            ]
        });
        let header = ["analyzer", "measured on", "s/image", "slots", "cores", "tokens", "cost"];
        text.push_str(&table(&header, &rows.collect::<Vec<_>>(), true));
        let unknown: Vec<&str> = self
            .analyzers
            .iter()
            .filter(|need| need.seconds_per_image.is_none())
            .map(|need| need.analyzer.as_str())
            .collect();
        if !unknown.is_empty() {
            let _ = write!(
                text,
                "\n\nNothing is known of {}: let some images be read first, for example with 'ocelli run FOLDER', or give a figure with --takes.",
                unknown.join(", ")
            );
        }
        if let Some(bytes) = self.catalog_bytes {
            let _ = write!(
                text,
                "\n\nThe catalog will take about {:.1} GB, by what it takes for {known} images now.",
                bytes as f64 / 1e9
            );
        }
        let _ = write!(
            text,
            "\n\nSlots are at work for {:.0} % of the time here. What one broker and one database carry: docs/SCALING.md.",
            UTILISATION * 100.0
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_as_people_write_them_and_nonsense_is_refused() {
        assert_eq!(
            [count("1e9"), count("1000"), count("2.5e3")],
            [Ok(1_000_000_000), Ok(1000), Ok(2500)]
        );
        for bad in ["0", "-1", "many", "1e30", "nan", "inf"] {
            assert!(count(bad).is_err() && (bad == "1e30" || days(bad).is_err()), "{bad}");
        }
    }
}
