//! What local files looked like when they were read: a producer that finds a file as it was need not read it again.
//!
//! A memory and no truth. A row is believed only where the image and its sighting at that place are in the catalog too, so it
//! may be written before them, be lost, or be older than others: whatever it says was true of exactly that state of the file.

use std::collections::{BTreeMap, HashMap};

use async_recursion::async_recursion;
use ocelli_core::{Digest, ImageFacts, SourceUri};

use crate::catalog::{Catalog, Store};
use crate::error::{CatalogError, Fault};
use crate::gather::text_key;
use crate::rows::{Read, digest, facts, json, unreadable};

/// The state of a file: when its content changes, one of these does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// Bytes.
    pub size: u64,
    /// Time of the last change of its content, in nanoseconds since 1970. Programs can set it.
    pub modified: i64,
    /// Time of the last change of anything about it, in nanoseconds since 1970. Only the system sets it.
    pub changed: i64,
    /// Which file it is in its file system.
    pub inode: u64,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedFile {
    /// Where it is.
    pub source: SourceUri,
    /// What was in it.
    pub digest: Digest,
    /// What it looked like then.
    pub stamp: FileStamp,
}

/// What the catalog remembers of a file, and knows about the image in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedFile {
    /// What it looked like when it was read.
    pub stamp: FileStamp,
    /// The image.
    pub image: ImageFacts,
    /// Why no analyzer is asked about it.
    pub refusal: Option<String>,
}

/// Key; size, times and inode of the file; digest, bytes, format, width, height and refusal of the image.
type Columns = (
    Vec<u8>,
    i64,
    i64,
    i64,
    i64,
    Vec<u8>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

macro_rules! remembered {
    ($asked:literal) => {
        concat!(
            "SELECT f.source_key, f.size, f.modified, f.changed, f.inode, i.digest, i.bytes, i.format, i.width, i.height, \
             i.refusal FROM ",
            $asked,
            " CROSS JOIN known_files f JOIN images i ON i.digest = f.digest AND i.bytes IS NOT NULL \
             WHERE f.source_key = asked.source_key AND EXISTS (SELECT 1 FROM sightings s \
             WHERE s.image = i.id AND s.source_key = f.source_key)"
        )
    };
}

macro_rules! overwrite {
    () => {
        " ON CONFLICT (source_key) DO UPDATE SET digest = excluded.digest, size = excluded.size, \
         modified = excluded.modified, changed = excluded.changed, inode = excluded.inode"
    };
}

/// Rows of what is asked for by the keys of its places; `$sql` is a macro that puts the table of these keys, `asked`, into the
/// statement.
macro_rules! by_places {
    ($catalog:expr, $action:expr, $keys:expr, $sql:ident) => {
        match &$catalog.store {
            Store::Sqlite(store) => {
                let keys: Vec<String> = $keys.iter().map(|key| hex(key)).collect();
                let sql = $sql!("(SELECT unhex(value) AS source_key FROM json_each($1)) AS asked");
                let query = sqlx::query_as(sql).bind(json(&keys));
                $catalog.timed($action, query.fetch_all(&store.read)).await
            }
            Store::Postgres(store) => {
                let keys: Vec<&[u8]> = $keys.iter().map(<[u8; 16]>::as_slice).collect();
                let sql = $sql!("(SELECT unnest($1::bytea[]) AS source_key) AS asked");
                let asking = async {
                    let mut transaction = store.keyed().await?;
                    let rows = sqlx::query_as(sql).bind(keys).fetch_all(&mut *transaction).await?;
                    transaction.end().await?;
                    Ok::<_, sqlx::Error>(rows)
                };
                $catalog.timed($action, asking).await
            }
        }
    };
}

pub(crate) use by_places;

impl Catalog {
    /// What is remembered of the files at these places, in their order, for as many as one statement takes (thousands).
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn remembered_files(
        &self,
        sources: &[SourceUri],
    ) -> Result<Vec<Option<RememberedFile>>, CatalogError> {
        let keys: Vec<[u8; 16]> = sources.iter().map(|source| text_key(source.as_str())).collect();
        let rows: Vec<Columns> = by_places!(self, "look up files", keys, remembered)?;
        let found = rows
            .into_iter()
            .map(remembered)
            .collect::<Read<HashMap<_, _>>>()
            .map_err(|error| self.unreadable(error))?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Remembers what files looked like when they were read, all in one transaction; of two at one place the latter counts.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn note_files(&self, files: &[NotedFile]) -> Result<(), CatalogError> {
        // In one order, so that two producers wait for each other and never for both.
        let rows: BTreeMap<[u8; 16], &NotedFile> =
            files.iter().map(|file| (text_key(file.source.as_str()), file)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let action = "note what files look like";
        match &self.store {
            Store::Sqlite(store) => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(key, NotedFile { digest, stamp, .. })| {
                        let inode = stamp.inode.cast_signed();
                        let size = stamp.size.cast_signed();
                        (hex(key), digest.to_string(), size, stamp.modified, stamp.changed, inode)
                    })
                    .collect();
                let sql = concat!(
                    "INSERT INTO known_files (source_key, digest, size, modified, changed, inode) \
                     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
                     FROM json_each($1) WHERE true",
                    overwrite!()
                );
                let work = async {
                    let mut guard = store.writing().await?;
                    sqlx::query(sql).bind(json(&rows)).execute(&mut *guard).await?;
                    guard.end().await
                };
                self.timed(action, work).await
            }
            Store::Postgres(store) => {
                let sql = concat!(
                    "INSERT INTO known_files (source_key, digest, size, modified, changed, inode) SELECT * FROM \
                     UNNEST($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])",
                    overwrite!()
                );
                let stamps = || rows.values().map(|file| file.stamp);
                let query = sqlx::query(sql)
                    .bind(rows.keys().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())
                    .bind(
                        rows.values()
                            .map(|file| file.digest.as_bytes().as_slice())
                            .collect::<Vec<_>>(),
                    )
                    .bind(stamps().map(|stamp| stamp.size.cast_signed()).collect::<Vec<_>>())
                    .bind(stamps().map(|stamp| stamp.modified).collect::<Vec<_>>())
                    .bind(stamps().map(|stamp| stamp.changed).collect::<Vec<_>>())
                    .bind(stamps().map(|stamp| stamp.inode.cast_signed()).collect::<Vec<_>>());
                let work =
                    async { query.execute(&store.pool).await.map(|_| ()).map_err(Fault::Sql) };
                self.timed(action, work).await
            }
        }
    }
}

fn remembered(row: Columns) -> Read<([u8; 16], RememberedFile)> {
    let (key, size, modified, changed, inode, bytes, length, format, width, height, refusal) = row;
    let key = key.try_into().map_err(|_| unreadable("source key", "it has not 16 bytes"))?;
    let image = facts(digest(&bytes)?, length, format.as_deref(), width, height)?
        .ok_or_else(|| unreadable("image", "a known file without an intake"))?;
    let stamp =
        FileStamp { size: size.cast_unsigned(), modified, changed, inode: inode.cast_unsigned() };
    Ok((key, RememberedFile { stamp, image, refusal }))
}

pub(crate) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
