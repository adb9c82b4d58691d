//! `[analyzers.NAME]`: one table per reader. What all kinds share is in [`AnalyzerSettings`], the rest in [`Reader`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use ocelli_core::AnalyzerName;
use secrecy::SecretString;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::secret::ServiceUrl;
use super::units::{ByteSize, duration};

/// One configured analyzer.
#[derive(Debug, Clone)]
pub struct AnalyzerSettings {
    /// Its name: the key of the table.
    pub name: AnalyzerName,
    /// Place in a record: smaller first, equal ones by name.
    pub order: i64,
    /// Whether it is wanted.
    pub enabled: Enabled,
    /// The longest time one job may take.
    pub job_deadline: Duration,
    /// Whether a job is claimed before it is done, so that no two workers do it at once.
    pub claim: bool,
    /// Whether it is asked of the first of near-identical images only.
    pub only_first: bool,
    /// What is particular to its kind.
    pub reader: Reader,
}

/// What is particular to one kind of analyzer.
#[derive(Debug, Clone)]
pub enum Reader {
    /// Tesseract.
    Ocr(OcrSettings),
    /// A vision model behind an HTTP endpoint.
    Llm(Box<LlmSettings>),
}

/// The kinds of analyzers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Tesseract.
    Ocr,
    /// A vision model behind an HTTP endpoint.
    Llm,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Ocr, Self::Llm];

    /// As written in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ocr => "ocr",
            Self::Llm => "llm",
        }
    }
}

impl AnalyzerSettings {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.reader {
            Reader::Ocr(_) => Kind::Ocr,
            Reader::Llm(_) => Kind::Llm,
        }
    }

    /// The analyzers whose answers it is given.
    #[must_use]
    pub fn needs(&self) -> &[AnalyzerName] {
        self.llm().map_or(&[], |llm| &llm.needs)
    }

    /// The OCR settings, if it is of that kind.
    #[must_use]
    pub const fn ocr(&self) -> Option<&OcrSettings> {
        match &self.reader {
            Reader::Ocr(ocr) => Some(ocr),
            Reader::Llm(_) => None,
        }
    }

    /// The LLM settings, if it is of that kind.
    #[must_use]
    pub fn llm(&self) -> Option<&LlmSettings> {
        match &self.reader {
            Reader::Llm(llm) => Some(llm),
            Reader::Ocr(_) => None,
        }
    }
}

/// Whether an analyzer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enabled {
    /// Always: a record is incomplete without it.
    Yes,
    /// Never.
    No,
    /// While it can work; records are complete without it otherwise.
    Auto,
}

impl<'de> Deserialize<'de> for Enabled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnabledVisitor;
        impl Visitor<'_> for EnabledVisitor {
            type Value = Enabled;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or \"auto\"")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Enabled, E> {
                Ok(if value { Enabled::Yes } else { Enabled::No })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Enabled, E> {
                match text {
                    "auto" => Ok(Enabled::Auto),
                    "true" => Ok(Enabled::Yes),
                    "false" => Ok(Enabled::No),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(EnabledVisitor)
    }
}

/// An analyzer of kind `ocr`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OcrSettings {
    /// Tesseract languages joined by `+`.
    pub languages: String,
    /// Folder of the trained data; none = Tesseract's own.
    pub data_path: Option<PathBuf>,
    /// Child processes; 0 = one per core.
    pub children: usize,
    /// When Tesseract is asked to stop.
    #[serde(deserialize_with = "duration")]
    pub soft_deadline: Duration,
    /// When the child is killed.
    #[serde(deserialize_with = "duration")]
    pub hard_deadline: Duration,
    /// When a child that has not loaded its data is given up.
    #[serde(deserialize_with = "duration")]
    pub start_deadline: Duration,
    /// Address space of one child.
    pub memory: ByteSize,
    /// Images after which a child is replaced.
    pub images_per_child: u32,
    /// Resident memory above which a child is replaced.
    pub recycle_memory: ByteSize,
    /// How the first pass looks for text.
    pub page_mode: PageMode,
    /// Frames of an animation that are read.
    pub frames: u32,
    /// Which passes may follow the first.
    pub effort: Effort,
    /// Mean confidence, 0 to 100, at which no further pass follows.
    pub sufficient_confidence: f32,
}

/// How Tesseract's first pass looks for text in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageMode {
    /// Columns, blocks and lines are found.
    Auto,
    /// One column of text of varying size.
    Column,
    /// One block of lines of one size.
    Block,
    /// Text anywhere, in no order.
    Sparse,
}

/// How far the reading of one image goes when the first pass is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// The first pass alone.
    Page,
    /// All passes that the image gives a reason for.
    Full,
}

