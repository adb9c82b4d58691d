//! Lists as people and programs write them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ocelli_core::{Digest, Meta};

use super::*;
use crate::metadata::MetaLimits;
use crate::row::Locator;

fn reading() -> Reading {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    Reading { base: PathBuf::from("/base"), now, meta: MetaLimits { names: 3, bytes: 1000 } }
}

fn rows(text: &[u8], format: Format) -> Vec<(u64, Result<Row, BadLine>)> {
    Rows::new(Lines::new(text), format, reading()).collect()
}

fn file(path: &str) -> Locator {
    Locator::File(PathBuf::from(path))
}

#[test]
fn a_broken_line_costs_itself_and_names_its_number() {
    let long = "x".repeat(MAX_LINE_BYTES + 10);
    let text = format!(
        "{{\"uri\":\"http://h/a.png\",\"first_seen\":\"2024-05-04T09:00:51+00:00\",\"author\":{{\"x\":1}}}}\n\
         not json\n\n{{\"path\":\"b.png\"}}\n{{\"path\":\"c.png\",\"first_seen\":\"2024-05-04\"}}\n\
         {{\"uri\":7}}\n{{\"uri\":\"gs://b/k\"}}\n{{}}\n{long}\n{{\"path\":\"d\",\"digest\":\"xyz\"}}\n\
         {{\"path\":\"e\",\"uri\":\"f\"}}\n{{\"path\":\"/last.png\"}}"
    );
    let rows = rows(text.as_bytes(), Format::Ndjson);
    let bad: Vec<u64> = rows.iter().filter_map(|(n, row)| row.as_ref().err().map(|_| *n)).collect();
    assert_eq!(bad, [2, 5, 6, 7, 8, 9, 10, 11]);
    let good: Vec<_> = rows.iter().filter_map(|(n, row)| Some((*n, row.as_ref().ok()?))).collect();
    assert_eq!(good.len(), 3);
    assert_eq!(good[0].1.first_seen, Some("2024-05-04T09:00:51Z".parse().unwrap()));
    assert_eq!(
        good[1],
        (
            4,
            &Row {
                locator: file("/base/b.png"),
                first_seen: None,
                digest: None,
                meta: Meta::default()
            }
        )
    );
    assert_eq!(good[2].1.locator, file("/last.png"));
}

#[test]
fn csv_values_may_hold_commas_quotes_and_line_breaks() {
    let digest = Digest::of(b"");
    let text = format!(
        "\u{feff}Path , first_seen,digest\r\n\"a, \"\"b\"\".png\",,{digest}\r\n\"two\nlines.png\",2024-05-04T09:00:51Z,\n"
    );
    let rows = rows(text.as_bytes(), Format::Csv);
    assert_eq!(rows.len(), 2);
    let first = rows[0].1.as_ref().unwrap();
    assert_eq!((first.locator.clone(), first.digest), (file("/base/a, \"b\".png"), Some(digest)));
    assert_eq!(rows[1].0, 3);
    assert_eq!(rows[1].1.as_ref().unwrap().locator, file("/base/two\nlines.png"));
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    let mut text = "uri\n\"http://h/open.png\n".to_owned();
    for n in 0..20 {
        text.push_str(&format!("http://h/{n}.png\n"));
    }
    let rows = rows(text.as_bytes(), Format::Csv);
    assert_eq!(rows.len(), 21);
    assert_eq!(rows.iter().filter(|(_, row)| row.is_err()).count(), 1);
    assert_eq!(rows[0].0, 2);
}

#[test]
fn an_unquoted_comma_is_an_error_and_not_another_path() {
    let rows = rows(b"path,first_seen\na,b.png,\n", Format::Csv);
    assert!(rows[0].1.as_ref().unwrap_err().reason.contains("3 values"));
}

#[test]
fn text_lines_are_paths_or_uris_and_keep_bytes_that_are_not_utf8() {
    let rows =
        rows(b"a\xff.png\r\n\nhttps://h/b.png\n name with spaces.png \n../up.png\n", Format::Text);
    let path = PathBuf::from(OsStr::from_bytes(b"/base/a\xff.png"));
    assert_eq!(rows[0].1.as_ref().unwrap().locator, Locator::File(path));
    assert!(matches!(rows[1].1.as_ref().unwrap().locator, Locator::Url(_)));
    assert_eq!(rows[2].1.as_ref().unwrap().locator, file("/base/ name with spaces.png "));
    assert!(rows[3].1.is_err(), "/base does not exist, so '..' cannot be resolved");
}

