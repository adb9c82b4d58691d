//! What can be typed: the query language by example, and the keys.

use askama::Template;
use serde_json::json;

use super::Frame;
use crate::call::Call;
use crate::reply::Answer;
use crate::shown::link;

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage {
    frame: Frame,
    examples: Vec<(&'static str, String, &'static str)>,
    keys: [(&'static str, &'static str); 7],
}

const EXAMPLES: [(&str, &str); 16] = [
    ("cat dog", "both words in one answer"),
    ("cat OR dog", "one of them"),
    ("\"open language\"", "these words, one behind the other"),
    ("-draft", "no answer has this word"),
    ("scal*", "words that begin like this"),
    ("*16tg*", "these letters anywhere: OCR glues words together"),
    ("analyzer:tesseract-ocr chart", "only in what this analyzer read"),
    (
        "is:failed",
        "also done, empty, skipped, partial, flagged, older, complete, incomplete, refused, same",
    ),
    ("has:tesseract-ocr", "it has a text by this analyzer; missing: is the opposite"),
    ("conf:<60", "the reader was unsure"),
    ("after:2024-05 before:2024-06", "first seen in May 2024"),
    ("source:example.org", "seen at an address or path with this in it"),
    ("batch:pictures", "brought in by this batch"),
    ("format:png model:gemma3", "by format, or by the name of the model"),
    ("bytes < 20MB and not width < 640", "by length of the file, and size in pixels"),
    ("like:cfbfaddac8ae", "looks like the image whose digest begins so"),
];

const KEYS: [(&str, &str); 7] = [
    ("/", "to the search field"),
    ("j  k", "next and previous: record, or card of a list"),
    ("o", "open the card, or the original image"),
    ("c", "compare the answers of a record"),
    ("b", "show or hide the boxes of the words"),
    ("g", "to the gallery"),
    ("?", "this page"),
];

/// `GET /help`, `/help.json`
pub(crate) async fn page(call: Call) -> Answer {
    if call.wants_json() {
        let queries = EXAMPLES.map(|(query, what)| json!({ "query": query, "what": what }));
        let keys = KEYS.map(|(key, what)| json!({ "key": key, "what": what }));
        return call.json(&json!({ "queries": queries, "keys": keys }));
    }
    let examples = EXAMPLES.map(|(query, what)| (query, link("/search", &[("q", query)]), what));
    call.page(&HelpPage { frame: call.frame("help"), examples: examples.to_vec(), keys: KEYS })
}

#[cfg(test)]
mod tests {
    use ocelli_catalog::query::Query;

    #[test]
    fn every_example_is_a_query() {
        for (query, _) in super::EXAMPLES {
            Query::parse(query).unwrap();
        }
    }
}
