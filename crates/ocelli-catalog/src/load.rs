//! Reads of whole images for many digests at once, inside a transaction or outside.
//!
//! The SQL is the same for both backends but for the list of digests; one macro makes both functions, so that they cannot
//! drift apart.

use std::collections::BTreeMap;

use ocelli_core::{
    Analysis, AnalyzerName, Digest, OutcomeKind, Provenance, Reading, Revision, RuleText,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Decode, Row, Type};

use crate::error::Fault;
use crate::fold::{Head, Image, Stored, Wanted};
use crate::model::Hold;
use crate::rows::{
    OutcomeColumns, Read, State, digest, facts, from_json, number, parse, parse_some, time,
    unreadable,
};

/// Number, digest, and the rest of a row of `images`.
pub(crate) type ImageColumns = (
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
);
pub(crate) type WantColumns = (
    Vec<u8>,
    String,
    Option<String>,
    i64,
    i64,
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
);
pub(crate) type HeadColumns = (Vec<u8>, String, String, String, i64);
/// What the analysis is of comes first.
pub(crate) type AnalysisColumns = (
    Vec<u8>,
    String,
    String,
    String,
    Option<String>,
    i64,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
);
/// Digest, whether refused, `analyzer revision` of every outcome, `analyzer revision state` of every want.
pub(crate) type KnownColumns = (Vec<u8>, bool, Option<String>, Option<String>);

/// The number of the image that is asked for. A join would leave PostgreSQL the choice where to begin, and of tables that are nearly
/// empty it may choose the wrong end, for as long as the statement is prepared.
macro_rules! number_of_asked {
    () => {
        "(SELECT i.id FROM images i WHERE i.digest = asked.digest)"
    };
}

/// Digest, kind and text of an analysis.
pub(crate) type TextColumns = (Vec<u8>, String, Option<String>);

