//! Images that look alike.

use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Search, Sort};
use ocelli_catalog::{Catalog, CatalogError};
use ocelli_core::phash::MOST_DISTANCE;
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, PerceptualHash};

use crate::searching::found;
use crate::words::*;
use crate::world::World;

/// Any hash: half of its bits are set.
const BITS: u64 = 0x83c3_b0e0_f0b8_f8f0;

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

fn hash(bits: u64) -> PerceptualHash {
    PerceptualHash::new("dct1", bits).unwrap()
}

/// The lowest bits turned over, spread over all bands.
fn turned(count: u32) -> u64 {
    (0..count).fold(BITS, |bits, bit| bits ^ 1 << (bit % 4 * 16 + bit / 4))
}

/// `image` seen so many seconds after the start, and what OCR read, with what it looks like.
fn read(image: &str, seconds: i64, text: &str, hash: Option<PerceptualHash>) -> [Message; 2] {
    let intake = Intake { sighting: Some(sighting(image, seconds, 1)), ..intake(image, &[OCR]) };
    let mut answer = partial(image, OCR, done(text), 50);
    let Message::Partial(partial) = &mut answer else { unreachable!() };
    partial.hash = hash;
    [Message::Intake(intake), answer]
}

async fn gallery(world: &World) -> Catalog {
    let catalog = world.open().await;
    let messages = [
        read("a", 0, "cat", Some(hash(BITS))),
        read("b", 1, "dog", Some(hash(turned(3)))),
        read("c", 2, "cat", Some(hash(turned(6)))),
        read("d", 3, "cat", Some(hash(turned(7)))),
        read("e", 4, "cat", Some(hash(!BITS))),
        read("f", 5, "cat", None),
        read("g", 6, "cat", Some(PerceptualHash::new("dct2", BITS).unwrap())),
    ];
    assert!(catalog.apply(messages.as_flattened()).await.unwrap().rejected.is_empty());
    catalog
}

/// A query about an image by its name.
fn like(image: &str, rest: &str) -> String {
    format!("like:{}{rest}", digest(image))
}

