//! How large an AVIF or HEIC image is, by the boxes of its container (ISO/IEC 14496-12, 4.2; ISO/IEC 23008-12, 6.5 and 9.3): known
//! before any code in C sees it, and to producers, which convert nothing.
//!
//! Everything is looked at where it lies. What ends too early, or beyond the box around it, is cut off there.

/// Boxes of one kind that are looked at: an image in 4,096 tiles shares the properties of all of them.
const MOST: usize = 32_768;

/// What the container tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Pixels of the image that is shown, after its crops and turns.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
    /// Width and height of everything that may be decoded: tiles, the whole, thumbnails, masks.
    pub(super) sizes: Vec<(u32, u32)>,
    /// More than 8 bits a channel.
    pub(super) deep: bool,
}

/// The header, unless the container names no size.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let meta = child(bytes, *b"meta")?.get(4..)?;
    let all = child(meta, *b"iprp")?;
    let properties: Vec<_> =
        Boxes(child(all, *b"ipco")?).take(MOST).map(|(kind, body)| property(kind, body)).collect();
    let size = |property: &Property| match property {
        Property::Size(width, height) => Some((*width, *height)),
        _ => None,
    };
    let sizes: Vec<_> = properties.iter().filter_map(size).collect();
    let largest = sizes.iter().copied().max_by_key(|(w, h)| u64::from(*w) * u64::from(*h))?;
    let deep = properties.contains(&Property::Deep);
    let primary = child(meta, *b"pitm").and_then(primary);
    let of_primary = primary.and_then(|item| {
        let mut lists = Boxes(all).take(MOST).filter(|(kind, _)| kind == b"ipma");
        lists.find_map(|(_, body)| associations(body, item))
    });
    let own = of_primary.unwrap_or_default();
    // They are counted from 1; 0 is none.
    let own = own.iter().filter_map(|index| properties.get(index.checked_sub(1)?));
    let (width, height) = shown(own).unwrap_or(largest);
    Some(Header { width, height, sizes, deep })
}

/// The size that is left when the properties of an image are followed one after the other.
fn shown<'a>(properties: impl Iterator<Item = &'a Property>) -> Option<(u32, u32)> {
    properties.fold(None, |size, property| match (property, size) {
        (Property::Size(width, height), None) => Some((*width, *height)),
        (Property::Crop(width, height), Some(_)) => Some((*width, *height)),
        (Property::QuarterTurn, Some((width, height))) => Some((height, width)),
        (_, size) => size,
    })
}

/// A property of images, as far as it decides about sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Property {
    /// `ispe`.
    Size(u32, u32),
    /// `clap`.
    Crop(u32, u32),
    /// `irot` by 90 or 270 degrees.
    QuarterTurn,
    /// `pixi` with more than 8 bits.
    Deep,
    Other,
}

fn property(kind: [u8; 4], body: &[u8]) -> Property {
    let mut fields = Fields(body);
    let known = match &kind {
        b"ispe" => fields.number().and_then(|_flags| {
            let (width, height) = (fields.number()?, fields.number()?);
            Some(Property::Size(width, height))
        }),
        b"clap" => fields.ratio().and_then(|width| Some(Property::Crop(width, fields.ratio()?))),
        b"irot" => fields.byte().filter(|turn| turn & 1 == 1).map(|_| Property::QuarterTurn),
        b"pixi" => {
            let bits = body.get(5..).unwrap_or_default();
            bits.iter().any(|bits| *bits > 8).then_some(Property::Deep)
        }
        _ => None,
    };
    known.unwrap_or(Property::Other)
}

/// The item that `pitm` names.
fn primary(body: &[u8]) -> Option<u32> {
    let mut fields = Fields(body);
    let [version, ..] = fields.take::<4>()?;
    if version == 0 { fields.short().map(u32::from) } else { fields.number() }
}

/// The numbers of the properties that `ipma` gives to `item`, in its order.
fn associations(body: &[u8], item: u32) -> Option<Vec<usize>> {
    let mut fields = Fields(body);
    let [version, _, _, flags] = fields.take::<4>()?;
    // Each round reads at least three bytes.
    for _ in 0..fields.number()? {
        let of = if version == 0 { u32::from(fields.short()?) } else { fields.number()? };
        let count = fields.byte()?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            // The highest bit tells whether a reader must know the property.
            let number = match flags & 1 {
                0 => u16::from(fields.byte()? & 0x7f),
                _ => fields.short()? & 0x7fff,
            };
            numbers.push(usize::from(number));
        }
        if of == item {
            return Some(numbers);
        }
    }
    None
}

/// The body of the first box of that kind.
fn child(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    Boxes(bytes).take(MOST).find(|(own, _)| *own == kind).map(|(_, body)| body)
}

