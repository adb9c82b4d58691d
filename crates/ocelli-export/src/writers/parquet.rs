//! Parquet, with the columns of `row`: typed, each value optional but the digest, compressed with Snappy, which every reader has.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use jiff::Timestamp;
use ocelli_core::Record;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use crate::document::SCHEMA;
use crate::hashed::Hashed;
use crate::row::{COLUMNS, Cell, Kind, rows};

/// Text that is gathered before it is written as a group of rows: what is in memory.
const GROUP_BYTES: usize = 32 * 1024 * 1024;
/// Rows of a group at most.
const GROUP_ROWS: usize = 64 * 1024;

/// Columns in which no value is likely to come twice: nothing is gained by looking for that.
const ONCE: [&str; 5] = ["digest", "source", "text", "sections", "reason"];

/// What one column has gathered. A level says whether a row has a value.
struct Column {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    /// One text behind the other, and where each ends: texts of their own would be an allocation for each value.
    Text(Vec<u8>, Vec<usize>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
}

/// Rows that become one group.
struct Group {
    columns: Vec<Column>,
    rows: usize,
    /// About how many bytes.
    bytes: usize,
}

type Writer = SerializedFileWriter<Hashed>;

/// Where groups are written: on a thread of its own, as the next one is read and gathered meanwhile.
enum Behind {
    /// With room for the next group.
    Idle(Box<Writer>, Group),
    Busy(JoinHandle<io::Result<(Box<Writer>, Group)>>),
    /// A group could not be written.
    Broken,
}

pub(super) struct Columns {
    group: Group,
    behind: Behind,
    /// Bytes of the groups before the last one.
    written: u64,
    /// Bytes of the last one, as it was gathered.
    last: usize,
}

fn schema() -> String {
    let column = |(at, (name, kind)): (usize, &(&str, Kind))| {
        let presence = if at == 0 { "required" } else { "optional" };
        let kind = match kind {
            Kind::Text => format!("binary {name} (STRING)"),
            Kind::Whole => format!("int64 {name}"),
            Kind::Real => format!("double {name}"),
            Kind::Flag => format!("boolean {name}"),
            Kind::Time => format!("int64 {name} (TIMESTAMP(MICROS,true))"),
        };
        format!("{presence} {kind};")
    };
    let columns: Vec<_> = COLUMNS.iter().enumerate().map(column).collect();
    format!("message record {{ {} }}", columns.join(" "))
}

/// A full disk must be told as what it is, not as an error of a format.
fn io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

impl Columns {
    pub(super) fn begin(out: Hashed) -> io::Result<Self> {
        let schema = Arc::new(parse_message_type(&schema()).map_err(io)?);
        let plain = |properties: WriterPropertiesBuilder, name: &&str| {
            properties.set_column_dictionary_enabled(ColumnPath::from(*name), false)
        };
        let properties = ONCE
            .iter()
            .fold(WriterProperties::builder(), plain)
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("ocelli ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(
                "schema".to_owned(),
                SCHEMA.to_owned(),
            )]))
            .build();
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(io)?;
        let behind = Behind::Idle(Box::new(writer), Group::new());
        Ok(Self { group: Group::new(), behind, written: 0, last: 0 })
    }

    pub(super) fn add(&mut self, record: &Record, older: bool) -> io::Result<u64> {
        let added = rows(record, older, |row| {
            self.group.push(row);
            Ok(())
        })?;
        if self.group.bytes >= GROUP_BYTES || self.group.rows >= GROUP_ROWS {
            self.write()?;
        }
        Ok(added)
    }

    pub(super) const fn size(&self) -> u64 {
        self.written + self.last as u64 + self.group.bytes as u64
    }

    /// Has what is gathered written as one group of rows, when the one before is.
    fn write(&mut self) -> io::Result<()> {
        let (mut writer, empty) = self.behind.wait()?;
        self.written = writer.bytes_written() as u64;
        let mut group = std::mem::replace(&mut self.group, empty);
        self.last = group.bytes;
        let thread = Builder::new().name("parquet".to_owned());
        self.behind = Behind::Busy(thread.spawn(move || {
            group.write(&mut writer)?;
            Ok((writer, group))
        })?);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Hashed> {
        let (mut writer, _) = self.behind.wait()?;
        self.group.write(&mut writer)?;
        writer.into_inner().map_err(io)
    }
}

impl Behind {
    /// Waits until the group before is written.
    fn wait(&mut self) -> io::Result<(Box<Writer>, Group)> {
        match std::mem::replace(self, Self::Broken) {
            Self::Idle(writer, group) => Ok((writer, group)),
            Self::Busy(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Self::Broken => Err(io::Error::other("a group of rows before was not written")),
        }
    }
}

impl Group {
    fn new() -> Self {
        let columns = COLUMNS.iter().map(|(_, kind)| Column::new(*kind)).collect();
        Self { columns, rows: 0, bytes: 0 }
    }

    fn push(&mut self, row: &[Cell<'_>]) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            self.bytes += column.push(cell);
        }
        self.rows += 1;
    }

