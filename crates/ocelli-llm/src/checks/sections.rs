//! A Markdown answer, cut at its headings. Models write `## Visual Description` as `# 1. Visual Description:`,
//! `**Visual Description**` or `Visual Description` with a line of equal signs below: all of these are the same heading.

use ocelli_core::Section;

/// The heading given to the closing paragraph that begins with a bold "Disclaimer:".
pub const DISCLAIMER: &str = "Disclaimer";

/// Cuts a text at its headings. A heading that is one of `required` gets that spelling. Text before the first heading
/// becomes a section without heading; a text without headings has no sections.
#[must_use]
pub fn parse(text: &str, required: &[String]) -> Vec<Section> {
    let lines = marked(text, required);
    let level = cutting_level(&lines);
    let mut sections: Vec<Section> = Vec::new();
    let mut found = false;
    let mut current = Section { heading: String::new(), text: String::new() };
    for line in &lines {
        let heading = match &line.mark {
            Some(Mark::Required(name)) => Some(name.clone()),
            Some(Mark::Other { level: this, text }) if level.is_some_and(|l| *this <= l) => {
                Some(text.clone())
            }
            Some(Mark::Disclaimer) if found => Some(DISCLAIMER.to_owned()),
            _ => None,
        };
        let Some(heading) = heading else {
            current.text.push_str(line.rest);
            current.text.push('\n');
            continue;
        };
        found = true;
        let next = Section { heading, text: format!("{}\n", line.after_heading()) };
        sections.push(std::mem::replace(&mut current, next));
    }
    sections.push(current);
    if !found {
        return Vec::new();
    }
    for section in &mut sections {
        section.text = section.text.trim().to_owned();
    }
    // A title above everything, and nothing before the first heading, say nothing.
    sections.retain(|section| !section.text.is_empty() || required.contains(&section.heading));
    sections
}

/// The required headings that have no section with text.
#[must_use]
pub fn missing(sections: &[Section], required: &[String]) -> Vec<String> {
    let has = |name: &String| sections.iter().any(|s| s.heading == *name && !s.text.is_empty());
    required.iter().filter(|name| !has(name)).cloned().collect()
}

struct Line<'a> {
    rest: &'a str,
    mark: Option<Mark>,
}

enum Mark {
    Required(String),
    Other { level: usize, text: String },
    Disclaimer,
}

impl Line<'_> {
    /// What stands behind "**Disclaimer:**" in its line.
    fn after_heading(&self) -> &str {
        if !matches!(self.mark, Some(Mark::Disclaimer)) {
            return "";
        }
        self.rest.split_once(':').map_or("", |(_, rest)| rest).trim_start_matches(['*', '_', ' '])
    }
}

/// Finds out which lines are headings. Lines inside of code fences are not.
fn marked<'a>(text: &'a str, required: &[String]) -> Vec<Line<'a>> {
    let all: Vec<&str> = text.lines().collect();
    let mut lines = Vec::with_capacity(all.len());
    let mut fenced = false;
    let mut index = 0;
    while index < all.len() {
        let rest = all[index];
        index += 1;
        let trimmed = rest.trim();
        if trimmed.starts_with("```") {
            fenced = !fenced;
        }
        let mut mark = if fenced { None } else { mark(trimmed, required) };
        let below = all.get(index).map_or("", |line| line.trim());
        let underlined = below.len() >= 3
            && (below.chars().all(|c| c == '=') || below.chars().all(|c| c == '-'));
        if !fenced && underlined && !trimmed.is_empty() && !trimmed.starts_with('|') {
            // The line below belongs to the heading (Setext). A rule below ordinary prose is one too in Markdown, but
            // models mean a separator: only short lines count.
            let level = if below.starts_with('=') { 1 } else { 2 };
            if matches!(mark, Some(Mark::Required(_))) {
                index += 1;
            } else if mark.is_none() && below.starts_with('=') && trimmed.chars().count() <= 80 {
                mark = Some(Mark::Other { level, text: bare(trimmed) });
                index += 1;
            }
        }
        lines.push(Line { rest, mark });
    }
    lines
}

