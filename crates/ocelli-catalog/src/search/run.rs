//! The statements of one search, all on one state of the database.

mod assembling;
mod facets;
mod glancing;
mod naming;
mod ordering;
mod planning;

use std::collections::BTreeSet;

use facets::facets_of;
use glancing::GlanceColumns;
use naming::{MOST_NOTED, NamedColumns};
use ordering::{after, in_order};
use planning::{EITHER_WAY, PLANNER};

use super::candidates::{MOST_WORDS_OF_A_PART, Part, Parts, Question, is_exact};
use super::cursor::Cursor;
use super::snippet;
use super::sql::{
    Conditions, Dialect, NEVER, SEEN, Sql, Value, asks_image, asks_text, needs_answer, with_text,
};
use super::{LONGEST_PAGE, Page, Search, Sort, Total};
use crate::catalog::{Catalog, Store, snapshot};
use crate::error::Fault;
use crate::query::{Expr, Filter, Term};

/// Of longer answers the beginning is looked at for a snippet.
const LONGEST_SHOWN: i64 = 1_000_000;
/// Where no words are looked for, a snippet is the beginning: some times its length tells where its last word ends.
const LONGEST_BEGINNING: i64 = snippet::LENGTH as i64 * 4;

/// What a matching answer counts for its record: 1,000,000 / (50 + its words).
const SCORE: &str = "CAST(SUM(1000000 / (50 + s0.words)) AS BIGINT)";

type KeyColumns = (Vec<u8>, i64, i64);
/// A key, and how many answers and records were found in all.
type FoundColumns = (Vec<u8>, i64, i64, i64, i64);
type ImageColumns = (Vec<u8>, Option<i64>, Option<String>, Option<String>);
type AnswerColumns = (Vec<u8>, String, String, String, bool, Option<String>, Option<String>);

/// A search, ready to become statements.
pub(super) struct Plan<'a> {
    search: &'a Search,
    dialect: Dialect,
    conditions: Conditions,
    /// Whether answers are found by their words, as far as the query tells.
    has_words: bool,
    /// Both are whole once the vocabulary was asked.
    parts: Parts,
    question: Option<Question>,
    limit: u32,
    /// How many answers the index of words names, as far as that is known.
    named: Option<u64>,
    /// And their numbers, as JSON, where they were noted.
    noted: Option<String>,
    /// Whether they are so few that all are looked up.
    is_few: bool,
    /// Records that are counted.
    counted: u64,
}

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the index of words.
    Words,
    /// Along the answers in the order of time.
    Answers,
    /// The same, of those that the index of words names: they are noted first, and no text is looked into.
    Noted,
    /// The same, of so many of the latest answers alone.
    Latest(u64),
    /// Along the images in the order of time: records without an answer can match.
    Images,
}

