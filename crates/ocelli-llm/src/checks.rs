//! Whether an answer is one: pure functions over what a server answered.

pub mod clean;
pub mod preamble;
pub mod refusal;
pub mod repetition;
pub mod sections;

use std::fmt;

use ocelli_core::{Flag, Reading};

use crate::answer_schema::AnswerSchema;
use crate::completion::{Completion, Finish};

/// Something wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The server did not end the answer properly.
    Unfinished(String),
    /// Nothing but white space.
    Empty {
        /// The model thought and never wrote.
        thoughts: bool,
    },
    /// A loop.
    Repetition {
        /// Part of the answer, in percent, that is the loop.
        percent: u8,
    },
    /// The token budget ended the answer.
    Truncated,
    /// The model, or a filter, refused.
    Refused,
    /// These sections are missing.
    MissingSections(Vec<String>),
    /// Not the JSON that was asked for: where, and why not.
    NotAsAsked(String),
    /// Another model answered.
    OtherModel(String),
    /// Talk about the answer before the answer.
    Preamble,
}

impl Fault {
    /// Whether another call may help.
    #[must_use]
    pub const fn asks_again(&self) -> bool {
        match self {
            Self::Unfinished(_)
            | Self::Empty { .. }
            | Self::Repetition { .. }
            | Self::Truncated
            | Self::NotAsAsked(_)
            | Self::MissingSections(_) => true,
            // The same model refuses again; the same server has the same model; talk is harmless.
            Self::Refused | Self::OtherModel(_) | Self::Preamble => false,
        }
    }

    /// Whether an answer with it is no answer.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        match self {
            // Half of a JSON document is no use to whoever asked for one.
            Self::Unfinished(_) | Self::Empty { .. } | Self::NotAsAsked(_) => true,
            // The beginning can be worth keeping.
            Self::Repetition { percent } => *percent > 60,
            _ => false,
        }
    }

    /// Larger is worse.
    #[must_use]
    pub const fn severity(&self) -> u8 {
        match self {
            Self::Empty { .. } => 9,
            Self::Unfinished(_) => 8,
            Self::Repetition { .. } => 7,
            Self::Refused => 6,
            // Before the broken JSON that follows from it: a larger budget helps.
            Self::Truncated => 5,
            Self::NotAsAsked(_) => 4,
            Self::MissingSections(_) => 3,
            Self::OtherModel(_) => 2,
            Self::Preamble => 1,
        }
    }

    const fn flag(&self) -> Option<Flag> {
        match self {
            Self::Unfinished(_) | Self::Empty { .. } | Self::NotAsAsked(_) => None,
            Self::Repetition { .. } => Some(Flag::Repetition),
            Self::Truncated => Some(Flag::Truncated),
            Self::Refused => Some(Flag::Refused),
            Self::MissingSections(_) => Some(Flag::MissingSections),
            Self::OtherModel(_) => Some(Flag::OtherModel),
            Self::Preamble => Some(Flag::Preamble),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished(how) => write!(f, "the answer was not finished ({how})"),
            Self::Empty { thoughts: true } => f.write_str("the model thought and wrote nothing"),
            Self::Empty { thoughts: false } => f.write_str("the answer was empty"),
            Self::Repetition { percent } => write!(f, "{percent} % of the answer was a loop"),
            Self::Truncated => f.write_str("the answer was cut off at the token budget"),
            Self::Refused => f.write_str("the model refused"),
            Self::MissingSections(which) => {
                write!(f, "sections were missing: {}", which.join(", "))
            }
            Self::NotAsAsked(how) => write!(f, "the answer was not as its schema asks: {how}"),
            Self::OtherModel(name) => write!(f, "the model '{name}' answered"),
            Self::Preamble => f.write_str("the answer began with talk about itself"),
        }
    }
}

/// What came of looking at an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Text, sections and flags.
    pub reading: Reading,
    /// Worst first.
    pub faults: Vec<Fault>,
}

impl Verdict {
    /// The worst first, in words.
    #[must_use]
    pub fn reason(&self) -> String {
        self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Whether this is no answer.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.faults.iter().any(Fault::is_fatal)
    }

    /// Whether another call may help.
    #[must_use]
    pub fn asks_again(&self) -> bool {
        self.faults.iter().any(Fault::asks_again)
            && !self.faults.iter().any(|fault| matches!(fault, Fault::Refused))
    }

