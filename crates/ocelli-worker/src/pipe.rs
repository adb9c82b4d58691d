//! One job from delivery to settlement: a straight pipe, whose last step alone touches the queue.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use ocelli_broker::{Broker, Delivery, Outgoing, trace};
use ocelli_core::claim::{Claim, ClaimRequest, JobKey};
use ocelli_core::retry::{Decision, RetryPolicy};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Deferred, Fence, Intake, Message, Partial};
use ocelli_core::{
    Analysis, AttemptId, Dependence, FailureClass, ImageFacts, Outcome, Provenance, Revision,
    Spent, Want, chain,
};
use ocelli_failpoint::{Failpoint, reached};
use ocelli_media::Polite;
use tokio::time::Instant;

use crate::disposition::{Disposition, Why};
use crate::fetch::{fetch, learn};
use crate::hand::Hand;
use crate::hold::Hold;
use crate::places::Places;
use crate::took::{millis, panic_text, sign, since};
use crate::{AnalyzeError, Analyzer, Answer, Job, Ledger, Meter, WorkerMetrics};

/// What the pipe needs for every job.
pub(crate) struct Pipe<A> {
    pub(crate) analyzer: Arc<A>,
    pub(crate) broker: Broker,
    pub(crate) polite: Polite,
    /// Whether a copy is kept of what a URL gave.
    pub(crate) keep_urls: bool,
    pub(crate) ledger: Ledger,
    pub(crate) policy: RetryPolicy,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) worker: String,
    pub(crate) job_deadline: Duration,
    /// How long a claim counts without being renewed; none when jobs of this analyzer are not claimed.
    pub(crate) lease: Option<Duration>,
    /// How long nobody else begins a job whose answer is on its way to the collector.
    pub(crate) answer_lease: Duration,
    /// Guards the analysis alone: fetching the next image and publishing the last answer overlap with it.
    pub(crate) slots: Arc<Places>,
    /// Bounds the encoded images between fetching and the end of their use.
    pub(crate) hand: Hand,
}

/// What the caller must know about a handled delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is settled.
    Settled,
    /// Something all jobs depend on is away: stop taking new ones.
    Outage(String),
    /// No job of the analyzer may be done at the moment: stop taking new ones, and finish what is in progress.
    Paused(String),
}

/// What an image is taken for in memory until its size is known.
const USUAL_SIZE: u64 = 1 << 20;

/// How long an analysis may overrun its own deadline before the pipe abandons it.
const GRACE: Duration = Duration::from_secs(5);

impl<A: Analyzer> Pipe<A> {
    /// Handles one delivery. Dropping the future gives the delivery back to its queue, uncounted.
    pub(crate) async fn handle(&self, delivery: Delivery, revision: &Revision) -> Handled {
        reached(Failpoint::WorkerDelivered);
        let mut hold = None;
        let disposition = match Message::decode(&delivery.body) {
            Ok(Message::Intake(intake)) => {
                self.work(intake, delivery.attempts, revision, &mut hold).await
            }
            Ok(Message::Fence(fence)) => self.pass(fence),
            Ok(other) => Disposition::Reject(format!(
                "a message of kind '{}' does not belong into a job queue",
                other.kind()
            )),
            Err(error) => Disposition::Reject(chain(&error)),
        };
        match &hold {
            Some(hold) => hold.during(self.settle(delivery, disposition, Some(hold))).await,
            None => self.settle(delivery, disposition, None).await,
        }
    }

    /// A fence goes through the queue for fresh jobs, then through the one for backfills, then to the collector.
    fn pass(&self, fence: Fence) -> Disposition {
        if fence.bulk || fence.pulse {
            return Disposition::Publish(Queue::Results, vec![Message::FencePassed(fence)]);
        }
        let queue = Queue::Bulk(fence.analyzer.clone());
        Disposition::Publish(queue, vec![Message::Fence(Fence { bulk: true, ..fence })])
    }

