//! In which order hits come, page by page, and how they are counted: each behaviour on both backends.

use jiff::Timestamp;
use ocelli_catalog::query::Query;
use ocelli_catalog::search::{COUNTED, Cursor, Page, Search, Sort, Total};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::Digest;
use ocelli_core::wire::{Intake, Message};

use crate::searching::{ask, found, named, seen, with};
use crate::words::*;
use crate::world::World;

pub(crate) async fn short_answers_and_more_answers_come_first_and_order_by_time_is_exact(
    world: World,
) {
    let long = format!("cat {}", "word ".repeat(200));
    let catalog = with(
        &world,
        &[
            ("a", OCR, &long),
            ("b", OCR, "a cat"),
            ("c", OCR, "a cat"),
            ("c", LLM, &long),
            ("d", OCR, "cat it"),
        ],
    )
    .await;
    let order = |page: Page| page.hits.iter().map(|hit| named(&hit.digest)).collect::<Vec<_>>();
    assert_eq!(order(ask(&catalog, "cat", Sort::Relevance).await), ["c", "d", "b", "a"]);
    assert_eq!(order(ask(&catalog, "cat", Sort::Newest).await), ["d", "c", "b", "a"]);
    assert_eq!(order(ask(&catalog, "cat", Sort::Oldest).await), ["a", "b", "c", "d"]);
    // First seen is what orders, and it may become earlier.
    catalog.apply(&[seen("d", -5)]).await.unwrap();
    assert_eq!(order(ask(&catalog, "cat", Sort::Oldest).await), ["d", "a", "b", "c"]);
    let page = ask(&catalog, "is:done", Sort::Relevance).await;
    assert_eq!((page.sort, order(page)), (Sort::Newest, vec!["c", "b", "a", "d"]));
}

pub(crate) async fn pages_follow_each_other_without_gap_or_repetition(world: World) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for number in 0..57_i64 {
        let image = format!("image {number}");
        // Several of one time, so that the digest decides, and one without any.
        let mut seen = intake(&image, &[OCR]);
        seen.sighting = (number > 0).then(|| sighting(&image, number / 5, 1));
        messages.push(Message::Intake(seen));
        let words = "word ".repeat(usize::try_from(number % 7).unwrap());
        messages.push(partial(&image, OCR, done(&format!("cat {words}")), 5));
    }
    catalog.apply(&messages).await.unwrap();
    for query in ["cat", "is:done", "cat -dog", "*cat*"] {
        for sort in [Sort::Relevance, Sort::Newest, Sort::Oldest] {
            let all: Vec<Digest> =
                ask(&catalog, query, sort).await.hits.iter().map(|hit| hit.digest).collect();
            assert_eq!(all.len(), 57);
            let (mut pages, mut cursor) = (Vec::new(), None);
            loop {
                let query = Query::parse(query).unwrap();
                let search = Search { query, sort, limit: 10, cursor, facets: false };
                let page = catalog.search(&search).await.unwrap();
                assert_eq!(page.total, Total { records: 57, more: false });
                pages.extend(page.hits.iter().map(|hit| hit.digest));
                let Some(next) = page.next else { break };
                cursor = Some(next.to_string().parse::<Cursor>().unwrap());
                cursor.as_ref().unwrap().check(&search.query, sort).unwrap();
            }
            assert_eq!(pages, all, "{query} {sort:?}");
        }
    }
}

pub(crate) async fn facets_count_the_records_that_match(world: World) {
    let catalog = with(
        &world,
        &[
            ("a", OCR, "cat"),
            ("a", LLM, "cat"),
            ("b", OCR, "cat"),
            ("c", OCR, "dog"),
            ("d", LLM, "cat"),
        ],
    )
    .await;
    catalog
        .apply(&[Message::Batch(report(1, 0, 4)), seen("d", 40 * 86_400), seen("e", 3)])
        .await
        .unwrap();
    let search = |query: &str| Search {
        query: Query::parse(query).unwrap(),
        sort: Sort::Relevance,
        limit: 1,
        cursor: None,
        facets: true,
    };
    let counts = |values: &[(&str, u64)]| -> Vec<(String, u64)> {
        values.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
    };
    let facets = catalog.search(&search("cat")).await.unwrap().facets.unwrap();
    assert_eq!(facets.of, 3);
    assert_eq!(facets.analyzer, counts(&[(LLM, 2), (OCR, 2)]));
    assert_eq!(facets.outcome, counts(&[("done", 3)]));
    assert_eq!(facets.format, counts(&[("png", 3)]));
    assert_eq!(facets.month, counts(&[("2024-05", 3)]));
    assert_eq!(facets.batch, counts(&[("pictures", 3)]));
    let facets = catalog.search(&search("has:text")).await.unwrap().facets.unwrap();
    assert_eq!((facets.of, facets.analyzer), (4, counts(&[(OCR, 3), (LLM, 2)])));
    let facets = catalog.search(&search("nothing")).await.unwrap().facets.unwrap();
    assert_eq!((facets.of, facets.analyzer), (0, counts(&[])));
}

