//! Where language data lies, which of it is missing, and what its files are. Trusted files, read by the worker itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Where the packages of common distributions put `*.traineddata`, newest first.
const FOLDERS: [&str; 5] = [
    "/usr/share/tesseract-ocr/5/tessdata",
    "/usr/share/tesseract-ocr/4.00/tessdata",
    "/usr/share/tessdata",
    "/usr/local/share/tessdata",
    "/opt/homebrew/share/tessdata",
];

/// Scripts as their data is called, each with what Debian 12 calls its package: `tesseract-ocr-script-latn`.
const SCRIPTS: [(&str, &str); 33] = [
    ("Arabic", "arab"),
    ("Armenian", "armn"),
    ("Bengali", "beng"),
    ("Canadian_Aboriginal", "cans"),
    ("Cherokee", "cher"),
    ("Cyrillic", "cyrl"),
    ("Devanagari", "deva"),
    ("Ethiopic", "ethi"),
    ("Fraktur", "frak"),
    ("Georgian", "geor"),
    ("Greek", "grek"),
    ("Gujarati", "gujr"),
    ("Gurmukhi", "guru"),
    ("HanS", "hans"),
    ("HanT", "hant"),
    ("Hangul", "hang"),
    ("Hebrew", "hebr"),
    ("Japanese", "jpan"),
    ("Kannada", "knda"),
    ("Khmer", "khmr"),
    ("Lao", "laoo"),
    ("Latin", "latn"),
    ("Malayalam", "mlym"),
    ("Myanmar", "mymr"),
    ("Oriya", "orya"),
    ("Sinhala", "sinh"),
    ("Syriac", "syrc"),
    ("Tamil", "taml"),
    ("Telugu", "telu"),
    ("Thaana", "thaa"),
    ("Thai", "thai"),
    ("Tibetan", "tibt"),
    ("Vietnamese", "viet"),
];

/// Why language data cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No folder.
    #[error(
        "no folder with Tesseract language data found ({looked}); install tesseract-ocr, or set data_path"
    )]
    NoFolder {
        /// Where.
        looked: String,
    },
    /// The folder is there and cannot be read.
    #[error("the folder {} of language data cannot be read: {error}; {}", path.display(), way_out(path, error))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A language name that cannot be a file name.
    #[error("'{0}' is not a language name: expected names like 'eng' or 'eng+deu'")]
    BadName(String),
    /// Languages without data.
    #[error("no language data for {} in {}; {}", missing.join(", "), folder.display(), advice(missing))]
    Missing {
        /// Language names.
        missing: Vec<String>,
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// A data file is there and cannot be read.
    #[error("language data {} cannot be read: {error}; {}", path.display(), way_out(path, error))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What to do about data that is there and cannot be read.
fn way_out(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("let the user that ocelli runs as read it (chmod -R a+rX {})", path.display())
        }
        _ => "check the path and its disk, or set data_path to another folder".to_owned(),
    }
}

/// Splits `eng+deu` and checks each name: they become file names.
///
/// # Errors
/// When a name is empty or holds anything but letters, digits, `_`, `-` and inner `/` (as in `script/Latin`).
pub fn languages(text: &str) -> Result<Vec<String>, DataError> {
    let good = |name: &str| {
        !name.is_empty()
            && name.len() <= 40
            && name.split('/').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            })
    };
    text.split('+')
        .map(|name| {
            if good(name) { Ok(name.to_owned()) } else { Err(DataError::BadName(name.to_owned())) }
        })
        .collect()
}

/// What Debian calls the data of a language or script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packaged {
    /// The package that brings it: `tesseract-ocr-deu`.
    pub package: String,
    /// The name that languages are set by once it is installed. Debian puts scripts beside the languages: `Latin`, which
    /// others call `script/Latin`.
    pub name: String,
}

impl Packaged {
    /// Of a language or script by Tesseract's name.
    #[must_use]
    pub fn of(language: &str) -> Self {
        let name = language.strip_prefix("script/").unwrap_or(language);
        let (script, vertical) = match name.strip_suffix("_vert") {
            Some(script) => (script, true),
            None => (name, false),
        };
        let known = SCRIPTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(script));
        match known {
            Some((script, code)) if vertical => Self {
                package: format!("tesseract-ocr-script-{code}-vert"),
                name: format!("{script}_vert"),
            },
            Some((script, code)) => {
                Self { package: format!("tesseract-ocr-script-{code}"), name: (*script).to_owned() }
            }
            // Fraktur as a language is in Debian 12 under its older name.
            None if name == "deu_latf" => Self::of("frk"),
            None => Self {
                package: format!("tesseract-ocr-{}", name.to_lowercase().replace(['_', '/'], "-")),
                name: name.to_owned(),
            },
        }
    }
}