    /// Writes it, and is empty then.
    fn write(&mut self, writer: &mut Writer) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = writer.next_row_group().map_err(io)?;
        for (place, column) in self.columns.iter_mut().enumerate() {
            let mut writer = group
                .next_column()
                .map_err(io)?
                .ok_or_else(|| io::Error::other("the table has fewer columns than its schema"))?;
            let levels = (place > 0).then_some(column.levels.as_slice());
            let mut lent = Bytes::new();
            let done = match &mut column.values {
                Values::Text(texts, ends) => {
                    lent = Bytes::from(std::mem::take(texts));
                    let all = split(&lent, ends);
                    writer.typed::<ByteArrayType>().write_batch(&all, levels, None)
                }
                Values::Whole(all) => writer.typed::<Int64Type>().write_batch(all, levels, None),
                Values::Real(all) => writer.typed::<DoubleType>().write_batch(all, levels, None),
                Values::Flag(all) => writer.typed::<BoolType>().write_batch(all, levels, None),
            };
            done.map_err(io)?;
            writer.close().map_err(io)?;
            if let Values::Text(texts, _) = &mut column.values {
                // The same memory: until it was closed the writer held the least and the largest of them.
                *texts = lent.try_into_mut().map(Vec::from).unwrap_or_default();
            }
            column.clear();
        }
        group.close().map_err(io)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// The texts that end there; they share their bytes.
fn split(texts: &Bytes, ends: &[usize]) -> Vec<ByteArray> {
    let mut start = 0;
    let one = |end: &usize| ByteArray::from(texts.slice(std::mem::replace(&mut start, *end)..*end));
    ends.iter().map(one).collect()
}

impl Column {
    const fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Text(Vec::new(), Vec::new()),
            Kind::Whole | Kind::Time => Values::Whole(Vec::new()),
            Kind::Real => Values::Real(Vec::new()),
            Kind::Flag => Values::Flag(Vec::new()),
        };
        Self { levels: Vec::new(), values }
    }

    /// Adds a value, or that there is none. About how many bytes it has.
    fn push(&mut self, cell: &Cell<'_>) -> usize {
        let mut size = 2;
        let there = match (&mut self.values, cell) {
            (Values::Text(texts, ends), Cell::Text(text)) => {
                size += text.len();
                texts.extend_from_slice(text.as_bytes());
                ends.push(texts.len());
                true
            }
            (Values::Whole(all), Cell::Whole(number)) => {
                all.push(*number);
                true
            }
            (Values::Whole(all), Cell::Time(at)) => {
                all.push(Timestamp::as_microsecond(*at));
                true
            }
            (Values::Real(all), Cell::Real(number)) => {
                all.push(*number);
                true
            }
            (Values::Flag(all), Cell::Flag(flag)) => {
                all.push(*flag);
                true
            }
            _ => false,
        };
        self.levels.push(i16::from(there));
        size + 8
    }

    fn clear(&mut self) {
        self.levels.clear();
        match &mut self.values {
            Values::Text(texts, ends) => {
                texts.clear();
                ends.clear();
            }
            Values::Whole(all) => all.clear(),
            Values::Real(all) => all.clear(),
            Values::Flag(all) => all.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ocelli_core::{Digest, ImageFacts};
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    use super::*;
    use crate::buffer::Buffer;

    /// So many make three groups, by their texts of about as many bytes.
    const RECORDS: usize = 40;
    const LONG: usize = 2 * 1024 * 1024;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn refused(number: usize) -> Record {
        let digest = Digest::of(&number.to_be_bytes());
        let facts = ImageFacts { digest, bytes: 1, format: None, width: None, height: None };
        let mut record = Record::new(facts);
        record.refusal = Some(format!("{number} ").repeat(LONG / 3));
        record
    }

    fn write(out: impl Write + Send + 'static) -> io::Result<()> {
        let mut columns = Columns::begin(Hashed::new(Box::new(out)))?;
        for number in 0..RECORDS {
            assert_eq!(columns.add(&refused(number), false)?, 1);
        }
        columns.finish()?.finish().map(drop)
    }

    #[test]
    fn groups_come_in_their_order_though_each_is_written_while_the_next_is_gathered() {
        let out = Buffer::default();
        write(out.clone()).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(out.take())).unwrap();
        assert!(reader.metadata().num_row_groups() >= 3);
        let mut rows = 0;
        for (number, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let row = row.unwrap();
            let value = |name: &str| {
                let (_, value) = row.get_column_iter().find(|(column, _)| *column == name).unwrap();
                let Field::Str(text) = value else { panic!("{name}: {value}") };
                text.clone()
            };
            assert_eq!(value("digest"), refused(number).image.digest.to_string());
            assert_eq!(Some(value("refusal")), refused(number).refusal);
            rows += 1;
        }
        assert_eq!(rows, RECORDS);
    }

    #[test]
    fn a_full_disk_is_told_though_a_group_is_written_behind() {
        assert_eq!(write(Full).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
