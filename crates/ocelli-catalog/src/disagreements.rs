//! Where analyzers disagree: pairs of all complete records, the lowest score first, page by page.

use std::fmt;
use std::str::FromStr;

use async_recursion::async_recursion;
use ocelli_core::agreement::Pair;
use ocelli_core::{AnalyzerName, Digest};
use serde::{Serialize, Serializer};

use crate::agreements::percent;
use crate::catalog::{Catalog, ask};
use crate::error::CatalogError;
use crate::rows::{Read, digest, from_json, parse};

/// Pairs of analyzers that are told apart: more than anybody configures.
const MOST_PAIRS: usize = 100;

/// Two analyzers, the one whose name comes first first.
pub type PairOfNames = (AnalyzerName, AnalyzerName);

/// How far two analyzers agree about one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    /// Which image.
    pub digest: Digest,
    /// Who, how far, and about which quotes.
    #[serde(flatten)]
    pub pair: Pair,
    /// Where a list goes on behind it.
    pub place: DisagreementCursor,
}

/// Behind which pair a page begins. As text it is opaque for everyone else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisagreementCursor {
    /// The score in ten-thousandths, as the column has it.
    score: u32,
    digest: Digest,
    a: AnalyzerName,
    b: AnalyzerName,
}

/// Why a text is no [`DisagreementCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor; take the one that the page before ends with")]
pub struct NoCursor;

impl fmt::Display for DisagreementCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d1.{}.{}.{}@{}", self.score, self.digest, self.a, self.b)
    }
}

impl FromStr for DisagreementCursor {
    type Err = NoCursor;
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        // The names of analyzers may have dots.
        let mut parts = text.strip_prefix("d1.").ok_or(NoCursor)?.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoCursor);
        let score = part()?.parse().map_err(|_| NoCursor)?;
        let digest = part()?.parse().map_err(|_| NoCursor)?;
        let (a, b) = part()?.split_once('@').ok_or(NoCursor)?;
        let name = |text: &str| text.parse().map_err(|_| NoCursor);
        Ok(Self { score, digest, a: name(a)?, b: name(b)? })
    }
}

impl Serialize for DisagreementCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Image, score, names, digest and detail of a pair.
type Lowest = (i64, f64, PairOfNames, Vec<u8>, String);

/// The image of a cursor may be none: then the list goes on where its percent begins.
macro_rules! lowest {
    ($behind:literal) => {
        concat!(
            "SELECT g.image, g.score, (SELECT i.digest FROM images i WHERE i.id = g.image), g.detail FROM agreements g ",
            "WHERE g.a = $3 AND g.b = $4 AND (g.percent, g.image) ",
            $behind,
            " ($1, coalesce((SELECT i.id FROM images i WHERE i.digest = $2), 0)) ORDER BY g.percent, g.image LIMIT $5"
        )
    };
}

impl Catalog {
    /// Pairs with the lowest score first, by whole percents, of all or of one pair of analyzers; behind `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn disagreements(
        &self,
        of: Option<&PairOfNames>,
        after: Option<&DisagreementCursor>,
        limit: u32,
    ) -> Result<Vec<Disagreement>, CatalogError> {
        let pairs = match of {
            Some(pair) => vec![pair.clone()],
            None => self.compared_pairs().await?,
        };
        // Of each pair so many along its own index; the list wants the first of them all.
        let mut rows = Vec::new();
        for pair in &pairs {
            rows.extend(self.lowest(pair, after, limit).await?);
        }
        let order = |(image, score, pair, ..): &Lowest| (percent(*score), *image, pair.clone());
        rows.sort_by_cached_key(order);
        rows.truncate(limit as usize);
        let read = |(_, score, (a, b), bytes, detail): Lowest| {
            let (digest, pair) = (digest(&bytes)?, from_json::<Pair>("agreement", &detail)?);
            let score = (score * 10_000.0).round() as u32;
            Ok(Disagreement { digest, pair, place: DisagreementCursor { score, digest, a, b } })
        };
        rows.into_iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// What comes behind `after` of one pair: lowest percents first, of equal ones the image that came first.
    async fn lowest(
        &self,
        pair: &PairOfNames,
        after: Option<&DisagreementCursor>,
        limit: u32,
    ) -> Result<Vec<Lowest>, CatalogError> {
        // Nothing comes before this: scores are not negative.
        let (behind, digest) = after.map_or((-1, Vec::new()), |after| {
            (percent(f64::from(after.score) / 10_000.0), after.digest.as_bytes().to_vec())
        });
        // In the image where the page before ended, pairs that come later in the order of names are still to come.
        let is_to_come = after.is_some_and(|after| *pair > (after.a.clone(), after.b.clone()));
        let sql = if is_to_come { lowest!(">=") } else { lowest!(">") };
        let rows: Vec<(i64, f64, Vec<u8>, String)> = ask!(self, "list disagreements", pool => sqlx::query_as(sql)
                .bind(behind)
                .bind(digest)
                .bind(pair.0.as_str())
                .bind(pair.1.as_str())
                .bind(i64::from(limit))
                .fetch_all(pool))?;
        let named = |(image, score, digest, detail)| (image, score, pair.clone(), digest, detail);
        Ok(rows.into_iter().map(named).collect())
    }

    /// The pairs of analyzers that were compared about any image, in the order of their names.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn compared_pairs(&self) -> Result<Vec<PairOfNames>, CatalogError> {
        let mut pairs: Vec<PairOfNames> = Vec::new();
        // From one to the next along the index: as many looks as there are pairs, however many images.
        while pairs.len() < MOST_PAIRS {
            let (a, b) = pairs.last().map_or(("", ""), |(a, b)| (a.as_str(), b.as_str()));
            let next: Option<(String, String)> = ask!(self, "list compared analyzers", pool => sqlx::query_as(
                "SELECT a, b FROM agreements WHERE (a, b) > ($1, $2) ORDER BY a, b LIMIT 1",
            )
            .bind(a)
            .bind(b)
            .fetch_optional(pool))?;
            let Some((a, b)) = next else { break };
            let read = || -> Read<PairOfNames> {
                Ok((parse("analyzer name", &a)?, parse("analyzer name", &b)?))
            };
            pairs.push(read().map_err(|error| self.unreadable(error))?);
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nonsense_is_none() {
        let cursor = DisagreementCursor {
            score: 4286,
            digest: Digest::of(b"a"),
            a: "llama3.2-vision".parse().unwrap(),
            b: "tesseract-ocr".parse().unwrap(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "d1", "d1.", "d1.x.y.z", "d1.1.0.a@b", "é", "d1.-1"] {
            assert_eq!(text.parse::<DisagreementCursor>(), Err(NoCursor), "{text}");
        }
    }
}
