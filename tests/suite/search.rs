//! `ocelli search`: what was read is found, whatever happened on the way.

use std::io::Write as _;
use std::process::Stdio;

use crate::world::{CHART, NO_TEXT, NOTE, World, until};

#[test]
fn what_tesseract_read_is_found_by_words_parts_and_filters_with_the_place_marked() {
    let world = World::new();
    world.samples("in", &[CHART, NOTE, NO_TEXT]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let chart = world.json(["show", &format!("in/{CHART}"), "--format", "json"])["digest"].clone();

    let said = world.ocelli(["search", "scaling"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with(&chart.as_str().unwrap()[..12]), "{said:?}");
    assert!(
        said.out.contains("  tesseract-ocr: ") && said.out.contains("[Scaling] Open"),
        "{said:?}"
    );
    assert!(said.err.contains("1 record"), "{said:?}");

    for query in [
        "SCALING analyzer:tesseract-ocr",
        "\"open language models\"",
        "*caling* has:text",
        "langu* -receipt",
        "scaling after:2020 source:in/",
    ] {
        let page = world.json(["search", query, "--json"]);
        assert_eq!(page["total"]["records"], 1, "{query}: {page}");
        let hit = &page["hits"][0];
        assert_eq!(hit["digest"], chart, "{query}");
        assert_eq!(hit["answers"][0]["analyzer"], "tesseract-ocr");
    }
    let empty = world.json(["search", "is:empty", "--json", "--facets"]);
    assert_eq!(empty["facets"]["outcome"], serde_json::json!([["empty", 1]]), "{empty}");

    let nothing = world.ocelli(["search", "unfindable"]);
    assert_eq!((nothing.code, nothing.out.trim()), (1, ""), "{nothing:?}");
    let wrong = world.ocelli(["search", "cat analyser:x"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(
        wrong.err.contains("did you mean 'analyzer:'?") && wrong.err.contains("\n      ^"),
        "{wrong:?}"
    );
    let stale = world.ocelli(["search", "scaling", "--cursor", "x"]);
    assert!(stale.code == 2 && stale.err.contains("this is no cursor"), "{stale:?}");
}

#[test]
fn a_file_of_queries_becomes_lines_of_hits() {
    let world = World::new();
    world.samples("in", &[CHART, NOTE]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    std::fs::write(world.path("names.txt"), "# names\nscaling\nunfindable\nis:done\n").unwrap();
    let said = world.ocelli(["search", "--queries", "names.txt", "--format", "csv"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("query,digest,first_seen,source,analyzer,"), "{said:?}");
    assert!(said.err.contains("3 records; 1 queries found nothing"), "{said:?}");

    let mut child = world
        .command("ocelli")
        .args(["search", "--queries", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"scaling\n").unwrap();
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let line: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&line["query"], &line["outcome"]), (&"scaling".into(), &"done".into()), "{line}");

    std::fs::write(world.path("names.txt"), "scaling\n(broken\n").unwrap();
    let wrong = world.ocelli(["search", "--queries", "names.txt"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""), "{wrong:?}");
    assert!(wrong.err.contains("names.txt, line 2: "), "{wrong:?}");
}

#[test]
fn a_run_that_was_killed_leaves_no_text_that_cannot_be_found() {
    let world = World::new();
    world.many("in", 40);
    for goal in [5, 20] {
        let run = world.start("ocelli", ["run", "in"]);
        until("some images are read", || {
            let said = world.ocelli(["status", "--json"]);
            let status = serde_json::from_str::<serde_json::Value>(&said.out).ok();
            status.and_then(|status| status["analyzers"][0]["done"].as_u64()) >= Some(goal)
        });
        run.kill();
        // The audit compares every text with the index.
        world.audit();
        let done = world.row("tesseract-ocr")["done"].clone();
        let page = world.json(["search", "is:done", "--json", "--limit", "1"]);
        assert_eq!(page["total"]["records"], done, "{page}");
    }
}

#[test]
fn every_query_of_the_search_page_can_be_asked() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SEARCH.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```query\n").skip(1).map(|block| block.split("```").next().unwrap());
    let queries: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(queries.len() > 20, "the page lost its examples: {queries:?}");
    let world = World::new();
    world.samples("in", &[CHART]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    std::fs::write(world.path("queries.txt"), queries.join("\n")).unwrap();
    let said = world.ocelli(["search", "--queries", "queries.txt"]);
    assert_eq!(said.code, 0, "{said:?}");
    let found = |query: &str| {
        said.out.lines().any(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["query"].as_str()
                == Some(query)
        })
    };
    for query in ["scaling language", "*caling", "scaling analyzer:tesseract-ocr", "scal*"] {
        assert!(found(query), "{query}: {}", said.out);
    }
    assert!(!found("is:failed"), "{}", said.out);
}
