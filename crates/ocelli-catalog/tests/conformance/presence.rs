//! Which workers are there, whatever time it is for them.

use std::time::Duration;

use jiff::SignedDuration;
use ocelli_catalog::Catalog;
use ocelli_core::wire::{Announcement, Message};

use crate::words::*;
use crate::world::World;

pub(crate) async fn the_last_word_of_a_worker_counts_whatever_the_order(world: World) {
    let catalog = world.open().await;
    let mut second = announcement(OCR, "host:1", 20);
    second.revision = Some(revision(2));
    second.in_progress = 2;
    let mut away = announcement(LLM, "host:2", 5);
    (away.revision, away.waiting) = (None, Some("the model server is away".to_owned()));
    let mut leaving = announcement(OCR, "host:3", 30);
    leaving.leaving = true;
    let said = [
        leaving,
        second.clone(),
        announcement(OCR, "host:3", 10),
        announcement(OCR, "host:1", 10),
        away.clone(),
    ];
    for announcement in said.clone() {
        catalog.apply(&[Message::Announcement(announcement)]).await.unwrap();
    }
    catalog.apply(&said.map(Message::Announcement)).await.unwrap();
    assert_eq!(present(&catalog).await, [away, second]);
    let revisions = catalog.revisions().await.unwrap();
    assert_eq!(revisions[&name(OCR)], revision(1), "host:3 said revision 1 last");
    assert!(!revisions.contains_key(&name(LLM)));
}

/// What those say who were heard in the last twenty seconds.
async fn present(catalog: &Catalog) -> Vec<Announcement> {
    let heard = catalog.workers(SignedDuration::from_secs(20)).await.unwrap();
    heard.into_iter().map(|worker| worker.said).collect()
}

pub(crate) async fn workers_whose_clocks_are_wrong_are_present_as_long_as_they_are_heard(
    world: World,
) {
    let catalog = world.open().await;
    let now = catalog.clock().await.unwrap();
    let hour = SignedDuration::from_hours(1);
    let word = |worker: &str, at| Announcement { at, ..announcement(OCR, worker, 0) };
    let said = [
        word("fast", now.checked_add(hour).unwrap()),
        word("right", now),
        word("slow", now.checked_sub(hour).unwrap()),
    ];
    catalog.apply(&said.clone().map(Message::Announcement)).await.unwrap();
    let heard = catalog.workers(SignedDuration::from_secs(20)).await.unwrap();
    let clocks: Vec<_> =
        heard.iter().map(|worker| worker.wrong_clock(Duration::from_secs(300))).collect();
    assert_eq!(heard.iter().map(|worker| &worker.said).collect::<Vec<_>>(), said.each_ref());
    assert_eq!(clocks[0].as_deref(), Some("clock is 60 min ahead"));
    assert_eq!(clocks[1], None);
    assert!(clocks[2].as_ref().unwrap().contains("min behind"), "{clocks:?}");
    // Half a minute later, nobody having said anything.
    world.execute("UPDATE workers SET heard_at = heard_at - 30000000").await;
    assert!(present(&catalog).await.is_empty());
    // The clock of the database was set back by an hour meanwhile.
    world.execute("UPDATE workers SET heard_at = heard_at + 3600000000").await;
    assert!(present(&catalog).await.is_empty());
}

pub(crate) async fn only_a_newer_word_makes_a_worker_present_unless_its_clock_was_put_right(
    world: World,
) {
    let catalog = world.open().await;
    let now = catalog.clock().await.unwrap();
    let word = |worker: &str, seconds: i64| Announcement {
        at: now.checked_add(SignedDuration::from_secs(seconds)).unwrap(),
        ..announcement(OCR, worker, 0)
    };
    let last = [word("dead", -10), word("wrong", 3600)];
    catalog.apply(&last.clone().map(Message::Announcement)).await.unwrap();
    world.execute("UPDATE workers SET heard_at = heard_at - 30000000").await;
    // What waited in the queue comes late, or twice.
    let late = [word("dead", -20), last[0].clone()];
    catalog.apply(&late.map(Message::Announcement)).await.unwrap();
    assert!(present(&catalog).await.is_empty());
    let right = word("wrong", 0);
    catalog.apply(&[Message::Announcement(right.clone())]).await.unwrap();
    assert_eq!(present(&catalog).await, [right]);
    let goodbye = Announcement { leaving: true, ..word("wrong", 1) };
    catalog.apply(&[Message::Announcement(goodbye)]).await.unwrap();
    catalog.apply(&[Message::Announcement(word("wrong", 0))]).await.unwrap();
    assert!(present(&catalog).await.is_empty());
}
