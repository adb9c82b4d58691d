//! Everything that can be chosen about one analyzer, as plain values. Where they come from (files, environment) is not
//! known here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ocelli_core::AnalyzerName;
use ocelli_media::Encoding;
use secrecy::SecretString;
use thiserror::Error;
use url::Url;

use crate::answer_schema::AnswerSchema;
use crate::prices::Prices;

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Ollama's own interface: `/api/chat`, `/api/show`, `/api/tags`, `/api/version`.
    Ollama,
    /// OpenAI's chat completions, as vLLM, llama.cpp, LM Studio, SGLang, OpenRouter and others speak it.
    OpenAi,
}

impl Protocol {
    /// Lower-case name, as in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
        }
    }
}

/// One analyzer.
#[derive(Debug, Clone)]
pub struct LlmOptions {
    /// Name of the analyzer.
    pub name: AnalyzerName,
    /// What all endpoints speak.
    pub protocol: Protocol,
    /// Servers of the same model; work goes to the least loaded one. At least one.
    pub endpoints: Vec<EndpointOptions>,
    /// The model as the server names it: `gemma3:27b`.
    pub model: String,
    /// The prompt.
    pub prompt: PromptSource,
    /// Analyzers whose answers the prompt is given.
    pub needs: Vec<AnalyzerName>,
    /// Value of the prompt's variable `language`.
    pub language: String,
    /// Longest side in pixels of the image that is sent. Vision encoders work on tiles of 336 to 896 pixels; more than
    /// about 1500 costs tokens and shows nothing new.
    pub longest_side: u32,
    /// Encoding of the image that is sent.
    pub encoding: Encoding,
    /// Temperature of the first call and of each further call that a bad answer needs. Their number bounds the calls of
    /// one attempt. At least one.
    pub temperatures: Vec<f32>,
    /// Tokens the model may write. A truncated answer is asked for once more with twice as many.
    pub max_tokens: u32,
    /// Context window that Ollama is told to allocate. The same for every request of a model: a different one reloads it.
    pub context_tokens: u32,
    /// Name of the field for `max_tokens` on the OpenAI protocol.
    pub token_field: TokenField,
    /// How long Ollama keeps the model loaded after a request (`10m`, `-1` for ever).
    pub keep_alive: Option<String>,
    /// Whether a model that can think may; thinking is switched off when it left no answer.
    pub think: bool,
    /// Fields merged into the body of every chat request, for what a server offers beyond the protocol.
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// Headings an answer must have.
    pub required_sections: Vec<String>,
    /// The form of an answer that has to be JSON; `None`: Markdown or plain text.
    pub answer_schema: Option<AnswerSchema>,
    /// What calls cost.
    pub prices: Prices,
    /// Requests a minute over all endpoints together; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens (read and written) a minute over all endpoints together; `None`: no limit.
    pub tokens_per_minute: Option<u32>,
    /// Deadlines of one request.
    pub timeouts: Timeouts,
    /// How failing endpoints are treated.
    pub patience: Patience,
    /// Bytes of one response. A long answer is some tens of kilobytes.
    pub response_bytes: usize,
}

/// One server.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// Base address: `http://localhost:11434`, `https://openrouter.ai/api`. A trailing `/v1` is understood.
    pub url: Url,
    /// Sent as `Authorization: Bearer …`.
    pub api_key: Option<SecretString>,
    /// Further headers; taken for secrets.
    pub headers: BTreeMap<String, SecretString>,
    /// Certificates (PEM) of a private authority that are trusted beside those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Requests at once.
    pub in_flight: InFlight,
    /// What calls of this one cost, where it is not what they cost elsewhere.
    pub prices: Option<Prices>,
}

impl EndpointOptions {
    /// An endpoint without key and headers, with the default number of requests at once.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            api_key: None,
            headers: BTreeMap::new(),
            authorities: None,
            in_flight: InFlight::default(),
            prices: None,
        }
    }
}

/// Requests at once to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlight {
    /// Always this many: the server's own number of slots, and one to hide the network.
    Fixed(usize),
    /// Found by measuring: grows while more requests at once finish more answers a second, shrinks when the server says
    /// that it is busy.
    Adaptive {
        /// Never fewer; at least 1.
        min: usize,
        /// Never more.
        max: usize,
    },
}

impl InFlight {
    /// The largest number this may become.
    #[must_use]
    pub const fn most(self) -> usize {
        match self {
            Self::Fixed(n) => n,
            Self::Adaptive { max, .. } => max,
        }
    }
}

impl Default for InFlight {
    /// Adaptive from 1 (a home server with one slot) to 16 (memory for prepared images stays small).
    fn default() -> Self {
        Self::Adaptive { min: 1, max: 16 }
    }
}

/// What the OpenAI protocol calls the token budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenField {
    /// `max_tokens`: every compatible server.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`: OpenAI's newer models refuse the other.
    MaxCompletionTokens,
}