pub(crate) async fn more_than_can_be_counted_is_said_and_still_paged_in_order(world: World) {
    let catalog = world.open().await;
    let many = COUNTED + 40;
    for part in (0..many).collect::<Vec<_>>().chunks(500) {
        let messages = part.iter().flat_map(|number| {
            let image = format!("image {number}");
            let mut seen = intake(&image, &[OCR]);
            seen.sighting = Some(sighting(&image, i64::try_from(*number).unwrap(), 1));
            [Message::Intake(seen), partial(&image, OCR, done("common"), 5)]
        });
        catalog.apply(&messages.collect::<Vec<_>>()).await.unwrap();
    }
    let mut search = Search {
        query: Query::parse("common").unwrap(),
        sort: Sort::Relevance,
        limit: 30,
        cursor: None,
        facets: true,
    };
    let first = catalog.search(&search).await.unwrap();
    assert_eq!((first.total, first.sort), (Total { records: COUNTED, more: true }, Sort::Newest));
    assert_eq!(first.hits[0].digest, Digest::of(format!("image {}", many - 1).as_bytes()));
    let facets = first.facets.as_ref().unwrap();
    assert_eq!((facets.of, &facets.outcome), (COUNTED, &vec![("done".to_owned(), COUNTED)]));
    search.cursor = first.next;
    let second = catalog.search(&search).await.unwrap();
    assert_eq!(second.hits[0].digest, Digest::of(format!("image {}", many - 31).as_bytes()));
    assert_eq!(second.total, Total { records: COUNTED, more: true });
}

/// Where they are in most answers PostgreSQL goes along time, and asks the index after all where none of the latest has them.
pub(crate) async fn beginnings_of_words_that_are_in_most_answers_are_found_in_order(world: World) {
    const ALL: u64 = 1_800;
    let options = CatalogOptions { counted: 3, ..CatalogOptions::default() };
    let catalog = Catalog::open(&world.url, options).await.unwrap();
    for part in (0..ALL).collect::<Vec<_>>().chunks(300) {
        let messages = part.iter().flat_map(|number| {
            let image = format!("image {number}");
            let mut seen = intake(&image, &[OCR]);
            seen.sighting = Some(sighting(&image, i64::try_from(*number).unwrap(), 1));
            let only_then = if *number < ALL / 2 { "formerly" } else { "now" };
            let text = format!("everywhere{} {only_then} n{number}", number % 3);
            [Message::Intake(seen), partial(&image, OCR, done(&text), 5)]
        });
        catalog.apply(&messages.collect::<Vec<_>>()).await.unwrap();
    }
    let all = |numbers: std::ops::Range<u64>| {
        let of = |number: u64| Digest::of(format!("image {number}").as_bytes());
        numbers.rev().map(of).collect::<Vec<_>>()
    };
    let more = Total { records: 3, more: true };
    for (query, total, expected) in [
        ("every*", more, all(ALL - 10..ALL)),
        ("former*", more, all(ALL / 2 - 10..ALL / 2)),
        ("every* former*", more, all(ALL / 2 - 10..ALL / 2)),
        ("n179*", more, all(1_790..ALL)),
        ("n1799*", Total { records: 1, more: false }, all(1_799..ALL)),
        ("nowhere*", Total { records: 0, more: false }, Vec::new()),
    ] {
        let search = Search {
            query: Query::parse(query).unwrap(),
            sort: Sort::Newest,
            limit: 10,
            cursor: None,
            facets: false,
        };
        let page = catalog.search(&search).await.unwrap();
        let found: Vec<Digest> = page.hits.iter().map(|hit| hit.digest).collect();
        assert_eq!((page.total, found), (total, expected), "{query}");
    }
}

pub(crate) async fn times_at_the_edges_do_not_break_the_order(world: World) {
    let catalog = world.open().await;
    let mut messages = Vec::new();
    for (image, time) in [("a", Timestamp::MIN), ("b", at(0)), ("c", Timestamp::MAX)] {
        let mut seen = sighting(image, 0, 1);
        seen.seen_at = time;
        messages.push(Message::Intake(Intake { sighting: Some(seen), ..intake(image, &[OCR]) }));
    }
    messages.push(Message::Intake(Intake { sighting: None, ..intake("d", &[OCR]) }));
    catalog.apply(&messages).await.unwrap();
    assert_eq!(found(&catalog, "").await, ["d", "a", "b", "c"]);
    let search = Search {
        query: Query::parse("").unwrap(),
        sort: Sort::Oldest,
        limit: 10,
        cursor: None,
        facets: true,
    };
    let months = catalog.search(&search).await.unwrap().facets.unwrap().month;
    assert_eq!(months.len(), 3, "{months:?}");
    assert!(months.contains(&("unknown".to_owned(), 2)), "{months:?}");
}

/// New words are sorted into the vocabulary of SQLite once there are many.
pub(crate) async fn parts_of_words_are_found_before_and_after_new_words_are_sorted_in(
    world: World,
) {
    // More than are looked through one by one, in one text and then in another.
    let many = |from: u32| (from..from + 40_000).map(|number| format!("w{number}x ")).collect();
    let (first, second): (String, String) = (many(100_000), many(200_000));
    let catalog = with(&world, &[("a", OCR, "catalogue"), ("b", OCR, &first)]).await;
    assert_eq!(found(&catalog, "*alogu*").await, ["a"]);
    assert_eq!(found(&catalog, "*39999x*").await, ["b"]);
    catalog.apply(&[partial("c", OCR, done(&second), 60), seen("c", 2)]).await.unwrap();
    // Another process knows nothing of what was noted, and says words again.
    let again = world.open().await;
    again.apply(&[partial("d", OCR, done("catalogue w239999x"), 70), seen("d", 3)]).await.unwrap();
    assert_eq!(found(&again, "*alogu*").await, ["a", "d"]);
    assert_eq!(found(&again, "*39999x*").await, ["b", "c", "d"]);
    assert_eq!(found(&again, "*139999x*").await, ["b"]);
    assert_eq!(again.audit().await.unwrap().problems, Vec::<String>::new());
}
