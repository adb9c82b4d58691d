//! What lists say about references beside where they are.

use std::sync::Arc;

use ocelli_core::Digest;
use ocelli_producer::{MetaLimits, ProducerError, SourceError};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::world::{World, png};

async fn said(world: &World, number: u32) -> Vec<(String, String)> {
    let record = world.catalog.record(&Digest::of(&png(number))).await.unwrap().unwrap();
    let source = record.sightings.keys().next().unwrap();
    record.said(source).map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn pair(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[tokio::test]
async fn further_fields_are_kept_and_told_even_of_files_that_are_not_read() {
    let mut world = World::new().await;
    world.options.clock_grain = std::time::Duration::ZERO;
    world.put_image("a.png", 1);
    world.produce(&[&world.images()]).await;
    let list = world.put("list.ndjson", b"{\"path\":\"a.png\",\"author\":\"me\",\"pages\":7}\n");
    let (listed, sent) = world.produce(&[&list]).await;
    assert_eq!((listed.known, listed.unread, listed.bytes, sent.intakes.len()), (1, 1, 0, 1));
    assert_eq!(said(&world, 1).await, [pair("author", "me"), pair("pages", "7")]);
    let list = world.put("list.csv", b"path,author,note\na.png,you,\n");
    world.produce(&[&list]).await;
    assert_eq!(said(&world, 1).await, [pair("author", "you"), pair("pages", "7")]);
    let audit = world.catalog.audit().await.unwrap();
    assert!(audit.problems.is_empty(), "{:?}", audit.problems);
}

#[tokio::test]
async fn too_many_or_too_long_fields_are_a_failure_that_names_the_limit() {
    let mut world = World::new().await;
    world.options.meta = MetaLimits { names: 2, bytes: 40 };
    for number in 1..=3 {
        world.put_image(format!("{number}.png"), number);
    }
    let long = "x".repeat(50);
    let list = format!(
        "{{\"path\":\"1.png\",\"a\":1,\"b\":2,\"c\":3}}\n{{\"path\":\"2.png\",\"a\":\"{long}\"}}\n{{\"path\":\"3.png\",\"a\":\"fits\"}}\n"
    );
    let list = world.put("list.ndjson", list.as_bytes());
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.problems), (1, 2));
    assert!(sent.problem("list.ndjson:1").reason.contains("producer.meta_names"));
    assert!(sent.problem("list.ndjson:2").reason.contains("producer.meta_bytes"));
    assert_eq!(said(&world, 3).await, [pair("a", "fits")]);
}

/// A table with texts in all columns.
fn table(schema: &str, columns: &[&[&str]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in columns {
        let values: Vec<ByteArray> = column.iter().map(|text| ByteArray::from(*text)).collect();
        let mut out = group.next_column().unwrap().unwrap();
        out.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        out.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[tokio::test]
async fn a_table_in_parquet_is_a_list_whatever_it_is_called() {
    let world = World::new().await;
    world.put_image("a.png", 1);
    world.put_image("b.png", 2);
    let schema = "message list { required binary path (STRING); required binary author (STRING); }";
    let bytes = table(schema, &[&["a.png", "b.png", "missing.png"], &["me", "you", "nobody"]]);
    let list = world.put("list.parquet", &bytes);
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.name.as_str(), summary.accepted, summary.problems), ("list.parquet", 2, 1));
    assert!(sent.problem("missing.png").reason.contains("list.parquet:3"));
    assert_eq!(said(&world, 2).await, [pair("author", "you")]);
    let nameless = world.put("list", &bytes);
    let mut source = std::ffi::OsString::from("manifest:");
    source.push(nameless);
    let source = ocelli_producer::Source::parse(&source).unwrap();
    let (again, _) = world.produce_sources(vec![source]).await;
    assert_eq!((again.known, again.problems), (2, 1));
    let wrong = table("message list { required binary note; }", &[&["x"]]);
    let wrong = world.put("wrong.parquet", &wrong);
    let error = world.try_produce(&[&wrong]).await.unwrap_err();
    assert!(
        matches!(&error, ProducerError::Source(SourceError::Table { reason, .. }) if reason.contains("note")),
        "{error}"
    );
}