    /// Smaller is better: fatal or not, then the worst fault, then their number.
    #[must_use]
    pub fn badness(&self) -> (bool, u8, usize) {
        let worst = self.faults.first().map_or(0, Fault::severity);
        (self.is_fatal(), worst, self.faults.len())
    }
}

/// What an answer has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// The model that was asked.
    pub(crate) model: &'a str,
    /// Headings.
    pub(crate) sections: &'a [String],
    /// Form, when it has to be JSON.
    pub(crate) schema: Option<&'a AnswerSchema>,
}

/// Looks at an answer.
pub(crate) fn judge(completion: &Completion, expected: Expected<'_>) -> Verdict {
    let Expected { model, sections: required, schema } = expected;
    let text = clean::text(&completion.text);
    let mut faults = Vec::new();
    match &completion.finish {
        Finish::Stop => {}
        Finish::Length => faults.push(Fault::Truncated),
        Finish::Filtered => faults.push(Fault::Refused),
        Finish::Unfinished(how) => faults.push(Fault::Unfinished(how.clone())),
    }
    let refused = completion.refusal.is_some() || refusal::is_refusal(&text);
    if refused && !faults.contains(&Fault::Refused) {
        faults.push(Fault::Refused);
    }
    if let Some(name) = completion.model.as_ref().filter(|name| !is_same_model(name, model)) {
        faults.push(Fault::OtherModel(crate::wire::clip(name)));
    }
    let text = match &completion.refusal {
        Some(refusal) if text.is_empty() => clean::text(refusal),
        _ => text,
    };
    let parsed = if schema.is_some() { Vec::new() } else { sections::parse(&text, required) };
    if text.is_empty() {
        // A filter that left nothing is a refusal, not an empty answer.
        if !faults.contains(&Fault::Refused) {
            faults.push(Fault::Empty { thoughts: completion.thoughts });
        }
    } else if !faults.contains(&Fault::Refused) {
        if let Some(percent) = repetition::looping_percent(&text) {
            faults.push(Fault::Repetition { percent });
        }
        if let Some(Err(how)) = schema.map(|schema| schema.check(&text)) {
            faults.push(Fault::NotAsAsked(how));
        }
        let missing = match schema {
            Some(_) => Vec::new(),
            None => sections::missing(&parsed, required),
        };
        if !missing.is_empty() {
            faults.push(Fault::MissingSections(missing));
        }
        if preamble::has_preamble(&text) {
            faults.push(Fault::Preamble);
        }
    }
    faults.sort_by_key(|fault| std::cmp::Reverse(fault.severity()));
    let mut flags: Vec<_> = faults.iter().filter_map(Fault::flag).collect();
    flags.sort();
    Verdict { reading: Reading { text, sections: parsed, flags, ..Reading::default() }, faults }
}

