//! What lists say about references, what servers know URLs by, and what workers find out about images that nobody had read.

use ocelli_catalog::search::Detail;
use ocelli_catalog::{NotedUrl, SeenImage};
use ocelli_core::wire::{Intake, Message, Partial, Problem, Told};
use ocelli_core::{Digest, ImageFacts, Meta, Record, Sighting};

use crate::searching::found;
use crate::words::*;
use crate::world::World;

fn meta(said: &[(&str, &str)]) -> Meta {
    said.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// A reference to `image` at `path` in a batch, about which a list said this.
fn told(image: &str, path: &str, number: u128, said: &[(&str, &str)]) -> Message {
    let sighting: Sighting = sighting(path, 0, number);
    Message::Intake(Intake { sighting: Some(sighting), meta: meta(said), ..intake(image, &[OCR]) })
}

pub(crate) async fn of_what_lists_say_the_latest_batch_counts_in_any_order(world: World) {
    let messages = [
        told("a", "a", 1, &[("author", "old"), ("pages", "7"), ("zero", "a\0b")]),
        told("a", "a", 3, &[("author", "new")]),
        told("a", "a", 2, &[("author", "between"), ("note", "x")]),
        told("a", "other", 1, &[("author", "elsewhere")]),
        told("a", "a", 4, &[]),
    ];
    let expected = {
        let mut record = Record::new(facts("a"));
        for (path, number, said) in [
            ("a", 1, &[("pages", "7"), ("zero", "a\u{fffd}b")][..]),
            ("a", 3, &[("author", "new")]),
            ("a", 2, &[("note", "x")]),
            ("other", 1, &[("author", "elsewhere")]),
        ] {
            record.add_meta(&source(path), batch(number), &meta(said));
        }
        record.meta
    };
    let catalog = world.open().await;
    // All at once, and then again one by one from behind.
    catalog.apply(&messages).await.unwrap();
    for message in messages.iter().rev() {
        let read = catalog.record(&Digest::of(b"a")).await.unwrap().unwrap();
        assert_eq!(read.meta, expected);
        catalog.apply(std::slice::from_ref(message)).await.unwrap();
    }
    let digests = [Digest::of(b"a")];
    let records = catalog.records(&digests, Detail::Whole).await.unwrap();
    assert_eq!(records[&digests[0]].meta, expected);
    let audit = catalog.audit().await.unwrap();
    assert_eq!((audit.rows["sighting_meta"], audit.problems), (5, Vec::<String>::new()));
}

pub(crate) async fn what_a_list_says_of_a_reference_that_failed_is_kept_with_it(world: World) {
    let catalog = world.open().await;
    let said = Told {
        first_seen: Some(at(-5)),
        digest: Some(Digest::of(b"a")),
        meta: meta(&[("author", "Ann \0 Ex"), ("pages", "7")]),
    };
    let Message::Problem(failed) = problem(1, "/a.png", 1) else { unreachable!() };
    let messages =
        [Message::Problem(Problem { told: Some(said.clone()), ..failed }), problem(1, "/b.png", 2)];
    catalog.apply(&messages).await.unwrap();
    let page = catalog.references(batch(1), None, true, 10).await.unwrap();
    let of =
        |name: &str| page.references.iter().find(|one| one.reference == name).unwrap().told.clone();
    assert_eq!((of("/a.png"), of("/b.png")), (Some(said), None));
}

pub(crate) async fn a_name_that_no_index_holds_is_refused_alone(world: World) {
    let catalog = world.open().await;
    let long = "n".repeat(201);
    let applied = catalog
        .apply(&[
            told("a", "a", 1, &[(&long, "x")]),
            told("b", "b", 1, &[(&long[..200], &"long ".repeat(20_000))]),
        ])
        .await
        .unwrap();
    assert_eq!(applied.rejected.len(), 1);
    assert!(catalog.record(&Digest::of(b"a")).await.unwrap().is_none());
    let kept = catalog.record(&Digest::of(b"b")).await.unwrap().unwrap();
    assert_eq!(kept.said(&source("b")).next().unwrap().1.len(), 100_000);
}

pub(crate) async fn records_are_found_by_what_lists_said(world: World) {
    let catalog = world.open().await;
    let messages = [
        told("a", "a", 1, &[("author", "Ann Ex"), ("tags", "[\"x\",1]")]),
        told("b", "b", 1, &[("author", "ann ex"), ("%", "_")]),
        told("c", "c", 1, &[("author", ""), ("a=b", "c")]),
        told("d", "d", 1, &[]),
    ];
    catalog.apply(&messages).await.unwrap();
    for (query, expected) in [
        ("meta:author", &["a", "b", "c"][..]),
        ("meta:\"author=Ann Ex\"", &["a"]),
        ("meta:\"author=ann ex\"", &["b"]),
        ("meta:author=", &["c"]),
        ("-meta:author", &["d"]),
        ("meta:author -meta:tags", &["b", "c"]),
        ("meta:\"tags=[\\\"x\\\",1]\"", &["a"]),
        ("meta:Author", &[]),
        ("meta:%", &["b"]),
        ("meta:%=%", &[]),
        ("meta:author=Ann", &[]),
        ("meta:\"author=' OR 1=1 --\"", &[]),
    ] {
        let mut names = found(&catalog, query).await;
        names.sort_unstable();
        assert_eq!(names, expected, "{query}");
    }
}

fn url(path: &str) -> ocelli_core::SourceUri {
    format!("http://h/{path}").parse().unwrap()
}

fn noted(path: &str, image: &str, etag: Option<&str>) -> NotedUrl {
    let modified = Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    let digest = Digest::of(image.as_bytes());
    NotedUrl { source: url(path), digest, etag: etag.map(str::to_owned), modified }
}

fn at_url(image: &str, path: &str) -> Message {
    let sighting = Sighting { source: url(path), ..sighting("x", 0, 1) };
    Message::Intake(Intake { sighting: Some(sighting), ..intake(image, &[OCR]) })
}

pub(crate) async fn a_url_is_remembered_once_its_image_was_seen_there(world: World) {
    let catalog = world.open().await;
    catalog.note_urls(&[]).await.unwrap();
    catalog
        .note_urls(&[noted("a", "a", Some("\"1\"")), noted("b", "b", None), noted("a", "c", None)])
        .await
        .unwrap();
    let places = [url("b"), url("nowhere"), url("a")];
    let remembered = async || catalog.remembered_urls(&places).await.unwrap();
    assert_eq!(remembered().await, [None, None, None], "nobody has seen them");
    catalog.apply(&[at_url("a", "a"), at_url("b", "b")]).await.unwrap();
    let found = remembered().await;
    assert_eq!(found[0].as_ref().unwrap().seen.image, facts("b"));
    assert_eq!(found[0].as_ref().unwrap().etag, None);
    assert_eq!(found[2], None, "the latter counts, and its image was not seen there");
    catalog.note_urls(&[noted("a", "a", Some("\"2\""))]).await.unwrap();
    let found = remembered().await.remove(2).unwrap();
    assert_eq!((found.etag.as_deref(), &found.seen.image), (Some("\"2\""), &facts("a")));
    let places = [(url("a"), Digest::of(b"a")), (url("a"), Digest::of(b"b"))];
    let seen = catalog.seen_images(&places).await.unwrap();
    assert_eq!(seen, [Some(SeenImage { image: facts("a"), refusal: None }), None]);
    assert_eq!(catalog.seen_images(&[]).await.unwrap(), []);
}

pub(crate) async fn what_a_worker_finds_out_is_kept_whenever_it_arrives(world: World) {
    let unread = |image: &str| {
        let digest = Digest::of(image.as_bytes());
        Message::Intake(Intake { image: ImageFacts::unread(digest), ..intake(image, &[OCR]) })
    };
    let learned = |image: &str, facts: ImageFacts| {
        let Message::Partial(answer) = partial(image, OCR, done("text"), 5) else { unreachable!() };
        Message::Partial(Box::new(Partial { image: Some(facts), ..*answer }))
    };
    let catalog = world.open().await;
    catalog.apply(&[unread("first")]).await.unwrap();
    let image = async |name: &str| {
        let record = catalog.record(&Digest::of(name.as_bytes())).await.unwrap();
        record.map(|record| record.image)
    };
    assert!(image("first").await.unwrap().is_unread());
    catalog.apply(&[learned("first", facts("first"))]).await.unwrap();
    catalog.apply(&[learned("last", facts("last"))]).await.unwrap();
    assert_eq!(image("last").await, None, "its intake has not arrived");
    catalog.apply(&[unread("last")]).await.unwrap();
    catalog.apply(&[unread("first"), unread("last")]).await.unwrap();
    for name in ["first", "last"] {
        assert_eq!(image(name).await.unwrap(), facts(name));
        let record = catalog.record(&Digest::of(name.as_bytes())).await.unwrap().unwrap();
        assert!(record.is_complete());
    }
    let applied = catalog.apply(&[learned("first", facts("last"))]).await.unwrap();
    assert_eq!(applied.rejected.len(), 1, "it is about another image");
    assert!(catalog.audit().await.unwrap().problems.is_empty());
}