pub(crate) async fn images_that_look_alike_are_found_beside_every_other_term(world: World) {
    let catalog = gallery(&world).await;
    for (query, expected) in [
        (like("a", ""), &["a", "b", "c"][..]),
        (like("a", "~7"), &["a", "b", "c", "d"]),
        (like("a", "~2"), &["a"]),
        (like("c", "~3"), &["b", "c", "d"]),
        (like("e", ""), &["e"]),
        (like("g", "~11"), &["g"]),
        (like("a", " cat"), &["a", "c"]),
        (format!("cat -{}", like("a", "")), &["d", "e", "f", "g"]),
        (format!("dog OR {}", like("e", "")), &["b", "e"]),
        (format!("({} OR {}) -dog", like("a", "~3"), like("e", "")), &["a", "e"]),
        (like("a", " after:2024-05-04T09:00:52Z"), &["b", "c"]),
        (like("a", " is:failed"), &[]),
    ] {
        assert_eq!(found(&catalog, &query).await, expected, "{query}");
    }
    // Whole records and backfills ask the same question.
    let query = Query::parse(&like("a", "")).unwrap();
    let places = catalog.places(&query, None, 10).await.unwrap();
    let digests: Vec<Digest> = places.iter().map(|listed| listed.place.digest).collect();
    assert_eq!(digests, ["a", "b", "c"].map(digest));
    // Page by page, with counts.
    let mut search = Search { query, sort: Sort::Newest, limit: 2, cursor: None, facets: true };
    let first = catalog.search(&search).await.unwrap();
    assert_eq!((first.hits.len(), first.total.records), (2, 3));
    assert_eq!(first.facets.unwrap().of, 3);
    search.cursor = first.next;
    assert_eq!(catalog.search(&search).await.unwrap().hits[0].digest, digest("a"));
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn an_image_that_cannot_be_compared_is_named_with_its_place(world: World) {
    let catalog = gallery(&world).await;
    let ask = async |text: String| {
        let query = Query::parse(&text).unwrap();
        let search = Search { query, sort: Sort::Newest, limit: 9, cursor: None, facets: false };
        match catalog.search(&search).await.unwrap_err() {
            CatalogError::Query(error) => (error.character, error.to_string()),
            other => panic!("{other}"),
        }
    };
    let (place, said) = ask("cat (dog OR like:0123456789)".to_owned()).await;
    assert_eq!(place, 13);
    assert_eq!(said, "no image's digest begins with '0123456789' (like: at character 13)");
    let (place, said) = ask(format!("-{}", like("f", "~3"))).await;
    assert_eq!(place, 2);
    let short = digest("f").short();
    assert!(said.starts_with(&format!("the image {short} has no perceptual hash: ")), "{said}");
    assert!(said.ends_with("(like: at character 2)"), "{said}");
    // Enough images for one beginning of four characters to be that of two.
    let mut begin = std::collections::BTreeMap::new();
    let (one, other) = (0..)
        .map(|number| format!("image {number}"))
        .find_map(|name| {
            let key = digest(&name).to_string()[..4].to_owned();
            begin.insert(key, name.clone()).map(|before| (before, name))
        })
        .unwrap();
    catalog
        .apply(&[one.as_str(), &other].map(|name| Message::Intake(intake(name, &[]))))
        .await
        .unwrap();
    let (_, said) = ask(format!("like:{}", &digest(&one).to_string()[..4])).await;
    assert!(said.contains("several images' digests begin with"), "{said}");
}

pub(crate) async fn the_first_hash_of_an_image_stays_however_often_and_late_others_come(
    world: World,
) {
    let catalog = world.open().await;
    let kept = async || catalog.perceptual_hash(&digest("a")).await.unwrap();
    let [intake, answer] = read("a", 0, "cat", Some(hash(BITS)));
    let [_, other] = read("a", 0, "cat", Some(hash(!BITS)));
    // A worker that is faster than the producer, and one that knows nothing of hashes.
    catalog.apply(std::slice::from_ref(&answer)).await.unwrap();
    assert_eq!(kept().await, Some(hash(BITS)));
    catalog.apply(&[other, intake.clone()]).await.unwrap();
    catalog.apply(&[answer, partial("a", LLM, done("a cat"), 60)]).await.unwrap();
    let Message::Intake(mut again) = intake else { unreachable!() };
    again.hash = Some(hash(!BITS));
    catalog.apply(&[Message::Intake(again)]).await.unwrap();
    assert_eq!(kept().await, Some(hash(BITS)));
    // Of two in one transaction the first, and one that comes after everything else.
    let mut both = read("b", 0, "cat", Some(hash(BITS)));
    let Message::Intake(intake) = &mut both[0] else { unreachable!() };
    intake.hash = Some(hash(turned(1)));
    catalog.apply(&both).await.unwrap();
    assert_eq!(catalog.perceptual_hash(&digest("b")).await.unwrap(), Some(hash(turned(1))));
    catalog.apply(&read("c", 0, "cat", None)).await.unwrap();
    catalog.apply(&read("c", 0, "cat", Some(hash(BITS)))[1..]).await.unwrap();
    assert_eq!(catalog.perceptual_hash(&digest("c")).await.unwrap(), Some(hash(BITS)));
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn the_index_finds_what_comparing_all_would_find(world: World) {
    let catalog = world.open().await;
    // Hashes around few centres, so that every distance occurs.
    let mut state = 1_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 20 ^ state << 31
    };
    let mut hashes = Vec::new();
    let mut centre = 0;
    let mut messages = Vec::new();
    for number in 0..600_u64 {
        if number % 60 == 0 {
            centre = random();
        }
        let flips = random() % 16;
        let bits = (0..flips).fold(centre, |bits, _| bits ^ 1 << (random() % 64));
        let name = format!("image {number}");
        hashes.push((digest(&name), bits));
        messages.extend(read(&name, 0, "cat", Some(hash(bits))));
    }
    catalog.apply(&messages).await.unwrap();
    for (_, bits) in hashes.iter().step_by(37) {
        for distance in [0, 1, 3, 4, 6, 7, 8, MOST_DISTANCE] {
            let alike = catalog.alike(&hash(*bits), distance).await.unwrap();
            assert!(alike.is_sorted_by_key(|one| one.distance));
            let mut found: Vec<Digest> = alike.iter().map(|one| one.digest).collect();
            found.sort();
            let is_near = |other: &&(Digest, u64)| (bits ^ other.1).count_ones() <= distance;
            let mut expected: Vec<Digest> =
                hashes.iter().filter(is_near).map(|(digest, _)| *digest).collect();
            expected.sort();
            assert_eq!(found, expected, "{distance}");
        }
    }
}

pub(crate) async fn a_group_is_what_looks_like_its_first_image_and_does_not_drift(world: World) {
    let catalog = world.open().await;
    // A chain: each looks like the next, the last not like the first. Seen in another order than named.
    let messages = [
        read("a", 9, "cat", Some(hash(turned(4)))),
        read("b", 1, "cat", Some(hash(BITS))),
        read("c", 5, "cat", Some(hash(turned(8)))),
        read("d", 7, "cat", Some(hash(turned(2)))),
        read("e", 3, "cat", Some(hash(!BITS))),
        read("f", 2, "cat", None),
    ];
    catalog.apply(messages.as_flattened()).await.unwrap();
    let (groups, next) = catalog.groups(4, None).await.unwrap();
    let names: Vec<(Digest, Vec<(Digest, u32)>)> = groups
        .iter()
        .map(|group| {
            let others = group.others.iter().map(|one| (one.digest, one.distance)).collect();
            (group.first.digest, others)
        })
        .collect();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(digest);
    // `c` is not like `b`, so it is the first of its own; `a` is like both.
    assert_eq!(names, [(b, vec![(d, 2), (a, 4)]), (c, vec![(a, 4)])]);
    assert_eq!((groups[0].first.first_seen, next), (Some(at(1)), None));
    assert_eq!(groups[0].first.source, Some(source("b")));
    assert_eq!(catalog.groups(1, None).await.unwrap().0, []);
}

pub(crate) async fn the_nearest_images_are_named_with_their_distance_without_the_image_itself(
    world: World,
) {
    let catalog = gallery(&world).await;
    let nearest = |image: &'static str, most| {
        let catalog = catalog.clone();
        async move { catalog.nearest(&digest(image), most).await.unwrap() }
    };
    assert_eq!(nearest("a", 12).await.unwrap(), [(3, digest("b")), (6, digest("c"))]);
    assert_eq!(nearest("a", 1).await.unwrap(), [(3, digest("b"))]);
    assert_eq!(nearest("e", 12).await.unwrap(), []);
    assert_eq!(nearest("f", 12).await, None, "nobody has told what it looks like");
}
