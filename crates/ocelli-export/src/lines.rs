//! An export as one stream: whoever reads it asks for one piece after the other, so that nothing is written that nobody takes,
//! and memory holds a few records, however large the archive.

use std::collections::VecDeque;
use std::io;

use async_recursion::async_recursion;
use ocelli_catalog::Catalog;
use ocelli_catalog::search::{Listed, Place};

use crate::buffer::Buffer;
use crate::hashed::Hashed;
use crate::writers::Body;
use crate::{AT_ONCE, ExportError, Exported, LISTED, Options};

/// A stream in the making. Only for formats that are lines.
pub struct Lines {
    body: Body,
    written: Buffer,
    listed: VecDeque<Listed>,
    until: Option<Place>,
    done: Exported,
}

impl Lines {
    /// A stream of what stands behind `since`, up to `until` where that is given: what comes in meanwhile is not in it.
    ///
    /// # Errors
    /// [`ExportError::Stream`], which memory gives no reason for.
    pub fn begin(
        options: &Options,
        since: Option<Place>,
        until: Option<Place>,
    ) -> Result<Self, ExportError> {
        let written = Buffer::default();
        let body = Body::begin(options, Hashed::new(Box::new(written.clone()))).map_err(broken)?;
        let done = Exported { records: 0, cursor: since, complete: false };
        Ok(Self { body, written, listed: VecDeque::new(), until, done })
    }

    /// The next piece; it may be empty. None at the end of the archive, when [`Self::finish`] has the last one.
    ///
    /// # Errors
    /// When the catalog does not answer.
    #[async_recursion]
    pub async fn next(
        &mut self,
        catalog: &Catalog,
        options: &Options,
    ) -> Result<Option<Vec<u8>>, ExportError> {
        if self.listed.is_empty() {
            let mut listed = catalog.places(&options.query, self.done.cursor, LISTED).await?;
            listed.retain(|one| self.until.is_none_or(|until| one.place <= until));
            self.listed = listed.into();
            if self.listed.is_empty() {
                self.done.complete = true;
                return Ok(None);
            }
        }
        let part: Vec<Listed> = self.listed.drain(..self.listed.len().min(AT_ONCE)).collect();
        let mut records = catalog.listed_records(&part, options.format.detail()).await?;
        for Listed { place, .. } in part {
            if let Some(record) = records.remove(&place.digest) {
                self.body.add(options, &record).map_err(broken)?;
                self.done.records += 1;
            }
            self.done.cursor = Some(place);
        }
        Ok(Some(self.written.take()))
    }

    /// What is left to be written, and what was done. Without the end of the archive it was interrupted.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn finish(self) -> Result<(Vec<u8>, Exported), ExportError> {
        self.body.finish().and_then(Hashed::finish).map_err(broken)?;
        Ok((self.written.take(), self.done))
    }
}

fn broken(source: io::Error) -> ExportError {
    ExportError::Stream { source }
}
