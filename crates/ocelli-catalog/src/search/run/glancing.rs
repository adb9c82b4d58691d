//! How much is looked at to know how many records match.
//!
//! PostgreSQL's index of words puts together the answers of all words that begin as asked before it gives the first of them, and its
//! planner takes them for few. So the latest answers are looked at before.

use super::super::Total;
use super::super::candidates::Question;
use super::super::sql::{Dialect, Sql};
use super::{Plan, Way};

/// Answers of the first look: about two milliseconds.
const GLANCE: u64 = 2_000;
/// So many answers are put together by the index in the time in which one is passed on the way along time.
const PUT_TOGETHER: u64 = 4;

/// Columns of [`Plan::glance`]: answers that match, of how many records; about how many answers there are.
pub(super) type GlanceColumns = (i64, i64, i64);

/// The latest answers, some of which should tell that there are more records than are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) passed: u64,
    pub(super) matching: u64,
}

impl Plan<'_> {
    /// How many rows the first of the counts looks at. Where a row is a record, one more than are counted tells all.
    pub(super) fn first_look(&self) -> u64 {
        let counted = self.counted;
        match self.named {
            _ if self.way() == Way::Images => counted.saturating_add(1),
            // All of them: that also makes the page, and costs no more than a walk along the order of time to so few.
            Some(named) if self.is_few => named + 1,
            // Few more answers than records that are counted.
            _ => counted.saturating_add(counted / 2 + 1),
        }
    }

    /// How many answers are looked at next when these were too few to count their records: as many as one record more than are counted
    /// may have, if the others have as many as those that were seen, and a quarter more.
    pub(super) fn next_look(&self, look: u64, records: i64) -> u64 {
        let records = u64::try_from(records).unwrap_or(0).max(1);
        let enough = look.saturating_mul(self.counted.saturating_add(1)) / records;
        enough
            .saturating_add(enough / 4)
            .clamp(look.saturating_add(look / 4 + 1), look.saturating_mul(4))
    }

    /// How many records there are, when a look at so many answers tells it.
    pub(super) fn total(&self, look: u64, answers: i64, records: i64) -> Option<Total> {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let (answers, records) = (count(answers), count(records));
        let more = records > self.counted;
        (more || answers < look).then(|| Total { records: records.min(self.counted), more })
    }

    /// What matches among the latest answers.
    pub(super) fn glance(&self) -> Option<Sql> {
        let asks_beginnings = self.question.as_ref().is_some_and(Question::has_prefix);
        if self.dialect != Dialect::Postgres || !asks_beginnings || self.search.cursor.is_some() {
            return None;
        }
        let stretch = Stretch { passed: GLANCE, matching: GLANCE };
        Some(self.among(stretch, ", (SELECT coalesce(max(id), 0) FROM search_answers)"))
    }

    /// How far to go along time to find more records than are counted, where that is sooner done than asking the index.
    pub(super) fn stretch(&self, (answers, records, there): GlanceColumns) -> Option<Stretch> {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let (answers, records, there) = (count(answers), count(records), count(there));
        let matching = (self.counted + 1).saturating_mul(answers).checked_div(records)?;
        let matching = matching.saturating_add(matching / 4);
        let passed = matching.saturating_mul(GLANCE) / answers;
        let put_together = there.saturating_mul(answers) / GLANCE;
        // Twice as far, as they are not spread evenly. Where that is not far enough, the index is asked after all.
        (passed < put_together / PUT_TOGETHER)
            .then_some(Stretch { passed: passed.saturating_mul(2), matching })
    }

    /// How many answers of a stretch match, and of how many records they are.
    pub(super) fn along_stretch(&self, stretch: Stretch) -> Sql {
        self.among(stretch, "")
    }

    /// What a stretch tells.
    pub(super) fn more(&self, records: i64) -> Option<Total> {
        let is_more = u64::try_from(records).is_ok_and(|records| records > self.counted);
        is_more.then_some(Total { records: self.counted, more: true })
    }

    fn among(&self, Stretch { passed, matching }: Stretch, beside: &str) -> Sql {
        let mut sql = self.sql("SELECT COUNT(*), COUNT(DISTINCT digest)");
        sql.push(beside).push(" FROM (SELECT s0.digest AS digest ");
        self.from(&mut sql, Way::Latest(passed));
        sql.push(&format!(" LIMIT {matching}) AS looked_at"));
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use crate::search::candidates::Parts;
    use crate::search::sql::Conditions;
    use crate::search::{Search, Sort};

    #[test]
    fn what_is_in_many_of_the_latest_answers_is_sooner_found_along_time() {
        let query = Query::parse("begin*").unwrap();
        let search = Search { query, sort: Sort::Newest, limit: 20, cursor: None, facets: false };
        let expr = &search.query.expr;
        let plan = Plan {
            search: &search,
            dialect: Dialect::Postgres,
            conditions: Conditions::of(expr),
            has_words: true,
            question: Question::of(expr, &Parts::new()),
            parts: Parts::new(),
            limit: 20,
            named: None,
            noted: None,
            is_few: false,
            counted: 500,
        };
        assert!(plan.glance().is_some());
        // One answer of ten, two of each record: 1,252 of them are in 25,040.
        let stretch = plan.stretch((200, 100, 2_000_000));
        assert_eq!(stretch, Some(Stretch { passed: 25_040, matching: 1_252 }));
        // One of a hundred: the index puts 20,000 together sooner than 125,000 are passed.
        assert_eq!(plan.stretch((20, 10, 2_000_000)), None);
        assert_eq!(plan.stretch((200, 100, 100_000)), None, "a small archive");
        assert_eq!(plan.stretch((0, 0, 2_000_000)), None);
        assert_eq!(plan.more(500), None);
        assert_eq!(plan.more(501), Some(Total { records: 500, more: true }));
        // 751 answers of 400 records: one more than are counted has 941 of them, and a quarter more.
        assert_eq!(plan.next_look(751, 400), 1_175);
        assert_eq!(plan.next_look(751, 1), 3_004, "no more than four times as many");
        assert_eq!(plan.next_look(751, 751), 939, "and some more at least");
    }
}
