//! Text in XML: escaped, and without the characters that XML 1.0 has no way to write.

use std::fmt::{self, Write as _};

/// Shows as the text between tags or between double quotes.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Kept as they are, an attribute would turn them into spaces.
                '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(c))?,
                // Not a Char of XML 1.0 (section 2.2).
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