/// Where the prompt comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptSource {
    /// A prompt that ships (`critical-lenses`, `explain-meme`), or the file `NAME.md` of the directory when it has one.
    Named {
        /// Name without extension.
        name: String,
        /// Looked into first.
        directory: Option<PathBuf>,
    },
    /// A template file.
    File(PathBuf),
    /// The template itself.
    Text {
        /// For people.
        name: String,
        /// Template text.
        text: String,
    },
}

/// Deadlines of one request. The job's own deadline comes before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS. A server that is up does this in well under a second.
    pub connect: Duration,
    /// From sending to the first byte of the response: loading the model, reading the image and writing the whole
    /// answer, since answers are not streamed.
    pub first_byte: Duration,
    /// The longest silence inside a response body.
    pub idle: Duration,
    /// The whole request: ends a server that sends a byte now and then.
    pub total: Duration,
    /// The small requests of a probe.
    pub probe: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // A 27-billion-parameter model on a home machine writes 4,000 tokens in five to eight minutes.
            first_byte: Duration::from_secs(600),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(660),
            probe: Duration::from_secs(20),
        }
    }
}

/// How failing endpoints are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one job waits inside its attempt while no endpoint can be asked, before it is given back.
    pub outage: Duration,
    /// First pause of an endpoint that failed; doubles with each failure in a row.
    pub pause_floor: Duration,
    /// Longest pause of an endpoint that failed or that limits the rate of requests.
    pub pause_cap: Duration,
    /// Longest pause between two looks at an endpoint that is away while there is work, and of one that is loading or has
    /// too much to do and does not say for how long.
    pub return_cap: Duration,
    /// Longest `Retry-After` that is believed; a server that asks for more is asked again after this.
    pub retry_after_cap: Duration,
    /// Further requests of one attempt after a server error or a broken answer: it may be the image.
    pub server_error_retries: u32,
    /// Different images in a row that must fail before the endpoint, and not the images, is taken for broken.
    pub images_before_blame: usize,
    /// How often an endpoint's model is looked at again: someone may have pulled a newer one.
    pub recheck: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            outage: Duration::from_secs(30),
            pause_floor: Duration::from_secs(1),
            pause_cap: Duration::from_secs(60),
            // A look is a request of some bytes, and a server that is back should not wait for work.
            return_cap: Duration::from_secs(3),
            retry_after_cap: Duration::from_secs(600),
            server_error_retries: 2,
            images_before_blame: 3,
            recheck: Duration::from_secs(600),
        }
    }
}

impl Default for LlmOptions {
    fn default() -> Self {
        Self {
            name: "llm".parse().expect("a valid name"),
            protocol: Protocol::Ollama,
            endpoints: vec![EndpointOptions::new(
                Url::parse("http://localhost:11434").expect("a valid address"),
            )],
            model: String::new(),
            prompt: PromptSource::Named { name: "explain-meme".to_owned(), directory: None },
            needs: Vec::new(),
            language: "English".to_owned(),
            longest_side: 1280,
            encoding: Encoding::Jpeg { quality: 90 },
            // As olmocr: cold first, warmer when a loop has to be left.
            temperatures: vec![0.1, 0.3, 0.8],
            max_tokens: 4096,
            context_tokens: 8192,
            token_field: TokenField::default(),
            keep_alive: Some("10m".to_owned()),
            think: false,
            extra: serde_json::Map::new(),
            required_sections: Vec::new(),
            answer_schema: None,
            prices: Prices::default(),
            requests_per_minute: None,
            tokens_per_minute: None,
            timeouts: Timeouts::default(),
            patience: Patience::default(),
            response_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Options that cannot work. Found at start, before anything is opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// No model.
    #[error("analyzer {analyzer}: no model is named")]
    NoModel {
        /// Analyzer.
        analyzer: AnalyzerName,
    },
    /// No endpoint.
    #[error("analyzer {analyzer}: no endpoint is named")]
    NoEndpoint {
        /// Analyzer.
        analyzer: AnalyzerName,
    },
    /// Neither `http` nor `https`.
    #[error("analyzer {analyzer}: the endpoint {url} is not an http or https address")]
    Scheme {
        /// Analyzer.
        analyzer: AnalyzerName,
        /// Without credentials.
        url: String,
    },
    /// A value outside its range.
    #[error("analyzer {analyzer}: {field} is {value}, expected {expected}")]
    Range {
        /// Analyzer.
        analyzer: AnalyzerName,
        /// Option.
        field: &'static str,
        /// As given.
        value: String,
        /// In words.
        expected: &'static str,
    },
    /// Certificates that are none.
    #[error("analyzer {analyzer}: the certificates for {url} are not PEM")]
    Certificates {
        /// Analyzer.
        analyzer: AnalyzerName,
        /// Without credentials.
        url: String,
    },
    /// A header that HTTP does not allow. The value is not shown: it may be a secret.
    #[error(
        "analyzer {analyzer}: the header '{header}' has a name or value that HTTP does not allow"
    )]
    Header {
        /// Analyzer.
        analyzer: AnalyzerName,
        /// Name.
        header: String,
    },
}

