use ocelli_core::{BatchId, Digest, ImageFacts, ImageFormat, Meta, SourceUri};

use super::*;

fn rule(analyzers: &[&str], when: &str, after: &[&str]) -> Result<Rule, RuleError> {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let text = RuleText { name: "a-rule".to_owned(), when: when.to_owned() };
    let source = RuleSource { text, analyzers: names(analyzers), after: names(after) };
    Rule::new(source, &QueryLimits::default())
}

fn said(when: &str) -> String {
    rule(&["dear"], when, &[]).unwrap_err().to_string()
}

fn decide(rules: &[Rule], bytes: u64, source: &str) -> Verdict {
    let image = ImageFacts {
        digest: Digest::of(b"x"),
        bytes,
        format: Some(ImageFormat::Png),
        width: Some(640),
        height: None,
    };
    let source: SourceUri = source.parse().unwrap();
    let seeing = Seeing {
        image: &image,
        source: &source,
        seen_at: "2024-05-04T09:00:51Z".parse().unwrap(),
        batch: BatchId::new(uuid::Uuid::nil()),
        batch_name: "pictures",
        meta: &Meta::default(),
    };
    Rules::new(rules.to_vec()).decide(&"dear".parse().unwrap(), &seeing)
}

#[test]
fn an_analyzer_is_asked_where_every_rule_about_it_holds() {
    let small = rule(&["dear"], "bytes < 20MB and not source:thumbs/", &[]).unwrap();
    let other = rule(&["other"], "bytes < 1", &[]).unwrap();
    let rules = [small.clone(), other];
    assert_eq!(decide(&rules, 5, "file:///a.png"), Verdict::Asked);
    assert_eq!(decide(&rules, 20_000_000, "file:///a.png"), Verdict::LeftOut(small.text().clone()));
    assert_eq!(decide(&rules, 5, "file:///thumbs/a.png"), Verdict::LeftOut(small.text().clone()));
}

#[test]
fn what_nobody_knows_about_an_image_does_not_hold_and_its_opposite_does() {
    let holds =
        |when: &str| decide(&[rule(&[], when, &[]).unwrap()], 5, "file:///a.png") == Verdict::Asked;
    assert!(!holds("height > 0") && holds("not height > 0") && !holds("pixels >= 0"));
    assert!(holds("format:png") && holds("batch:pictures") && !holds("batch:picture"));
    assert!(holds("after:2024") && !holds("before:2024") && holds("width:640..640"));
    assert!(holds("batch:00000000-0000-0000-0000-000000000000"));
}

#[test]
fn answers_are_waited_for_only_where_the_image_does_not_decide() {
    let read = rule(&[], "has:tesseract-ocr bytes < 10", &[]).unwrap();
    let later = Verdict::Later {
        rules: vec![read.text().clone()],
        after: vec!["tesseract-ocr".parse().unwrap()],
    };
    let rules = std::slice::from_ref(&read);
    assert_eq!(decide(rules, 5, "file:///a.png"), later);
    assert_eq!(decide(rules, 50, "file:///a.png"), Verdict::LeftOut(read.text().clone()));
    let either = rule(&[], "invoice OR bytes < 10", &["tesseract-ocr"]).unwrap();
    assert_eq!(decide(&[either], 5, "file:///a.png"), Verdict::Asked);
    assert!(!read.covers(&"tesseract-ocr".parse().unwrap()), "it would wait for itself");
    let small = rule(&[], "bytes < 1", &[]).unwrap();
    let left_out = Verdict::LeftOut(small.text().clone());
    assert_eq!(decide(&[read, small], 5, "file:///a.png"), left_out, "the other one decides");
}

#[test]
fn what_is_no_rule_is_said_with_its_reason() {
    assert_eq!(said(""), "an empty query holds for every image: the rule would do nothing");
    assert_eq!(said("(bytes < 1"), "there is no ')' for the '(' at character 1");
    assert!(said("is:complete").starts_with("'is:complete' cannot be decided before an analyzer"));
    assert!(said("like:cfbf or bytes < 1").starts_with("'like:cfbf' cannot be decided"));
    assert!(said("lang:eng").starts_with("'lang:eng' is about an answer: name the analyzers"));
    assert!(said("-invoice").starts_with("'invoice' is about an answer"));
    assert!(said("format:png or invoice").starts_with("'or' is a word to look for"));
    assert!(said("has:dear").ends_with("it would wait for itself"));
}
