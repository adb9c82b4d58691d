//! By what the servers of URLs know again what they sent, and images at places where they were seen: a producer that finds either need
//! not fetch.
//!
//! A memory and no truth, as [`crate::known_files`] is: a row is believed only where the image and its sighting at that place are in the
//! catalog too.

use std::collections::{BTreeMap, HashMap};

use async_recursion::async_recursion;
use ocelli_core::{Digest, ImageFacts, SourceUri};

use crate::catalog::{Catalog, Store};
use crate::error::{CatalogError, Fault};
use crate::gather::{clean, text_key};
use crate::known_files::{by_places, hex};
use crate::rows::{Read, digest, facts, json, unreadable};

/// A URL that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedUrl {
    /// Where it is.
    pub source: SourceUri,
    /// What was there.
    pub digest: Digest,
    /// Its entity tag, as the server wrote it.
    pub etag: Option<String>,
    /// The time of its last change, as the server wrote it.
    pub modified: Option<String>,
}

/// An image that was seen at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenImage {
    /// The image.
    pub image: ImageFacts,
    /// Why no analyzer is asked about it.
    pub refusal: Option<String>,
}

/// What the catalog remembers of a URL, and knows about the image there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedUrl {
    /// Its entity tag.
    pub etag: Option<String>,
    /// The time of its last change.
    pub modified: Option<String>,
    /// The image.
    pub seen: SeenImage,
}

/// Key of the source; digest, bytes, format, width, height and refusal of the image.
type SeenColumns =
    (Vec<u8>, Vec<u8>, Option<i64>, Option<String>, Option<i64>, Option<i64>, Option<String>);
/// The same behind tag and time.
type UrlColumns = (
    Option<String>,
    Option<String>,
    Vec<u8>,
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
            "SELECT u.etag, u.modified, u.source_key, i.digest, i.bytes, i.format, i.width, i.height, i.refusal FROM ",
            $asked,
            " CROSS JOIN known_urls u JOIN images i ON i.digest = u.digest AND i.bytes IS NOT NULL \
             WHERE u.source_key = asked.source_key AND EXISTS (SELECT 1 FROM sightings s \
             WHERE s.image = i.id AND s.source_key = u.source_key)"
        )
    };
}

macro_rules! seen {
    ($asked:literal) => {
        concat!(
            "SELECT asked.source_key, i.digest, i.bytes, i.format, i.width, i.height, i.refusal FROM ",
            $asked,
            " CROSS JOIN images i WHERE i.digest = asked.digest AND i.bytes IS NOT NULL AND EXISTS \
             (SELECT 1 FROM sightings s WHERE s.image = i.id AND s.source_key = asked.source_key)"
        )
    };
}

macro_rules! overwrite {
    () => {
        " ON CONFLICT (source_key) DO UPDATE SET digest = excluded.digest, etag = excluded.etag, \
         modified = excluded.modified"
    };
}

impl Catalog {
    /// What is remembered of these URLs, in their order, for as many as one statement takes (thousands).
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn remembered_urls(
        &self,
        sources: &[SourceUri],
    ) -> Result<Vec<Option<RememberedUrl>>, CatalogError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<[u8; 16]> = sources.iter().map(|source| text_key(source.as_str())).collect();
        let rows: Vec<UrlColumns> = by_places!(self, "look up URLs", keys, remembered)?;
        let read = |(etag, modified, key, image, bytes, format, width, height, refusal)| {
            let ((key, _), seen) = place((key, image, bytes, format, width, height, refusal))?;
            Ok((key, RememberedUrl { etag, modified, seen }))
        };
        let found = rows.into_iter().map(read).collect::<Read<HashMap<_, _>>>();
        let found = found.map_err(|error| self.unreadable(error))?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// The images that were seen at these very places, in their order, for as many as one statement takes.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn seen_images(
        &self,
        places: &[(SourceUri, Digest)],
    ) -> Result<Vec<Option<SeenImage>>, CatalogError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<([u8; 16], Digest)> =
            places.iter().map(|(source, digest)| (text_key(source.as_str()), *digest)).collect();
        let action = "look up places of images";
        let rows: Vec<SeenColumns> = match &self.store {
            Store::Sqlite(store) => {
                let keys: Vec<_> =
                    keys.iter().map(|(key, digest)| (hex(key), digest.to_string())).collect();
                let sql = seen!(
                    "(SELECT unhex(value ->> 0) AS source_key, unhex(value ->> 1) AS digest \
                     FROM json_each($1)) AS asked"
                );
                let query = sqlx::query_as(sql).bind(json(&keys));
                self.timed(action, query.fetch_all(&store.read)).await
            }
            Store::Postgres(store) => {
                let sql = seen!("UNNEST($1::bytea[], $2::bytea[]) AS asked (source_key, digest)");
                let query = sqlx::query_as(sql)
                    .bind(keys.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>())
                    .bind(keys.iter().map(|(_, at)| at.as_bytes().as_slice()).collect::<Vec<_>>());
                let asking = async {
                    let mut transaction = store.keyed().await?;
                    let rows = query.fetch_all(&mut *transaction).await?;
                    transaction.end().await?;
                    Ok::<_, sqlx::Error>(rows)
                };
                self.timed(action, asking).await
            }
        }?;
        let found = rows.into_iter().map(place).collect::<Read<HashMap<_, _>>>();
        let found = found.map_err(|error| self.unreadable(error))?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Remembers by what servers know again what they sent, all in one transaction; of two at one place the latter counts.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn note_urls(&self, urls: &[NotedUrl]) -> Result<(), CatalogError> {
        // In one order, so that two producers wait for each other and never for both.
        let rows: BTreeMap<[u8; 16], &NotedUrl> =
            urls.iter().map(|url| (text_key(url.source.as_str()), url)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let action = "note by what URLs are known again";
        let stored = |text: &Option<String>| text.as_deref().map(clean);
        match &self.store {
            Store::Sqlite(store) => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(key, NotedUrl { digest, etag, modified, .. })| {
                        (hex(key), digest.to_string(), stored(etag), stored(modified))
                    })
                    .collect();
                let sql = concat!(
                    "INSERT INTO known_urls (source_key, digest, etag, modified) \
                     SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2, value ->> 3 \
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
                    "INSERT INTO known_urls (source_key, digest, etag, modified) SELECT * FROM \
                     UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::text[])",
                    overwrite!()
                );
                let urls = || rows.values();
                let query = sqlx::query(sql)
                    .bind(rows.keys().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())
                    .bind(urls().map(|url| url.digest.as_bytes().as_slice()).collect::<Vec<_>>())
                    .bind(urls().map(|url| stored(&url.etag)).collect::<Vec<_>>())
                    .bind(urls().map(|url| stored(&url.modified)).collect::<Vec<_>>());
                let work =
                    async { query.execute(&store.pool).await.map(|_| ()).map_err(Fault::Sql) };
                self.timed(action, work).await
            }
        }
    }
}

fn place(row: SeenColumns) -> Read<(([u8; 16], Digest), SeenImage)> {
    let (key, bytes, length, format, width, height, refusal) = row;
    let key = key.try_into().map_err(|_| unreadable("source key", "it has not 16 bytes"))?;
    let image = digest(&bytes)?;
    let facts = facts(image, length, format.as_deref(), width, height)?
        .ok_or_else(|| unreadable("image", "one that was seen without an intake"))?;
    Ok(((key, image), SeenImage { image: facts, refusal }))
}
