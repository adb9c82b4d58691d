//! Why an image gives no pixels.

use std::io::ErrorKind;

use image::ImageError;
use ocelli_core::{FailureClass, ImageFormat};
use thiserror::Error;

/// Longest reason that is kept of what a decoder says: some quote the bytes that they dislike.
const MAX_REASON_CHARS: usize = 300;

/// What to do about a file that contradicts its own format.
const AGAIN: &str = "copy or download it again, or save it anew with an image program";

/// Why an image gives no pixels. Trying again with the same bytes and limits gives the same error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No bytes.
    #[error("the file is empty (0 bytes); copy or download it again")]
    Empty,
    /// Bytes that are something else.
    #[error(
        "not an image that can be read: it looks like {looks_like}; name the image itself, or convert it to PNG or JPEG"
    )]
    NotAnImage {
        /// With its article.
        looks_like: &'static str,
    },
    /// An image, but of a kind that is not decoded.
    #[error("this kind of {format} is not supported: {reason}", format = shown(*.format))]
    Unsupported {
        /// By the first bytes.
        format: ImageFormat,
        /// In words, with the way out.
        reason: String,
    },
    /// Larger than a limit.
    #[error("too large: {what} is {value}, the limit is {limit} (setting {setting})")]
    TooLarge {
        /// What was measured, with its unit.
        what: &'static str,
        /// As measured.
        value: u64,
        /// As configured.
        limit: u64,
        /// The setting to raise.
        setting: &'static str,
    },
    /// The bytes end too early.
    #[error("truncated {format}: {reason}; copy or download it again", format = shown(*.format))]
    Truncated {
        /// By the first bytes.
        format: ImageFormat,
        /// What the decoder said.
        reason: String,
    },
    /// The bytes contradict the format.
    #[error("broken {format}: {reason}; {AGAIN}", format = shown(*.format))]
    Broken {
        /// By the first bytes.
        format: ImageFormat,
        /// What the decoder said.
        reason: String,
    },
    /// The decoder panicked; caught.
    #[error("broken {format}: the decoder gave up ({reason}); {AGAIN}", format = shown(*.format))]
    Panicked {
        /// By the first bytes.
        format: ImageFormat,
        /// The panic's message.
        reason: String,
    },
    /// Pixels could not be encoded again.
    #[error("cannot encode {width}x{height} pixels as {mime}: {reason}")]
    Encode {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// The target.
        mime: &'static str,
        /// What the encoder said.
        reason: String,
    },
}

impl DecodeError {
    /// All are permanent: the bytes are verified, so they will not change.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        FailureClass::Permanent
    }

    /// A recognised format for which there is no decoder in this process.
    pub(crate) fn no_decoder(format: ImageFormat) -> Self {
        let reason = match format {
            ImageFormat::Avif | ImageFormat::Heic => {
                "a program of its own converts it, and was not asked; convert it to PNG or JPEG first"
            }
            _ => "there is no decoder for it; convert it to PNG or JPEG first",
        };
        Self::Unsupported { format, reason: reason.to_owned() }
    }

    /// AVIF or HEIC where nothing is installed that converts it.
    pub(crate) fn no_converter(format: ImageFormat) -> Self {
        let reason = "what converts it is not installed where it was read; install heif-convert there \
                      (apt-get install libheif-examples) and try again with --retry failed, or convert it to PNG or JPEG";
        Self::Unsupported { format, reason: reason.to_owned() }
    }

    /// What the `image` crate said, in this crate's classes.
    pub(crate) fn from_image(format: ImageFormat, error: ImageError) -> Self {
        let reason = clip(&error.to_string());
        match error {
            ImageError::Unsupported(_) => {
                Self::Unsupported { format, reason: format!("{reason}; convert it to PNG first") }
            }
            ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Self::Truncated { format, reason: "the file ends too early".to_owned() }
            }
            // Every size was checked beforehand, so only a decoder's working memory is left.
            ImageError::Limits(_) => Self::Broken {
                format,
                reason: format!("its parts need more memory than its size accounts for ({reason})"),
            },
            error if mentions_early_end(&error) => Self::Truncated { format, reason },
            _ => Self::Broken { format, reason },
        }
    }

    /// What the `tiff` crate said about a page.
    pub(crate) fn from_tiff(page: u32, error: &tiff::TiffError) -> Self {
        let format = ImageFormat::Tiff;
        let reason = format!("page {}: {}", page + 1, clip(&error.to_string()));
        match error {
            tiff::TiffError::UnsupportedError(_) => {
                Self::Unsupported { format, reason: format!("{reason}; convert it to PNG first") }
            }
            tiff::TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Self::Truncated { format, reason }
            }
            // Every page's size was checked beforehand.
            tiff::TiffError::LimitsExceeded => Self::Broken {
                format,
                reason: format!("page {}: one of its parts claims too much memory", page + 1),
            },
            _ => Self::Broken { format, reason },
        }
    }
}

/// Decoders wrap the reader's error in their own; its kind is still in the chain.
fn mentions_early_end(error: &ImageError) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let early = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof);
        if early {
            return true;
        }
        next = error.source();
    }
    false
}

/// One line of bounded length.
pub(crate) fn clip(text: &str) -> String {
    text.chars()
        .take(MAX_REASON_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// As people write it.
pub(crate) fn shown(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Webp => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Avif => "AVIF",
        ImageFormat::Heic => "HEIC",
        _ => "image",
    }
}
