//! The options from the settings; the only module here that sees them.

use std::path::{Path, PathBuf};

use ocelli_media::Encoding;
use ocelli_runtime::Settings;
use ocelli_runtime::settings::{AnalyzerSettings, EndpointSettings, Protocol as Configured};

use ocelli_wiring::parts::decode_limits;

use crate::preparation::DEFAULT_MEMORY;
use crate::{
    EndpointOptions, InFlight, LlmOptions, Preparation, Prompt, PromptSource, Protocol, Timeouts,
};

impl Preparation {
    /// The setting bounds one image; all images at once share [`DEFAULT_MEMORY`], and one that needs more is decoded alone.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let memory = settings.limits.decode_memory.bytes().min(DEFAULT_MEMORY);
        Self::new(decode_limits(settings), memory)
    }
}

impl LlmOptions {
    /// Options of the analyzer `configured`.
    ///
    /// # Errors
    /// When it is not of kind `llm`, or an endpoint is no URL; the message names key and value.
    pub fn from_settings(
        _settings: &Settings,
        configured: &AnalyzerSettings,
    ) -> Result<Self, String> {
        let name = &configured.name;
        let llm = configured
            .llm()
            .ok_or_else(|| format!("the analyzer '{name}' is not of kind 'llm'"))?;
        let endpoints = llm
            .endpoints
            .iter()
            .map(|one| endpoint(one, llm.in_flight))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| format!("analyzers.\"{name}\".endpoints: {reason}"))?;
        let defaults = Self::default();
        let prompt = prompt(&llm.prompt);
        let required_sections = match &llm.required_sections {
            Some(sections) => sections.clone(),
            // An answer must have the headings that its prompt asks for.
            None => Prompt::load(&prompt, &defaults.language)
                .map_err(|error| format!("analyzers.\"{name}\".prompt: {error}"))?
                .headings(),
        };
        Ok(Self {
            name: name.clone(),
            protocol: match llm.protocol {
                Configured::Ollama => Protocol::Ollama,
                Configured::Openai => Protocol::OpenAi,
            },
            endpoints,
            model: llm.model.clone(),
            prompt,
            longest_side: llm.longest_side,
            encoding: Encoding::Jpeg { quality: llm.jpeg_quality },
            #[expect(clippy::cast_possible_truncation, reason = "a temperature needs no 53 bits")]
            temperatures: llm.temperatures.iter().map(|value| *value as f32).collect(),
            max_tokens: llm.max_tokens,
            context_tokens: llm.context_tokens,
            keep_alive: Some(format!("{}s", llm.keep_alive.as_secs())),
            required_sections,
            requests_per_minute: Some(llm.requests_per_minute).filter(|limit| *limit > 0),
            tokens_per_minute: Some(llm.tokens_per_minute).filter(|limit| *limit > 0),
            timeouts: Timeouts {
                connect: llm.connect_timeout,
                first_byte: llm.read_timeout,
                idle: llm.read_timeout.min(Timeouts::default().idle),
                total: llm.total_timeout,
                ..Timeouts::default()
            },
            ..defaults
        })
    }
}

/// A name without a slash or an extension is a shipped prompt; anything else is a file.
fn prompt(text: &str) -> PromptSource {
    let path = Path::new(text);
    if text.contains('/') || path.extension().is_some() {
        PromptSource::File(PathBuf::from(text))
    } else {
        PromptSource::Named { name: text.to_owned(), directory: None }
    }
}

fn endpoint(configured: &EndpointSettings, in_flight: usize) -> Result<EndpointOptions, String> {
    let masked = configured.url.masked();
    let url = configured
        .url
        .expose()
        .parse()
        .map_err(|error| format!("'{masked}' is not a URL: {error}"))?;
    Ok(EndpointOptions {
        api_key: configured.api_key.clone(),
        headers: configured.headers.clone(),
        in_flight: InFlight::Adaptive {
            min: 1,
            max: configured.in_flight.unwrap_or(in_flight).max(1),
        },
        ..EndpointOptions::new(url)
    })
}
