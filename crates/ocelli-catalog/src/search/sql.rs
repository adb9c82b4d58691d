//! A query as SQL. What matches is said once, for both databases, as questions about `search_texts.text` and the rows beside
//! it; see [`super::candidates`] for how the rows are found where that can be so.

use jiff::Timestamp;
use ocelli_core::Digest;

use crate::firsts::SAME_RULE;
use crate::gather::text_key;
use crate::query::{Bounds, Confidence, Expr, Filter, Is, Measure};
use crate::rows::json;

/// What the two databases spell differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A value for a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Real(f64),
    Bytes(Vec<u8>),
}

/// A statement that grows, with its parameters. What people typed is only ever a parameter.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) dialect: Dialect,
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
}

/// The time by which records are sorted, as in the index `images_in_time`: images without a sighting come before every time
/// that can be noted.
pub(crate) const SEEN: &str = "coalesce(i.first_seen, -9000000000000000000)";
/// What stands there for those.
pub(super) const NEVER: &str = "-9000000000000000000";

impl Sql {
    pub(crate) const fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::new(), values: Vec::new() }
    }

    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter.
    pub(crate) fn bind(&mut self, value: Value) -> &mut Self {
        self.values.push(value);
        let number = self.values.len();
        self.text.push_str(&format!("${number}"));
        self
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.bind(Value::Text(text.into()))
    }

    /// Whether the column contains the text. PostgreSQL's planner takes what is more than 0 for a third of all rows, and what is not 0
    /// for nearly all of them: beside an index that knows how many there are, this tells it nothing.
    fn contains(&mut self, column: &str, text: impl Into<String>) {
        let (position, is_there) = match self.dialect {
            Dialect::Sqlite => ("instr", "> 0"),
            Dialect::Postgres => ("strpos", "<> 0"),
        };
        self.push(&format!("{position}({column}, ")).text(text).push(&format!(") {is_there}"));
    }

    /// `a AND b`, `a OR b`, in brackets; of none `nothing`.
    pub(crate) fn joined<T>(
        &mut self,
        parts: &[T],
        between: &str,
        nothing: &str,
        mut each: impl FnMut(&mut Self, &T),
    ) {
        if parts.is_empty() {
            self.push(nothing);
            return;
        }
        self.push("(");
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                self.push(between);
            }
            each(self, part);
        }
        self.push(")");
    }
}

/// Writes conditions. In them `i` is the row of `images`, `s…` and, on SQLite, `t…` are an answer and its text.
#[derive(Debug)]
pub(super) struct Conditions {
    /// Whether answers are looked at that were replaced.
    older: bool,
}

impl Conditions {
    pub(super) fn of(expr: &Expr) -> Self {
        Self { older: expr.has(&|filter| *filter == Filter::Is(Is::Older)) }
    }

    /// Whether the answer `s` is among those that are looked at.
    pub(super) fn looked_at(&self, answer: &str) -> String {
        if self.older { "true".to_owned() } else { format!("{answer}.current") }
    }

    /// The expression holds for one answer of the record `i`; a record without any counts as one with a blank answer.
    pub(super) fn of_record(&self, sql: &mut Sql, expr: &Expr) {
        let parts = match expr {
            Expr::All(parts) => parts.as_slice(),
            other => std::slice::from_ref(other),
        };
        let (of_images, of_answers): (Vec<&Expr>, Vec<&Expr>) =
            parts.iter().partition(|part| is_of_record(part));
        sql.joined(&of_images, " AND ", "true", |sql, part| self.of_answer(sql, part, 0));
        if !of_answers.is_empty() {
            sql.push(" AND ");
            self.some_answer(sql, 0, |conditions, sql| {
                sql.joined(&of_answers, " AND ", "true", |sql, part| {
                    conditions.of_answer(sql, part, 0);
                });
            });
        }
    }

    fn some_answer(&self, sql: &mut Sql, depth: usize, condition: impl FnOnce(&Self, &mut Sql)) {
        let looked_at = self.looked_at(&format!("s{depth}"));
        sql.push(&format!(
            "EXISTS (SELECT 1 FROM (SELECT 1 AS one) AS o LEFT JOIN search_answers s{depth} \
             ON s{depth}.seen = {SEEN} AND s{depth}.digest = i.digest AND {looked_at}{} WHERE ",
            with_text(sql.dialect, depth)
        ));
        condition(self, sql);
        sql.push(")");
    }