#[test]
fn the_format_of_a_nameless_list_is_guessed_from_its_first_line() {
    let guess = |text: &str| guess_format(&mut Lines::new(text.as_bytes())).unwrap();
    assert_eq!(guess("\n {\"uri\":1}"), Format::Ndjson);
    assert_eq!(guess("uri,first_seen\n"), Format::Csv);
    assert_eq!(guess("a,b.png\n"), Format::Text);
    assert_eq!(guess(""), Format::Text);
}

/// So many lines of which one in a hundred is broken, made while they are read.
struct Many {
    next: u32,
    lines: u32,
    rest: Vec<u8>,
}

impl Read for Many {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() && self.next < self.lines {
            self.rest = match self.next % 100 {
                0 => b"{oops\n".to_vec(),
                _ => format!("{{\"uri\":\"http://h/{}.png\"}}\n", self.next).into_bytes(),
            };
            self.next += 1;
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

fn broken_lines_cost_only_themselves(lines: u32) {
    let many = Lines::new(Many { next: 0, lines, rest: Vec::new() });
    let (mut good, mut bad) = (0, 0);
    for (number, row) in Rows::new(many, Format::Ndjson, reading()) {
        assert_eq!(row.is_err(), number % 100 == 1, "{number}");
        *(if row.is_ok() { &mut good } else { &mut bad }) += 1;
    }
    assert_eq!((good, bad), (lines / 100 * 99, lines / 100));
}

#[test]
fn of_twenty_thousand_lines_the_broken_ones_cost_only_themselves() {
    broken_lines_cost_only_themselves(20_000);
}

#[test]
#[ignore = "a minute of a development build"]
fn of_a_million_lines_the_broken_ones_cost_only_themselves() {
    broken_lines_cost_only_themselves(1_000_000);
}

fn said(row: &(u64, Result<Row, BadLine>)) -> Vec<(&str, &str)> {
    row.1.as_ref().unwrap().meta.iter().collect()
}

#[test]
fn what_else_a_line_says_is_its_metadata() {
    let json = rows(
        b"{\"uri\":\"http://h/a\",\"author\":{\"x\":1},\"pages\":7,\"note\":\"Gr\xc3\xbc\xc3\x9fe\",\"gone\":null}\n\
          {\"uri\":\"http://h/b\",\"a\":1,\"b\":2,\"c\":3,\"d\":4}\n{\"uri\":\"http://h/c\"}\n",
        Format::Ndjson,
    );
    assert_eq!(said(&json[0]), [("author", "{\"x\":1}"), ("note", "Grüße"), ("pages", "7")]);
    let many = &json[1].1.as_ref().unwrap_err().reason;
    assert!(many.contains("producer.meta_names"), "{many}");
    assert_eq!(said(&json[2]), []);
    let csv = rows(
        b"Author, URI ,note,\nme,http://h/a,,\nyou,http://h/b,x,y\nme,http://h/c,\xff,\n",
        Format::Csv,
    );
    assert_eq!(said(&csv[0]), [("Author", "me")]);
    let nameless = &csv[1].1.as_ref().unwrap_err().reason;
    assert!(nameless.contains("column 4 has a value and no name"), "{nameless}");
    assert!(csv[2].1.as_ref().unwrap_err().reason.contains("note is not UTF-8"));
    let twice = rows(b"uri,a,a\nhttp://h/a,1,2\n", Format::Csv);
    assert_eq!(twice[0].1.as_ref().unwrap_err().reason, "two columns are named 'a'");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_lose_count(bytes in proptest::collection::vec(0_u8.., 0..400)) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        for format in [Format::Ndjson, Format::Csv, Format::Text] {
            for (number, _) in rows(&bytes, format) {
                proptest::prop_assert!(number >= 1 && number <= lines);
            }
        }
    }
}
