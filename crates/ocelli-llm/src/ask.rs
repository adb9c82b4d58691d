//! One answer from any endpoint, however many requests that takes. Here stands what each kind of failure leads to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, Step};
use tokio::time::{Instant, sleep_until};

use crate::completion::Completion;
use crate::failure::{CallError, Kind};
use crate::metrics::{AnalyzerMetrics, CallResult};
use crate::options::LlmOptions;
use crate::pool::breaker::Evidence;
use crate::pool::{Lease, Pool};
use crate::{probe, wire};

/// Broken connections over one image before it is taken for the cause, although the endpoint was away afterwards.
const BREAKS: u32 = 3;
/// Images whose broken connections are remembered.
const REMEMBERED: usize = 1024;
/// Steps of one job: a long outage must not fill its record.
const MOST_STEPS: usize = 30;

/// Asks.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) options: Arc<LlmOptions>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) metrics: AnalyzerMetrics,
    suspects: Mutex<Suspects>,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) completion: Completion,
    /// Without credentials.
    pub(crate) endpoint: String,
    /// Its place among the endpoints.
    pub(crate) index: usize,
    pub(crate) digest: Option<String>,
    pub(crate) took: Duration,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) class: FailureClass,
    pub(crate) reason: String,
}

impl Unanswered {
    fn new(class: FailureClass, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into() }
    }
}

/// Images over which connections broke. A server that an image kills is away for a moment: seen alone, an outage.
#[derive(Debug, Default)]
struct Suspects {
    breaks: HashMap<Digest, u32>,
    order: VecDeque<Digest>,
}

impl Suspects {
    fn broke(&mut self, image: Digest) {
        if !self.breaks.contains_key(&image) {
            if self.order.len() == REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.breaks.remove(&oldest);
            }
            self.order.push_back(image);
        }
        *self.breaks.entry(image).or_default() += 1;
    }
}

/// What one job has been through.
struct Course<'a> {
    image: Digest,
    deadline: Instant,
    give_up: Option<Instant>,
    avoid: Option<usize>,
    server_errors: u32,
    broke: bool,
    /// Whether a server sent it away: come back later.
    sent_away: bool,
    /// Whether the request before had less time than requests are given, as the job's own ended sooner.
    cut: bool,
    last: Option<String>,
    steps: &'a mut Vec<Step>,
}

impl Course<'_> {
    /// A request that came to nothing becomes a step: whoever looks at the record sees what an answer cost.
    fn failed(&mut self, name: &str, lease: &Lease, reason: &str, took: Duration) {
        let reason = format!("{}: {reason}", lease.client().shown());
        tracing::debug!(%reason, "a request failed");
        if self.steps.len() < MOST_STEPS {
            self.steps.push(Step {
                name: name.to_owned(),
                reason: reason.clone(),
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                confidence: None,
            });
        }
        self.last = Some(reason);
    }
}

impl Asker {
    pub(crate) fn new(options: Arc<LlmOptions>, pool: Arc<Pool>, metrics: AnalyzerMetrics) -> Self {
        Self { options, pool, metrics, suspects: Mutex::default() }
    }

    /// Asks until there is an answer, or a reason why there is none. Failed requests become steps.
    pub(crate) async fn ask(
        &self,
        body: &Bytes,
        image: Digest,
        deadline: Instant,
        steps: &mut Vec<Step>,
    ) -> Result<Asked, Unanswered> {
        let mut course = Course {
            image,
            deadline,
            give_up: None,
            avoid: None,
            server_errors: 0,
            broke: false,
            sent_away: false,
            cut: false,
            last: None,
            steps,
        };
        loop {
            let lease = self
                .pool
                .lease(deadline, &mut course.give_up, course.avoid)
                .await
                .map_err(|none| self.no_endpoint(none.reason, &course))?;
            if lease.is_due_for_a_look()
                && let Err(reason) = self.look(&lease).await
            {
                course.failed("failed-look", &lease, &reason, Duration::ZERO);
                self.metrics.ended(CallResult::Failed);
                continue;
            }
            self.metrics.in_flight.set(i64::try_from(self.pool.open()).unwrap_or(i64::MAX));
            let begun = Instant::now();
            course.cut = deadline < begun + lease.client().patience();
            let result = self.request(&lease, body, deadline).await;
            let took = begun.elapsed();
            self.metrics.in_flight.set(i64::try_from(self.pool.open()).unwrap_or(i64::MAX) - 1);
            match result {
                Ok(completion) => {
                    lease.succeeded();
                    let tokens =
                        completion.tokens_in.unwrap_or(0) + completion.tokens_out.unwrap_or(0);
                    self.pool.spend_tokens(tokens);
                    let (endpoint, digest) = (lease.client().shown(), lease.digest());
                    let index = lease.index();
                    return Ok(Asked { completion, endpoint, index, digest, took });
                }
                Err(error) => {
                    self.metrics.ended(CallResult::Failed);
                    course.failed("failed-call", &lease, &error.reason, took);
                    self.after(&lease, &error, &mut course).await?;
                }
            }
        }
    }

