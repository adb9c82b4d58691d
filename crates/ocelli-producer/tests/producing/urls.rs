//! URLs, from a small server of this test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ocelli_core::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::Server;
use crate::world::{World, png};

/// Has rules, asks for silence, serves `/a.png`, fails once and then serves `/flaky.png`, `/page.png` is a web page, everything else is missing.
async fn server(asked: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (flaky, tired) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        while let Ok((mut stream, _)) = listener.accept().await {
            let (asked, flaky, tired) =
                (Arc::clone(&asked), Arc::clone(&flaky), Arc::clone(&tired));
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..count]).into_owned();
                asked.fetch_add(1, Ordering::Relaxed);
                let path = request.split(' ').nth(1).unwrap_or_default();
                let mut more = "";
                let (status, body) = match path {
                    "/robots.txt" => ("200 OK", b"User-agent: *\nDisallow: /private/\n".to_vec()),
                    "/noai.png" => {
                        more = "x-robots-tag: noai\r\n";
                        ("200 OK", png(3))
                    }
                    "/tired.png" if tired.fetch_add(1, Ordering::Relaxed) == 0 => {
                        more = "retry-after: 1\r\n";
                        ("429 Too Many Requests", Vec::new())
                    }
                    "/tired.png" => ("200 OK", png(4)),
                    "/busy.png" => {
                        more = "retry-after: 86400\r\n";
                        ("503 Service Unavailable", Vec::new())
                    }
                    "/moved.png" => {
                        more = "location: /a.png\r\n";
                        ("302 Found", Vec::new())
                    }
                    "/moved-inside.png" => {
                        more = "location: /private/a.png\r\n";
                        ("302 Found", Vec::new())
                    }
                    "/a.png" => ("200 OK", png(1)),
                    "/flaky.png" if flaky.fetch_add(1, Ordering::Relaxed) == 0 => {
                        ("503 Service Unavailable", Vec::new())
                    }
                    "/flaky.png" => ("200 OK", png(2)),
                    "/page.png" => ("200 OK", b"<!DOCTYPE html><html></html>".to_vec()),
                    _ => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn urls_are_fetched_tried_again_and_each_ends_visibly() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    let asked = Arc::new(AtomicUsize::new(0));
    let server = server(Arc::clone(&asked)).await;
    let list = world.put(
        "list.csv",
        format!(
            "uri,first_seen\n{server}/a.png,2024-05-04T09:00:51Z\n{server}/flaky.png,\n{server}/page.png,\n{server}/missing.png,\n"
        )
        .as_bytes(),
    );
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.enqueued, summary.refused, summary.problems), (2, 1, 1));
    assert_eq!(
        asked.load(Ordering::Relaxed),
        6,
        "its rules once, and only what may pass is tried again"
    );
    assert!(sent.problem("/missing.png").reason.contains("list.csv:5"));
    let record = world.catalog.record(&Digest::of(&png(1))).await.unwrap().unwrap();
    assert_eq!(record.first_seen().unwrap().to_string(), "2024-05-04T09:00:51Z");
}

#[tokio::test]
async fn a_long_page_is_left_at_its_beginning_and_said_to_be_one() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    let host = Server::start().await;
    let page = b"<!DOCTYPE html>";
    host.put("/long.png", [page.as_slice(), &[b' '; 20_000]].concat(), "", None);
    host.put("/short.png", page.to_vec(), "", None);
    let list = format!("{0}/long.png\n{0}/short.png\n", host.address);
    let list = world.put("list.txt", list.as_bytes());
    let (summary, sent) = world.produce(&[&list]).await;
    // All of the short one was read: its refusal stands under its digest.
    assert_eq!((summary.refused, summary.problems, summary.jobs), (1, 1, 0), "{sent:?}");
    let problem = sent.problem("/long.png");
    assert!(problem.reason.contains("it looks like a web page (HTML)"), "{problem:?}");
    assert!(problem.source.is_some(), "it can be tried again");
}

