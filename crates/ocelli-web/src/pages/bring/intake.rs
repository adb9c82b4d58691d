//! What somebody sends, written to disk as it comes and within bounds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::http::HeaderMap;
use ocelli_core::SourceUri;
use tokio::io::AsyncWriteExt as _;

use crate::app::App;
use crate::failure::WebError;
use crate::hands::Delivery;

/// Bytes of a field that is no file.
const LONGEST_TEXT: usize = 1024 * 1024;
/// Fields of a form.
const MOST_FIELDS: usize = 16;
/// Characters of a file's name: with what is put before it, every file system takes that.
const LONGEST_NAME: usize = 80;
/// Characters of the name of a batch.
const LONGEST_BATCH: usize = 100;

/// Reads a form into a folder of its own. What was written is removed again when it cannot be taken.
pub(super) async fn take(
    app: &App,
    head: &HeaderMap,
    parts: Multipart,
) -> Result<Delivery, WebError> {
    let folder = app.options.uploads.join(uuid::Uuid::now_v7().to_string());
    let mut intake = Intake {
        app,
        delivery: Delivery {
            name: String::new(),
            folder: folder.clone(),
            files: Vec::new(),
            urls: Vec::new(),
        },
        allowed: false,
        written: 0,
        names: BTreeSet::new(),
    };
    let mut unfinished = Unfinished(Some(folder));
    intake.read(head, parts).await?;
    let delivery = intake.finish()?;
    unfinished.0 = None;
    Ok(delivery)
}

/// The folder of an upload that has not come to its end. It goes also when nobody waits for that any more: the time is over,
/// or the browser is gone.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take() {
            // Perhaps nothing was written.
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

/// Removes what was written.
pub(super) async fn discard(folder: PathBuf) {
    // Perhaps nothing was.
    drop(tokio::fs::remove_dir_all(folder).await);
}

struct Intake<'a> {
    app: &'a App,
    delivery: Delivery,
    allowed: bool,
    written: u64,
    names: BTreeSet<String>,
}

