//! The bytes of one reference, read once: from a file on a blocking thread, or from a URL.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ocelli_catalog::{FileStamp, SeenImage};
use ocelli_core::member::ArchiveKind;
use ocelli_core::retry::backoff;
use ocelli_core::{Digest, SourceUri, chain};
use ocelli_media::sniff::BEGINNING;
use ocelli_media::{DecodeLimits, FetchError, Fetched, Polite, Validators};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::ProducerOptions;
use crate::examine::{
    NO_IMAGE, ROBOTS, Verdict, examine, has_image_extension, no_image, passed_over, too_large,
};
use crate::listing::Reference;
use crate::metrics::ProducerMetrics;
use crate::readers::FileNews;
use crate::unchanged::{settled, stamp};

/// Fetched bytes that are hashed where they arrived: a fifth of a millisecond, which handing them to another thread and back
/// is a good part of.
const EXAMINED_AT_ONCE: usize = 256 * 1024;

/// First wait before a URL is tried again, and the longest.
const FETCH_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// What came of reading a reference.
pub(crate) struct Looked {
    pub(crate) verdict: Verdict,
    /// Bytes that were read.
    pub(crate) read: u64,
    /// What may be remembered of it.
    pub(crate) file: FileNews,
}

impl Looked {
    fn at(verdict: Verdict, read: u64) -> Self {
        Self { verdict, read, file: FileNews::None }
    }
}

/// Reads references. Shared by all tasks of a run.
pub(crate) struct Reader {
    polite: Polite,
    decode: DecodeLimits,
    hash_bytes: u64,
    fetch_attempts: u32,
    within: Option<PathBuf>,
    clock_grain: Duration,
    keep_urls: bool,
    keep_packed: bool,
    hash: bool,
    metrics: ProducerMetrics,
}

impl Reader {
    pub(crate) fn new(polite: Polite, options: &ProducerOptions, metrics: ProducerMetrics) -> Self {
        Self {
            polite,
            decode: options.decode.clone(),
            hash_bytes: options.hash_bytes.max(options.decode.bytes),
            fetch_attempts: options.fetch_attempts,
            within: options.within.clone(),
            clock_grain: options.clock_grain,
            keep_urls: options.keep_urls,
            keep_packed: options.keep_packed,
            hash: options.hash,
            metrics,
        }
    }

