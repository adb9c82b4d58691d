//! What types cannot say: ranges, addresses, and settings that must fit each other. Everything is checked before
//! anything is opened.

mod buckets;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use ocelli_core::needs::in_order;
use ocelli_core::phash::MOST_DISTANCE;
use ocelli_core::{AnalyzerName, Limit};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::analyzer::{
    AnalyzerSettings, Enabled, LlmSettings, OcrSettings, PriceSettings, Protocol, Reader,
};
use super::known::shell_name;
use super::model::{Settings, WebSettings};
use super::problem::Problem;
use super::show;
use super::tree::{Tree, key, path};
use super::units::ByteSize;
use crate::otlp::is_target;
use crate::telemetry::is_filter;

/// More frames of one image than anybody waits for.
const MOST_FRAMES: u32 = 50;
/// Tesseract with one language needs about 100 MB of address space; below this every image would fail.
const LEAST_OCR_MEMORY: ByteSize = ByteSize(128_000_000);

/// Half of what RabbitMQ 4 takes by default.
const MOST_RECORD_BYTES: u64 = 8 * 1024 * 1024;

/// Shorter tokens could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Analyzers that one may need: their texts travel in its jobs.
const MOST_NEEDS: usize = 16;

/// Adds every problem of `settings` to `problems`.
pub(crate) fn check(settings: &Settings, tree: &Tree, problems: &mut Vec<Problem>) {
    let mut checker = Checker { tree, problems };
    checker.services(settings);
    checker.numbers(settings);
    checker.process(settings);
    checker.objects(&settings.objects);
    checker.kept(&settings.data);
    checker.names(settings);
    checker.needs(settings);
    for analyzer in &settings.analyzers {
        checker.analyzer(analyzer);
    }
    checker.budgets(settings);
    checker.rules(settings);
    checker.events(settings);
}

