//! The options from the settings; the only module here that sees them.

use std::io::Read;
use std::path::{Path, PathBuf};

use ocelli_core::chain;
use ocelli_media::Encoding;
use ocelli_runtime::Settings;
use ocelli_runtime::settings::{
    AnalyzerSettings, EndpointSettings, ImageEncoding, LlmSettings, PriceSettings,
    Protocol as Configured, TokenField as ConfiguredField,
};

use ocelli_wiring::parts::{converter, decode_limits};

use crate::preparation::DEFAULT_MEMORY;
use crate::{
    AnswerSchema, EndpointOptions, InFlight, LlmOptions, Preparation, Price, Prices, Prompt,
    PromptSource, Protocol, Timeouts, TokenField,
};

impl Preparation {
    /// The setting bounds one image; all images at once share [`DEFAULT_MEMORY`], and one that needs more is decoded alone.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let memory = settings.limits.decode_memory.bytes().min(DEFAULT_MEMORY);
        Self::new(decode_limits(settings), memory)
            .with_deadline(settings.limits.decode_deadline)
            .with_converter(converter(settings))
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
            .map(|one| endpoint(one, llm))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| format!("analyzers.\"{name}\".endpoints: {reason}"))?;
        let defaults = Self::default();
        let prompt = prompt(&llm.prompt, llm.prompt_directory.as_deref());
        let answer_schema =
            llm.answer_schema.as_deref().map(AnswerSchema::load).transpose().map_err(|error| {
                format!("analyzers.\"{name}\".answer_schema: {}", chain(&error))
            })?;
        let required_sections = match &llm.required_sections {
            Some(sections) => sections.clone(),
            // JSON has no headings.
            None if answer_schema.is_some() => Vec::new(),
            // An answer must have the headings that its prompt asks for.
            None => Prompt::load(&prompt, &llm.language, &llm.needs)
                .map_err(|error| format!("analyzers.\"{name}\".prompt: {}", chain(&error)))?
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
            needs: llm.needs.clone(),
            language: llm.language.clone(),
            longest_side: llm.longest_side,
            encoding: match llm.encoding {
                ImageEncoding::Jpeg => Encoding::Jpeg { quality: llm.jpeg_quality },
                ImageEncoding::Png => Encoding::Png,
            },
            #[expect(clippy::cast_possible_truncation, reason = "a temperature needs no 53 bits")]
            temperatures: llm.temperatures.iter().map(|value| *value as f32).collect(),
            max_tokens: llm.max_tokens,
            context_tokens: llm.context_tokens,
            token_field: match llm.token_field {
                ConfiguredField::MaxTokens => TokenField::MaxTokens,
                ConfiguredField::MaxCompletionTokens => TokenField::MaxCompletionTokens,
            },
            think: llm.think,
            keep_alive: Some(format!("{}s", llm.keep_alive.as_secs())),
            required_sections,
            answer_schema,
            prices: prices(&llm.currency, &llm.prices),
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

fn prices(currency: &str, table: &[PriceSettings]) -> Prices {
    let price = |price: &PriceSettings| Price {
        since: price.since,
        input_per_million: price.input_per_million,
        output_per_million: price.output_per_million,
    };
    Prices { currency: currency.to_owned(), table: table.iter().map(price).collect() }
}

/// A name without a slash or an extension is a shipped prompt or one of the directory; anything else is a file.
fn prompt(text: &str, directory: Option<&Path>) -> PromptSource {
    let path = Path::new(text);
    if text.contains('/') || path.extension().is_some() {
        PromptSource::File(PathBuf::from(text))
    } else {
        PromptSource::Named { name: text.to_owned(), directory: directory.map(Path::to_owned) }
    }
}

fn endpoint(configured: &EndpointSettings, llm: &LlmSettings) -> Result<EndpointOptions, String> {
    let masked = configured.url.masked();
    let url = configured
        .url
        .expose()
        .parse()
        .map_err(|error| format!("'{masked}' is not a URL: {error}"))?;
    let authorities = configured
        .ca_file
        .as_ref()
        .map(|path| read(path).map_err(|error| format!("cannot read {}: {error}", path.display())))
        .transpose()?;
    let in_flight = configured.in_flight.unwrap_or(llm.in_flight).max(1);
    Ok(EndpointOptions {
        api_key: configured.api_key.clone(),
        headers: configured.headers.clone(),
        authorities,
        in_flight: if llm.in_flight_adaptive {
            InFlight::Adaptive { min: 1, max: in_flight }
        } else {
            InFlight::Fixed(in_flight)
        },
        prices: configured.prices.as_ref().map(|table| prices(&llm.currency, table)),
        ..EndpointOptions::new(url)
    })
}

/// A file of certificates, of at most 1 MiB: all authorities of a system are a fifth of that.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(1024 * 1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ocelli_runtime::settings::LoadOptions;
    use secrecy::ExposeSecret;

    use super::*;

    /// Options of an analyzer that is set up by `fields`.
    fn options(folder: &Path, fields: &str) -> Result<LlmOptions, String> {
        let file = folder.join("ocelli.toml");
        let text = format!(
            "[analyzers.mine]\nkind = \"llm\"\nmodel = \"m\"\nprompt = \"explain-meme\"\n{fields}"
        );
        std::fs::write(&file, text).unwrap();
        let settings = Settings::load(LoadOptions {
            standard_files: vec![file],
            config_file: None,
            overrides: Vec::new(),
            env: Some(BTreeMap::new()),
        });
        let settings = settings.unwrap().settings;
        let name = "mine".parse().unwrap();
        LlmOptions::from_settings(&settings, settings.analyzer(&name).unwrap())
    }

    #[test]
    fn what_can_be_chosen_can_be_set() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("explain-meme.md"), "In {{ language }}:\n## Joke\n").unwrap();
        let plain = options(folder.path(), "").unwrap();
        assert_eq!((plain.language.as_str(), plain.think), ("English", false));
        assert!(plain.required_sections.is_empty() && plain.prices.table.is_empty());
        assert_eq!(plain.endpoints[0].in_flight, InFlight::Adaptive { min: 1, max: 16 });

        let fields = format!(
            "prompt_directory = {:?}\nlanguage = \"German\"\nthink = true\nencoding = \"png\"\n\
             token_field = \"max_completion_tokens\"\nin_flight_adaptive = false\nin_flight = 3\n\
             currency = \"EUR\"\n\
             prices = [{{ since = \"2026-01-01\", input_per_million = 1, output_per_million = 2.5 }}]\n",
            folder.path()
        );
        let mine = options(folder.path(), &fields).unwrap();
        assert_eq!((mine.language.as_str(), mine.think), ("German", true));
        assert_eq!(
            (mine.encoding, mine.token_field),
            (Encoding::Png, TokenField::MaxCompletionTokens)
        );
        assert_eq!(mine.endpoints[0].in_flight, InFlight::Fixed(3));
        assert_eq!(mine.required_sections, ["Joke"], "of the prompt in the directory");
        let day = jiff::civil::date(2026, 5, 5);
        assert_eq!(mine.prices.cost_micros(day, Some(10), Some(4)), Some(20));
        mine.check().unwrap();
    }

    #[test]
    fn an_endpoint_has_its_own_key_headers_number_and_prices_in_the_currency_of_all() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "from-a-file\n").unwrap();
        let fields = format!(
            "currency = \"EUR\"\nprices = [{{ since = \"2026-01-01\", input_per_million = 1, output_per_million = 1 }}]\n\
             endpoints = [\"http://own:1\", {{ url = \"https://api.example/v1\", api_key_file = {:?}, in_flight = 64, \
             headers = {{ \"X-Title\" = \"memes\" }}, \
             prices = [{{ since = \"2026-01-01\", input_per_million = 3, output_per_million = 9 }}] }}]\n",
            folder.path().join("key")
        );
        let options = options(folder.path(), &fields).unwrap();
        options.check().unwrap();
        let (own, dear) = (&options.endpoints[0], &options.endpoints[1]);
        assert!(own.prices.is_none() && own.api_key.is_none());
        assert_eq!(own.in_flight, InFlight::Adaptive { min: 1, max: 16 });
        assert_eq!(dear.in_flight, InFlight::Adaptive { min: 1, max: 64 });
        assert_eq!(
            dear.api_key.as_ref().map(|key| key.expose_secret().trim()),
            Some("from-a-file")
        );
        assert_eq!(dear.headers["X-Title"].expose_secret(), "memes");
        let prices = dear.prices.as_ref().unwrap();
        let day = jiff::civil::date(2026, 5, 5);
        assert_eq!(options.prices.cost_micros(day, Some(10), Some(1)), Some(11));
        assert_eq!(prices.cost_micros(day, Some(10), Some(1)), Some(39));
        assert_eq!(prices.currency, "EUR");
    }

    #[test]
    fn files_that_are_missing_or_wrong_are_named_with_their_setting() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("schema.json"), "{\"type\": 3}").unwrap();
        let schema = format!("answer_schema = {:?}\n", folder.path().join("schema.json"));
        let endpoint = "endpoints = [{ url = \"https://h\", ca_file = \"no-such-file.pem\" }]\n";
        for (fields, words) in [
            (schema.as_str(), ["analyzers.\"mine\".answer_schema", "not a JSON Schema"]),
            ("answer_schema = \"none.json\"\n", ["answer_schema", "cannot read"]),
            (endpoint, ["endpoints", "cannot read no-such-file.pem"]),
        ] {
            let problem = options(folder.path(), fields).unwrap_err();
            assert!(words.iter().all(|word| problem.contains(word)), "{problem}");
        }
    }

    #[test]
    fn an_answer_in_json_needs_no_headings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s.json"), "{\"type\": \"object\"}").unwrap();
        let fields = format!("answer_schema = {:?}\n", folder.path().join("s.json"));
        let fields = fields.replace("explain-meme", "critical-lenses");
        let options = options(folder.path(), &fields).unwrap();
        assert!(options.answer_schema.is_some() && options.required_sections.is_empty());
    }
}