    /// The expression holds for the answer `s<depth>`.
    pub(super) fn of_answer(&self, sql: &mut Sql, expr: &Expr, depth: usize) {
        match expr {
            Expr::All(parts) => {
                sql.joined(parts, " AND ", "true", |sql, part| self.of_answer(sql, part, depth));
            }
            Expr::Any(parts) => {
                sql.joined(parts, " OR ", "false", |sql, part| self.of_answer(sql, part, depth));
            }
            Expr::Not(inner) if matches!(**inner, Expr::Filter(_)) || is_of_record(inner) => {
                sql.push("NOT coalesce(");
                self.of_answer(sql, inner, depth);
                sql.push(", false)");
            }
            Expr::Not(inner) => {
                sql.push("NOT ");
                self.some_answer(sql, depth + 1, |conditions, sql| {
                    conditions.of_answer(sql, inner, depth + 1);
                });
            }
            Expr::Term(term) => {
                let table = if sql.dialect == Dialect::Sqlite { 't' } else { 's' };
                sql.contains(&format!("{table}{depth}.text"), term.needle());
            }
            Expr::Filter(filter) => filtered(sql, filter, depth),
        }
    }
}

/// The join that adds the text of the answer `s<depth>`, where it is in a table of its own.
pub(super) fn with_text(dialect: Dialect, depth: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!(" LEFT JOIN search_texts t{depth} ON t{depth}.id = s{depth}.id"),
        Dialect::Postgres => String::new(),
    }
}

/// Whether the text of the very answer is asked for.
pub(super) fn asks_text(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().any(asks_text),
        Expr::Term(_) => true,
        Expr::Not(_) | Expr::Filter(_) => false,
    }
}

/// Whether the row of the image is needed to decide.
pub(super) fn asks_image(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().any(asks_image),
        Expr::Not(_) => true,
        Expr::Term(_) => false,
        Expr::Filter(_) => is_of_record(expr),
    }
}

/// Whether this can only hold for a record that has an answer.
pub(super) fn needs_answer(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().any(needs_answer),
        Expr::Any(parts) => !parts.is_empty() && parts.iter().all(needs_answer),
        Expr::Not(_) => false,
        Expr::Term(_) => true,
        Expr::Filter(_) => !is_of_record(expr),
    }
}

/// Whether the expression asks only about the record, not about one of its answers.
fn is_of_record(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().all(is_of_record),
        Expr::Not(part) => is_of_record(part),
        Expr::Term(_) => false,
        Expr::Filter(filter) => match filter {
            Filter::Has(_)
            | Filter::Missing(_)
            | Filter::Before(_)
            | Filter::After(_)
            | Filter::Source(_)
            | Filter::Batch(_)
            | Filter::Format(_)
            | Filter::Like(_)
            | Filter::Meta(..)
            | Filter::Measured(..)
            | Filter::Agreement(_) => true,
            Filter::Is(is) => matches!(is, Is::Complete | Is::Incomplete | Is::Refused),
            Filter::Analyzer(_) | Filter::Lang(_) | Filter::Conf(_) | Filter::Model(_) => false,
        },
    }
}

fn filtered(sql: &mut Sql, filter: &Filter, depth: usize) {
    let micros = |at: &Timestamp| Value::Number(at.as_microsecond());
    let has = format!(
        "EXISTS (SELECT 1 FROM search_answers h WHERE h.seen = {SEEN} AND h.digest = i.digest AND h.current"
    );
    match filter {
        Filter::Analyzer(name) => {
            sql.push(&format!("s{depth}.analyzer = ")).text(name.as_str());
        }
        Filter::Has(name) => {
            sql.push(&has).push(" AND h.kind = 'done'");
            if let Some(name) = name {
                sql.push(" AND h.analyzer = ").text(name.as_str());
            }
            sql.push(")");
        }
        Filter::Missing(name) => {
            sql.push("NOT ").push(&has).push(" AND h.analyzer = ").text(name.as_str()).push(")");
        }
        Filter::Is(is) => state(sql, *is, depth),
        Filter::Lang(lang) => sql.contains(&format!("s{depth}.languages"), format!("+{lang}+")),
        Filter::Conf(confidence) => bounded(sql, &format!("s{depth}.confidence"), *confidence),
        Filter::Before(at) => {
            sql.push("i.first_seen < ").bind(micros(at));
        }
        Filter::After(at) => {
            sql.push("i.first_seen >= ").bind(micros(at));
        }
        Filter::Source(text) => {
            sql.push("EXISTS (SELECT 1 FROM sightings g WHERE g.image = i.id AND ");
            sql.contains("g.source", text.as_str());
            sql.push(")");
        }
        Filter::Batch(text) => {
            let of = |sql: &mut Sql| {
                sql.push("EXISTS (SELECT 1 FROM batch_images m WHERE m.image = i.id AND m.batch ");
            };
            sql.push("(");
            if let Ok(id) = text.parse::<uuid::Uuid>() {
                of(sql);
                sql.push("= ").bind(Value::Bytes(id.into_bytes().to_vec())).push(") OR ");
            }
            of(sql);
            sql.push("IN (SELECT batch FROM batches WHERE name = ").text(text.as_str()).push(")))");
        }
        Filter::Model(text) => sql.contains(&format!("s{depth}.model"), text.as_str()),
        Filter::Agreement(bounds) => {
            sql.push("EXISTS (SELECT 1 FROM agreements p WHERE p.image = i.id AND ");
            bounded(sql, "p.score", *bounds);
            sql.push(")");
        }
        Filter::Like(like) => among(sql, &like.found),
        Filter::Meta(name, text) => {
            sql.push(
                "EXISTS (SELECT 1 FROM sighting_meta e WHERE e.digest = i.digest AND e.name = ",
            );
            sql.text(name.as_str());
            if let Some(text) = text {
                sql.push(" AND e.text_key = ").bind(Value::Bytes(text_key(text).to_vec()));
                sql.push(" AND e.text = ").text(text.as_str());
            }
            sql.push(")");
        }
        Filter::Measured(measure, bounds) => measured(sql, *measure, *bounds),
        Filter::Format(format) => {
            sql.push("i.format = ").text(format.name());
        }
    }
}

