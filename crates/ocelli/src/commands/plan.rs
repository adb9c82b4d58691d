//! `ocelli plan`: what asking an analyzer about the archive would take.

use jiff::{SignedDuration, Timestamp};
use ocelli_catalog::query::Query;
use ocelli_catalog::rules::Rules;
use ocelli_catalog::{Catalog, Extent};
use ocelli_core::estimate::{Estimate, Range, estimate};
use ocelli_core::{AnalyzerName, Revision};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use ocelli_wiring::rules::rules;
use serde::Serialize;

use crate::arguments::PlanArgs;
use crate::commands::search::parse;
use crate::commands::sizing;
use crate::{archive, output, probing};

/// Answers that are measured by: the latest ones.
const MEASURED: u32 = 1_000;

/// How long a worker may have been silent to count as present.
const PRESENT: SignedDuration = SignedDuration::from_secs(20);

/// What `ocelli plan` found.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    analyzer: AnalyzerName,
    /// The revision that would be asked.
    pub(crate) revision: Option<Revision>,
    query: String,
    pub(crate) images: Extent,
    /// Images that would be asked about if no rule left them out.
    left_out: u64,
    #[serde(flatten)]
    estimate: Estimate,
    workers: usize,
    slots: u32,
    /// How many answers were measured, and whether they are of this revision.
    measured: usize,
    measured_revision: Option<bool>,
    measured_until: Option<Timestamp>,
}

pub(crate) async fn plan(settings: &Settings, arguments: &PlanArgs) -> Result<ExitCode, Fault> {
    let Some(analyzer) = &arguments.analyzer else {
        return sizing::plan(settings, &arguments.fleet, arguments.json).await;
    };
    let query = parse(settings, &arguments.query)?;
    known(settings, analyzer)?;
    let catalog = archive::open(settings).await?;
    let mut revision = catalog.revisions().await?.remove(analyzer);
    if settings.broker.is_memory() {
        match probing::revision(settings, analyzer).await? {
            Ok(now) => revision = Some(now),
            Err(reason) => eprintln!("{analyzer} cannot be asked now: {reason}"),
        }
    }
    let rules = rules(settings)?;
    let plan = Plan::of(&catalog, analyzer, revision, &query, &rules).await?;
    catalog.close().await;
    if arguments.json {
        output::json(&plan)?;
    } else {
        output::print(&plan.text())?;
    }
    Ok(ExitCode::Ok)
}

/// Refuses an analyzer that is in no settings.
pub(crate) fn known(settings: &Settings, name: &AnalyzerName) -> Result<(), Fault> {
    if settings.analyzer(name).is_some() {
        return Ok(());
    }
    let names: Vec<_> = settings.analyzers.iter().map(|one| one.name.as_str()).collect();
    Err(Fault::new(
        ExitCode::Usage,
        format!("there is no analyzer '{name}' in the settings; there are: {}", names.join(", ")),
    ))
}

impl Plan {
    pub(crate) async fn of(
        catalog: &Catalog,
        analyzer: &AnalyzerName,
        revision: Option<Revision>,
        query: &Query,
        rules: &Rules,
    ) -> Result<Self, Fault> {
        let mut images = catalog.extent(query, analyzer, revision.as_ref()).await?;
        let mut left_out = 0;
        if rules.of(analyzer).next().is_some() {
            let narrowed = rules.narrow(query, analyzer);
            let asked = catalog.extent(&narrowed, analyzer, revision.as_ref()).await?.missing;
            left_out = images.missing.saturating_sub(asked);
            images.missing = asked;
        }
        let mut workers = catalog.workers(PRESENT).await?;
        workers.retain(|worker| worker.said.analyzer == *analyzer);
        let slots = workers.iter().map(|worker| worker.said.slots).sum();
        let mut of_this = true;
        let mut measured = match &revision {
            Some(revision) => catalog.measured(analyzer, Some(revision), MEASURED).await?,
            None => Vec::new(),
        };
        if measured.is_empty() {
            of_this = false;
            measured = catalog.measured(analyzer, None, MEASURED).await?;
        }
        let took: Vec<_> = measured.iter().map(|one| &one.provenance).collect();
        Ok(Self {
            analyzer: analyzer.clone(),
            revision,
            query: query.to_string(),
            images,
            left_out,
            estimate: estimate(images.missing, slots, &took),
            workers: workers.len(),
            slots,
            measured: measured.len(),
            measured_revision: (!measured.is_empty()).then_some(of_this),
            measured_until: measured.first().map(|one| one.at),
        })
    }

    pub(crate) fn text(&self) -> String {
        let Extent { matching, answered, on_their_way, missing } = self.images;
        let revision = match &self.revision {
            Some(revision) => format!("revision {revision}"),
            None => "any revision (no worker has announced one yet)".to_owned(),
        };
        let mut lines = vec![
            format!("{} at {revision}", self.analyzer),
            format!(
                "images    {missing} to ask: {matching} match, {answered} are answered, {on_their_way} are on their way"
            ),
        ];
        if self.left_out > 0 {
            lines.push(format!("rules     leave out {} of those that match", self.left_out));
        }
        let Estimate { tokens, money, currency, slot_hours, hours } = &self.estimate;
        let no_answer =
            "not known: nothing was measured yet, 'ocelli backfill --sample 20' measures";
        let line = |name: &str, range: &Option<Range>, unit: &str, why: &str| match range {
            Some(range) => format!("{name}{}{unit}", shown(range)),
            None => format!("{name}{why}"),
        };
        let unmeasured = self.measured == 0;
        let none = |why: &'static str| if unmeasured { no_answer } else { why };
        lines.push(line("tokens    ", tokens, "", none("none were counted")));
        let unit = format!(" {}", currency.as_deref().unwrap_or_default());
        lines.push(line("money     ", money, &unit, none("not known: no answer had a price")));
        lines.push(match hours {
            Some(hours) => {
                format!(
                    "hours     {} with {} slots of {} workers",
                    shown(hours),
                    self.slots,
                    self.workers
                )
            }
            None => match slot_hours {
                Some(hours) => format!(
                    "hours     {} with one slot; no worker is here to count the slots of",
                    shown(hours)
                ),
                None => format!("hours     {no_answer}"),
            },
        });
        if let (Some(of_this), Some(until)) = (self.measured_revision, self.measured_until) {
            let whose = if of_this { "this revision" } else { "other revisions" };
            lines.push(format!(
                "measured  {} answers of {whose}, the latest of {}; in brackets: if all images were like the tenth and \
                 the ninetieth of a hundred",
                self.measured,
                crate::layout::time(until)
            ));
        }
        lines.join("\n")
    }
}

/// `12.4 (10 to 15)`: three digits are more than is known.
fn shown(range: &Range) -> String {
    format!("{} ({} to {})", digits(range.likely), digits(range.low), digits(range.high))
}

fn digits(value: f64) -> String {
    if value >= 100.0 || value == 0.0 {
        return format!("{value:.0}");
    }
    let decimals = if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        4
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_are_known() {
        for (value, text) in [
            (0.0, "0"),
            (0.00123, "0.0012"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123_456.7, "123457"),
        ] {
            assert_eq!(digits(value), text);
        }
    }
}
