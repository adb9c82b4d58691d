//! Every bound of this crate, with its reason.

use std::time::Duration;

use crate::objects::ObjectOptions;
use crate::store::Kept;

/// Bounds on an encoded image and on what decoding it may cost. Checked before anything is allocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Encoded bytes (setting `limits.image_bytes`).
    pub bytes: u64,
    /// Width and height in pixels (setting `limits.image_side`).
    pub side: u32,
    /// Width × height of one page in pixels (setting `limits.image_pixels`).
    pub pixels: u64,
    /// Pages of a multi-page TIFF (setting `limits.image_pages`).
    pub pages: u32,
    /// Bytes of memory for decoding one image, all pages together (setting `limits.decode_memory`).
    pub memory: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            // A lossless photograph of 50 megapixels stays below; what is larger is rarely an image that was shared.
            bytes: 64 * 1024 * 1024,
            // Posters and long screenshots have up to 16,000; decoders begin to misbehave above 32,767.
            side: 20_000,
            // The largest common camera sensors (100 megapixels).
            pixels: 100_000_000,
            // A long fax or a scanned booklet; each page costs a pass of every reader.
            pages: 50,
            // 100 megapixels in RGB, and once more for a decoder's own buffers.
            memory: 640 * 1024 * 1024,
        }
    }
}

/// Bounds on the program that converts one AVIF or HEIC image. What it may write follows from the size of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertLimits {
    /// How long it may take (setting `limits.convert_deadline`).
    pub deadline: Duration,
    /// Bytes of its address space (setting `limits.convert_memory`).
    pub memory: u64,
}

impl Default for ConvertLimits {
    fn default() -> Self {
        Self {
            // 0.2 to 0.3 s of CPU for each megapixel of noise, photographs less: most of the largest allowed images, too.
            deadline: Duration::from_secs(30),
            // 100 megapixels in YCbCr and in RGB with 16 bits, and the stacks of a decoder's threads.
            memory: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// Bounds on fetching one source. Enforced while reading, not afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of one body or file (setting `limits.image_bytes`).
    pub bytes: u64,
    /// Unpacked bytes of an archive that is packed as a whole (setting `limits.archive_bytes`): a member behind more is not
    /// read.
    pub archive_bytes: u64,
    /// Name resolution, TCP and TLS together. A host that is up answers in well under a second.
    pub connect_timeout: Duration,
    /// The longest silence between two pieces of a body: ends a server that sends nothing.
    pub read_timeout: Duration,
    /// The whole fetch with all its redirects: ends a server that sends a byte now and then.
    pub total_timeout: Duration,
    /// Redirects followed; each target is checked like the first address.
    pub redirects: u32,
    /// Whether hosts with private, loopback and other non-public addresses may be asked.
    pub allow_private_hosts: bool,
    /// Whether an image is left alone whose host sends `X-Robots-Tag: noai` or `noindex` (setting `producer.obey_robots`).
    pub robots_tags: bool,
    /// Whether a body that begins like no image is left there. Not for what people or programs read: rules of hosts, digests of what is
    /// in the archive.
    pub images_only: bool,
    /// Who reads which buckets.
    pub objects: ObjectOptions,
    /// Where copies of images are kept; none: nowhere.
    pub kept: Option<Kept>,
    /// Hosts that may be asked although their address is not public: `name`, `name:port`, an address, or
    /// `*.suffix`.
    pub allowed_hosts: Vec<String>,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            bytes: DecodeLimits::default().bytes,
            // Minutes of unpacking.
            archive_bytes: 64 << 30,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(20),
            total_timeout: Duration::from_secs(120),
            // Image hosts use one to three; browsers stop at 20.
            redirects: 5,
            allow_private_hosts: false,
            robots_tags: true,
            images_only: true,
            objects: ObjectOptions::default(),
            kept: None,
            allowed_hosts: Vec::new(),
        }
    }
}
