//! A prefix of a bucket, lent to an export: the seam between the crate that knows protocols and the one that knows records.

use ocelli_core::object::Object;
use ocelli_export::objects::{Doing, Objects, ObjectsError, Upload};
use ocelli_media::{FetchError, Fetcher, ObjectError, Prefix, Trouble};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};

/// The largest manifest that is read: it has some 300 bytes for each file.
const MANIFEST_BYTES: u64 = 256 << 20;
/// Parts of this size are sent as long as a file has not too many of them.
const PART_BYTES: u64 = 8 << 20;
/// The largest file: its parts are in memory, four of 63 MB at once.
const MOST_FILE_BYTES: u64 = 500_000_000_000;
/// Fewer parts than a bucket takes of one object: the last record of a file may be large.
const PARTS: u64 = 8_000;

/// The prefix that is exported to.
pub(super) struct Bucket {
    prefix: Prefix,
    part_bytes: usize,
}

impl Bucket {
    pub(super) fn open(
        settings: &Settings,
        prefix: &Object,
        file_bytes: u64,
    ) -> Result<Self, Fault> {
        let part_bytes = part_bytes(file_bytes)?;
        let fetcher = Fetcher::new(parts::fetch_limits(settings))
            .map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
        let prefix =
            fetcher.prefix(prefix).map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
        Ok(Self { prefix, part_bytes })
    }
}

fn part_bytes(file_bytes: u64) -> Result<usize, Fault> {
    if file_bytes > MOST_FILE_BYTES {
        let reason = "a file in a bucket has at most 500GB: choose a smaller --file-size";
        return Err(Fault::new(ExitCode::Usage, reason));
    }
    let part_bytes = PART_BYTES.max(file_bytes.div_ceil(PARTS));
    Ok(usize::try_from(part_bytes).unwrap_or(usize::MAX))
}

impl Objects for Bucket {
    fn shown(&self) -> String {
        self.prefix.to_string()
    }

    fn names<'a>(&'a self, after: Option<&'a str>) -> Doing<'a, Vec<String>> {
        Box::pin(async move { self.prefix.names(after).await.map_err(told) })
    }

    fn read<'a>(&'a self, name: &'a str) -> Doing<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            match self.prefix.get(name, MANIFEST_BYTES).await {
                Ok(found) => Ok(found.map(Into::into)),
                Err(FetchError::Object { source_name: name, reason, trouble }) => {
                    Err(told(ObjectError { name, reason, trouble }))
                }
                Err(error) => {
                    let reason = ocelli_core::chain(&error);
                    Err(ObjectsError { reason, full: false, settings: false })
                }
            }
        })
    }

    fn write<'a>(&'a self, name: &'a str, bytes: Vec<u8>) -> Doing<'a, ()> {
        Box::pin(async move { self.prefix.put(name, bytes.into()).await.map_err(told) })
    }

    fn remove<'a>(&'a self, name: &'a str) -> Doing<'a, ()> {
        Box::pin(async move { self.prefix.remove(name).await.map_err(told) })
    }

    fn abort<'a>(&'a self, name: &'a str, upload: &'a str) -> Doing<'a, ()> {
        Box::pin(async move { self.prefix.abort(name, upload).await.map_err(told) })
    }

    fn begin(&self, name: &str) -> Result<Box<dyn Upload>, ObjectsError> {
        let upload = self.prefix.upload(name, self.part_bytes).map_err(told)?;
        Ok(Box::new(Parts(upload)))
    }
}

struct Parts(ocelli_media::Upload);

impl Upload for Parts {
    fn id(&self) -> Option<&str> {
        self.0.id()
    }

    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Doing<'a, ()> {
        Box::pin(async move { self.0.write(bytes).await.map_err(told) })
    }

    fn finish(&mut self) -> Doing<'_, ()> {
        Box::pin(async move { self.0.finish().await.map_err(told) })
    }

    fn abort(&mut self) -> Doing<'_, ()> {
        Box::pin(async move { self.0.abort().await.map_err(told) })
    }
}

fn told(error: ObjectError) -> ObjectsError {
    let settings = matches!(
        error.trouble,
        Trouble::Missing | Trouble::NoBucket | Trouble::Refused | Trouble::Closed | Trouble::Name
    );
    ObjectsError { full: error.trouble == Trouble::Full, settings, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_the_file_up_to_a_limit() {
        assert_eq!(part_bytes(1).ok(), Some(8 << 20));
        assert_eq!(part_bytes(MOST_FILE_BYTES).ok(), Some(62_500_000));
        let refused = part_bytes(MOST_FILE_BYTES + 1).unwrap_err();
        assert!(refused.message.contains("--file-size"), "{}", refused.message);
    }
}
