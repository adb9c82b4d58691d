//! Hosts that have had enough for a while, and hosts that die in the middle of a list.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Server;
use crate::world::{World, png};

/// URLs of a list.
const URLS: u32 = 200;
/// Images that are served between two storms.
const CALM: u32 = 50;
const STORMS: usize = 3;
/// What a storm asks for, in the words of `Retry-After: 1`.
const SILENCE: Duration = Duration::from_secs(1);

/// What a moody host has seen.
#[derive(Default)]
struct Mood {
    /// Whether it serves nothing at all.
    is_bad: bool,
    requests: usize,
    served: u32,
    silent_until: Option<Instant>,
    /// Of each storm, the requests that came before the silence was over.
    impatient: Vec<usize>,
}

impl Mood {
    /// The status with which a request is refused; none when it is served.
    fn refuses(&mut self) -> Option<&'static str> {
        self.requests += 1;
        if self.is_bad {
            return Some("503 Service Unavailable");
        }
        let now = Instant::now();
        let begun = self.impatient.len();
        if self.silent_until.is_some_and(|until| now < until) {
            self.impatient[begun - 1] += 1;
        } else if begun < STORMS && self.served == CALM * (begun as u32 + 1) {
            self.silent_until = Some(now + SILENCE);
            self.impatient.push(0);
        } else {
            self.served += 1;
            return None;
        }
        Some(match self.impatient.len() % 2 {
            0 => "503 Service Unavailable",
            _ => "429 Too Many Requests",
        })
    }
}

/// Reads a request; its path, or none when the other side has gone.
async fn asked(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    request.split(' ').nth(1).map(str::to_owned)
}

async fn answer(stream: &mut TcpStream, status: &str, more: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}

/// Serves `/N.png` as its mood is.
async fn moody(mood: &Arc<Mutex<Mood>>) -> String {
    let mood = Arc::clone(mood);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mood = Arc::clone(&mood);
            tokio::spawn(async move {
                let Some(path) = asked(&mut stream).await else { return };
                let Some(number) =
                    path.strip_prefix('/').and_then(|rest| rest.strip_suffix(".png"))
                else {
                    return answer(&mut stream, "404 Not Found", "", b"").await;
                };
                let refused = mood.lock().unwrap().refuses();
                match refused {
                    Some(status) => answer(&mut stream, status, "retry-after: 1\r\n", b"").await,
                    None => answer(&mut stream, "200 OK", "", &png(number.parse().unwrap())).await,
                }
            });
        }
    });
    address
}

fn urls(host: &str) -> String {
    (0..URLS).map(|number| format!("{host}/{number}.png\n")).collect()
}

async fn world() -> World {
    let mut world = World::new().await;
    world.options.fetch.allow_private_hosts = true;
    world
}

#[tokio::test]
async fn a_host_that_asks_for_silence_again_and_again_gets_it_from_all_of_its_urls() {
    let mut world = world().await;
    // More tries than storms: whatever a URL meets, it is served in the end.
    world.options.fetch_attempts = 10;
    let mood = Arc::new(Mutex::new(Mood::default()));
    let host = moody(&mood).await;
    let list = world.put("list.txt", urls(&host).as_bytes());
    let begun = Instant::now();
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.enqueued, summary.problems), (URLS.into(), 0), "{:?}", sent.problems);
    assert!(begun.elapsed() >= SILENCE * STORMS as u32, "{:?}", begun.elapsed());
    let mood = mood.lock().unwrap();
    assert_eq!((mood.impatient.len(), mood.served), (STORMS, URLS));
    // What was on its way already when the first one was refused.
    let at_once = world.options.manners.connections;
    assert!(mood.impatient.iter().all(|count| *count < at_once), "{:?}", mood.impatient);
    assert!(mood.requests <= URLS as usize + STORMS * at_once, "{} requests", mood.requests);
}

#[tokio::test]
async fn a_storm_that_asks_for_more_than_is_given_costs_each_url_one_request_and_one_outcome() {
    let mut world = world().await;
    world.options.manners.longest_silence = SILENCE / 2;
    let mood = Arc::new(Mutex::new(Mood { is_bad: true, ..Mood::default() }));
    let host = moody(&mood).await;
    let list = world.put("list.txt", urls(&host).as_bytes());
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.problems), (0, URLS.into()));
    assert_eq!(mood.lock().unwrap().requests, URLS as usize);
    for problem in &sent.problems {
        assert!(problem.reason.contains("503"), "{problem:?}");
        assert!(problem.source.is_some(), "it can be tried again");
    }
}

/// Serves so many images, whatever is asked for, and is gone for good: whoever is connected by then hears nothing.
async fn dying(images: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut served = 0;
        while served < images {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            if asked(&mut stream).await.is_some() {
                served += 1;
                answer(&mut stream, "200 OK", "", &png(1000 + served)).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_host_that_dies_half_way_costs_the_rest_of_its_urls_and_none_of_another_host() {
    let mut world = world().await;
    world.options.manners.robots = false;
    world.options.manners.away = Duration::from_secs(3600);
    world.options.fetch_attempts = 2;
    let (dies, lives) = (dying(40).await, Server::start().await);
    let mut lines = String::new();
    for number in 0..100 {
        lives.put(&format!("/{number}.png"), png(number), "", None);
        lines.push_str(&format!("{dies}/{number}.png\n{}/{number}.png\n", lives.address));
    }
    let list = world.put("list.txt", lines.as_bytes());
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.enqueued, summary.problems), (140, 60));
    let of = |host: &str| {
        sent.intakes.iter().filter(|one| one.sources[0].as_str().starts_with(host)).count()
    };
    assert_eq!((of(&dies), of(&lives.address)), (40, 100));
    for problem in &sent.problems {
        assert!(problem.reference.starts_with(&dies), "{problem:?}");
        assert!(problem.source.is_some(), "it can be tried again: {problem:?}");
    }
}
