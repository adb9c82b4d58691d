//! Facts about an image that need no pixels.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Container formats ocelli knows by their first bytes. AVIF and HEIC take a program of their own to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ImageFormat {
    /// Portable Network Graphics, also animated.
    Png,
    /// JPEG / JFIF / Exif.
    Jpeg,
    /// WebP, also animated.
    Webp,
    /// GIF.
    Gif,
    /// TIFF.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// Netpbm: PBM, PGM, PPM, PAM.
    Pnm,
    /// AVIF (decoded where the program for it is installed).
    Avif,
    /// HEIC / HEIF (decoded where the program for it is installed).
    Heic,
}

impl ImageFormat {
    /// Lower-case name, as in the catalog and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
            Self::Gif => "gif",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
            Self::Pnm => "pnm",
            Self::Avif => "avif",
            Self::Heic => "heic",
        }
    }

    /// The inverse of [`ImageFormat::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Png,
            Self::Jpeg,
            Self::Webp,
            Self::Gif,
            Self::Tiff,
            Self::Bmp,
            Self::Pnm,
            Self::Avif,
            Self::Heic,
        ]
        .into_iter()
        .find(|format| format.name() == name)
    }
}

/// What the producer learned about an image while reading its bytes once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// Identity.
    pub digest: Digest,
    /// Size of the encoded bytes.
    pub bytes: u64,
    /// `None` when the bytes are no image that ocelli knows.
    pub format: Option<ImageFormat>,
    /// Pixels after EXIF orientation, when the header could be read.
    pub width: Option<u32>,
    /// Pixels after EXIF orientation, when the header could be read.
    pub height: Option<u32>,
}

impl ImageFacts {
    /// An image of which only its digest is known: whoever told of it has not read it.
    #[must_use]
    pub const fn unread(digest: Digest) -> Self {
        Self { digest, bytes: 0, format: None, width: None, height: None }
    }

    /// Whether nobody has read it: no image is empty.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        self.bytes == 0
    }

    /// Takes over what `other` knows about the same bytes. Two readers of the same bytes can only differ in what they
    /// could not tell, or in their version: the larger value stays, whatever the order.
    pub fn add(&mut self, other: &Self) {
        self.bytes = self.bytes.max(other.bytes);
        self.format = self.format.max(other.format);
        self.width = self.width.max(other.width);
        self.height = self.height.max(other.height);
    }
}
