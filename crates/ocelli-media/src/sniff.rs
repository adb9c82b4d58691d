//! What bytes are, by their beginning: never by a file name or a server's word.

use ocelli_core::ImageFormat;

/// What the first bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sniff {
    /// An image format that ocelli knows (it may still be unable to decode it).
    Image(ImageFormat),
    /// Something else.
    NotAnImage {
        /// What it looks like, with its article: "a web page (HTML)".
        looks_like: &'static str,
    },
    /// No bytes at all.
    Empty,
}

/// So much of a body is read before anybody asks whether it is an image: what is no longer is read whole, so that its digest is known.
pub const BEGINNING: usize = 8 * 1024;

/// As much as is ever looked at.
const WINDOW: usize = 1024;

/// Tells what `bytes` are. Looks at no more than the first 1,024 bytes.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniff {
    if bytes.is_empty() {
        return Sniff::Empty;
    }
    let head = &bytes[..bytes.len().min(WINDOW)];
    match image_format(head) {
        Some(format) => Sniff::Image(format),
        None => Sniff::NotAnImage { looks_like: look_alike(head) },
    }
}

fn image_format(head: &[u8]) -> Option<ImageFormat> {
    Some(match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => ImageFormat::Png,
        [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ImageFormat::Webp,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => ImageFormat::Gif,
        // Classic TIFF and BigTIFF, in both byte orders.
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => ImageFormat::Tiff,
        [b'B', b'M', ..] if is_bitmap(head) => ImageFormat::Bmp,
        [b'P', b'1'..=b'7', next, ..] if next.is_ascii_whitespace() || *next == b'#' => {
            ImageFormat::Pnm
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return by_brands(head),
        _ => return None,
    })
}

/// "BM" begins words too; the size of the second header is one of a few (Microsoft, `BITMAPINFOHEADER` and kin).
fn is_bitmap(head: &[u8]) -> bool {
    let Some(size) = head.get(14..18) else { return false };
    matches!(
        u32::from_le_bytes([size[0], size[1], size[2], size[3]]),
        12 | 16 | 40 | 52 | 56 | 64 | 108 | 124
    )
}

/// ISO base media files name their brands: the major one, then compatible ones (ISO/IEC 14496-12, 4.3).
fn by_brands(head: &[u8]) -> Option<ImageFormat> {
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let brands = head.get(8..size.min(head.len()))?;
    let is = |names: &[&[u8; 4]]| brands.as_chunks::<4>().0.iter().any(|b| names.contains(&b));
    if is(&[b"avif", b"avis"]) {
        Some(ImageFormat::Avif)
    } else if is(&[b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"]) {
        Some(ImageFormat::Heic)
    } else {
        None
    }
}

/// Fixed beginnings, with what they belong to. The first match counts.
const LOOK_ALIKES: &[(&[u8], &str)] = &[
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\0", "xz-compressed data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard-compressed data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\x01\0", "a Windows icon"),
    (b"\0\0\x02\0", "a Windows cursor"),
    (b"icns", "an Apple icon"),
    (b"qoif", "a QOI image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"DDS ", "a DirectDraw surface"),
    (b"AT&TFORM", "a DjVu document"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (b"FLV\x01", "a video (Flash)"),
    (b"\0\0\x01\xba", "a video (MPEG)"),
    (b"\0\0\x01\xb3", "a video (MPEG)"),
    (b"OggS", "audio or video (Ogg)"),
    (b"ID3", "audio (MP3)"),
    (b"fLaC", "audio (FLAC)"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
];

fn look_alike(head: &[u8]) -> &'static str {
    if let Some((_, name)) = LOOK_ALIKES.iter().find(|(start, _)| head.starts_with(start)) {
        return name;
    }
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return "a video (MP4 or QuickTime)",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => return "a video (AVI)",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => return "audio (WAVE)",
        _ => {}
    }
    if head.get(257..262) == Some(b"ustar") {
        return "a tar archive";
    }
    if head.iter().all(|byte| *byte == 0) {
        return "nothing but zero bytes (an unfinished download?)";
    }
    text(head)
}

/// Markup, JSON, other text, or none of these.
fn text(head: &[u8]) -> &'static str {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let lower = head.to_ascii_lowercase();
    let contains = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
    if lower.starts_with(b"<") {
        return if contains(b"<svg") {
            "an SVG drawing"
        } else if contains(b"<!doctype html") || contains(b"<html") || contains(b"<head") {
            "a web page (HTML)"
        } else if lower.starts_with(b"<?xml") {
            "an XML document"
        } else {
            "text with markup (HTML or XML)"
        };
    }
    let opens = matches!(head, [b'{' | b'[', ..]);
    if opens && (contains(b"\"") || matches!(head[1..].trim_ascii_start(), [b'}' | b']', ..])) {
        return "JSON";
    }
    // The window may cut a character in two.
    let readable = match str::from_utf8(head) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&head[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let is_text =
        readable.is_some_and(|text| text.chars().all(|c| !c.is_control() || c.is_whitespace()));
    if is_text { "plain text" } else { "unknown data" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(bytes: &[u8]) -> &'static str {
        match sniff(bytes) {
            Sniff::NotAnImage { looks_like } => looks_like,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn images_are_known_by_their_first_bytes() {
        let bmp = [b"BM............".as_slice(), &[40, 0, 0, 0]].concat();
        for (bytes, format) in [
            (b"\x89PNG\r\n\x1a\n".as_slice(), ImageFormat::Png),
            (b"\xff\xd8\xff\xe0", ImageFormat::Jpeg),
            (b"RIFF\x10\0\0\0WEBPVP8 ", ImageFormat::Webp),
            (b"GIF89a", ImageFormat::Gif),
            (b"II*\0", ImageFormat::Tiff),
            (b"MM\0+", ImageFormat::Tiff),
            (&bmp, ImageFormat::Bmp),
            (b"P5\n", ImageFormat::Pnm),
            (b"P7\n", ImageFormat::Pnm),
            (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", ImageFormat::Avif),
            (b"\0\0\0\x18ftypmif1\0\0\0\0avif....", ImageFormat::Avif),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ImageFormat::Heic),
        ] {
            assert_eq!(sniff(bytes), Sniff::Image(format), "{bytes:?}");
        }
    }

    #[test]
    fn what_only_pretends_to_be_an_image_is_named() {
        assert_eq!(sniff(b""), Sniff::Empty);
        for (bytes, name) in [
            (b"\n <!DOCTYPE html><html>".as_slice(), "a web page (HTML)"),
            (b"\xef\xbb\xbf<?xml version='1.0'?><svg xmlns=''>", "an SVG drawing"),
            (b"<?xml version='1.0'?><Error>", "an XML document"),
            (b"{\"error\": \"not found\"}", "JSON"),
            (b"[]", "JSON"),
            (b"%PDF-1.7", "a PDF document"),
            (b"PK\x03\x04", "a ZIP archive or an office document"),
            (b"BMW is a make of cars", "plain text"),
            (b"P5", "plain text"),
            (b"404 page not found", "plain text"),
            ("Übergröße".as_bytes(), "plain text"),
            (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "a video (MP4 or QuickTime)"),
            (b"\0\0\0\0\0\0\0\0\0", "nothing but zero bytes (an unfinished download?)"),
            (b"\x01\x02\xff\xfe\x80", "unknown data"),
        ] {
            assert_eq!(looks(bytes), name, "{bytes:?}");
        }
    }

    #[test]
    fn any_beginning_can_be_sniffed() {
        for first in 0..=255u8 {
            for length in 0..24 {
                let _ = sniff(&[&vec![first; length][..], b"ftyp"].concat());
            }
        }
        assert_eq!(sniff(b"\xff\xff\xff\xffftypavif"), Sniff::Image(ImageFormat::Avif));
        assert_eq!(looks(b"\0\0\0\0ftyp"), "a video (MP4 or QuickTime)");
    }
}
