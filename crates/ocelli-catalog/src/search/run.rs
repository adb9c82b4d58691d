//! The statements of one search, all on one state of the database.

use std::collections::BTreeMap;

use ocelli_core::{Digest, OutcomeKind};

use super::candidates::{Candidates, matching};
use super::cursor::{Cursor, mark};
use super::snippet::snippet;
use super::sql::{Conditions, Dialect, SEEN, Sql, Value};
use super::{COUNTED, Facets, Hit, HitAnswer, LONGEST_PAGE, Page, Search, Sort, Total};
use crate::catalog::{Catalog, Store, snapshot};
use crate::error::Fault;
use crate::query::{Expr, Term};
use crate::rows::{Read, digest, parse, parse_some, time, unreadable};

/// Of longer answers the beginning is looked at for a snippet.
const LONGEST_SHOWN: i64 = 1_000_000;

/// How many values of a facet are listed.
const FACET_VALUES: i64 = 50;

/// What a matching answer counts for its record: 1,000,000 / (50 + its words).
const SCORE: &str = "CAST(SUM(1000000 / (50 + s0.words)) AS BIGINT)";

type KeyColumns = (Vec<u8>, i64, i64);
type ImageColumns = (Vec<u8>, Option<i64>, Option<String>, Option<String>);
type AnswerColumns = (Vec<u8>, String, String, String, bool, Option<String>, Option<String>);

/// A search, ready to become statements.
pub(super) struct Plan<'a> {
    search: &'a Search,
    dialect: Dialect,
    conditions: Conditions,
    candidates: Option<Candidates>,
    limit: u32,
}

/// Runs a statement in a transaction of either backend.
macro_rules! fetch {
    ($sql:expr, $connection:expr, $how:ident) => {{
        let sql: Sql = $sql;
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.text)).persistent(false);
        for value in sql.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
                Value::Real(number) => query.bind(number),
                Value::Bytes(bytes) => query.bind(bytes),
            };
        }
        query.$how(&mut *$connection).await
    }};
}

pub(super) use fetch;

pub(super) async fn search(catalog: &Catalog, plan: &Plan<'_>) -> Result<Page, Fault> {
    let found = snapshot!(catalog, connection => async {
        let total = match &plan.search.cursor {
            Some(cursor) => cursor.total,
            None => {
                let (count,): (i64,) = fetch!(plan.count(), connection, fetch_one)?;
                Plan::total(count)
            }
        };
        let sort = plan.sort(total);
        let keys: Vec<KeyColumns> = fetch!(plan.page(total, sort), connection, fetch_all)?;
        let shown = &keys[..keys.len().min(plan.limit as usize)];
        let (mut images, mut answers) = (Vec::new(), Vec::new());
        if !shown.is_empty() {
            images = fetch!(plan.images(shown), connection, fetch_all)?;
            answers = fetch!(plan.answers(shown), connection, fetch_all)?;
        }
        let mut facets = Vec::new();
        if plan.search.facets {
            for statement in plan.facets(total) {
                let counted: Vec<(Option<String>, i64)> = fetch!(statement, connection, fetch_all)?;
                facets.push(counted);
            }
        }
        Ok::<_, Fault>((total, sort, keys, images, answers, facets))
    }.await);
    let (total, sort, keys, images, answers, facets) = found.await?;
    let facets = plan.search.facets.then(|| facets_of(total, facets));
    Ok(plan.assemble(total, sort, &keys, images, answers, facets)?)
}

