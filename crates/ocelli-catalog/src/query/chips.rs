//! A query as its parts, each of which a reader may take away.

use super::{Expr, Query};

/// One part of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chip {
    /// As it would be typed.
    pub text: String,
    /// The query without it.
    pub rest: String,
}

impl Query {
    /// The parts that must hold together, in their order: `cat is:done -dog` has three, `cat OR dog` is one.
    #[must_use]
    pub fn chips(&self) -> Vec<Chip> {
        let parts = match &self.expr {
            Expr::All(parts) => parts.clone(),
            other => vec![other.clone()],
        };
        let text = |part: &Expr| Self { expr: part.clone() }.to_string();
        (0..parts.len())
            .map(|place| {
                let others = parts.iter().enumerate().filter(|(other, _)| *other != place);
                let rest = Expr::all(others.map(|(_, part)| part.clone()).collect());
                Chip { text: text(&parts[place]), rest: text(&rest) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_query_can_be_taken_away_and_what_is_left_is_a_query() {
        let query = Query::parse("cat is:done (dog OR \"big house\") -x").unwrap();
        let chips = query.chips();
        let texts: Vec<_> = chips.iter().map(|chip| chip.text.as_str()).collect();
        assert_eq!(texts, ["cat", "is:done", "dog OR \"big house\"", "-x"]);
        assert_eq!(chips[1].rest, "cat (dog OR \"big house\") -x");
        for chip in &chips {
            Query::parse(&chip.rest).unwrap();
        }
        assert_eq!(Query::parse("cat").unwrap().chips()[0].rest, "");
        assert_eq!(Query::parse("").unwrap().chips(), []);
        assert_eq!(Query::parse("a1 OR b2").unwrap().chips().len(), 1);
    }
}
