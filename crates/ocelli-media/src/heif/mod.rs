//! AVIF and HEIC: their decoders are written in C, so a program of its own makes PNG of them, locked in and within limits.
//!
//! Whoever decodes calls [`Converter::readable`] before: it blocks, and gives back what is neither as it is. The program is the
//! `heif-convert` of libheif (`heif-dec` in newer versions), which Debian has in `libheif-examples`; where there is none, these
//! images are [`DecodeError::Unsupported`]. Sizes are checked before it is started, and its PNG goes through the same decoder as
//! any other, with the same limits. Producers convert nothing: [`crate::inspect()`] reads the container's boxes.
//!
//! Absent on purpose: libheif in this process, and more than one image of a file (the first one is read).

mod boxes;
mod calls;
mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ocelli_core::{FailureClass, ImageFormat};
use thiserror::Error;

use crate::decode::error::{clip, shown};
use crate::decode::{self, budget, single};
use crate::limits::{ConvertLimits, DecodeLimits};
use crate::sniff::{Sniff, sniff};
use crate::{DecodeError, Inspection};
use boxes::Header;
use process::{Ended, Room};

/// Names of the program, the newer one first.
const PROGRAMS: [&str; 2] = ["heif-dec", "heif-convert"];
/// Where packages put it.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// What it is asked for, and the name that it makes of that for the first of several images.
const OUTPUTS: [&str; 2] = ["image.png", "image-1.png"];
/// Bytes for each pixel of a PNG that is hardly compressed: four channels of 16 bits.
const BYTES_PER_PIXEL: u64 = 8;
/// What a PNG has besides: filters, headers of blocks. A colour profile and Exif come from the image itself.
const BESIDES: u64 = 1024 * 1024;
/// How long the program may take to say what it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// The first bytes of a PNG (ISO/IEC 15948, 5.2).
const PNG_BEGINNING: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Makes PNG of AVIF and HEIC.
#[derive(Debug, Clone)]
pub struct Converter {
    programs: Vec<PathBuf>,
    limits: ConvertLimits,
}

/// Why an image was not converted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The image itself, or there is no program for it.
    #[error(transparent)]
    Image(#[from] DecodeError),
    /// The program died of it.
    #[error("{program} died of this {format}: {how}", format = shown(*.format))]
    Died {
        /// By the first bytes.
        format: ImageFormat,
        /// Its name.
        program: String,
        /// In words.
        how: &'static str,
    },
    /// The program was killed.
    #[error(
        "converting this {format} with {program} was given up after {after:.1?} (limits.convert_deadline)",
        format = shown(*.format)
    )]
    Deadline {
        /// By the first bytes.
        format: ImageFormat,
        /// Its name.
        program: String,
        /// The time that it had.
        after: Duration,
    },
    /// The program cannot be run.
    #[error("{program} cannot be run")]
    Start {
        /// Its path.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder of the conversion.
    #[error(
        "an image cannot be converted in {folder}: is there room, and may it be written? (TMPDIR names another folder)"
    )]
    Folder {
        /// Where such folders are made.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ConvertError {
    /// What kind of failure it is.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Image(error) => error.class(),
            Self::Died { .. } | Self::Deadline { .. } => FailureClass::Crash,
            Self::Start { .. } | Self::Folder { .. } => FailureClass::Transient,
        }
    }
}

/// What [`Converter::introduce`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The program.
    pub program: PathBuf,
    /// Of libheif, as the program says it.
    pub version: Option<String>,
    /// What decodes AVIF.
    pub avif: Option<String>,
    /// What decodes HEIC.
    pub heic: Option<String>,
}

impl Default for Converter {
    fn default() -> Self {
        Self::find(ConvertLimits::default())
    }
}

