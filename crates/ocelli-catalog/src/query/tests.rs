use proptest::prelude::*;

use super::*;

fn printed(text: &str) -> String {
    Query::parse(text).unwrap().to_string()
}

fn wrong(text: &str) -> String {
    Query::parse(text).unwrap_err().to_string()
}

#[test]
fn words_phrases_prefixes_and_insides_are_told_apart() {
    assert_eq!(printed(" Scaling  LANGUAGE "), "scaling language");
    assert_eq!(
        printed("\"Open, Language Models\" Llam* *16tg* *ing"),
        "\"open language models\" llam* *16tg* *ing"
    );
    assert_eq!(printed("RE16-TGK don't 12:30"), "\"re16 tgk\" \"don t\" \"12 30\"");
    assert_eq!(printed("\"open lang\"* *\"pen lan\"*"), "\"open lang\"* *\"pen lan\"*");
    assert_eq!(printed("東京 京*"), "\"東 京\" \"京\"*");
    assert_eq!(printed(""), "");
}

#[test]
fn or_binds_weaker_than_a_blank_and_groups_bind_stronger() {
    assert_eq!(printed("a b OR c | d"), "(a b) OR c OR d");
    assert_eq!(printed("a (b OR (c OR d)) -(e f) --g"), "a (b OR c OR d) -(e f) --g");
    assert_eq!(printed("or ORB (a)"), "\"or\" orb a");
}

#[test]
fn filters_are_read_and_printed() {
    for text in [
        "analyzer:tesseract-ocr",
        "has:text",
        "has:llama3.2-vision",
        "missing:tesseract-ocr",
        "is:partial",
        "lang:eng",
        "conf:<60",
        "conf:>=99.5",
        "conf:60..80.25",
        "before:2024-05-04T09:00:51Z",
        "source:https://example.org/a?b",
        "source:\"a b\\\\c \\\" (\"",
        "batch:pictures",
        "model:gemma3",
        "format:png",
        "agreement:<0.5",
        "agreement:0.25..0.75",
        "like:cfbfaddac8ae",
        "like:cfbf~11",
        "bytes:<20MB",
        "bytes:512KiB..3TB",
        "width:>=640",
        "height:=1",
        "pixels:<=2MP",
    ] {
        assert_eq!(printed(text), text);
    }
    assert_eq!(
        printed("after:2024 before:2024-05 before:2024-02-29 model:GEMMA"),
        "after:2024-01-01T00:00:00Z before:2024-05-01T00:00:00Z before:2024-02-29T00:00:00Z model:gemma"
    );
}

#[test]
fn numbers_of_images_are_compared_with_and_without_blanks() {
    for text in ["bytes < 20MB", "bytes <20 MB", "bytes<20000000", "bytes:<20mb", "bytes  < 20MB"] {
        assert_eq!(printed(text), "bytes:<20MB", "{text}");
    }
    assert_eq!(printed("width >= 640 height<= 480"), "width:>=640 height:<=480");
    assert_eq!(printed("bytes width 20MB"), "bytes width 20mb");
}

