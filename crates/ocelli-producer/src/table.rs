//! Lists in Parquet, read row group by row group, some rows of each column at once.
//!
//! A row that says too little or too much is one error with its number, counted from 1. Where the file itself is damaged, what is
//! behind that place cannot be told apart: the list ends there, visibly. The reader of the file is a library that may panic
//! about hostile bytes, which is caught here.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row as Record};
use parquet::schema::types::Type;
use serde_json::Value;

use crate::metadata::text;
use crate::row::{BadLine, Fields, KNOWN, Reading, Row};
use crate::source::clip;

/// Rows of a column that are decoded together.
const ROWS_AT_ONCE: usize = 256;

/// A list that can be read.
pub(crate) struct Table {
    reader: SerializedFileReader<File>,
    /// What the numbers of its times count, where they are numbers.
    times: Option<TimeUnit>,
}

/// The rows of a table. Ends after an error of the file, which is the last item.
pub(crate) struct TableRows {
    rows: RowIter<'static>,
    times: Option<TimeUnit>,
    reading: Reading,
    number: u64,
    ended: bool,
}

impl Table {
    /// Looks at the columns; an error says what is wrong with them, or with the file.
    pub(crate) fn open(file: File) -> Result<Self, String> {
        let open = || {
            let reader =
                SerializedFileReader::new(file).map_err(|error| clip(&error.to_string()))?;
            let times = columns(reader.metadata().file_metadata().schema())?;
            Ok(Self { reader, times })
        };
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err("it is damaged".to_owned()))
    }

    pub(crate) fn rows(self, reading: Reading) -> TableRows {
        let rows = RowIter::from_file_into(Box::new(self.reader)).with_batch_size(ROWS_AT_ONCE);
        TableRows { rows, times: self.times, reading, number: 0, ended: false }
    }
}

/// Checks the columns that say something to ocelli itself, and tells what the times count.
fn columns(schema: &Type) -> Result<Option<TimeUnit>, String> {
    let all = schema.get_fields();
    let find = |wanted: &str| {
        let mut found = all.iter().filter(|column| column.name().eq_ignore_ascii_case(wanted));
        let first = found.next();
        match found.next() {
            Some(_) => Err(format!("two columns are named '{wanted}'")),
            None => Ok(first),
        }
    };
    let wrong = |column: &Arc<Type>, expected: &str| {
        let found = if column.is_primitive() {
            column.get_physical_type().to_string()
        } else {
            "a group".to_owned()
        };
        Err(format!("the column '{}' holds {found}; {expected}", clip(column.name())))
    };
    let is_bytes = |column: &Arc<Type>| {
        column.is_primitive() && column.get_physical_type() == Physical::BYTE_ARRAY
    };
    for name in ["uri", "path", "digest"] {
        match find(name)? {
            Some(column) if !is_bytes(column) => return wrong(column, "it should hold texts"),
            _ => {}
        }
    }
    if find("uri")?.is_none() && find("path")?.is_none() {
        let names: Vec<&str> = all.iter().map(|column| column.name()).collect();
        return Err(format!(
            "it has no column 'uri' or 'path'; its columns are: {}",
            names.join(", ")
        ));
    }
    let Some(column) = find("first_seen")? else { return Ok(None) };
    if is_bytes(column) {
        return Ok(None);
    }
    let expected = "it should hold texts, or times in UTC";
    if column.is_primitive() && column.get_physical_type() == Physical::INT96 {
        return Ok(None);
    }
    match column.get_basic_info().logical_type_ref() {
        Some(LogicalType::Timestamp(time)) if column.is_primitive() => {
            if time.is_adjusted_to_u_t_c {
                Ok(Some(time.unit))
            } else {
                Err(format!("the times in the column 'first_seen' have no zone; {expected}"))
            }
        }
        // Files that are older than logical types: their times are in UTC.
        None if is_old_time(column) => Ok(None),
        _ => wrong(column, expected),
    }
}

fn is_old_time(column: &Type) -> bool {
    let converted = column.get_basic_info().converted_type();
    matches!(converted, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS)
}