impl Intake<'_> {
    async fn read(&mut self, head: &HeaderMap, mut parts: Multipart) -> Result<(), WebError> {
        self.allowed = self.app.session.allow(head, None).is_ok();
        let read = self.fields(head, &mut parts).await;
        if read.is_err() && self.allowed {
            drain(&mut parts, self.app.options.upload_bytes).await;
        }
        read
    }

    async fn fields(&mut self, head: &HeaderMap, parts: &mut Multipart) -> Result<(), WebError> {
        let mut fields = 0;
        while let Some(mut field) = parts.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            if field.file_name().is_some() {
                self.need_permission(head, None)?;
                self.file(&mut field).await?;
                continue;
            }
            fields += 1;
            if fields > MOST_FIELDS {
                return Err(WebError::Bad("too many fields".to_owned()));
            }
            let text = text(&mut field).await?;
            match name.as_str() {
                "form" => self.need_permission(head, Some(&text))?,
                "name" => {
                    let name = text.trim().chars().filter(|c| !c.is_control());
                    self.delivery.name = name.take(LONGEST_BATCH).collect();
                }
                "urls" => self.urls(&text)?,
                _ => {}
            }
        }
        self.need_permission(head, None)
    }

    /// Nothing is written for somebody who may not.
    fn need_permission(&mut self, head: &HeaderMap, form: Option<&str>) -> Result<(), WebError> {
        if !self.allowed {
            self.app.session.allow(head, form)?;
            self.allowed = true;
        }
        Ok(())
    }

    async fn file(&mut self, field: &mut Field<'_>) -> Result<(), WebError> {
        let given = field.file_name().unwrap_or_default().to_owned();
        let mut first = field.chunk().await.map_err(broken)?;
        // A browser sends a file without a name where none was chosen.
        if given.is_empty() && first.as_ref().is_none_or(bytes::Bytes::is_empty) {
            return Ok(());
        }
        let most = self.app.options.upload_files;
        if self.delivery.files.len() >= most {
            return Err(WebError::TooLarge(format!(
                "at most {most} files at once (web.upload_files)"
            )));
        }
        let name = self.name(&given);
        let path = self.delivery.folder.join(name);
        let failed = |error: std::io::Error| {
            tracing::error!(path = %path.display(), %error, "an upload cannot be written");
            WebError::Away("the archive cannot write what is sent at the moment".to_owned())
        };
        tokio::fs::create_dir_all(&self.delivery.folder).await.map_err(failed)?;
        let mut file = tokio::fs::File::create_new(&path).await.map_err(failed)?;
        while let Some(chunk) = first.take() {
            self.written += chunk.len() as u64;
            let limit = self.app.options.upload_bytes;
            if self.written > limit {
                let limit = crate::shown::bytes(limit);
                return Err(WebError::TooLarge(format!(
                    "at most {limit} at once (web.upload_bytes)"
                )));
            }
            file.write_all(&chunk).await.map_err(failed)?;
            first = field.chunk().await.map_err(broken)?;
        }
        file.flush().await.map_err(failed)?;
        self.delivery.files.push(path);
        Ok(())
    }

    /// A name that is one: of no other folder, not hidden, not taken.
    fn name(&mut self, given: &str) -> String {
        let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
        let plain: String = last.chars().filter(|c| !c.is_control()).collect();
        let plain = plain.trim().trim_start_matches('.').trim();
        // The end says what a list is.
        let count = plain.chars().count();
        let mut name: String = plain.chars().skip(count.saturating_sub(LONGEST_NAME)).collect();
        if name.is_empty() {
            "image".clone_into(&mut name);
        }
        let mut unique = name.clone();
        let mut number = 2;
        while !self.names.insert(unique.to_lowercase()) {
            unique = format!("{number}-{name}");
            number += 1;
        }
        unique
    }

    fn urls(&mut self, text: &str) -> Result<(), WebError> {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let shown: String = line.chars().filter(|c| !c.is_control()).take(100).collect();
            let uri: SourceUri =
                line.parse().map_err(|error| WebError::Bad(format!("'{shown}': {error}")))?;
            if !matches!(uri.url().scheme(), "http" | "https") {
                return Err(WebError::Bad(format!(
                    "'{shown}': only http and https addresses are fetched"
                )));
            }
            let most = self.app.options.upload_files;
            if self.delivery.urls.len() >= most {
                return Err(WebError::TooLarge(format!(
                    "at most {most} addresses at once (web.upload_files); send a list as a file for more"
                )));
            }
            self.delivery.urls.push(uri);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Delivery, WebError> {
        let delivery = &mut self.delivery;
        if delivery.files.is_empty() && delivery.urls.is_empty() {
            return Err(WebError::Bad("neither a file nor an address was given".to_owned()));
        }
        if delivery.name.is_empty() {
            delivery.name = match (delivery.files.as_slice(), delivery.urls.as_slice()) {
                ([only], []) => file_name(only),
                ([first, ..], _) => format!("{} and more", file_name(first)),
                (_, [first, ..]) => crate::shown::line(first.as_str(), LONGEST_BATCH),
                _ => String::new(),
            };
        }
        Ok(delivery.clone())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads on without keeping anything, within bounds: browsers show an answer only once they have sent all.
async fn drain(parts: &mut Multipart, most: u64) {
    let mut read = 0;
    while let Ok(Some(mut field)) = parts.next_field().await {
        while let Ok(Some(chunk)) = field.chunk().await {
            read += chunk.len() as u64;
            if read > most {
                return;
            }
        }
    }
}

async fn text(field: &mut Field<'_>) -> Result<String, WebError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST_TEXT {
            return Err(WebError::TooLarge("a field of the form is too long".to_owned()));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn broken(error: MultipartError) -> WebError {
    WebError::Bad(format!("the upload is broken: {}", error.body_text()))
}