#[test]
fn operators_may_be_words_where_words_follow() {
    let rule = "bytes < 20MB and not source:thumbs/";
    assert_eq!(printed(rule), "bytes:<20MB -source:thumbs/");
    assert_eq!(printed("bytes < 20MB AND NOT source:thumbs/"), printed(rule));
    assert_eq!(printed("lang:eng or not (cat and width > 5)"), "lang:eng OR -(cat width:>5)");
    assert_eq!(printed("not not is:done"), "--is:done");
    assert_eq!(printed("cat and dog"), "cat \"and\" dog");
    assert_eq!(printed("to be or not to be"), "to be \"or\" \"not\" to be");
    assert_eq!(printed("\"and\" lang:eng \"not\" (a b)"), "\"and\" lang:eng \"not\" a b");
    assert_eq!(printed("Not lang:eng and"), "\"not\" lang:eng \"and\"");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    assert_eq!(
        wrong("cat analyser:x"),
        "unknown filter 'analyser:' at character 5; did you mean 'analyzer:'?"
    );
    assert!(
        wrong("http://x.org")
            .starts_with("unknown filter 'http:' at character 1; put it in quotes")
    );
    for (text, said) in [
        ("a (b", "there is no ')' for the '(' at character 3"),
        ("a) b", "there is no '(' for the ')' at character 2"),
        ("é \"b", "there is no second '\"' for the one at character 3"),
        ("a OR", "nothing stands behind the OR at character 3"),
        ("OR a", "nothing stands before the OR at character 1"),
        ("a AND", "nothing stands behind the AND at character 3"),
        ("a AND OR b", "nothing stands behind the AND at character 3"),
        ("AND a", "nothing stands before the AND at character 1"),
        ("a NOT", "nothing stands behind the NOT at character 3"),
        (
            "bytes < 20kg",
            "at character 1: bytes: takes <20MB, <=20MB, >512KiB, >=512KiB, =1000 or 1MB..20MB, not '<20kg'",
        ),
        ("pixels:", "'pixels:' has no value (as in pixels:>2MP) at character 1"),
        ("a ()", "nothing stands in the '()' at character 3"),
        ("a - b", "nothing stands behind the '-' at character 3"),
        ("a & b", "'&' has no letter or digit to look for at character 3"),
        ("a*b", "a '*' stands inside a word, not before or behind it, at character 1"),
        ("*ab", "behind a '*' at least 3 letters or digits must stand: too few at character 1"),
        ("a*", "before a '*' at least 2 letters or digits must stand: too few at character 1"),
        ("lang:", "'lang:' has no value (as in lang:eng) at character 1"),
        (
            "is:red",
            "at character 1: is: takes one of done, empty, skipped, failed, partial, flagged, older, complete, incomplete, refused, same, not 'red'",
        ),
        (
            "conf:60",
            "at character 1: conf: takes <60, <=60, >60, >=60 or 60..80 (0 to 100), not '60'",
        ),
        (
            "conf:<101",
            "at character 1: conf: takes <60, <=60, >60, >=60 or 60..80 (0 to 100), not '<101'",
        ),
        (
            "conf:<999",
            "at character 1: conf: takes <60, <=60, >60, >=60 or 60..80 (0 to 100), not '<999'",
        ),
        (
            "agreement:<60",
            "at character 1: agreement: takes <0.5, <=0.5, >0.5, >=0.5 or 0.5..0.75 (0 to 1), not '<60'",
        ),
        ("format:exe", "at character 1: 'exe' is no image format; one is 'png', another 'jpeg'"),
    ] {
        assert_eq!(wrong(text), said, "{text}");
    }
    assert!(wrong("before:2024-13").contains("before: takes a year"));
    assert!(wrong("has:A").contains("is not an analyzer name"));
    assert_eq!(Query::parse("cat dgo:x").unwrap_err().character, 5);
}

#[test]
fn length_number_and_depth_are_bounded() {
    assert!(wrong(&"x".repeat(5_000_000)).contains("has 5000000 characters; at most 4000"));
    assert!(wrong(&"ab ".repeat(65)).contains("more than 64 words and filters"));
    assert!(wrong(&"(".repeat(1000)).contains("groups stand more than 16 deep"));
    assert!(wrong(&format!("{}a", "-".repeat(1000))).contains("groups stand more than 16 deep"));
    assert!(wrong(&"x".repeat(201)).contains("more than 200 characters"));
    // Looked at once each, and not once more for every one before it: else this would never end.
    assert!(wrong(&format!("not {}x", "-not ".repeat(700))).contains("more than"));
    assert!(wrong(&format!("source:{}", "x".repeat(201))).contains("more than 200 characters"));
}

#[test]
fn the_limits_are_those_that_are_given() {
    let limits = QueryLimits { characters: 20, terms: 3, depth: 1, term_characters: 5 };
    let wrong = |text: &str| Query::parse_within(text, &limits).unwrap_err().to_string();
    assert!(wrong(&"a ".repeat(11)).contains("at most 20"));
    assert!(wrong("a b c d").contains("more than 3 words"));
    assert!(wrong("((a))").contains("more than 1 deep"));
    assert!(wrong("abcdef").contains("more than 5 characters"));
    assert!(Query::parse_within("(a b) abcde", &limits).is_ok());
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9éßœ東ガЁ]{1,6}",
        2 => Just(" ".to_owned()),
        2 => prop::sample::select(vec!["(", ")", "\"", "*", "-", "|", " OR ", "\\", ":", "\0", "\u{301}", "conf:<6", "is:failed",
            "has:text", "source:", "before:2024", "analyzer:ocr", "lang:eng", " and ", " NOT ", "not", " or ", "bytes", " < ", "width>5", "20MB"]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_text_panics_and_what_was_read_is_printed_and_read_again(
        text in prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
    ) {
        match Query::parse(&text) {
            Ok(query) => {
                let again = Query::parse(&query.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&query), "printed: {}", query);
            }
            Err(error) => prop_assert!((1..=text.chars().count().max(1)).contains(&error.character)),
        }
    }
}
