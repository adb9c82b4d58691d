//! The side door of every program: /metrics, /healthz, /readyz.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ocelli_testkit::ports;

use crate::services::{Database, Fleet};
use crate::world::{NOTE, Service, until};

/// What is promised of a start that cannot succeed.
const SOON: Duration = Duration::from_secs(5);

/// Status and body of a GET. Connection refused counts as status 0.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address) else { return (0, String::new()) };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer))
        .is_err()
    {
        return (0, String::new());
    }
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_program_serves_metrics_health_and_readiness_and_counts_what_it_did() {
    let fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.samples("in", &[NOTE]);
    // The site comes behind the collector, which makes the archive.
    let programs = ["ocelli-collector", "ocelli-ocr-worker", "ocelli-llm-worker", "ocelli-web"];
    let services: Vec<(String, Service)> = programs
        .iter()
        .map(|program| {
            let address = format!("127.0.0.1:{}", ports::free());
            let more = ["--listen", &address, "--set", "web.listen=127.0.0.1:0"];
            let service = fleet.world.start(program, more);
            until("it is ready", || get(&address, "/readyz").0 == 200);
            (address, service)
        })
        .collect();
    for (address, service) in &services {
        assert_eq!(get(address, "/healthz").0, 200, "{}", service.log());
        assert_eq!(get(address, "/elsewhere").0, 404);
        let metrics = get(address, "/metrics").1;
        for name in ["ocelli_build_info", "process_resident_memory_bytes"] {
            assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
        }
    }
    assert_eq!(fleet.produce("in")["jobs"], 1);
    fleet.finished(1, 1);
    let worker = get(&services[1].0, "/metrics").1;
    assert!(
        worker.contains("ocelli_jobs_total{analyzer=\"tesseract-ocr\",outcome=\"done\"} 1"),
        "{worker}"
    );
    let site = get(&services[3].0, "/metrics").1;
    assert!(
        site.contains("ocelli_producer_references_total"),
        "what it can count is there: {site}"
    );
    assert!(!site.contains("ocelli_records_completed_total"), "what others count is not: {site}");
    let collector = get(&services[0].0, "/metrics").1;
    assert!(collector.contains("ocelli_records_completed_total 1"), "{collector}");
    for (_, service) in services {
        assert_eq!(service.stop(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_ends_the_program_with_the_address_and_the_way_out() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fleet.world.many("in", 1);
    let programs: [(&str, &[&str]); 7] = [
        ("ocelli-collector", &[]),
        ("ocelli-ocr-worker", &[]),
        ("ocelli-llm-worker", &[]),
        ("ocelli-web", &[]),
        ("ocelli-producer", &["in"]),
        ("ocelli", &["up", "in"]),
        ("ocelli", &["web"]),
    ];
    for (program, words) in programs {
        let started = Instant::now();
        let said = fleet.world.run(program, [words, &["--listen", &address]].concat());
        assert_eq!(said.code, 2, "{program}: {said:?}");
        for word in [address.as_str(), "another process", "http.listen"] {
            assert!(said.err.contains(word), "{program}, '{word}': {said:?}");
        }
        assert!(started.elapsed() < SOON, "{program}: {:?}", started.elapsed());
    }
}
