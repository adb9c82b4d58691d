//! Comma-separated values with a header (RFC 4180): one line for each answer.

use std::io;

use jiff::Timestamp;
use ocelli_core::Record;

use crate::hashed::Hashed;
use crate::row::{COLUMNS, Cell, rows};

pub(super) struct Table(csv::Writer<Hashed>);

impl Table {
    pub(super) fn begin(out: Hashed) -> io::Result<Self> {
        let mut writer = csv::WriterBuilder::new().buffer_capacity(64 * 1024).from_writer(out);
        writer.write_record(COLUMNS.map(|(name, _)| name))?;
        Ok(Self(writer))
    }

    pub(super) fn add(&mut self, record: &Record, older: bool) -> io::Result<u64> {
        rows(record, older, |row| {
            for cell in row {
                match cell {
                    Cell::None => self.0.write_field("")?,
                    Cell::Text(text) => self.0.write_field(text.as_bytes())?,
                    Cell::Whole(number) => self.0.write_field(number.to_string())?,
                    Cell::Real(number) => self.0.write_field(number.to_string())?,
                    Cell::Flag(flag) => self.0.write_field(if *flag { "true" } else { "false" })?,
                    Cell::Time(at) => self.0.write_field(time(*at))?,
                }
            }
            Ok(self.0.write_record(None::<&[u8]>)?)
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.0.get_ref().bytes()
    }

    pub(super) fn finish(self) -> io::Result<Hashed> {
        self.0.into_inner().map_err(|error| error.into_error())
    }
}

/// RFC 3339, UTC.
fn time(at: Timestamp) -> String {
    at.to_string()
}
