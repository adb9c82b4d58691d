//! Worker and producer as a next version would have them: they say all that the present ones say, and more. Their envelopes
//! are of the next version and say that this one can read them. Fields that nobody knows yet stand in the envelope, in
//! the body and deep inside, before and behind the known ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, BrokerMetrics, Consumer, Delivery, Outgoing};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{self, Announcement, BatchReport, Fence, Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Dependence, Digest, ImageFacts, ImageFormat, Meta, Outcome,
    PerceptualHash, Provenance, Reading, Revision, RevisionBuilder, Sighting, SourceUri, Want,
};
use ocelli_wiring::{CommonArgs, Fault, Process, parts, start};
use serde::{Serialize, Serializer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::null;

/// Jobs in hand, per analyzer.
const PREFETCH: u16 = 6;
const ANNOUNCE: Duration = Duration::from_secs(2);
const LATENCY: Duration = Duration::from_millis(20);

/// A value with fields of the next version around it.
#[derive(Serialize)]
struct Grown<T> {
    a_field_of_the_future: BTreeMap<&'static str, Vec<u32>>,
    #[serde(flatten)]
    now: T,
    z_field_of_the_future: Option<&'static str>,
}

fn grown<T>(now: T) -> Grown<T> {
    Grown {
        a_field_of_the_future: BTreeMap::from([("weights", vec![1, 2, 3])]),
        now,
        z_field_of_the_future: Some("more"),
    }
}

/// [`Intake`] with everything inside grown.
#[derive(Serialize)]
struct NextIntake<'a> {
    image: Grown<&'a ImageFacts>,
    sources: &'a [SourceUri],
    sighting: Option<Grown<&'a Sighting>>,
    wants: Vec<Grown<&'a Want>>,
    refusal: &'a Option<String>,
    enqueued_at: Timestamp,
    dependence: &'a Dependence,
    hash: &'a Option<PerceptualHash>,
    meta: &'a Meta,
}

#[derive(Serialize)]
struct NextPartial<'a> {
    digest: Digest,
    analysis: Grown<&'a Analysis>,
    hash: &'a Option<PerceptualHash>,
    image: Option<Grown<&'a ImageFacts>>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    sent_by: &'static str,
    v: u16,
    reads: u16,
    kind: &'a str,
    #[serde(serialize_with = "bytes")]
    body: Vec<u8>,
}

fn bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// The message as the next version writes it.
fn encode(message: &Message) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let body = match message {
        Message::Intake(intake) => rmp_serde::to_vec_named(&grown(NextIntake {
            image: grown(&intake.image),
            sources: &intake.sources,
            sighting: intake.sighting.as_ref().map(grown),
            wants: intake.wants.iter().map(grown).collect(),
            refusal: &intake.refusal,
            enqueued_at: intake.enqueued_at,
            dependence: &intake.dependence,
            hash: &intake.hash,
            meta: &intake.meta,
        })),
        Message::Partial(partial) => rmp_serde::to_vec_named(&grown(NextPartial {
            digest: partial.digest,
            analysis: grown(&partial.analysis),
            hash: &partial.hash,
            image: partial.image.as_ref().map(grown),
        })),
        Message::Deferred(body) => rmp_serde::to_vec_named(&grown(body)),
        Message::Announcement(body) => rmp_serde::to_vec_named(&grown(body)),
        Message::Batch(body) => rmp_serde::to_vec_named(&grown(body)),
        Message::Problem(body) => rmp_serde::to_vec_named(&grown(body)),
        Message::Fence(body) | Message::FencePassed(body) => rmp_serde::to_vec_named(&grown(body)),
    }?;
    rmp_serde::to_vec_named(&Envelope {
        sent_by: "the next version",
        v: wire::VERSION + 1,
        reads: wire::VERSION,
        kind: message.kind(),
        body,
    })
}

async fn publish(broker: &Broker, message: &Message, routes: Vec<Queue>) -> Result<(), String> {
    let body = encode(message).map_err(|error| error.to_string())?.into();
    let id = message.id();
    let outgoing = Outgoing { id, body, routes, attempts: 0, traceparent: None };
    broker.publish(outgoing).await.map_err(|error| error.to_string())
}