/// The Debian packages that bring these languages, each once.
#[must_use]
pub fn packages(languages: &[String]) -> Vec<String> {
    let mut packages: Vec<String> = Vec::new();
    for language in languages {
        let package = Packaged::of(language).package;
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// What to do about languages without data.
#[must_use]
pub fn advice(missing: &[String]) -> String {
    let mut text = format!("install {}", packages(missing).join(" "));
    for language in missing {
        let name = Packaged::of(language).name;
        if name != *language {
            text.push_str(&format!(", and set '{name}' for '{language}'"));
        }
    }
    text
}

/// The folder to use: the given one, else `prefix` (the value of `TESSDATA_PREFIX`), else the first usual one.
///
/// # Errors
/// When there is none, or none that can be read.
pub fn folder(given: Option<&Path>, prefix: Option<&Path>) -> Result<PathBuf, DataError> {
    let candidates: Vec<PathBuf> = match (given, prefix) {
        (Some(given), _) => vec![given.to_owned()],
        // Both forms are in use: the folder itself, and the folder above `tessdata`.
        (None, Some(prefix)) => vec![prefix.join("tessdata"), prefix.to_owned()],
        (None, None) => FOLDERS.iter().map(PathBuf::from).collect(),
    };
    let mut unreadable = None;
    for path in &candidates {
        match std::fs::read_dir(path) {
            Ok(_) => return Ok(path.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unreadable = Some(DataError::Folder { path: path.clone(), error }),
        }
    }
    Err(unreadable.unwrap_or_else(|| DataError::NoFolder {
        looked: candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    }))
}

/// Which of the languages have no data file.
#[must_use]
pub fn missing(folder: &Path, languages: &[String]) -> Vec<String> {
    languages.iter().filter(|name| !file(folder, name).is_file()).cloned().collect()
}

/// Checks that all data is there.
///
/// # Errors
/// [`DataError::Missing`] with the packages to install, or [`DataError::Read`]: what may not be looked at is not missing.
pub fn check(folder: &Path, languages: &[String]) -> Result<(), DataError> {
    let mut missing = Vec::new();
    for name in languages {
        let path = file(folder, name);
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DataError::Read { path, error });
            }
            Ok(_) | Err(_) => missing.push(name.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(DataError::Missing { missing, folder: folder.to_owned() })
}

/// All languages that have data in the folder.
#[must_use]
pub fn present(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".traineddata").map(str::to_owned)
        })
        .collect();
    names.sort_unstable();
    names
}

/// SHA-256 of each data file (16 hexadecimal digits of it), by language: other data gives other answers.
///
/// # Errors
/// When a file cannot be read.
pub fn hashes(folder: &Path, languages: &[String]) -> Result<BTreeMap<String, String>, DataError> {
    languages
        .iter()
        .map(|name| {
            let path = file(folder, name);
            let mut hash = Sha256::new();
            File::open(&path)
                .and_then(|mut data| io::copy(&mut data, &mut HashWriter(&mut hash)))
                .map_err(|error| DataError::Read { path, error })?;
            Ok((name.clone(), hex::encode(&hash.finalize()[..8])))
        })
        .collect()
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn file(folder: &Path, language: &str) -> PathBuf {
    folder.join(format!("{language}.traineddata"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_names_that_could_leave_the_folder_are_refused() {
        assert_eq!(languages("eng+deu").expect("good"), ["eng", "deu"]);
        assert_eq!(languages("script/Latin").expect("good"), ["script/Latin"]);
        for bad in ["", "eng+", "../eng", "/etc/passwd", "eng\0", "a b", "eng//x"] {
            assert!(matches!(languages(bad), Err(DataError::BadName(_))), "{bad:?}");
        }
    }

    #[test]
    fn packages_are_those_of_debian_for_languages_and_scripts() {
        for (language, package, name) in [
            ("deu", "deu", "deu"),
            ("chi_sim", "chi-sim", "chi_sim"),
            ("chi_tra_vert", "chi-tra-vert", "chi_tra_vert"),
            ("srp_latn", "srp-latn", "srp_latn"),
            ("deu_latf", "frk", "frk"),
            ("script/Latin", "script-latn", "Latin"),
            ("Cyrillic", "script-cyrl", "Cyrillic"),
            ("script/Greek", "script-grek", "Greek"),
            ("script/Japanese", "script-jpan", "Japanese"),
            ("script/HanS", "script-hans", "HanS"),
            ("script/HanT_vert", "script-hant-vert", "HanT_vert"),
            ("Hangul", "script-hang", "Hangul"),
            ("script/Canadian_Aboriginal", "script-cans", "Canadian_Aboriginal"),
        ] {
            let packaged = Packaged::of(language);
            assert_eq!(packaged.package, format!("tesseract-ocr-{package}"), "{language}");
            assert_eq!(packaged.name, name, "{language}");
        }
    }

    #[test]
    fn missing_data_names_the_package_to_install_and_what_it_is_called_there() {
        let empty = tempfile::tempdir().expect("temporary folder");
        let said = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check(empty.path(), &names).expect_err("nothing there").to_string()
        };
        let text = said(&["deu", "chi_sim"]);
        assert!(text.ends_with("install tesseract-ocr-deu tesseract-ocr-chi-sim"), "{text}");
        let text = said(&["Latin", "script/Latin"]);
        let advice = "install tesseract-ocr-script-latn, and set 'Latin' for 'script/Latin'";
        assert!(text.ends_with(advice), "{text}");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error_that_names_it() {
        let error = folder(Some(Path::new("/nowhere/at/all")), None).expect_err("no such folder");
        assert!(error.to_string().contains("/nowhere/at/all"));
    }

    #[test]
    fn data_that_cannot_be_read_is_not_taken_for_missing_and_says_what_to_do() {
        let place = tempfile::tempdir().expect("temporary folder");
        // A link to itself leads nowhere, whoever follows it.
        let circle = place.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).expect("linked");
        let error = folder(Some(circle.as_path()), None).expect_err("no way in");
        let text = error.to_string();
        assert!(matches!(error, DataError::Folder { .. }), "{text}");
        assert!(text.contains("circle") && text.contains("set data_path to another"), "{text}");
        let data = file(place.path(), "eng");
        std::os::unix::fs::symlink(&data, &data).expect("linked");
        let error = check(place.path(), &["eng".to_owned()]).expect_err("no way in");
        let text = error.to_string();
        assert!(matches!(error, DataError::Read { .. }), "{text}");
        assert!(text.contains("eng.traineddata cannot be read"), "{text}");
        let closed = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(way_out(Path::new("/data"), &closed).contains("chmod -R a+rX /data"));
    }
}
