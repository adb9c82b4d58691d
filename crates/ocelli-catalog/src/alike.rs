//! Images that look alike: those whose perceptual hashes differ in few bits.
//!
//! A hash has four bands of 16 bits, each with an index. Two hashes that differ in at most `n` bits differ in at most `n / 4` in
//! some band, so the rows that have one of few values in one of them are all that can be near; their bits are counted
//! here. At a distance of 6 and a million images that is about a thousand rows.

use std::collections::{BTreeMap, BTreeSet};

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::phash::{MOST_DISTANCE, bands};
use ocelli_core::{Digest, PerceptualHash, SourceUri};
use serde::Serialize;

use crate::catalog::{Catalog, Store, ask, snapshot};
use crate::error::{CatalogError, Fault};
use crate::query::{Filter, Like, Query, QueryError};
use crate::rows::{Read, digest, parse_some, time, unreadable};
use crate::search::Place;
use crate::search::run::fetch;
use crate::search::sql::{Dialect, SEEN, Sql, Value};

/// At most so many images are alike; of more the nearest.
pub const MOST_ALIKE: usize = 10_000;

/// Images that [`Catalog::groups`] looks at in one call: each is a look into the index.
const LOOKED_AT: u32 = 200;

/// Images whose times and sources are read by one statement.
const READ_AT_ONCE: usize = 500;

/// The four bands, as the indexes have them.
const BANDS: [&str; 4] = [
    "((bits >> 48) & 65535)",
    "((bits >> 32) & 65535)",
    "((bits >> 16) & 65535)",
    "(bits & 65535)",
];

/// An image that looks like another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alike {
    /// Which image.
    pub digest: Digest,
    /// In how many of 64 bits their hashes differ.
    pub distance: u32,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// Where it was seen last.
    pub source: Option<SourceUri>,
}

/// An image that looks like none that was seen before it, and those seen later that look like it. Nothing is in a group by
/// looking like another member, so a group does not drift; an image can be in two groups, or, where it only looks like a
/// member, in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The image seen first: the representative. Its distance is 0.
    pub first: Alike,
    /// The others in the order of their first sightings.
    pub others: Vec<Alike>,
}

/// Reads the hashes that can be near and keeps the nearest, in memory that does not grow with them.
macro_rules! nearest {
    ($connection:expr, $hash:expr, $distance:expr, $most:expr) => {{
        use futures_util::TryStreamExt as _;
        let (hash, most): (&ocelli_core::PerceptualHash, usize) = ($hash, $most);
        let distance: u32 = $distance;
        let mut nearest: std::collections::BTreeSet<(u32, ocelli_core::Digest)> =
            std::collections::BTreeSet::new();
        for statement in crate::alike::statements(hash, distance) {
            let mut rows = sqlx::query_as::<_, (Vec<u8>, i64)>(sqlx::AssertSqlSafe(statement))
                .persistent(false)
                .bind(hash.algorithm().to_owned())
                .fetch(&mut *$connection);
            while let Some((bytes, bits)) = rows.try_next().await? {
                let apart = (hash.bits() ^ bits.cast_unsigned()).count_ones();
                if apart <= distance {
                    nearest.insert((apart, crate::rows::digest(&bytes)?));
                    if nearest.len() > most {
                        nearest.pop_last();
                    }
                }
            }
        }
        Ok::<_, crate::error::Fault>(nearest)
    }};
}
pub(crate) use nearest;

/// One statement for each band: all hashes of that algorithm with one of the values in it that something near can have.
pub(crate) fn statements(hash: &PerceptualHash, distance: u32) -> Vec<String> {
    let bands = bands(hash.bits(), distance.min(MOST_DISTANCE));
    let statement = |(column, values): (&&str, Vec<u16>)| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let values = values.join(", ");
        format!(
            "SELECT digest, bits FROM perceptual_hashes WHERE {column} IN ({values}) AND algorithm = $1"
        )
    };
    BANDS.iter().zip(bands).map(statement).collect()
}

type ImageColumns = (Vec<u8>, Option<i64>, Option<String>);

