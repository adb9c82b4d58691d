//! The order of a page, and where it begins.

use super::super::Sort;
use super::super::cursor::Cursor;
use super::super::sql::{Sql, Value};

/// The order of what is found by its words.
pub(super) const fn in_order(sort: Sort) -> &'static str {
    match sort {
        Sort::Relevance => " ORDER BY score DESC, seen DESC, digest DESC",
        Sort::Newest => " ORDER BY seen DESC, digest DESC",
        Sort::Oldest => " ORDER BY seen, digest",
    }
}

/// What comes behind the cursor.
pub(super) fn after(sql: &mut Sql, cursor: Option<&Cursor>, sort: Sort, seen: &str, digest: &str) {
    let Some(cursor) = cursor else {
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
    if sort != Sort::Relevance {
        // The first part alone would do, but SQLite finds its place in an index of an expression only by this one.
        sql.push(&format!(" AND {seen} {operator}= ")).bind(Value::Number(cursor.seen));
    }
}
