//! Answers of models as HTML. They are hostile input: whoever puts text into an image may make a model write anything.
//!
//! Markdown becomes HTML without raw HTML and without images, and what comes out is cleaned once more by a parser that keeps
//! only what is listed here.

use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use comrak::arena_tree::NodeEdge;
use comrak::nodes::{Node, NodeValue};
use comrak::{Arena, Options, format_html, parse_document};
use ocelli_catalog::query::Query;

use crate::shown::{escaped, parts, plain};

/// Longer answers are shown as they are: nobody formats that much, and rendering it would cost everybody.
const LONGEST: usize = 64 * 1024;

/// Answers with more in one another than this are shown as they are, too: no prose does that, and cleaning it takes the square of its
/// depth.
const DEEPEST: usize = 100;

/// The level of the highest heading of an answer: below the page's title and the analyzer's name.
const HIGHEST: u8 = 3;

static CLEAN: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut clean = Builder::empty();
    clean
        .add_tags([
            "a",
            "b",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "i",
            "li",
            "mark",
            "ol",
            "p",
            "pre",
            "strong",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ])
        .add_clean_content_tags(["script", "style"])
        .add_tag_attributes("a", ["href"])
        .add_tag_attributes("ol", ["start"])
        .add_tag_attributes("th", ["align"])
        .add_tag_attributes("td", ["align"])
        .add_url_schemes(["http", "https"])
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    clean
});

/// The answer as HTML, with the words of `query` marked; none when it is too long or too deep for that.
pub(crate) fn html(text: &str, query: Option<&Query>) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let text = plain(text);
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.render.hardbreaks = false;
    // Raw HTML is shown as text. The marks below are the only HTML that is let through, and they are made here.
    options.render.escape = true;
    let arena = Arena::new();
    let root = parse_document(&arena, &text, &options);
    if is_too_deep(root) {
        return None;
    }
    let highest = root.descendants().filter_map(|node| level(&node.data.borrow().value)).min();
    let down = HIGHEST.saturating_sub(highest.unwrap_or(HIGHEST));
    for node in root.descendants() {
        let value = &mut node.data.borrow_mut().value;
        match value {
            NodeValue::Heading(heading) => {
                heading.level = heading.level.saturating_add(down).clamp(HIGHEST, 6);
            }
            // Nothing is loaded from anywhere; what it shows is written instead.
            NodeValue::Image(_) => *value = NodeValue::Emph,
            NodeValue::Text(text) => {
                if let Some(query) = query {
                    let marks = query.marks(text);
                    if !marks.is_empty() {
                        *value = NodeValue::Raw(marked(text, &marks));
                    }
                }
            }
            _ => {}
        }
    }
    let mut html = String::with_capacity(text.len() * 2);
    format_html(root, &options, &mut html).ok()?;
    Some(CLEAN.clean(&html).to_string())
}

fn is_too_deep(root: Node<'_>) -> bool {
    let mut depth = 0;
    root.traverse().any(|edge| {
        match edge {
            NodeEdge::Start(_) => depth += 1,
            NodeEdge::End(_) => depth -= 1,
        }
        depth > DEEPEST
    })
}

fn level(value: &NodeValue) -> Option<u8> {
    if let NodeValue::Heading(heading) = value { Some(heading.level) } else { None }
}

fn marked(text: &str, marks: &[(usize, usize)]) -> String {
    let mut html = String::with_capacity(text.len() + marks.len() * 13);
    for part in parts(text, marks) {
        if part.lit {
            html.push_str("<mark>");
        }
        html.push_str(&escaped(&part.text));
        if part.lit {
            html.push_str("</mark>");
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_of_a_model_becomes_headings_lists_and_emphasis() {
        let html = html(
            "## Visual Description\n\nA *chart* of **models**:\n\n1. one\n2. two\n\n#### Deeper",
            None,
        );
        let html = html.unwrap();
        for part in
            ["<h3>Visual Description</h3>", "<em>chart</em>", "<li>one</li>", "<h5>Deeper</h5>"]
        {
            assert!(html.contains(part), "{html}");
        }
    }

    #[test]
    fn nothing_that_a_model_writes_runs_or_loads_anything() {
        let hostile = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](https://tracker.example/a.png)",
            "[click](javascript:alert(1))",
            "[click](data:text/html;base64,PHNjcmlwdD4=)",
            "<a href=\"jav\tascript:alert(1)\">x</a>",
            "<svg><style><img src=x onerror=alert(1)></style></svg>",
            "<iframe src=//evil></iframe>",
            "<style>*{display:none}</style>",
            "[a](<https://x\" onmouseover=\"alert(1)>)",
            "<mark onclick=alert(1)>x</mark>",
            "<form action=//evil><input name=token></form>",
            "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)>",
            "[x]: javascript:alert(1)\n\n[x]",
            "`</code><script>alert(1)</script>`",
            "| <script> |\n|---|\n| <img src=x onerror=alert(1)> |",
        ];
        for text in hostile {
            let html = html(text, Some(&Query::parse("alert x script").unwrap())).unwrap();
            let lower = html.to_lowercase();
            for bad in ["<script", "<img", "<svg", "<iframe", "<style", "<form", "<input", "<math"]
            {
                assert!(!lower.contains(bad), "{text}: {html}");
            }
            for tag in lower.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
                for bad in [" on", "javascript", "data:", "style="] {
                    assert!(!tag.contains(bad), "{text}: {html}");
                }
            }
        }
    }

    #[test]
    fn the_words_of_a_query_are_marked_in_what_is_read_and_not_in_its_markup() {
        let query = Query::parse("models").unwrap();
        let html = html("A *chart* of **Models** <models>", Some(&query)).unwrap();
        assert!(html.contains("<strong><mark>Models</mark></strong>"), "{html}");
        assert!(!html.contains("<models"), "{html}");
    }

    #[test]
    fn what_is_nested_without_end_or_too_long_does_no_harm() {
        let endless = |unit: &str| unit.repeat(LONGEST / unit.len());
        for unit in ["[", "*a **b ", "- ", "`", "<b>", "|"] {
            assert!(html(&endless(unit), None).is_some(), "{unit}");
        }
        for unit in [">", "+ "] {
            assert!(html(&endless(unit), None).is_none(), "{unit}");
        }
        assert!(html(&"> ".repeat(DEEPEST - 2), None).is_some());
        assert_eq!(html(&"a".repeat(LONGEST + 1), None), None);
    }
}
