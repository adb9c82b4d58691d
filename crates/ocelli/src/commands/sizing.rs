//! `ocelli plan --fleet`: how large a fleet has to be, from what its own answers took so far, or from figures that people give.
//!
//! Nothing is guessed: an analyzer that has answered nothing yet, and of which nothing is given, has no figure, and says so.

use std::fmt::Write as _;

use jiff::Timestamp;
use ocelli_catalog::Service;
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{
    AnalyzerName, BatchId, Dependence, Digest, ImageFacts, ImageFormat, Meta, Micros,
    RevisionBuilder, Sighting, SourceUri, Want,
};
use ocelli_runtime::settings::Enabled;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::table::table;
use crate::{archive, output};

/// Answers of each analyzer that are averaged: enough for a steady mean, the latest for what the fleet is now.
const SAMPLES: u32 = 1000;
/// Images below which the size of the catalog says nothing about more of them.
const LEAST_IMAGES: u64 = 1000;
/// Part of the time that a slot is at work: the rest is for restarts, retries, and images that are slower than most. As much
/// of what a broker carries.
const UTILISATION: f64 = 0.8;
/// What one RabbitMQ node carried, with a bare client beside it on the same two cores: 3,756 images a second, of seven messages
/// each (docs/SCALING.md).
const MESSAGES_PER_NODE: f64 = 26_000.0;
/// A place of an image as long as most are.
const PLACE: &str = "file:///srv/pictures/2024/05/04/thread-93184467/1714813251000123.jpg";

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
    broker: Broker,
    analyzers: Vec<Need>,
    /// What the catalog will take, by what it takes now for each image.
    catalog_bytes: Option<u64>,
}