    async fn request(
        &self,
        lease: &Lease,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Completion, CallError> {
        let protocol = self.options.protocol;
        let path = wire::chat_path(protocol);
        let (body, html) = lease.client().post(path, body.clone(), deadline).await?.ok()?;
        wire::completion(protocol, &body).map_err(|error| CallError::from_no_answer(error, html))
    }

    /// Looks at the model of an endpoint before it is used.
    async fn look(&self, lease: &Lease) -> Result<(), String> {
        let seen = match probe::look(lease.client(), &self.options).await {
            Ok(seen) => seen,
            Err(reason) => {
                lease.failed(Evidence::Endpoint, &reason);
                return Err(reason);
            }
        };
        self.pool.seen(lease.index(), seen.digest).map_err(str::to_owned)
    }

    /// Tells the pool what happened, and decides: `Ok` asks again, wherever that is possible next.
    async fn after(
        &self,
        lease: &Lease,
        error: &CallError,
        course: &mut Course<'_>,
    ) -> Result<(), Unanswered> {
        let reason = || format!("{}: {}", lease.client().shown(), error.reason);
        let blame = Evidence::Image(course.image);
        match error.kind {
            Kind::Unreachable | Kind::Stranger => {
                lease.failed(Evidence::Endpoint, &error.reason);
                Ok(())
            }
            Kind::Busy(busy) => {
                course.sent_away = true;
                lease.busy(busy, error.retry_after, &error.reason);
                Ok(())
            }
            Kind::Configuration => {
                tracing::warn!(analyzer = %self.options.name, reason = reason(), "set aside until a probe succeeds");
                lease.block(&error.reason);
                Ok(())
            }
            Kind::Image => {
                lease.answered();
                Err(Unanswered::new(FailureClass::Permanent, reason()))
            }
            Kind::Request => {
                lease.failed(blame, &error.reason);
                Err(if lease.is_blamed() {
                    let reason = format!("every request is refused: {}", reason());
                    Unanswered::new(FailureClass::Outage, reason)
                } else {
                    Unanswered::new(FailureClass::Permanent, reason())
                })
            }
            Kind::Silent => {
                // Silence alone does not tell a server that is away from an image that takes for ever.
                if let Err(away) = probe::look(lease.client(), &self.options).await {
                    lease.failed(Evidence::Endpoint, &away);
                    return Err(Unanswered::new(FailureClass::Outage, reason()));
                }
                // Nor does an image say anything that had only what the server's pauses left of its time.
                if course.sent_away && course.cut {
                    return Err(Unanswered::new(FailureClass::Outage, reason()));
                }
                lease.failed(blame, &error.reason);
                Err(Unanswered::new(self.class_of_failure(lease), reason()))
            }
            Kind::Server | Kind::Broke | Kind::Garbled => {
                if error.kind == Kind::Broke {
                    course.broke = true;
                    self.suspects
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .broke(course.image);
                }
                lease.failed(blame, &error.reason);
                course.server_errors += 1;
                if course.server_errors > self.options.patience.server_error_retries {
                    return Err(Unanswered::new(self.class_of_failure(lease), reason()));
                }
                course.avoid = Some(lease.index());
                let (floor, cap) = self.pool.retry_pause();
                let random = rand::random::<f64>();
                let pause =
                    ocelli_core::retry::backoff(course.server_errors, floor / 4, cap, random);
                sleep_until((Instant::now() + pause).min(course.deadline)).await;
                Ok(())
            }
        }
    }

    /// One image that fails is asked for again later; when all fail, none of them is the cause.
    fn class_of_failure(&self, lease: &Lease) -> FailureClass {
        if lease.is_blamed() { FailureClass::Outage } else { FailureClass::Transient }
    }

    fn no_endpoint(&self, reason: String, course: &Course<'_>) -> Unanswered {
        let breaks = {
            let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
            suspects.breaks.get(&course.image).copied().unwrap_or_default()
        };
        if course.broke && breaks >= BREAKS {
            let last = course.last.as_deref().unwrap_or_default();
            let reason = format!(
                "{breaks} connections broke while a model server worked on this image; {last}"
            );
            return Unanswered::new(FailureClass::Crash, reason);
        }
        Unanswered::new(FailureClass::Outage, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_connections_are_remembered_for_a_bounded_number_of_images() {
        let mut suspects = Suspects::default();
        for n in 0..REMEMBERED + 10 {
            suspects.broke(Digest::of(&n.to_le_bytes()));
            suspects.broke(Digest::of(&n.to_le_bytes()));
        }
        assert_eq!((suspects.breaks.len(), suspects.order.len()), (REMEMBERED, REMEMBERED));
        assert!(suspects.breaks.values().all(|breaks| *breaks == 2));
    }
}
