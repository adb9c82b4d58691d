//! What the bytes of a reference are: an image, an image that is refused, or nothing that concerns us.
//!
//! Pure: bytes in, [`Verdict`] out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ocelli_core::{Digest, ImageFacts, PerceptualHash, chain};
use ocelli_media::{DecodeLimits, Sniff, inspect, perceptual_hash_of, sniff};

/// Endings of names that promise an image: a file with one of them is never passed over in silence.
const EXTENSIONS: [&str; 22] = [
    "apng", "avif", "bmp", "dib", "gif", "heic", "heics", "heif", "hif", "jfif", "jpe", "jpeg",
    "jpg", "pam", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp",
];

/// The rule that passes over what is no image.
pub(crate) const NO_IMAGE: &str = "type";

/// The rule that leaves alone what a host does not want to be used.
pub(crate) const ROBOTS: &str = "robots";

/// Longest reason that is kept: it may quote hostile bytes.
const MAX_REASON_CHARACTERS: usize = 500;

/// What became of a reference's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An image; with a refusal, one that no analyzer can use.
    Image { facts: ImageFacts, refusal: Option<String>, hash: Option<PerceptualHash> },
    /// Passed over by a rule: [`NO_IMAGE`] (it is none, and nobody said it was one) or [`ROBOTS`].
    Skipped { rule: &'static str, why: String },
    /// No bytes.
    Problem { reason: String },
}

/// Whether the name promises an image.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

/// Why a file that begins like this is passed over, when nobody named it and its name promises no image.
pub(crate) fn passed_over(beginning: &[u8], promised: bool) -> Option<String> {
    if promised {
        return None;
    }
    match sniff(beginning) {
        Sniff::Image(_) => None,
        Sniff::NotAnImage { looks_like } => Some(no_image(looks_like)),
        Sniff::Empty => Some("the file is empty".to_owned()),
    }
}

/// What is said of something else than an image.
pub(crate) fn no_image(looks_like: &str) -> String {
    format!("not an image: it looks like {looks_like}")
}

/// Looks at all bytes of an image. `digest` is theirs. With `hash` also at its pixels: one that cannot be decoded has none,
/// and its readers will say why.
pub(crate) fn examine(bytes: &[u8], digest: Digest, limits: &DecodeLimits, hash: bool) -> Verdict {
    let size = bytes.len() as u64;
    // Header parsers see hostile bytes: one that panics is one refused image.
    match catch_unwind(AssertUnwindSafe(|| inspect(bytes, limits))) {
        Ok(Ok(found)) => Verdict::Image {
            facts: ImageFacts {
                digest,
                bytes: size,
                format: Some(found.format),
                width: Some(found.width),
                height: Some(found.height),
            },
            refusal: None,
            hash: hash.then(|| perceptual_hash_of(bytes, limits).ok().flatten()).flatten(),
        },
        Ok(Err(error)) => refused(bytes, size, digest, &chain(&error)),
        Err(_) => refused(bytes, size, digest, "broken: the reader of its header gave up"),
    }
}

/// An image that is larger than the limit; only its beginning was kept.
pub(crate) fn too_large(beginning: &[u8], size: u64, digest: Digest, limit: u64) -> Verdict {
    let reason = format!(
        "too large: it has {size} bytes, the limit is {limit} (setting limits.image_bytes)"
    );
    refused(beginning, size, digest, &reason)
}

fn refused(beginning: &[u8], size: u64, digest: Digest, reason: &str) -> Verdict {
    let format = match sniff(beginning) {
        Sniff::Image(format) => Some(format),
        _ => None,
    };
    let reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    Verdict::Image {
        facts: ImageFacts { digest, bytes: size, format, width: None, height: None },
        refusal: Some(reason.take(MAX_REASON_CHARACTERS).collect()),
        hash: None,
    }
}
