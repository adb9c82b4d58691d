//! Getting the bytes of a job, and making sure that they are the bytes that were enqueued.

use std::sync::Once;

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, ImageFacts, SourceUri};
use ocelli_media::{DecodeLimits, FetchError, Fetcher, Polite, Sniff, inspect, sniff};

use crate::AnalyzeError;

/// Said once: whoever may not write there may not the next time either.
static NOT_KEPT: Once = Once::new();

/// Tries the kept copy and the sources in order, until one gives bytes with the right digest. With `keep` a copy is kept of what a URL
/// gave.
///
/// # Errors
/// Transient when any of them may still come back, else permanent; the reason names every one that was tried.
pub(crate) async fn fetch(
    polite: &Polite,
    digest: Digest,
    sources: &[SourceUri],
    keep: bool,
) -> Result<Bytes, AnalyzeError> {
    let fetcher = polite.fetcher();
    let mut tried = Tried::default();
    // Only of such sources copies are kept; for others a store in a bucket would be asked in vain for each job.
    let first = sources.iter().any(|source| source.is_web() || source.member().is_some());
    if first && let Some(bytes) = kept(fetcher, digest, &mut tried).await? {
        return Ok(bytes);
    }
    for source in sources {
        match polite.fetch(source).await {
            Ok(bytes) => {
                let (bytes, found) = hashed(bytes).await?;
                if found == digest {
                    if keep && source.is_web() {
                        keep_copy(polite, digest, bytes.clone()).await;
                    }
                    return Ok(bytes);
                }
                tried.reasons.push(format!(
                    "{source} has changed since it was enqueued (digest {} instead of {}); enqueue it again to read its new content",
                    found.short(),
                    digest.short()
                ));
            }
            Err(error) => tried.note(&error),
        }
    }
    if !first && let Some(bytes) = kept(fetcher, digest, &mut tried).await? {
        return Ok(bytes);
    }
    if tried.reasons.is_empty() {
        tried.reasons.push("the job names no source to fetch the image from".to_owned());
    }
    let class = if tried.may_pass { FailureClass::Transient } else { FailureClass::Permanent };
    Err(failed(class, tried.reasons.join("; ")))
}

/// What gave no bytes.
#[derive(Default)]
struct Tried {
    reasons: Vec<String>,
    may_pass: bool,
}

impl Tried {
    fn note(&mut self, error: &FetchError) {
        // One host that is away is no outage of the analyzer: the next image lies elsewhere.
        self.may_pass |= error.class() != FailureClass::Permanent;
        self.reasons.push(error.to_string());
    }
}

/// The kept copy, if it is there and undamaged.
async fn kept(
    fetcher: &Fetcher,
    digest: Digest,
    tried: &mut Tried,
) -> Result<Option<Bytes>, AnalyzeError> {
    match fetcher.kept(&digest).await {
        Ok(Some(bytes)) => {
            let (bytes, found) = hashed(bytes).await?;
            if found == digest {
                return Ok(Some(bytes));
            }
            tried.reasons.push("the kept copy is damaged ('ocelli verify' names such)".to_owned());
        }
        Ok(None) => {}
        Err(error) => {
            tried.note(&error);
            // A store that is not there at all is a setting to be corrected, and no reason to give up an image.
            tried.may_pass = true;
        }
    }
    Ok(None)
}

/// What is hashed at once, in a fraction of a millisecond: another thread would cost more than that.
const SMALL: usize = 64 * 1024;
/// An image that could be read is read, whether it can be kept or not.
async fn keep_copy(polite: &Polite, digest: Digest, bytes: Bytes) {
    if let Err(error) = polite.fetcher().keep(digest, bytes).await {
        NOT_KEPT.call_once(|| {
            tracing::warn!(
                %digest, reason = %error,
                "images of URLs cannot be kept here; this worker says so once (setting producer.keep_urls)"
            );
        });
    }
}

/// What an image is that nobody had read before, by its header; its bytes are those of its digest. At least its size is known.
pub(crate) async fn learn(bytes: &Bytes, digest: Digest, most: u64) -> Option<ImageFacts> {
    let bytes = bytes.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let limits = DecodeLimits { bytes: most, ..DecodeLimits::default() };
        let found = inspect(&bytes, &limits).ok();
        let format = match sniff(&bytes) {
            Sniff::Image(format) => Some(format),
            _ => None,
        };
        ImageFacts {
            digest,
            bytes: bytes.len() as u64,
            format: found.map_or(format, |found| Some(found.format)),
            width: found.map(|found| found.width),
            height: found.map(|found| found.height),
        }
    });
    // A header that makes its reader panic is the analyzer's to complain about.
    looking.await.ok()
}

