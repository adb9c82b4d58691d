//! Growth: whether a large archive takes new images as fast as a small one.

use std::time::Instant;

use ocelli_testkit::program::Program;

use crate::fleet::{Fleet, NULLS, images};
use crate::lab::{Fallible, Lab};
use crate::report::{Goal, Row};
use crate::series::{Series, alternate};
use crate::stored;

/// Records that are there before, and those of the whole measurement.
const SIZES: [u64; 2] = [10_000, 100_000];
const WHOLE: u64 = 1_000_000;
/// New images of a round.
const NEW: u64 = 1_500;
const SLOTS: usize = 32;

/// A fleet with an archive of some size.
struct Archive<'a> {
    fleet: Fleet<'a>,
    /// Records in it.
    records: u64,
    _programs: (Program, Vec<Program>),
}

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let mut archives = Vec::new();
    for size in SIZES.into_iter().chain(lab.whole.then_some(WHOLE)) {
        archives.push(filled(lab, lab.count(size)).await?);
    }
    let contenders = archives
        .iter()
        .map(|archive| {
            let name = format!("{} records before", archive.records);
            Series::new(&name, "images/s", "")
        })
        .collect();
    let new = lab.count(NEW);
    let series = alternate(lab, contenders, async |index| {
        let archive = &mut archives[index];
        let took = archive.take(new).await?;
        Ok(new as f64 / took)
    })
    .await;
    let (first, last) = (&series[0], &series[series.len() - 1]);
    let what = format!("images/s with {} beside {}", last.name, first.name);
    let goals = vec![Goal::at_least(&what, 0.9, "×", last.ratio(first))];
    let how = vec![format!(
        "a round: {new} new images with three null analyzers each, into each archive, whose fleets wait meanwhile; the \
         records before were written by the collector's own way into the catalog"
    )];
    for archive in &archives {
        archive.fleet.check(archive.records, NULLS.len() as u64).await?;
    }
    Ok(Row { series, goals, how, ..Row::default() })
}

async fn filled(lab: &Lab, records: u64) -> Fallible<Archive<'_>> {
    let fleet = Fleet::null(lab, &NULLS, SLOTS).await?;
    let started = Instant::now();
    stored::fill(&fleet.catalog, records).await?;
    eprintln!("  {records} records written in {:.0} s", started.elapsed().as_secs_f64());
    let programs = (fleet.collector()?, fleet.null_workers(lab.cores)?);
    fleet.consumed_by(&NULLS, lab.cores).await?;
    Ok(Archive { fleet, records, _programs: programs })
}

impl Archive<'_> {
    /// Seconds that so many new images take.
    async fn take(&mut self, new: u64) -> Fallible<f64> {
        let name = format!("in-{}", self.records);
        images(&self.fleet.path(&name), self.records..self.records + new, 100)?;
        let last = self.fleet.last_image().await;
        let started = Instant::now();
        self.fleet.produce(&name).await?;
        self.records += new;
        self.fleet.analyses(last, new * NULLS.len() as u64).await?;
        Ok(started.elapsed().as_secs_f64())
    }
}