/// An analyzer of kind `llm`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmSettings {
    /// How to talk to the endpoints.
    pub protocol: Protocol,
    /// Model servers, at least one.
    pub endpoints: Vec<EndpointSettings>,
    /// The model's name.
    pub model: String,
    /// A shipped prompt's name, or a file.
    pub prompt: String,
    /// Folder whose `NAME.md` come before the shipped prompts.
    pub prompt_directory: Option<PathBuf>,
    /// The analyzers whose answers its prompt is given.
    pub needs: Vec<AnalyzerName>,
    /// The language the prompt asks for.
    pub language: String,
    /// Headings an answer must have; none = those the prompt names.
    pub required_sections: Option<Vec<String>>,
    /// File with a JSON Schema that answers must follow.
    pub answer_schema: Option<PathBuf>,
    /// Longest side of the image that is sent, in pixels.
    pub longest_side: u32,
    /// Encoding of the image that is sent.
    pub encoding: ImageEncoding,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// The ladder of temperatures, at least one.
    pub temperatures: Vec<f64>,
    /// Whether a model that can think may.
    pub think: bool,
    /// Longest answer, in tokens.
    pub max_tokens: u32,
    /// What the protocol calls `max_tokens`.
    pub token_field: TokenField,
    /// Context window, in tokens (Ollama).
    pub context_tokens: u32,
    /// How long the server keeps the model loaded (Ollama).
    #[serde(deserialize_with = "duration")]
    pub keep_alive: Duration,
    /// Bound of connecting.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// Bound of silence.
    #[serde(deserialize_with = "duration")]
    pub read_timeout: Duration,
    /// Bound of one answer.
    #[serde(deserialize_with = "duration")]
    pub total_timeout: Duration,
    /// Requests one endpoint gets at once, at most.
    pub in_flight: usize,
    /// Whether the number of requests at once is found by trial; else it is always `in_flight`.
    pub in_flight_adaptive: bool,
    /// Requests per minute over all endpoints; 0 = no limit.
    pub requests_per_minute: u32,
    /// Tokens per minute over all endpoints; 0 = no limit.
    pub tokens_per_minute: u32,
    /// Currency of the prices.
    pub currency: String,
    /// What tokens cost, by date.
    pub prices: Vec<PriceSettings>,
}

/// From a day on tokens cost this much.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    /// The first day (UTC).
    pub since: Date,
    /// For a million tokens read.
    pub input_per_million: f64,
    /// For a million tokens written.
    pub output_per_million: f64,
}

/// Encoding of the image that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageEncoding {
    /// Small.
    Jpeg,
    /// Without loss.
    Png,
}

/// What the `chat/completions` protocol calls the token budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenField {
    /// Every compatible server.
    MaxTokens,
    /// Newer models of its inventor.
    MaxCompletionTokens,
}

/// How to talk to a model server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Ollama's `/api/chat`.
    Ollama,
    /// The `chat/completions` protocol.
    Openai,
}

/// One model server: a URL, or a table.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// Where it listens.
    pub url: ServiceUrl,
    /// Sent as a bearer token. `api_key_file` has been read into it.
    pub api_key: Option<SecretString>,
    /// Further headers of every request.
    pub headers: BTreeMap<String, SecretString>,
    /// Certificates of a private authority, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Requests at once; none = the analyzer's `in_flight`.
    pub in_flight: Option<usize>,
    /// What tokens cost here; none = the analyzer's `prices`.
    pub prices: Option<Vec<PriceSettings>>,
}

/// Fields of an endpoint's table; `api_key_file` is replaced by `api_key` before deserializing.
pub(crate) const ENDPOINT_FIELDS: [&str; 7] =
    ["url", "api_key", "api_key_file", "headers", "ca_file", "in_flight", "prices"];

impl<'de> Deserialize<'de> for EndpointSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: ServiceUrl,
            api_key: Option<SecretString>,
            #[serde(default)]
            headers: BTreeMap<String, SecretString>,
            ca_file: Option<PathBuf>,
            in_flight: Option<usize>,
            prices: Option<Vec<PriceSettings>>,
        }
        struct EndpointVisitor;
        impl<'de> Visitor<'de> for EndpointVisitor {
            type Value = EndpointSettings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL or a table with a url")
            }
            fn visit_str<E>(self, text: &str) -> Result<EndpointSettings, E> {
                Ok(EndpointSettings {
                    url: ServiceUrl::new(text),
                    api_key: None,
                    headers: BTreeMap::new(),
                    ca_file: None,
                    in_flight: None,
                    prices: None,
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndpointSettings, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(EndpointSettings {
                    url: table.url,
                    api_key: table.api_key,
                    headers: table.headers,
                    ca_file: table.ca_file,
                    in_flight: table.in_flight,
                    prices: table.prices,
                })
            }
        }
        deserializer.deserialize_any(EndpointVisitor)
    }
}
