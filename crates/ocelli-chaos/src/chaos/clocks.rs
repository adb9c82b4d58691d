//! Producers and workers whose clocks jump by an hour, and messages that come late, twice and in any order: two fleets of
//! collectors get the same messages in different orders and must end with the same records.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_broker::{Broker, Outgoing};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Deferred, Intake, Message, Partial};
use ocelli_core::{
    Analysis, BatchId, Digest, FailureClass, ImageFacts, ImageFormat, Outcome, Provenance, Reading,
    Record, RevisionBuilder, Sighting, Want,
};
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::lab::{Chance, Lab};
use super::processes::PATIENCE;
use super::row::{Fallible, Row};

/// How far a clock may jump, in seconds, to either side.
const JUMP: u64 = 3600;
const ANALYZERS: [&str; 2] = ["null-a", "null-b"];

pub(super) async fn jump(lab: &Lab) -> Fallible<Row> {
    let images = lab.count(1_500, 500);
    let mut chance = lab.chance("R19");
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let (mut messages, mut wanted) = (Vec::new(), BTreeMap::new());
    for image in 0..images {
        let history = history(image, now, &mut chance)?;
        let record = fold(&history).ok_or("a history without an image")?;
        wanted.insert(record.image.digest, record);
        messages.extend(history);
    }
    // The last ones are late: everything else has been written by then.
    let late: Vec<_> = late(&wanted, now)?;
    for message in &late {
        if let Message::Intake(intake) = message
            && let Some(record) = wanted.get_mut(&intake.image.digest)
        {
            add(record, message);
        }
    }
    let sent = messages.len() + late.len();
    let mut records = Vec::new();
    let (mut grew, mut looks, mut doubled, mut dead) = (0, 0, 0, 0);
    for _fleet in 0..2 {
        let vhost = lab.vhost().await?;
        let fleet = Fleet::null(lab, &vhost.url).await?;
        // Two at once, so that transactions overlap.
        let _collectors = [fleet.collector()?, fleet.collector()?];
        let observer = fleet.observer().await?;
        observer
            .declare(&queues(
                &ANALYZERS.map(str::parse).into_iter().collect::<Result<Vec<_>, _>>()?,
                &[],
            ))
            .await?;
        let mut order = messages.clone();
        for _ in 0..messages.len() / 10 {
            order.push(messages[chance.pick(messages.len())].clone());
        }
        doubled += messages.len() / 10;
        shuffle(&mut order, &mut chance);
        let seen = watch(&fleet, &wanted, async {
            publish(&observer, &order).await?;
            written(&fleet, &observer).await?;
            publish(&observer, &late).await?;
            written(&fleet, &observer).await
        });
        let (more, increases) = seen.await?;
        (looks, grew) = (looks + more, grew + increases);
        dead += fleet.status().await?.dead_letters + observer.depth(&Queue::Dead).await?.ready;
        observer.close().await;
        let mut found = BTreeMap::new();
        for digest in wanted.keys() {
            found.extend(fleet.catalog.record(digest).await?.map(|record| (*digest, record)));
        }
        records.push(found);
        fleet.noted(Row::default().must("", grew == 0 && records.iter().all(|of| *of == wanted)));
    }
    let differ = |of: &BTreeMap<Digest, Record>| {
        wanted.iter().filter(|(digest, record)| of.get(*digest) != Some(*record)).count()
    };
    let first_seen = |of: &BTreeMap<Digest, Record>| {
        let same = |(digest, record): &(&Digest, &Record)| {
            of.get(*digest).and_then(Record::first_seen) == record.first_seen()
        };
        wanted.iter().filter(|entry| !same(entry)).count()
    };
    Ok(Row::default()
        .figure("records", images)
        .figure("messages, to each of two fleets", sent)
        .figure("doubled", doubled)
        .figure("looks at First Seen under way", looks)
        .must(
            "First Seen is the earliest time",
            first_seen(&records[0]) + first_seen(&records[1]) == 0,
        )
        .must("First Seen never grows", grew == 0 && looks > 0)
        .must("the record is what the merge of its messages is", differ(&records[0]) == 0)
        .must("the same in another order", records[0] == records[1])
        .must("no dead letter", dead == 0))
}

/// A time of a clock that may have jumped.
fn jumped(now: Timestamp, chance: &mut Chance) -> Fallible<Timestamp> {
    let seconds = i64::try_from(chance.below(2 * JUMP + 1))? - i64::try_from(JUMP)?;
    Ok(now.checked_add(SignedDuration::from_secs(seconds))?)
}

/// Everything that is said about one image.
fn history(image: u64, now: Timestamp, chance: &mut Chance) -> Fallible<Vec<Message>> {
    let digest = Digest::of(format!("R19 {image}").as_bytes());
    let mut messages = Vec::new();
    for sighting in 0..1 + chance.below(4) {
        messages.push(intake(
            digest,
            image,
            sighting % 3,
            jumped(now, chance)?,
            jumped(now, chance)?,
        )?);
    }
    for analyzer in ANALYZERS {
        let revision = RevisionBuilder::new("R19").part("name", analyzer).build();
        for answer in 0..1 + chance.below(3) {
            let outcome = match chance.below(3) {
                0 => Outcome::Failed {
                    class: FailureClass::Crash,
                    reason: format!("crash {answer}"),
                },
                1 => Outcome::Empty,
                _ => {
                    Outcome::Done(Reading { text: format!("text {answer}"), ..Reading::default() })
                }
            };
            let analysis = Analysis {
                analyzer: analyzer.parse()?,
                revision: revision.clone(),
                outcome,
                attempts: 1,
                finished_at: jumped(now, chance)?,
                provenance: Provenance::default(),
            };
            messages.push(Message::Partial(Box::new(Partial {
                digest,
                analysis,
                hash: None,
                image: None,
            })));
        }
        messages.push(Message::Deferred(Deferred {
            digest,
            analyzer: analyzer.parse()?,
            class: FailureClass::Transient,
            reason: "later".to_owned(),
            attempts: 1,
            next_at: jumped(now, chance)?,
            spent: None,
        }));
    }
    Ok(messages)
}

