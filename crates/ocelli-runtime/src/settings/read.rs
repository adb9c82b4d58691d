//! From the merged tree to types. A value that does not fit is reported and replaced by its default, so that all
//! problems are found in one go.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use ocelli_core::{AnalyzerName, Budget};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::analyzer::{AnalyzerSettings, Enabled, Kind, Reader};
use super::budget::BudgetTable;
use super::known::Kinds;
use super::model::Settings;
use super::problem::Problem;
use super::rule::RuleSettings;
use super::schema::{Field, Schema};
use super::show;
use super::tree::{Path, Tree, key, path};
use super::units::duration;
use super::vet::{BUDGETS, RULES, WEBHOOKS};
use super::webhook::WebhookSettings;

/// The largest secret file that is read: keys and URLs are short; a wrong path (a disk image) is not read to its end.
const SECRET_FILE_BYTES: u64 = 64 * 1024;

/// What all kinds of analyzers share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shared {
    enabled: Enabled,
    order: i64,
    #[serde(deserialize_with = "duration")]
    job_deadline: Duration,
    claim: bool,
    only_first: bool,
}

const SHARED: [&str; 5] = ["enabled", "order", "job_deadline", "claim", "only_first"];

/// Reads the tree; problems are added to `problems`. None when a part is missing altogether.
pub(crate) fn settings(
    tree: &mut Tree,
    kinds: &Kinds,
    data_home: Option<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let mut reader = TreeReader { tree, problems };
    reader.data_folder(data_home);
    reader.take_from_file("broker", "url");
    reader.take_from_file("catalog", "url");
    reader.take_from_file("objects", "access_key");
    reader.take_from_file("objects", "secret_key");
    reader.take_from_file("objects", "gs_key");
    reader.take_from_file("objects", "az_key");
    reader.take_from_file("web", "token");
    reader.default_catalog();
    let mut analyzers: Vec<AnalyzerSettings> =
        kinds.iter().filter_map(|(name, kind)| reader.analyzer(name, *kind)).collect();
    analyzers.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Some(Settings {
        data: reader.section("data")?,
        catalog: reader.section("catalog")?,
        broker: reader.section("broker")?,
        limits: reader.section("limits")?,
        objects: reader.section("objects")?,
        retry: reader.section("retry")?,
        worker: reader.section("worker")?,
        collector: reader.section("collector")?,
        producer: reader.section("producer")?,
        search: reader.section("search")?,
        near: reader.section("near")?,
        http: reader.section("http")?,
        web: reader.section("web")?,
        log: reader.section("log")?,
        events: reader.section("events")?,
        analyzers,
        budgets: reader.budgets(),
        webhooks: reader.webhooks(),
        rules: reader.rules(),
    })
}

struct TreeReader<'a> {
    tree: &'a mut Tree,
    problems: &'a mut Vec<Problem>,
}

