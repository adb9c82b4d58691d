//! Where analyzers disagree: pairs of all complete records, the lowest score first, page by page.

use std::fmt;
use std::str::FromStr;

use async_recursion::async_recursion;
use ocelli_core::agreement::Pair;
use ocelli_core::{AnalyzerName, Digest};
use serde::{Serialize, Serializer};

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

impl Catalog {
    /// Pairs with the lowest score first, of all or of one pair of analyzers; behind `after`.
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
        // Nothing comes before this: scores are not negative.
        let from = after.map_or((-1.0, Vec::new(), "", ""), |after| {
            let bytes = after.digest.as_bytes().to_vec();
            (f64::from(after.score) / 10_000.0, bytes, after.a.as_str(), after.b.as_str())
        });
        // Two statements, so that each goes along its index.
        let rows: Vec<(Vec<u8>, f64, String)> = match of {
            None => ask!(self, "list disagreements", pool => sqlx::query_as(
                "SELECT digest, score, detail FROM agreements WHERE (score, digest, a, b) > ($1, $2, $3, $4) \
                 ORDER BY score, digest, a, b LIMIT $5",
            )
            .bind(from.0)
            .bind(from.1)
            .bind(from.2)
            .bind(from.3)
            .bind(i64::from(limit))
            .fetch_all(pool))?,
            Some((a, b)) => ask!(self, "list disagreements", pool => sqlx::query_as(
                "SELECT digest, score, detail FROM agreements WHERE a = $3 AND b = $4 AND (score, digest) > ($1, $2) \
                 ORDER BY score, digest LIMIT $5",
            )
            .bind(from.0)
            .bind(from.1)
            .bind(a.as_str())
            .bind(b.as_str())
            .bind(i64::from(limit))
            .fetch_all(pool))?,
        };
        let read = |(bytes, score, detail): (Vec<u8>, f64, String)| {
            let (digest, pair) = (digest(&bytes)?, from_json::<Pair>("agreement", &detail)?);
            let score = (score * 10_000.0).round() as u32;
            let place = DisagreementCursor { score, digest, a: pair.a.clone(), b: pair.b.clone() };
            Ok(Disagreement { digest, pair, place })
        };
        rows.into_iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))
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
