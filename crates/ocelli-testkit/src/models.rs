//! Doubles of model servers: they speak the wire formats of Ollama and of OpenAI's chat completions over real HTTP, and
//! **no model runs in them**. What they answer is computed from the request (the model asked, the digest of the image
//! received, the headings the prompt asks for), so that a test which looks at an answer sees whether prompt and image
//! arrived. They prove nothing about any model, and about real servers only what their documentation and source say.
//!
//! Ollama: `/api/chat` (`stream: false` only), `/api/show`, `/api/tags`, `/api/ps`, `/api/version`.
//! OpenAI: `/v1/chat/completions`, `/v1/models`.
//!
//! How a double misbehaves is a [`Behaviour`]: for all requests ([`ModelServer::set_behaviour`]), for the next ones in
//! order ([`ModelServer::script`]), or for one image ([`ModelServer::set_behaviour_for`]).

mod answer;
mod behaviour;
mod listen;
mod ollama;
mod openai;
mod respond;
mod state;

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

pub use answer::{answer_text, headings};
pub use behaviour::Behaviour;
pub use state::{Received, Stats};

use state::Shared;

/// Which wire format a double speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Ollama's own.
    Ollama,
    /// OpenAI's chat completions.
    OpenAi,
}

/// A model that a double says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// `gemma3:27b`.
    pub name: String,
    /// What `/api/tags` tells. Hexadecimal.
    pub digest: String,
    /// Whether it says that it can see.
    pub vision: bool,
}

impl Model {
    /// A model that can see; its digest is computed from its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let digest = ocelli_core::Digest::of(name.as_bytes()).to_string();
        Self { name: name.to_owned(), digest, vision: true }
    }

    /// The same without eyes.
    #[must_use]
    pub fn blind(name: &str) -> Self {
        Self { vision: false, ..Self::new(name) }
    }
}

impl From<&str> for Model {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// What a double is at its start. All but the protocol can be changed while it runs.
#[derive(Debug, Clone)]
pub struct ModelServerOptions {
    /// Wire format.
    pub protocol: Protocol,
    /// Models it has.
    pub models: Vec<Model>,
    /// How it answers.
    pub behaviour: Behaviour,
    /// Answers it works on at once; further requests wait, silently, as with Ollama and vLLM.
    pub slots: usize,
    /// How long one answer takes once it has a slot.
    pub latency: Duration,
    /// When set, requests without `Authorization: Bearer KEY` get 401.
    pub api_key: Option<String>,
}

impl Default for ModelServerOptions {
    /// An Ollama with the two models of the shipped analyzers, answering at once in 64 slots.
    fn default() -> Self {
        Self {
            protocol: Protocol::Ollama,
            models: vec!["gemma3:27b".into(), "llama3.2-vision:latest".into()],
            behaviour: Behaviour::Answer,
            slots: 64,
            latency: Duration::ZERO,
            api_key: None,
        }
    }
}

/// A running double on a free port of 127.0.0.1. Dropping it stops it and cuts its connections.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
}

impl ModelServer {
    /// Starts a double.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 can be bound: no test can go on then.
    pub async fn start(options: ModelServerOptions) -> Self {
        let shared = Shared::new(options);
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let stop = CancellationToken::new();
        let address =
            listen::spawn(local, shared.clone(), stop.clone()).await.expect("a free port");
        Self { address, shared, stop }
    }

    /// Base address, without a path.
    #[must_use]
    pub fn url(&self) -> Url {
        Url::parse(&format!("http://{}", self.address)).expect("an address is a valid URL")
    }

    /// Changes how it answers from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.shared.update(|state| state.options.behaviour = behaviour);
    }

    /// Answers about one image (by the digest of the bytes received) in its own way.
    pub fn set_behaviour_for(&self, image: &str, behaviour: Behaviour) {
        self.shared.update(|state| state.by_image.insert(image.to_owned(), behaviour));
    }

    /// Answers the next chat requests in these ways, in order; then as before.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.update(|state| state.script.extend(behaviours));
    }

    /// Replaces its models.
    pub fn set_models(&self, models: Vec<Model>) {
        self.shared.update(|state| state.options.models = models);
    }

    /// Replaces its latency.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.update(|state| state.options.latency = latency);
    }

    /// Replaces the key it asks for.
    pub fn set_api_key(&self, key: Option<&str>) {
        self.shared.update(|state| state.options.api_key = key.map(str::to_owned));
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Chat requests received so far, those that were answered with an error included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.stats().calls.values().sum()
    }

    /// The last chat requests (at most 1000), oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.read(|state| state.received.iter().cloned().collect())
    }

    /// Goes away: nothing listens any more, and every open connection is cut.
    pub fn go_down(&self) {
        self.stop.cancel();
    }

    /// Comes back at the same address.
    ///
    /// # Panics
    /// When the port was taken by somebody else in the meantime.
    pub async fn come_back(&mut self) {
        self.stop.cancel();
        self.stop = CancellationToken::new();
        let bound = listen::spawn(self.address, self.shared.clone(), self.stop.clone()).await;
        bound.expect("the port is still free");
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs a double as a program until the process ends.
///
/// # Errors
/// When `address` cannot be bound.
pub async fn serve_forever(
    address: SocketAddr,
    options: ModelServerOptions,
) -> std::io::Result<()> {
    let stop = CancellationToken::new();
    let _bound = listen::spawn(address, Shared::new(options), stop.clone()).await?;
    stop.cancelled().await;
    Ok(())
}