impl TreeReader<'_> {
    fn data_folder(&mut self, data_home: Option<PathBuf>) {
        let at = path(&["data", "dir"]);
        if self.tree.get(&at).is_some() {
            return;
        }
        let folder = data_home.map(|home| home.join("ocelli"));
        let text = folder.as_deref().and_then(FilePath::to_str).map(str::to_owned);
        if text.is_none() {
            self.problems.push(Problem::NoHome);
        }
        self.tree.set(at, text.unwrap_or_default().into(), super::layer::DEFAULT.to_owned());
    }

    fn default_catalog(&mut self) {
        let at = path(&["catalog", "url"]);
        if self.tree.get(&at).is_none() {
            let folder = self.tree.get(&path(&["data", "dir"])).and_then(Value::as_str);
            let file = FilePath::new(folder.unwrap_or_default()).join("catalog.db");
            let url = format!("sqlite:{}", file.display());
            self.tree.set(at, url.into(), super::layer::DEFAULT.to_owned());
        }
    }

    /// Replaces `SECTION.FIELD_file` by what is in the file.
    fn take_from_file(&mut self, section: &str, field: &str) {
        let at = path(&[section, &format!("{field}_file")]);
        if let Some((text, origin)) = self.secret_file(&at) {
            self.tree.set(path(&[section, field]), text.into(), origin);
        }
    }

    /// Reads the file named at `at` and takes the name out of the tree. A file that cannot be read is reported.
    fn secret_file(&mut self, at: &Path) -> Option<(String, String)> {
        let set_at = self.tree.origin(at).to_owned();
        let value = self.tree.remove(at)?;
        let Some(file) = value.as_str().map(PathBuf::from) else {
            self.refuse(at, &value, "expected the path of a file");
            return None;
        };
        match read_secret(&file) {
            Ok(text) => Some((text, format!("{} ({set_at})", file.display()))),
            Err(error) => {
                let (origin, key) = (set_at, key(at));
                self.problems.push(Problem::SecretFile { origin, key, path: file, error });
                None
            }
        }
    }

    fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let fields = &Schema::get().section(name)?.fields;
        let mut table = self.tree.get(&path(&[name]))?.as_object()?.clone();
        // Only a secret whose file could not be read (reported already) can be missing here.
        for field in fields.iter().filter(|field| field.is_default) {
            table.entry(field.name.clone()).or_insert_with(|| field.sample.clone());
        }
        self.table(&path(&[name]), table, fields)
    }

    fn analyzer(&mut self, name: &str, kind: Kind) -> Option<AnalyzerSettings> {
        let at = path(&["analyzers", name]);
        let fields = Schema::get().kind(kind);
        self.require(&at, fields, kind);
        self.api_key_files(&at);
        let mut table = self.tree.get(&at)?.as_object()?.clone();
        table.remove("kind");
        let (shared, own): (Map<_, _>, Map<_, _>) =
            table.into_iter().partition(|(field, _)| SHARED.contains(&field.as_str()));
        let shared: Option<Shared> = self.table(&at, shared, fields);
        let reader = match kind {
            Kind::Ocr => self.table(&at, own, fields).map(Reader::Ocr),
            Kind::Llm => self.table(&at, own, fields).map(|llm| Reader::Llm(Box::new(llm))),
        };
        let (shared, reader) = (shared?, reader?);
        Some(AnalyzerSettings {
            name: name.parse::<AnalyzerName>().ok()?,
            order: shared.order,
            enabled: shared.enabled,
            job_deadline: shared.job_deadline,
            claim: shared.claim,
            only_first: shared.only_first,
            reader,
        })
    }

    /// Reads `[[budget]]`. A budget that is not understood is reported, and nothing is started.
    fn budgets(&mut self) -> Vec<Budget> {
        let at = path(&[BUDGETS]);
        let Some(list) = self.tree.get(&at).cloned() else { return Vec::new() };
        let Value::Array(items) = list else {
            self.refuse(&at, &list, "expected tables: [[budget]]");
            return Vec::new();
        };
        let mut budgets = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let here = path(&[BUDGETS, &index.to_string()]);
            let read = BudgetTable::deserialize(&item).map_err(|error| error.to_string());
            match read.and_then(BudgetTable::budget) {
                Ok(budget) => budgets.push(budget),
                Err(reason) => self.refuse(&here, &item, &reason),
            }
        }
        budgets
    }

    /// Reads `[[webhook]]`, as budgets are read.
    fn webhooks(&mut self) -> Vec<WebhookSettings> {
        let at = path(&[WEBHOOKS]);
        let Some(list) = self.tree.get(&at).cloned() else { return Vec::new() };
        let Value::Array(items) = list else {
            self.refuse(&at, &list, "expected tables: [[webhook]]");
            return Vec::new();
        };
        let mut webhooks: Vec<WebhookSettings> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let index = index.to_string();
            let within = |field: &str| path(&[WEBHOOKS, &index, field]);
            let here = path(&[WEBHOOKS, &index]);
            if item.get("secret").is_some() && item.get("secret_file").is_some() {
                let origin = self.tree.origin(&here).to_owned();
                self.problems.push(Problem::Both { origin, key: key(&within("secret")) });
                continue;
            }
            let problems = self.problems.len();
            if let Some((text, origin)) = self.secret_file(&within("secret_file")) {
                self.tree.set(within("secret"), text.into(), origin);
            }
            if self.problems.len() > problems {
                continue;
            }
            let item = self.tree.get(&here).cloned().unwrap_or_default();
            let read = WebhookSettings::deserialize(&item).map_err(|error| {
                let message = error.to_string();
                // What it got instead may be a secret.
                if message.starts_with("invalid") { expected(&message) } else { message }
            });
            match read.and_then(|read| read.problem().map_or(Ok(read), Err)) {
                Ok(read) if webhooks.iter().any(|other| other.name == read.name) => {
                    self.refuse(&here, &item, "name: there is another webhook of this name");
                }
                Ok(read) => webhooks.push(read),
                Err(reason) => self.refuse(&here, &item, &reason),
            }
        }
        webhooks
    }

    /// Reads `[[rule]]`, as budgets are read.
    fn rules(&mut self) -> Vec<RuleSettings> {
        let at = path(&[RULES]);
        let Some(list) = self.tree.get(&at).cloned() else { return Vec::new() };
        let Value::Array(items) = list else {
            self.refuse(&at, &list, "expected tables: [[rule]]");
            return Vec::new();
        };
        let mut rules: Vec<RuleSettings> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let here = path(&[RULES, &index.to_string()]);
            let origin = self.tree.origin(&here).to_owned();
            let read = RuleSettings::deserialize(&item).map_err(|error| error.to_string());
            match read.and_then(|read| read.problem().map_or(Ok(read), Err)) {
                Ok(read) if rules.iter().any(|other| other.name == read.name) => {
                    self.refuse(&here, &item, "name: there is another rule of this name");
                }
                Ok(read) => rules.push(RuleSettings { origin, ..read }),
                Err(reason) => self.refuse(&here, &item, &reason),
            }
        }
        rules
    }

    /// Reports required fields that are missing and puts their example there, so that reading goes on.
    fn require(&mut self, at: &Path, fields: &[Field], kind: Kind) {
        let required: &[&str] = match kind {
            Kind::Ocr => &[],
            Kind::Llm => &["model", "prompt"],
        };
        for field in fields.iter().filter(|field| required.contains(&field.name.as_str())) {
            let mut at = at.clone();
            at.push(field.name.clone());
            if self.tree.get(&at).is_none() {
                let reason = format!("an analyzer of kind \"{}\" needs it", kind.name());
                self.problems.push(Problem::Missing { key: key(&at), reason });
                self.tree.set(at, field.sample.clone(), super::layer::DEFAULT.to_owned());
            }
        }
    }

    /// Replaces `api_key_file` of each endpoint by the key in the file.
    fn api_key_files(&mut self, analyzer: &Path) {
        let mut endpoints = analyzer.clone();
        endpoints.push("endpoints".to_owned());
        let count = self.tree.get(&endpoints).and_then(Value::as_array).map_or(0, Vec::len);
        for index in 0..count {
            let at = |field: &str| {
                let mut at = endpoints.clone();
                at.extend([index.to_string(), field.to_owned()]);
                at
            };
            if let Some((text, origin)) = self.secret_file(&at("api_key_file")) {
                self.tree.set(at("api_key"), text.into(), origin);
            }
        }
    }

    /// Reads one table. Each turn of the loop either ends it or repairs one field, so it ends.
    fn table<T: DeserializeOwned>(
        &mut self,
        at: &Path,
        mut table: Map<String, Value>,
        fields: &[Field],
    ) -> Option<T> {
        for _ in 0..=table.len() {
            let error = match serde_path_to_error::deserialize(&Value::Object(table.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let mut within: Path = error
                .path()
                .iter()
                .map_while(|segment| match segment {
                    serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                    serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                    _ => None,
                })
                .collect();
            let reason = expected(&error.into_inner().to_string());
            let Some(field) = within.first().cloned() else {
                self.problems.push(Problem::Missing { key: key(at), reason });
                return None;
            };
            within.splice(0..0, at.iter().cloned());
            let value = self.tree.get(&within).cloned().unwrap_or_default();
            self.refuse(&within, &value, &reason);
            match fields.iter().find(|known| known.name == field) {
                Some(known) if known.is_default => {
                    table.insert(field, known.sample.clone());
                }
                _ => _ = table.remove(&field),
            }
        }
        None
    }

    fn refuse(&mut self, at: &Path, value: &Value, reason: &str) {
        self.problems.push(Problem::Value {
            origin: self.tree.origin(at).to_owned(),
            key: key(at),
            value: show::text(at, value),
            reason: reason.to_owned(),
        });
    }
}

/// What serde wanted, in words, without the value it got: that is printed masked beside it.
fn expected(message: &str) -> String {
    let Some(at) = message.find("expected ") else { return message.to_owned() };
    let words = match &message[at + "expected ".len()..] {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        other => other,
    };
    format!("expected {words}")
}

/// A file's text without white space at its ends. Refuses an empty one: an empty secret is a mistake.
fn read_secret(file: &FilePath) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    let mut text = String::new();
    std::fs::File::open(file)?.take(SECRET_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_FILE_BYTES {
        return Err(Error::new(ErrorKind::FileTooLarge, "larger than 64 KiB: not a secret"));
    }
    match text.trim() {
        "" => Err(Error::new(ErrorKind::InvalidData, "it is empty")),
        text => Ok(text.to_owned()),
    }
}