struct Checker<'a> {
    tree: &'a Tree,
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    /// Reports the value at `parts` unless `ok`.
    fn need(&mut self, ok: bool, parts: &[&str], reason: &str) {
        if ok {
            return;
        }
        let at = path(parts);
        let value = self.tree.get(&at).cloned().unwrap_or(Value::Null);
        self.problems.push(Problem::Value {
            origin: self.tree.origin(&at).to_owned(),
            key: key(&at),
            value: show::text(&at, &value),
            reason: reason.to_owned(),
        });
    }

    fn services(&mut self, settings: &Settings) {
        let broker = &settings.broker;
        let url = broker.url.expose();
        let ok = match broker.url.scheme() {
            "memory" => url == "memory:",
            "amqp" | "amqps" => has_host(url),
            _ => false,
        };
        let reason = "expected \"memory:\", \"amqp://host\" or \"amqps://host\"";
        self.need(ok, &["broker", "url"], reason);

        let url = settings.catalog.url.expose();
        let ok = match settings.catalog.url.scheme() {
            "sqlite" => url.len() > "sqlite:".len(),
            "postgres" | "postgresql" => Url::parse(url).is_ok(),
            _ => false,
        };
        let reason = "expected \"sqlite:/path/file.db\" or \"postgres://host/database\"";
        self.need(ok, &["catalog", "url"], reason);

        let name = &broker.namespace;
        let letters = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        let ok = (1..=64).contains(&name.len()) && letters;
        self.need(ok, &["broker", "namespace"], "expected 1 to 64 of a-z, 0-9, '.', '-', '_'");

        let steps = &broker.delay_steps;
        let ok = steps.first().is_some_and(|first| !first.is_zero())
            && steps.windows(2).all(|pair| pair[0] < pair[1]);
        let reason = "expected at least one step, each longer than the one before";
        self.need(ok, &["broker", "delay_steps"], reason);

        let beat = broker.heartbeat;
        let ok = (2..=3600).contains(&beat.as_secs()) && beat.subsec_nanos() == 0;
        self.need(ok, &["broker", "heartbeat"], "expected whole seconds from 2s to 1h");
    }

    fn numbers(&mut self, settings: &Settings) {
        let (limits, retry) = (&settings.limits, &settings.retry);
        let (broker, worker) = (&settings.broker, &settings.worker);
        let (collector, producer) = (&settings.collector, &settings.producer);
        let search = &settings.search;
        let counts: [(&[&str], u64); 26] = [
            (&["catalog", "connections"], settings.catalog.connections.into()),
            (&["broker", "confirm_window"], broker.confirm_window as u64),
            (&["broker", "queue_capacity"], broker.queue_capacity.into()),
            (&["limits", "image_bytes"], limits.image_bytes.bytes()),
            (&["limits", "image_side"], limits.image_side.into()),
            (&["limits", "image_pixels"], limits.image_pixels),
            (&["limits", "image_pages"], limits.image_pages.into()),
            (&["limits", "decode_memory"], limits.decode_memory.bytes()),
            (&["limits", "convert_memory"], limits.convert_memory.bytes()),
            (&["limits", "needed_text"], limits.needed_text.bytes()),
            (&["limits", "archive_bytes"], limits.archive_bytes.bytes()),
            (&["limits", "archive_members"], limits.archive_members),
            (&["retry", "transient_attempts"], retry.transient_attempts.into()),
            (&["retry", "crash_attempts"], retry.crash_attempts.into()),
            (&["retry", "quality_attempts"], retry.quality_attempts.into()),
            (&["collector", "batch"], collector.batch as u64),
            (&["collector", "prefetch"], collector.prefetch.into()),
            (&["producer", "batch"], producer.batch as u64),
            (&["search", "query_characters"], search.query_characters as u64),
            (&["search", "query_terms"], search.query_terms as u64),
            (&["search", "query_depth"], search.query_depth as u64),
            (&["search", "counted"], search.counted),
            (&["search", "term_characters"], search.term_characters as u64),
            (&["producer", "fetchers"], producer.fetchers as u64),
            (&["producer", "fetch_attempts"], producer.fetch_attempts.into()),
            (&["producer", "host_connections"], producer.host_connections as u64),
        ];
        for (at, number) in counts {
            self.need(number >= 1, at, "expected at least 1");
        }
        // Lines of lists are not longer than 64 KiB, and columns go into messages of a few megabytes.
        let ok = producer.meta_bytes <= ByteSize(1024 * 1024);
        self.need(ok, &["producer", "meta_bytes"], "expected at most 1MiB");
        // Each is a condition in a condition of one statement.
        let reason = "expected at most 50";
        self.need(search.query_depth <= 50, &["search", "query_depth"], reason);
        let reason = "expected at most 1000";
        self.need(search.query_terms <= 1000, &["search", "query_terms"], reason);
        let reason = format!("expected 0 to {MOST_DISTANCE}");
        self.need(settings.near.distance <= MOST_DISTANCE, &["near", "distance"], &reason);
        let rate = producer.host_requests_per_second;
        let at = &["producer", "host_requests_per_second"];
        self.need(rate.is_finite() && rate >= 0.0, at, "expected a number that is not negative");
        // Several of them must fit into one message.
        let ok = limits.needed_text <= ByteSize(256 * 1024);
        self.need(ok, &["limits", "needed_text"], "expected at most 256KiB");
        let ok = collector.keep_payments >= Duration::from_secs(24 * 3600);
        self.need(ok, &["collector", "keep_payments"], "expected at least 1d");
        let ok = collector.dispatch_lease >= Duration::from_secs(1);
        self.need(ok, &["collector", "dispatch_lease"], "expected at least 1s");
        let times: [(&[&str], Duration); 15] = [
            (&["catalog", "operation_timeout"], settings.catalog.operation_timeout),
            (&["broker", "connect_timeout"], broker.connect_timeout),
            (&["broker", "operation_timeout"], broker.operation_timeout),
            (&["limits", "decode_deadline"], limits.decode_deadline),
            (&["limits", "convert_deadline"], limits.convert_deadline),
            (&["limits", "http_connect_timeout"], limits.http_connect_timeout),
            (&["limits", "http_read_timeout"], limits.http_read_timeout),
            (&["limits", "http_total_timeout"], limits.http_total_timeout),
            (&["worker", "probe_every"], worker.probe_every),
            (&["worker", "announce_every"], worker.announce_every),
            (&["worker", "claim_lease"], worker.claim_lease),
            (&["collector", "sweep_every"], collector.sweep_every),
            (&["collector", "fence_patience"], collector.fence_patience),
            (&["collector", "heartbeat_every"], collector.heartbeat_every),
            (&["worker", "stall_after"], worker.stall_after),
        ];
        for (at, time) in times {
            self.need(!time.is_zero(), at, "expected more than 0s");
        }
    }

    fn events(&mut self, settings: &Settings) {
        let events = &settings.events;
        self.need(
            !events.publish || !settings.broker.is_memory(),
            &["events", "publish"],
            "nobody can listen to the queues of one process; use a [[webhook]], or a broker.url of RabbitMQ",
        );
        let fits = (1024..=MOST_RECORD_BYTES).contains(&events.record_bytes.bytes());
        self.need(fits, &["events", "record_bytes"], "expected 1KiB to 8MiB");
        let grows = !events.retry_first.is_zero() && events.retry_first <= events.retry_longest;
        self.need(
            grows,
            &["events", "retry_first"],
            "expected more than 0s, and at most retry_longest",
        );
        self.need(!events.lease.is_zero(), &["events", "lease"], "expected more than 0s");
        for webhook in &settings.webhooks {
            let reason =
                format!("expected more than the timeout of the webhook '{}'", webhook.name);
            self.need(events.lease > webhook.timeout, &["events", "lease"], &reason);
        }
    }

    /// A budget in money bounds something only where what it is about has prices, and in one currency.
    fn budgets(&mut self, settings: &Settings) {
        for (index, budget) in settings.budgets.iter().enumerate() {
            let index = index.to_string();
            let here = ["budget", &index];
            if let Some(name) = &budget.analyzer
                && settings.analyzer(name).is_none()
            {
                self.need(false, &here, &format!("there is no analyzer '{name}'"));
            }
            let Limit::Money { currency, .. } = &budget.limit else { continue };
            let wanted = settings.analyzers.iter().filter(|one| one.enabled != Enabled::No);
            let covered = wanted.filter(|one| budget.covers(&one.name));
            let priced: Vec<_> = covered
                .filter_map(|one| Some((&one.name, one.llm()?)))
                .filter(|(_, llm)| has_prices(llm))
                .collect();
            self.need(
                !priced.is_empty() || budget.analyzer.as_ref().is_some_and(|name| settings.analyzer(name).is_none()),
                &here,
                "nothing that it is about has prices, so it would never be used up; set prices, or bound the tokens",
            );
            for (name, llm) in priced {
                let reason = format!(
                    "the prices of '{name}' are in {}, not in {currency}; make one budget for each currency",
                    llm.currency
                );
                self.need(llm.currency == *currency, &here, &reason);
            }
        }
    }

    /// Rules are about analyzers that there are. What they ask is checked by whoever can read it.
    fn rules(&mut self, settings: &Settings) {
        let most = settings.limits.rules;
        let reason = format!("expected at most {most} rules (limits.rules)");
        self.need(settings.rules.len() <= most, &["rule"], &reason);
        for (index, rule) in settings.rules.iter().enumerate() {
            for name in rule.analyzers.iter().chain(&rule.after) {
                let all: Vec<_> = settings.analyzers.iter().map(|one| one.name.as_str()).collect();
                let reason = format!(
                    "the rule '{}' names '{name}', but there is no such analyzer; there are: {}",
                    rule.name,
                    all.join(", ")
                );
                let is_there = settings.analyzer(name).is_some();
                self.need(is_there, &["rule", &index.to_string()], &reason);
            }
        }
    }

    fn process(&mut self, settings: &Settings) {
        for (section, listen) in [("http", &settings.http.listen), ("web", &settings.web.listen)] {
            let ok = listen == "off"
                || listen
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            self.need(ok, &[section, "listen"], "expected \"address:port\" or \"off\"");
        }
        self.web(&settings.web);
        let reason = "expected error, warn, info, debug, trace, or a filter such as info,ocelli_broker=debug";
        self.need(is_filter(&settings.log.level), &["log", "level"], reason);

        let reason = "expected \"off\" or \"http://host:port\"";
        self.need(is_target(&settings.log.traces), &["log", "traces"], reason);

        // A job that still runs must not look hung.
        let wanted = settings.analyzers.iter().filter(|analyzer| analyzer.enabled != Enabled::No);
        let Some(slowest) = wanted.max_by_key(|analyzer| analyzer.job_deadline) else { return };
        let reason = format!("expected more than the job_deadline of analyzers.{}", slowest.name);
        let deadline = slowest.job_deadline;
        self.need(settings.worker.stall_after > deadline, &["worker", "stall_after"], &reason);
        let ok = settings.worker.answer_lease >= settings.worker.claim_lease;
        self.need(ok, &["worker", "answer_lease"], "expected at least worker.claim_lease");
    }

    fn web(&mut self, web: &WebSettings) {
        let long = |token: &SecretString| token.expose_secret().trim().len() >= SHORTEST_TOKEN;
        let reason = format!("expected at least {SHORTEST_TOKEN} characters");
        self.need(web.token.as_ref().is_none_or(long), &["web", "token"], &reason);
        let counts: [(&str, u64); 10] = [
            ("connections", web.connections as u64),
            ("rate", web.rate.into()),
            ("pictures", web.pictures.bytes()),
            ("upload_bytes", web.upload_bytes.bytes()),
            ("upload_files", web.upload_files as u64),
            ("exports", web.exports as u64),
            ("batch_queries", web.batch_queries as u64),
            ("batch_bytes", web.batch_bytes.bytes()),
            ("batch_hits", web.batch_hits.into()),
            ("saved_searches", web.saved_searches.into()),
        ];
        for (field, number) in counts {
            self.need(number >= 1, &["web", field], "expected at least 1");
        }
        let times = [
            ("request_timeout", web.request_timeout),
            ("upload_timeout", web.upload_timeout),
            ("export_stall", web.export_stall),
        ];
        for (field, time) in times {
            self.need(!time.is_zero(), &["web", field], "expected more than 0s");
        }
    }

    /// Two names that differ only in punctuation would share their environment variables.
    fn names(&mut self, settings: &Settings) {
        let mut taken = BTreeMap::new();
        for analyzer in &settings.analyzers {
            let name = analyzer.name.as_str();
            if let Some(other) = taken.insert(shell_name(name), name) {
                let reason =
                    format!("too much like '{other}': they would share environment variables");
                self.need(false, &["analyzers", name, "kind"], &reason);
            }
        }
    }

    /// What an analyzer needs must be there whenever it is, and must not need it in turn.
    fn needs(&mut self, settings: &Settings) {
        let wanted: Vec<&AnalyzerSettings> =
            settings.analyzers.iter().filter(|one| one.enabled != Enabled::No).collect();
        for analyzer in &wanted {
            let at = ["analyzers", analyzer.name.as_str(), "needs"];
            let needs = analyzer.needs();
            self.need(needs.len() <= MOST_NEEDS, &at, &format!("expected at most {MOST_NEEDS}"));
            for (index, name) in needs.iter().enumerate() {
                let double = needs[..index].contains(name);
                self.need(!double, &at, &format!("it names '{name}' twice"));
                let reason = match settings.analyzer(name).map(|need| need.enabled) {
                    None => {
                        let all: Vec<_> =
                            settings.analyzers.iter().map(|one| one.name.as_str()).collect();
                        format!("there is no analyzer '{name}'; there are: {}", all.join(", "))
                    }
                    Some(Enabled::No) => format!("the analyzer '{name}' is switched off"),
                    Some(Enabled::Auto) if analyzer.enabled == Enabled::Yes => format!(
                        "'{name}' is only on while it can work (enabled = \"auto\"), and this one always: \
                         set one of them as the other"
                    ),
                    Some(_) => continue,
                };
                self.need(false, &at, &reason);
            }
        }
        if let Err(circle) = in_order(&wanted, |one| &one.name, |one| one.needs()) {
            let names: Vec<_> = circle.iter().map(AnalyzerName::as_str).collect();
            let at = ["analyzers", names.first().copied().unwrap_or_default(), "needs"];
            let reason = format!("they would wait for each other: {}", names.join(" needs "));
            self.need(false, &at, &reason);
        }
    }

    fn analyzer(&mut self, analyzer: &AnalyzerSettings) {
        let name = analyzer.name.as_str();
        let deadline = analyzer.job_deadline;
        self.need(
            !deadline.is_zero(),
            &["analyzers", name, "job_deadline"],
            "expected more than 0s",
        );
        match &analyzer.reader {
            Reader::Ocr(ocr) => self.ocr(name, deadline, ocr),
            Reader::Llm(llm) => self.llm(name, deadline, llm),
        }
    }

    fn ocr(&mut self, name: &str, deadline: Duration, ocr: &OcrSettings) {
        let at = |field| ["analyzers", name, field];
        let language = |part: &str| {
            !part.is_empty()
                && !part.contains("..")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/.".contains(&b))
        };
        let ok = ocr.languages.split('+').all(language);
        self.need(ok, &at("languages"), "expected language codes joined by '+', such as eng+deu");
        let ok = !ocr.soft_deadline.is_zero() && ocr.soft_deadline < ocr.hard_deadline;
        self.need(ok, &at("soft_deadline"), "expected more than 0s and less than hard_deadline");
        let ok = ocr.hard_deadline <= deadline;
        self.need(ok, &at("hard_deadline"), "expected at most job_deadline");
        self.need(!ocr.start_deadline.is_zero(), &at("start_deadline"), "expected more than 0s");
        let reason = format!("expected at least {LEAST_OCR_MEMORY}");
        self.need(ocr.memory >= LEAST_OCR_MEMORY, &at("memory"), &reason);
        self.need((1..=MOST_FRAMES).contains(&ocr.frames), &at("frames"), "expected 1 to 50");
        let ok = (0.0..=100.0).contains(&ocr.sufficient_confidence);
        self.need(ok, &at("sufficient_confidence"), "expected 0 to 100");
        self.need(ocr.images_per_child >= 1, &at("images_per_child"), "expected at least 1");
        let ok = ocr.recycle_memory.bytes() >= 1;
        self.need(ok, &at("recycle_memory"), "expected more than 0B");
    }

    fn prices(&mut self, prices: &[PriceSettings], at: &[&str]) {
        let ok = prices.windows(2).all(|pair| pair[0].since < pair[1].since);
        self.need(ok, at, "expected the oldest first, and one for each date");
        let is_price = |price: f64| (0.0..=1e9).contains(&price);
        let ok = prices
            .iter()
            .all(|price| is_price(price.input_per_million) && is_price(price.output_per_million));
        self.need(ok, at, "expected prices of 0 or more");
    }

    fn llm(&mut self, name: &str, deadline: Duration, llm: &LlmSettings) {
        let at = |field| ["analyzers", name, field];
        self.need(!llm.endpoints.is_empty(), &at("endpoints"), "expected at least one");
        for (index, endpoint) in llm.endpoints.iter().enumerate() {
            let index = index.to_string();
            let here = ["analyzers", name, "endpoints", &index];
            let ok = matches!(endpoint.url.scheme(), "http" | "https")
                && has_host(endpoint.url.expose());
            self.need(ok, &here, "expected a URL that begins with http:// or https://");
            self.need(endpoint.in_flight != Some(0), &here, "expected an in_flight of at least 1");
            self.prices(endpoint.prices.as_deref().unwrap_or_default(), &here);
            for (header, value) in &endpoint.headers {
                let ok = HeaderName::try_from(header.as_str()).is_ok()
                    && HeaderValue::try_from(value.expose_secret()).is_ok();
                let reason = format!("'{header}' is not a name and value of an HTTP header");
                self.need(ok, &here, &reason);
            }
            if let Some(secret) = &endpoint.api_key {
                let ok = HeaderValue::try_from(secret.expose_secret()).is_ok();
                self.need(ok, &here, "its api_key has characters that no HTTP header can carry");
            }
        }
        self.need(!llm.model.trim().is_empty(), &at("model"), "expected the name of a model");
        self.need(
            !llm.prompt.trim().is_empty(),
            &at("prompt"),
            "expected the name of a prompt, or a file",
        );
        self.need(
            !llm.language.trim().is_empty(),
            &at("language"),
            "expected the name of a language",
        );
        let ok = llm.currency.len() == 3 && llm.currency.bytes().all(|b| b.is_ascii_uppercase());
        self.need(ok, &at("currency"), "expected three capital letters, such as USD");
        self.prices(&llm.prices, &at("prices"));
        let ok = (64..=16_384).contains(&llm.longest_side);
        self.need(ok, &at("longest_side"), "expected 64 to 16384 pixels");
        let ok = (1..=100).contains(&llm.jpeg_quality);
        self.need(ok, &at("jpeg_quality"), "expected 1 to 100");
        let ok = !llm.temperatures.is_empty()
            && llm.temperatures.iter().all(|temperature| (0.0..=2.0).contains(temperature));
        self.need(ok, &at("temperatures"), "expected at least one, each from 0 to 2");
        self.need(llm.max_tokens >= 1, &at("max_tokens"), "expected at least 1");
        let ok = llm.protocol != Protocol::Ollama || llm.context_tokens > llm.max_tokens;
        self.need(
            ok,
            &at("context_tokens"),
            "expected more than max_tokens: it holds prompt, image and answer",
        );
        self.need(llm.in_flight >= 1, &at("in_flight"), "expected at least 1");
        self.need(!llm.connect_timeout.is_zero(), &at("connect_timeout"), "expected more than 0s");
        self.need(!llm.read_timeout.is_zero(), &at("read_timeout"), "expected more than 0s");
        let ok = !llm.total_timeout.is_zero() && llm.total_timeout <= deadline;
        self.need(ok, &at("total_timeout"), "expected more than 0s and at most job_deadline");
    }
}

/// Whether any of its calls has a price.
fn has_prices(llm: &LlmSettings) -> bool {
    let own = |prices: &Vec<PriceSettings>| !prices.is_empty();
    !llm.prices.is_empty() || llm.endpoints.iter().any(|one| one.prices.as_ref().is_some_and(own))
}

fn has_host(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}
