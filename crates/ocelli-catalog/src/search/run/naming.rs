//! What the index of words tells before any answer is looked at.

use super::super::Total;
use super::super::candidates::{Question, is_exact};
use super::super::sql::{Dialect, Sql};
use super::Plan;
use crate::query::Expr;

/// Answers that are noted by their numbers before a walk along the order of time: some milliseconds' worth. Whatever is in more
/// of them comes soon on such a walk.
pub(super) const MOST_NOTED: u64 = 20_000;

/// On a walk along the order of time so many answers are passed in the time in which one of them is looked up by its number.
const PASSED: u64 = 8;

/// Columns of [`Plan::named`]: answers that the index of words names, answers that no ordinary search finds, analyzers; about how many
/// answers there are; the numbers of the named answers, as JSON, where they are to be noted.
pub(super) type NamedColumns = (i64, i64, i64, i64, Option<String>);

impl Plan<'_> {
    /// How many answers the index of words names, as far as they can be noted.
    pub(super) fn named(&self) -> Option<Sql> {
        let question = self.question.as_ref().filter(|question| !question.is_hopeless())?;
        // PostgreSQL's index finds rows and not numbers of rows: noting them costs what looking at them does.
        if self.dialect != Dialect::Sqlite {
            return None;
        }
        let up_to = MOST_NOTED + 1;
        // A word is read off the index; whatever else is asked is put together each time, so it is asked once.
        let is_read_off = matches!(question, Question::Word { prefix: false, .. });
        let named = if is_read_off { "NOT MATERIALIZED" } else { "MATERIALIZED" };
        let noted = if is_read_off { "NULL" } else { "(SELECT json_group_array(id) FROM named)" };
        let mut sql = self.sql(&format!(
            "WITH named AS {named} (SELECT rowid AS id FROM search_words WHERE search_words MATCH "
        ));
        sql.text(question.fts()).push(&format!(
            " LIMIT {up_to}) SELECT (SELECT COUNT(*) FROM named), (SELECT COUNT(*) FROM (SELECT 1 FROM search_answers \
             INDEXED BY search_answers_hidden WHERE NOT current OR seen IS NULL LIMIT {up_to})), \
             (WITH RECURSIVE names (name) AS (SELECT min(analyzer) FROM wants UNION ALL SELECT (SELECT min(w.analyzer) \
             FROM wants w WHERE w.analyzer > names.name) FROM names WHERE names.name IS NOT NULL) SELECT COUNT(*) FROM \
             (SELECT name FROM names WHERE name IS NOT NULL UNION SELECT analyzer FROM revisions)), \
             (SELECT coalesce(max(id), 0) FROM search_answers), {noted}"
        ));
        Some(sql)
    }

    /// Takes in what the index of words tells. Of many answers it may be known without a look at them that they are of more records
    /// than are counted: a record has one current text of each analyzer, and each of them is wanted of something or has announced
    /// itself.
    pub(super) fn learn_named(
        &mut self,
        (answers, hidden, analyzers, there, noted): NamedColumns,
    ) -> Option<Total> {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let (answers, hidden, analyzers) = (count(answers), count(hidden), count(analyzers));
        // A walk to a page of them passes as many as there are for each of those that are named.
        let passed = count(there).saturating_mul(u64::from(self.limit) + 1) / answers.max(1);
        self.is_few = answers <= self.counted.saturating_mul(2) || answers <= passed / PASSED;
        self.named = Some(answers);
        self.noted = noted.filter(|_| answers <= MOST_NOTED);
        let all = match self.expr() {
            Expr::All(parts) => parts.iter().all(|part| is_exact(part, &self.parts, self.dialect)),
            one => is_exact(one, &self.parts, self.dialect),
        };
        let surely = answers.saturating_sub(hidden) / analyzers.max(1);
        let is_more = all && !self.is_few && hidden <= MOST_NOTED && surely > self.counted;
        is_more.then_some(Total { records: self.counted, more: true })
    }
}
