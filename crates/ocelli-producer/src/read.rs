//! The bytes of one reference, read once: from a file on a blocking thread, or from a URL.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ocelli_catalog::FileStamp;
use ocelli_core::member::ArchiveKind;
use ocelli_core::retry::backoff;
use ocelli_core::{Digest, SourceUri, chain};
use ocelli_media::{Answer, DecodeLimits, FetchError, Fetcher};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::ProducerOptions;
use crate::examine::{
    NO_IMAGE, ROBOTS, Verdict, examine, has_image_extension, passed_over, too_large,
};
use crate::hosts::{Hosts, Permission, Place};
use crate::listing::Reference;
use crate::metrics::ProducerMetrics;
use crate::unchanged::{settled, stamp};

/// Bytes that show what a file is, so that a film among the photos costs one small read.
const BEGINNING: usize = 8 * 1024;

/// Why a URL is left alone.
const DISALLOWED: &str =
    "the robots.txt of its host does not allow it (setting producer.obey_robots)";

/// First wait before a URL is tried again, and the longest.
const FETCH_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// What came of reading a reference.
pub(crate) struct Looked {
    pub(crate) verdict: Verdict,
    /// Bytes that were read.
    pub(crate) read: u64,
    /// What the file looked like, when that may be remembered.
    pub(crate) stamp: Option<FileStamp>,
}

impl Looked {
    fn at(verdict: Verdict, read: u64) -> Self {
        Self { verdict, read, stamp: None }
    }
}

/// Reads references. Shared by all tasks of a run.
pub(crate) struct Reader {
    fetcher: Fetcher,
    decode: DecodeLimits,
    hash_bytes: u64,
    fetch_attempts: u32,
    within: Option<PathBuf>,
    clock_grain: Duration,
    hosts: Hosts,
    keep_urls: bool,
    keep_packed: bool,
    hash: bool,
    metrics: ProducerMetrics,
}

impl Reader {
    pub(crate) fn new(
        fetcher: Fetcher,
        hosts: Hosts,
        options: &ProducerOptions,
        metrics: ProducerMetrics,
    ) -> Self {
        Self {
            fetcher,
            decode: options.decode.clone(),
            hash_bytes: options.hash_bytes.max(options.decode.bytes),
            fetch_attempts: options.fetch_attempts,
            within: options.within.clone(),
            clock_grain: options.clock_grain,
            hosts,
            keep_urls: options.keep_urls,
            keep_packed: options.keep_packed,
            hash: options.hash,
            metrics,
        }
    }

    /// Reads and examines one reference; never fails, whatever is behind it.
    pub(crate) async fn read(self: Arc<Self>, reference: &Reference) -> Looked {
        let Looked { mut verdict, read, stamp } = match &reference.path {
            Some(path) if self.within.as_ref().is_some_and(|within| !is_within(path, within)) => {
                let reason =
                    "only files that came along with the list are read here, and addresses"
                        .to_owned();
                Looked::at(Verdict::Problem { reason }, 0)
            }
            Some(path) => {
                let (path, named) = (path.clone(), reference.named);
                let reader = Arc::clone(&self);
                blocking(move || reader.read_file(&path, named)).await
            }
            None if self.within.is_some() && !reference.source.is_web() => {
                let reason = "only files that came along with the list are read here, and addresses of the web".to_owned();
                Looked::at(Verdict::Problem { reason }, 0)
            }
            None => Arc::clone(&self).read_source(reference).await,
        };
        self.metrics.read_bytes.inc_by(read);
        if let (Some(expected), Verdict::Image { facts, .. }) = (reference.digest, &verdict)
            && facts.digest != expected
        {
            verdict = Verdict::Problem {
                reason: format!(
                    "the bytes have another digest than the list says: {} instead of {expected}",
                    facts.digest
                ),
            };
        }
        if let (Verdict::Problem { reason }, Some((list, line))) =
            (&mut verdict, &reference.listed_in)
        {
            reason.push_str(&format!(" (named in {list}:{line})"));
        }
        Looked { verdict, read, stamp }
    }

