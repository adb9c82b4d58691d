//! Which answers can match, found by the index of words: never too few, and often exactly those that match.

use std::collections::BTreeMap;

use super::index::SHORTEST_PART;
use super::sql::{Dialect, Sql, Value};
use crate::query::{Expr, Term};

/// A part that stands in more words than these is no question to the index: so many answers have one of them that walking
/// through the archive in the order of time finds a page sooner.
pub(super) const MOST_WORDS_OF_A_PART: usize = 1_000;

/// Words with AND and OR.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    Word {
        text: String,
        prefix: bool,
    },
    /// Words beside one another, with single spaces between them. The last may go on.
    Phrase {
        words: String,
        prefix: bool,
    },
    All(Vec<Self>),
    /// Of none: nothing can match.
    Any(Vec<Self>),
}

/// A part of a word that must be looked up in the vocabulary: `*16tg*`, and the first word of `*"pen lan"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) text: String,
    /// Whether words may go on behind it.
    pub(super) open_end: bool,
}

/// The words in which parts stand; none where they are too many.
pub(super) type Parts = BTreeMap<Part, Option<Vec<String>>>;

impl Part {
    /// What must be looked up for a term.
    fn of(term: &Term) -> Option<Self> {
        let (first, rest) = term.words.split_once(' ').unwrap_or((&term.words, ""));
        let text = first.to_owned();
        (term.open_start && first.chars().count() >= SHORTEST_PART)
            .then_some(Self { text, open_end: term.open_end && rest.is_empty() })
    }

    /// The words in which it stands, up to one more than [`MOST_WORDS_OF_A_PART`].
    pub(super) fn words(&self, dialect: Dialect) -> Sql {
        let mut sql = Sql::new(dialect);
        let text = &self.text;
        match dialect {
            Dialect::Sqlite => {
                let chars: Vec<char> = text.chars().collect();
                let runs: Vec<String> = chars
                    .windows(SHORTEST_PART)
                    .map(|run| format!("\"{}\"", run.iter().collect::<String>()))
                    .collect();
                let stands = |sql: &mut Sql, word: &str| {
                    if self.open_end {
                        sql.push(&format!("instr({word}, ")).text(text).push(") > 0");
                    } else {
                        let length = i64::try_from(chars.len()).unwrap_or(i64::MAX);
                        sql.push(&format!("substr({word}, ")).bind(Value::Number(-length));
                        sql.push(") = ").text(text);
                    }
                };
                sql.push(
                    "SELECT v.word FROM search_parts CROSS JOIN search_vocabulary v WHERE search_parts MATCH ",
                );
                sql.text(runs.join(" AND ")).push(" AND v.id = search_parts.rowid AND ");
                stands(&mut sql, "v.word");
                // Those that are not sorted in yet; some of them may be there already. Words have nothing that JSON would spell otherwise.
                sql.push(" UNION ALL SELECT e.value FROM search_new_words n CROSS JOIN json_each(n.words) e WHERE instr(n.words, ");
                sql.text(text).push(") > 0 AND ");
                stands(&mut sql, "e.value");
            }
            // Words have no `%` and no `_`.
            Dialect::Postgres => {
                let behind = if self.open_end { "%" } else { "" };
                sql.push("SELECT v.word FROM search_vocabulary v WHERE v.word LIKE ");
                sql.text(format!("%{text}{behind}"));
            }
        }
        sql.push(&format!(" LIMIT {}", MOST_WORDS_OF_A_PART + 1));
        sql
    }

    /// All parts that must be looked up for an expression.
    pub(super) fn all(expr: &Expr) -> Vec<Self> {
        let mut parts = Vec::new();
        expr.asked(&mut |leaf| {
            if let Expr::Term(term) = leaf {
                parts.extend(Self::of(term));
            }
        });
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}

impl Question {
    /// The question for an expression; none when the index cannot narrow it.
    pub(super) fn of(expr: &Expr, parts: &Parts) -> Option<Self> {
        match expr {
            Expr::All(inner) => {
                let inner: Vec<Self> =
                    inner.iter().filter_map(|expr| Self::of(expr, parts)).collect();
                (!inner.is_empty()).then(|| Self::all(inner))
            }
            Expr::Any(inner) => {
                let inner: Option<Vec<Self>> =
                    inner.iter().map(|expr| Self::of(expr, parts)).collect();
                inner.filter(|inner| !inner.is_empty()).map(Self::any)
            }
            Expr::Not(_) | Expr::Filter(_) => None,
            Expr::Term(term) => Self::of_term(term, parts),
        }
    }

    fn of_term(term: &Term, parts: &Parts) -> Option<Self> {
        if !term.open_start {
            return Some(Self::beside(&term.words, term.open_end));
        }
        let mut words = Vec::new();
        if let Some((_, rest)) = term.words.split_once(' ') {
            words.push(Self::beside(rest, term.open_end));
        }
        let known = Part::of(term).and_then(|part| parts.get(&part)).cloned().flatten();
        let word = |text| Self::Word { text, prefix: false };
        words.extend(known.map(|known| Self::any(known.into_iter().map(word).collect())));
        (!words.is_empty()).then(|| Self::all(words))
    }

    /// One word, or some beside one another.
    fn beside(words: &str, prefix: bool) -> Self {
        let words = words.to_owned();
        if words.contains(' ') {
            Self::Phrase { words, prefix }
        } else {
            Self::Word { text: words, prefix }
        }
    }

    fn all(mut inner: Vec<Self>) -> Self {
        if inner.iter().any(Self::is_hopeless) {
            return Self::Any(Vec::new());
        }
        if inner.len() == 1 { inner.remove(0) } else { Self::All(inner) }
    }

