//! The vision-LLM analyzer: asks a model server about an image, over the protocols of Ollama and OpenAI.
//!
//! [`LlmAnalyzer`] is what `ocelli-llm-worker` and the embedded tier run. One job goes through these rooms:
//!
//! | module | room for |
//! |---|---|
//! | [`options`] | everything that can be chosen, checked before anything is opened |
//! | [`prompt`] | templates: constant text first, the image last |
//! | [`preparation`] | decoding and encoding images again, off the async threads, within a bounded memory |
//! | `pool` | several endpoints: the least loaded one, requests at once, breaker, `Retry-After`, rates |
//! | `http` | one request with all its deadlines and bounds |
//! | `wire` | what goes over the wire, apart from the types used everywhere else |
//! | `failure` | what a failed request means |
//! | [`checks`] | whether an answer is one |
//! | [`answer_schema`] | the form of an answer that is asked for as JSON |
//! | `ladder` | what to change when it is not |
//! | `ask` | one answer from any endpoint, however many requests that takes |
//! | `probe` | whether the model is there and can see |
//! | `analyzer` | all of it in order |
//! | [`prices`] | what a call costs, from a table of dated prices |
//! | `spent` | what an answer took, into the provenance of an analysis |
//! | [`metrics`] | calls, tokens, seconds, money |
//!
//! Absent on purpose: queues, retries between attempts, the catalog. A model server never gets an address to fetch, only
//! bytes that were decoded and encoded again here. Nothing is streamed: an answer is checked as a whole.

mod analyzer;
pub mod answer_schema;
mod ask;
pub mod checks;
mod completion;
mod endpoint;
mod failure;
mod http;
mod ladder;
pub mod metrics;
pub mod options;
mod pool;
pub mod preparation;
pub mod prices;
mod probe;
pub mod prompt;
mod retry_after;
mod settings;
mod spent;
mod wire;

pub use analyzer::{LlmAnalyzer, LlmError};
pub use answer_schema::{AnswerSchema, AnswerSchemaError};
pub use metrics::LlmMetrics;
pub use options::{
    EndpointOptions, InFlight, LlmOptions, OptionsError, Patience, PromptSource, Protocol,
    Timeouts, TokenField,
};
pub use preparation::Preparation;
pub use prices::{Price, Prices};
pub use prompt::{Prompt, PromptError};
