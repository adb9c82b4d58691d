//! Whole records of many images at once, each as one row: a row of its own for every answer, with a value of its own for every
//! column, costs more on its way from the database than what is in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use async_recursion::async_recursion;
use ocelli_core::{Analysis, Digest, Reading, Record, Said, Sighting, SourceUri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::AssertSqlSafe;

use super::sql::Dialect;
use super::whole::Listed;
use crate::catalog::{Catalog, snapshot};
use crate::error::{CatalogError, Fault};
use crate::gather::text_key;
use crate::load::{self, Answer, ImageColumns};
use crate::rows::{Read, ReadingOutline, parse, parse_some, time, unreadable};

/// How much of an answer a record is read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// All of it.
    Whole,
    /// Without its words and their boxes, which can be most of it: what tables show.
    Outline,
}

/// The columns of an image, then as JSON its sightings, what lists said of them, its wants and its answers.
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
    Option<String>,
    Option<String>,
);

/// Source, time and batch.
#[derive(Deserialize)]
struct SightingJson<'a>(#[serde(borrow)] Cow<'a, str>, i64, &'a str);

/// Key of the source, name, batch, text.
#[derive(Deserialize)]
struct SaidJson<'a>(&'a str, String, &'a str, String);

/// Analyzer, time of asking, revision.
#[derive(Deserialize)]
struct WantJson<'a>(&'a str, i64, Option<&'a str>);

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
        let mut digests = digests.to_vec();
        // A list of rows names each of them once.
        digests.sort_unstable();
        digests.dedup();
        self.read(Keys::Digests(&digests), detail).await
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
        let mut numbers: Vec<i64> = listed.iter().map(|listed| listed.number).collect();
        // What was seen together has numbers, and rows, beside one another.
        numbers.sort_unstable();
        numbers.dedup();
        self.read(Keys::Numbers(&numbers), detail).await
    }

    async fn read(
        &self,
        keys: Keys<'_>,
        detail: Detail,
    ) -> Result<HashMap<Digest, Record>, CatalogError> {
        let rows = snapshot!(keyed, self, connection, backend => async {
            let query = sqlx::query_as::<_, RecordColumns>;
            let rows = match keys {
                Keys::Digests(all) => {
                    let sql = AssertSqlSafe(statement(backend::DIALECT, "digest"));
                    query(sql).bind(backend::list(all)).fetch_all(&mut *connection).await?
                }
                Keys::Numbers(all) => {
                    let sql = AssertSqlSafe(statement(backend::DIALECT, "id"));
                    query(sql).bind(backend::numbers(all)).fetch_all(&mut *connection).await?
                }
            };
            let mut answered: HashMap<i64, Vec<Analysis>> = HashMap::new();
            if backend::DIALECT == Dialect::Postgres {
                let numbers: Vec<i64> = rows.iter().map(|row| row.0).collect();
                let answers = sqlx::query(ANSWERS).bind(backend::numbers(&numbers));
                for row in answers.fetch_all(&mut *connection).await? {
                    let (image, analysis) = match detail {
                        Detail::Whole => load::analysis_in::<_, Reading>(&row)?,
                        Detail::Outline => load::analysis_in::<_, ReadingOutline>(&row)?,
                    };
                    answered.entry(image).or_default().push(analysis);
                }
            }
            Ok::<_, Fault>((rows, answered))
        }.await);
        let (rows, mut answered) = self.timed("read records", rows).await?;
        let records = || -> Read<_> {
            let mut records = HashMap::with_capacity(rows.len());
            for row in rows {
                let analyses = answered.remove(&row.0).unwrap_or_default();
                let record = record(row, analyses, detail)?;
                records.extend(record.map(|record| (record.image.digest, record)));
            }
            Ok(records)
        };
        records().map_err(|error| self.unreadable(error))
    }
}

