//! The rows that one search found, as a page of hits.

use std::collections::BTreeMap;

use ocelli_core::{Digest, OutcomeKind};

use super::super::cursor::{Cursor, mark};
use super::super::snippet::snippet;
use super::super::{Facets, Hit, HitAnswer, Page, Sort, Total};
use super::{AnswerColumns, ImageColumns, KeyColumns, Plan};
use crate::query::Term;
use crate::rows::{Read, digest, parse, parse_some, time, unreadable};

impl Plan<'_> {
    pub(super) fn assemble(
        &self,
        total: Total,
        sort: Sort,
        keys: &[KeyColumns],
        images: Vec<ImageColumns>,
        answers: Vec<AnswerColumns>,
        facets: Option<Facets>,
    ) -> Read<Page> {
        let terms = self.terms();
        let mut by_digest: BTreeMap<Digest, (Option<ImageColumns>, Vec<HitAnswer>)> =
            BTreeMap::new();
        for image in images {
            let digest = digest(&image.0)?;
            by_digest.entry(digest).or_default().0 = Some(image);
        }
        for row in answers {
            by_digest.entry(digest(&row.0)?).or_default().1.push(answer(row, &terms)?);
        }
        let limit = self.limit as usize;
        let mut hits = Vec::new();
        for (bytes, _, _) in keys.iter().take(limit) {
            let digest = digest(bytes)?;
            let Some((Some((_, seen, format, source)), answers)) = by_digest.remove(&digest) else {
                continue;
            };
            hits.push(Hit {
                digest,
                first_seen: seen.map(time).transpose()?,
                source: parse_some("source", source.as_deref())?,
                format: format.as_deref().and_then(ocelli_core::ImageFormat::from_name),
                answers,
            });
        }
        let next = match keys.get(limit.wrapping_sub(1)) {
            Some((bytes, seen, score)) if keys.len() > limit => Some(Cursor {
                sort,
                total,
                score: *score,
                seen: *seen,
                digest: digest(bytes)?,
                search: mark(&self.search.query, self.search.sort),
            }),
            _ => None,
        };
        Ok(Page { hits, total, sort, next, facets })
    }
}

fn answer(row: AnswerColumns, terms: &[&Term]) -> Read<HitAnswer> {
    let (_, analyzer, revision, kind, current, reason, text) = row;
    let kind = OutcomeKind::from_name(&kind).ok_or_else(|| unreadable("outcome", kind))?;
    Ok(HitAnswer {
        analyzer: parse("analyzer name", &analyzer)?,
        revision: parse("revision", &revision)?,
        kind,
        current,
        reason,
        snippet: text.map(|text| snippet(&text, terms)),
    })
}