impl Converter {
    /// With the program of this machine: where packages put it, or on the `PATH`. Whether it is there is looked at for each image,
    /// so that it may be installed later.
    #[must_use]
    pub fn find(limits: ConvertLimits) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = FOLDERS.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
        let programs = folders
            .filter(|folder| folder.is_absolute())
            .flat_map(|folder| PROGRAMS.map(|name| folder.join(name)))
            .collect();
        Self::with(programs, limits)
    }

    /// With the first of these programs that is there, by absolute paths. It is called as `heif-convert` is: image, then PNG.
    #[must_use]
    pub fn with(programs: Vec<PathBuf>, limits: ConvertLimits) -> Self {
        Self { programs, limits }
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> ConvertLimits {
        self.limits
    }

    /// Whether `bytes` would be converted.
    #[must_use]
    pub fn concerns(bytes: &[u8]) -> bool {
        format(bytes).is_some()
    }

    /// The same image as bytes that [`decode()`](crate::decode()) reads: PNG for AVIF and HEIC, everything else unchanged. Blocks until
    /// that is done, at the latest until `ends` and for the time of the limits.
    ///
    /// The PNG is upright and has the image's transparency.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn readable(
        &self,
        bytes: Bytes,
        limits: &DecodeLimits,
        ends: Instant,
    ) -> Result<Bytes, ConvertError> {
        let Some(format) = format(&bytes) else { return Ok(bytes) };
        let header = decode::guarded(format, || header(&bytes, format, limits))?;
        let program = self.program().ok_or_else(|| DecodeError::no_converter(format))?;
        let begun = Instant::now();
        let ends = ends.min(begun + self.limits.deadline);
        let most = most(&header, &bytes);
        let room = Room::new(&OUTPUTS).map_err(folder)?;
        room.put(format.name(), &bytes).map_err(folder)?;
        let arguments = [format.name(), OUTPUTS[0]];
        let ended = room
            .run(program, &arguments, &self.limits, most, ends)
            .map_err(|source| start(program, source))?;
        let png = room.output(most).map_err(folder)?;
        outcome(format, program, &ended, png, begun.elapsed()).map(Bytes::from)
    }

    /// Asks the program what it is and can, locked in as it converts. None: there is none. Blocks.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn introduce(&self) -> Result<Option<Introduction>, ConvertError> {
        let Some(program) = self.program() else { return Ok(None) };
        let ask = |argument: &str| {
            let room = Room::new(&[]).map_err(folder)?;
            let ends = Instant::now() + INTRODUCTION;
            let ended = room
                .run(program, &[argument], &self.limits, BESIDES, ends)
                .map_err(|source| start(program, source))?;
            Ok::<_, ConvertError>((room.stdout().map_err(folder)?, ended.said))
        };
        let (said, complained) = ask("--help")?;
        let version = version(&said).or_else(|| version(&complained));
        let (decoders, _) = ask("--list-decoders")?;
        let (avif, heic) = (decoder(&decoders, "AVIF"), decoder(&decoders, "HEIC"));
        Ok(Some(Introduction { program: program.to_owned(), version, avif, heic }))
    }

    fn program(&self) -> Option<&Path> {
        self.programs.iter().map(PathBuf::as_path).find(|program| program.is_file())
    }
}