impl Catalog {
    /// What an image looks like, as far as somebody has told.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn perceptual_hash(
        &self,
        image: &Digest,
    ) -> Result<Option<PerceptualHash>, CatalogError> {
        let row: Option<(String, i64)> = ask!(self, "look up a perceptual hash", pool => sqlx::query_as(
            "SELECT algorithm, bits FROM perceptual_hashes WHERE digest = $1",
        )
        .bind(image.as_bytes().as_slice())
        .fetch_optional(pool))?;
        row.map(|(algorithm, bits)| hash(&algorithm, bits))
            .transpose()
            .map_err(|error| self.unreadable(error))
    }

    /// All images, up to [`MOST_ALIKE`], whose hash has the same algorithm and differs from `hash` in at most `distance` bits:
    /// nearest first, of equals the earliest. A greater distance than [`MOST_DISTANCE`] counts as that one.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn alike(
        &self,
        hash: &PerceptualHash,
        distance: u32,
    ) -> Result<Vec<Alike>, CatalogError> {
        let near = self.near(hash, distance, MOST_ALIKE).await?;
        let distances: BTreeMap<Digest, u32> =
            near.iter().map(|(distance, digest)| (*digest, *distance)).collect();
        let mut found = Vec::with_capacity(distances.len());
        let digests: Vec<Digest> = distances.keys().copied().collect();
        for part in digests.chunks(READ_AT_ONCE) {
            let mut sql = Sql::new(self.dialect());
            sql.push(
                "SELECT i.digest, i.first_seen, (SELECT s.source FROM sightings s WHERE s.image = i.id \
                 ORDER BY s.seen_at DESC, s.batch DESC, s.source_key LIMIT 1) FROM images i \
                 WHERE i.bytes IS NOT NULL AND i.digest IN ",
            );
            sql.joined(part, ", ", "(NULL)", |sql, digest| {
                sql.bind(Value::Bytes(digest.as_bytes().to_vec()));
            });
            let rows = snapshot!(self, connection => async {
                Ok::<Vec<ImageColumns>, Fault>(fetch!(sql, connection, fetch_all)?)
            }.await);
            for row in self.timed("read images that look alike", rows).await? {
                let one = alike(row, &distances).map_err(|error| self.unreadable(error))?;
                found.push(one);
            }
        }
        found.sort_by_key(|one| (one.distance, one.first_seen, one.digest));
        Ok(found)
    }

    /// At most `most` other images that look like this one, nearest first, with the distance; none while it has no hash. Up to the
    /// distance that a query without one means.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn nearest(
        &self,
        image: &Digest,
        most: usize,
    ) -> Result<Option<Vec<(u32, Digest)>>, CatalogError> {
        let Some(hash) = self.perceptual_hash(image).await? else { return Ok(None) };
        // The image itself is among them.
        let near = self.near(&hash, self.near_distance, most.saturating_add(1)).await?;
        let others = near.into_iter().filter(|(_, digest)| digest != image);
        Ok(Some(others.take(most).collect()))
    }

    /// The next groups of images that look alike, in the order of their first sightings, behind `after`; and where to go on.
    /// One call looks at a bounded number of images and may find no group among them.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn groups(
        &self,
        distance: u32,
        after: Option<Place>,
    ) -> Result<(Vec<Group>, Option<Place>), CatalogError> {
        let mut sql = Sql::new(self.dialect());
        sql.push(&format!(
            "SELECT {SEEN} AS seen, i.digest, h.algorithm, h.bits FROM images i \
             JOIN perceptual_hashes h ON h.digest = i.digest WHERE i.bytes IS NOT NULL"
        ));
        if let Some(after) = after {
            sql.push(&format!(" AND ({SEEN}, i.digest) > (")).bind(Value::Number(after.seen));
            sql.push(", ").bind(Value::Bytes(after.digest.as_bytes().to_vec()));
            sql.push(&format!(") AND {SEEN} >= ")).bind(Value::Number(after.seen));
        }
        sql.push(&format!(" ORDER BY {SEEN}, i.digest LIMIT {LOOKED_AT}"));
        let rows = snapshot!(self, connection => async {
            Ok::<Vec<(i64, Vec<u8>, String, i64)>, Fault>(fetch!(sql, connection, fetch_all)?)
        }.await);
        let rows = self.timed("list images with a perceptual hash", rows).await?;
        let read = |(seen, bytes, algorithm, bits): &(i64, Vec<u8>, String, i64)| {
            Ok((Place { seen: *seen, digest: digest(bytes)? }, hash(algorithm, *bits)?))
        };
        let images: Vec<(Place, PerceptualHash)> =
            rows.iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))?;
        let mut groups = Vec::new();
        for (place, hash) in &images {
            let mut alike = self.alike(hash, distance).await?;
            alike.sort_by_key(|one| (one.first_seen, one.digest));
            // Not the first of those that look like it, or the only one.
            if alike.len() > 1 && alike[0].digest == place.digest {
                let first = alike.remove(0);
                groups.push(Group { first, others: alike });
            }
        }
        let next = images.last().filter(|_| images.len() == LOOKED_AT as usize);
        Ok((groups, next.map(|(place, _)| *place)))
    }

    /// The query with all that it must look up in the archive first: which images look like the ones that it names.
    pub(crate) async fn settled(&self, query: &Query) -> Result<Query, CatalogError> {
        let mut likes: Vec<Like> = Vec::new();
        let mut query = query.clone();
        query.expr.filters(&mut |filter| {
            if let Filter::Like(like) = filter {
                likes.push(like.clone());
            }
        });
        let mut found = Vec::with_capacity(likes.len());
        for like in likes {
            found.push(self.like(&like).await?);
        }
        let mut found = found.into_iter();
        query.expr.filters(&mut |filter| {
            if let Filter::Like(like) = filter {
                like.found = found.next().unwrap_or_default();
            }
        });
        Ok(query)
    }

    async fn like(&self, like: &Like) -> Result<Vec<Digest>, CatalogError> {
        let (place, name) = (like.place, like.image.as_str());
        let wrong =
            |what: String| QueryError::new(place, format!("{what} (like: at character {place})"));
        let image = match self.find(&like.image, 2).await?.as_slice() {
            [image] => *image,
            [] => return Err(wrong(format!("no image's digest begins with '{name}'")).into()),
            _ => {
                let what = format!("several images' digests begin with '{name}': give more of it");
                return Err(wrong(what).into());
            }
        };
        let Some(hash) = self.perceptual_hash(&image).await? else {
            let what = format!(
                "the image {} has no perceptual hash: no reader has decoded it yet, it is of one colour, or it was read \
                 before there were hashes (produce it again with near.hash = true)",
                image.short()
            );
            return Err(wrong(what).into());
        };
        let distance = like.distance.unwrap_or(self.near_distance);
        let near = self.near(&hash, distance, MOST_ALIKE).await?;
        Ok(near.into_iter().map(|(_, digest)| digest).collect())
    }

    /// The nearest hashes: distance and image.
    async fn near(
        &self,
        hash: &PerceptualHash,
        distance: u32,
        most: usize,
    ) -> Result<BTreeSet<(u32, Digest)>, CatalogError> {
        let found = snapshot!(self, connection => async {
            nearest!(connection, hash, distance, most)
        }.await);
        self.timed("look for images that look alike", found).await
    }

    const fn dialect(&self) -> Dialect {
        match &self.store {
            Store::Sqlite(_) => Dialect::Sqlite,
            Store::Postgres(_) => Dialect::Postgres,
        }
    }
}

pub(crate) fn hash(algorithm: &str, bits: i64) -> Read<PerceptualHash> {
    PerceptualHash::new(algorithm, bits.cast_unsigned())
        .map_err(|error| unreadable("perceptual hash", error))
}

fn alike(
    (bytes, first_seen, source): ImageColumns,
    distances: &BTreeMap<Digest, u32>,
) -> Read<Alike> {
    let digest = digest(&bytes)?;
    Ok(Alike {
        digest,
        distance: distances.get(&digest).copied().unwrap_or_default(),
        first_seen: first_seen.map(time).transpose()?,
        source: parse_some("source", source.as_deref())?,
    })
}