/// Hashing tens of megabytes takes long enough to hold up the heartbeats of a runtime thread.
async fn hashed(bytes: Bytes) -> Result<(Bytes, Digest), AnalyzeError> {
    if bytes.len() <= SMALL {
        let found = Digest::of(&bytes);
        return Ok((bytes, found));
    }
    let hashing = tokio::task::spawn_blocking(move || {
        let found = Digest::of(&bytes);
        (bytes, found)
    });
    hashing.await.map_err(|error| failed(FailureClass::Crash, error.to_string()))
}

fn failed(class: FailureClass, reason: String) -> AnalyzeError {
    AnalyzeError { class, reason, provenance: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ocelli_media::{FetchLimits, Fetcher, Manners};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_kept_copy_is_read_when_its_source_is_gone_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Some(folder.path().join("kept").into());
        let fetcher = Fetcher::new(FetchLimits { kept, ..FetchLimits::default() }).unwrap();
        let polite = Polite::new(fetcher.clone(), Manners::default());
        let digest = Digest::of(b"pixels");
        let gone = [SourceUri::from_path(&folder.path().join("gone.png")).unwrap()];
        let error = fetch(&polite, digest, &gone, true).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Permanent);
        assert!(fetcher.keep(digest, Bytes::from_static(b"pixels")).await.unwrap());
        assert_eq!(fetch(&polite, digest, &gone, true).await.unwrap(), "pixels");
        std::fs::write(
            ocelli_media::Store::new(folder.path().join("kept")).path(&digest),
            "pixelz",
        )
        .unwrap();
        let error = fetch(&polite, digest, &gone, true).await.unwrap_err();
        assert!(error.reason.contains("the kept copy is damaged"), "{}", error.reason);
        std::fs::write(folder.path().join("gone.png"), "pixels").unwrap();
        assert_eq!(
            fetch(&polite, digest, &gone, true).await.unwrap(),
            "pixels",
            "its source is back"
        );
    }

    /// Serves the same bytes wherever it is asked, has rules, and counts the images that it sends.
    async fn host(bytes: &'static str) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let is_rules = request.starts_with(b"GET /robots.txt ");
                counted.fetch_add(usize::from(!is_rules), Ordering::Relaxed);
                let body = if is_rules { "User-agent: *\nDisallow: /private/\n" } else { bytes };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (format!("http://{address}"), sent)
    }

    #[tokio::test]
    async fn what_a_url_gave_is_kept_and_its_host_is_asked_whether_it_allows_that() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Some(folder.path().join("kept"));
        let limits = FetchLimits {
            kept: kept.map(Into::into),
            allow_private_hosts: true,
            ..FetchLimits::default()
        };
        let fetcher = Fetcher::new(limits).unwrap();
        let polite = Polite::new(fetcher.clone(), Manners::default());
        let digest = Digest::of(b"pixels");
        let (host, sent) = host("pixels").await;
        let source = |path: &str| -> SourceUri { format!("{host}/{path}").parse().unwrap() };
        let private = [source("private/a.png")];
        let error = fetch(&polite, digest, &private, true).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Permanent);
        assert!(error.reason.contains("producer.obey_robots"), "{}", error.reason);
        let other = Digest::of(b"other");
        assert!(fetch(&polite, other, &[source("a.png")], true).await.is_err());
        assert!(
            fetcher.kept(&other).await.unwrap().is_none()
                && fetcher.kept(&digest).await.unwrap().is_none()
        );
        fetch(&polite, digest, &[source("a.png")], false).await.unwrap();
        assert!(fetcher.kept(&digest).await.unwrap().is_none(), "nobody wants it to be kept");
        fetch(&polite, digest, &[source("a.png")], true).await.unwrap();
        assert_eq!(fetcher.kept(&digest).await.unwrap().unwrap(), "pixels");
        fetch(&polite, digest, &[source("a.png")], true).await.unwrap();
        assert_eq!(sent.load(Ordering::Relaxed), 3, "the last time the copy was read");
    }
}