fn intake(
    digest: Digest,
    image: u64,
    source: u64,
    seen_at: Timestamp,
    enqueued_at: Timestamp,
) -> Fallible<Message> {
    let source: ocelli_core::SourceUri = format!("file:///{source}/{image}.png").parse()?;
    let batch = BatchId::new(uuid::Uuid::from_u128(7));
    let wants = ANALYZERS
        .iter()
        .map(|name| Ok(Want { analyzer: name.parse()?, revision: None }))
        .collect::<Fallible<Vec<_>>>()?;
    Ok(Message::Intake(Intake {
        image: ImageFacts {
            digest,
            bytes: 70,
            format: Some(ImageFormat::Png),
            width: Some(1),
            height: Some(1),
        },
        sources: vec![source.clone()],
        sighting: Some(Sighting { source, seen_at, batch }),
        wants,
        refusal: None,
        enqueued_at,
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    }))
}

/// For one image of three a sighting that is earlier than all, for the others one that is later.
fn late(wanted: &BTreeMap<Digest, Record>, now: Timestamp) -> Fallible<Vec<Message>> {
    let mut messages = Vec::new();
    for (n, (digest, record)) in (0_u64..).zip(wanted) {
        let hours = if n % 3 == 0 { -2 } else { 2 };
        let at = now.checked_add(SignedDuration::from_hours(hours))?;
        let name = record.sightings.keys().next().ok_or("a record without a sighting")?;
        let image = name
            .to_string()
            .rsplit('/')
            .next()
            .and_then(|name| name.split('.').next()?.parse().ok());
        messages.push(intake(*digest, image.ok_or("a source without its number")?, 9, at, at)?);
    }
    Ok(messages)
}

/// What the messages about one image come to.
fn fold(messages: &[Message]) -> Option<Record> {
    let image = messages.iter().find_map(|message| match message {
        Message::Intake(intake) => Some(intake.image.clone()),
        _ => None,
    })?;
    let mut record = Record::new(image);
    for message in messages {
        add(&mut record, message);
    }
    Some(record)
}

fn add(record: &mut Record, message: &Message) {
    match message {
        Message::Intake(intake) => {
            intake.sighting.clone().into_iter().for_each(|seen| record.add_sighting(seen));
            for want in &intake.wants {
                record.add_want(intake.enqueued_at, want.clone());
            }
        }
        Message::Partial(partial) => record.add_analysis(partial.analysis.clone()),
        _ => {}
    }
}

fn shuffle(messages: &mut [Message], chance: &mut Chance) {
    for last in (1..messages.len()).rev() {
        messages.swap(last, chance.pick(last + 1));
    }
}

async fn publish(broker: &Broker, messages: &[Message]) -> Fallible<()> {
    let mut sending = JoinSet::new();
    for message in messages {
        let (id, body, routes) = (message.id(), message.encode()?.into(), vec![Queue::Results]);
        let (broker, outgoing) =
            (broker.clone(), Outgoing { id, body, routes, attempts: 0, traceparent: None });
        sending.spawn(async move { broker.publish(outgoing).await });
        if sending.len() >= 256
            && let Some(sent) = sending.join_next().await
        {
            sent??;
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    Ok(())
}

/// Waits until the collectors have written everything: nothing waits, and nothing is in their hands any more.
async fn written(fleet: &Fleet, observer: &Broker) -> Fallible<()> {
    let started = std::time::Instant::now();
    while observer.depth(&Queue::Results).await?.ready > 0 {
        if started.elapsed() > PATIENCE {
            return Err("the collectors do not come to an end".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut before = String::new();
    loop {
        let now = format!("{:?}", fleet.catalog.audit().await?.rows);
        if now == before {
            return Ok(());
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Looks at some records while `work` goes on: how often, and how often First Seen had become later.
async fn watch(
    fleet: &Fleet,
    wanted: &BTreeMap<Digest, Record>,
    work: impl Future<Output = Fallible<()>>,
) -> Fallible<(u64, u64)> {
    let mut work = std::pin::pin!(work);
    let (mut earliest, mut looks, mut grew) = (BTreeMap::new(), 0, 0);
    loop {
        for digest in wanted.keys().step_by(wanted.len().div_ceil(20)) {
            let record = fleet.catalog.record(digest).await?;
            let Some(seen) = record.and_then(|record| record.first_seen()) else { continue };
            looks += 1;
            let before = earliest.entry(*digest).or_insert(seen);
            grew += u64::from(seen > *before);
            *before = seen.min(*before);
        }
        tokio::select! {
            done = &mut work => return done.map(|()| (looks, grew)),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}
