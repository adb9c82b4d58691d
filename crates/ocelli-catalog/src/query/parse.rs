//! Text → tree. Bounded in length, number of terms and depth; an error says where and what to write instead.

use super::error::shown;
use super::filters::{NAMES, read};
use super::{Expr, Filter, Measure, Query, QueryError, Term};
use crate::search::form::Form;

/// What a query may ask at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Characters of a query.
    pub characters: usize,
    /// Words, phrases and filters of a query: each is a look into the index.
    pub terms: usize,
    /// Groups in groups.
    pub depth: usize,
    /// Characters of one word, phrase or value.
    pub term_characters: usize,
}

impl Default for QueryLimits {
    /// A page of text: nobody types more.
    fn default() -> Self {
        Self { characters: 4_000, terms: 64, depth: 16, term_characters: 200 }
    }
}

/// Characters of a word whose beginning may be anything: the index knows three in a row.
const SHORTEST_INSIDE: usize = 3;
/// Characters before a star: one would be a fifth of all words.
const SHORTEST_PREFIX: usize = 2;

impl Query {
    /// Reads a query. An empty one asks for everything.
    ///
    /// # Errors
    /// When it is none, or asks for too much: what is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        Self::parse_within(text, &QueryLimits::default())
    }

    /// Reads a query that asks no more than `limits`.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn parse_within(text: &str, limits: &QueryLimits) -> Result<Self, QueryError> {
        let most = limits.characters;
        if text.chars().nth(most).is_some() {
            let length = text.chars().count();
            return Err(QueryError::new(
                most + 1,
                format!("the query has {length} characters; at most {most}"),
            ));
        }
        let limits = *limits;
        let mut parser =
            Parser { chars: text.chars().collect(), limits, at: 0, terms: 0, depth: 0 };
        let expr = parser.any()?;
        match parser.peek() {
            None => Ok(Self { expr }),
            Some(_) => Err(parser.error(parser.at, "there is no '(' for the ')'")),
        }
    }
}

struct Parser {
    chars: Vec<char>,
    limits: QueryLimits,
    at: usize,
    terms: usize,
    depth: usize,
}

