//! What can be wrong with settings. Every problem names where it stands, which key, why, and the way out.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// The settings cannot be used. All problems are listed at once.
#[derive(Debug, Error)]
pub struct SettingsError {
    /// At least one; those of one file in the order of its lines.
    pub problems: Vec<Problem>,
}

impl SettingsError {
    /// Puts `problems` into the order people expect, whatever order they were found in.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_cached_key(|problem| {
            let text = problem.to_string();
            let (file, rest) = text.split_once(" line ").unwrap_or((&text, ""));
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (file.to_owned(), rest[..digits].parse::<u64>().unwrap_or(0), rest.to_owned())
        });
        Self { problems }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "settings: {only}"),
            many => {
                write!(f, "settings: {} problems", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// One thing that is wrong. Values are printed with secrets masked.
#[derive(Debug, Error)]
pub enum Problem {
    /// A settings file cannot be read.
    #[error("{path}: cannot be read: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A settings file is not TOML.
    #[error("{origin}: not valid TOML: {reason}")]
    Syntax {
        /// File and line.
        origin: String,
        /// What the parser missed.
        reason: String,
    },
    /// A key nobody knows.
    #[error("{origin}: unknown setting '{key}'{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: String,
        /// The whole key.
        key: String,
        /// The nearest known key.
        nearest: Option<String>,
    },
    /// An environment variable that begins with `OCELLI_` and that nobody knows.
    #[error("unknown environment variable {name}{}", suggestion(nearest.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The nearest known variable.
        nearest: Option<String>,
    },
    /// A new analyzer without a kind: most often a misspelt name.
    #[error("{origin}: {key} has no kind (\"ocr\" or \"llm\"){}", suggestion(nearest.as_deref()))]
    NoKind {
        /// Where it stands.
        origin: String,
        /// `analyzers.NAME`.
        key: String,
        /// The nearest analyzer that exists.
        nearest: Option<String>,
    },
    /// A value of the wrong type, or out of its range.
    #[error("{origin}: {key} = {value}: {reason}")]
    Value {
        /// Where it stands.
        origin: String,
        /// The whole key.
        key: String,
        /// The value, masked.
        value: String,
        /// What is expected.
        reason: String,
    },
    /// A value that must be given is missing.
    #[error("{key} is missing: {reason}")]
    Missing {
        /// The whole key.
        key: String,
        /// What to set.
        reason: String,
    },
    /// A secret and its `_file` in the same place.
    #[error("{origin}: {key} and {key}_file are both set: keep one")]
    Both {
        /// Where they stand.
        origin: String,
        /// The key without `_file`.
        key: String,
    },
    /// The file of a secret cannot be read.
    #[error("{origin}: {key} = {path}: cannot be read: {error}; {}", way_out(error), path = path.display())]
    SecretFile {
        /// Where the key stands.
        origin: String,
        /// The whole key.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The home folder is unknown, so there is no default for `data.dir`.
    #[error("data.dir is not set and this user has no home folder: set data.dir")]
    NoHome,
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path, or make the file",
        io::ErrorKind::PermissionDenied => {
            "let the user that ocelli runs as read it (chown, chmod 0400)"
        }
        _ => "it must be a text file that holds the secret and nothing else",
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

/// The name in `known` that `wrong` most likely meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Below this, a suggestion confuses more than it helps (found by trying typical slips).
    const ALIKE: f64 = 0.6;
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(wrong, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