    async fn work(
        &self,
        intake: Intake,
        before: u32,
        revision: &Revision,
        hold: &mut Option<Hold>,
    ) -> Disposition {
        let name = self.analyzer.name();
        let Some(want) = intake.wants.iter().find(|want| want.analyzer == *name) else {
            return Disposition::Reject(format!("the job does not ask for the analyzer '{name}'"));
        };
        let mut news = Vec::new();
        if want.revision.as_ref().is_some_and(|wanted| wanted != revision) {
            news.push(supersede(&intake, want, revision));
        }
        let request = self.request(&intake, revision);
        let hold = match self.ledger.claim(request.clone()).await {
            Ok(Claim::Withdrawn) => return Disposition::Needless("withdrawn"),
            Ok(Claim::Done) if news.is_empty() => return Disposition::Needless("duplicate"),
            Ok(Claim::Done) => return Disposition::Publish(Queue::Results, news),
            Ok(Claim::Free { batch }) => hold.insert(Hold::new(&self.ledger, request, batch)),
            Ok(Claim::Held { holder, until }) => {
                let reason = format!("{holder} works on it, until {until:.0} at least");
                return self.put_off(&intake, before, reason, Why::Held);
            }
            Ok(Claim::Paused { reason, all }) => {
                let why = if all { Why::AllPaused } else { Why::JobPaused };
                return self.put_off(&intake, before, reason, why);
            }
            Err(error) => {
                return self.put_off(&intake, before, error.to_string(), Why::Outage);
            }
        };
        let enqueued_at = intake.enqueued_at;
        let mut learned = None;
        let attempt = self.attempt(&intake, enqueued_at, hold.meter(), &mut learned);
        let mut result = hold.during(attempt).await;
        match &mut result {
            Ok(answer) => sign(&mut answer.provenance, hold),
            Err(error) => error.provenance.iter_mut().for_each(|how| sign(how, hold)),
        }
        let how = match &result {
            Ok(answer) => Some(&answer.provenance),
            Err(error) => error.provenance.as_deref(),
        };
        if let Some(how) = how {
            hold.during(hold.paid(how)).await;
        }
        let mut disposition = match result {
            Ok(answer) => {
                self.metrics.outcome(name.as_str(), answer.outcome.kind());
                let attempts = before.saturating_add(1);
                news.push(self.partial(&intake, revision, answer, attempts));
                Disposition::Publish(Queue::Results, news)
            }
            Err(error) => self.failed(&intake, before, revision, error, news, hold),
        };
        if let Disposition::Publish(_, messages) = &mut disposition {
            for message in messages {
                if let Message::Partial(partial) = message {
                    partial.image.clone_from(&learned);
                }
            }
        }
        disposition
    }

    /// The wish to work on this job, as an attempt of its own.
    fn request(&self, intake: &Intake, revision: &Revision) -> ClaimRequest {
        ClaimRequest {
            job: JobKey {
                digest: intake.image.digest,
                analyzer: self.analyzer.name().clone(),
                revision: revision.clone(),
            },
            attempt: AttemptId::new(rand::random()),
            holder: self.worker.clone(),
            batch: intake.sighting.as_ref().map(|sighting| sighting.batch),
            lease: self.lease,
        }
    }