/// Makes `stored`, `contents`, `sources`, `texts` and `known` for one backend: `$asked` is a table expression over `$1` with one column
/// `digest`, `$list` makes the value of `$1`, `$join` concatenates texts of a group.
macro_rules! loads {
    ($connection:ty, $asked:literal, $list:path, $join:literal, $lock:literal) => {
        pub(crate) async fn stored(
            connection: &mut $connection,
            digests: &[Digest],
        ) -> Result<BTreeMap<Digest, Stored>, Fault> {
            let images: Vec<load::ImageColumns> = sqlx::query_as(concat!(
                "SELECT i.id, i.digest, i.bytes, i.format, i.width, i.height, i.refusal, i.first_seen, i.complete, \
                 i.learned FROM ",
                $asked,
                " CROSS JOIN images i WHERE i.digest = asked.digest ",
                $lock
            ))
            .bind($list(digests))
            .fetch_all(&mut *connection)
            .await?;
            // Of images that are not there, nothing else is.
            let there = images.iter().map(|row| crate::rows::digest(&row.1));
            let there: Vec<Digest> = there.collect::<crate::rows::Read<_>>()?;
            if there.is_empty() {
                return Ok(BTreeMap::new());
            }
            let wants: Vec<load::WantColumns> = sqlx::query_as(concat!(
                "SELECT asked.digest, w.analyzer, w.revision, w.asked_at, w.enqueued_at, w.state, w.answer, w.reopened, \
                 w.needs, w.hold, w.near, w.waits_for, w.rules, w.rules_after FROM ",
                $asked,
                " CROSS JOIN wants w WHERE w.image = ",
                load::number_of_asked!()
            ))
            .bind($list(&there))
            .fetch_all(&mut *connection)
            .await?;
            let heads: Vec<load::HeadColumns> = sqlx::query_as(concat!(
                "SELECT asked.digest, a.analyzer, a.revision, a.kind, a.finished_at FROM ",
                $asked,
                " CROSS JOIN analyses a WHERE a.image = ",
                load::number_of_asked!()
            ))
            .bind($list(&there))
            .fetch_all(&mut *connection)
            .await?;
            Ok(load::assemble(images, wants, heads)?)
        }

        pub(crate) async fn contents(
            connection: &mut $connection,
            digests: &[Digest],
        ) -> Result<Vec<(Digest, Analysis)>, Fault> {
            let rows: Vec<load::AnalysisColumns> = sqlx::query_as(concat!(
                "SELECT asked.digest, a.analyzer, a.revision, a.kind, a.class, a.attempts, a.finished_at, a.rule, a.reason, \
                 a.text, a.reading, a.provenance FROM ",
                $asked,
                " CROSS JOIN analyses a WHERE a.image = ",
                load::number_of_asked!()
            ))
            .bind($list(digests))
            .fetch_all(&mut *connection)
            .await?;
            Ok(rows.into_iter().map(load::analysis).collect::<Result<_, _>>()?)
        }

        pub(crate) async fn sources(
            connection: &mut $connection,
            digests: &[Digest],
        ) -> Result<Vec<(Vec<u8>, String)>, sqlx::Error> {
            sqlx::query_as(concat!(
                "SELECT digest, source FROM (SELECT asked.digest, s.source, ROW_NUMBER() OVER \
                 (PARTITION BY s.image ORDER BY s.seen_at DESC, s.batch DESC, s.source_key) AS place FROM ",
                $asked,
                " CROSS JOIN sightings s WHERE s.image = ",
                load::number_of_asked!(),
                ") AS placed \
                 WHERE place <= $2 ORDER BY digest, place"
            ))
            .bind($list(digests))
            .bind(load::MOST_SOURCES)
            .fetch_all(connection)
            .await
        }

        pub(crate) async fn texts(
            connection: &mut $connection,
            digests: &[Digest],
            analyzer: &str,
            characters: i32,
        ) -> Result<Vec<load::TextColumns>, sqlx::Error> {
            sqlx::query_as(concat!(
                "SELECT asked.digest, a.kind, substr(a.text, 1, CAST($3 AS INTEGER)) FROM ",
                $asked,
                " CROSS JOIN analyses a LEFT JOIN wants w ON w.image = a.image AND w.analyzer = a.analyzer WHERE a.image = ",
                load::number_of_asked!(),
                " AND a.analyzer = $2 \
                 ORDER BY CASE WHEN w.answer = a.revision THEN 1 ELSE 0 END, a.finished_at, a.revision"
            ))
            .bind($list(digests))
            .bind(analyzer)
            .bind(characters)
            .fetch_all(connection)
            .await
        }

        pub(crate) async fn known(
            connection: &mut $connection,
            digests: &[Digest],
        ) -> Result<Vec<load::KnownColumns>, sqlx::Error> {
            sqlx::query_as(concat!(
                "SELECT i.digest, i.refusal IS NOT NULL, (SELECT ",
                $join,
                "(a.analyzer || ' ' || a.revision, ',') FROM analyses a WHERE a.image = i.id), (SELECT ",
                $join,
                "(w.analyzer || ' ' || coalesce(w.revision, '') || ' ' || w.state, ',') FROM wants w \
                 WHERE w.image = i.id) FROM ",
                $asked,
                // An answer may be there before its image: whoever asks must still send the image.
                " CROSS JOIN images i WHERE i.digest = asked.digest AND i.bytes IS NOT NULL"
            ))
            .bind($list(digests))
            .fetch_all(connection)
            .await
        }
    };
}
/// A job names at most this many places of its image: a picture that lies in a hundred thousand folders must still fit
/// into a message.
pub(crate) const MOST_SOURCES: i64 = 16;

pub(crate) use {loads, number_of_asked};

/// Sorts rows by image.
pub(crate) fn assemble(
    images: Vec<ImageColumns>,
    wants: Vec<WantColumns>,
    heads: Vec<HeadColumns>,
) -> Read<BTreeMap<Digest, Stored>> {
    let mut all: BTreeMap<Digest, Stored> = BTreeMap::new();
    for row in images {
        let number = row.0;
        let (digest, image) = image(row)?;
        let stored = all.entry(digest).or_default();
        stored.number = Some(number);
        stored.image = image;
    }
    for row in wants {
        let (digest, analyzer, wanted) = want(row)?;
        all.entry(digest).or_default().wants.insert(analyzer, wanted);
    }
    for (bytes, analyzer, revision, kind, finished_at) in heads {
        let key = (parse("analyzer name", &analyzer)?, parse("revision", &revision)?);
        let kind = OutcomeKind::from_name(&kind).ok_or_else(|| unreadable("outcome", kind))?;
        let head = Head { kind, finished_at: time(finished_at)? };
        all.entry(digest(&bytes)?).or_default().heads.insert(key, head);
    }
    Ok(all)
}

pub(crate) fn image(row: ImageColumns) -> Read<(Digest, Image)> {
    let (_, bytes, size, format, width, height, refusal, first_seen, complete, learned) = row;
    let digest = digest(&bytes)?;
    let facts = facts(digest, size, format.as_deref(), width, height)?;
    let first_seen = first_seen.map(time).transpose()?;
    let learned = learned.map(|text| from_json("image", &text)).transpose()?;
    Ok((digest, Image { facts, learned, refusal, first_seen, complete }))
}