/// Servers complete names: `gemma3` is `gemma3:latest`, `org/model.gguf` may come back as its file name, dates are added.
#[must_use]
pub fn is_same_model(answered: &str, asked: &str) -> bool {
    let plain = |name: &str| {
        let name = name.trim().to_lowercase();
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        let name = name.strip_suffix(".gguf").unwrap_or(&name).to_owned();
        name.strip_suffix(":latest").unwrap_or(&name).to_owned()
    };
    let (answered, asked) = (plain(answered), plain(asked));
    // "gpt-4o" answers as "gpt-4o-2024-08-06", but "gpt-4o-mini" is another model.
    let dated = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| {
            rest.starts_with('-')
                && rest.len() > 4
                && rest.chars().all(|c| c == '-' || c.is_ascii_digit())
        })
    };
    answered == asked || dated(&answered, &asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(text: &str) -> Completion {
        Completion {
            text: text.to_owned(),
            thoughts: false,
            refusal: None,
            finish: Finish::Stop,
            model: Some("gemma3:27b".to_owned()),
            tokens_in: None,
            tokens_out: None,
        }
    }

    fn expected(sections: &[String]) -> Expected<'_> {
        Expected { model: "gemma3:27b", sections, schema: None }
    }

    fn faults(completion: &Completion) -> Vec<Fault> {
        judge(completion, expected(&[])).faults
    }

    #[test]
    fn json_is_held_against_its_schema_and_a_cut_one_asks_for_more_tokens_first() {
        let schema = AnswerSchema::parse("x", "x", r#"{"required": ["a"]}"#).unwrap();
        let look = |completion: &Completion| {
            let required = ["Never".to_owned()];
            let schema = Some(&schema);
            judge(completion, Expected { schema, ..expected(&required) })
        };
        let good = look(&completion("```json\n{\"a\": 1}\n```"));
        assert_eq!((good.reading.text.as_str(), &good.faults[..]), ("{\"a\": 1}", &[][..]));
        assert!(good.reading.sections.is_empty());
        let bad = look(&completion("{\"b\": 1}"));
        assert!(matches!(&bad.faults[..], [Fault::NotAsAsked(how)] if how.contains('a')));
        assert!(bad.is_fatal() && bad.asks_again());
        let cut = look(&Completion { finish: Finish::Length, ..completion("{\"a\": ") });
        assert!(matches!(cut.faults[..], [Fault::Truncated, Fault::NotAsAsked(_)]));
        let refused = look(&completion("I'm sorry, but I can't help with that."));
        assert_eq!(refused.faults, [Fault::Refused]);
    }

    #[test]
    fn a_proper_answer_has_no_fault_and_no_flag() {
        let verdict = judge(&completion("The meme shows a cat."), expected(&[]));
        assert_eq!(verdict.faults, []);
        assert_eq!(verdict.reading.flags, []);
        assert_eq!(verdict.reading.text, "The meme shows a cat.");
    }

    #[test]
    fn each_improper_end_is_a_fault() {
        let end = |finish| faults(&Completion { finish, ..completion("The meme shows a cat.") });
        assert_eq!(end(Finish::Length), [Fault::Truncated]);
        assert_eq!(end(Finish::Filtered), [Fault::Refused]);
        let unfinished = end(Finish::Unfinished("done: false".to_owned()));
        assert_eq!(unfinished, [Fault::Unfinished("done: false".to_owned())]);
    }

    #[test]
    fn an_empty_answer_says_whether_thoughts_ate_it() {
        assert_eq!(faults(&completion(" \n ")), [Fault::Empty { thoughts: false }]);
        let thoughts = Completion { thoughts: true, ..completion("") };
        assert_eq!(faults(&thoughts), [Fault::Empty { thoughts: true }]);
        let inline = completion("<think>I wonder");
        assert_eq!(faults(&inline), [Fault::Empty { thoughts: false }]);
    }

    #[test]
    fn a_refusal_in_its_own_field_is_kept_as_text_and_not_asked_again() {
        let refusal = Some("I can't help with that.".to_owned());
        let verdict = judge(&Completion { refusal, ..completion("") }, expected(&[]));
        assert_eq!(verdict.faults, [Fault::Refused]);
        assert_eq!(verdict.reading.text, "I can't help with that.");
        assert!(!verdict.asks_again() && !verdict.is_fatal());
    }

    #[test]
    fn missing_sections_are_named() {
        let required = ["One", "Two"].map(str::to_owned);
        let verdict = judge(&completion("## One\n\ntext"), expected(&required));
        assert_eq!(verdict.faults, [Fault::MissingSections(vec!["Two".to_owned()])]);
        assert_eq!(verdict.reading.flags, [Flag::MissingSections]);
    }

    #[test]
    fn model_names_are_compared_as_servers_write_them() {
        for (answered, asked) in [
            ("gemma3:27b", "gemma3:27b"),
            ("llama3.2-vision:latest", "llama3.2-vision"),
            ("llama3.2-vision", "llama3.2-vision:latest"),
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("/models/Qwen2-VL.gguf", "qwen2-vl"),
            ("Qwen2-VL", "Qwen/Qwen2-VL"),
        ] {
            assert!(is_same_model(answered, asked), "{answered} {asked}");
        }
        for (answered, asked) in [
            ("gemma3:4b", "gemma3:27b"),
            ("gpt-4o-mini", "gpt-4o"),
            ("llava", "gemma3:27b"),
            ("", "x"),
        ] {
            assert!(!is_same_model(answered, asked), "{answered} {asked}");
        }
    }

    #[test]
    fn a_loop_is_worse_than_a_cut() {
        let text = "and the image shows a graph, ".repeat(60);
        let verdict =
            judge(&Completion { finish: Finish::Length, ..completion(&text) }, expected(&[]));
        assert!(matches!(verdict.faults[..], [Fault::Repetition { .. }, Fault::Truncated]));
        assert!(verdict.is_fatal() && verdict.asks_again());
    }
}
