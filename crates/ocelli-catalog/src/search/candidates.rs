//! Which answers can match, found by the indexes: never too few, and often exactly those that match.

use super::sql::{Conditions, Dialect, Sql};
use crate::query::{Expr, Term};

/// What the indexes can be asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Candidates {
    /// A question to the index of words.
    Words(Question),
    /// A question to the index of three characters in a row.
    Grams(Question),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// Words (or three characters) with AND and OR.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    Word {
        text: String,
        prefix: bool,
    },
    /// Three characters in a row, or in PostgreSQL all of them at once.
    Run(String),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Candidates {
    /// The candidates for an expression; none when the indexes cannot narrow it.
    pub(super) fn of(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::All(parts) => {
                let parts: Vec<Self> = parts.iter().filter_map(Self::of).collect();
                (!parts.is_empty()).then(|| Self::join(parts, true))
            }
            Expr::Any(parts) => {
                let parts: Option<Vec<Self>> = parts.iter().map(Self::of).collect();
                parts.filter(|parts| !parts.is_empty()).map(|parts| Self::join(parts, false))
            }
            Expr::Not(_) | Expr::Filter(_) => None,
            Expr::Term(term) => Some(Self::of_term(term)),
        }
    }

    fn of_term(term: &Term) -> Self {
        if term.open_start {
            return Self::Grams(Question::Run(term.needle()));
        }
        let count = term.words.split(' ').count();
        let words = term.words.split(' ').enumerate().map(|(place, word)| Question::Word {
            text: word.to_owned(),
            prefix: term.open_end && place + 1 == count,
        });
        Self::Words(Question::All(words.collect()))
    }

    /// Joins what goes to one index into one question.
    fn join(parts: Vec<Self>, all: bool) -> Self {
        let (mut words, mut grams, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match part {
                Self::Words(question) => words.push(question),
                Self::Grams(question) => grams.push(question),
                other => rest.push(other),
            }
        }
        let question = |parts| if all { Question::All(parts) } else { Question::Any(parts) };
        if !words.is_empty() {
            rest.push(Self::Words(question(words)));
        }
        if !grams.is_empty() {
            rest.push(Self::Grams(question(grams)));
        }
        match rest.len() {
            1 => rest.remove(0),
            _ if all => Self::All(rest),
            _ => Self::Any(rest),
        }
    }

    /// Writes `FROM … WHERE …` with the answers `s0`, their texts `t0` and their images `i`, as far as the indexes know.
    pub(super) fn from(&self, sql: &mut Sql, with_text: bool) {
        match (sql.dialect, self) {
            (Dialect::Sqlite, Self::Words(question) | Self::Grams(question)) => {
                let table = self.table();
                sql.push(&format!(
                    "FROM {table} CROSS JOIN search_answers s0 CROSS JOIN images i "
                ));
                if with_text {
                    sql.push("CROSS JOIN search_texts t0 ");
                }
                sql.push(&format!("WHERE {table} MATCH ")).text(question.fts());
                sql.push(&format!(" AND s0.id = {table}.rowid AND i.digest = s0.digest"));
                if with_text {
                    sql.push(" AND t0.id = s0.id");
                }
            }
            (Dialect::Sqlite, _) => {
                sql.push(
                    "FROM search_answers s0 CROSS JOIN search_texts t0 CROSS JOIN images i \
                     WHERE t0.id = s0.id AND i.digest = s0.digest AND ",
                );
                self.condition(sql);
            }
            (Dialect::Postgres, _) => {
                sql.push(
                    "FROM search_texts t0 JOIN search_answers s0 ON s0.id = t0.id JOIN images i \
                     ON i.digest = s0.digest WHERE ",
                );
                self.condition(sql);
            }
        }
    }

    fn condition(&self, sql: &mut Sql) {
        match self {
            Self::All(parts) => sql.joined(parts, " AND ", "true", |sql, part| part.condition(sql)),
            Self::Any(parts) => sql.joined(parts, " OR ", "false", |sql, part| part.condition(sql)),
            Self::Words(question) | Self::Grams(question) => match sql.dialect {
                Dialect::Sqlite => {
                    let table = self.table();
                    sql.push(&format!("s0.id IN (SELECT rowid FROM {table} WHERE {table} MATCH "));
                    sql.text(question.fts()).push(")");
                }
                Dialect::Postgres if matches!(self, Self::Words(_)) => {
                    sql.push(
                        "array_to_tsvector(string_to_array(btrim(t0.text, ' '), ' ')) @@ CAST(",
                    );
                    sql.text(question.tsquery()).push(" AS tsquery)");
                }
                Dialect::Postgres => question.like(sql),
            },
        }
    }

    const fn table(&self) -> &'static str {
        if matches!(self, Self::Words(_)) { "search_words" } else { "search_grams" }
    }
}

