//! Empties the dead queue: every message that died becomes a failed job or a visible row, and is acked after the commit.

use jiff::Timestamp;
use ocelli_broker::topology::DELIVERY_LIMIT;
use ocelli_broker::{Consumer, Delivery};
use ocelli_catalog::{Content, Letter};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{AnalyzerName, FailureClass, chain};
use ocelli_failpoint::{Failpoint, reached};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::{CollectorError, Gathered, Parts, gather};

/// Dead letters in one transaction, and in hand at most: they are few, and each may be as large as the broker allows.
const AT_ONCE: u16 = 16;

/// Why the broker itself gave a message up (RabbitMQ documentation, "Quorum Queues", poison message handling).
const DELIVERIES_SPENT: &str = "delivery_limit";

/// Takes dead letters in until `shutdown`.
pub(crate) async fn run(parts: &Parts, shutdown: &CancellationToken) -> Result<(), CollectorError> {
    let mut consumer = parts
        .broker
        .consume(&Queue::Dead, AT_ONCE)
        .await
        .map_err(|error| CollectorError::Consume(Box::new(error)))?;
    let ended = take(parts, &mut consumer, shutdown).await;
    consumer.cancel().await;
    ended
}

async fn take(
    parts: &Parts,
    consumer: &mut Consumer,
    shutdown: &CancellationToken,
) -> Result<(), CollectorError> {
    let mut next = Instant::now();
    loop {
        let until = tokio::time::sleep_until(next);
        let gathered = gather(consumer, usize::from(AT_ONCE), until, shutdown).await;
        next = Instant::now() + parts.options.linger;
        match gathered {
            Gathered::Batch(deliveries) => parts.bury(deliveries, shutdown).await,
            Gathered::Shutdown => return Ok(()),
            Gathered::Closed => return Err(CollectorError::Closed),
        }
    }
}

impl Parts {
    async fn bury(&self, deliveries: Vec<Delivery>, shutdown: &CancellationToken) {
        reached(Failpoint::LettersGathered);
        let at = Timestamp::now();
        let letters: Vec<Letter> = deliveries.iter().map(|dead| letter(dead, at)).collect();
        let written = self
            .persist("dead letters", letters.len(), shutdown, || self.catalog.bury(&letters))
            .await;
        // Dropped deliveries return to the queue; the next collector takes them in.
        let Some(buried) = written else { return };
        self.metrics.complete(buried.completed.len(), &buried.asked);
        for (fate, count) in buried.fates {
            self.metrics.dead.with_label_values(&[fate.name()]).inc_by(count);
            if matches!(fate, ocelli_catalog::Fate::Kept | ocelli_catalog::Fate::Failed) {
                tracing::error!(
                    count,
                    fate = fate.name(),
                    "messages had died in their queue; 'ocelli failures list' shows them"
                );
            }
        }
        reached(Failpoint::LettersCommitted);
        if let Err(error) = Delivery::ack_all(deliveries).await {
            // They will be delivered again, and are known then.
            tracing::debug!("dead letters were committed but not acked: {}", chain(&error));
        }
    }
}

/// What a dead delivery is, in the words of the catalog.
fn letter(dead: &Delivery, at: Timestamp) -> Letter {
    let (queue, mut reason) = match &dead.death {
        Some(death) => (death.queue.clone(), death.reason.clone()),
        None => (dead.queue.to_string(), "it was put into the dead queue directly".to_owned()),
    };
    let class = match reason.as_str() {
        DELIVERIES_SPENT => FailureClass::Crash,
        "expired" | "maxlen" => FailureClass::Transient,
        _ => FailureClass::Permanent,
    };
    if class == FailureClass::Crash {
        reason = format!(
            "the broker gave it up ({DELIVERIES_SPENT}): it was handed out {DELIVERY_LIMIT} times, and whoever had it \
             was killed or cut off each time"
        );
    }
    let content = match Message::decode(&dead.body) {
        Ok(Message::Fence(_)) => Content::Mark,
        Ok(Message::Intake(intake)) => match asked_of(&queue, &intake) {
            Some(analyzer) => Content::Job {
                analyzer,
                intake: Box::new(intake),
                class,
                attempts: dead.attempts.saturating_add(1),
            },
            None => fact(&queue, Message::Intake(intake)),
        },
        Ok(message) => fact(&queue, message),
        Err(error) => {
            let error = chain(&error);
            // The one who set it aside has mostly said the same.
            if !reason.contains(&error) {
                reason = format!("{reason}; {error}");
            }
            Content::Unusable
        }
    };
    Letter { message_id: dead.id.clone(), queue, reason, body: dead.body.to_vec(), at, content }
}

/// The analyzer in whose queue a job died. Judged by what the job asks for, since names of analyzers and namespaces may
/// hold dots.
fn asked_of(queue: &str, intake: &Intake) -> Option<AnalyzerName> {
    intake.wants.iter().map(|want| &want.analyzer).find(|name| is_job_queue(queue, name)).cloned()
}

fn is_job_queue(queue: &str, analyzer: &AnalyzerName) -> bool {
    [Queue::Jobs(analyzer.clone()), Queue::Bulk(analyzer.clone())]
        .iter()
        .any(|own| is_queue(queue, own))
}

/// Whether `name` is the full name of `queue` in some namespace.
fn is_queue(name: &str, queue: &Queue) -> bool {
    name.strip_suffix(&queue.to_string()).is_some_and(|namespace| namespace.ends_with('.'))
}

/// What died in the results queue was on its way into the catalog; anywhere else it had no business.
fn fact(queue: &str, message: Message) -> Content {
    let of_jobs = queue.contains(".jobs.") || queue.contains(".bulk.");
    if is_queue(queue, &Queue::Results) && !of_jobs {
        Content::Fact(Box::new(message))
    } else {
        Content::Unusable
    }
}
