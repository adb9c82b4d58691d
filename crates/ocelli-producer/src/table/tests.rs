//! Parquet as other programs write it, and as nobody should.

use std::io::Write as _;
use std::path::PathBuf;

use ocelli_core::Digest;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::metadata::MetaLimits;
use crate::row::Locator;

/// A column as it is written: each value, or nothing.
enum Column {
    Texts(Vec<Option<Vec<u8>>>),
    Numbers(Vec<Option<i64>>),
}

fn texts(values: &[Option<&str>]) -> Column {
    Column::Texts(values.iter().map(|value| value.map(|text| text.as_bytes().to_vec())).collect())
}

/// One row group for each set of columns.
fn written(schema: &str, groups: &[Vec<Column>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut out = group.next_column().unwrap().unwrap();
            match column {
                Column::Texts(values) => {
                    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                    let values: Vec<ByteArray> =
                        values.iter().flatten().map(|v| ByteArray::from(v.clone())).collect();
                    out.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
                }
                Column::Numbers(values) => {
                    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                    let values: Vec<i64> = values.iter().flatten().copied().collect();
                    out.typed::<Int64Type>().write_batch(&values, Some(&levels), None).unwrap();
                }
            }
            out.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Table, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Table::open(file)
}

fn rows(bytes: &[u8]) -> Vec<(u64, Result<Row, BadLine>)> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let meta = MetaLimits { names: 3, bytes: 100 };
    let reading = Reading { base: PathBuf::from("/base"), now, meta };
    open(bytes).unwrap().rows(reading).collect()
}

const SCHEMA: &str = "message list { optional binary URI (STRING); optional binary path; optional binary digest (STRING); \
     optional int64 first_seen (TIMESTAMP(NANOS,true)); optional int64 pages; optional binary note (STRING); }";

#[test]
fn rows_of_all_groups_are_read_with_their_times_and_metadata() {
    let digest = Digest::of(b"x").to_string();
    let first = vec![
        texts(&[Some("http://h/a.png"), None]),
        Column::Texts(vec![None, Some(b"b\xff.png".to_vec())]),
        texts(&[Some(&digest), None]),
        Column::Numbers(vec![Some(1_714_813_251_000_000_000), None]),
        Column::Numbers(vec![Some(7), None]),
        texts(&[Some("Grüße"), None]),
    ];
    let second = vec![
        texts(&[None, Some("http://h/c.png")]),
        texts(&[None, None]),
        texts(&[None, Some("xyz")]),
        Column::Numbers(vec![None, None]),
        Column::Numbers(vec![None, None]),
        texts(&[None, None]),
    ];
    let rows = rows(&written(SCHEMA, &[first, second]));
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let row = rows[0].1.as_ref().unwrap();
    assert_eq!(row.locator, Locator::Url("http://h/a.png".parse().unwrap()));
    assert_eq!(row.digest.unwrap().to_string(), digest);
    assert_eq!(row.first_seen, Some("2024-05-04T09:00:51Z".parse().unwrap()));
    let said: Vec<_> = row.meta.iter().collect();
    assert_eq!(said, [("note", "Grüße"), ("pages", "7")]);
    use std::os::unix::ffi::OsStrExt as _;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/base/b\xff.png"));
    assert_eq!(rows[1].1.as_ref().unwrap().locator, Locator::File(path));
    assert!(rows[2].1.as_ref().unwrap_err().reason.contains("neither uri nor path"));
    assert!(rows[3].1.is_err(), "a digest that is none");
}

#[test]
fn columns_of_wrong_types_are_named_before_anything_is_read() {
    let reason = |schema: &str| open(&written(schema, &[])).err().unwrap();
    let number = reason("message l { optional int64 uri; }");
    assert!(number.contains("the column 'uri' holds INT64; it should hold texts"), "{number}");
    let group =
        reason("message l { optional binary uri; optional group digest { optional binary a; } }");
    assert!(group.contains("the column 'digest' holds a group"), "{group}");
    let none = reason("message l { optional binary url; optional binary note; }");
    assert!(none.contains("no column 'uri' or 'path'; its columns are: url, note"), "{none}");
    let twice = reason("message l { optional binary uri; optional binary URI; }");
    assert!(twice.contains("two columns are named 'uri'"), "{twice}");
    let time =
        "message l { optional binary uri; optional int64 first_seen (TIMESTAMP(MILLIS,false)); }";
    assert!(reason(time).contains("have no zone"), "{}", reason(time));
    let time = "message l { optional binary uri; optional double first_seen; }";
    assert!(reason(time).contains("the column 'first_seen' holds DOUBLE"), "{}", reason(time));
}

#[test]
fn damage_ends_the_list_where_it_is_and_says_so() {
    let count = 5000;
    let uris: Vec<String> = (0..count).map(|n| format!("http://h/{n}.png")).collect();
    let uris: Vec<Option<&str>> = uris.iter().map(|uri| Some(uri.as_str())).collect();
    let schema = "message l { optional binary uri (STRING); }";
    let whole = written(schema, &[vec![texts(&uris)], vec![texts(&uris)]]);
    assert_eq!(rows(&whole).iter().filter(|(_, row)| row.is_ok()).count(), 2 * count);
    assert!(open(&whole[..whole.len() / 2]).is_err(), "without its end it is no Parquet");
    assert!(open(b"PAR1").is_err());
    assert!(open(b"").is_err());
    // Whatever is turned over, it neither ends the process nor goes on for ever.
    for at in (4..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        let Ok(table) = open(&bytes) else { continue };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let reading =
            Reading { base: PathBuf::from("/"), now, meta: MetaLimits { names: 3, bytes: 100 } };
        let all: Vec<_> = table.rows(reading).take(3 * count).collect();
        assert!(all.len() <= 2 * count + 1, "{at}");
        let broken = all.iter().position(|(_, row)| {
            row.as_ref().is_err_and(|bad| bad.reason.contains("from this row on"))
        });
        assert!(broken.is_none_or(|place| place + 1 == all.len()), "it is the last word");
    }
}

#[test]
fn too_much_metadata_costs_its_row() {
    let schema = "message l { optional binary uri (STRING); optional binary note (STRING); }";
    let long = "x".repeat(200);
    let columns =
        vec![texts(&[Some("http://h/a"), Some("http://h/b")]), texts(&[Some(&long), Some("y")])];
    let rows = rows(&written(schema, &[columns]));
    assert!(rows[0].1.as_ref().unwrap_err().reason.contains("producer.meta_bytes"));
    assert!(rows[1].1.is_ok());
}
