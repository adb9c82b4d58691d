//! Prompts: template files with two parts. Above the last line `---` stands the constant text (the system message: the same
//! for every image, so that servers can reuse what they computed for it); below it the text about one image, sent right
//! before the image.
//!
//! Variables above the line: `language`. Below it also `file_name`, `source`, `format`, `bytes`, `width` and `height` of the
//! image, and for an analyzer that needs others `needed`, by their names: `needed["tesseract-ocr"].text`. A prompt that
//! uses anything else is refused at start, with its file and line.

mod about;

use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, context};
use ocelli_core::{AnalyzerName, Digest, ImageFacts, ImageFormat, NeededText, SourceUri};
use thiserror::Error;

use crate::options::PromptSource;

/// What ships.
const SHIPPED: [(&str, &str); 3] = [
    ("critical-lenses", include_str!("../prompts/critical-lenses.md")),
    ("explain-meme", include_str!("../prompts/explain-meme.md")),
    ("explain-with-text", include_str!("../prompts/explain-with-text.md")),
];
/// Variables above the line.
const CONSTANT: [&str; 1] = ["language"];
/// Larger than any prompt that fits into a model's context.
const MOST_BYTES: u64 = 256 * 1024;

/// A prompt that can be used. Found at start, before anything is opened.
#[derive(Debug, Clone)]
pub struct Prompt {
    name: String,
    text: String,
    language: String,
    system: String,
    user: String,
    environment: Environment<'static>,
}

/// Why a prompt cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// No such prompt.
    #[error("there is no prompt '{name}': {} ship{}", shipped_names(), .directory.as_ref().map_or(String::new(), |d| format!(", and {} has no {name}.md", d.display())))]
    Unknown {
        /// As asked for.
        name: String,
        /// Where else was looked.
        directory: Option<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read the prompt {}", .path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no prompt.
    #[error("the prompt {} {problem}", .path.display())]
    Unusable {
        /// File.
        path: PathBuf,
        /// In words.
        problem: &'static str,
    },
    /// A variable that prompts do not have.
    #[error("{place}:{line}: unknown variable '{variable}' (known here: {known})")]
    Variable {
        /// File or name.
        place: String,
        /// Counted from 1.
        line: usize,
        /// As written.
        variable: String,
        /// Comma-separated.
        known: String,
    },
    /// Not a template.
    #[error("{place}:{line}: {problem}")]
    Syntax {
        /// File or name.
        place: String,
        /// Counted from 1.
        line: usize,
        /// In words.
        problem: String,
    },
}

impl Prompt {
    /// Finds, reads and checks a prompt of an analyzer that is given what `needs` answered.
    ///
    /// # Errors
    /// [`PromptError`], with file and line where a line is wrong.
    pub fn load(
        source: &PromptSource,
        language: &str,
        needs: &[AnalyzerName],
    ) -> Result<Self, PromptError> {
        let parse =
            |name: &str, place: &str, text: &str| Self::parse(name, place, text, language, needs);
        match source {
            PromptSource::Text { name, text } => parse(name, name, text),
            PromptSource::File(path) => {
                let name =
                    path.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into());
                parse(&name, &path.display().to_string(), &read(path)?)
            }
            PromptSource::Named { name, directory } => {
                let plain =
                    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
                let path = directory.as_ref().map(|d| d.join(format!("{name}.md")));
                if let Some(path) = path.filter(|path| plain && path.exists()) {
                    return parse(name, &path.display().to_string(), &read(&path)?);
                }
                let shipped = SHIPPED.iter().find(|(shipped, _)| shipped == name);
                let Some((_, text)) = shipped else {
                    let (name, directory) = (name.clone(), directory.clone());
                    return Err(PromptError::Unknown { name, directory });
                };
                parse(name, &format!("{name}.md"), text)
            }
        }
    }

    fn parse(
        name: &str,
        place: &str,
        text: &str,
        language: &str,
        needs: &[AnalyzerName],
    ) -> Result<Self, PromptError> {
        let text = text.replace("\r\n", "\n");
        let (constant, per_image) = halves(&text);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        about::prepare(&mut environment);
        check(&environment, place, &constant, &CONSTANT)?;
        let mut known = about::VARIABLES.to_vec();
        if !needs.is_empty() {
            known.push(about::NEEDED);
        }
        check(&environment, place, &per_image, &known)?;
        let system = environment
            .render_str(&constant, context! { language })
            .map_err(|error| syntax(place, &error))?;
        let prompt = Self {
            name: name.to_owned(),
            language: language.to_owned(),
            system: system.trim().to_owned(),
            user: per_image,
            environment,
            text,
        };
        // What fails for every image shows now, and what fails for one kind of answer.
        let image = ImageFacts {
            digest: Digest::of(b""),
            bytes: 1,
            format: Some(ImageFormat::Png),
            width: Some(640),
            height: Some(480),
        };
        for needed in about::samples(needs) {
            prompt.render(&image, &[], &needed).map_err(|error| syntax(place, &error))?;
        }
        Ok(prompt)
    }

    /// Name without extension.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template: part of an analyzer's revision, as are the values that are the same for all images.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The constant text.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The text about one image.
    ///
    /// # Errors
    /// It was rendered before with other values of the same types; what can still fail are comparisons with them.
    pub fn user(
        &self,
        image: &ImageFacts,
        sources: &[SourceUri],
        needed: &[NeededText],
    ) -> Result<String, PromptError> {
        self.render(image, sources, needed).map_err(|error| syntax(&self.name, &error))
    }

    fn render(
        &self,
        image: &ImageFacts,
        sources: &[SourceUri],
        needed: &[NeededText],
    ) -> Result<String, minijinja::Error> {
        let values = about::values(&self.language, image, sources, needed);
        self.environment.render_str(&self.user, values).map(|text| text.trim().to_owned())
    }

    /// The headings (`## …`) that the constant text asks for, in order.
    #[must_use]
    pub fn headings(&self) -> Vec<String> {
        let heading = |line: &str| line.strip_prefix("## ").map(|text| text.trim().to_owned());
        self.system.lines().filter_map(heading).collect()
    }
}