/// What the broker needs.
#[derive(Debug, Serialize, PartialEq)]
struct Broker {
    /// RabbitMQ nodes for the messages. Three that hold copies of each other are for safety, and carry no more.
    nodes: u64,
    /// Of which one carries so much.
    messages_per_second_of_a_node: f64,
    /// Queues that can be full: two of each analyzer, and that of results.
    queues: u64,
    /// Messages that one of them holds at the most: `broker.queue_capacity`.
    queue_capacity: u64,
    /// The mean over the messages about one image: its jobs, and answers as far as some were measured.
    message_bytes: u64,
    /// What all of them take when they are full, beside what RabbitMQ adds.
    full_queues_bytes: u64,
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
    let names: Vec<AnalyzerName> = wanted.iter().map(|one| one.name.clone()).collect();
    let (mut analyzers, mut answers) = (Vec::new(), Vec::new());
    for analyzer in wanted {
        let measured = match &catalog {
            Some(catalog) => catalog.service(&analyzer.name, SAMPLES).await?,
            None => None,
        };
        answers.extend(measured.as_ref().map(|measured| measured.bytes));
        let service = match given(&analyzer.name) {
            Some(seconds) => Some(replaced(measured, seconds)),
            None => measured,
        };
        analyzers.push(need(&analyzer.name, analyzer.kind().name(), images, seconds, service));
    }
    let (mut known, mut size) = (0, 0);
    if let Some(catalog) = catalog {
        known = catalog.status(Timestamp::now()).await?.images;
        size = catalog.size().await?;
        catalog.close().await;
    }
    let per_second = images as f64 / seconds;
    let messages_per_second = per_second * (1 + 2 * analyzers.len()) as f64;
    let capacity = settings.broker.queue_capacity.into();
    let plan = Plan {
        images,
        days,
        images_per_second: per_second,
        messages_per_second,
        broker: broker(messages_per_second, names.len(), capacity, job_bytes(&names), &answers),
        analyzers,
        catalog_bytes: catalog_bytes(known, size, images),
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
    let none =
        Service { samples: 0, seconds, tokens: 0.0, micros: 0.0, currency: None, bytes: 0.0 };
    Service { samples: 0, seconds, ..measured.unwrap_or(none) }
}

/// What the catalog will take, by what it takes now; not known from too few images.
fn catalog_bytes(known: u64, size: u64, images: u64) -> Option<u64> {
    (known >= LEAST_IMAGES).then(|| (size as f64 / known as f64 * images as f64) as u64)
}

/// `job_bytes`: of what a producer sends for an image; `answers`: the mean of each analyzer of which some were measured.
fn broker(
    messages_per_second: f64,
    analyzers: usize,
    queue_capacity: u64,
    job_bytes: u64,
    answers: &[f64],
) -> Broker {
    let queues = 2 * analyzers as u64 + 1;
    let sent = (analyzers + 1) as f64;
    let bytes = sent * job_bytes as f64 + answers.iter().sum::<f64>();
    let message_bytes = (bytes / (sent + answers.len() as f64)).round() as u64;
    Broker {
        nodes: (messages_per_second / (MESSAGES_PER_NODE * UTILISATION)).ceil().max(1.0) as u64,
        messages_per_second_of_a_node: MESSAGES_PER_NODE,
        queues,
        queue_capacity,
        message_bytes,
        full_queues_bytes: queues.saturating_mul(queue_capacity).saturating_mul(message_bytes),
    }
}

/// The bytes of a job as a producer sends it, by sending one to nobody.
fn job_bytes(analyzers: &[AnalyzerName]) -> u64 {
    let source: SourceUri = PLACE.parse().expect("it is written as URIs are");
    let now = Timestamp::now();
    let want = |name: &AnalyzerName| Want {
        analyzer: name.clone(),
        revision: Some(RevisionBuilder::new("plan").part("name", name).build()),
    };
    let message = Message::Intake(Intake {
        image: ImageFacts {
            digest: Digest::of(PLACE.as_bytes()),
            bytes: 318_204,
            format: Some(ImageFormat::Jpeg),
            width: Some(1280),
            height: Some(960),
        },
        sources: vec![source.clone()],
        sighting: Some(Sighting {
            source,
            seen_at: now,
            batch: BatchId::new(uuid::Uuid::from_u128(1)),
        }),
        wants: analyzers.iter().map(want).collect(),
        refusal: None,
        enqueued_at: now,
        dependence: Dependence::default(),
        hash: None,
        meta: Meta::default(),
    });
    message.encode().map_or(0, |bytes| bytes.len() as u64)
}

fn need(
    analyzer: &AnalyzerName,
    kind: &'static str,
    images: u64,
    seconds: f64,
    service: Option<Service>,
) -> Need {
    let mut need = Need {
        analyzer: analyzer.clone(),
        kind,
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
        let broker = &self.broker;
        let _ = write!(
            text,
            "\n\nThe broker: {} of RabbitMQ for {:.0} messages a second, of which one carried {:.0}. Full queues take {:.1} GB of its disk \
             at least: {} queues of {} messages (broker.queue_capacity) of {} bytes on average.",
            match broker.nodes {
                1 => "1 node".to_owned(),
                nodes => format!("{nodes} nodes"),
            },
            self.messages_per_second,
            broker.messages_per_second_of_a_node,
            broker.full_queues_bytes as f64 / 1e9,
            broker.queues,
            broker.queue_capacity,
            broker.message_bytes,
        );
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

    fn name() -> AnalyzerName {
        "gemma3-27b-vision".parse().unwrap()
    }

    #[test]
    fn slots_tokens_and_cost_grow_with_the_images() {
        let service = || Service {
            samples: 10,
            seconds: 2.0,
            tokens: 500.0,
            micros: 1_500.0,
            currency: Some("USD".to_owned()),
            bytes: 900.0,
        };
        let of = |images, service| need(&name(), "llm", images, 86_400.0, service);
        let million = of(1_000_000, Some(service()));
        // Two million seconds of a day that has 86,400, of which four fifths are used.
        assert_eq!(million.slots, Some(29));
        assert_eq!((million.tokens, million.cost_micros), (Some(5e8), Some(1_500_000_000)));
        assert_eq!(million.currency.as_deref(), Some("USD"));
        assert_eq!(of(2_000_000, Some(service())).cost_micros, Some(3_000_000_000));
        let free = Service { currency: None, tokens: 0.0, ..service() };
        let free = of(1_000_000, Some(free));
        assert_eq!((free.tokens, free.cost_micros, free.currency), (None, None, None));
        let unknown = of(1_000_000, None);
        assert_eq!((unknown.seconds_per_image, unknown.slots), (None, None));
    }

    #[test]
    fn the_catalog_grows_as_it_did_and_a_few_images_say_nothing() {
        assert_eq!(catalog_bytes(1_000, 5_000_000, 1_000_000), Some(5_000_000_000));
        assert_eq!(catalog_bytes(999, 5_000_000, 1_000_000), None);
        assert_eq!(catalog_bytes(0, 40_960, 1_000_000), None);
    }

    #[test]
    fn a_broker_has_nodes_for_its_messages_and_a_disk_for_full_queues() {
        let of = |rate, answers: &[f64]| broker(rate, 3, 1_000, 600, answers);
        assert_eq!(
            [of(1.0, &[]).nodes, of(20_800.0, &[]).nodes, of(20_801.0, &[]).nodes],
            [1, 1, 2]
        );
        // Four messages of 600 bytes and three answers.
        let full = of(1.0, &[1_000.0, 2_000.0, 3_000.0]);
        assert_eq!((full.queues, full.message_bytes), (7, 1_200));
        assert_eq!(full.full_queues_bytes, 7 * 1_000 * 1_200);
        assert_eq!(of(1.0, &[]).message_bytes, 600, "of answers nothing is known");
    }

    #[test]
    fn a_job_is_a_reference_with_what_is_wanted() {
        let (one, two) = (job_bytes(&[name()]), job_bytes(&[name(), name()]));
        assert!((200..2_000).contains(&one) && one < two && two < one + 200, "{one} {two}");
    }
}
