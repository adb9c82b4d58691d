//! Talk about the answer at its beginning ("Sure! Here is my analysis:").

/// Words that only talk about the answer when punctuation follows.
const OPENERS: [&str; 9] =
    ["sure", "certainly", "of course", "okay", "ok", "absolutely", "alright", "great", "gladly"];
/// Words that talk about the answer when their line ends with a colon.
const ANNOUNCEMENTS: [&str; 7] =
    ["here is", "here's", "here are", "below is", "let's", "let me", "i'll"];

/// Whether a text begins with talk about itself.
#[must_use]
pub fn has_preamble(text: &str) -> bool {
    let first = text.trim_start().lines().next().unwrap_or_default();
    let first = first.replace('’', "'").to_lowercase();
    let first = first.trim_matches(|c: char| c == '*' || c == '_' || c.is_whitespace());
    let opened = OPENERS.iter().any(|opener| {
        first
            .strip_prefix(opener)
            .is_some_and(|rest| rest.starts_with([',', '!', '.', ':']) || rest.is_empty())
    });
    let announced = first.ends_with(':')
        && ANNOUNCEMENTS.iter().any(|announcement| first.starts_with(announcement));
    opened || announced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_about_the_answer_is_recognised() {
        for text in [
            "Sure! Here is my analysis of the image:\n\n## Visual Description",
            "Here’s a breakdown of the meme:\n\nIt shows",
            "Okay, let's look at it.",
            "**Certainly!**\n\nThe meme",
        ] {
            assert!(has_preamble(text), "{text}");
        }
    }

    #[test]
    fn answers_that_begin_with_the_answer_are_left_alone() {
        for text in [
            "",
            "The meme is a humorous image.",
            "Here is a cat that looks at a printer.",
            "Great Britain is shown in red.",
            "## Visual Description\n\nSure enough, it shows a cat.",
        ] {
            assert!(!has_preamble(text), "{text}");
        }
    }
}