    fn read_file(&self, path: &Path, named: bool) -> Looked {
        let promised = named || has_image_extension(path);
        let mut read = 0;
        let looked = self.try_read_file(path, promised, &mut read);
        let (verdict, stamp) = looked.unwrap_or_else(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "there is no such file (any more)".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    format!("the file cannot be read: {error}; check its permissions (ls -l)")
                }
                _ => format!("the file cannot be read: {error}"),
            };
            (Verdict::Problem { reason }, None)
        });
        Looked { verdict, read, stamp }
    }

    fn try_read_file(
        &self,
        path: &Path,
        promised: bool,
        read: &mut u64,
    ) -> io::Result<(Verdict, Option<FileStamp>)> {
        // A pipe that took the file's place would block an ordinary open for ever.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let begun = SystemTime::now();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let before = file.metadata()?;
        let verdict = self.look_into(&file, &before, promised, read)?;
        let stamp = match verdict {
            Verdict::Image { .. } => {
                let after = stamp(&file.metadata()?);
                settled(stamp(&before), after, begun, self.clock_grain)
            }
            _ => None,
        };
        Ok((verdict, stamp))
    }

    fn look_into(
        &self,
        mut file: &File,
        metadata: &Metadata,
        promised: bool,
        read: &mut u64,
    ) -> io::Result<Verdict> {
        let problem = |reason: &str| Ok(Verdict::Problem { reason: reason.to_owned() });
        if metadata.is_dir() {
            return problem("it is a folder; name it as a source of its own");
        }
        if !metadata.is_file() {
            return problem("it is a pipe, socket or device, not a file");
        }
        let mut bytes = Vec::with_capacity(BEGINNING);
        *read += file.by_ref().take(BEGINNING as u64).read_to_end(&mut bytes)? as u64;
        if let Some(why) = passed_over(&bytes, promised) {
            return Ok(Verdict::Skipped { rule: NO_IMAGE, why });
        }
        let limit = self.decode.bytes;
        if metadata.len() <= limit {
            bytes.reserve_exact(
                usize::try_from(metadata.len()).unwrap_or(0).saturating_sub(bytes.len()) + 1,
            );
            // One byte more than the limit tells a file that grew meanwhile.
            let rest = (limit + 1).saturating_sub(bytes.len() as u64);
            *read += file.by_ref().take(rest).read_to_end(&mut bytes)? as u64;
        }
        if bytes.len() as u64 <= limit && metadata.len() <= limit {
            return Ok(examine(&bytes, Digest::of(&bytes), &self.decode, self.hash));
        }
        self.hash_rest(file, &bytes, metadata.len(), read)
    }

    /// The digest of a file that is too large to be held, so that its refusal can be kept with the image.
    fn hash_rest(
        &self,
        mut file: &File,
        bytes: &[u8],
        expected: u64,
        read: &mut u64,
    ) -> io::Result<Verdict> {
        let over = |size: u64| Verdict::Problem {
            reason: format!(
                "too large: it has at least {size} bytes, the limit is {} (setting limits.image_bytes)",
                self.decode.bytes
            ),
        };
        if expected > self.hash_bytes {
            return Ok(over(expected));
        }
        let mut hash = Sha256::new_with_prefix(bytes);
        let mut size = bytes.len() as u64;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hash.update(&buffer[..count]);
            size += count as u64;
            *read += count as u64;
            if size > self.hash_bytes {
                return Ok(over(size));
            }
        }
        Ok(too_large(bytes, size, Digest::from_bytes(hash.finalize().into()), self.decode.bytes))
    }

    /// A URL, or a member of an archive: as a file of a folder, one that nobody named may be no image.
    async fn read_source(self: Arc<Self>, reference: &Reference) -> Looked {
        let fetched = match &reference.held {
            Some(held) => Ok(held.bytes()),
            None => self.fetch(&reference.source).await,
        };
        let bytes = match fetched {
            Ok(bytes) => bytes,
            Err(verdict) => return Looked::at(verdict, 0),
        };
        let read = bytes.len() as u64;
        let promised = reference.named || promises_image(&reference.source);
        if let Some(why) = passed_over(&bytes[..bytes.len().min(BEGINNING)], promised) {
            return Looked::at(Verdict::Skipped { rule: NO_IMAGE, why }, read);
        }
        let kept = self.keeps(&reference.source).then(|| bytes.clone());
        let reader = Arc::clone(&self);
        let examined = move || examine(&bytes, Digest::of(&bytes), &reader.decode, reader.hash);
        let examining = blocking(move || Looked::at(examined(), read));
        let verdict = examining.await.verdict;
        if let (Some(bytes), Verdict::Image { facts, refusal: None, .. }) = (kept, &verdict)
            && let Err(error) = self.fetcher.keep(facts.digest, bytes).await
        {
            let reason = format!(
                "it cannot be kept: {error} (settings producer.keep_urls and producer.keep_packed)"
            );
            return Looked::at(Verdict::Problem { reason }, read);
        }
        Looked { verdict, read, stamp: reference.stamp }
    }

    /// Whether a copy is kept of what is read there.
    fn keeps(&self, source: &SourceUri) -> bool {
        match source.member() {
            Some(member) => self.keep_packed && member.kind == ArchiveKind::TarGz,
            None => self.keep_urls && source.is_web(),
        }
    }

    /// Fetches, and tries again what may pass.
    async fn fetch(&self, source: &SourceUri) -> Result<bytes::Bytes, Verdict> {
        let mut attempt = 0;
        loop {
            let (error, place) = match self.follow(source).await {
                Ok(bytes) => return Ok(bytes),
                Err(Stopped::For(verdict)) => return Err(verdict),
                Err(Stopped::By(error, place)) => (error, place),
            };
            attempt += 1;
            let pause = backoff(attempt, FETCH_BACKOFF.0, FETCH_BACKOFF.1, rand::random());
            let wait = self.hosts.wait(place.as_ref(), &error, pause);
            match wait.filter(|_| attempt < self.fetch_attempts) {
                Some(wait) => {
                    tracing::debug!(%source, attempt, ?wait, reason = %chain(&error), "fetching again");
                    tokio::time::sleep(wait).await;
                }
                None => return Err(Verdict::Problem { reason: chain(&error) }),
            }
        }
    }

    /// One try, through all redirects, with the manners that each host on the way may expect.
    async fn follow(&self, source: &SourceUri) -> Result<bytes::Bytes, Stopped> {
        let limits = self.fetcher.limits();
        let (mut at, mut left) = (source.clone(), limits.total_timeout);
        for _ in 0..=limits.redirects {
            let place = self.hosts.place(&at).await;
            if let Some(place) = &place {
                match self.hosts.permission(place, &at).await {
                    Permission::Granted => {}
                    Permission::Denied => {
                        return Err(Stopped::For(unwanted(DISALLOWED.to_owned())));
                    }
                    Permission::Unknown(reason) => {
                        let reason =
                            format!("it is not known whether its host allows it: {reason}");
                        return Err(Stopped::For(Verdict::Problem { reason }));
                    }
                }
                self.hosts.turn(place).await;
            }
            let begun = Instant::now();
            match self.fetcher.ask(source, &at, left).await {
                Ok(Answer::Bytes(bytes)) => return Ok(bytes),
                Ok(Answer::Elsewhere(next)) => at = next,
                Err(error @ FetchError::Unwanted { .. }) => {
                    return Err(Stopped::For(unwanted(chain(&error))));
                }
                Err(error) => return Err(Stopped::By(error, place)),
            }
            // Waiting for one's turn is no slowness of the host.
            left = left.saturating_sub(begun.elapsed());
        }
        let (source_name, limit) = (source.to_string(), limits.redirects);
        Err(Stopped::By(FetchError::Redirects { source_name, limit }, None))
    }
}

