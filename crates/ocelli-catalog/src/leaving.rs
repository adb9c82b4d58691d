//! Jobs that a rule about answers leaves out, once those answers are there.
//!
//! Which images match is asked as in a search, of the record as it is then. What does not match is settled in one transaction, as
//! far as its job is still the one that was seen: the rule's revision is wanted from then on, and has its skip.

use std::collections::{BTreeMap, BTreeSet};

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, Digest, RuleText};
use ocelli_failpoint::{Failpoint, reached};

use crate::catalog::{Catalog, transact};
use crate::error::{CatalogError, Fault};
use crate::fold;
use crate::gather::micros;
use crate::model::{Hold, SeenJob};
use crate::query::{Query, QueryError, QueryLimits};
use crate::rows::Rows;
use crate::unit::{self, Unit};

/// Rules were read within the limits of who wrote them down, which may be wider than the usual ones.
const WIDEST: QueryLimits =
    QueryLimits { characters: 1 << 20, terms: 1 << 14, depth: 64, term_characters: 1 << 20 };

/// What became of jobs with rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Settled: these images are not asked.
    pub out: BTreeSet<Digest>,
    /// Images whose record became complete.
    pub completed: Vec<Digest>,
    /// When something was asked of each of these for the last time.
    pub asked: Vec<Timestamp>,
    /// Images about which these rules are undecided, as they are in a language that this version does not know.
    pub undecided: BTreeSet<Digest>,
    /// Those rules, and what is wrong with each.
    pub unread: BTreeMap<RuleText, QueryError>,
}

impl Catalog {
    /// Settles those ready jobs of an analyzer whose rules do not all hold now; jobs that changed since they were seen are left
    /// alone. A rule that cannot be read, because a newer version wrote it down, decides nothing: its jobs are named and left alone.
    ///
    /// # Errors
    /// When the database does not take it: then nothing of it happened.
    #[async_recursion]
    pub async fn leave_out(
        &self,
        analyzer: &AnalyzerName,
        jobs: &[(SeenJob, Vec<RuleText>)],
        at: Timestamp,
    ) -> Result<Left, CatalogError> {
        let mut by_rule: BTreeMap<&RuleText, Vec<Digest>> = BTreeMap::new();
        for ((digest, _, _), rules) in jobs {
            for rule in rules {
                by_rule.entry(rule).or_default().push(*digest);
            }
        }
        let mut hold: BTreeSet<(&RuleText, Digest)> = BTreeSet::new();
        let mut unread = BTreeMap::new();
        for (rule, digests) in by_rule {
            let matching = match Query::parse_within(&rule.when, &WIDEST) {
                Ok(query) => self.matching(&query, &digests).await,
                Err(error) => Err(error.into()),
            };
            match matching {
                Ok(matching) => hold.extend(matching.into_iter().map(|digest| (rule, digest))),
                Err(CatalogError::Query(error)) => drop(unread.insert(rule.clone(), error)),
                Err(error) => return Err(error),
            }
        }
        let (mut out, mut undecided) = (Vec::new(), BTreeSet::new());
        for (seen, rules) in jobs {
            // One that does not hold settles it, whatever an unread one says.
            let (unknown, known): (Vec<_>, Vec<_>) =
                rules.iter().partition(|rule| unread.contains_key(*rule));
            if let Some(rule) = known.into_iter().find(|rule| !hold.contains(&(*rule, seen.0))) {
                out.push((seen.clone(), rule));
            } else if !unknown.is_empty() {
                undecided.insert(seen.0);
            }
        }
        let mut left = Left::default();
        if !out.is_empty() {
            let at = micros(at);
            left = transact!(self, "leave images out", unit => settle(unit, analyzer, &out, at))?;
        }
        Ok(Left { undecided, unread, ..left })
    }
}

async fn settle<U: Unit>(
    mut unit: U,
    analyzer: &AnalyzerName,
    jobs: &[(SeenJob, &RuleText)],
    at: Timestamp,
) -> Result<Left, Fault> {
    let digests: Vec<Digest> = jobs.iter().map(|((digest, _, _), _)| *digest).collect();
    let mut stored = unit.load(&digests).await?;
    let (mut rows, mut left) = (Rows::default(), Left::default());
    for ((digest, _, seen), rule) in jobs {
        let old = stored.remove(digest).unwrap_or_default();
        let is_as_seen = old.wants.get(analyzer).is_some_and(|want| {
            matches!(want.hold, Some(Hold::Ready | Hold::Taken)) && want.enqueued_at == *seen
        });
        if !is_as_seen {
            continue;
        }
        let folded = fold::leave_out(*digest, analyzer, rule, at, old, &mut rows);
        left.out.insert(*digest);
        if folded.completed {
            left.completed.push(*digest);
            left.asked.extend(folded.asked_at);
        }
    }
    unit::write(&mut unit, rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(left)
}
