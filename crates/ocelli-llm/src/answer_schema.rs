//! The form of an answer that is asked for as JSON: a JSON Schema, sent to the server and checked here again, since
//! some servers ignore it silently and every server stops in the middle when the token budget ends.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boon::{Compiler, SchemaIndex, Schemas, SchemeUrlLoader};
use serde_json::Value;
use thiserror::Error;

use crate::wire::clip;

/// Larger than any schema that a server can turn into a grammar.
const MOST_BYTES: u64 = 256 * 1024;
/// The name a schema is compiled under. Never fetched.
const PLACE: &str = "urn:ocelli:answer";
/// The longest name that OpenAI's protocol allows.
const NAME_CHARACTERS: usize = 64;

/// A schema that can be used. Found at start, before anything is opened.
#[derive(Clone)]
pub struct AnswerSchema {
    name: String,
    value: Value,
    compiled: Arc<(Schemas, SchemaIndex)>,
}

/// Why a schema cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerSchemaError {
    /// The file cannot be read.
    #[error("cannot read the answer schema {}", .path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the answer schema {} is larger than 256 KiB", .path.display())]
    TooLarge {
        /// File.
        path: PathBuf,
    },
    /// Not JSON.
    #[error("the answer schema {place} is not JSON")]
    NotJson {
        /// File or name.
        place: String,
        /// Why, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but not a schema.
    #[error("the answer schema {place} is not a JSON Schema: {problem}")]
    NotASchema {
        /// File or name.
        place: String,
        /// In words.
        problem: String,
    },
}

impl AnswerSchema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// [`AnswerSchemaError`].
    pub fn load(path: &Path) -> Result<Self, AnswerSchemaError> {
        let failed = |source| AnswerSchemaError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > MOST_BYTES {
            return Err(AnswerSchemaError::TooLarge { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
        Self::parse(&name, &path.display().to_string(), &text)
    }

    /// Checks a schema. References to other documents are refused: a schema is one file.
    ///
    /// # Errors
    /// [`AnswerSchemaError`].
    pub fn parse(name: &str, place: &str, text: &str) -> Result<Self, AnswerSchemaError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|source| AnswerSchemaError::NotJson { place: place.to_owned(), source })?;
        let unusable = |problem: String| AnswerSchemaError::NotASchema {
            place: place.to_owned(),
            problem: clip(&problem),
        };
        if !value.is_object() {
            return Err(unusable("expected an object in braces".to_owned()));
        }
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(SchemeUrlLoader::new()));
        compiler.add_resource(PLACE, value.clone()).map_err(|error| unusable(error.to_string()))?;
        let mut schemas = Schemas::new();
        let index =
            compiler.compile(PLACE, &mut schemas).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { name: plain(name), value, compiled: Arc::new((schemas, index)) })
    }

    /// As OpenAI's protocol allows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The schema itself: what is sent, and part of an analyzer's revision.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// Whether it forbids what it does not name: only then can OpenAI's servers promise to follow it (`strict`).
    pub(crate) fn is_closed(&self) -> bool {
        self.value["additionalProperties"] == Value::Bool(false)
    }

    /// Whether `text` is JSON of this form; if not, where and why not.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let (schemas, index) = &*self.compiled;
        schemas.validate(&value, *index).map_err(|error| {
            // The outermost error says only that there is one.
            let mut deepest = &error;
            while let Some(cause) = deepest.causes.first() {
                deepest = cause;
            }
            clip(&format!("at '{}': {}", deepest.instance_location, deepest.kind))
        })
    }
}

fn plain(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().map(letter).take(NAME_CHARACTERS).collect();
    if name.is_empty() { "answer".to_owned() } else { name }
}

impl fmt::Debug for AnswerSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerSchema").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEME: &str = r#"{"type": "object", "additionalProperties": false, "required": ["title", "funny"],
        "properties": {"title": {"type": "string", "minLength": 1}, "funny": {"type": "integer", "minimum": 0}}}"#;

    fn schema(text: &str) -> Result<AnswerSchema, AnswerSchemaError> {
        AnswerSchema::parse("my meme", "meme.json", text)
    }

    #[test]
    fn an_answer_of_the_right_form_passes_and_any_other_is_told_why_not() {
        let meme = schema(MEME).unwrap();
        assert_eq!((meme.name(), meme.is_closed()), ("my_meme", true));
        assert_eq!(meme.check(r#" {"title": "Cat", "funny": 3} "#), Ok(()));
        for (text, word) in [
            ("The meme shows a cat.", "not JSON"),
            (r#"{"title": "Cat", "fun"#, "not JSON"),
            (r#"{"title": "Cat"}"#, "funny"),
            (r#"{"title": "Cat", "funny": "very"}"#, "/funny"),
            (r#"{"title": "", "funny": 1}"#, "/title"),
            (r#"{"title": "Cat", "funny": 1, "more": 2}"#, "more"),
            ("[]", "object"),
        ] {
            let problem = meme.check(text).unwrap_err();
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_at_the_start() {
        for (text, word) in [
            ("{", "is not JSON"),
            ("[]", "expected an object"),
            (r#"{"type": "strnig"}"#, "is not a JSON Schema"),
            (r#"{"$ref": "file:///etc/passwd"}"#, "is not a JSON Schema"),
            (r#"{"$ref": "https://example.org/schema.json"}"#, "is not a JSON Schema"),
            (r##"{"$ref": "#/$defs/none"}"##, "is not a JSON Schema"),
        ] {
            let problem = schema(text).unwrap_err().to_string();
            assert!(
                problem.starts_with("the answer schema meme.json") && problem.contains(word),
                "{problem}"
            );
        }
        let missing = AnswerSchema::load(Path::new("no-such-file.json")).unwrap_err();
        assert!(missing.to_string().contains("cannot read the answer schema no-such-file.json"));
    }

    #[test]
    fn a_deeply_nested_answer_is_refused_and_not_a_crash() {
        let deep = "[".repeat(100_000);
        assert!(
            schema(r#"{"type": "array"}"#).unwrap().check(&deep).unwrap_err().contains("not JSON")
        );
    }
}