impl LlmOptions {
    /// Checks every value that can be checked without the world.
    ///
    /// # Errors
    /// [`OptionsError`], the first that is found.
    pub fn check(&self) -> Result<(), OptionsError> {
        let analyzer = || self.name.clone();
        if self.model.trim().is_empty() {
            return Err(OptionsError::NoModel { analyzer: analyzer() });
        }
        if self.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint { analyzer: analyzer() });
        }
        for endpoint in &self.endpoints {
            if !matches!(endpoint.url.scheme(), "http" | "https") || !endpoint.url.has_host() {
                let url = crate::endpoint::shown(&endpoint.url);
                return Err(OptionsError::Scheme { analyzer: analyzer(), url });
            }
            if endpoint.in_flight.most() == 0 {
                return self.range("in_flight", 0, "at least 1");
            }
            if let InFlight::Adaptive { min, max } = endpoint.in_flight
                && (min == 0 || min > max)
            {
                return self.range("in_flight", format!("{min} to {max}"), "1 <= min <= max");
            }
        }
        if self.temperatures.is_empty() {
            return self.range("temperatures", "empty", "at least one");
        }
        if let Some(bad) = self.temperatures.iter().find(|t| !(0.0..=2.0).contains(*t)) {
            return self.range("temperatures", bad, "0 to 2");
        }
        if !(64..=16_384).contains(&self.longest_side) {
            return self.range("longest_side", self.longest_side, "64 to 16384 pixels");
        }
        if let Encoding::Jpeg { quality } = self.encoding
            && !(1..=100).contains(&quality)
        {
            return self.range("quality", quality, "1 to 100");
        }
        if !(1..=1_000_000).contains(&self.max_tokens) {
            return self.range("max_tokens", self.max_tokens, "1 to 1000000");
        }
        if self.protocol == Protocol::Ollama && self.context_tokens < self.max_tokens {
            return self.range(
                "context_tokens",
                self.context_tokens,
                "at least max_tokens, and room for the prompt and the image",
            );
        }
        if let Some(expected) = self.prices.problem() {
            let shown = format!("{} prices in '{}'", self.prices.table.len(), self.prices.currency);
            return self.range("prices", shown, expected);
        }
        for (field, limit) in [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
        ] {
            if limit == Some(0) {
                return self.range(field, 0, "at least 1");
            }
        }
        Ok(())
    }

    fn range(
        &self,
        field: &'static str,
        value: impl ToString,
        expected: &'static str,
    ) -> Result<(), OptionsError> {
        let (analyzer, value) = (self.name.clone(), value.to_string());
        Err(OptionsError::Range { analyzer, field, value, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable() -> LlmOptions {
        LlmOptions { model: "gemma3:27b".to_owned(), ..LlmOptions::default() }
    }

    #[test]
    fn the_defaults_need_only_a_model() {
        assert!(usable().check().is_ok());
        assert!(matches!(LlmOptions::default().check(), Err(OptionsError::NoModel { .. })));
    }

    #[test]
    fn every_value_out_of_range_is_named_at_start() {
        type Spoil = fn(&mut LlmOptions);
        let cases: [(&str, Spoil); 9] = [
            ("temperatures", |o| o.temperatures.clear()),
            ("temperatures", |o| o.temperatures = vec![f32::NAN]),
            ("longest_side", |o| o.longest_side = 1),
            ("quality", |o| o.encoding = Encoding::Jpeg { quality: 0 }),
            ("max_tokens", |o| o.max_tokens = 0),
            ("context_tokens", |o| o.context_tokens = 100),
            ("prices", |o| {
                let since = jiff::civil::date(2026, 1, 1);
                let (input_per_million, output_per_million) = (-1.0, 0.0);
                o.prices.table =
                    vec![crate::Price { since, input_per_million, output_per_million }];
            }),
            ("requests_per_minute", |o| o.requests_per_minute = Some(0)),
            ("in_flight", |o| o.endpoints[0].in_flight = InFlight::Fixed(0)),
        ];
        for (field, spoil) in cases {
            let mut options = usable();
            spoil(&mut options);
            let text = options.check().unwrap_err().to_string();
            assert!(text.contains(field), "{field}: {text}");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_web_address_is_refused_without_showing_its_password() {
        let mut options = usable();
        options.endpoints[0].url = Url::parse("ftp://me:secret@host/").unwrap();
        let text = options.check().unwrap_err().to_string();
        assert!(text.contains("ftp://host/") && !text.contains("secret"), "{text}");
    }
}