/// What images are known by.
#[derive(Clone, Copy)]
enum Keys<'a> {
    Digests(&'a [Digest]),
    Numbers(&'a [i64]),
}

/// Asks for images by a column of theirs, with a list as the one parameter: it is planned once, for lists of any length.
fn statement(dialect: Dialect, key: &str) -> String {
    let asked = match (dialect, key) {
        (Dialect::Sqlite, "id") => "SELECT value AS id FROM json_each($1)",
        (Dialect::Sqlite, _) => "SELECT unhex(value) AS digest FROM json_each($1)",
        (Dialect::Postgres, "id") => "SELECT unnest($1::bigint[]) AS id",
        (Dialect::Postgres, _) => "SELECT unnest($1::bytea[]) AS digest",
    };
    let columns = columns(dialect);
    format!("{columns} FROM ({asked}) AS asked CROSS JOIN images i WHERE i.{key} = asked.{key}")
}

/// Names, revisions, classes and numbers need no quotes of JSON; what was written as JSON is taken as it is.
const fn columns(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => {
            "SELECT i.id, i.digest, i.bytes, i.format, i.width, i.height, i.refusal, i.first_seen, i.complete, i.learned, \
             (SELECT json_group_array(json_array(s.source, s.seen_at, hex(s.batch))) FROM sightings s \
             WHERE s.image = i.id), \
             (SELECT json_group_array(json_array(hex(m.source_key), m.name, hex(m.batch), m.text)) FROM sighting_meta m \
             WHERE m.digest = i.digest), \
             (SELECT json_group_array(json_array(w.analyzer, w.asked_at, w.revision)) FROM wants w \
             WHERE w.image = i.id), \
             (SELECT '[' || group_concat(format('[\"%s\",\"%s\",\"%s\",%s,%lld,%lld,%s,%s,%s,%s,%s]', a.analyzer, a.revision, a.kind, \
             json_quote(a.class), a.attempts, a.finished_at, json_quote(a.rule), json_quote(a.reason), json_quote(a.text), \
             coalesce(a.reading, 'null'), a.provenance), ',') || ']' FROM analyses a WHERE a.image = i.id)"
        }
        Dialect::Postgres => {
            "SELECT i.id, i.digest, i.bytes, i.format, i.width, i.height, i.refusal, i.first_seen, i.complete, i.learned, \
             (SELECT concat('[', string_agg(concat('[', to_json(s.source), ',', s.seen_at, ',\"', encode(s.batch, 'hex'), '\"]'), ','), \
             ']') FROM sightings s WHERE s.image = i.id), \
             CASE WHEN (SELECT EXISTS (SELECT FROM sighting_meta)) THEN (SELECT CAST(json_agg(json_build_array(encode(m.source_key, \
             'hex'), m.name, encode(m.batch, 'hex'), m.text)) AS TEXT) FROM sighting_meta m WHERE m.digest = i.digest) END, \
             (SELECT concat('[', string_agg(concat('[\"', w.analyzer, '\",', w.asked_at, coalesce(',\"' || w.revision || '\"]', \
             ',null]')), ','), ']') FROM wants w WHERE w.image = i.id), NULL"
        }
    }
}

/// PostgreSQL puts texts together more slowly than it sends rows.
const ANSWERS: &str = "SELECT a.image, a.analyzer, a.revision, a.kind, a.class, a.attempts, a.finished_at, a.rule, a.reason, a.text, \
     a.reading, a.provenance FROM (SELECT unnest($1::bigint[]) AS id) AS asked CROSS JOIN analyses a WHERE a.image = asked.id";

/// None of an image whose intake has not arrived.
fn record(row: RecordColumns, mut analyses: Vec<Analysis>, detail: Detail) -> Read<Option<Record>> {
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
        said,
        asked,
        answered,
    ) = row;
    let image: ImageColumns =
        (id, digest, bytes, format, width, height, refusal, first_seen, complete, learned);
    let (_, image) = load::image(image)?;
    let Some(facts) = image.facts else { return Ok(None) };
    let mut record = Record::new(facts);
    record.refusal = image.refusal;
    for SightingJson(source, at, of) in list("sightings", seen.as_deref())? {
        let source: SourceUri = parse("source", &source)?;
        let sighting =
            Sighting { source: source.clone(), seen_at: time(at)?, batch: parse("batch", of)? };
        record.sightings.insert(source, sighting);
    }
    let said: Vec<SaidJson<'_>> = list("metadata", said.as_deref())?;
    if !said.is_empty() {
        let sources = record.sightings.keys();
        let sources: BTreeMap<[u8; 16], SourceUri> =
            sources.map(|source| (text_key(source.as_str()), source.clone())).collect();
        for SaidJson(key, name, of, text) in said {
            // Any 128 bits in hexadecimal digits.
            let key = uuid::Uuid::try_parse(key).map_err(|error| unreadable("metadata", error))?;
            let source = sources.get(key.as_bytes());
            let source = source.ok_or_else(|| unreadable("metadata", "of no sighting"))?;
            let said = Said { batch: parse("batch", of)?, text };
            record.meta.entry(source.clone()).or_default().insert(name, said);
        }
    }
    for WantJson(analyzer, at, revision) in list("wants", asked.as_deref())? {
        let revision = parse_some("revision", revision)?;
        record.wants.insert(parse("analyzer name", analyzer)?, (time(at)?, revision));
    }
    analyses.extend(match detail {
        Detail::Whole => answers::<Reading>(answered.as_deref())?,
        Detail::Outline => answers::<ReadingOutline>(answered.as_deref())?,
    });
    let key = |of: &Analysis| (of.analyzer.clone(), of.revision.clone());
    let keyed = analyses.into_iter().map(|of| (key(&of), Box::new(of)));
    record.analyses.extend(keyed);
    Ok(Some(record))
}

/// No rows at all may be no list.
fn list<'a, T: Deserialize<'a>>(what: &'static str, json: Option<&'a str>) -> Read<Vec<T>> {
    serde_json::from_str(json.unwrap_or("[]")).map_err(|error| unreadable(what, error))
}

fn answers<R: DeserializeOwned + Into<Reading>>(json: Option<&str>) -> Read<Vec<Analysis>> {
    let answers: Vec<Answer<'_, R>> = list("answers", json)?;
    answers.into_iter().map(Answer::analysis).collect()
}
