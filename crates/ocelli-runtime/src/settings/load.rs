//! From files, environment and flags to [`Settings`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use config::Value;

use super::known::{Kinds, Known};
use super::layer::{DEFAULT, FLAGS, Layer};
use super::model::Settings;
use super::problem::{Problem, SettingsError};
use super::schema::{SETTINGS, Schema};
use super::show::{self, Shown};
use super::tree::Tree;
use super::{check, read, vet};

/// Files that are read when they exist, in this order.
const STANDARD_FILES: [&str; 2] = ["/etc/ocelli/ocelli.toml", "ocelli.toml"];

/// The largest settings file: a wrong path (a disk image) is not read to its end.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Files that are read when they exist, weakest first.
    pub standard_files: Vec<PathBuf>,
    /// `--config FILE`: must exist.
    pub config_file: Option<PathBuf>,
    /// Flags as `(key, value)`, for example `("broker.url", "amqp://host")`; later ones win.
    pub overrides: Vec<(String, String)>,
    /// The environment; none = that of this process.
    pub env: Option<BTreeMap<String, String>>,
}

impl Default for LoadOptions {
    /// The standard files, this process's environment, no flags.
    fn default() -> Self {
        Self {
            standard_files: STANDARD_FILES.map(PathBuf::from).to_vec(),
            config_file: None,
            overrides: Vec::new(),
            env: None,
        }
    }
}

/// Settings, and where each came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Files that were read, weakest first.
    pub files: Vec<PathBuf>,
    shown: Vec<Shown>,
}

impl Loaded {
    /// Every setting that has a value, secrets masked, with its origin; in the order of the reference.
    #[must_use]
    pub fn show(&self) -> &[Shown] {
        &self.shown
    }
}

impl Settings {
    /// Reads and checks all layers.
    ///
    /// # Errors
    /// With every problem found. Nothing was created or opened for writing.
    pub fn load(options: LoadOptions) -> Result<Loaded, SettingsError> {
        let mut problems = Vec::new();
        let environment = match options.env {
            Some(variables) => variables,
            None => process_environment(&mut problems),
        };
        let mut layers = vec![Layer::defaults(SETTINGS)];
        let mut files = Vec::new();
        let standard = options.standard_files.into_iter().map(|path| (path, false));
        let named = options.config_file.into_iter().map(|path| (path, true));
        for (path, must_exist) in standard.chain(named) {
            match file_layer(&path, must_exist) {
                Ok(None) => {}
                Ok(Some(layer)) => {
                    layers.push(layer);
                    files.push(path);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let kinds = vet::kinds(&mut layers, &mut problems);
        let known = Known::new(&kinds);
        for layer in &mut layers {
            vet::vet(layer, &kinds, &known, &mut problems);
        }
        let mut environment_layer = Layer::environment(&environment, &known, &mut problems);
        environment_layer.settle_files("environment", &mut problems);
        let mut flags = Layer::flags(&options.overrides, &known, &mut problems);
        flags.settle_files(FLAGS, &mut problems);
        for (layer, path) in layers.iter_mut().skip(1).zip(&files) {
            layer.settle_files(&path.display().to_string(), &mut problems);
        }

        let all = [templates(&kinds)].into_iter().chain(layers).chain([environment_layer, flags]);
        let mut tree = Tree::merge(all).map_err(|error| {
            // The layers are in memory and their names were vetted: `config` has nothing left to refuse.
            let (origin, reason) = (DEFAULT.to_owned(), error.to_string());
            SettingsError::new(vec![Problem::Syntax { origin, reason }])
        })?;
        let settings = read::settings(&mut tree, &kinds, data_home(&environment), &mut problems);
        if let Some(settings) = &settings
            && problems.is_empty()
        {
            check::check(settings, &tree, &mut problems);
        } else if let Some(settings) = &settings {
            // Values that were replaced by defaults must not be reported a second time for what they replaced.
            let mut further = Vec::new();
            check::check(settings, &tree, &mut further);
            let reported: Vec<String> = problems.iter().filter_map(key_of).collect();
            further.retain(|problem| key_of(problem).is_none_or(|key| !reported.contains(&key)));
            problems.extend(further);
        }
        match settings {
            Some(settings) if problems.is_empty() => {
                let order: Vec<String> =
                    settings.analyzers.iter().map(|analyzer| analyzer.name.to_string()).collect();
                Ok(Loaded { shown: show::show(&tree, &kinds, &order), settings, files })
            }
            _ => Err(SettingsError::new(problems)),
        }
    }
}

fn key_of(problem: &Problem) -> Option<String> {
    match problem {
        Problem::Value { key, .. } | Problem::Missing { key, .. } => Some(key.clone()),
        _ => None,
    }
}

/// The defaults of each analyzer's kind, below everything else.
fn templates(kinds: &Kinds) -> Layer {
    let mut layer = Layer::default();
    for (name, kind) in kinds {
        for field in Schema::get().kind(*kind).iter().filter(|field| field.is_default) {
            let path = ["analyzers", name, &field.name].map(str::to_owned);
            layer.set(&path, from_json(&field.sample));
        }
    }
    layer
}

fn from_json(value: &serde_json::Value) -> Value {
    use config::ValueKind;
    use serde_json::Value as Json;
    let kind = match value {
        Json::Bool(value) => ValueKind::Boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => ValueKind::I64(number),
            None => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(items) => ValueKind::Array(items.iter().map(from_json).collect()),
        Json::Null | Json::Object(_) => ValueKind::Nil,
    };
    Value::new(Some(&DEFAULT.to_owned()), kind)
}

fn file_layer(path: &Path, must_exist: bool) -> Result<Option<Layer>, Problem> {
    match read_file(path) {
        Ok(text) => Layer::file(path, &text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(Problem::Unreadable { path: path.to_owned(), error }),
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than 4 MiB: not a settings file",
        ));
    }
    Ok(text)
}

/// The variables settings are made of.
fn process_environment(problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("OCELLI_") || name == "HOME" || name == "XDG_DATA_HOME";
        match value.into_string() {
            Ok(value) if ours => _ = variables.insert(name, value),
            Err(_) if name.starts_with("OCELLI_") => problems.push(Problem::Value {
                origin: "environment".to_owned(),
                key: name,
                value: "…".to_owned(),
                reason: "expected UTF-8".to_owned(),
            }),
            _ => {}
        }
    }
    variables
}

/// The XDG data folder (XDG Base Directory Specification 0.8: a relative `XDG_DATA_HOME` is ignored).
fn data_home(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let absolute =
        |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| {
        let home = absolute("HOME").or_else(|| etcetera::home_dir().ok());
        home.map(|home| home.join(".local/share"))
    })
}
