//! Children that hang hold up nothing but their own images.

use ocelli_testkit::ports;
use rustix::process::Signal;

use crate::health::get;
use crate::metrics::value;
use crate::services::{Database, Fleet};
use crate::world::until;

/// The broker ends a connection that is silent for twice the heartbeat, which is 2 s here; the children hang for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_children_all_hang_keeps_its_connection_and_reads_on() {
    let fleet = Fleet::new(Database::Postgres).await;
    fleet.world.many("in", 60);
    let listen = format!("127.0.0.1:{}", ports::free());
    let _collector = fleet.start("ocelli-collector");
    let slow = [
        "--listen",
        &listen,
        "--set",
        "analyzers.tesseract-ocr.soft_deadline=2s",
        "--set",
        "analyzers.tesseract-ocr.hard_deadline=7s",
    ];
    let worker = fleet.world.start("ocelli-ocr-worker", slow);
    until("the worker is ready", || {
        let status = fleet.world.ocelli(["status", "--json"]).out;
        status.contains("\"workers\": 1") && !status.contains("starting")
    });
    assert_eq!(fleet.produce("in")["jobs"], 60);
    let count = |name: &str| value(&get(&listen, "/metrics").1, name).unwrap_or(-1.0);
    until("children are at work", || count("ocelli_ocr_children_started_total") >= 1.0);
    worker.signal_children(Signal::STOP);
    until("the children that hang are killed", || {
        count("ocelli_ocr_children_lost_total{reason=\"deadline\"}") >= 1.0
    });
    fleet.finished(60, 1);
    assert_eq!(count("ocelli_broker_reconnects_total"), 0.0, "{}", worker.log());
    assert_eq!(worker.stop(), 0);
}
