//! Values as people read them. Every text of an archive is somebody else's: characters that move a cursor or turn the direction
//! of a line are shown as what they are, not as what they do.

use jiff::Timestamp;
use ocelli_core::{ImageFacts, SourceUri};
pub(crate) use ocelli_export::layout::{flag_name as flag, time};

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Part {
    /// Whether a query found it.
    pub(crate) lit: bool,
    pub(crate) text: String,
}

/// Splits a text at the marks, which are positions of characters, in order and without overlaps.
pub(crate) fn parts(text: &str, marks: &[(usize, usize)]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::with_capacity(marks.len() * 2 + 1);
    let mut marks = marks.iter().peekable();
    for (place, char) in text.chars().enumerate() {
        while marks.next_if(|(_, behind)| *behind <= place).is_some() {}
        let lit = marks.peek().is_some_and(|(first, _)| *first <= place);
        match parts.last_mut() {
            Some(part) if part.lit == lit => part.text.push(char),
            _ => parts.push(Part { lit, text: char.to_string() }),
        }
    }
    parts
}

/// A text of several lines without what is no text.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// The same on one line, of at most `most` characters.
pub(crate) fn line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut chars = text.split_whitespace().flat_map(|word| word.chars().chain([' '])).map(visible);
    line.extend(chars.by_ref().take(most));
    let cut = chars.next().is_some();
    let mut line = line.trim_end().to_owned();
    if cut {
        line.push('…');
    }
    line
}

fn visible(char: char) -> char {
    let turns =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if turns || (char.is_control() && char != '\n' && char != '\t') { '\u{fffd}' } else { char }
}

/// For HTML that is put together by hand.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// `2024-05-04 09:00`
pub(crate) fn minute(at: Timestamp) -> String {
    time(at).chars().take(16).map(|char| if char == 'T' { ' ' } else { char }).collect()
}

/// `10,000`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `318 KB`
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{} KB", count / 1_000),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

/// `42 s`, `7 min`, `3.5 h`, `12 d`
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        7200..172_800 => format!("{:.1} h", seconds as f64 / 3600.0),
        _ => format!("{} d", seconds.div_ceil(86_400)),
    }
}

/// `850 ms`, `3.2 s`, `4 min`
pub(crate) fn millis(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{:.1} s", millis as f64 / 1000.0),
        _ => duration(millis / 1000),
    }
}

/// The name of a file, or the last part of an address.
pub(crate) fn name(source: &SourceUri) -> String {
    let whole = source.to_string();
    let path = whole.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    line(if last.is_empty() { &whole } else { last }, 120)
}

/// `png, 1200 × 628, 93 KB`
pub(crate) fn facts(image: &ImageFacts) -> String {
    if image.is_unread() {
        return "not read yet".to_owned();
    }
    let format = image.format.map_or("no known format", ocelli_core::ImageFormat::name);
    let size = match (image.width, image.height) {
        (Some(width), Some(height)) => format!(", {width} × {height}"),
        _ => String::new(),
    };
    format!("{format}{size}, {}", bytes(image.bytes))
}

/// An address of this site with these parameters; empty ones are left out.
pub(crate) fn link(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The parameters of an address or of a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Vec<(String, String)>);

impl Asked {
    pub(crate) fn of(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The fields of a form that was read in another way.
    pub(crate) const fn of_pairs(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The value of the first parameter of this name, without white space around it; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(one, _)| one == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// The values of all parameters of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_parts_are_the_whole_text() {
        let found = parts("Ein CAFÉ, zwei", &[(4, 8), (10, 14)]);
        let texts: Vec<_> = found.iter().map(|part| (part.lit, part.text.as_str())).collect();
        assert_eq!(texts, [(false, "Ein "), (true, "CAFÉ"), (false, ", "), (true, "zwei")]);
        assert!(parts("", &[]).is_empty());
    }

    #[test]
    fn nothing_in_a_text_turns_a_line_or_moves_a_cursor() {
        assert_eq!(plain("a\u{202e}b\u{1b}[2J\nc"), "a\u{fffd}b\u{fffd}[2J\nc");
        assert_eq!(line("  one\n two\tthree ", 7), "one two…");
        assert_eq!(line("one", 7), "one");
        let source = "https://x.example/a%0A/%3Cscript%3E.png?q=1".parse().unwrap();
        assert_eq!(name(&source), "%3Cscript%3E.png");
    }

    #[test]
    fn addresses_carry_what_was_asked() {
        assert_eq!(link("/search", &[("q", "a&b \"c\""), ("sort", "")]), "/search?q=a%26b+%22c%22");
        assert_eq!(Asked::of(Some("q=a%26b+%22c%22&q=2&x")).get("q"), "a&b \"c\"");
        assert_eq!(Asked::of(None).get("q"), "");
    }

    #[test]
    fn the_time_is_that_of_the_record() {
        let at: Timestamp = "2024-05-04T09:00:51.7Z".parse().unwrap();
        assert_eq!(time(at), "2024-05-04T09:00:51+00:00");
        assert_eq!(minute(at), "2024-05-04 09:00");
    }
}
