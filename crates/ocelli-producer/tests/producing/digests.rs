//! URLs whose list says their digest: nothing is asked of their hosts until a worker reads them.

use ocelli_core::Digest;
use tokio::net::TcpListener;

use crate::server::Server;
use crate::world::{World, png};

async fn world() -> (World, Server) {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    let server = Server::start().await;
    server.put("/a.png", png(1), "", None);
    (world, server)
}

#[tokio::test]
async fn a_url_with_its_digest_is_told_and_nobody_is_asked() {
    let (world, server) = world().await;
    let (right, wrong) = (Digest::of(&png(1)), Digest::of(b"other"));
    let list = format!(
        "uri,digest\n{0}/a.png,{right}\n{0}/wrong.png,{wrong}\nhttp://nowhere.invalid/b.png,sha256:{right}\n",
        server.address
    );
    let list = world.put("list.csv", list.as_bytes());
    let (first, sent) = world.produce(&[&list]).await;
    assert_eq!((first.accepted, first.enqueued, first.known, first.bytes), (3, 2, 1, 0));
    assert_eq!(server.looked().0, Vec::<String>::new(), "not even for its rules");
    assert!(sent.intakes.iter().all(|intake| intake.image.is_unread()));
    let record = world.catalog.record(&right).await.unwrap().unwrap();
    assert_eq!(record.sightings.len(), 2);
    let (second, sent) = world.produce(&[&list]).await;
    assert_eq!((second.known, second.unread, sent.intakes.len()), (3, 3, 0), "nothing is new");
    assert_eq!(server.looked().0, Vec::<String>::new());
    let audit = world.catalog.audit().await.unwrap();
    assert!(audit.problems.is_empty(), "{:?}", audit.problems);
}

#[tokio::test]
async fn what_needs_the_bytes_has_them_fetched_and_compared() {
    let (mut world, server) = world().await;
    let list = |digest| format!("uri,digest\n{}/a.png,{digest}\n", server.address);
    let lists = [
        world.put("right.csv", list(Digest::of(&png(1))).as_bytes()),
        world.put("wrong.csv", list(Digest::of(b"other")).as_bytes()),
    ];
    let usual = world.options.clone();
    for change in [
        |options: &mut ocelli_producer::ProducerOptions| options.skip_unchanged = false,
        |options: &mut ocelli_producer::ProducerOptions| options.trust_digests = false,
        |options: &mut ocelli_producer::ProducerOptions| options.hash = true,
        |options: &mut ocelli_producer::ProducerOptions| {
            options.only_first = ["tesseract-ocr".parse().unwrap()].into();
        },
    ] {
        change(&mut world.options);
        let (summary, sent) = world.produce(&[&lists[0], &lists[1]]).await;
        assert_eq!((summary.accepted, summary.problems), (1, 1));
        assert!(sent.problems[0].reason.contains("another digest"), "{:?}", sent.problems);
        assert_eq!(server.looked().1, 2);
        world.options = usual.clone();
    }
    // Lists that strangers send are believed in nothing.
    world.options.within = Some(world.images());
    let (summary, _) = world.produce(&[&lists[0], &lists[1]]).await;
    assert_eq!((summary.accepted, summary.problems), (1, 1));
}

#[tokio::test]
async fn a_host_that_takes_no_connection_costs_a_long_list_no_long_time() {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    world.options.manners.robots = false;
    world.options.manners.away = std::time::Duration::from_secs(3600);
    world.options.fetch_attempts = 2;
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let lines: String = (0..3000).map(|number| format!("http://{gone}/{number}.png\n")).collect();
    let list = world.put("list.txt", lines.as_bytes());
    let begun = std::time::Instant::now();
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!(summary.problems, 3000);
    let waited = |problem: &&ocelli_core::wire::Problem| !problem.reason.contains("a moment ago");
    assert!(sent.problems.iter().filter(waited).count() <= 2 * world.options.fetchers);
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(sent.problems.iter().all(|problem| problem.source.is_some()), "to be tried again");
}
