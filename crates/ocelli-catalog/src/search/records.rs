//! Whole records of many images at once.

use std::collections::HashMap;
use std::hash::Hash;

use async_recursion::async_recursion;
use ocelli_core::{BatchId, Digest, Record};

use super::run::fetch;
use super::sql::{Dialect, Sql, Value};
use super::whole::Listed;
use crate::answers::{AskedColumns, MetaColumns, SightingColumns, record};
use crate::catalog::{Catalog, Store, snapshot};
use crate::error::{CatalogError, Fault};
use crate::load::{self, AnalysisColumns};
use crate::rows::{Read, from_json, parse};

/// How much of an answer a record is read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// All of it.
    Whole,
    /// Without its words and their boxes, which can be most of it: what tables show.
    Outline,
}

/// The columns of an image; its sightings and its wants as JSON.
type RecordColumns = (
    i64,
    Vec<u8>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    bool,
    Option<String>,
    Option<String>,
    Option<String>,
);
type SaidColumns = (Vec<u8>, Vec<u8>, String, Vec<u8>, String);

impl Catalog {
    /// Whole records of one state of the database. Those whose intake has not arrived are missing.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn records(
        &self,
        digests: &[Digest],
        detail: Detail,
    ) -> Result<HashMap<Digest, Record>, CatalogError> {
        let bytes = digests.iter().map(|digest| Value::Bytes(digest.as_bytes().to_vec()));
        self.read("i.digest", bytes.collect(), detail).await
    }

    /// The same of records that were listed: they are found without a search for their digests.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn listed_records(
        &self,
        listed: &[Listed],
        detail: Detail,
    ) -> Result<HashMap<Digest, Record>, CatalogError> {
        let numbers = listed.iter().map(|listed| Value::Number(listed.number));
        self.read("i.id", numbers.collect(), detail).await
    }

    /// Records of images by the values of one column.
    async fn read(
        &self,
        column: &str,
        keys: Vec<Value>,
        detail: Detail,
    ) -> Result<HashMap<Digest, Record>, CatalogError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let dialect = match &self.store {
            Store::Sqlite(_) => Dialect::Sqlite,
            Store::Postgres(_) => Dialect::Postgres,
        };
        let among = |rows: &str, keys: &[Value]| {
            let mut sql = Sql::new(dialect);
            sql.push(rows).push(" IN ");
            sql.joined(keys, ", ", "(NULL)", |sql, key| {
                sql.bind(key.clone());
            });
            sql
        };
        let images = format!(
            "SELECT i.id, i.digest, i.bytes, i.format, i.width, i.height, i.refusal, i.first_seen, i.complete, \
             i.learned, {} FROM images i WHERE {column}",
            many(dialect)
        );
        let rows = snapshot!(self, connection => async {
            let images: Vec<RecordColumns> =
                fetch!(among(&images, &keys), connection, fetch_all)?;
            let digests: Vec<_> = images.iter().map(|image| Value::Bytes(image.1.clone())).collect();
            let meta: Vec<SaidColumns> = fetch!(
                among(
                    "SELECT m.digest, m.source_key, m.name, m.batch, m.text FROM sighting_meta m WHERE m.digest",
                    &digests
                ),
                connection, fetch_all
            )?;
            // What is seen together has numbers beside one another, and rows beside one another.
            let mut numbers: Vec<i64> = images.iter().map(|image| image.0).collect();
            numbers.sort_unstable();
            let numbers: Vec<_> = numbers.into_iter().map(Value::Number).collect();
            let analyses: Vec<AnalysisColumns<i64>> = fetch!(
                among(concat!(load::analysis_columns!("a.image"), "analyses a WHERE a.image"), &numbers),
                connection, fetch_all
            )?;
            Ok::<_, Fault>((images, meta, analyses))
        }.await);
        let (images, meta, analyses) = self.timed("read records", rows).await?;
        let said = meta.into_iter();
        let said =
            said.map(|(image, source, name, batch, text)| (image, (source, name, batch, text)));
        let (mut said, mut analyses) =
            (sorted(said), sorted(analyses.into_iter().map(|row| (row.0, row))));
        let mut one = |row: RecordColumns| -> Read<Option<Record>> {
            let (
                id,
                digest,
                bytes,
                format,
                width,
                height,
                refusal,
                first_seen,
                complete,
                learned,
                seen,
                asked,
            ) = row;
            let said: Vec<MetaColumns> = said.remove(&digest).unwrap_or_default();
            let analyses = analyses.remove(&id).unwrap_or_default();
            let image =
                (id, digest, bytes, format, width, height, refusal, first_seen, complete, learned);
            let seen = (sightings(seen.as_deref())?, said);
            record(image, seen, wants(asked.as_deref())?, analyses, detail)
        };
        let mut records = HashMap::with_capacity(images.len());
        for image in images {
            let record = one(image).map_err(|error| self.unreadable(error))?;
            records.extend(record.map(|record| (record.image.digest, record)));
        }
        Ok(records)
    }
}

/// The many short rows of an image `i` as two columns of JSON: a row of its own costs more than what is in it.
fn many(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => {
            "(SELECT json_group_array(json_array(s.source, s.seen_at, hex(s.batch))) FROM sightings s \
             WHERE s.image = i.id), \
             (SELECT json_group_array(json_array(w.analyzer, w.asked_at, w.revision)) FROM wants w \
             WHERE w.image = i.id)"
        }
        Dialect::Postgres => {
            "(SELECT CAST(json_agg(json_build_array(s.source, s.seen_at, encode(s.batch, 'hex'))) AS TEXT) \
             FROM sightings s WHERE s.image = i.id), \
             (SELECT CAST(json_agg(json_build_array(w.analyzer, w.asked_at, w.revision)) AS TEXT) FROM wants w \
             WHERE w.image = i.id)"
        }
    }
}

fn sightings(json: Option<&str>) -> Read<Vec<SightingColumns>> {
    let rows: Vec<(String, i64, String)> = from_json("sightings", json.unwrap_or("[]"))?;
    rows.into_iter()
        .map(|(source, at, batch)| {
            let batch: BatchId = parse("batch", &batch)?;
            Ok((source, at, batch.uuid().as_bytes().to_vec()))
        })
        .collect()
}

fn wants(json: Option<&str>) -> Read<Vec<AskedColumns>> {
    from_json("wants", json.unwrap_or("[]"))
}

/// Rows by what they are of.
fn sorted<Of: Eq + Hash, Row>(rows: impl Iterator<Item = (Of, Row)>) -> HashMap<Of, Vec<Row>> {
    let mut all: HashMap<Of, Vec<Row>> = HashMap::new();
    for (of, row) in rows {
        all.entry(of).or_default().push(row);
    }
    all
}
