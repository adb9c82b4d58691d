//! Cases about how far answers agree, on both backends.

use ocelli_catalog::Catalog;
use ocelli_catalog::search::Sort;
use ocelli_core::wire::Message;
use ocelli_core::{Digest, Outcome, Reading};

use crate::words::*;
use crate::world::World;

const QUOTING: &str = "The title says \"Scaling Open Language Models\" and the sign reads \"Free beer for everybody\".";

fn transcript(text: &str) -> Outcome {
    Outcome::Done(Reading {
        text: text.to_owned(),
        languages: Some("eng".to_owned()),
        ..Reading::default()
    })
}

async fn scores(catalog: &Catalog, image: &str) -> Vec<(usize, usize, f32)> {
    let pairs = catalog.agreement(&Digest::of(image.as_bytes())).await.unwrap();
    pairs.iter().map(|pair| (pair.supported.len(), pair.unsupported.len(), pair.score)).collect()
}

async fn sound(catalog: &Catalog) {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

pub(crate) async fn answers_are_compared_when_their_record_is_complete_in_any_order(world: World) {
    let catalog = world.open().await;
    let messages = [
        Message::Intake(intake("a", &[OCR, LLM])),
        partial("a", OCR, transcript("Scallng 0pen\nLanguage Models"), 5),
        partial("a", LLM, done(QUOTING), 6),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let image = format!("n{}{}{}", order[0], order[1], order[2]);
        for place in order {
            let mut message = messages[place].clone();
            match &mut message {
                Message::Intake(one) => *one = intake(&image, &[OCR, LLM]),
                Message::Partial(one) => one.digest = Digest::of(image.as_bytes()),
                _ => unreachable!(),
            }
            assert!(scores(&catalog, &image).await.is_empty(), "not before it is complete");
            catalog.apply(&[message]).await.unwrap();
        }
        let found = scores(&catalog, &image).await;
        assert_eq!((found.len(), found[0].0, found[0].1), (1, 1, 1), "{order:?} {found:?}");
        assert!((0.4..0.7).contains(&found[0].2), "{found:?}");
    }
    sound(&catalog).await;
    let hits =
        async |query: &str| crate::searching::ask(&catalog, query, Sort::Oldest).await.hits.len();
    assert_eq!(hits("agreement:<0.7").await, 6);
    assert_eq!(hits("agreement:0.4..0.7 scaling").await, 6);
    assert_eq!(hits("agreement:<0.1").await, 0);
    assert_eq!(hits("-agreement:<=1").await, 0);
    // A new want opens the record again, and its pairs go; its answer is compared instead of the older one.
    let image = "n012";
    let mut again = intake(image, &[]);
    again.wants = vec![want(LLM, 2)];
    again.enqueued_at = at(50);
    catalog.apply(&[Message::Intake(again)]).await.unwrap();
    assert!(scores(&catalog, image).await.is_empty());
    sound(&catalog).await;
    let mut answer = partial(image, LLM, done("It says \"Scaling Open Language Models\"."), 60);
    let Message::Partial(partial) = &mut answer else { unreachable!() };
    partial.analysis.revision = revision(2);
    catalog.apply(&[answer]).await.unwrap();
    let found = scores(&catalog, image).await;
    assert_eq!((found[0].0, found[0].1, found[0].2), (1, 0, 1.0));
    sound(&catalog).await;
}

pub(crate) async fn records_from_before_there_were_agreements_are_compared_when_the_archive_is_opened(
    world: World,
) {
    let catalog = world.open().await;
    for image in ["a", "b"] {
        let messages = [
            Message::Intake(intake(image, &[OCR, LLM])),
            partial(image, OCR, transcript("Scaling Open Language Models"), 5),
            partial(image, LLM, done(QUOTING), 6),
        ];
        catalog.apply(&messages).await.unwrap();
    }
    let expected = scores(&catalog, "a").await;
    assert_eq!(expected.len(), 1);
    world
        .execute("INSERT INTO agreement_backlog (digest) SELECT DISTINCT i.digest FROM agreements g JOIN images i ON i.id = g.image")
        .await;
    world.execute("DELETE FROM agreements").await;
    assert!(scores(&catalog, "a").await.is_empty());
    let opened = world.open().await;
    assert_eq!(scores(&opened, "a").await, expected);
    assert_eq!(scores(&opened, "b").await, expected);
    sound(&opened).await;
}

pub(crate) async fn disagreements_come_lowest_first_page_by_page_and_by_pair(world: World) {
    const OTHER: &str = "gemma3-27b-vision";
    let catalog = world.open().await;
    for number in 0..5 {
        let image = format!("image {number}");
        let invented = format!(
            "It says \"Scaling Open Language Models\", and \"{}\".",
            "never seen ".repeat(number + 1)
        );
        let messages = [
            Message::Intake(intake(&image, &[OCR, LLM, OTHER])),
            partial(&image, OCR, transcript("Scaling Open Language Models"), 5),
            partial(&image, LLM, done(&invented), 6),
            partial(&image, OTHER, done("It says \"Scaling Open Language Models\"."), 7),
        ];
        catalog.apply(&messages).await.unwrap();
    }
    let walk = async |of: Option<&ocelli_catalog::PairOfNames>, limit: u32| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = catalog.disagreements(of, after.as_ref(), limit).await.unwrap();
            let Some(last) = page.last() else { return all };
            // As it travels in an address.
            after = Some(last.place.to_string().parse().unwrap());
            all.extend(page);
        }
    };
    let all = walk(None, 4).await;
    assert_eq!(all.len(), 15, "three pairs of five images");
    let percent = |one: &ocelli_catalog::Disagreement| (one.pair.score * 100.0).floor();
    assert!(all.is_sorted_by(|a, b| percent(a) <= percent(b)), "{all:?}");
    assert_eq!(all, walk(None, 100).await);
    let places: std::collections::BTreeSet<_> =
        all.iter().map(|one| one.place.to_string()).collect();
    assert_eq!(places.len(), 15, "none comes twice");
    let pairs = catalog.compared_pairs().await.unwrap();
    assert_eq!(pairs.len(), 3);
    for pair in &pairs {
        let of_pair = walk(Some(pair), 2).await;
        assert_eq!(of_pair.len(), 5, "{pair:?}");
        assert!(of_pair.iter().all(|one| (&one.pair.a, &one.pair.b) == (&pair.0, &pair.1)));
    }
    let nobody = (name("a"), name("b"));
    assert!(walk(Some(&nobody), 2).await.is_empty());
}