/// Why a try gave no bytes.
enum Stopped {
    /// Not to be tried again.
    For(Verdict),
    /// Said at this place.
    By(FetchError, Option<Place>),
}

fn unwanted(why: String) -> Verdict {
    Verdict::Skipped { rule: ROBOTS, why }
}

/// Whether the name of what was listed promises an image; what has no name does.
fn promises_image(source: &SourceUri) -> bool {
    let is_image = |name: &[u8]| has_image_extension(Path::new(std::ffi::OsStr::from_bytes(name)));
    match (source.member(), source.object()) {
        (Some(member), _) => is_image(&member.name),
        (None, Some(object)) => is_image(object.key.as_bytes()),
        (None, None) => true,
    }
}

/// Runs `work` on a blocking thread; a panic there is a problem of this reference only.
async fn blocking(work: impl FnOnce() -> Looked + Send + 'static) -> Looked {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        let reason = "reading it ended by a defect of ocelli".to_owned();
        Looked::at(Verdict::Problem { reason }, 0)
    })
}

/// Whether a path leads into a folder, as it is written. Whoever writes into that folder makes no links.
fn is_within(path: &Path, folder: &Path) -> bool {
    let up = std::path::Component::ParentDir;
    path.starts_with(folder) && path.components().all(|part| part != up)
}

/// The path of a reference for people, else its URI.
pub(crate) fn name(reference: &Reference) -> String {
    reference
        .path
        .as_ref()
        .map_or_else(|| reference.source.to_string(), |path: &PathBuf| crate::source::shown(path))
}