impl Question {
    /// For FTS5 with `detail=none`, which knows no phrases. Forms have no quotes.
    fn fts(&self) -> String {
        match self {
            Self::Word { text, prefix } => format!("\"{text}\"{}", if *prefix { " *" } else { "" }),
            Self::Run(text) => {
                let chars: Vec<char> = text.chars().collect();
                let mut runs: Vec<String> = chars
                    .windows(3)
                    .map(|three| format!("\"{}\"", three.iter().collect::<String>()))
                    .collect();
                runs.sort_unstable();
                runs.dedup();
                runs.join(" AND ")
            }
            Self::All(parts) => Self::joined(parts, " AND ", Self::fts),
            Self::Any(parts) => Self::joined(parts, " OR ", Self::fts),
        }
    }

    /// Forms have no quotes and no backslashes.
    fn tsquery(&self) -> String {
        match self {
            Self::Word { text, prefix } => format!("'{text}'{}", if *prefix { ":*" } else { "" }),
            Self::Run(text) => format!("'{text}'"),
            Self::All(parts) => Self::joined(parts, " & ", Self::tsquery),
            Self::Any(parts) => Self::joined(parts, " | ", Self::tsquery),
        }
    }

    /// Forms have no `%` and no `_`.
    fn like(&self, sql: &mut Sql) {
        match self {
            Self::Word { text, .. } | Self::Run(text) => {
                sql.push("t0.text LIKE ").text(format!("%{text}%"));
            }
            Self::All(parts) => sql.joined(parts, " AND ", "true", |sql, part| part.like(sql)),
            Self::Any(parts) => sql.joined(parts, " OR ", "false", |sql, part| part.like(sql)),
        }
    }

    fn joined(parts: &[Self], between: &str, each: fn(&Self) -> String) -> String {
        let parts: Vec<String> = parts.iter().map(each).collect();
        if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join(between)) }
    }
}

/// Writes `FROM … WHERE …` so that the rows are exactly the answers `s0` that match, with their images `i`.
pub(super) fn matching(
    sql: &mut Sql,
    conditions: &Conditions,
    expr: &Expr,
    candidates: &Candidates,
) {
    let parts = match expr {
        Expr::All(parts) => parts.as_slice(),
        other => std::slice::from_ref(other),
    };
    let rest: Vec<&Expr> = parts.iter().filter(|part| !is_exact(part)).collect();
    candidates.from(sql, rest.iter().any(|part| asks_text(part)));
    sql.push(&format!(" AND i.bytes IS NOT NULL AND {}", conditions.looked_at("s0")));
    for part in rest {
        sql.push(" AND ");
        conditions.of_answer(sql, part, 0);
    }
}

/// Whether the index of words knows exactly where this holds.
fn is_exact(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => !parts.is_empty() && parts.iter().all(is_exact),
        Expr::Term(term) => !term.open_start && !term.words.contains(' '),
        Expr::Not(_) | Expr::Filter(_) => false,
    }
}

/// Whether the text of the very answer is asked for.
fn asks_text(expr: &Expr) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().any(asks_text),
        Expr::Term(_) => true,
        Expr::Not(_) | Expr::Filter(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    fn of(text: &str) -> Option<Candidates> {
        Candidates::of(&Query::parse(text).unwrap().expr)
    }

    #[test]
    fn what_goes_to_one_index_is_one_question() {
        let Some(Candidates::Words(question)) = of("a \"b c\" (d OR ef*) -g is:done") else {
            panic!()
        };
        assert_eq!(question.fts(), "(\"a\" AND (\"b\" AND \"c\") AND (\"d\" OR \"ef\" *))");
        assert_eq!(question.tsquery(), "('a' & ('b' & 'c') & ('d' | 'ef':*))");
        let Some(Candidates::Grams(question)) = of("*abab*") else { panic!() };
        assert_eq!(question.fts(), "\"aba\" AND \"bab\"");
        assert!(matches!(of("a *bcd"), Some(Candidates::All(parts)) if parts.len() == 2));
    }

    #[test]
    fn what_no_index_narrows_has_no_candidates() {
        for text in ["", "-a", "is:done", "a OR is:done", "-(a b) has:text"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
