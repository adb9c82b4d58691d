//! Parquet, with the columns of `row`: typed, each value optional but the digest, compressed with Snappy, which every reader has.

use std::io;
use std::sync::Arc;

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
    Text(Vec<ByteArray>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
}

pub(super) struct Columns {
    writer: SerializedFileWriter<Hashed>,
    columns: Vec<Column>,
    rows: usize,
    /// Bytes of what is gathered.
    gathered: usize,
    written: u64,
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
        let columns = COLUMNS.iter().map(|(_, kind)| Column::new(*kind)).collect();
        Ok(Self { writer, columns, rows: 0, gathered: 0, written: 0 })
    }

    pub(super) fn add(&mut self, record: &Record, older: bool) -> io::Result<u64> {
        let rows = rows(record, older);
        for row in &rows {
            for (column, cell) in self.columns.iter_mut().zip(row) {
                self.gathered += column.push(cell);
            }
        }
        self.rows += rows.len();
        if self.gathered >= GROUP_BYTES || self.rows >= GROUP_ROWS {
            self.write()?;
        }
        Ok(rows.len() as u64)
    }

    pub(super) const fn size(&self) -> u64 {
        self.written + self.gathered as u64
    }

    /// Writes what is gathered as one group of rows.
    fn write(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(io)?;
        for (place, column) in self.columns.iter_mut().enumerate() {
            let mut writer = group
                .next_column()
                .map_err(io)?
                .ok_or_else(|| io::Error::other("the table has fewer columns than its schema"))?;
            let levels = (place > 0).then_some(column.levels.as_slice());
            let done = match &column.values {
                Values::Text(all) => writer.typed::<ByteArrayType>().write_batch(all, levels, None),
                Values::Whole(all) => writer.typed::<Int64Type>().write_batch(all, levels, None),
                Values::Real(all) => writer.typed::<DoubleType>().write_batch(all, levels, None),
                Values::Flag(all) => writer.typed::<BoolType>().write_batch(all, levels, None),
            };
            done.map_err(io)?;
            writer.close().map_err(io)?;
            column.clear();
        }
        group.close().map_err(io)?;
        self.written = self.writer.bytes_written() as u64;
        (self.rows, self.gathered) = (0, 0);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Hashed> {
        self.write()?;
        self.writer.into_inner().map_err(io)
    }
}

impl Column {
    const fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Text(Vec::new()),
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
            (Values::Text(all), Cell::Text(text)) => {
                size += text.len();
                all.push(ByteArray::from(text.as_bytes().to_vec()));
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
            Values::Text(all) => all.clear(),
            Values::Whole(all) => all.clear(),
            Values::Real(all) => all.clear(),
            Values::Flag(all) => all.clear(),
        }
    }
}
