//! Images that break their readers, among others that do not.

use std::collections::BTreeMap;

use ocelli_catalog::FailureFilter;
use ocelli_core::FailureClass;
use ocelli_testkit::servers::OwnRabbitmq;

use super::Lab;
use super::fleet::{ANALYZERS, Fleet};
use super::processes::{PATIENCE, busy};
use super::row::{Fallible, Row};
use crate::null::{Mischief, Nature};

/// Attempts at an image that hangs; six, the default, only take longer.
const TRANSIENT: u32 = 2;
const CRASH: u32 = 2;

pub(super) async fn mixed(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let mut fleet = Fleet::null(lab, &broker.url()).await?;
    fleet.settings(&format!(
        "[retry]\ntransient_attempts = {TRANSIENT}\ncrash_attempts = {CRASH}\n"
    ))?;
    let mischief = Mischief { crash: 10, hang: 10, fail: 10 };
    fleet.mischief = ["--crash", "10", "--hang", "10", "--fail", "10"].map(str::to_owned).to_vec();
    let images = lab.images(5_000, 1_000);
    let natures: BTreeMap<_, _> = fleet
        .images(images)?
        .into_iter()
        .map(|digest| (digest, mischief.nature(&digest)))
        .collect();
    let _running = busy(&fleet).await?;
    fleet.produce().await?;
    let took = fleet.finishes(images, PATIENCE).await?;
    let filter = FailureFilter { limit: 1_000_000, ..FailureFilter::default() };
    let failures = fleet.catalog.failures(&filter).await?;
    let (mut innocent, mut wrong) = (0, 0);
    for failure in &failures {
        let (class, attempts) = match natures.get(&failure.digest) {
            Some(Nature::Crashes) => (FailureClass::Crash, CRASH),
            Some(Nature::Hangs) => (FailureClass::Transient, TRANSIENT),
            Some(Nature::Fails) => (FailureClass::Permanent, 1),
            Some(Nature::Good) | None => {
                innocent += 1;
                continue;
            }
        };
        wrong += usize::from(
            failure.class != class || failure.attempts != attempts || failure.reason.is_empty(),
        );
    }
    let guilty = natures.values().filter(|nature| **nature != Nature::Good).count() as u64;
    let row = Row::default()
        .figure("poison", guilty)
        .took("drained in", took)
        .figure("failures", failures.len())
        .figure("innocent failures", innocent)
        .must("there is poison", guilty > 0)
        .must("no innocent image failed", innocent == 0)
        .must("every failure has its class, reason and attempts", wrong == 0)
        .must("every poisonous image failed", failures.len() as u64 == guilty * ANALYZERS);
    fleet.adds_up(row, images, ANALYZERS).await
}