    fn any(mut inner: Vec<Self>) -> Self {
        inner.retain(|question| !question.is_hopeless());
        if inner.len() == 1 { inner.remove(0) } else { Self::Any(inner) }
    }

    /// Whether nothing can match.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self, Self::Any(inner) if inner.is_empty())
    }

    /// Whether a word may go on.
    pub(super) fn has_prefix(&self) -> bool {
        match self {
            Self::Word { prefix, .. } | Self::Phrase { prefix, .. } => *prefix,
            Self::All(inner) | Self::Any(inner) => inner.iter().any(Self::has_prefix),
        }
    }

    /// For FTS5. Forms have no quotes.
    pub(super) fn fts(&self) -> String {
        match self {
            Self::Word { text, prefix } | Self::Phrase { words: text, prefix } => {
                format!("\"{text}\"{}", if *prefix { " *" } else { "" })
            }
            Self::All(inner) => Self::joined(inner, " AND ", Self::fts),
            Self::Any(inner) => Self::joined(inner, " OR ", Self::fts),
        }
    }

    /// The index of PostgreSQL keeps no places of words: of a phrase it tells where all of its words are. Forms have no quotes and no
    /// backslashes.
    pub(super) fn tsquery(&self) -> String {
        match self {
            Self::Phrase { words, prefix } => {
                let count = words.split(' ').count();
                let words: Vec<Self> = words
                    .split(' ')
                    .enumerate()
                    .map(|(place, word)| Self::Word {
                        text: word.to_owned(),
                        prefix: *prefix && place + 1 == count,
                    })
                    .collect();
                Self::joined(&words, " & ", Self::tsquery)
            }
            Self::Word { text, prefix } => format!("'{text}'{}", if *prefix { ":*" } else { "" }),
            Self::All(inner) => Self::joined(inner, " & ", Self::tsquery),
            Self::Any(inner) => Self::joined(inner, " | ", Self::tsquery),
        }
    }

    fn joined(inner: &[Self], between: &str, each: fn(&Self) -> String) -> String {
        let inner: Vec<String> = inner.iter().map(each).collect();
        if inner.len() == 1 { inner.concat() } else { format!("({})", inner.join(between)) }
    }
}

/// Whether the index knows exactly where this holds.
pub(super) fn is_exact(expr: &Expr, parts: &Parts, dialect: Dialect) -> bool {
    match expr {
        Expr::All(inner) | Expr::Any(inner) => {
            !inner.is_empty() && inner.iter().all(|expr| is_exact(expr, parts, dialect))
        }
        Expr::Term(term) if term.words.contains(' ') => {
            dialect == Dialect::Sqlite && !term.open_start
        }
        Expr::Term(term) => {
            let known = |part| parts.get(&part).is_some_and(Option::is_some);
            !term.open_start || Part::of(term).is_some_and(known)
        }
        Expr::Not(_) | Expr::Filter(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    fn of(text: &str, known: &[(&str, bool, &[&str])]) -> Option<Question> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let parts = known.iter().map(|(text, open_end, found)| {
            (Part { text: (*text).to_owned(), open_end: *open_end }, Some(words(found)))
        });
        Question::of(&Query::parse(text).unwrap().expr, &parts.collect())
    }

    #[test]
    fn words_are_one_question_to_the_index() {
        let question = of("a \"b c\" (d OR ef*) -g is:done", &[]).unwrap();
        assert_eq!(question.fts(), "(\"a\" AND \"b c\" AND (\"d\" OR \"ef\" *))");
        assert_eq!(question.tsquery(), "('a' & ('b' & 'c') & ('d' | 'ef':*))");
    }

    #[test]
    fn parts_of_words_are_the_words_that_have_them() {
        let known: &[(&str, bool, &[&str])] =
            &[("16tg", true, &["re16tgk", "x16tg"]), ("pen", false, &["open"]), ("zzz", true, &[])];
        assert_eq!(of("*16tg* a", known).unwrap().fts(), "((\"re16tgk\" OR \"x16tg\") AND \"a\")");
        assert_eq!(of("*\"pen lan\"*", known).unwrap().fts(), "(\"lan\" * AND \"open\")");
        assert_eq!(of("*\"n lan\"*", known).unwrap().fts(), "\"lan\" *");
        assert_eq!(of("*zzz* OR a", known).unwrap().fts(), "\"a\"");
        assert!(of("*zzz* a", known).unwrap().is_hopeless());
        assert_eq!(of("*other*", known), None, "it stands in too many words");
        assert_eq!(of("*other* a", known).unwrap().fts(), "\"a\"");
    }

    #[test]
    fn words_beside_one_another_are_a_phrase_where_the_index_knows_their_places() {
        let question = of("\"a b ca\"*", &[]).unwrap();
        assert_eq!(question.fts(), "\"a b ca\" *");
        assert_eq!(question.tsquery(), "('a' & 'b' & 'ca':*)");
        let exact = |text: &str, dialect| {
            is_exact(&Query::parse(text).unwrap().expr, &Parts::new(), dialect)
        };
        for (text, on_sqlite) in [("\"a b\" c", true), ("*\"xyz b\"", false)] {
            assert_eq!(exact(text, Dialect::Sqlite), on_sqlite, "{text}");
            assert!(!exact(text, Dialect::Postgres), "{text}");
        }
    }

    #[test]
    fn what_no_index_narrows_is_no_question() {
        for text in ["", "-a", "is:done", "a OR is:done", "-(a b) has:text"] {
            assert_eq!(of(text, &[]), None, "{text}");
        }
    }
}