impl<'a> Plan<'a> {
    pub(super) fn new(catalog: &Catalog, search: &'a Search) -> Self {
        let expr = &search.query.expr;
        Self {
            search,
            dialect: match &catalog.store {
                Store::Sqlite(_) => Dialect::Sqlite,
                Store::Postgres(_) => Dialect::Postgres,
            },
            conditions: Conditions::of(expr),
            candidates: Candidates::of(expr),
            limit: search.limit.clamp(1, LONGEST_PAGE),
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn expr(&self) -> &'a Expr {
        &self.search.query.expr
    }

    fn sql(&self, text: &str) -> Sql {
        let mut sql = Sql::new(self.dialect);
        sql.push(text);
        sql
    }

    fn total(count: i64) -> Total {
        let count = u64::try_from(count).unwrap_or(0);
        Total { records: count.min(COUNTED), more: count > COUNTED }
    }

    /// The order that is possible.
    fn sort(&self, total: Total) -> Sort {
        match self.search.sort {
            Sort::Relevance if total.more || self.candidates.is_none() => Sort::Newest,
            sort => sort,
        }
    }

    /// `FROM … WHERE …`: from the indexes where that is possible and good, else from the images.
    pub(super) fn from(&self, sql: &mut Sql, walk: bool) {
        match &self.candidates {
            Some(candidates) if !walk => matching(sql, &self.conditions, self.expr(), candidates),
            _ => {
                sql.push("FROM images i WHERE i.bytes IS NOT NULL AND ");
                self.conditions.of_record(sql, self.expr());
            }
        }
    }

    fn count(&self) -> Sql {
        let mut sql = self.sql("SELECT COUNT(*) FROM (");
        let distinct = if self.candidates.is_some() { "DISTINCT " } else { "" };
        sql.push(&format!("SELECT {distinct}i.digest "));
        self.from(&mut sql, false);
        sql.push(&format!(" LIMIT {}) AS found", COUNTED + 1));
        sql
    }

    /// The keys of one page, and of one record more.
    fn page(&self, total: Total, sort: Sort) -> Sql {
        let walk = total.more || self.candidates.is_none();
        let mut sql = self.sql("");
        if walk {
            sql.push(&format!("SELECT i.digest, {SEEN} AS seen, CAST(0 AS BIGINT) AS score "));
            self.from(&mut sql, true);
            sql.push(" AND ");
            self.after(&mut sql, sort, SEEN, "i.digest");
            let order = if sort == Sort::Oldest { "ASC" } else { "DESC" };
            sql.push(&format!(" ORDER BY {SEEN} {order}, i.digest {order}"));
        } else {
            sql.push(&format!(
                "SELECT digest, seen, score FROM (SELECT i.digest AS digest, {SEEN} AS seen, {SCORE} AS score "
            ));
            self.from(&mut sql, false);
            sql.push(&format!(" GROUP BY i.digest, {SEEN}) AS found WHERE "));
            self.after(&mut sql, sort, "seen", "digest");
            sql.push(match sort {
                Sort::Relevance => " ORDER BY score DESC, seen DESC, digest DESC",
                Sort::Newest => " ORDER BY seen DESC, digest DESC",
                Sort::Oldest => " ORDER BY seen, digest",
            });
        }
        sql.push(&format!(" LIMIT {}", self.limit + 1));
        sql
    }

    fn after(&self, sql: &mut Sql, sort: Sort, seen: &str, digest: &str) {
        let Some(cursor) = &self.search.cursor else {
            sql.push("true");
            return;
        };
        let operator = if sort == Sort::Oldest { ">" } else { "<" };
        if sort == Sort::Relevance {
            sql.push(&format!("(score, {seen}, {digest}) {operator} ("));
            sql.bind(Value::Number(cursor.score)).push(", ");
        } else {
            sql.push(&format!("({seen}, {digest}) {operator} ("));
        }
        sql.bind(Value::Number(cursor.seen)).push(", ");
        sql.bind(Value::Bytes(cursor.digest.as_bytes().to_vec())).push(")");
    }

    fn images(&self, keys: &[KeyColumns]) -> Sql {
        let mut sql = self.sql(
            "SELECT i.digest, i.first_seen, i.format, (SELECT s.source FROM sightings s WHERE s.digest = i.digest \
             ORDER BY s.seen_at DESC, s.batch DESC, s.source_key LIMIT 1) FROM images i WHERE ",
        );
        among(&mut sql, keys);
        sql
    }

    fn answers(&self, keys: &[KeyColumns]) -> Sql {
        let mut sql = self.sql(&format!(
            "SELECT s0.digest, s0.analyzer, a.revision, s0.kind, s0.current, a.reason, \
             substr(a.text, 1, {LONGEST_SHOWN}) FROM images i JOIN search_answers s0 ON s0.digest = i.digest \
             JOIN analyses a ON a.id = s0.id LEFT JOIN search_texts t0 ON t0.id = s0.id WHERE "
        ));
        among(&mut sql, keys);
        sql.push(&format!(" AND {} AND ", self.conditions.looked_at("s0")));
        self.conditions.of_answer(&mut sql, self.expr(), 0);
        sql.push(
            " ORDER BY s0.digest, s0.analyzer, s0.current DESC, a.finished_at DESC, a.revision",
        );
        sql
    }

    /// In the order of the fields of [`Facets`].
    fn facets(&self, total: Total) -> [Sql; 5] {
        let of_answers = |column: &str| {
            let mut sql = self.found(total);
            sql.push(&format!(
                "SELECT {column}, COUNT(DISTINCT i.digest) FROM found f JOIN images i ON i.digest = f.digest \
                 JOIN search_answers s0 ON s0.digest = i.digest LEFT JOIN search_texts t0 ON t0.id = s0.id WHERE {} AND ",
                self.conditions.looked_at("s0")
            ));
            self.conditions.of_answer(&mut sql, self.expr(), 0);
            sql
        };
        let of_images = |column: &str| {
            let mut sql = self.found(total);
            sql.push(&format!(
                "SELECT {column}, COUNT(*) FROM found f JOIN images i ON i.digest = f.digest WHERE true"
            ));
            sql
        };
        // Years of four digits; the two databases write others differently.
        let month = match self.dialect {
            Dialect::Sqlite => "strftime('%Y-%m', i.first_seen / 1000000, 'unixepoch')",
            Dialect::Postgres => {
                "to_char(to_timestamp(i.first_seen / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM')"
            }
        };
        let month = format!(
            "CASE WHEN i.first_seen BETWEEN -62135596800000000 AND 253402300799999999 THEN {month} END"
        );
        let hex = match self.dialect {
            Dialect::Sqlite => "lower(hex(m.batch))",
            Dialect::Postgres => "encode(m.batch, 'hex')",
        };
        let mut of_batches = self.found(total);
        of_batches.push(&format!(
            "SELECT coalesce(b.name, {hex}), COUNT(DISTINCT m.digest) FROM found f JOIN batch_images m \
             ON m.digest = f.digest LEFT JOIN batches b ON b.batch = m.batch WHERE true"
        ));
        let all = [
            of_answers("s0.analyzer"),
            of_answers("s0.kind"),
            of_images("i.format"),
            of_images(&month),
            of_batches,
        ];
        all.map(|mut sql| {
            sql.push(&format!(" GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {FACET_VALUES}"));
            sql
        })
    }

    fn found(&self, total: Total) -> Sql {
        let walk = total.more || self.candidates.is_none();
        let mut sql = self.sql("WITH found AS MATERIALIZED (SELECT ");
        sql.push(if walk { "i.digest " } else { "DISTINCT i.digest " });
        self.from(&mut sql, walk);
        if walk {
            sql.push(&format!(" ORDER BY {SEEN} DESC, i.digest DESC"));
        }
        sql.push(&format!(" LIMIT {COUNTED}) "));
        sql
    }

    fn assemble(
        &self,
        total: Total,
        sort: Sort,
        keys: &[KeyColumns],
        images: Vec<ImageColumns>,
        answers: Vec<AnswerColumns>,
        facets: Option<Facets>,
    ) -> Read<Page> {
        let mut terms: Vec<&Term> = Vec::new();
        self.expr().asked(&mut |leaf| {
            if let Expr::Term(term) = leaf {
                terms.push(term);
            }
        });
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

fn among(sql: &mut Sql, keys: &[KeyColumns]) {
    sql.push("i.digest IN ");
    sql.joined(keys, ", ", "(NULL)", |sql, (digest, _, _)| {
        sql.bind(Value::Bytes(digest.clone()));
    });
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

fn facets_of(total: Total, counted: Vec<Vec<(Option<String>, i64)>>) -> Facets {
    let mut counted = counted.into_iter().map(|values| {
        let named = values.into_iter().map(|(value, count)| {
            (value.unwrap_or_else(|| "unknown".to_owned()), u64::try_from(count).unwrap_or(0))
        });
        named.collect::<Vec<_>>()
    });
    let mut next = || counted.next().unwrap_or_default();
    Facets {
        of: total.records,
        analyzer: next(),
        outcome: next(),
        format: next(),
        month: next(),
        batch: next(),
    }
}
