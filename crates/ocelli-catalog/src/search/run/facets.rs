//! The statements that count by analyzer, outcome, format, month and batch.

use super::super::sql::{Dialect, SEEN, Sql, with_text};
use super::super::{Facets, Sort, Total};
use super::Plan;
use crate::rows::{digest, json};

/// How many values of a facet are listed.
const FACET_VALUES: i64 = 50;

impl Plan<'_> {
    /// In the order of the fields of [`Facets`].
    pub(super) fn facets(&self, found: &[(Vec<u8>,)]) -> [Sql; 5] {
        let hex: Vec<String> =
            found.iter().filter_map(|(bytes,)| Some(digest(bytes).ok()?.to_string())).collect();
        let found = json(&hex);
        let of_found = || {
            let mut sql = self.sql(match self.dialect {
                Dialect::Sqlite => "WITH found AS MATERIALIZED (SELECT unhex(value) AS digest FROM json_each(",
                Dialect::Postgres => {
                    "WITH found AS MATERIALIZED (SELECT decode(value, 'hex') AS digest FROM json_array_elements_text("
                }
            });
            sql.push("CAST(").text(found.as_str());
            sql.push(if self.dialect == Dialect::Sqlite { " AS TEXT))) " } else { " AS json))) " });
            sql
        };
        let of_answers = |column: &str| {
            let mut sql = of_found();
            sql.push(&format!(
                "SELECT {column}, COUNT(DISTINCT i.digest) FROM found f JOIN images i ON i.digest = f.digest \
                 JOIN search_answers s0 ON s0.seen = {SEEN} AND s0.digest = i.digest{} WHERE {} AND ",
                with_text(self.dialect, 0),
                self.conditions.looked_at("s0")
            ));
            self.conditions.of_answer(&mut sql, self.expr(), 0);
            sql
        };
        let of_images = |column: &str| {
            let mut sql = of_found();
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
        let mut of_batches = of_found();
        of_batches.push(&format!(
            "SELECT coalesce(b.name, {hex}), COUNT(DISTINCT m.image) FROM found f JOIN images i ON i.digest = f.digest \
             JOIN batch_images m ON m.image = i.id LEFT JOIN batches b ON b.batch = m.batch WHERE true"
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

    /// The digests of the records that facets are of.
    pub(super) fn found(&self, total: Total) -> Sql {
        let mut sql = self.sql("SELECT digest FROM (");
        if self.goes_along(total) {
            self.along(&mut sql, Sort::Newest, None);
        } else {
            sql.push("SELECT DISTINCT s0.digest AS digest ");
            self.from(&mut sql, self.way());
        }
        sql.push(&format!(" LIMIT {}) AS found", self.counted));
        sql
    }
}

/// What was counted, by name.
pub(super) fn facets_of(total: Total, counted: Vec<Vec<(Option<String>, i64)>>) -> Facets {
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