/// Runs a statement in a transaction of either backend.
macro_rules! fetch {
    ($sql:expr, $connection:expr, $how:ident) => {{
        let sql: Sql = $sql;
        // As in `Catalog::keeps_statements`.
        let keep = sql.dialect == $crate::search::sql::Dialect::Sqlite;
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.text)).persistent(keep);
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

pub(crate) use fetch;

pub(super) async fn search(catalog: &Catalog, plan: Plan<'_>) -> Result<Page, Fault> {
    let found = snapshot!(catalog, connection => async {
        let mut plan = plan;
        if plan.dialect == Dialect::Postgres {
            let (_,): (String,) = fetch!(plan.sql(PLANNER), connection, fetch_one)?;
        }
        for part in Part::all(plan.expr()) {
            let words: Vec<(String,)> = fetch!(part.words(plan.dialect), connection, fetch_all)?;
            plan.learn(part, words);
        }
        let mut total = plan.search.cursor.as_ref().map(|cursor| cursor.total);
        if let Some(glance) = plan.glance() {
            let seen: GlanceColumns = fetch!(glance, connection, fetch_one)?;
            if let Some(stretch) = plan.stretch(seen) {
                let (_, records): (i64, i64) = fetch!(plan.along_stretch(stretch), connection, fetch_one)?;
                total = plan.more(records);
            }
        }
        let told = plan.told();
        if let Some(way) = told {
            let (_,): (String,) = fetch!(plan.sql(way), connection, fetch_one)?;
        }
        let mut keys = None;
        if let Some(statement) = plan.named() {
            let named: NamedColumns = fetch!(statement, connection, fetch_one)?;
            let more = plan.learn_named(named);
            total = total.or(more);
        }
        let mut look = plan.first_look();
        while total.is_none() {
            let seen: i64;
            if plan.question.is_some() {
                let found: Vec<FoundColumns> = fetch!(plan.counted_page(look), connection, fetch_all)?;
                let (answers, records) = found.first().map_or((0, 0), |row| (row.3, row.4));
                total = plan.total(look, answers, records);
                seen = records;
                let is_whole = u64::try_from(answers).is_ok_and(|answers| answers < look);
                let rows = found.into_iter().map(|(digest, seen, score, _, _)| (digest, seen, score));
                keys = is_whole.then(|| rows.collect());
            } else {
                let (answers, records): (i64, i64) =
                    fetch!(plan.count(look), connection, fetch_one)?;
                total = plan.total(look, answers, records);
                seen = records;
            }
            look = plan.next_look(look, seen);
        }
        let total = total.unwrap_or(Total { records: 0, more: false });
        let sort = plan.sort(total);
        if keys.is_none() && !plan.goes_along(total) {
            keys = Some(fetch!(plan.page(total, sort), connection, fetch_all)?);
        }
        if plan.question.is_some() && told.is_some() {
            let (_,): (String,) = fetch!(plan.sql(EITHER_WAY), connection, fetch_one)?;
        }
        let keys: Vec<KeyColumns> = match keys {
            Some(keys) => keys,
            None => fetch!(plan.page(total, sort), connection, fetch_all)?,
        };
        let shown = &keys[..keys.len().min(plan.limit as usize)];
        let (mut images, mut answers) = (Vec::new(), Vec::new());
        if !shown.is_empty() {
            images = fetch!(plan.images(shown), connection, fetch_all)?;
            answers = fetch!(plan.answers(shown), connection, fetch_all)?;
        }
        let mut facets = Vec::new();
        if plan.search.facets {
            let found: Vec<(Vec<u8>,)> = fetch!(plan.found(total), connection, fetch_all)?;
            for statement in plan.facets(&found) {
                let counted: Vec<(Option<String>, i64)> = fetch!(statement, connection, fetch_all)?;
                facets.push(counted);
            }
        }
        Ok::<_, Fault>((plan, total, sort, keys, images, answers, facets))
    }.await);
    let (plan, total, sort, keys, images, answers, facets) = found.await?;
    let facets = plan.search.facets.then(|| facets_of(total, facets));
    Ok(plan.assemble(total, sort, &keys, images, answers, facets)?)
}

impl<'a> Plan<'a> {
    pub(super) fn new(catalog: &Catalog, search: &'a Search) -> Self {
        let expr = &search.query.expr;
        let hopeful = |part: Part| (part.clone(), Some(vec![part.text]));
        let hopeful: Parts = Part::all(expr).into_iter().map(hopeful).collect();
        Self {
            search,
            dialect: match &catalog.store {
                Store::Sqlite(_) => Dialect::Sqlite,
                Store::Postgres(_) => Dialect::Postgres,
            },
            conditions: Conditions::of(expr),
            has_words: Question::of(expr, &hopeful).is_some(),
            question: Question::of(expr, &Parts::new()),
            parts: Parts::new(),
            limit: search.limit.clamp(1, LONGEST_PAGE),
            named: None,
            noted: None,
            is_few: false,
            counted: catalog.counted,
        }
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Notes the words in which a part stands.
    fn learn(&mut self, part: Part, words: Vec<(String,)>) {
        let known = (words.len() <= MOST_WORDS_OF_A_PART).then(|| {
            let words: BTreeSet<String> = words.into_iter().map(|(word,)| word).collect();
            words.into_iter().collect()
        });
        self.parts.insert(part, known);
        self.question = Question::of(self.expr(), &self.parts);
    }

    fn expr(&self) -> &'a Expr {
        &self.search.query.expr
    }

    fn sql(&self, text: &str) -> Sql {
        let mut sql = Sql::new(self.dialect);
        sql.push(text);
        sql
    }

    /// Whether a page comes from the order of time, and not from all that matches.
    const fn goes_along(&self, total: Total) -> bool {
        total.more || !self.has_words
    }

    /// The order that is possible.
    fn sort(&self, total: Total) -> Sort {
        match self.search.sort {
            Sort::Relevance if total.more || !self.has_words => Sort::Newest,
            sort => sort,
        }
    }

    /// As [`Plan::from`], for whoever goes through all records `i` that match.
    pub(super) fn of_images(&self, sql: &mut Sql) {
        self.from(sql, Way::Images);
    }

    /// The way to few records, or to all of them.
    fn way(&self) -> Way {
        match &self.question {
            Some(_) => Way::Words,
            None => self.walk(),
        }
    }

    /// The way to the first of many records in the order of time.
    fn walk(&self) -> Way {
        if self.named.is_some_and(|named| named <= MOST_NOTED) {
            Way::Noted
        } else if needs_answer(self.expr()) {
            Way::Answers
        } else {
            Way::Images
        }
    }

    /// `FROM … WHERE …`: the answers `s0` that match, or (along the images) the records.
    fn from(&self, sql: &mut Sql, way: Way) {
        let parts = match self.expr() {
            Expr::All(parts) => parts.as_slice(),
            other => std::slice::from_ref(other),
        };
        let seen = if way == Way::Images { SEEN } else { "s0.seen" };
        match way {
            Way::Images => {
                sql.push("FROM images i WHERE i.bytes IS NOT NULL AND ");
                self.conditions.of_record(sql, self.expr());
            }
            Way::Words | Way::Answers | Way::Noted | Way::Latest(_) => {
                let by_index = matches!(way, Way::Words | Way::Noted);
                // PostgreSQL may take the order of time all the same, and would make words of every text on the way: a look
                // into the text comes first, and costs nothing beside reading the row.
                let is_asked = by_index && self.dialect == Dialect::Sqlite;
                let rest: Vec<&Expr> = parts
                    .iter()
                    .filter(|part| !(is_asked && is_exact(part, &self.parts, self.dialect)))
                    .filter(|part| !is_time(part))
                    .collect();
                match (way, self.dialect, &self.noted) {
                    (Way::Words, Dialect::Sqlite, Some(noted)) => {
                        sql.push("FROM json_each(").text(noted.as_str());
                        sql.push(") noted CROSS JOIN search_answers s0")
                    }
                    (Way::Words, Dialect::Sqlite, None) => {
                        sql.push("FROM search_words CROSS JOIN search_answers s0")
                    }
                    (_, Dialect::Sqlite, _) => {
                        sql.push("FROM search_answers s0 INDEXED BY search_answers_in_time")
                    }
                    (Way::Latest(most), Dialect::Postgres, _) => sql.push(&format!(
                        "FROM (SELECT * FROM search_answers s0 WHERE s0.seen IS NOT NULL AND {} \
                         ORDER BY s0.seen DESC, s0.digest DESC LIMIT {most}) AS s0",
                        self.conditions.looked_at("s0")
                    )),
                    (_, Dialect::Postgres, _) => sql.push("FROM search_answers s0"),
                };
                if rest.iter().any(|part| asks_text(part)) {
                    sql.push(&with_text(self.dialect, 0));
                }
                if rest.iter().any(|part| asks_image(part)) {
                    sql.push(" JOIN images i ON i.digest = s0.digest");
                }
                sql.push(" WHERE ");
                if let Some(question) = self.question.as_ref().filter(|_| by_index) {
                    self.asked(sql, question, way);
                    sql.push(" AND ");
                }
                sql.push(&format!("s0.seen IS NOT NULL AND {}", self.conditions.looked_at("s0")));
                for part in rest {
                    sql.push(" AND ");
                    self.conditions.of_answer(sql, part, 0);
                }
            }
        }
        // Of the column that the walk is along: it ends there. Along the images that is said once more.
        for part in parts {
            let (operator, at) = match part {
                Expr::Filter(Filter::After(at)) => (">=", at),
                Expr::Filter(Filter::Before(at)) => ("<", at),
                _ => continue,
            };
            sql.push(&format!(" AND {seen} {operator} "));
            sql.bind(Value::Number(at.as_microsecond()));
        }
        if parts.iter().any(|part| matches!(part, Expr::Filter(Filter::Before(_)))) {
            sql.push(&format!(" AND {seen} > {NEVER}"));
        }
    }

    fn asked(&self, sql: &mut Sql, question: &Question, way: Way) {
        if question.is_hopeless() {
            sql.push("false");
            return;
        }
        match (self.dialect, &self.noted) {
            (Dialect::Sqlite, Some(noted)) if way == Way::Noted => {
                sql.push("s0.id IN (SELECT value FROM json_each(").text(noted.as_str()).push("))");
            }
            (Dialect::Sqlite, Some(_)) => {
                sql.push("s0.id = noted.value");
            }
            (Dialect::Sqlite, None) if way == Way::Noted => {
                sql.push("s0.id IN (SELECT rowid FROM search_words WHERE search_words MATCH ");
                sql.text(question.fts()).push(")");
            }
            (Dialect::Sqlite, None) => {
                sql.push("search_words MATCH ").text(question.fts());
                sql.push(" AND s0.id = search_words.rowid");
            }
            (Dialect::Postgres, _) => {
                sql.push("array_to_tsvector(string_to_array(btrim(s0.text, ' '), ' ')) @@ CAST(");
                sql.text(question.tsquery()).push(" AS tsquery)");
            }
        }
    }

    /// Of so many answers that match: how many there are, and of how many records.
    fn count(&self, look: u64) -> Sql {
        let way = self.way();
        let mut sql = self.sql(if way == Way::Images {
            "SELECT COUNT(*), COUNT(*) FROM (SELECT i.digest AS digest "
        } else {
            "SELECT COUNT(*), COUNT(DISTINCT digest) FROM (SELECT s0.digest AS digest "
        });
        self.from(&mut sql, way);
        sql.push(&format!(" LIMIT {look}) AS looked_at"));
        sql
    }

    /// The first page of records with their counts, in one look at the index: it finds the same rows for both. It is a page where
    /// all answers were looked at.
    fn counted_page(&self, look: u64) -> Sql {
        let mut sql = self.sql(
            "WITH looked_at AS MATERIALIZED (SELECT s0.digest AS digest, s0.seen AS seen, s0.words AS words ",
        );
        self.from(&mut sql, Way::Words);
        sql.push(&format!(
            " LIMIT {look}), found AS MATERIALIZED (SELECT s0.digest AS digest, s0.seen AS seen, {SCORE} AS score \
             FROM looked_at s0 GROUP BY s0.digest, s0.seen) SELECT digest, seen, score, \
             (SELECT COUNT(*) FROM looked_at), (SELECT COUNT(*) FROM found) FROM found{} LIMIT {}",
            match self.search.sort {
                // More than are counted are sorted by time.
                Sort::Relevance => format!(
                    " ORDER BY CASE WHEN (SELECT COUNT(*) FROM found) > {} THEN 0 ELSE score END DESC, seen DESC, digest DESC",
                    self.counted
                ),
                sort => in_order(sort).to_owned(),
            },
            self.limit + 1
        ));
        sql
    }

    /// The keys of one page, and of one record more.
    fn page(&self, total: Total, sort: Sort) -> Sql {
        let mut sql = self.sql("");
        if self.goes_along(total) {
            self.along(&mut sql, sort, self.search.cursor.as_ref());
        } else {
            sql.push(&format!(
                "SELECT digest, seen, score FROM (SELECT s0.digest AS digest, s0.seen AS seen, {SCORE} AS score "
            ));
            self.from(&mut sql, self.way());
            sql.push(" GROUP BY s0.digest, s0.seen) AS found WHERE ");
            after(&mut sql, self.search.cursor.as_ref(), sort, "seen", "digest");
            sql.push(in_order(sort));
        }
        sql.push(&format!(" LIMIT {}", self.limit + 1));
        sql
    }

    /// Keys in the order of time.
    fn along(&self, sql: &mut Sql, sort: Sort, cursor: Option<&Cursor>) {
        let way = self.walk();
        let (seen, digest, group) = match way {
            Way::Images => (SEEN, "i.digest", ""),
            Way::Answers | Way::Noted | Way::Words | Way::Latest(_) => {
                ("s0.seen", "s0.digest", " GROUP BY s0.seen, s0.digest")
            }
        };
        sql.push(&format!(
            "SELECT {digest} AS digest, {seen} AS seen, CAST(0 AS BIGINT) AS score "
        ));
        self.from(sql, way);
        sql.push(" AND ");
        after(sql, cursor, sort, seen, digest);
        let order = if sort == Sort::Oldest { "ASC" } else { "DESC" };
        sql.push(&format!("{group} ORDER BY {seen} {order}, {digest} {order}"));
    }

    fn images(&self, keys: &[KeyColumns]) -> Sql {
        let mut sql = self.sql(
            "SELECT i.digest, i.first_seen, i.format, (SELECT s.source FROM sightings s WHERE s.image = i.id \
             ORDER BY s.seen_at DESC, s.batch DESC, s.source_key LIMIT 1) FROM images i WHERE ",
        );
        among(&mut sql, keys);
        sql
    }

    fn answers(&self, keys: &[KeyColumns]) -> Sql {
        let longest = if self.terms().is_empty() { LONGEST_BEGINNING } else { LONGEST_SHOWN };
        let mut sql = self.sql(&format!(
            "SELECT s0.digest, s0.analyzer, a.revision, s0.kind, s0.current, a.reason, \
             substr(a.text, 1, {longest}) FROM images i JOIN search_answers s0 ON s0.seen = {SEEN} \
             AND s0.digest = i.digest JOIN analyses a ON a.id = s0.id{} WHERE ",
            with_text(self.dialect, 0)
        ));
        among(&mut sql, keys);
        sql.push(&format!(" AND {} AND ", self.conditions.looked_at("s0")));
        self.conditions.of_answer(&mut sql, self.expr(), 0);
        sql.push(
            " ORDER BY s0.digest, s0.analyzer, s0.current DESC, a.finished_at DESC, a.revision",
        );
        sql
    }

    /// The words that are looked for.
    fn terms(&self) -> Vec<&Term> {
        let mut terms: Vec<&Term> = Vec::new();
        self.expr().asked(&mut |leaf| {
            if let Expr::Term(term) = leaf {
                terms.push(term);
            }
        });
        terms
    }
}

/// Whether it asks when the record was first seen, and nothing else.
fn is_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Filter(Filter::After(_) | Filter::Before(_)))
}

fn among(sql: &mut Sql, keys: &[KeyColumns]) {
    sql.push("i.digest IN ");
    sql.joined(keys, ", ", "(NULL)", |sql, (digest, _, _)| {
        sql.bind(Value::Bytes(digest.clone()));
    });
}