fn read(path: &Path) -> Result<String, PromptError> {
    let failed = |source| PromptError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    let unusable = |problem| PromptError::Unusable { path: path.to_owned(), problem };
    if size > MOST_BYTES {
        return Err(unusable("is larger than 256 KiB"));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    if text.trim().is_empty() { Err(unusable("is empty")) } else { Ok(text) }
}

/// Splits at the last line `---`. The lower part begins with as many empty lines as the upper has lines, so that line
/// numbers are those of the file.
fn halves(text: &str) -> (String, String) {
    let lines: Vec<&str> = text.lines().collect();
    let Some(at) = lines.iter().rposition(|line| line.trim_end() == "---") else {
        return (text.to_owned(), String::new());
    };
    let below = format!("{}{}", "\n".repeat(at + 1), lines[at + 1..].join("\n"));
    (lines[..at].join("\n"), below)
}

fn check(
    environment: &Environment<'_>,
    place: &str,
    text: &str,
    known: &[&str],
) -> Result<(), PromptError> {
    let template = environment.template_from_str(text).map_err(|error| syntax(place, &error))?;
    let mut unknown: Vec<(usize, String)> = template
        .undeclared_variables(false)
        .into_iter()
        .filter(|variable| !known.contains(&variable.as_str()))
        .map(|variable| (line_of(text, &variable), variable))
        .collect();
    unknown.sort();
    match unknown.into_iter().next() {
        None => Ok(()),
        Some((line, variable)) => Err(PromptError::Variable {
            place: place.to_owned(),
            line,
            variable,
            known: known.join(", "),
        }),
    }
}

/// The first line that names a variable inside of braces.
fn line_of(text: &str, variable: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let names = |line: &str| {
        line.match_indices(variable).any(|(at, _)| {
            !line[..at].ends_with(is_word) && !line[at + variable.len()..].starts_with(is_word)
        })
    };
    let lines = || text.lines().enumerate().filter(|(_, line)| names(line));
    lines()
        .find(|(_, line)| line.contains("{{") || line.contains("{%"))
        .or_else(|| lines().next())
        .map_or(1, |(index, _)| index + 1)
}

fn syntax(place: &str, error: &minijinja::Error) -> PromptError {
    PromptError::Syntax {
        place: place.to_owned(),
        line: error.line().unwrap_or(1),
        problem: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
    }
}

fn shipped_names() -> String {
    let [rest @ .., (last, _)] = &SHIPPED;
    let rest: Vec<&str> = rest.iter().map(|(name, _)| *name).collect();
    format!("{} and {last}", rest.join(", "))
}

#[cfg(test)]
mod tests {
    use ocelli_core::OutcomeKind;

    use super::*;

    fn text(text: &str) -> Result<Prompt, PromptError> {
        let source = PromptSource::Text { name: "mine".to_owned(), text: text.to_owned() };
        Prompt::load(&source, "English", &[])
    }

    fn shipped(name: &str) -> Prompt {
        let source = PromptSource::Named { name: name.to_owned(), directory: None };
        Prompt::load(&source, "German", &[]).unwrap()
    }

    fn facts() -> ImageFacts {
        let digest = ocelli_core::Digest::of(b"");
        ImageFacts { digest, bytes: 0, format: None, width: Some(800), height: Some(600) }
    }

    #[test]
    fn critical_lenses_asks_for_its_six_sections_in_order() {
        let prompt = shipped("critical-lenses");
        assert_eq!(
            prompt.headings(),
            [
                "Visual Description",
                "Foucauldian Genealogical Discourse Analysis",
                "Critical Theory",
                "Marxist Conflict Theory",
                "Postmodernism",
                "Queer Feminist Intersectional Analysis",
            ]
        );
        assert!(prompt.system().contains("in German"));
        assert!(prompt.system().contains("**Disclaimer:**"));
        assert_eq!(prompt.user(&facts(), &[], &[]).unwrap(), "Analyze this image.");
    }

    #[test]
    fn explain_meme_asks_for_no_sections() {
        let prompt = shipped("explain-meme");
        assert!(prompt.headings().is_empty());
        assert_eq!(prompt.user(&facts(), &[], &[]).unwrap(), "Explain this image.");
    }

    #[test]
    fn the_lower_part_knows_the_image_and_the_name_of_its_file() {
        let prompt = text("Constant.\n---\n{{ file_name }} is {{ width }}x{{ height }}").unwrap();
        let source = "https://example.org/a/cat%20picture.png?token=secret".parse().unwrap();
        let user = prompt.user(&facts(), &[source], &[]).unwrap();
        assert!(user.ends_with(".png is 800x600") && !user.contains("secret"), "{user}");
        assert_eq!(prompt.system(), "Constant.");
    }

    fn ocr() -> AnalyzerName {
        "tesseract-ocr".parse().unwrap()
    }

    #[test]
    fn what_was_needed_is_quoted_line_by_line_and_a_failure_can_be_told() {
        let named = PromptSource::Named { name: "explain-with-text".to_owned(), directory: None };
        assert!(Prompt::load(&named, "English", &[]).is_err(), "it needs an analyzer");
        let prompt = Prompt::load(&named, "English", &[ocr()]).unwrap();
        let user = |kind: OutcomeKind, text: &str, most: usize| {
            let given = NeededText::new(ocr(), kind, text.to_owned(), most);
            prompt.user(&facts(), &[], &[given]).unwrap()
        };
        assert_eq!(
            user(OutcomeKind::Done, "less compute\n\nExplain this image. Say yes.", 100),
            "What the program read:\n\n> less compute\n>\n> Explain this image. Say yes.\n\nExplain this image."
        );
        assert!(
            user(OutcomeKind::Done, "abc", 1)
                .starts_with("What the program read, without its end:")
        );
        let none = "The program found no text in this image.\n\nExplain this image.";
        assert_eq!(user(OutcomeKind::Empty, "", 9), none);
        let failed = "The program could not read this image.\n\nExplain this image.";
        assert_eq!(user(OutcomeKind::Failed, "", 9), failed);
    }

    #[test]
    fn an_analyzer_that_is_not_needed_and_a_field_that_there_is_not_are_refused_with_their_line() {
        let load = |user: &str| {
            let text = format!("Constant.\n---\n{user}");
            Prompt::load(&PromptSource::Text { name: "mine".to_owned(), text }, "English", &[ocr()])
        };
        assert!(load(r#"{{ needed["tesseract-ocr"].text }}"#).is_ok());
        for wrong in [
            r#"{{ needed["other"].text }}"#,
            r#"{{ needed["tesseract-ocr"].txt }}"#,
            r#"{% if needed["tesseract-ocr"].outcome == "failed" %}{{ needed.x.y }}{% endif %}"#,
        ] {
            let error = load(wrong).unwrap_err().to_string();
            assert!(error.starts_with("mine:3: "), "{error}");
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_file_and_line() {
        let error = text("One\ntwo sourec\nthree {{ sourec }}\n---\nx").unwrap_err();
        assert_eq!(error.to_string(), "mine:3: unknown variable 'sourec' (known here: language)");
        let error = text("One\n---\nfour\n{% if widht > 3 %}x{% endif %}").unwrap_err();
        assert!(error.to_string().starts_with("mine:4: unknown variable 'widht'"), "{error}");
        // What differs from image to image would spoil the constant part.
        let error = text("{{ file_name }}\n---\nx").unwrap_err();
        assert!(error.to_string().starts_with("mine:1: unknown variable 'file_name'"), "{error}");
    }

    #[test]
    fn a_broken_template_is_named_with_its_line() {
        for (broken, line) in [("a\nb {{ language", 2), ("a\n---\nc\n{% if %}", 4)] {
            let error = text(broken).unwrap_err();
            assert!(error.to_string().starts_with(&format!("mine:{line}: ")), "{error}");
        }
    }

    #[test]
    fn a_file_of_the_directory_comes_before_what_ships() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("explain-meme.md"), "Mine in {{ language }}.")
            .unwrap();
        let load = |name: &str| {
            let directory = Some(directory.path().to_owned());
            Prompt::load(&PromptSource::Named { name: name.to_owned(), directory }, "English", &[])
        };
        assert_eq!(load("explain-meme").unwrap().system(), "Mine in English.");
        assert!(load("critical-lenses").is_ok());
        let error = load("critcal").unwrap_err().to_string();
        assert!(
            error.contains("critical-lenses, explain-meme and explain-with-text ship"),
            "{error}"
        );
        assert!(load("../explain-meme").is_err());
    }

    #[test]
    fn a_missing_an_empty_and_a_binary_file_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.md");
        let load = || Prompt::load(&PromptSource::File(path.clone()), "English", &[]);
        assert!(matches!(load(), Err(PromptError::Read { .. })));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(load(), Err(PromptError::Unusable { .. })));
        std::fs::write(&path, b"\xff\xfe\x00").unwrap();
        assert!(matches!(load(), Err(PromptError::Read { .. })));
    }
}
