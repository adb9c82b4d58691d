//! Refusals in words.

/// Longer texts that begin with an apology usually go on with an answer.
const MOST_CHARACTERS: usize = 400;

/// How models begin when they will not answer. Lower case, straight apostrophes.
const BEGINNINGS: [&str; 26] = [
    "i'm sorry",
    "i am sorry",
    "sorry,",
    "i apologize",
    "i can't",
    "i cannot",
    "i can not",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i won't",
    "i will not",
    "i must decline",
    "i'm not comfortable",
    "i don't feel comfortable",
    "unfortunately, i can",
    "unfortunately, i am",
    "unfortunately, i'm",
    "as an ai",
    "this request violates",
    "es tut mir leid",
    "ich kann nicht",
    "je suis désolé",
    "je ne peux pas",
    "lo siento",
];
/// What shows that an answer follows nevertheless.
const ANSWERS: [&str; 6] =
    ["the image shows", "this image shows", "the meme", "the picture shows", "depicts", "## "];

/// Whether a text is nothing but a refusal.
#[must_use]
pub fn is_refusal(text: &str) -> bool {
    if text.chars().count() > MOST_CHARACTERS {
        return false;
    }
    let text = text.replace(['’', '‘'], "'").to_lowercase();
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
        && !ANSWERS.iter().any(|answer| text.contains(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_recognised() {
        for text in [
            "I'm sorry, but I can't help with that.",
            "I’m sorry, I can’t assist with identifying people in images.",
            "**I cannot** fulfil this request.",
            "As an AI language model, I am not able to see images.",
            "Es tut mir leid, aber dabei kann ich nicht helfen.",
        ] {
            assert!(is_refusal(text), "{text}");
        }
    }

    #[test]
    fn answers_with_an_apology_are_answers() {
        let long =
            format!("I'm sorry to say that it is long. {}", "It shows many things. ".repeat(30));
        for text in [
            "",
            "The meme says \"I'm sorry, I can't\" to a printer.",
            "I can't identify the person, but the image shows a man with a laptop.",
            "I cannot say who this is. The meme jokes about Mondays.",
            &long,
        ] {
            assert!(!is_refusal(text), "{text}");
        }
    }
}
