//! The text of an answer as it is kept: without control characters, without thoughts, without a fence around all of it.

/// Cleans a text. What a model writes is taken for hostile: of the control characters only line feed and tab stay.
#[must_use]
pub fn text(raw: &str) -> String {
    let raw = raw.replace("\r\n", "\n").replace('\r', "\n");
    let kept: String =
        raw.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect();
    let text = without_fence(without_thoughts(kept.trim()));
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Servers without a field for thoughts leave them at the beginning.
fn without_thoughts(text: &str) -> &str {
    match text.strip_prefix("<think>") {
        None => text,
        // A thought without an end: the budget ended before the answer began.
        Some(rest) => rest.split_once("</think>").map_or("", |(_, answer)| answer.trim_start()),
    }
}

fn without_fence(text: &str) -> &str {
    let inner = ["```markdown\n", "```md\n", "```json\n", "```\n"]
        .iter()
        .find_map(|fence| text.strip_prefix(fence)?.trim_end().strip_suffix("```"));
    inner.filter(|inner| !inner.contains("```")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_go_and_lines_and_tabs_stay() {
        assert_eq!(text("\u{7}a\r\nb\u{1b}[31mc\u{0}\td\u{85}\u{9b}  \n\n"), "a\nb[31mc\td");
        assert_eq!(text("<script>alert(1)</script>"), "<script>alert(1)</script>");
    }

    #[test]
    fn thoughts_and_a_fence_around_everything_are_removed() {
        assert_eq!(text("<think>\nhm\n</think>\n\nThe answer"), "The answer");
        assert_eq!(text("<think>for ever"), "");
        assert_eq!(text("```markdown\n## A\n\nb\n```"), "## A\n\nb");
        assert_eq!(text("```\na\n```\nb\n```\nc\n```"), "```\na\n```\nb\n```\nc\n```");
    }
}