#[tokio::test]
async fn a_url_of_this_machine_is_a_problem_unless_it_is_allowed() {
    let world = World::new().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let server = server(Arc::clone(&asked)).await;
    let list = world.put("list.txt", format!("{server}/a.png\n").as_bytes());
    let (summary, _) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.problems), (0, 1));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn rules_of_hosts_are_obeyed_unless_the_settings_say_otherwise() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    let asked = Arc::new(AtomicUsize::new(0));
    let server = server(Arc::clone(&asked)).await;
    let list = world.put(
        "list.txt",
        format!("{server}/private/a.png\n{server}/noai.png\n{server}/a.png\n").as_bytes(),
    );
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.skipped, summary.problems), (1, 2, 0), "{sent:?}");
    for skipped in &sent.passed_over {
        assert_eq!(skipped.rule.as_deref(), Some("robots"));
        assert!(skipped.reason.contains("producer.obey_robots"), "{}", skipped.reason);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3, "what is disallowed is not asked for");
    world.options.manners.robots = false;
    world.options.fetch.robots_tags = false;
    let (summary, _) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.skipped, summary.problems), (2, 0, 1));
}

#[tokio::test]
async fn rules_count_where_a_redirect_leads_to() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    let asked = Arc::new(AtomicUsize::new(0));
    let server = server(Arc::clone(&asked)).await;
    let list = format!("{server}/moved.png\n{server}/moved-inside.png\n");
    let list = world.put("list.txt", list.as_bytes());
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.skipped, summary.problems), (1, 1, 0), "{sent:?}");
    assert!(sent.passed_over[0].reference.ends_with("/moved-inside.png"), "{sent:?}");
    assert_eq!(
        asked.load(Ordering::Relaxed),
        4,
        "the rules once, both, and the one that is allowed"
    );
}

#[tokio::test]
async fn a_host_that_asks_for_silence_is_given_it_and_one_that_asks_for_a_day_is_left() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    let asked = Arc::new(AtomicUsize::new(0));
    let server = server(Arc::clone(&asked)).await;
    let begun = std::time::Instant::now();
    let tired = world.put("tired.txt", format!("{server}/tired.png\n").as_bytes());
    let (summary, _) = world.produce(&[&tired]).await;
    assert_eq!(summary.enqueued, 1);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    asked.store(0, Ordering::Relaxed);
    let busy = world.put("busy.txt", format!("{server}/busy.png\n").as_bytes());
    let (summary, sent) = world.produce(&[&busy]).await;
    assert_eq!(summary.problems, 1);
    assert_eq!(asked.load(Ordering::Relaxed), 2, "its rules, and the image once");
    assert!(sent.problem("/busy.png").source.is_some(), "it can be tried again");
}

#[tokio::test]
async fn images_of_urls_are_kept_once_and_read_when_their_host_is_gone() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    world.options.fetch.kept = Some(world.at("../kept").into());
    let server = server(Arc::new(AtomicUsize::new(0))).await;
    let list = world.put("list.txt", format!("{server}/a.png\n{server}/page.png\n").as_bytes());
    let local = world.put_image("local.png", 7);
    let (summary, _) = world.produce(&[&list, &local]).await;
    assert_eq!((summary.enqueued, summary.refused), (2, 1));
    let fetcher = ocelli_media::Fetcher::new(world.options.fetch.clone()).unwrap();
    assert_eq!(fetcher.kept(&Digest::of(&png(1))).await.unwrap().unwrap(), png(1));
    let local_copy = fetcher.kept(&Digest::of(&png(7))).await.unwrap();
    assert!(local_copy.is_none(), "files are read where they are");
    // A store that takes nothing costs each image its own visible failure.
    let file = world.put("../no-folder", b"");
    world.options.fetch.kept = Some(file.into());
    world.put("list.txt", format!("{server}/flaky.png\n").as_bytes());
    let (summary, sent) = world.produce(&[&list, &local]).await;
    assert_eq!((summary.known, summary.problems), (1, 1));
    assert!(sent.problem("/flaky.png").reason.contains("producer.keep_urls"));
}
