//! The analyzer: prepare the image, ask, look at the answer, ask again where that helps, and say how it went.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant as Clock;

use futures_util::future::join_all;
use jiff::Timestamp;
use ocelli_core::{
    AnalyzerName, FailureClass, Outcome, PerceptualHash, Provenance, Revision, RevisionBuilder,
    Step, chain,
};
use ocelli_media::{Encoding, Prepare};
use ocelli_worker::{AnalyzeError, Analyzer, Answer, Job, Unavailable};
use thiserror::Error;

use crate::ask::{Asked, Asker, Unanswered};
use crate::checks::{self, Expected, Verdict};
use crate::completion::Call;
use crate::http::ClientError;
use crate::ladder::{Ladder, Rung};
use crate::metrics::{CallResult, LlmMetrics};
use crate::options::{LlmOptions, OptionsError};
use crate::pool::Pool;
use crate::preparation::{Preparation, PreparationError};
use crate::probe;
use crate::prompt::{Prompt, PromptError};
use crate::spent::Spent;
use crate::wire;

/// Counts changes of how images are prepared that change what a model sees, beyond what can be chosen.
const PREPARATION_VERSION: u32 = 1;
/// Encoded images between fetching and the end of their preparation: three photographs, or a hundred memes. A larger one
/// waits until it is the only one.
const BYTES_IN_HAND: u64 = 16 * 1024 * 1024;