fn mark(line: &str, required: &[String]) -> Option<Mark> {
    if line.is_empty() || line.chars().count() > 160 && !line.starts_with(['*', 'D', '#']) {
        return None;
    }
    let hashes = line.chars().take_while(|c| *c == '#').count();
    let is_heading = (1..=6).contains(&hashes) && line[hashes..].starts_with([' ', '\t', '*']);
    let plain = normal(if is_heading { &line[hashes..] } else { line });
    let same = |name: &&String| {
        let name = normal(name);
        plain == name || is_heading && plain.strip_prefix(&name).is_some_and(|r| r.starts_with(' '))
    };
    if let Some(name) = required.iter().find(same) {
        return Some(Mark::Required(name.clone()));
    }
    let bold_start = line.trim_start_matches(['*', '_']);
    if bold_start.len() < line.len() || line.starts_with("Disclaimer:") {
        let lower = bold_start.get(..10).unwrap_or_default().to_ascii_lowercase();
        if lower == "disclaimer" && bold_start[10..].trim_start_matches(['*', '_']).starts_with(':')
        {
            return Some(Mark::Disclaimer);
        }
    }
    is_heading.then(|| Mark::Other { level: hashes, text: bare(&line[hashes..]) })
}

/// The level at which a text is cut: that of its required headings where it has some, else the highest level that is used
/// more than once, else the highest.
fn cutting_level(lines: &[Line<'_>]) -> Option<usize> {
    let level = |line: &Line<'_>| {
        let hashes = line.rest.trim().chars().take_while(|c| *c == '#').count();
        if hashes == 0 { None } else { Some(hashes) }
    };
    let required = lines.iter().filter(|line| matches!(line.mark, Some(Mark::Required(_))));
    let mut required = required.peekable();
    if required.peek().is_some() {
        // Required headings in bold have no level: any real heading cuts then.
        return Some(required.filter_map(level).min().unwrap_or(6));
    }
    let others: Vec<usize> = lines
        .iter()
        .filter_map(|line| match line.mark {
            Some(Mark::Other { level, .. }) => Some(level),
            _ => None,
        })
        .collect();
    let often = |l: &usize| others.iter().filter(|other| *other == l).count() > 1;
    others.iter().filter(|l| often(l)).min().or_else(|| others.iter().min()).copied()
}

/// A heading without numbering, emphasis and closing marks.
fn bare(text: &str) -> String {
    let text = text.trim().trim_end_matches('#').trim();
    let text = text.trim_matches(|c: char| matches!(c, '*' | '_' | '`') || c.is_whitespace());
    let text = without_number(text);
    let text = text.trim_matches(|c: char| matches!(c, '*' | '_' | '`') || c.is_whitespace());
    text.trim_end_matches(':').trim_end_matches(['*', '_']).trim().to_owned()
}

/// `1.`, `1)`, `(1)`, `IV.`, `a)` at the beginning.
fn without_number(text: &str) -> &str {
    let rest = text.trim_start_matches('(');
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    let numeric = number.chars().all(|c| c.is_ascii_digit())
        || number.chars().all(|c| "IVXivx".contains(c))
        || number.len() == 1;
    match after.strip_prefix(['.', ')', ':']) {
        Some(after) if numeric && !number.is_empty() && number.len() <= 5 => {
            let after = after.trim_start_matches(['*', '_']);
            if after.starts_with(char::is_whitespace) { after.trim_start() } else { text }
        }
        _ => text,
    }
}