    /// Reads and examines one reference; never fails, whatever is behind it.
    pub(crate) async fn read(self: Arc<Self>, reference: &Reference) -> Looked {
        let Looked { mut verdict, read, file } = match &reference.path {
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
        Looked { verdict, read, file }
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
        Looked { verdict, read, file: stamp.map_or(FileNews::None, FileNews::Read) }
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
        // A film among the photos costs one small read.
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
        let known = self.conditions(reference).await;
        let promised = reference.named || promises_image(&reference.source);
        let fetched = match &reference.held {
            Some(held) => Ok(Fetched::Bytes(held.bytes(), Validators::default())),
            None => self.fetch(&reference.source, &known, promised).await,
        };
        let (bytes, validators) = match (fetched, &reference.conditions) {
            (Ok(Fetched::Bytes(bytes, validators)), _) => (bytes, validators),
            (Ok(Fetched::Unchanged), Some((_, SeenImage { image, refusal }))) => {
                let verdict =
                    Verdict::Image { facts: image.clone(), refusal: refusal.clone(), hash: None };
                let news = reference.is_news();
                let file = if news { FileNews::Told } else { FileNews::Unchanged };
                return Looked { verdict, read: 0, file };
            }
            (Ok(Fetched::Unchanged), None) => {
                let reason =
                    "its server says that nothing has changed, which nobody asked".to_owned();
                return Looked::at(Verdict::Problem { reason }, 0);
            }
            (Err(verdict), _) => return Looked::at(verdict, 0),
        };
        let read = bytes.len() as u64;
        if let Some(why) = passed_over(&bytes[..bytes.len().min(BEGINNING)], promised) {
            return Looked::at(Verdict::Skipped { rule: NO_IMAGE, why }, read);
        }
        let kept = self.keeps(&reference.source).then(|| bytes.clone());
        let verdict = if bytes.len() <= EXAMINED_AT_ONCE && !self.hash {
            examine(&bytes, Digest::of(&bytes), &self.decode, false)
        } else {
            let reader = Arc::clone(&self);
            let examined = move || examine(&bytes, Digest::of(&bytes), &reader.decode, reader.hash);
            blocking(move || Looked::at(examined(), read)).await.verdict
        };
        if let (Some(bytes), Verdict::Image { facts, refusal: None, .. }) = (kept, &verdict)
            && let Err(error) = self.polite.fetcher().keep(facts.digest, bytes).await
        {
            let reason = format!(
                "it cannot be kept: {error} (settings producer.keep_urls and producer.keep_packed)"
            );
            return Looked::at(Verdict::Problem { reason }, read);
        }
        let fetched = Some(validators).filter(|validators| !validators.is_empty());
        let file = match (reference.stamp, fetched) {
            (Some(stamp), _) => FileNews::Read(stamp),
            (None, Some(validators)) => FileNews::Fetched(validators),
            (None, None) => FileNews::None,
        };
        Looked { verdict, read, file }
    }

    /// By what the server of a URL may say that nothing has changed: none where its copy is to be kept and is not.
    async fn conditions(&self, reference: &Reference) -> Validators {
        let Some((validators, known)) = &reference.conditions else {
            return Validators::default();
        };
        let fetcher = self.polite.fetcher();
        let keeps = self.keeps(&reference.source) && fetcher.limits().kept.is_some();
        if keeps && known.refusal.is_none() {
            let kept = fetcher.kept(&known.image.digest).await;
            let kept = kept.ok().flatten();
            if kept.is_none_or(|bytes| Digest::of(&bytes) != known.image.digest) {
                return Validators::default();
            }
        }
        validators.clone()
    }

    /// Whether a copy is kept of what is read there.
    fn keeps(&self, source: &SourceUri) -> bool {
        match source.member() {
            Some(member) => self.keep_packed && member.kind == ArchiveKind::TarGz,
            None => self.keep_urls && source.is_web(),
        }
    }

    /// Fetches, and tries again what may pass. What is left at its beginning has no digest, and is a problem where an image was `promised`.
    async fn fetch(
        &self,
        source: &SourceUri,
        known: &Validators,
        promised: bool,
    ) -> Result<Fetched, Verdict> {
        let first = tokio::time::Instant::now();
        let mut attempt = 0;
        loop {
            let stopped = match self.polite.follow(source, known).await {
                Ok(fetched) => return Ok(fetched),
                Err(stopped) => stopped,
            };
            let reason = chain(&stopped.error);
            if matches!(stopped.error, FetchError::Disallowed { .. } | FetchError::Unwanted { .. })
            {
                return Err(Verdict::Skipped { rule: ROBOTS, why: reason });
            }
            if let (FetchError::NotAnImage { looks_like, .. }, false) = (&stopped.error, promised) {
                return Err(Verdict::Skipped { rule: NO_IMAGE, why: no_image(looks_like) });
            }
            attempt += 1;
            let pause = backoff(attempt, FETCH_BACKOFF.0, FETCH_BACKOFF.1, rand::random());
            let wait = self.polite.wait(&stopped, pause);
            let Some(wait) = wait.filter(|_| attempt < self.fetch_attempts) else {
                self.polite.gave_up(&stopped, first);
                return Err(Verdict::Problem { reason });
            };
            // Others may ask this host meanwhile.
            drop(stopped);
            tracing::debug!(%source, attempt, ?wait, %reason, "fetching again");
            tokio::time::sleep(wait).await;
        }
    }
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