pub(crate) fn want(row: WantColumns) -> Read<(Digest, AnalyzerName, Wanted)> {
    let (
        bytes,
        analyzer,
        revision,
        asked_at,
        enqueued_at,
        state,
        answer,
        reopened,
        needs,
        hold,
        near,
        waits_for,
        rules,
        after,
    ) = row;
    let wanted = Wanted {
        asked_at: time(asked_at)?,
        revision: parse_some::<Revision>("revision", revision.as_deref())?,
        enqueued_at: time(enqueued_at)?,
        state: State::from_name(&state).ok_or_else(|| unreadable("state", state))?,
        answer: parse_some("revision", answer.as_deref())?,
        reopened: reopened.map(time).transpose()?,
        needs: needs_of(needs.as_deref())?,
        hold: hold_of(hold.as_deref())?,
        near: near.map(|near| number("distance", near)).transpose()?,
        waits_for: waits_for.map(|bytes| crate::rows::digest(&bytes)).transpose()?,
        rules: rules_of(rules.as_deref())?,
        after: needs_of(after.as_deref())?,
    };
    Ok((digest(&bytes)?, parse("analyzer name", &analyzer)?, wanted))
}

/// Names separated by spaces: none of them has one.
pub(crate) fn needs_of(column: Option<&str>) -> Read<Vec<AnalyzerName>> {
    column.unwrap_or_default().split_whitespace().map(|name| parse("analyzer name", name)).collect()
}

pub(crate) fn rules_of(column: Option<&str>) -> Read<Vec<RuleText>> {
    column.map_or_else(|| Ok(Vec::new()), |json| from_json("rules", json))
}

pub(crate) fn hold_of(column: Option<&str>) -> Read<Option<Hold>> {
    column.map(|name| Hold::from_name(name).ok_or_else(|| unreadable("hold", name))).transpose()
}

/// An analysis as its columns have it, or JSON: analyzer, revision, kind, class, attempts, time, rule, reason, text; a reading without
/// its text; its provenance.
#[derive(Deserialize)]
#[serde(bound = "R: DeserializeOwned")]
pub(crate) struct Answer<'a, R>(
    &'a str,
    &'a str,
    &'a str,
    Option<&'a str>,
    i64,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<R>,
    Provenance,
);

impl<R: Into<Reading>> Answer<'_, R> {
    pub(crate) fn analysis(self) -> Read<Analysis> {
        let Self(
            analyzer,
            revision,
            kind,
            class,
            attempts,
            finished_at,
            rule,
            reason,
            text,
            reading,
            provenance,
        ) = self;
        let class = class.map(str::to_owned);
        let columns = OutcomeColumns { text, reading: None, rule, class, reason };
        Ok(Analysis {
            analyzer: parse("analyzer name", analyzer)?,
            revision: parse("revision", revision)?,
            outcome: columns.outcome(kind, reading.map(Into::into))?,
            attempts: number("attempt count", attempts)?,
            finished_at: time(finished_at)?,
            provenance,
        })
    }
}

pub(crate) fn analysis(row: AnalysisColumns) -> Read<(Digest, Analysis)> {
    let (of, analyzer, revision, kind, class, attempts, at, rule, reason, text, reading, how) = row;
    let reading: Option<Reading> =
        reading.as_deref().map(|json| from_json("reading", json)).transpose()?;
    let how = from_json("provenance", &how)?;
    let class = class.as_deref();
    let answer =
        Answer(&analyzer, &revision, &kind, class, attempts, at, rule, reason, text, reading, how);
    Ok((digest(&of)?, answer.analysis()?))
}

/// The same of an image's number, and with as much of the reading as `R` holds. Of a row itself: texts that are taken apart anyway
/// are not copied before.
pub(crate) fn analysis_in<'r, From: Row, R: DeserializeOwned + Into<Reading>>(
    row: &'r From,
) -> Result<(i64, Analysis), Fault>
where
    usize: ColumnIndex<From>,
    i64: Decode<'r, From::Database> + Type<From::Database>,
    &'r str: Decode<'r, From::Database> + Type<From::Database>,
    String: Decode<'r, From::Database> + Type<From::Database>,
{
    let reading: Option<&str> = row.try_get(10)?;
    let answer = Answer(
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
        row.try_get(4)?,
        row.try_get(5)?,
        row.try_get(6)?,
        row.try_get(7)?,
        row.try_get(8)?,
        row.try_get(9)?,
        reading.map(|json| from_json::<R>("reading", json)).transpose()?,
        from_json("provenance", row.try_get(11)?)?,
    );
    Ok((row.try_get(0)?, answer.analysis()?))
}
