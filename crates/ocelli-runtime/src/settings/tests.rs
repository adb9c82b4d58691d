//! Settings from layers to values, as `main` sees them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

mod secrets;

/// A folder for settings files, an environment and flags of its own.
struct Scene {
    folder: tempfile::TempDir,
    options: LoadOptions,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HOME".to_owned(), "/home/ada".to_owned());
        let options = LoadOptions {
            standard_files: Vec::new(),
            env: Some(BTreeMap::from([home])),
            ..LoadOptions::default()
        };
        Self { folder, options }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A file every process reads.
    fn standard(mut self, text: &str) -> Self {
        let path = self.write("standard.toml", text);
        self.options.standard_files.push(path);
        self
    }

    /// `--config FILE`
    fn file(mut self, text: &str) -> Self {
        self.options.config_file = Some(self.write("ocelli.toml", text));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.options.env.as_mut().unwrap().insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.options.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    fn load(&self) -> Loaded {
        Settings::load(self.options.clone()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error, with the scene's folder taken out.
    fn refused(&self) -> String {
        let error = Settings::load(self.options.clone()).map(|_| ()).unwrap_err();
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn shown(loaded: &Loaded, key: &str) -> (String, String) {
    let shown = loaded.show().iter().find(|shown| shown.key == key);
    let shown = shown.unwrap_or_else(|| panic!("{key} is not shown"));
    (shown.value.clone(), shown.origin.clone())
}

#[test]
fn the_defaults_need_no_file_and_are_complete() {
    let settings = Scene::new().load().settings;
    assert_eq!(settings.data.dir, Path::new("/home/ada/.local/share/ocelli"));
    assert_eq!(settings.catalog.url.expose(), "sqlite:/home/ada/.local/share/ocelli/catalog.db");
    assert!(settings.broker.is_memory());
    assert_eq!(settings.retry_policy(), ocelli_core::retry::RetryPolicy::default());
    assert_eq!(settings.limits.image_bytes, ByteSize(64 << 20));
    let names: Vec<_> =
        settings.analyzers.iter().map(|a| (a.name.as_str(), a.kind(), a.enabled)).collect();
    assert_eq!(
        names,
        [
            ("gemma3-27b-vision", Kind::Llm, Enabled::Auto),
            ("tesseract-ocr", Kind::Ocr, Enabled::Yes),
            ("llama3.2-vision", Kind::Llm, Enabled::Auto),
        ]
    );
    let llm = settings.analyzers[2].llm().unwrap();
    assert_eq!((llm.model.as_str(), llm.prompt.as_str()), ("llama3.2-vision", "explain-meme"));
    assert_eq!(llm.endpoints[0].url.expose(), "http://127.0.0.1:11434");
}

#[test]
fn what_listens_is_reached_from_this_machine_alone_until_it_is_told_otherwise() {
    let loaded = Scene::new().load();
    let keys = loaded.show().iter().map(|shown| shown.key.as_str());
    let keys: Vec<_> = keys.filter(|key| key.ends_with("listen")).collect();
    assert_eq!(keys, ["http.listen", "web.listen"]);
    let settings = &loaded.settings;
    for listen in [&settings.http.listen, &settings.web.listen] {
        let address: std::net::SocketAddr = listen.parse().unwrap();
        assert_eq!(address.ip(), std::net::Ipv4Addr::LOCALHOST, "{listen}");
    }
}

#[test]
fn later_layers_win_leaf_by_leaf() {
    let scene = Scene::new()
        .standard("[collector]\nbatch = 1\nlinger = \"1s\"\nprefetch = 1\nsweep_every = \"1s\"")
        .file("[collector]\nbatch = 2\nprefetch = 2\nsweep_every = \"2s\"")
        .variable("OCELLI_COLLECTOR__PREFETCH", "3")
        .variable("OCELLI_COLLECTOR__SWEEP_EVERY", "3s")
        .flag("collector.sweep_every", "4s");
    let loaded = scene.load();
    let collector = &loaded.settings.collector;
    assert_eq!((collector.batch, collector.prefetch), (2, 3));
    assert_eq!(collector.linger, Duration::from_secs(1));
    assert_eq!(collector.sweep_every, Duration::from_secs(4));
    let origin = |key| shown(&loaded, key).1;
    assert!(origin("collector.linger").ends_with("standard.toml line 3"));
    assert!(origin("collector.batch").ends_with("ocelli.toml line 2"));
    assert_eq!(origin("collector.prefetch"), "OCELLI_COLLECTOR__PREFETCH");
    assert_eq!(origin("collector.sweep_every"), "command line");
    assert_eq!(origin("worker.drain"), "default");
}

#[test]
fn a_standard_file_may_be_absent_but_the_named_one_must_exist() {
    let mut scene = Scene::new();
    let absent = scene.folder.path().join("absent.toml");
    scene.options.standard_files.push(absent.clone());
    assert!(scene.load().files.is_empty());
    scene.options.config_file = Some(absent);
    assert!(scene.refused().starts_with("settings: absent.toml: cannot be read: No such file"));
}

#[test]
fn an_unknown_key_names_the_file_the_line_and_the_nearest_key() {
    let scene = Scene::new().file("[broker]\nnamespace = \"memes\"\nhartbeat = \"5s\"\n");
    let expected = "settings: ocelli.toml line 3: unknown setting 'broker.hartbeat'; did you mean 'broker.heartbeat'?";
    assert_eq!(scene.refused(), expected);
}

#[test]
fn an_unknown_section_or_a_key_outside_its_section_is_explained() {
    let refused = Scene::new().file("[brokr]\nurl = \"memory:\"\n").refused();
    assert!(refused.contains("unknown setting 'brokr'; did you mean 'broker'?"), "{refused}");
    let refused = Scene::new().file("\"broker.url\" = \"memory:\"\n").refused();
    assert!(refused.contains("unknown setting 'broker.url'"), "{refused}");
    let refused = Scene::new().file("broker = 5\n").refused();
    assert!(
        refused.contains("ocelli.toml line 1: broker = …: expected a table: [broker]"),
        "{refused}"
    );
}

#[test]
fn an_unknown_variable_names_the_nearest_and_foreign_ones_are_left_alone() {
    let scene = Scene::new().variable("OCELLI_BROKER_URL", "memory:");
    let expected = "settings: unknown environment variable OCELLI_BROKER_URL; did you mean 'OCELLI_BROKER__URL'?";
    assert_eq!(scene.refused(), expected);
    Scene::new()
        .variable("OCELLI_CONFIG", "x")
        .variable("OCELLI_TEST_RABBITMQ", "x")
        .variable("OCELLI_SHARED_DATA", "x")
        .variable("OCELLI_SKIP_SETUP", "1")
        .variable("OCELLI_UP_PORT", "x")
        .variable("OCELLI_BROKER__URL", "")
        .variable("PATH", "x")
        .load();
}

#[test]
fn an_unknown_flag_key_is_refused() {
    let refused = Scene::new().flag("broker.ulr", "memory:").refused();
    let expected =
        "settings: command line: unknown setting 'broker.ulr'; did you mean 'broker.url'?";
    assert_eq!(refused, expected);
}

#[test]
fn a_wrong_type_names_key_value_expectation_and_place() {
    let text = "[broker]\nheartbeat = 5\nconfirm_window = \"many\"\n[limits]\nimage_bytes = \"50 parsecs\"\n";
    let refused = Scene::new().file(text).variable("OCELLI_WORKER__DRAIN", "soon").refused();
    for line in [
        "settings: 4 problems",
        "ocelli.toml line 2: broker.heartbeat = 5: expected a duration such as \"10s\" or \"1m30s\"",
        "ocelli.toml line 3: broker.confirm_window = \"many\": expected a whole number from 0",
        "ocelli.toml line 5: limits.image_bytes = \"50 parsecs\": expected a size such as \"50MB\" or \"512MiB\"",
        "OCELLI_WORKER__DRAIN: worker.drain = \"soon\": expected a duration such as \"10s\" or \"1m30s\"",
    ] {
        assert!(refused.contains(line), "{line} is missing in:\n{refused}");
    }
}

#[test]
fn all_problems_of_all_layers_are_listed_at_once() {
    let refused = Scene::new()
        .standard("[colector]\nbatch = 1\n")
        .file("[collector]\nbatch = 0\nlinger = 3\n[broker]\nurl = \"rabbit:\"\n")
        .variable("OCELLI_NO", "1")
        .flag("retry.crash_attempts", "0")
        .refused();
    let refused = refused.lines().collect::<Vec<_>>();
    let starts = [
        "settings: 6 problems",
        "  ocelli.toml line 2: collector.batch = 0: expected at least 1",
        "  ocelli.toml line 3: collector.linger = 3: expected a duration",
        "  ocelli.toml line 5: broker.url = \"rabbit:\": expected \"memory:\"",
        "  standard.toml line 1: unknown setting 'colector'; did you mean 'collector'?",
        "  command line: retry.crash_attempts = 0: expected at least 1",
        "  unknown environment variable OCELLI_NO",
    ];
    assert_eq!(refused.len(), starts.len(), "{refused:#?}");
    for (line, start) in refused.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}\nshould begin with\n{start}");
    }
}

#[test]
fn a_file_that_is_not_toml_names_the_line_and_shows_no_secret() {
    let refused = Scene::new().file("[broker]\nurl = \"amqp://u:secret@host\n").refused();
    assert!(refused.starts_with("settings: ocelli.toml line 2: not valid TOML: "), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
}

#[test]
fn a_shipped_analyzer_can_be_overridden_field_by_field() {
    let loaded = Scene::new()
        .file("[analyzers.\"llama3.2-vision\"]\nmodel = \"llama3.2-vision:90b\"\n[analyzers.gemma3-27b-vision]\nenabled = false\n")
        .variable("OCELLI_ANALYZERS__LLAMA3_2_VISION__ENDPOINTS", "http://one:1, http://two:2")
        .variable("OCELLI_ANALYZERS__TESSERACT_OCR__ENABLED", "auto")
        .flag("analyzers.llama3.2-vision.max_tokens", "77")
        .load();
    let settings = &loaded.settings;
    assert_eq!(settings.analyzers.len(), 3);
    assert_eq!(settings.analyzers[0].enabled, Enabled::No);
    assert_eq!(settings.analyzers[1].enabled, Enabled::Auto);
    let llama = settings.analyzer(&"llama3.2-vision".parse().unwrap()).unwrap().llm().unwrap();
    assert_eq!(llama.model, "llama3.2-vision:90b");
    assert_eq!((llama.prompt.as_str(), llama.max_tokens), ("explain-meme", 77));
    let urls: Vec<_> = llama.endpoints.iter().map(|endpoint| endpoint.url.expose()).collect();
    assert_eq!(urls, ["http://one:1", "http://two:2"]);
    let key = "analyzers.llama3.2-vision.model";
    assert!(shown(&loaded, key).1.ends_with("ocelli.toml line 2"));
}

#[test]
fn an_added_analyzer_gets_the_defaults_of_its_kind_and_its_place_by_order() {
    let text = "[analyzers.\"qwen2.5-vl\"]\nkind = \"llm\"\norder = 15\nprotocol = \"openai\"\nmodel = \"qwen\"\nprompt = \"transcribe\"\ntemperatures = [0, 0.5]\n[analyzers.deutsch]\nkind = \"ocr\"\norder = 15\nlanguages = \"deu+eng\"\n";
    let settings = Scene::new().file(text).load().settings;
    let names: Vec<_> = settings.analyzers.iter().map(|a| a.name.as_str()).collect();
    let expected =
        ["gemma3-27b-vision", "deutsch", "qwen2.5-vl", "tesseract-ocr", "llama3.2-vision"];
    assert_eq!(names, expected);
    let qwen = settings.analyzers[2].llm().unwrap();
    assert_eq!((qwen.protocol, qwen.longest_side), (Protocol::Openai, 1280));
    assert_eq!(qwen.temperatures, [0.0, 0.5]);
}

#[test]
fn prices_have_dates_in_order_and_one_currency() {
    let price = |since: &str, input: &str| {
        format!("{{ since = \"{since}\", input_per_million = {input}, output_per_million = 0.6 }}")
    };
    let table = |prices: &[String]| {
        let prices = prices.join(", ");
        format!("[analyzers.\"llama3.2-vision\"]\ncurrency = \"EUR\"\nprices = [{prices}]\n")
    };
    let good = table(&[price("2026-01-01", "0.15"), price("2026-07-01", "1")]);
    let settings = Scene::new().file(&good).load().settings;
    let llm = settings.analyzers[2].llm().unwrap();
    assert_eq!((llm.currency.as_str(), llm.prices.len()), ("EUR", 2));
    assert_eq!(llm.prices[1].input_per_million, 1.0);
    for (prices, reason) in [
        (vec![price("2026-07-01", "1"), price("2026-01-01", "1")], "expected the oldest first"),
        (vec![price("2026-01-01", "-1")], "expected prices of 0 or more"),
        (vec![price("2026-13-01", "1")], "analyzers.llama3.2-vision.prices"),
        (vec!["{ since = \"2026-01-01\" }".to_owned()], "missing field"),
    ] {
        let refused = Scene::new().file(&table(&prices)).refused();
        assert!(refused.contains(reason), "{refused}");
    }
    let dollars = good.replace("EUR", "dollars");
    let refused = Scene::new().file(&dollars).refused();
    assert!(refused.contains("expected three capital letters"), "{refused}");
}

#[test]
fn what_an_analyzer_needs_must_be_there_and_must_not_need_it() {
    let reader = |name: &str, more: &str| {
        format!("[analyzers.{name}]\nkind = \"llm\"\nmodel = \"m\"\nprompt = \"p\"\n{more}\n")
    };
    let loaded = Scene::new()
        .file(&(reader("b", "needs = [\"tesseract-ocr\"]") + &reader("a", "needs = [\"b\"]")))
        .load();
    let needs =
        |name: &str| loaded.settings.analyzer(&name.parse().unwrap()).unwrap().needs().to_vec();
    assert_eq!(needs("b")[0].as_str(), "tesseract-ocr");
    assert_eq!((needs("a")[0].as_str(), needs("tesseract-ocr").len()), ("b", 0));

    let circle = ["a", "b", "c"].iter().zip(["b", "c", "a"]);
    let circle: String =
        circle.map(|(name, need)| reader(name, &format!("needs = [\"{need}\"]"))).collect();
    for (file, words) in [
        (circle, "a needs b needs c needs a"),
        (reader("a", "needs = [\"a\"]"), "a needs a"),
        (reader("a", "needs = [\"teseract\"]"), "there is no analyzer 'teseract'; there are: "),
        (reader("a", "needs = [\"tesseract-ocr\", \"tesseract-ocr\"]"), "'tesseract-ocr' twice"),
        (
            reader("a", "enabled = true\nneeds = [\"b\"]") + &reader("b", ""),
            "only on while it can work",
        ),
        (
            reader("a", "needs = [\"tesseract-ocr\"]")
                + "[analyzers.tesseract-ocr]\nenabled = false\n",
            "'tesseract-ocr' is switched off",
        ),
        ("[analyzers.tesseract-ocr]\nneeds = [\"gemma3-27b-vision\"]\n".to_owned(), "unknown"),
    ] {
        let refused = Scene::new().file(&file).refused();
        assert!(refused.contains(words) && refused.contains(".needs"), "{refused}");
    }
}

#[test]
fn a_misspelt_analyzer_is_not_taken_for_a_new_one() {
    let refused = Scene::new().file("[analyzers.tesseract-orc]\nenabled = false\n").refused();
    let expected = "settings: ocelli.toml line 1: analyzers.tesseract-orc has no kind (\"ocr\" or \"llm\"); did you mean 'analyzers.tesseract-ocr'?";
    assert_eq!(refused, expected);
    let refused = Scene::new().file("[analyzers.new]\nkind = \"llm\"\nmodle = \"x\"\n").refused();
    assert!(
        refused
            .contains("unknown setting 'analyzers.new.modle'; did you mean 'analyzers.new.model'?"),
        "{refused}"
    );
    assert!(refused.contains("analyzers.new.model is missing"), "{refused}");
    assert!(refused.contains("analyzers.new.prompt is missing"), "{refused}");
    let refused = Scene::new().file("[analyzers.x]\nkind = \"lmm\"\n").refused();
    assert!(
        refused.contains("analyzers.x.kind = \"lmm\": expected \"ocr\" or \"llm\""),
        "{refused}"
    );
}

#[test]
fn analyzer_names_that_would_share_their_variables_are_refused() {
    let refused = Scene::new().file("[analyzers.tesseract_ocr]\nkind = \"ocr\"\n").refused();
    assert!(refused.contains("too much like 'tesseract-ocr'"), "{refused}");
    let refused = Scene::new().file("[analyzers.\"Big One\"]\nkind = \"ocr\"\n").refused();
    assert!(refused.contains("'Big One' is not an analyzer name"), "{refused}");
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused() {
    for (key, value, reason) in [
        ("http.listen", "9100", "expected \"address:port\" or \"off\""),
        ("broker.delay_steps", "1m,10s", "each longer than the one before"),
        ("broker.url", "memory:x", "expected \"memory:\""),
        ("catalog.url", "oracle://x", "expected \"sqlite:/path/file.db\""),
        ("log.level", "inof", "expected error, warn, info"),
        ("worker.stall_after", "1m", "the job_deadline of analyzers."),
        ("analyzers.tesseract-ocr.soft_deadline", "90s", "less than hard_deadline"),
        ("analyzers.tesseract-ocr.start_deadline", "0s", "more than 0s"),
        ("analyzers.tesseract-ocr.languages", "../../etc", "expected language codes"),
        ("analyzers.tesseract-ocr.page_mode", "fraktur", "auto"),
        ("analyzers.tesseract-ocr.frames", "0", "expected 1 to 50"),
        ("analyzers.tesseract-ocr.effort", "most", "`page` or `full`"),
        ("analyzers.tesseract-ocr.sufficient_confidence", "100.5", "expected 0 to 100"),
        ("analyzers.tesseract-ocr.sufficient_confidence", "-1", "expected 0 to 100"),
        ("analyzers.tesseract-ocr.sufficient_confidence", "high", "expected a number"),
        ("analyzers.tesseract-ocr.recycle_memory", "0B", "expected more than 0B"),
        ("analyzers.llama3.2-vision.endpoints", "localhost:11434", "http:// or https://"),
        ("analyzers.llama3.2-vision.temperatures", "3", "each from 0 to 2"),
        ("analyzers.llama3.2-vision.context_tokens", "100", "more than max_tokens"),
    ] {
        let refused = Scene::new().flag(key, value).refused();
        let start = format!("settings: command line: {key}");
        assert!(refused.starts_with(&start) && refused.contains(reason), "{key}: {refused}");
    }
}

#[test]
fn the_shipped_default_file_changes_nothing_when_it_is_used_as_a_settings_file() {
    let plain = Scene::new().load();
    let written = Scene::new().file(&default_toml()).load();
    let values = |loaded: &Loaded| -> Vec<_> {
        loaded.show().iter().map(|shown| (shown.key.clone(), shown.value.clone())).collect()
    };
    assert_eq!(values(&plain), values(&written));
}

#[test]
fn the_reference_in_the_documentation_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let expected = markdown();
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != expected && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(
        written == expected,
        "docs/settings.md is not what the settings say: run this test with UPDATE_DOCS=1"
    );
}

#[test]
fn every_setting_is_explained() {
    let reference = markdown();
    assert!(!reference.contains("|  |"), "a setting without explanation:\n{reference}");
    assert!(reference.contains("| `url`<br>`OCELLI_BROKER__URL` | `\"memory:\"` |"), "{reference}");
}

#[test]
fn budgets_are_read_exactly_and_mixed_currencies_are_refused() {
    let prices =
        "prices = [{ since = \"2026-01-01\", input_per_million = 1, output_per_million = 2 }]\n";
    let priced = |name: &str, currency: &str| {
        format!("[analyzers.\"{name}\"]\ncurrency = \"{currency}\"\n{prices}")
    };
    let both = priced("llama3.2-vision", "USD") + &priced("gemma3-27b-vision", "EUR");
    let budget = |text: &str| format!("{both}[[budget]]\n{text}\n");
    let good = budget("analyzer = \"llama3.2-vision\"\nper = \"month\"\nmoney = \"12.5 USD\"")
        + "[[budget]]\nbatch = \"news-*\"\nper = \"total\"\ntokens = 7\n";
    let loaded = Scene::new().file(&good).load();
    let texts: Vec<_> = loaded.settings.budgets.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["12.5 USD per month for llama3.2-vision", "7 tokens in all for batch 'news-*'"]
    );
    assert!(shown(&loaded, "budget").0.contains("12.5 USD"));
    for (text, reason) in [
        (
            "per = \"month\"\nmoney = \"5 USD\"",
            "the prices of 'gemma3-27b-vision' are in EUR, not in USD",
        ),
        (
            "analyzer = \"tesseract-ocr\"\nper = \"month\"\nmoney = \"5 USD\"",
            "nothing that it is about has prices",
        ),
        ("analyzer = \"other\"\nper = \"month\"\ntokens = 5", "there is no analyzer 'other'"),
        ("per = \"week\"\ntokens = 5", "unknown variant `week`"),
        ("per = \"month\"", "expected either money or tokens"),
        ("per = \"month\"\ntokens = 5\nmoney = \"5 USD\"", "expected either money or tokens"),
        ("per = \"month\"\nmoney = \"5.0000001 USD\"", "at most six decimals"),
        ("per = \"month\"\nmoney = 5", "budget[0]"),
        ("per = \"month\"\ntokens = 5\nbach = \"x\"", "unknown field `bach`"),
    ] {
        let refused = Scene::new().file(&budget(text)).refused();
        assert!(refused.contains(reason) && refused.contains("budget[0]"), "{refused}");
    }
    let refused = Scene::new().file("[budget]\nper = \"month\"\n").refused();
    assert!(refused.contains("expected tables: [[budget]]"), "{refused}");
}