/// Why an analyzer cannot be built. Found at start, before anything is opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LlmError {
    /// Options.
    #[error("the options of an analyzer cannot work")]
    Options(#[from] OptionsError),
    /// Prompt.
    #[error("analyzer {analyzer}: its prompt cannot be used")]
    Prompt {
        /// Analyzer.
        analyzer: AnalyzerName,
        /// Why.
        #[source]
        source: PromptError,
    },
    /// HTTP.
    #[error("analyzer {analyzer}: its HTTP client cannot be built")]
    Http {
        /// Analyzer.
        analyzer: AnalyzerName,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

/// A vision LLM behind one or several model servers.
#[derive(Debug)]
pub struct LlmAnalyzer {
    options: Arc<LlmOptions>,
    prompt: Prompt,
    ladder: Ladder,
    prepare: Prepare,
    preparation: Preparation,
    asker: Asker,
    /// Program that serves the model, as the last probe found it.
    engine: RwLock<String>,
}

impl LlmAnalyzer {
    /// Checks everything that can be checked without asking a server.
    ///
    /// # Errors
    /// [`LlmError`].
    pub fn new(
        options: LlmOptions,
        preparation: Preparation,
        metrics: &LlmMetrics,
    ) -> Result<Self, LlmError> {
        options.check()?;
        let analyzer = options.name.clone();
        let prompt = Prompt::load(&options.prompt, &options.language, &options.needs)
            .map_err(|source| LlmError::Prompt { analyzer: analyzer.clone(), source })?;
        let (longest_side, encoding) = (options.longest_side, options.encoding);
        let prepare = Prepare { longest_side, encoding, hash: true };
        let ladder = Ladder::new(&options);
        let engine = RwLock::new(options.protocol.name().to_owned());
        let options = Arc::new(options);
        let pool = Pool::new(Arc::clone(&options)).map_err(|error| match error {
            ClientError::Header(header) => {
                LlmError::Options(OptionsError::Header { analyzer: analyzer.clone(), header })
            }
            ClientError::Certificates(url) => {
                LlmError::Options(OptionsError::Certificates { analyzer: analyzer.clone(), url })
            }
            ClientError::Build(source) => LlmError::Http { analyzer: analyzer.clone(), source },
        })?;
        metrics.watch(analyzer.as_str(), &pool);
        let metrics = metrics.of(analyzer.as_str(), &options.prices.currency);
        let asker = Asker::new(Arc::clone(&options), pool, metrics);
        Ok(Self { options, prompt, ladder, prepare, preparation, asker, engine })
    }

    /// The prompt as it was found.
    #[must_use]
    pub const fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// Requests that may be under way at once now, over all endpoints that can be asked.
    #[must_use]
    pub fn places(&self) -> usize {
        self.asker.pool.places()
    }

    /// Asks every endpoint about itself. One that can work is enough.
    async fn look(&self) -> Result<Revision, Unavailable> {
        let pool = &self.asker.pool;
        let looks = pool.clients().iter().enumerate().map(async |(index, http)| {
            let blocked = pool.blocked(index);
            let seen = match probe::look(http, &self.options).await {
                Ok(seen) if blocked.is_some() => {
                    // Lists of models are often public: key and quota show only in an answer.
                    probe::ask_tiny(http, &self.options).await.map(|()| seen)
                }
                other => other,
            };
            (index, seen)
        });
        let mut problems = Vec::new();
        let mut found = None;
        for (index, seen) in join_all(looks).await {
            let shown = pool.clients()[index].shown();
            match seen {
                Err(reason) => problems.push(format!("{shown}: {reason}")),
                Ok(seen) => {
                    let first = found.get_or_insert_with(|| seen.clone());
                    pool.looked(index, seen.digest.clone());
                    if let Some(remark) = &seen.remark {
                        let model = &self.options.model;
                        tracing::info!(analyzer = %self.options.name, endpoint = %shown, "about the model '{model}': {remark}");
                    }
                    if first.digest != seen.digest {
                        // Its answers would be filed under a model that did not give them.
                        let model = &self.options.model;
                        let reason = format!(
                            "it has another version of '{model}' than the endpoints before it; pull the same one"
                        );
                        problems.push(format!("{shown}: {reason}"));
                        pool.block(index, reason);
                    }
                }
            }
        }
        let Some(seen) = found else {
            return Err(Unavailable { reason: problems.join("; ") });
        };
        for problem in &problems {
            tracing::warn!(analyzer = %self.options.name, %problem, "an endpoint cannot be used");
        }
        pool.pin(seen.digest.clone());
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = seen.engine;
        Ok(self.revision(seen.digest.as_deref()))
    }

    /// Everything that can change an answer. Endpoints, deadlines and rates cannot.
    fn revision(&self, model_digest: Option<&str>) -> Revision {
        let options = &self.options;
        let encoding = match options.encoding {
            Encoding::Jpeg { quality } => format!("jpeg {quality}"),
            Encoding::Png => "png".to_owned(),
        };
        let schema = options.answer_schema.as_ref().map(|schema| schema.value().to_string());
        let builder = RevisionBuilder::new("llm")
            .part("protocol", options.protocol.name())
            .part("model", &options.model)
            .part("model_digest", model_digest.unwrap_or_default())
            .part("prompt", self.prompt.text())
            .part("language", &options.language)
            .part("temperatures", format!("{:?}", options.temperatures))
            .part("max_tokens", options.max_tokens)
            .part("context_tokens", options.context_tokens)
            .part("think", options.think)
            .part("extra", serde_json::Value::Object(options.extra.clone()))
            .part("required_sections", options.required_sections.join("\n"))
            .part("longest_side", options.longest_side)
            .part("encoding", encoding)
            .part("preparation", PREPARATION_VERSION);
        // Parts that are not there change no revision of before.
        let builder = match schema {
            Some(schema) => builder.part("answer_schema", schema),
            None => builder,
        };
        if options.needs.is_empty() {
            return builder.build();
        }
        let needs: Vec<&str> = options.needs.iter().map(AnalyzerName::as_str).collect();
        builder.part("needs", needs.join(" ")).build()
    }

    async fn read(&self, job: Job) -> Result<Answer, AnalyzeError> {
        let begun = Clock::now();
        let mut provenance = Provenance {
            engine: self.engine.read().unwrap_or_else(PoisonError::into_inner).clone(),
            model: Some(self.options.model.clone()),
            model_digest: self.asker.pool.pinned(),
            prompt: Some(self.prompt.name().to_owned()),
            ..Provenance::default()
        };
        let mut hash = None;
        let result = self.answer(job, &mut provenance, &mut hash).await;
        provenance.took_ms = milliseconds(begun.elapsed());
        match result {
            Ok(outcome) => Ok(Answer { outcome, provenance, hash }),
            Err(Unanswered { class, reason }) => {
                Err(AnalyzeError { class, reason, provenance: Some(Box::new(provenance)) })
            }
        }
    }

    async fn answer(
        &self,
        job: Job,
        provenance: &mut Provenance,
        hash: &mut Option<PerceptualHash>,
    ) -> Result<Outcome, Unanswered> {
        let Job { image, bytes, sources, needed, deadline, meter } = job;
        let user = self.prompt.user(&image, &sources, &needed).map_err(|error| Unanswered {
            class: FailureClass::Permanent,
            reason: format!("the prompt cannot be made for this image: {error}"),
        })?;
        let begun = Clock::now();
        let picture = self.preparation.picture(bytes, &self.prepare);
        let (mut picture, looks, decoded) = match tokio::time::timeout_at(deadline, picture).await {
            Ok(prepared) => prepared.map_err(|error| {
                if matches!(error, PreparationError::Hangs(_)) {
                    self.asker.metrics.hangs.inc();
                }
                Unanswered { class: error.class(), reason: chain(&error) }
            })?,
            Err(_) => {
                let reason = "preparing the image took until the deadline of the job".to_owned();
                return Err(Unanswered { class: FailureClass::Transient, reason });
            }
        };
        *hash = looks;
        meter.decoded(decoded);
        provenance.steps.push(step("prepare", String::new(), begun));
        let mut rung = self.ladder.first();
        let mut why = format!("temperature {}", rung.temperature);
        let mut best: Option<(Verdict, Spent)> = None;
        loop {
            let call = Call {
                system: self.prompt.system(),
                user: &user,
                picture: Some(&picture),
                temperature: rung.temperature,
                max_tokens: rung.max_tokens,
                think_off: rung.think_off,
            };
            let body = wire::chat_body(&self.options, &call);
            picture.base64 = body.image;
            let asked =
                self.asker.ask(&body.bytes, image.digest, deadline, &mut provenance.steps).await;
            let asked = match asked {
                Ok(asked) => asked,
                // An answer with flags is worth more than none.
                Err(unanswered) => match best {
                    Some((verdict, _)) if !verdict.is_fatal() => {
                        self.asker.metrics.ended(CallResult::Kept);
                        return Ok(Outcome::Done(verdict.reading));
                    }
                    Some((_, spent)) => {
                        self.wasted(spent, provenance);
                        return Err(unanswered);
                    }
                    None => return Err(unanswered),
                },
            };
            let verdict = checks::judge(&asked.completion, self.expected());
            let spent = self.note(&asked, rung, &why, &verdict, provenance);
            let next = self.ladder.next(rung, &verdict);
            let better = best.as_ref().is_none_or(|(held, _)| verdict.badness() <= held.badness());
            if better {
                if let Some((_, waste)) = best.replace((verdict, spent)) {
                    self.wasted(waste, provenance);
                }
            } else {
                self.wasted(spent, provenance);
            }
            match next {
                Some((higher, reason)) => (rung, why) = (higher, reason),
                None => break,
            }
            meter.tell(provenance);
        }
        let Some((verdict, spent)) = best else {
            // The loop ends only after an answer was looked at.
            return Err(Unanswered {
                class: FailureClass::Quality,
                reason: "no answer".to_owned(),
            });
        };
        if verdict.is_fatal() {
            self.wasted(spent, provenance);
            return Err(Unanswered { class: FailureClass::Quality, reason: verdict.reason() });
        }
        self.asker.metrics.ended(CallResult::Kept);
        Ok(Outcome::Done(verdict.reading))
    }

    fn expected(&self) -> Expected<'_> {
        let LlmOptions { model, required_sections: sections, answer_schema, .. } = &*self.options;
        Expected { model, sections, schema: answer_schema.as_ref() }
    }

    fn wasted(&self, spent: Spent, provenance: &mut Provenance) {
        spent.is_waste(provenance);
        self.asker.metrics.wasted_tokens.inc_by(spent.tokens());
        self.asker.metrics.ended(CallResult::Rejected);
    }

    /// Writes one answer into the provenance and the metrics; what it took.
    fn note(
        &self,
        asked: &Asked,
        rung: Rung,
        why: &str,
        verdict: &Verdict,
        provenance: &mut Provenance,
    ) -> Spent {
        let own = self.options.endpoints.get(asked.index).and_then(|one| one.prices.as_ref());
        let prices = own.unwrap_or(&self.options.prices);
        let spent = Spent::on(&asked.completion, prices, Timestamp::now());
        spent.add_to(provenance, &prices.currency);
        let metrics = &self.asker.metrics;
        metrics.tokens_in.inc_by(spent.tokens_in.unwrap_or(0));
        metrics.tokens_out.inc_by(spent.tokens_out.unwrap_or(0));
        metrics.cost.inc_by(spent.micros.unwrap_or(0) as f64 / 1e6);
        metrics.seconds.observe(asked.took.as_secs_f64());
        provenance.endpoint = Some(asked.endpoint.clone());
        if asked.digest.is_some() {
            provenance.model_digest.clone_from(&asked.digest);
        }
        let found = if verdict.faults.is_empty() {
            String::new()
        } else {
            format!(" -> {}", verdict.reason())
        };
        provenance.steps.push(Step {
            name: format!("call-{}", rung.number + 1),
            reason: format!("{why}{found}"),
            took_ms: milliseconds(asked.took),
            confidence: None,
        });
        spent
    }
}

/// Places, and one job more for every eight: answers of equal length end together, and what comes next should be
/// prepared by then.
const fn with_preparation(places: usize) -> usize {
    places + 1 + places / 8
}

fn step(name: &str, reason: String, begun: Clock) -> Step {
    Step { name: name.to_owned(), reason, took_ms: milliseconds(begun.elapsed()), confidence: None }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Analyzer for LlmAnalyzer {
    fn name(&self) -> &AnalyzerName {
        &self.options.name
    }

    fn kind(&self) -> &'static str {
        "llm"
    }

    fn description(&self) -> String {
        let options = &self.options;
        let endpoints: Vec<_> = self.asker.pool.clients().iter().map(|http| http.shown()).collect();
        format!(
            "{} over {} at {}, prompt {}",
            options.model,
            options.protocol.name(),
            endpoints.join(", "),
            self.prompt.name()
        )
    }

    /// All places of all endpoints as they are known now, and what is being prepared meanwhile. A job that is in hand
    /// without a place only grows older.
    fn slots(&self) -> usize {
        with_preparation(self.asker.pool.places())
    }

    fn most_slots(&self) -> usize {
        let most = self.options.endpoints.iter().map(|endpoint| endpoint.in_flight.most());
        with_preparation(most.sum())
    }

    /// Images are let go as soon as they are prepared, so even hundreds of slots need few of them at once.
    fn bytes_in_hand(&self) -> u64 {
        BYTES_IN_HAND
    }

    async fn probe(&self) -> Result<Revision, Unavailable> {
        self.look().await
    }

    async fn analyze(&self, job: Job) -> Result<Answer, AnalyzeError> {
        self.read(job).await
    }
}
