//! Where the words of a query stand in a whole text, for whoever shows it whole.

use super::form::Form;
use super::snippet::marks;
use crate::query::{Expr, Query, Term};

impl Query {
    /// Where the words of this query stand in `text`, in order and without overlaps: the first character and the one behind
    /// the last. The same words that [`crate::Catalog::search`] finds it by.
    #[must_use]
    pub fn marks(&self, text: &str) -> Vec<(usize, usize)> {
        let mut terms: Vec<&Term> = Vec::new();
        self.expr.asked(&mut |leaf| {
            if let Expr::Term(term) = leaf {
                terms.push(term);
            }
        });
        if terms.is_empty() {
            return Vec::new();
        }
        let form = Form::of(text);
        marks(&form.words().collect::<Vec<_>>(), &terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_query_are_found_in_a_whole_text_and_excluded_ones_are_not() {
        let query = Query::parse("caf* \"dog house\" -cat is:done").unwrap();
        let text = "Café, cat; dog house. Cafés";
        let found: Vec<String> = query
            .marks(text)
            .into_iter()
            .map(|(from, to)| text.chars().skip(from).take(to - from).collect())
            .collect();
        assert_eq!(found, ["Café", "dog house", "Cafés"]);
        assert_eq!(Query::parse("is:done").unwrap().marks(text), []);
    }
}
