//! Getting the bytes of a job, and making sure that they are the bytes that were enqueued.

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, SourceUri};
use ocelli_media::Fetcher;

use crate::AnalyzeError;

/// Tries the sources in order until one gives bytes with the right digest.
///
/// # Errors
/// Transient when any source may still come back, else permanent; the reason names every source that was tried.
pub(crate) async fn fetch(
    fetcher: &Fetcher,
    digest: Digest,
    sources: &[SourceUri],
) -> Result<Bytes, AnalyzeError> {
    let mut reasons = Vec::new();
    let mut class = FailureClass::Permanent;
    for source in sources {
        match fetcher.fetch(source).await {
            Ok(bytes) => {
                // Hashing tens of megabytes takes long enough to hold up the heartbeats of a runtime thread.
                let (bytes, found) = tokio::task::spawn_blocking(move || {
                    let found = Digest::of(&bytes);
                    (bytes, found)
                })
                .await
                .map_err(|error| failed(FailureClass::Crash, error.to_string()))?;
                if found == digest {
                    return Ok(bytes);
                }
                reasons.push(format!(
                    "{source} has changed since it was enqueued (digest {} instead of {}); enqueue it again to read its new content",
                    found.short(),
                    digest.short()
                ));
            }
            Err(error) => {
                // One host that is away is no outage of the analyzer: the next image lies elsewhere.
                if error.class() != FailureClass::Permanent {
                    class = FailureClass::Transient;
                }
                reasons.push(error.to_string());
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("the job names no source to fetch the image from".to_owned());
    }
    Err(failed(class, reasons.join("; ")))
}

fn failed(class: FailureClass, reason: String) -> AnalyzeError {
    AnalyzeError { class, reason, provenance: None }
}
