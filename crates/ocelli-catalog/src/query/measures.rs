//! `bytes:<20MB`, or `bytes < 20MB`: numbers of the image itself.

use std::fmt;

use ocelli_core::ImageFacts;

/// A number that every image has, as far as its header could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Length of the file.
    Bytes,
    /// Pixels from left to right, upright.
    Width,
    /// Pixels from top to bottom, upright.
    Height,
    /// Both multiplied.
    Pixels,
}

/// Bounds of a [`Measure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// `<`
    Below(u64),
    /// `<=`
    AtMost(u64),
    /// `>`
    Above(u64),
    /// `>=`
    AtLeast(u64),
    /// `=`
    Exactly(u64),
    /// `a..b`, both included.
    Between(u64, u64),
}

/// Units of lengths of files, the largest first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];
/// Units of areas.
const AREAS: [(&str, u64); 1] = [("MP", 1_000_000)];

/// Numbers beyond this are no numbers of an image, and would lose digits in an area.
const LARGEST: u64 = 1 << 53;

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::Width, Self::Height, Self::Pixels];

    /// As it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Width => "width",
            Self::Height => "height",
            Self::Pixels => "pixels",
        }
    }

    const fn units(self) -> &'static [(&'static str, u64)] {
        match self {
            Self::Bytes => &SIZES,
            Self::Pixels => &AREAS,
            Self::Width | Self::Height => &[],
        }
    }

    pub(super) fn has_unit(self, name: &str) -> bool {
        self.units().iter().any(|(unit, _)| unit.eq_ignore_ascii_case(name))
    }

    /// What it is of this image; none where that is not known.
    #[must_use]
    pub fn of(self, image: &ImageFacts) -> Option<u64> {
        let (width, height) = (image.width.map(u64::from), image.height.map(u64::from));
        match self {
            Self::Bytes => (!image.is_unread()).then_some(image.bytes),
            Self::Width => width,
            Self::Height => height,
            Self::Pixels => Some(width?.saturating_mul(height?)),
        }
    }

    /// Reads `<20MB`, `>=640`, `=1`, `1MP..2MP`; an error says what may stand there.
    pub(super) fn bounds(self, value: &str) -> Option<Bounds> {
        if let Some((from, to)) = value.split_once("..") {
            return Some(Bounds::Between(self.number(from)?, self.number(to)?));
        }
        type Make = fn(u64) -> Bounds;
        let signs: [(&str, Make); 5] = [
            ("<=", Bounds::AtMost),
            (">=", Bounds::AtLeast),
            ("<", Bounds::Below),
            (">", Bounds::Above),
            ("=", Bounds::Exactly),
        ];
        let (rest, make) =
            signs.iter().find_map(|(sign, make)| Some((value.strip_prefix(sign)?, make)))?;
        Some(make(self.number(rest)?))
    }

    fn number(self, text: &str) -> Option<u64> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = match unit {
            "" => 1,
            unit => self.units().iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
        };
        let number = digits.parse::<u64>().ok()?.checked_mul(factor)?;
        (number <= LARGEST).then_some(number)
    }

    /// What may stand behind its name.
    pub(super) const fn takes(self) -> &'static str {
        match self {
            Self::Bytes => "<20MB, <=20MB, >512KiB, >=512KiB, =1000 or 1MB..20MB",
            Self::Width | Self::Height => "<640, <=640, >640, >=640, =640 or 640..1920",
            Self::Pixels => "<2MP, <=2MP, >40000, >=40000, =40000 or 1MP..2MP",
        }
    }

    /// A number of it with the largest unit that leaves it whole.
    fn shown(self, number: u64) -> String {
        let fits = |(_, factor): &&(&str, u64)| {
            *factor > 1 && number >= *factor && number.is_multiple_of(*factor)
        };
        match self.units().iter().find(fits) {
            Some((unit, factor)) => format!("{}{unit}", number / factor),
            None => number.to_string(),
        }
    }

    pub(super) fn write(self, bounds: Bounds, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let (sign, number) = match bounds {
            Bounds::Below(to) => ("<", to),
            Bounds::AtMost(to) => ("<=", to),
            Bounds::Above(from) => (">", from),
            Bounds::AtLeast(from) => (">=", from),
            Bounds::Exactly(number) => ("=", number),
            Bounds::Between(from, to) => {
                return write!(f, "{name}:{}..{}", self.shown(from), self.shown(to));
            }
        };
        write!(f, "{name}:{sign}{}", self.shown(number))
    }
}

impl Bounds {
    /// Whether a number lies within.
    #[must_use]
    pub const fn hold(self, number: u64) -> bool {
        match self {
            Self::Below(to) => number < to,
            Self::AtMost(to) => number <= to,
            Self::Above(from) => number > from,
            Self::AtLeast(from) => number >= from,
            Self::Exactly(one) => number == one,
            Self::Between(from, to) => from <= number && number <= to,
        }
    }
}
