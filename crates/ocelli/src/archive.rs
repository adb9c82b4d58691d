//! The archive as commands that only read it find it.

use std::ffi::OsStr;
use std::path::Path;

use ocelli_catalog::Catalog;
use ocelli_core::{AnalyzerName, Digest, DigestPrefix, SourceUri};
use ocelli_media::read_file;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};

/// Opens an archive that exists. A mistyped `--data` must not create an empty one.
pub(crate) async fn open(settings: &Settings) -> Result<Catalog, Fault> {
    let url = settings.catalog.url.expose();
    if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))
        && !Path::new(path).exists()
    {
        return Err(Fault::new(
            ExitCode::Usage,
            format!(
                "there is no archive at '{path}' yet; start one with 'ocelli run FOLDER', or name another with --data"
            ),
        ));
    }
    parts::catalog(settings, None).await
}

/// Names of all configured analyzers in the order of display.
pub(crate) fn order(settings: &Settings) -> Vec<AnalyzerName> {
    settings.analyzers.iter().map(|analyzer| analyzer.name.clone()).collect()
}

/// The image a person means: a path, a URL, a digest, or the beginning of one.
pub(crate) async fn resolve(
    settings: &Settings,
    catalog: &Catalog,
    image: &OsStr,
) -> Result<Digest, Fault> {
    let path = Path::new(image);
    if let Ok(absolute) = std::fs::canonicalize(path)
        && absolute.is_file()
    {
        let at_path = match SourceUri::from_path(&absolute) {
            Ok(source) => catalog.find_source(&source).await?,
            Err(_) => None,
        };
        if let Some(digest) = at_path {
            return Ok(digest);
        }
        // The same bytes may have been seen under another name.
        let limit = settings.limits.image_bytes.bytes();
        let found = match read_file(&absolute, limit) {
            Ok((_, digest)) => catalog.record(&digest).await?.map(|_| digest),
            Err(_) => None,
        };
        return found.ok_or_else(|| {
            Fault::new(
                ExitCode::Usage,
                format!("'{}' is not in this archive; add it with 'ocelli run'", path.display()),
            )
        });
    }
    let text = image.to_string_lossy();
    if let Ok(prefix) = text.parse::<DigestPrefix>() {
        let found = catalog.find(&prefix, 6).await?;
        return match found.as_slice() {
            [digest] => Ok(*digest),
            [] => Err(unknown(&text)),
            several => {
                let list: Vec<_> = several.iter().take(5).map(ToString::to_string).collect();
                Err(Fault::new(
                    ExitCode::Usage,
                    format!(
                        "'{text}' is the beginning of several digests; give more of it:\n  {}{}",
                        list.join("\n  "),
                        if several.len() > 5 { "\n  …" } else { "" }
                    ),
                ))
            }
        };
    }
    // A file that is gone is still in the archive under its path.
    let source = match text.parse::<SourceUri>() {
        Ok(source) => Some(source),
        Err(_) => std::path::absolute(path).ok().and_then(|p| SourceUri::from_path(&p).ok()),
    };
    match source {
        Some(source) => catalog.find_source(&source).await?.ok_or_else(|| unknown(&text)),
        None => Err(unknown(&text)),
    }
}

fn unknown(text: &str) -> Fault {
    Fault::new(
        ExitCode::Usage,
        format!(
            "'{}' is not in this archive: it is no path, URL or digest (at least 4 hexadecimal characters) of an image here",
            text.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        ),
    )
}