/// For comparing: letters and digits in lower case, everything else one space.
fn normal(text: &str) -> String {
    let bare = bare(text);
    let spaced: String = bare.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] =
        ["Visual Description", "Critical Theory", "Queer Feminist Intersectional Analysis"];

    fn required() -> Vec<String> {
        NAMES.map(str::to_owned).to_vec()
    }

    fn headings(text: &str) -> Vec<String> {
        parse(text, &required()).into_iter().map(|section| section.heading).collect()
    }

    #[test]
    fn the_same_headings_are_found_however_a_model_writes_them() {
        let styles: [[&str; 3]; 10] = [
            [
                "## Visual Description",
                "## Critical Theory",
                "## Queer Feminist Intersectional Analysis",
            ],
            [
                "# Visual Description",
                "# Critical Theory",
                "# Queer Feminist Intersectional Analysis",
            ],
            [
                "### 1. Visual Description:",
                "### 2. Critical Theory:",
                "### 3. Queer Feminist Intersectional Analysis:",
            ],
            [
                "**Visual Description**",
                "**Critical Theory**",
                "**Queer Feminist Intersectional Analysis**",
            ],
            [
                "**1. Visual Description:**",
                "**2. Critical Theory:**",
                "**3. Queer-Feminist Intersectional Analysis:**",
            ],
            [
                "## **Visual Description**",
                "## **Critical Theory**",
                "## **Queer Feminist Intersectional Analysis**",
            ],
            [
                "1. **Visual Description**",
                "2. **Critical Theory**",
                "3. **Queer Feminist Intersectional Analysis**",
            ],
            [
                "I. Visual Description",
                "II. Critical Theory",
                "III. QUEER FEMINIST INTERSECTIONAL ANALYSIS",
            ],
            [
                "Visual Description\n---",
                "Critical Theory\n===",
                "Queer Feminist Intersectional Analysis\n---",
            ],
            [
                "## Visual Description ##",
                "## Critical Theory (Frankfurt School)",
                "## Queer Feminist Intersectional Analysis",
            ],
        ];
        for style in styles {
            let text = style.map(|heading| format!("{heading}\n\nSome text.\n")).join("\n");
            let sections = parse(&text, &required());
            let found: Vec<_> = sections.iter().map(|s| s.heading.as_str()).collect();
            assert_eq!(found, NAMES, "{text}");
            assert!(sections.iter().all(|s| s.text == "Some text."), "{text} {sections:?}");
            assert!(missing(&sections, &required()).is_empty());
        }
    }

    #[test]
    fn deeper_headings_stay_inside_and_other_headings_become_sections() {
        let text = "# Analysis\n\n## Visual Description\n\na\n\n### Colours\n\nb\n\n## Extra\n\nc\n\n## Critical Theory\n\nd";
        let sections = parse(text, &required());
        assert_eq!(headings(text), ["Visual Description", "Extra", "Critical Theory"]);
        assert_eq!(sections[0].text, "a\n\n### Colours\n\nb");
    }

    #[test]
    fn the_disclaimer_is_a_section_of_its_own_wherever_its_colon_stands() {
        for line in [
            "**Disclaimer:** One reading.",
            "**Disclaimer**: One reading.",
            "Disclaimer: One reading.",
        ] {
            let sections = parse(&format!("## Critical Theory\n\na\n\n{line}\nMore."), &required());
            assert_eq!(sections.len(), 2, "{line}");
            assert_eq!(sections[1].heading, DISCLAIMER);
            assert_eq!(sections[1].text, "One reading.\nMore.");
        }
    }

    #[test]
    fn text_before_the_first_heading_is_kept_without_heading() {
        let sections = parse("Sure!\n\n## Critical Theory\n\na", &required());
        assert_eq!((sections[0].heading.as_str(), sections[0].text.as_str()), ("", "Sure!"));
    }

    #[test]
    fn missing_and_empty_sections_are_told() {
        let sections = parse("## Visual Description\n\na\n\n## Critical Theory\n", &required());
        assert_eq!(missing(&sections, &required()), [NAMES[1], NAMES[2]]);
    }

    #[test]
    fn a_mention_in_prose_and_a_heading_in_a_code_block_cut_nothing() {
        let text = "## Visual Description\n\nCritical Theory would say that\n```\n## Critical Theory\n```\nend";
        assert_eq!(headings(text), ["Visual Description"]);
        assert!(parse("Just a paragraph about Critical Theory.", &required()).is_empty());
        assert!(parse("Disclaimer: nothing else", &[]).is_empty());
    }

    #[test]
    fn without_required_names_the_headings_of_the_answer_cut_it() {
        let cut = |text| parse(text, &[]).into_iter().map(|s| s.heading).collect::<Vec<_>>();
        assert_eq!(cut("# Title\n\n## One\n\na\n\n## 2. Two\n\nb"), ["One", "Two"]);
        assert_eq!(cut("## One\n\na\n### Deeper\nb"), ["One"]);
        assert_eq!(cut("**bold** text\n\n1. a list"), [""; 0]);
    }

    #[test]
    fn strange_text_is_cut_without_panic() {
        for text in [
            "#",
            "######## x",
            "**",
            "(((",
            "ÄÖÜ: ß",
            "D",
            "Disclaimer",
            "**Disclaimer",
            "## 1.",
            "```",
        ] {
            let _ = parse(text, &required());
        }
    }
}
