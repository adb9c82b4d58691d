//! Getting the bytes of a job, and making sure that they are the bytes that were enqueued.

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, SourceUri};
use ocelli_media::{FetchError, Fetcher};

use crate::AnalyzeError;

/// Tries the kept copy and the sources in order, until one gives bytes with the right digest.
///
/// # Errors
/// Transient when any of them may still come back, else permanent; the reason names every one that was tried.
pub(crate) async fn fetch(
    fetcher: &Fetcher,
    digest: Digest,
    sources: &[SourceUri],
) -> Result<Bytes, AnalyzeError> {
    let mut tried = Tried::default();
    // Only of such sources copies are kept; for others a store in a bucket would be asked in vain for each job.
    let first = sources.iter().any(|source| source.is_web() || source.member().is_some());
    if first && let Some(bytes) = kept(fetcher, digest, &mut tried).await? {
        return Ok(bytes);
    }
    for source in sources {
        match fetcher.fetch(source).await {
            Ok(bytes) => {
                let (bytes, found) = hashed(bytes).await?;
                if found == digest {
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

/// Hashing tens of megabytes takes long enough to hold up the heartbeats of a runtime thread.
async fn hashed(bytes: Bytes) -> Result<(Bytes, Digest), AnalyzeError> {
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
        let kept = Some(folder.path().join("kept").into());
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