type Parsed<T> = Result<T, QueryError>;

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn text(&self, from: usize, to: usize) -> String {
        self.chars[from..to].iter().collect()
    }

    fn error(&self, at: usize, what: &str) -> QueryError {
        QueryError::new(at + 1, format!("{what} at character {}", at + 1))
    }

    /// `a b OR c`: OR binds weaker than standing beside each other.
    fn any(&mut self) -> Parsed<Expr> {
        let mut parts = vec![self.all()?];
        while let Some(at) = self.or() {
            if parts.last() == Some(&Expr::All(Vec::new())) {
                return Err(self.error(at, "nothing stands before the OR"));
            }
            let next = self.all()?;
            if next == Expr::All(Vec::new()) {
                return Err(self.error(at, "nothing stands behind the OR"));
            }
            parts.push(next);
        }
        Ok(Expr::any(parts))
    }

    /// Eats `OR` or `|` and says where it was.
    fn or(&mut self) -> Option<usize> {
        self.blanks();
        let at = self.at;
        (self.eat('|') || self.operator("or")).then_some(at)
    }

    /// Eats this operator. In capitals it always is one; in small letters it is a word like others, unless something stands
    /// behind it that is no word: a filter, a group, or another operator.
    fn operator(&mut self, name: &str) -> bool {
        let from = self.at;
        let end = from + name.len();
        let Some(chars) = self.chars.get(from..end) else { return false };
        let text: String = chars.iter().collect();
        let ends = |next: &char| next.is_whitespace() || "()\"|".contains(*next);
        if !text.eq_ignore_ascii_case(name) || !self.chars.get(end).is_none_or(ends) {
            return false;
        }
        self.at = end;
        let is_one = text == name.to_uppercase() || (text == name && self.is_no_word());
        if !is_one {
            self.at = from;
        }
        is_one
    }

    /// Whether what comes next is a group or a filter, after any number of `not` and `-`. A loop: asked again for each of them, a query of
    /// some hundred characters would take for ever.
    fn is_no_word(&self) -> bool {
        let mut at = self.at;
        loop {
            while self.chars.get(at).is_some_and(|next| next.is_whitespace()) {
                at += 1;
            }
            if self.chars.get(at) == Some(&'(')
                || self.name_end(at).is_some()
                || self.comparison(at).is_some()
            {
                return true;
            }
            if self.chars.get(at) == Some(&'-') {
                at += 1;
                continue;
            }
            let ends = |next: &char| next.is_whitespace() || "()\"|".contains(*next);
            match self.chars.get(at..at + 3) {
                Some(['N', 'O', 'T']) if self.chars.get(at + 3).is_none_or(ends) => return true,
                Some(['n', 'o', 't']) if self.chars.get(at + 3).is_none_or(ends) => at += 3,
                _ => return false,
            }
        }
    }

    /// Where the colon of `name:` stands.
    fn name_end(&self, at: usize) -> Option<usize> {
        (at..self.chars.len())
            .find(|place| !self.chars[*place].is_ascii_alphabetic())
            .filter(|end| *end > at && self.chars[*end] == ':')
    }

    /// Where the value of `bytes < 20MB` begins: a number of the image, and behind blanks perhaps a comparison.
    fn comparison(&self, at: usize) -> Option<(Measure, usize)> {
        let rest = self.chars.get(at..)?;
        let begins = |name: &str| {
            rest.len() > name.len() && name.chars().zip(rest).all(|(one, other)| one == *other)
        };
        let measure = Measure::ALL.into_iter().find(|measure| begins(measure.name()))?;
        let mut end = at + measure.name().len();
        while self.chars.get(end).is_some_and(|next| next.is_whitespace()) {
            end += 1;
        }
        self.chars.get(end).filter(|next| "<>=".contains(**next)).map(|_| (measure, end))
    }

    /// `bytes < 20MB`, as `bytes:<20MB`.
    fn compare(&mut self, at: usize, measure: Measure, value: usize) -> Parsed<Expr> {
        self.at = value;
        let mut text = String::new();
        while let Some(next) = self.peek().filter(|next| "<>=".contains(*next)) {
            text.push(next);
            self.at += 1;
        }
        self.blanks();
        text.push_str(&self.bare());
        let from = self.at;
        self.blanks();
        let unit = self.bare();
        if text.ends_with(|last: char| last.is_ascii_digit()) && measure.has_unit(&unit) {
            text.push_str(&unit);
        } else {
            self.at = from;
        }
        if text.chars().nth(self.limits.term_characters).is_some() {
            return Err(self.too_long(at));
        }
        self.read(at, measure.name(), &text)
    }

    fn read(&self, at: usize, name: &str, value: &str) -> Parsed<Expr> {
        read(name, value)
            .map(|mut filter| {
                if let Filter::Like(like) = &mut filter {
                    like.place = at + 1;
                }
                Expr::Filter(filter)
            })
            .map_err(|what| QueryError::new(at + 1, format!("at character {}: {what}", at + 1)))
    }

    fn all(&mut self) -> Parsed<Expr> {
        let mut parts = Vec::new();
        loop {
            self.blanks();
            let at = self.at;
            if self.peek().is_none_or(|next| next == ')') || self.or().is_some() {
                self.at = at;
                return Ok(Expr::all(parts));
            }
            if self.operator("and") {
                if parts.is_empty() {
                    return Err(self.error(at, "nothing stands before the AND"));
                }
                self.blanks();
                if self.peek().is_none_or(|next| next == ')') || self.or().is_some() {
                    return Err(self.error(at, "nothing stands behind the AND"));
                }
            }
            parts.push(self.one()?);
        }
    }

    fn one(&mut self) -> Parsed<Expr> {
        let at = self.at;
        if self.eat('-') {
            if self.peek().is_none_or(|next| next.is_whitespace() || next == ')') {
                return Err(self.error(at, "nothing stands behind the '-'"));
            }
            return self.nested(at, |parser| Ok(Expr::Not(Box::new(parser.one()?))));
        }
        if self.operator("not") {
            self.blanks();
            if self.peek().is_none_or(|next| next == ')' || next == '|') {
                return Err(self.error(at, "nothing stands behind the NOT"));
            }
            return self.nested(at, |parser| Ok(Expr::Not(Box::new(parser.one()?))));
        }
        if self.eat('(') {
            return self.nested(at, |parser| {
                let inner = parser.any()?;
                if !parser.eat(')') {
                    return Err(parser.error(at, "there is no ')' for the '('"));
                }
                if inner == Expr::All(Vec::new()) {
                    return Err(parser.error(at, "nothing stands in the '()'"));
                }
                Ok(inner)
            });
        }
        self.terms += 1;
        let most = self.limits.terms;
        if self.terms > most {
            return Err(
                self.error(at, &format!("more than {most} words and filters: too many begin"))
            );
        }
        if let Some((measure, value)) = self.comparison(at) {
            return self.compare(at, measure, value);
        }
        match self.name_end(at) {
            Some(end) => self.filter(at, end),
            None => self.term(at),
        }
    }

    fn nested(&mut self, at: usize, inner: impl FnOnce(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let deepest = self.limits.depth;
        if self.depth == deepest {
            return Err(
                self.error(at, &format!("groups stand more than {deepest} deep in each other"))
            );
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    fn filter(&mut self, at: usize, colon: usize) -> Parsed<Expr> {
        let name = self.text(at, colon);
        let Some((known, example)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let nearest = NAMES
                .iter()
                .map(|(known, _)| (strsim::osa_distance(known, &name.to_lowercase()), known))
                .min()
                .filter(|(distance, _)| *distance <= 2);
            let place = at + 1;
            let hint = match nearest {
                Some((_, nearest)) => format!("did you mean '{nearest}:'?"),
                None => {
                    let names: Vec<_> = NAMES.iter().map(|(name, _)| format!("{name}:")).collect();
                    format!(
                        "put it in quotes to look for the text; filters are {}",
                        names.join(" ")
                    )
                }
            };
            let name = shown(&name);
            return Err(QueryError::new(
                place,
                format!("unknown filter '{name}:' at character {place}; {hint}"),
            ));
        };
        self.at = colon + 1;
        let value = if self.peek() == Some('"') { self.quoted()? } else { self.bare() };
        if value.is_empty() {
            return Err(
                self.error(at, &format!("'{known}:' has no value (as in {known}:{example})"))
            );
        }
        if value.chars().nth(self.limits.term_characters).is_some() {
            return Err(self.too_long(at));
        }
        self.read(at, known, &value)
    }

    fn too_long(&self, at: usize) -> QueryError {
        let most = self.limits.term_characters;
        self.error(at, &format!("more than {most} characters in one word, phrase or value"))
    }

    fn term(&mut self, at: usize) -> Parsed<Expr> {
        let mut open_start = self.eat('*');
        let mut open_end = false;
        let raw = if self.peek() == Some('"') {
            let raw = self.quoted()?;
            open_end = self.eat('*');
            raw
        } else {
            let raw = self.bare();
            let inner = raw.trim_start_matches('*');
            open_start |= inner.len() < raw.len();
            let core = inner.trim_end_matches('*');
            open_end |= core.len() < inner.len();
            if core.contains('*') {
                return Err(self.error(at, "a '*' stands inside a word, not before or behind it,"));
            }
            core.to_owned()
        };
        if raw.chars().nth(self.limits.term_characters).is_some() {
            return Err(self.too_long(at));
        }
        let form = Form::of(&raw);
        let words = form.text.trim().to_owned();
        if form.count() == 0 {
            let what =
                format!("'{}' has no letter or digit to look for", shown(&self.text(at, self.at)));
            return Err(self.error(at, &what));
        }
        let length = words.chars().count();
        if length > self.limits.term_characters {
            return Err(self.too_long(at));
        }
        if open_start && length < SHORTEST_INSIDE {
            let what = format!(
                "behind a '*' at least {SHORTEST_INSIDE} letters or digits must stand: too few"
            );
            return Err(self.error(at, &what));
        }
        if open_end && length < SHORTEST_PREFIX && words.is_ascii() {
            let what = format!(
                "before a '*' at least {SHORTEST_PREFIX} letters or digits must stand: too few"
            );
            return Err(self.error(at, &what));
        }
        Ok(Expr::Term(Term { words, open_start, open_end }))
    }

    /// Up to a blank or a character with a meaning.
    fn bare(&mut self) -> String {
        let from = self.at;
        while self.peek().is_some_and(|next| !next.is_whitespace() && !"()\"|".contains(next)) {
            self.at += 1;
        }
        self.text(from, self.at)
    }

    /// `"…"` with `\"` and `\\`.
    fn quoted(&mut self) -> Parsed<String> {
        let from = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            match next {
                '"' => return Ok(text),
                '\\' if matches!(self.peek(), Some('"' | '\\')) => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
        Err(self.error(from, "there is no second '\"' for the one"))
    }
}
