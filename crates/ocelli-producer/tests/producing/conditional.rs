//! URLs that are listed again: whose servers say that nothing has changed sends nothing.

use ocelli_core::Digest;
use ocelli_producer::{Source, run};
use tokio_util::sync::CancellationToken;

use crate::server::Server;
use crate::world::{World, png};

const TAG: &str = "etag: \"one\"\r\n";
const SAME: Option<&str> = Some("if-none-match: \"one\"");

async fn world() -> (World, Server, std::path::PathBuf) {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    world.options.manners.robots = false;
    let server = Server::start().await;
    let list = world.put("list.txt", format!("{}/a.png\n", server.address).as_bytes());
    (world, server, list)
}

#[tokio::test]
async fn a_url_whose_server_says_so_is_as_it_was_and_no_body_is_sent() {
    let (world, server, list) = world().await;
    server.put("/a.png", png(1), TAG, SAME);
    let (first, _) = world.produce(&[&list]).await;
    assert_eq!((first.enqueued, server.looked().1), (1, 1));
    let (second, sent) = world.produce(&[&list]).await;
    assert_eq!((second.known, second.unread, second.bytes, sent.intakes.len()), (1, 1, 0, 0));
    assert_eq!(server.looked(), (vec!["/a.png".to_owned()], 0), "asked, and nothing sent");
    server.put("/a.png", png(2), "etag: \"two\"\r\n", Some("if-none-match: \"two\""));
    let (third, _) = world.produce(&[&list]).await;
    assert_eq!((third.enqueued, third.unread, server.looked().1), (1, 0, 1));
    assert!(world.catalog.record(&Digest::of(&png(2))).await.unwrap().is_some());
    let (fourth, _) = world.produce(&[&list]).await;
    assert_eq!((fourth.unread, server.looked().1), (1, 0));
}

#[tokio::test]
async fn a_date_of_change_does_as_well_once_it_has_settled() {
    let (world, server, list) = world().await;
    let (date, changed) = ("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT");
    let same = format!("if-modified-since: {changed}");
    let head = format!("date: {date}\r\nlast-modified: {changed}\r\n");
    server.put("/a.png", png(1), &head, Some(&same));
    world.produce(&[&list]).await;
    let (second, _) = world.produce(&[&list]).await;
    assert_eq!((second.unread, server.looked().1), (1, 1));
}

#[tokio::test]
async fn all_bytes_are_asked_for_on_request_and_weak_tags_are_none() {
    let (mut world, server, list) = world().await;
    server.put("/a.png", png(1), TAG, SAME);
    world.produce(&[&list]).await;
    world.options.skip_unchanged = false;
    let (verified, _) = world.produce(&[&list]).await;
    assert_eq!((verified.known, verified.unread, server.looked().1), (1, 0, 2));
    world.options.skip_unchanged = true;
    let weak = Some("if-none-match: W/\"one\"");
    server.put("/weak.png", png(2), "etag: W/\"one\"\r\n", weak);
    let list = world.put("weak.txt", format!("{}/weak.png\n", server.address).as_bytes());
    world.produce(&[&list]).await;
    world.produce(&[&list]).await;
    assert_eq!(server.looked().1, 2);
}

#[tokio::test]
async fn a_url_whose_sighting_has_not_arrived_or_whose_copy_is_gone_is_fetched_again() {
    let (mut world, server, list) = world().await;
    world.options.fetch.kept = Some(world.at("../kept").into());
    server.put("/a.png", png(1), TAG, SAME);
    for _ in 0..2 {
        // What was sent is still in its queue.
        let parts = world.parts(vec![Source::Manifest(list.clone())]);
        let summary = run(parts, CancellationToken::new()).await.unwrap();
        assert_eq!((summary.enqueued, server.looked().1), (1, 1));
    }
    world.collect().await;
    let (third, _) = world.produce(&[&list]).await;
    assert_eq!((third.unread, server.looked().1), (1, 0));
    let kept = ocelli_media::Store::new(world.at("../kept")).path(&Digest::of(&png(1)));
    std::fs::write(&kept, b"damaged").unwrap();
    let (fourth, _) = world.produce(&[&list]).await;
    assert_eq!((fourth.known, fourth.unread, server.looked().1), (1, 0, 1));
    assert_eq!(std::fs::read(&kept).unwrap(), png(1), "it is kept again");
}

#[tokio::test]
async fn a_server_that_says_unchanged_although_nobody_asked_is_not_believed() {
    let (world, server, list) = world().await;
    // It says so to every request.
    server.put("/a.png", png(1), "", Some("accept-encoding: identity"));
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.problems), (0, 1));
    assert!(sent.problem("/a.png").reason.contains("304"), "{:?}", sent.problems);
}