/// Boxes that follow each other: kind and body.
struct Boxes<'a>(&'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Fields(self.0);
        let (size, kind) = (fields.number()?, fields.take::<4>()?);
        let (header, size) = match size {
            // To the end of what is around it.
            0 => (8, self.0.len()),
            1 => {
                let size = u64::from_be_bytes(fields.take::<8>()?);
                (16, usize::try_from(size).unwrap_or(usize::MAX))
            }
            size => (8, size as usize),
        };
        let (whole, rest) = self.0.split_at(size.min(self.0.len()));
        // None for one that is shorter than its own header: nothing after it can be told apart.
        let body = whole.get(header..)?;
        self.0 = rest;
        Some((kind, body))
    }
}

/// Numbers that follow each other, most significant byte first.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// Two numbers as one that is rounded.
    fn ratio(&mut self) -> Option<u32> {
        let (above, below) = (u64::from(self.number()?), u64::from(self.number()?));
        u32::try_from((above + below / 2).checked_div(below)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [(body.len() as u32 + 8).to_be_bytes().as_slice(), kind, body].concat()
    }

    fn ispe(width: u32, height: u32) -> Vec<u8> {
        boxed(b"ispe", &[[0; 4], width.to_be_bytes(), height.to_be_bytes()].concat())
    }

    /// A container whose item 2 has the properties of these numbers.
    fn container(properties: &[Vec<u8>], own: &[u8]) -> Vec<u8> {
        let ipco = boxed(b"ipco", &properties.concat());
        let others = [0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 0x81, 0, 2, own.len() as u8];
        let ipma = boxed(b"ipma", &[others.as_slice(), own].concat());
        let iprp = boxed(b"iprp", &[ipco, ipma].concat());
        let pitm = boxed(b"pitm", &[0, 0, 0, 0, 0, 2]);
        let meta = boxed(b"meta", &[vec![0; 4], pitm, iprp].concat());
        [boxed(b"ftyp", b"heic\0\0\0\0mif1heic"), boxed(b"free", &[7; 9]), meta].concat()
    }

    #[test]
    fn the_image_that_is_shown_is_the_primary_one_with_its_crops_and_turns() {
        let crop = [301_u32, 2, 200, 1, 0, 1, 0, 1].map(u32::to_be_bytes).concat();
        let properties = [
            ispe(512, 512),
            ispe(4032, 3024),
            boxed(b"irot", &[1]),
            boxed(b"clap", &crop),
            boxed(b"irot", &[2]),
            boxed(b"pixi", &[0, 0, 0, 0, 3, 10, 10, 10]),
        ];
        let size = |own: &[u8]| {
            let header = header(&container(&properties, own)).unwrap();
            assert_eq!(header.sizes, [(512, 512), (4032, 3024)]);
            assert!(header.deep);
            (header.width, header.height)
        };
        assert_eq!(size(&[2]), (4032, 3024));
        assert_eq!(size(&[0x82, 0x83]), (3024, 4032));
        assert_eq!(size(&[0x82, 0x85]), (4032, 3024));
        assert_eq!(size(&[2, 4, 3]), (200, 151));
        assert_eq!(size(&[1]), (512, 512));
        // Without a size of its own the largest one stands for it.
        assert_eq!(size(&[0, 3, 99]), (4032, 3024));
    }

    #[test]
    fn long_sizes_wide_numbers_and_a_last_box_without_a_size_are_read() {
        let mut wide = boxed(b"ipma", &[1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 1, 0x80, 1]);
        wide[..4].copy_from_slice(&0_u32.to_be_bytes());
        let iprp = boxed(b"iprp", &[boxed(b"ipco", &ispe(7, 5)), wide].concat());
        let pitm = boxed(b"pitm", &[1, 0, 0, 0, 0, 0, 0, 9]);
        let body = [vec![0; 4], pitm, iprp].concat();
        let long = (body.len() as u64 + 16).to_be_bytes();
        let meta = [1_u32.to_be_bytes().as_slice(), b"meta", &long, &body].concat();
        let header = header(&meta).unwrap();
        assert_eq!((header.width, header.height, header.deep), (7, 5, false));
    }

    #[test]
    fn whatever_is_cut_or_changed_gives_a_header_or_none() {
        let whole = container(&[ispe(64, 48), boxed(b"irot", &[3])], &[1, 2]);
        assert_eq!(header(&whole).map(|header| (header.width, header.height)), Some((48, 64)));
        for end in 0..whole.len() {
            let _ = header(&whole[..end]);
            for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[end] = value;
                let _ = header(&changed);
            }
        }
        assert_eq!(header(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), None);
        assert_eq!(header(&boxed(b"meta", b"")), None);
    }
}