/// What the boxes tell, for [`crate::inspect()`].
pub(crate) fn inspect(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<Inspection, DecodeError> {
    let Header { width, height, sizes, deep } = header(bytes, format, limits)?;
    let most = sizes.iter().map(|(width, height)| pixels(*width, *height)).max().unwrap_or(0);
    // As RGBA: most photographs are less, and what it really takes is checked at the PNG.
    let memory = most.saturating_mul(if deep { 8 } else { 4 });
    Ok(Inspection { format, width, height, several_frames: false, memory })
}

/// The format, of those that are converted.
fn format(bytes: &[u8]) -> Option<ImageFormat> {
    match sniff(bytes) {
        Sniff::Image(format @ (ImageFormat::Avif | ImageFormat::Heic)) => Some(format),
        _ => None,
    }
}

/// The header, when everything in the file is within the limits.
fn header(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Result<Header, DecodeError> {
    budget::check_bytes(bytes, limits)?;
    let broken = |reason: &str| DecodeError::Broken { format, reason: reason.to_owned() };
    let header =
        boxes::header(bytes).ok_or_else(|| broken("its container names no size of an image"))?;
    for &(width, height) in &header.sizes {
        if width == 0 || height == 0 {
            return Err(broken(&format!("it has {width}x{height} pixels")));
        }
        budget::check_size(width, height, limits)?;
    }
    Ok(header)
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Bytes that the PNG can take.
fn most(header: &Header, bytes: &[u8]) -> u64 {
    let most = header.sizes.iter().map(|(width, height)| pixels(*width, *height)).max();
    let samples = most.unwrap_or(0).saturating_mul(BYTES_PER_PIXEL);
    let besides = samples / 500 + 2 * bytes.len() as u64 + BESIDES;
    samples.saturating_add(besides)
}

/// What became of a run: the PNG, or why there is none.
fn outcome(
    format: ImageFormat,
    program: &Path,
    ended: &Ended,
    png: Vec<u8>,
    after: Duration,
) -> Result<Vec<u8>, ConvertError> {
    let name = || program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(status) = ended.status else {
        return Err(ConvertError::Deadline { format, program: name(), after });
    };
    if let Some(how) = process::death(status) {
        return Err(ConvertError::Died { format, program: name(), how });
    }
    // Not by its exit code: of several images it can write the first one only, and calls that a failure or not.
    if png.starts_with(PNG_BEGINNING) && png.ends_with(single::PNG_END) {
        return Ok(without_exif(png));
    }
    if png.starts_with(PNG_BEGINNING) {
        return Err(folder(io::Error::other(format!("what {} wrote is cut off", name()))));
    }
    let said = match clip(&ended.said) {
        said if said.is_empty() => status.to_string(),
        said => said,
    };
    let reason = format!("{} makes nothing of it ({said})", name());
    Err(DecodeError::Broken { format, reason }.into())
}

/// A PNG without its Exif part: the pixels are upright already, and its orientation would turn them once more.
fn without_exif(mut png: Vec<u8>) -> Vec<u8> {
    let mut at = PNG_BEGINNING.len();
    // Each chunk has its length, its kind, that many bytes, and a checksum.
    while let Some(length) = png.get(at..at + 4).and_then(|length| length.first_chunk::<4>()) {
        let end = at.saturating_add(u32::from_be_bytes(*length) as usize).saturating_add(12);
        if end > png.len() {
            break;
        }
        if png[at + 4..].starts_with(b"eXIf") {
            png.drain(at..end);
        } else {
            at = end;
        }
    }
    png
}

/// `libheif version: 1.15.1`, somewhere in what it says.
fn version(said: &str) -> Option<String> {
    let (_, after) = said.split_once("libheif version:")?;
    after.split_whitespace().next().map(str::to_owned)
}

/// The first decoder under its heading: `HEIC decoders:`, then lines of `- libde265 = libde265 HEVC decoder, version 1.0.11`.
/// Versions before 1.15 have no such list; those had both in one package.
fn decoder(said: &str, format: &str) -> Option<String> {
    if !said.contains(" decoders:") {
        return Some("a decoder that it does not name".to_owned());
    }
    let heading = format!("{format} decoders:");
    let mut lines = said.lines().skip_while(|line| line.trim() != heading).skip(1);
    let (_, name) = lines.next()?.strip_prefix("- ")?.split_once(" = ")?;
    Some(clip(name))
}

fn folder(source: io::Error) -> ConvertError {
    ConvertError::Folder { folder: std::env::temp_dir().display().to_string(), source }
}

fn start(program: &Path, source: io::Error) -> ConvertError {
    ConvertError::Start { program: program.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [(body.len() as u32).to_be_bytes().as_slice(), kind, body, &[0; 4]].concat()
    }

    #[test]
    fn exif_is_taken_out_of_a_png_wherever_it_stands() {
        let parts = |exif: &[u8]| {
            let (head, data, end) =
                (chunk(b"IHDR", &[7; 13]), chunk(b"IDAT", b"eXIf"), chunk(b"IEND", b""));
            [PNG_BEGINNING, &head, exif, &data, exif, &end].concat()
        };
        let exif = chunk(b"eXIf", b"MM\0*orientation");
        assert_eq!(without_exif(parts(&exif)), parts(b""));
        assert_eq!(without_exif(parts(b"")), parts(b""));
        let cut = parts(&exif)[..50].to_vec();
        assert_eq!(without_exif(cut.clone()), cut);
        assert_eq!(without_exif(b"\x89PNG".to_vec()), b"\x89PNG");
    }

    #[test]
    fn a_program_is_known_by_what_it_says() {
        let help = " heif-convert  libheif version: 1.15.1\n-----\nUsage: heif-convert …";
        assert_eq!(version(help).as_deref(), Some("1.15.1"));
        assert_eq!(version("USAGE: heif-convert [-q quality] <filename> <output>"), None);
        let list = "HEIC decoders:\nAVIF decoders:\n- dav1d = dav1d v6.6.0\n- aom = AOMedia\n";
        assert_eq!(decoder(list, "AVIF").as_deref(), Some("dav1d v6.6.0"));
        assert_eq!(decoder(list, "HEIC"), None);
        assert!(decoder("unrecognized option", "HEIC").is_some(), "an older version");
    }
}
