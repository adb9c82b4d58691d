//! Agreement on answers as models give them: those of the record that this project began with, and others like it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use jiff::Timestamp;
use ocelli_core::agreement::{Agreement, Pair};
use ocelli_core::{Analysis, Outcome, Provenance, Reading, RevisionBuilder};

const OCR: &str = "conor Llama 3 70B\n- 80\nScaling Open\nLanguage Models\n«less compute\nActive Param x Training Tokens, log scale — more compute\nMMLU\nQwen1.5 72B  Mixtral 8x22B\nDBRX";

const GEMMA: &str = "## Visual Description\nThe image is a scatter plot titled \"Scaling Open Language Models\". The vertical axis is labeled \
\"MMLU\" and the horizontal axis reads “Active Param × Training Tokens, log scale”, from “less compute” on the left to “more \
compute” on the right. Models such as `Llama 3 70B` and `Mixtral 8x22B` are marked.\n\n## Foucauldian Genealogical Discourse Analysis\nThe chart \
produces a \"truth\" about progress; the \"model\" becomes a subject of comparison.\n\n## Critical Theory\nThe culture industry of \
benchmarks …\n\n## Marxist Conflict Theory\nCompute is capital.\n\n## Postmodernism\nThe grand narrative of \"more is better\" stands \
beside no alternative.\n\n## Queer Feminist Intersectional Analysis\nWho is absent from the plot?\n\n**Disclaimer:** This is one reading among many.";

const LLAMA: &str = "The meme is a humorous image that shows a graph of the size of popular AI models. The text reads: \"Scaling Open Language \
Models\" and the caption at the bottom says \"when the intern finds the GPU cluster password\".";

fn answer(name: &str, text: &str, is_ocr: bool) -> Analysis {
    Analysis {
        analyzer: name.parse().unwrap(),
        revision: RevisionBuilder::new("t").part("name", name).build(),
        outcome: Outcome::Done(Reading {
            text: text.to_owned(),
            languages: is_ocr.then(|| "eng".to_owned()),
            ..Reading::default()
        }),
        attempts: 1,
        finished_at: Timestamp::UNIX_EPOCH,
        provenance: Provenance::default(),
    }
}

fn texts(quotes: &[ocelli_core::agreement::Quote]) -> Vec<&str> {
    quotes.iter().map(|quote| quote.text.as_str()).collect()
}

fn pair<'a>(all: &'a Agreement, a: &str, b: &str) -> &'a Pair {
    all.pairs.iter().find(|pair| pair.a.as_str() == a && pair.b.as_str() == b).unwrap()
}

#[test]
fn what_three_analyzers_say_about_a_chart_is_told_apart() {
    let answers = [
        answer("gemma3-27b-vision", GEMMA, false),
        answer("tesseract-ocr", OCR, true),
        answer("llama3.2-vision", LLAMA, false),
    ];
    let all = Agreement::of(&answers);
    assert_eq!(all.pairs.len(), 3);
    let described = pair(&all, "gemma3-27b-vision", "tesseract-ocr");
    assert_eq!(
        texts(&described.supported),
        [
            "Scaling Open Language Models",
            "MMLU",
            "Active Param × Training Tokens, log scale",
            "less compute",
            "more compute",
            "Llama 3 70B",
            "Mixtral 8x22B",
        ],
        "{described:?}"
    );
    // A phrase of the writer's own, in quotation marks.
    assert_eq!(texts(&described.unsupported), ["more is better"]);
    assert!((0.8..1.0).contains(&described.score), "{}", described.score);
    let explained = pair(&all, "llama3.2-vision", "tesseract-ocr");
    assert_eq!(texts(&explained.supported), ["Scaling Open Language Models"]);
    assert_eq!(texts(&explained.unsupported), ["when the intern finds the GPU cluster password"]);
    assert!((0.2..0.6).contains(&explained.score), "{}", explained.score);
    let models = pair(&all, "gemma3-27b-vision", "llama3.2-vision");
    assert!(texts(&models.supported).contains(&"Scaling Open Language Models"));
    assert!(models.score < described.score, "{models:?}");
}

#[test]
fn the_order_of_the_answers_and_errors_of_ocr_change_nothing_that_matters() {
    let garbled = OCR
        .replace("Scaling Open\nLanguage", "Scallng 0pen\nLangua ge")
        .replace("compute", "cornpute");
    let mut answers = vec![
        answer("a-model", GEMMA, false),
        answer("b-model", LLAMA, false),
        answer("ocr", &garbled, true),
        answer("ocr-2", OCR, true),
    ];
    let all = Agreement::of(&answers);
    assert_eq!(pair(&all, "a-model", "ocr").unsupported.len(), 1, "{all:?}");
    assert!(pair(&all, "ocr", "ocr-2").score > 0.7);
    answers.reverse();
    assert_eq!(Agreement::of(&answers), all);
    answers.rotate_left(1);
    assert_eq!(Agreement::of(&answers), all);
}

#[test]
fn who_quotes_nothing_or_reads_nothing_is_in_no_pair() {
    let silent = answer("silent", "A cat sits on a mat and looks at the viewer.", false);
    let blind = Analysis { outcome: Outcome::Empty, ..answer("blind", "", true) };
    assert!(Agreement::of(&[silent.clone(), answer("ocr", OCR, true), blind]).pairs.is_empty());
    assert!(Agreement::of(&[silent]).pairs.is_empty());
    // What was invented over an image without that text is found out.
    let liar = answer("liar", "The sign reads \"Free beer for everybody\".", false);
    let all = Agreement::of(&[liar, answer("ocr", OCR, true)]);
    assert_eq!((all.pairs[0].score, all.pairs[0].unsupported.len()), (0.0, 1));
}

#[test]
fn hostile_answers_cost_no_more_than_others() {
    let long = "\"abcdefgh ijklmnop qrstuvwx\" says \u{301}\u{200d}".repeat(50_000);
    let all =
        Agreement::of(&[answer("a", &long, false), answer("b", &"x".repeat(5_000_000), true)]);
    assert_eq!(all.pairs.len(), 1);
    let marks = "“«„\"`「".repeat(200_000);
    assert!(Agreement::of(&[answer("a", &marks, false), answer("b", OCR, true)]).pairs.is_empty());
}