/// Whether the image is one of these, however many they are: one parameter.
fn among(sql: &mut Sql, digests: &[Digest]) {
    let (before, behind) = match sql.dialect {
        Dialect::Sqlite => ("i.digest IN (SELECT unhex(value) FROM json_each(", "))"),
        Dialect::Postgres => (
            "i.digest = ANY (ARRAY(SELECT decode(value, 'hex') FROM json_array_elements_text(CAST(",
            " AS json)) AS listed (value)))",
        ),
    };
    sql.push(before).text(json(&digests)).push(behind);
}

/// Whether a number lies within bounds.
fn bounded(sql: &mut Sql, column: &str, bounds: Confidence) {
    let mut bound = |operator: &str, hundredths: u16| {
        sql.push(&format!("{column} {operator} ")).bind(Value::Real(f64::from(hundredths) / 100.0));
    };
    match bounds {
        Confidence::Below(to) => bound("<", to),
        Confidence::AtMost(to) => bound("<=", to),
        Confidence::Above(from) => bound(">", from),
        Confidence::AtLeast(from) => bound(">=", from),
        Confidence::Between(from, to) => {
            bound(">=", from);
            sql.push(" AND ");
            bounded(sql, column, Confidence::AtMost(to));
        }
    }
}

/// Whether a number of the image lies within bounds. An area may be larger than a whole number of a database.
fn measured(sql: &mut Sql, measure: Measure, bounds: Bounds) {
    let column = match measure {
        // Nobody has read an image of 0 bytes yet.
        Measure::Bytes => "nullif(i.bytes, 0)",
        Measure::Width => "i.width",
        Measure::Height => "i.height",
        Measure::Pixels => "CAST(i.width AS DOUBLE PRECISION) * CAST(i.height AS DOUBLE PRECISION)",
    };
    let mut bound = |operator: &str, number: u64| {
        sql.push(&format!("{column} {operator} ")).bind(match measure {
            #[expect(clippy::cast_precision_loss, reason = "the parser takes none beyond 2^53")]
            Measure::Pixels => Value::Real(number as f64),
            _ => Value::Number(crate::rows::column(number)),
        });
    };
    match bounds {
        Bounds::Below(to) => bound("<", to),
        Bounds::AtMost(to) => bound("<=", to),
        Bounds::Above(from) => bound(">", from),
        Bounds::AtLeast(from) => bound(">=", from),
        Bounds::Exactly(number) => bound("=", number),
        Bounds::Between(from, to) => {
            bound(">=", from);
            sql.push(" AND ");
            measured(sql, measure, Bounds::AtMost(to));
        }
    }
}

fn state(sql: &mut Sql, is: Is, depth: usize) {
    match is {
        Is::Done | Is::Empty | Is::Skipped | Is::Failed => {
            sql.push(&format!("s{depth}.kind = ")).text(is.name());
        }
        Is::Partial => sql.contains(&format!("s{depth}.flags"), " partial "),
        Is::Flagged => {
            sql.push(&format!("s{depth}.flags <> ''"));
        }
        Is::Older => {
            sql.push(&format!("NOT s{depth}.current"));
        }
        Is::Complete => {
            sql.push("i.complete");
        }
        Is::Incomplete => {
            sql.push("NOT i.complete");
        }
        Is::Same => {
            sql.push(&format!(
                "EXISTS (SELECT 1 FROM analyses x WHERE x.id = s{depth}.id AND x.rule = "
            ));
            sql.text(SAME_RULE).push(")");
        }
        Is::Refused => {
            sql.push("i.refusal IS NOT NULL");
        }
    }
}