impl TableRows {
    fn row(&self, record: Record) -> Result<Row, String> {
        let mut known: [Option<Vec<u8>>; KNOWN.len()] = [const { None }; KNOWN.len()];
        let mut others = Vec::new();
        for (name, field) in record.into_columns() {
            let place = KNOWN.iter().position(|known| name.eq_ignore_ascii_case(known));
            match place {
                Some(place) => {
                    if let Some(slot) = known.get_mut(place) {
                        *slot = self.bytes(field, &name)?;
                    }
                }
                None => {
                    let value =
                        value(&field).map_err(|reason| format!("{} {reason}", clip(&name)))?;
                    others.extend(text(value).map(|value| (name, value)));
                }
            }
        }
        let [uri, path, first_seen, digest] = known;
        let utf8 = |bytes: Option<Vec<u8>>, name: &str| {
            let text = bytes.map(String::from_utf8).transpose();
            text.map_err(|_| format!("{name} is not UTF-8 text"))
        };
        let (first_seen, digest) = (utf8(first_seen, "first_seen")?, utf8(digest, "digest")?);
        let fields = Fields {
            uri: uri.as_deref(),
            path: path.as_deref(),
            first_seen: first_seen.as_deref(),
            digest: digest.as_deref(),
        };
        self.reading.row(fields, others)
    }

    /// A known field as a line of text would have it. Nothing and an empty text are none.
    fn bytes(&self, field: Field, name: &str) -> Result<Option<Vec<u8>>, String> {
        let bytes = match field {
            Field::Null => return Ok(None),
            Field::Str(text) => text.into_bytes(),
            Field::Bytes(bytes) => bytes.data().to_vec(),
            Field::TimestampMillis(count) => time(count, TimeUnit::MILLIS)?.into_bytes(),
            Field::TimestampMicros(count) => time(count, TimeUnit::MICROS)?.into_bytes(),
            Field::Long(count) => match self.times {
                Some(unit) => time(count, unit)?.into_bytes(),
                None => return Err(format!("{name} is a number")),
            },
            _ => return Err(format!("{name} is no text")),
        };
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

fn time(count: i64, unit: TimeUnit) -> Result<String, String> {
    let at = match unit {
        TimeUnit::MILLIS => Timestamp::from_millisecond(count),
        TimeUnit::MICROS => Timestamp::from_microsecond(count),
        TimeUnit::NANOS => Timestamp::from_nanosecond(i128::from(count)),
    };
    at.map(|at| at.to_string()).map_err(|_| format!("first_seen {count} is beyond all times"))
}

/// A value as JSON has it.
fn value(field: &Field) -> Result<Value, &'static str> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => {
            std::str::from_utf8(bytes.data()).map_err(|_| "is not UTF-8 text")?.into()
        }
        Field::TimestampMillis(count) => instant(Timestamp::from_millisecond(*count)),
        Field::TimestampMicros(count) => instant(Timestamp::from_microsecond(*count)),
        Field::Group(group) => Value::Object(
            group
                .get_column_iter()
                .map(|(name, field)| Ok((name.clone(), value(field)?)))
                .collect::<Result<_, &'static str>>()?,
        ),
        Field::ListInternal(list) => {
            list.elements().iter().map(value).collect::<Result<_, _>>().map(Value::Array)?
        }
        Field::MapInternal(map) => Value::Object(
            map.entries()
                .iter()
                .map(|(name, field)| {
                    let name = text(value(name)?).ok_or("has an entry without a name")?;
                    Ok((name, value(field)?))
                })
                .collect::<Result<_, &'static str>>()?,
        ),
        // Dates, times of day, decimals: as the library writes them.
        other => other.to_string().into(),
    })
}

fn instant(at: Result<Timestamp, jiff::Error>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

impl Iterator for TableRows {
    type Item = (u64, Result<Row, BadLine>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = catch_unwind(AssertUnwindSafe(|| self.rows.next()));
        let number = self.number + 1;
        let broken = match next {
            Ok(None) => {
                self.ended = true;
                return None;
            }
            Ok(Some(Ok(record))) => {
                self.number = number;
                let row = self.row(record);
                return Some((number, row.map_err(|reason| BadLine { number, reason })));
            }
            Ok(Some(Err(error))) => clip(&error.to_string()),
            Err(_) => "it is damaged".to_owned(),
        };
        self.ended = true;
        let reason = format!("the list cannot be read from this row on: {broken}");
        Some((number, Err(BadLine { number, reason })))
    }
}

#[cfg(test)]
mod tests;