    /// Fetches and analyzes. Panics of an analyzer count as crashes, overruns as transient failures.
    async fn attempt(
        &self,
        intake: &Intake,
        enqueued_at: Timestamp,
        meter: Meter,
        learned: &mut Option<ImageFacts>,
    ) -> Result<Answer, AnalyzeError> {
        let name = self.analyzer.name().as_str();
        let most = self.polite.fetcher().limits().bytes;
        // Of what nobody has read the size is not known. Room for the largest would let each of them wait for all others, and all
        // others for the slowest host: a usual size is taken for it until it is here.
        let is_unread = intake.image.is_unread();
        let size = if is_unread { USUAL_SIZE.min(most) } else { intake.image.bytes };
        let mut room = self.hand.room(size).await;
        let fetching = Instant::now();
        let digest = intake.image.digest;
        let bytes = fetch(&self.polite, digest, &intake.sources, self.keep_urls).await?;
        if is_unread {
            // Given back first: whoever keeps some while asking for more may wait for others who do the same.
            drop(room);
            room = self.hand.room(bytes.len() as u64).await;
        }
        let bytes = room.hold(bytes);
        if is_unread {
            *learned = learn(&bytes, digest, most).await;
        }
        reached(Failpoint::WorkerFetched);
        self.metrics.fetched(name, bytes.len(), fetching.elapsed());
        let _slot = self.slots.take().await;
        let started = Instant::now();
        let waited = since(enqueued_at);
        self.metrics.wait.with_label_values(&[name]).observe(waited.as_secs_f64());
        let deadline = started + self.job_deadline;
        let job = Job {
            image: learned.as_ref().unwrap_or(&intake.image).clone(),
            bytes,
            sources: intake.sources.clone(),
            needed: intake.dependence.texts.clone(),
            deadline,
            meter: meter.timing(self.metrics.decoding(name)),
        };
        let analysis = AssertUnwindSafe(self.analyzer.analyze(job)).catch_unwind();
        let mut result = match tokio::time::timeout_at(deadline + GRACE, analysis).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(AnalyzeError {
                class: FailureClass::Crash,
                reason: format!("the analyzer panicked: {}", panic_text(panic.as_ref())),
                provenance: None,
            }),
            Err(_) => Err(AnalyzeError {
                class: FailureClass::Transient,
                reason: format!(
                    "the analysis took longer than {} s (worker.job_deadline)",
                    self.job_deadline.as_secs()
                ),
                provenance: None,
            }),
        };
        reached(Failpoint::WorkerAnalyzed);
        self.metrics.stage(name, "analyze", started.elapsed());
        if let Some(provenance) = match &mut result {
            Ok(answer) => Some(&mut answer.provenance),
            Err(error) => error.provenance.as_deref_mut(),
        } {
            provenance.waited_ms = millis(waited);
            provenance.took_ms = millis(fetching.elapsed());
            provenance.worker.clone_from(&self.worker);
            provenance.trace = trace::current();
        }
        result
    }

    fn failed(
        &self,
        intake: &Intake,
        before: u32,
        revision: &Revision,
        error: AnalyzeError,
        mut news: Vec<Message>,
        hold: &Hold,
    ) -> Disposition {
        let AnalyzeError { class, reason, provenance } = error;
        self.metrics.failure(self.analyzer.name().as_str(), class);
        let spent = provenance.as_ref().and_then(|how| Spent::of(how, revision, Timestamp::now()));
        match self.policy.decide(class, before) {
            Decision::Retry { .. } if class == FailureClass::Outage => {
                let mut outage = self.put_off(intake, before, reason, Why::Outage);
                if let Disposition::Retry { deferred, .. } = &mut outage {
                    deferred.spent = spent;
                }
                outage
            }
            Decision::Retry { step, attempts } => {
                let delay = self.policy.steps.get(step).copied().unwrap_or(Duration::from_secs(10));
                tracing::info!(
                    digest = %intake.image.digest.short(), analyzer = %self.analyzer.name(), %class, attempts,
                    delay_seconds = delay.as_secs(), "attempt failed, will retry: {reason}"
                );
                let deferred = self.deferred(intake, class, reason, attempts, delay);
                let deferred = Deferred { spent, ..deferred };
                Disposition::Retry { deferred: Box::new(deferred), delay, why: Why::Failed }
            }
            Decision::Fail { attempts } => {
                tracing::warn!(
                    digest = %intake.image.digest.short(), analyzer = %self.analyzer.name(), %class, attempts,
                    "job failed: {reason}"
                );
                let outcome = Outcome::Failed { class, reason };
                self.metrics.outcome(self.analyzer.name().as_str(), outcome.kind());
                let provenance = provenance.map_or_else(
                    || {
                        let mut unknown = Provenance {
                            worker: self.worker.clone(),
                            trace: trace::current(),
                            ..Provenance::default()
                        };
                        sign(&mut unknown, hold);
                        unknown
                    },
                    |provenance| *provenance,
                );
                news.push(self.partial(
                    intake,
                    revision,
                    Answer { outcome, provenance, hash: None },
                    attempts,
                ));
                Disposition::Publish(Queue::Results, news)
            }
        }
    }

    /// Lets a job wait without spending an attempt. One that waits for a budget waits long: it can be a month.
    fn put_off(&self, intake: &Intake, before: u32, reason: String, why: Why) -> Disposition {
        let steps = &self.policy.steps;
        let step = if why == Why::JobPaused { steps.last() } else { steps.first() };
        let delay = step.copied().unwrap_or(Duration::from_secs(10));
        let deferred = self.deferred(intake, FailureClass::Outage, reason, before, delay);
        Disposition::Retry { deferred: Box::new(deferred), delay, why }
    }

    fn deferred(
        &self,
        intake: &Intake,
        class: FailureClass,
        reason: String,
        attempts: u32,
        delay: Duration,
    ) -> Deferred {
        let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
        Deferred {
            digest: intake.image.digest,
            analyzer: self.analyzer.name().clone(),
            class,
            reason,
            attempts,
            next_at: Timestamp::now().saturating_add(delay).unwrap_or(Timestamp::MAX),
            spent: None,
        }
    }

    fn partial(
        &self,
        intake: &Intake,
        revision: &Revision,
        answer: Answer,
        attempts: u32,
    ) -> Message {
        Message::Partial(Box::new(Partial {
            digest: intake.image.digest,
            analysis: Analysis {
                analyzer: self.analyzer.name().clone(),
                revision: revision.clone(),
                outcome: answer.outcome,
                attempts,
                finished_at: Timestamp::now(),
                provenance: answer.provenance,
            },
            hash: answer.hash,
            image: None,
        }))
    }

    /// The only place where a delivery is settled. Whatever is published is confirmed before the ack.
    async fn settle(
        &self,
        delivery: Delivery,
        disposition: Disposition,
        hold: Option<&Hold>,
    ) -> Handled {
        let name = self.analyzer.name().as_str();
        let started = Instant::now();
        let settled = match disposition {
            Disposition::Publish(queue, messages) => match self.publish(&queue, &messages).await {
                Ok(()) => {
                    reached(Failpoint::WorkerPublished);
                    if let Some(hold) = hold {
                        hold.end(Some(self.answer_lease));
                    }
                    delivery.ack().await.map_err(|error| chain(&error))
                }
                Err(reason) => {
                    // Nothing is lost: the delivery goes back to its queue and the answer will be made again.
                    self.metrics.count(name, "returned");
                    if let Some(hold) = hold {
                        hold.end(None);
                    }
                    drop(delivery);
                    return Handled::Outage(reason);
                }
            },
            Disposition::Needless(why) => {
                self.metrics.needless(name, why);
                delivery.ack().await.map_err(|error| chain(&error))
            }
            Disposition::Retry { deferred, delay, why } => {
                self.metrics.count(name, why.counted());
                let (attempts, reason) = (deferred.attempts, deferred.reason.clone());
                // The note comes first: a job in a delay queue without a note would look lost to the sweeper.
                if let Err(reason) =
                    self.publish(&Queue::Results, &[Message::Deferred(*deferred)]).await
                {
                    drop(delivery);
                    return Handled::Outage(reason);
                }
                reached(Failpoint::WorkerDeferred);
                let settled = delivery.retry(delay, attempts).await.map_err(|error| chain(&error));
                if let Some(hold) = hold {
                    hold.end(None);
                }
                match why {
                    Why::Outage => return Handled::Outage(reason),
                    Why::AllPaused => return Handled::Paused(reason),
                    Why::Failed | Why::Held | Why::JobPaused => settled,
                }
            }
            Disposition::Reject(reason) => {
                self.metrics.count(name, "rejected");
                tracing::error!(
                    analyzer = name,
                    "a message was set aside in the dead queue: {reason}"
                );
                delivery.reject(&reason).await.map_err(|error| chain(&error))
            }
        };
        reached(Failpoint::WorkerSettled);
        self.metrics.stage(name, "publish", started.elapsed());
        if let Err(reason) = settled {
            // The broker will deliver it again, and the ledger will then say that it is done.
            tracing::debug!(analyzer = name, "a delivery could not be settled: {reason}");
        }
        Handled::Settled
    }

    async fn publish(&self, queue: &Queue, messages: &[Message]) -> Result<(), String> {
        for message in messages {
            let body = message.encode().map_err(|error| chain(&error))?;
            let outgoing = Outgoing {
                id: message.id(),
                body: body.into(),
                routes: vec![queue.clone()],
                attempts: 0,
                traceparent: None,
            };
            let news = matches!(message, Message::Intake(_));
            self.broker.publish(outgoing).await.map_err(|error| chain(&error))?;
            if news {
                reached(Failpoint::WorkerSuperseded);
            }
        }
        Ok(())
    }
}

/// The want as this worker can answer it: a worker with another revision than the one asked for says so before it
/// answers, or the want would stay open for ever.
fn supersede(intake: &Intake, want: &Want, revision: &Revision) -> Message {
    Message::Intake(Intake {
        sighting: None,
        wants: vec![Want { analyzer: want.analyzer.clone(), revision: Some(revision.clone()) }],
        enqueued_at: Timestamp::now(),
        // What rules leave out was said once, at its time.
        dependence: Dependence {
            texts: Vec::new(),
            left_out: Vec::new(),
            needs: intake.dependence.needs.clone(),
        },
        ..intake.clone()
    })
}