/// Works on every null analyzer until it is told to stop.
pub(crate) fn worker(common: &CommonArgs) -> ExitCode {
    start("ocelli-next-worker", common, async |process| {
        let (process, broker) = begin(process).await?;
        let mut workers = JoinSet::new();
        for analyzer in &process.settings.analyzers {
            if analyzer.enabled != ocelli_runtime::settings::Enabled::No {
                let (name, stop) = (analyzer.name.clone(), process.shutdown.clone());
                workers.spawn(work(broker.clone(), name, stop));
            }
        }
        while let Some(ended) = workers.join_next().await {
            let outcome = ended.map_err(|error| error.to_string()).and_then(|outcome| outcome);
            outcome.map_err(|reason| Fault::new(ocelli_runtime::ExitCode::Internal, reason))?;
        }
        broker.close().await;
        Ok((process, ocelli_runtime::ExitCode::Ok))
    })
}

async fn begin(process: Process) -> Result<(Process, Broker), Fault> {
    let metrics = BrokerMetrics::register(&process.registry)?;
    let broker = parts::broker(&process.settings, "ocelli-next", metrics).await?;
    broker.declare(&parts::topology(&process.settings)).await?;
    Ok((process, broker))
}

async fn work(broker: Broker, name: AnalyzerName, stop: CancellationToken) -> Result<(), String> {
    let consume = async |queue: &Queue| -> Result<Consumer, String> {
        broker.consume(queue, PREFETCH).await.map_err(|error| error.to_string())
    };
    let mut fresh = consume(&Queue::Jobs(name.clone())).await?;
    let mut bulk = consume(&Queue::Bulk(name.clone())).await?;
    // As the present version says it: the same reader, the same answers.
    let revision = RevisionBuilder::new("null").part("name", &name).build();
    let mut announce = tokio::time::interval(ANNOUNCE);
    let mut jobs = JoinSet::new();
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = announce.tick() => {
                let said = announcement(&name, &revision, jobs.len(), false);
                publish(&broker, &said, vec![Queue::Results]).await?;
                continue;
            }
            Some(done) = jobs.join_next(), if !jobs.is_empty() => {
                done.map_err(|error| error.to_string())?;
                continue;
            }
            delivery = fresh.next() => delivery,
            delivery = bulk.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        jobs.spawn(handle(broker.clone(), delivery, name.clone(), revision.clone()));
    }
    fresh.cancel().await;
    bulk.cancel().await;
    while jobs.join_next().await.is_some() {}
    publish(&broker, &announcement(&name, &revision, 0, true), vec![Queue::Results]).await
}

/// One job, or one of the sweeper's marks. What cannot be done goes back to its queue.
async fn handle(broker: Broker, delivery: Delivery, analyzer: AnalyzerName, revision: Revision) {
    let answer = match Message::decode(&delivery.body) {
        Ok(Message::Intake(intake)) => {
            tokio::time::sleep(LATENCY).await;
            let digest = intake.image.digest;
            let reading = Reading { text: null::text(&digest), ..Reading::default() };
            let analysis = Analysis {
                analyzer,
                revision,
                outcome: Outcome::Done(reading),
                attempts: delivery.attempts.saturating_add(1),
                finished_at: Timestamp::now(),
                provenance: Provenance { engine: "next".to_owned(), ..Provenance::default() },
            };
            (
                Message::Partial(Box::new(Partial { digest, analysis, hash: None, image: None })),
                Queue::Results,
            )
        }
        Ok(Message::Fence(fence)) if fence.bulk => (Message::FencePassed(fence), Queue::Results),
        Ok(Message::Fence(fence)) => {
            let queue = Queue::Bulk(fence.analyzer.clone());
            (Message::Fence(Fence { bulk: true, ..fence }), queue)
        }
        Ok(other) => {
            drop(delivery.reject(&format!("{} in a job queue", other.kind())).await);
            return;
        }
        Err(error) => {
            drop(delivery.reject(&error.to_string()).await);
            return;
        }
    };
    if publish(&broker, &answer.0, vec![answer.1]).await.is_ok() {
        // A stale one comes again, and its second answer changes nothing.
        drop(delivery.ack().await);
    }
}

fn announcement(
    analyzer: &AnalyzerName,
    revision: &Revision,
    busy: usize,
    leaving: bool,
) -> Message {
    Message::Announcement(Announcement {
        analyzer: analyzer.clone(),
        revision: Some(revision.clone()),
        kind: "ocr".to_owned(),
        description: "reads nothing, in the next version".to_owned(),
        worker: parts::worker_name(),
        slots: PREFETCH.into(),
        in_progress: u32::try_from(busy).unwrap_or(u32::MAX),
        waiting: None,
        paused: false,
        leaving,
        at: Timestamp::now(),
    })
}

