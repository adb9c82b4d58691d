//! How far answers agree, beside the answers: written in the transaction that completes a record, or changes a complete one, and
//! always derived from what is current then. So any order of messages leaves the same rows.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use ocelli_core::agreement::{Agreement, Pair};
use ocelli_core::{Analysis, Digest};

use crate::catalog::{Catalog, ask};
use crate::error::{CatalogError, Fault};
use crate::fold::Key;
use crate::rows::{Read, Rows, from_json};
use crate::unit::Unit;

/// Records whose answers are compared in one transaction when an older archive is opened.
pub(crate) const CAUGHT_UP_AT_ONCE: u32 = 100;

/// A record whose answers are to be compared, or not any more.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) digest: Digest,
    /// The current answers with a text; none while the record is not complete.
    pub(crate) keys: Vec<Key>,
}

impl Settled {
    /// Whether this is one of the answers that are compared.
    fn asks(&self, analysis: &Analysis) -> bool {
        let is = |(analyzer, revision): &Key| {
            *analyzer == analysis.analyzer && *revision == analysis.revision
        };
        self.keys.iter().any(is)
    }
}

/// The part of a write transaction that knows agreements.
pub(crate) trait Agreeing {
    /// Replaces all pairs of these records.
    async fn set_agreements(
        &mut self,
        digests: &[Digest],
        pairs: &[(Digest, Pair)],
    ) -> Result<(), Fault>;
    /// Complete records from before there were agreements: so many.
    async fn uncompared(&mut self, most: u32) -> Result<Vec<Digest>, Fault>;
    async fn compared(&mut self, digests: &[Digest]) -> Result<(), Fault>;
}

/// The oldest of the backlog: so many.
pub(crate) const UNCOMPARED: &str = "SELECT digest FROM agreement_backlog ORDER BY digest LIMIT $1";

/// Four decimals, so that what people type compares with it.
pub(crate) fn column(score: f32) -> f64 {
    (f64::from(score) * 10_000.0).round() / 10_000.0
}

/// By what pairs are listed: of few values, so that those of one are in the order of their images.
pub(crate) fn percent(column: f64) -> i64 {
    (column * 100.0).floor() as i64
}

/// How far answers agree that came in one transaction, and the places of records in [`Rows::settled`] whose answers did not.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pairs: Vec<(Digest, Pair)>,
    rest: Vec<usize>,
}

impl Compared {
    pub(crate) fn of(rows: &Rows) -> Self {
        let mut at_hand: BTreeMap<Digest, Vec<&Analysis>> = BTreeMap::new();
        for (digest, analysis) in &rows.analyses {
            at_hand.entry(*digest).or_default().push(analysis);
        }
        let mut compared = Self::default();
        for (place, one) in rows.settled.iter().enumerate().filter(|(_, one)| one.keys.len() > 1) {
            let answers = at_hand.get(&one.digest).map_or(&[][..], Vec::as_slice);
            let answers: Vec<&Analysis> =
                answers.iter().copied().filter(|answer| one.asks(answer)).collect();
            if answers.len() == one.keys.len() {
                compared.pairs.extend(compare(one, answers));
            } else {
                compared.rest.push(place);
            }
        }
        compared
    }
}

/// Writes how far the answers of these records agree; compares those that were not compared yet.
pub(crate) async fn settle<U: Unit>(
    unit: &mut U,
    settled: &[Settled],
    compared: Compared,
) -> Result<(), Fault> {
    if settled.is_empty() {
        return Ok(());
    }
    let digests: Vec<Digest> = settled.iter().map(|one| one.digest).collect();
    let Compared { mut pairs, rest } = compared;
    let rest: Vec<&Settled> = rest.into_iter().filter_map(|place| settled.get(place)).collect();
    // Some records at a time: their texts are in memory, with all words.
    for part in rest.chunks(64) {
        let wanted: Vec<Digest> = part.iter().map(|one| one.digest).collect();
        let mut contents: BTreeMap<Digest, Vec<Analysis>> = BTreeMap::new();
        for (digest, analysis) in unit.contents(&wanted).await? {
            contents.entry(digest).or_default().push(analysis);
        }
        for one in part {
            let answers = contents.get(&one.digest).map_or(&[][..], Vec::as_slice);
            pairs.extend(compare(one, answers.iter().filter(|answer| one.asks(answer))));
        }
    }
    unit.set_agreements(&digests, &pairs).await
}

fn compare<'a>(
    settled: &Settled,
    answers: impl IntoIterator<Item = &'a Analysis>,
) -> Vec<(Digest, Pair)> {
    Agreement::of(answers).pairs.into_iter().map(|pair| (settled.digest, pair)).collect()
}

/// Compares answers from before there were agreements. Part by part, so that others wait only shortly.
pub(crate) async fn catch_up<U: Unit>(mut unit: U) -> Result<(), Fault> {
    let digests = unit.uncompared(CAUGHT_UP_AT_ONCE).await?;
    if digests.is_empty() {
        return unit.commit().await;
    }
    let stored = unit.load(&digests).await?;
    let settled = stored
        .iter()
        .map(|(digest, stored)| Settled { digest: *digest, keys: stored.comparable() })
        .collect();
    let rows = Rows { settled, ..Rows::default() };
    settle(&mut unit, &rows.settled, Compared::of(&rows)).await?;
    unit.compared(&digests).await?;
    unit.commit().await
}

impl Catalog {
    /// How far the answers of a record agree, in the order of names; nothing while it is not complete.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn agreement(&self, digest: &Digest) -> Result<Vec<Pair>, CatalogError> {
        let rows: Vec<String> = ask!(self, "read agreements", pool => sqlx::query_scalar(
            "SELECT detail FROM agreements WHERE image = (SELECT id FROM images WHERE digest = $1) ORDER BY a, b",
        )
        .bind(digest.as_bytes().to_vec())
        .fetch_all(pool))?;
        rows.iter()
            .map(|text| from_json("agreement", text))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }
}
