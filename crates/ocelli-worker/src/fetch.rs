//! Getting the bytes of a job, and making sure that they are the bytes that were enqueued.

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, SourceUri};
use ocelli_media::Fetcher;

use crate::AnalyzeError;

/// Tries the kept copy and then the sources in order, until one gives bytes with the right digest.
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
    if let Some(bytes) = fetcher.kept(&digest).await {
        let (bytes, found) = hashed(bytes).await?;
        if found == digest {
            return Ok(bytes);
        }
        reasons.push("the kept copy is damaged ('ocelli verify' names such)".to_owned());
    }
    for source in sources {
        match fetcher.fetch(source).await {
            Ok(bytes) => {
                let (bytes, found) = hashed(bytes).await?;
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

/// What is hashed at once, in a fraction of a millisecond: another thread would cost more than that.
const SMALL: usize = 64 * 1024;

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
    use ocelli_media::FetchLimits;

    use super::*;

    #[tokio::test]
    async fn a_kept_copy_is_read_when_its_source_is_gone_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Some(folder.path().join("kept"));
        let fetcher = Fetcher::new(FetchLimits { kept, ..FetchLimits::default() }).unwrap();
        let digest = Digest::of(b"pixels");
        let gone = [SourceUri::from_path(&folder.path().join("gone.png")).unwrap()];
        let error = fetch(&fetcher, digest, &gone).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Permanent);
        assert!(fetcher.keep(digest, Bytes::from_static(b"pixels")).await.unwrap());
        assert_eq!(fetch(&fetcher, digest, &gone).await.unwrap(), "pixels");
        std::fs::write(
            ocelli_media::Store::new(folder.path().join("kept")).path(&digest),
            "pixelz",
        )
        .unwrap();
        let error = fetch(&fetcher, digest, &gone).await.unwrap_err();
        assert!(error.reason.contains("the kept copy is damaged"), "{}", error.reason);
        std::fs::write(folder.path().join("gone.png"), "pixels").unwrap();
        assert_eq!(fetch(&fetcher, digest, &gone).await.unwrap(), "pixels", "its source is back");
    }
}