/// Enqueues every file below `folder`, known or not.
pub(crate) fn producer(common: &CommonArgs, folder: &Path) -> ExitCode {
    let folder = folder.to_owned();
    start("ocelli-next-producer", common, async move |process| {
        let (process, broker) = begin(process).await?;
        let catalog = parts::catalog(&process.settings, None).await?;
        let (wants, _off) = parts::wants(&process.settings, &catalog).await?;
        catalog.close().await;
        let produced = produce(&broker, &folder, &wants).await;
        broker.close().await;
        produced.map_err(|reason| Fault::new(ocelli_runtime::ExitCode::Internal, reason))?;
        Ok((process, ocelli_runtime::ExitCode::Ok))
    })
}

async fn produce(broker: &Broker, folder: &Path, wants: &[Want]) -> Result<(), String> {
    let batch = BatchId::new(uuid::Uuid::now_v7());
    let started_at = Timestamp::now();
    let mut files = Vec::new();
    list(folder, &mut files).map_err(|error| error.to_string())?;
    let accepted = files.len() as u64;
    let mut sending = JoinSet::new();
    for file in files {
        let intake = intake(&file, wants, batch)?;
        let broker = broker.clone();
        sending.spawn(async move {
            let mut routes = vec![Queue::Results];
            routes.extend(intake.wants.iter().map(|want| Queue::Jobs(want.analyzer.clone())));
            publish(&broker, &Message::Intake(intake), routes).await
        });
        if sending.len() >= 256
            && let Some(sent) = sending.join_next().await
        {
            sent.map_err(|error| error.to_string())??;
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent.map_err(|error| error.to_string())??;
    }
    let report = BatchReport {
        batch,
        name: "the next version".to_owned(),
        started_at,
        at: Timestamp::now(),
        finished: true,
        accepted,
        known: 0,
        skipped: 0,
        problems: 0,
    };
    publish(broker, &Message::Batch(report), vec![Queue::Results]).await
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = std::path::absolute(entry?.path())?;
        match path.is_dir() {
            true => list(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

fn intake(file: &Path, wants: &[Want], batch: BatchId) -> Result<Intake, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let source = SourceUri::from_path(file).map_err(|error| error.to_string())?;
    Ok(Intake {
        image: ImageFacts {
            digest: Digest::of(&bytes),
            bytes: bytes.len() as u64,
            format: Some(ImageFormat::Png),
            width: Some(1),
            height: Some(1),
        },
        sources: vec![source.clone()],
        sighting: Some(Sighting { source, seen_at: Timestamp::now(), batch }),
        wants: wants.to_vec(),
        refusal: None,
        enqueued_at: Timestamp::now(),
        dependence: Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_next_version_writes_says_the_same_to_this_one() {
        let fence = Fence {
            analyzer: "a".parse().unwrap(),
            published_at: Timestamp::UNIX_EPOCH,
            bulk: true,
            pulse: false,
        };
        let wants = [Want { analyzer: "a".parse().unwrap(), revision: None }];
        let batch = BatchId::new(uuid::Uuid::nil());
        let intake = intake(&std::env::current_exe().unwrap(), &wants, batch).unwrap();
        let revision = RevisionBuilder::new("null").build();
        let partial = Partial {
            digest: intake.image.digest,
            analysis: Analysis {
                analyzer: "a".parse().unwrap(),
                revision: revision.clone(),
                outcome: Outcome::Done(Reading { text: "x".to_owned(), ..Reading::default() }),
                attempts: 1,
                finished_at: Timestamp::UNIX_EPOCH,
                provenance: Provenance::default(),
            },
            hash: None,
            image: None,
        };
        for message in [
            Message::Fence(fence),
            Message::Intake(intake),
            Message::Partial(Box::new(partial)),
            announcement(&wants[0].analyzer, &revision, 1, false),
        ] {
            let (now, next) = (message.encode().unwrap(), encode(&message).unwrap());
            assert!(next.len() > now.len() + 50, "{} has not grown", message.kind());
            assert_eq!(Message::decode(&next).unwrap(), message);
        }
    }
}
