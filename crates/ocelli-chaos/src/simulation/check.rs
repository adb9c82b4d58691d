//! The promises, looked up in a world that has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use ocelli_core::wire::{Message, Partial};
use ocelli_core::{Digest, FailureClass, Outcome, Record};

use super::Report;
use super::catalog::{nothing_known, record_of};
use super::weather::{Flaw, Truth, Weather};
use super::world::World;

pub(super) fn report(mut world: World) -> Report {
    let mut violations = Vec::new();
    if !world.at_rest {
        violations.push(format!(
            "no rest {} h after the last fault: {} messages wait",
            world.now.saturating_sub(world.weather.clears_at) / 3_600_000,
            world.broker.waiting()
        ));
    }
    accepted_are_complete(&world, &mut violations);
    records_are_the_sum_of_their_messages(&mut world, &mut violations);
    attempts_are_what_was_spent(&world, &mut violations);
    // Unless it is the flaw that loses jobs.
    let lossless = world.weather.calm || world.weather.slow;
    if lossless && world.weather.flaw != Some(Flaw::AckBeforePublish) && world.swept > 0 {
        violations.push(format!("{} jobs were swept although none was lost", world.swept));
    }
    if world.weather.calm {
        calm_costs_no_more_than_it_must(&world, &mut violations);
    }
    Report {
        seed: world.seed,
        trace: world.trace,
        steps: world.steps,
        accepted: world.accepted.iter().map(|(digest, _)| digest).collect::<BTreeSet<_>>().len(),
        calls: world.calls.values().map(|calls| calls.begun).sum(),
        kills: world.kills,
        swept: world.swept,
        seconds: world.now / 1000,
        violations,
    }
}

fn accepted_are_complete(world: &World, violations: &mut Vec<String>) {
    for (digest, source) in &world.accepted {
        let Some(entry) = world.catalog.entries.get(digest) else {
            violations.push(format!("{digest:?} was accepted and has no record"));
            continue;
        };
        if !entry.is_complete() {
            let open: Vec<_> = entry.record.open().into_iter().map(ToString::to_string).collect();
            violations.push(format!("{digest:?} is not complete: {}", open.join(", ")));
        }
        if !entry.record.sightings.contains_key(source) {
            violations.push(format!("{digest:?} was accepted at {source}, which is forgotten"));
        }
    }
    let all: BTreeSet<Digest> = world.weather.images.iter().map(|image| image.digest).collect();
    for digest in world.catalog.entries.keys().filter(|digest| !all.contains(digest)) {
        violations.push(format!("{digest:?} has a record and was never produced"));
    }
}

/// Whatever the order, however often: the record is the union of what was said.
fn records_are_the_sum_of_their_messages(world: &mut World, violations: &mut Vec<String>) {
    let mut messages = std::mem::take(&mut world.catalog.history);
    for n in (1..messages.len()).rev() {
        let other = world.random.index(n + 1);
        messages.swap(n, other);
    }
    let mut sum: BTreeMap<Digest, Record> = BTreeMap::new();
    for message in &messages {
        match message {
            Message::Intake(intake) => {
                let digest = intake.image.digest;
                let record =
                    sum.entry(digest).or_insert_with(|| Record::new(nothing_known(digest)));
                record.merge(record_of(intake));
            }
            Message::Partial(partial) => {
                let digest = partial.digest;
                let record =
                    sum.entry(digest).or_insert_with(|| Record::new(nothing_known(digest)));
                record.add_analysis(partial.analysis.clone());
            }
            _ => {}
        }
    }
    world.catalog.history = messages;
    for (digest, entry) in &world.catalog.entries {
        if sum.get(digest) != Some(&entry.record) {
            violations.push(format!("{digest:?} depends on the order of its messages"));
        }
    }
}

fn attempts_are_what_was_spent(world: &World, violations: &mut Vec<String>) {
    for message in &world.catalog.history {
        let Message::Partial(partial) = message else { continue };
        let Partial { digest, analysis, .. } = &**partial;
        let weather = &world.weather;
        let image = weather.images.iter().position(|image| image.digest == *digest);
        let analyzer = weather.analyzers.iter().position(|name| *name == analysis.analyzer);
        let (Some(image), Some(analyzer)) = (image, analyzer) else {
            violations.push(format!("an answer about {digest:?}, which nobody asked for"));
            continue;
        };
        let spent = world.calls.get(&(image, analyzer)).map_or(0, |calls| calls.failed);
        let truth = weather.images[image].truths[analyzer];
        let wrong = match (&analysis.outcome, truth) {
            (Outcome::Failed { class, .. }, Truth::Poison(poison)) => {
                *class != poison || analysis.attempts != limit(weather, poison)
            }
            (Outcome::Failed { .. }, _) | (_, Truth::Poison(_)) => true,
            (Outcome::Empty, Truth::Empty)
            | (Outcome::Done(_), Truth::Reads | Truth::Stumbles(_)) => {
                analysis.attempts > spent + 1
            }
            _ => true,
        };
        if wrong {
            violations.push(format!(
                "{digest:?}, which is {truth:?} for {}, ended as {:?} after {} attempts with {spent} failures",
                analysis.analyzer, analysis.outcome, analysis.attempts
            ));
        }
    }
}

/// Without a fault, nothing is done twice.
fn calm_costs_no_more_than_it_must(world: &World, violations: &mut Vec<String>) {
    for (n, image) in world.weather.images.iter().enumerate() {
        for (analyzer, truth) in image.truths.iter().enumerate() {
            let must = match truth {
                _ if image.refused => 0,
                Truth::Reads | Truth::Empty => 1,
                Truth::Stumbles(times) => times + 1,
                Truth::Poison(class) => limit(&world.weather, *class),
            };
            let begun = world.calls.get(&(n, analyzer)).map_or(0, |calls| calls.begun);
            if begun != u64::from(must) {
                violations.push(format!(
                    "{:?}, which is {truth:?}, took {begun} analyses instead of {must}",
                    image.digest
                ));
            }
        }
    }
}

fn limit(weather: &Weather, class: FailureClass) -> u32 {
    match class {
        FailureClass::Permanent => 1,
        FailureClass::Transient => weather.policy.transient_attempts,
        FailureClass::Crash => weather.policy.crash_attempts,
        FailureClass::Quality => weather.policy.quality_attempts,
        FailureClass::Outage => u32::MAX,
    }
}
