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

/// Why language data cannot be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No folder.
    #[error(
        "no folder with Tesseract language data found ({looked}); install tesseract-ocr, or set the data path"
    )]
    NoFolder {
        /// Where.
        looked: String,
    },
    /// A language name that cannot be a file name.
    #[error("'{0}' is not a language name: expected names like 'eng' or 'eng+deu'")]
    BadName(String),
    /// Languages without data.
    #[error("no language data for {} in {}; install {}", .missing.join(", "), .folder.display(), .packages.join(" "))]
    Missing {
        /// Language names.
        missing: Vec<String>,
        /// Where they were looked for.
        folder: PathBuf,
        /// Debian packages that bring them.
        packages: Vec<String>,
    },
    /// A data file is there and cannot be read.
    #[error("language data {} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
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

/// The Debian package with the data of a language: `deu` is in `tesseract-ocr-deu`.
#[must_use]
pub fn package(language: &str) -> String {
    let name = language.to_lowercase().replace('_', "-");
    match name.strip_prefix("script/") {
        Some(script) => {
            format!("tesseract-ocr-script-{}", script.chars().take(4).collect::<String>())
        }
        None => format!("tesseract-ocr-{name}"),
    }
}

/// The folder to use: the given one, else `prefix` (the value of `TESSDATA_PREFIX`), else the first usual one.
///
/// # Errors
/// When there is none.
pub fn folder(given: Option<&Path>, prefix: Option<&Path>) -> Result<PathBuf, DataError> {
    let candidates: Vec<PathBuf> = match (given, prefix) {
        (Some(given), _) => vec![given.to_owned()],
        // Both forms are in use: the folder itself, and the folder above `tessdata`.
        (None, Some(prefix)) => vec![prefix.join("tessdata"), prefix.to_owned()],
        (None, None) => FOLDERS.iter().map(PathBuf::from).collect(),
    };
    candidates.iter().find(|path| path.is_dir()).cloned().ok_or_else(|| DataError::NoFolder {
        looked: candidates
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// Which of the languages have no data file.
#[must_use]
pub fn missing(folder: &Path, languages: &[String]) -> Vec<String> {
    languages.iter().filter(|name| !file(folder, name).is_file()).cloned().collect()
}

/// Checks that all data is there.
///
/// # Errors
/// [`DataError::Missing`] with the packages to install.
pub fn check(folder: &Path, languages: &[String]) -> Result<(), DataError> {
    let missing = missing(folder, languages);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.iter().map(|name| package(name)).collect();
    Err(DataError::Missing { missing, folder: folder.to_owned(), packages })
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
                .map_err(|source| DataError::Read { path, source })?;
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
    fn missing_data_names_the_package_to_install() {
        let empty = tempfile::tempdir().expect("temporary folder");
        let error =
            check(empty.path(), &["deu".into(), "chi_sim".into()]).expect_err("nothing there");
        let text = error.to_string();
        assert!(text.contains("install tesseract-ocr-deu tesseract-ocr-chi-sim"), "{text}");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error_that_names_it() {
        let error = folder(Some(Path::new("/nowhere/at/all")), None).expect_err("no such folder");
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
