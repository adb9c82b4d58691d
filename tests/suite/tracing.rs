//! One image's way through the system is one trace: in the messages, the log, the record, and at whoever collects spans.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::services::{Database, Fleet};
use crate::world::{NOTE, until};

/// A receiver of OTLP over HTTP in JSON, as an OpenTelemetry collector is one: it keeps the spans, and refuses what is no
/// such request. Answers its address.
fn receiver(spans: Arc<Mutex<Vec<Value>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the process of the test.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut part = [0; 8192];
            let body = loop {
                let read = stream.read(&mut part).unwrap_or(0);
                request.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
                if read == 0 || body.len() >= length.unwrap_or(usize::MAX) {
                    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                    assert!(head.contains("Content-Type: application/json"), "{head}");
                    break body.to_owned();
                }
            };
            let request: Value = serde_json::from_str(&body).unwrap();
            for resource in request["resourceSpans"].as_array().unwrap() {
                let service = &resource["resource"]["attributes"][0]["value"]["stringValue"];
                for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
                    let mut span = span.clone();
                    span["service"] = service.clone();
                    spans.lock().unwrap().push(span);
                }
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        }
    });
    address
}

/// The value of an attribute.
fn attribute<'a>(span: &'a Value, name: &str) -> &'a str {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|attribute| attribute["key"] == name);
    found.and_then(|attribute| attribute["value"]["stringValue"].as_str()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_producer_through_the_worker_to_the_collector_and_into_the_record()
{
    let mut fleet = Fleet::new(Database::Sqlite).await;
    let spans: Arc<Mutex<Vec<Value>>> = Arc::default();
    let address = receiver(Arc::clone(&spans));
    fleet.world.settings(&format!(
        "[log]\nlevel = \"info,ocelli_worker=debug\"\nformat = \"json\"\ntraces = \"{address}\""
    ));
    fleet.world.samples("in", &[NOTE]);
    let collector = fleet.start("ocelli-collector");
    let worker = fleet.start("ocelli-ocr-worker");
    assert_eq!(fleet.produce("in")["jobs"], 1);
    fleet.finished(1, 1);
    let record = fleet.world.json(["show", &format!("in/{NOTE}"), "--format", "json"]);
    let text = record.to_string();
    let trace =
        text.split_once("\"trace\":\"").expect("the record names its trace").1[..32].to_owned();
    assert_eq!((worker.stop(), collector.stop()), (0, 0));
    let found = |test: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        spans.lock().unwrap().iter().filter(|span| test(span)).cloned().collect()
    };
    let of = |service: &str, name: &str| {
        found(&|span| {
            span["traceId"] == trace && span["service"] == service && span["name"] == name
        })
    };
    until("the spans have arrived", || !of("ocelli-ocr-worker", "process job").is_empty());
    let sent = of("ocelli", "send");
    let to = |queue: &str| {
        sent.iter().find(|span| attribute(span, "messaging.destination.name") == queue)
    };
    let job = to("jobs.tesseract-ocr").unwrap_or_else(|| panic!("{sent:?}"));
    assert!(to("results").is_some(), "{sent:?}");
    assert_eq!((&job["kind"], &job["parentSpanId"]), (&json!(4), &json!("")));
    // The worker goes on with it, and is linked to it.
    let processed = &of("ocelli-ocr-worker", "process job")[0];
    assert_eq!(processed["parentSpanId"], job["spanId"]);
    assert_eq!(processed["links"][0]["spanId"], job["spanId"]);
    assert_eq!(processed["kind"], 5);
    assert!(attribute(processed, "messaging.message.id").starts_with("intake:"), "{processed}");
    let answered = &of("ocelli-ocr-worker", "send")[0];
    assert_eq!(answered["parentSpanId"], processed["spanId"]);
    // The collector writes many messages at once, and is linked to each.
    let linked = found(&|span| {
        span["name"] == "process results"
            && span["links"].as_array().unwrap().iter().any(|link| link["traceId"] == trace)
    });
    assert!(!linked.is_empty(), "{:?}", spans.lock().unwrap());
    let times = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
    for span in &*spans.lock().unwrap() {
        assert!(times(span, "startTimeUnixNano") <= times(span, "endTimeUnixNano"), "{span}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_an_image_is_logged_with_its_trace_and_nobody_waits_for_a_collector() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    // Nobody listens there.
    fleet.world.settings("[log]\nformat = \"json\"\ntraces = \"http://127.0.0.1:1\"");
    fleet.world.samples("in", &[NOTE]);
    let collector = fleet.start("ocelli-collector");
    assert_eq!(fleet.produce("in")["jobs"], 1);
    std::fs::remove_file(fleet.world.path("in").join(NOTE)).unwrap();
    let worker = fleet.start("ocelli-ocr-worker");
    until("it failed", || fleet.world.row("tesseract-ocr")["failed"] == 1);
    let log = worker.log();
    let line =
        log.lines().find(|line| line.contains("job failed")).unwrap_or_else(|| panic!("{log}"));
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["trace_id"].as_str().map(str::len), Some(32), "{line}");
    assert_eq!((worker.stop(), collector.stop()), (0, 0));
    let wrong =
        fleet.world.ocelli(["config", "check", "--set", "log.traces=https://example.org:4318"]);
    assert!(wrong.code == 2 && wrong.err.contains("log.traces"), "{wrong:?}");
}

/// A command for people is quiet, whatever the settings say, until its flag asks it to talk.
const LEVEL: &str = "info,ocelli_producer=debug,ocelli_worker=debug,ocelli_collector=debug";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Lines of JSON that say something about one image or message.
fn about_one(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let names = ["digest", "id", "reference", "path", "source"];
    let is_about_one = |line: &Value| {
        names.iter().any(|name| line.get(name).is_some()) || line["span"]["name"] == "job"
    };
    lines.filter(is_about_one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_about_an_image_names_its_trace_whichever_program_writes_it() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.settings(&format!("[log]\nformat = \"json\"\nlevel = \"{LEVEL}\""));
    fleet.world.samples("in", &[NOTE]);
    std::fs::write(fleet.world.path("in/notes.txt"), "no image").unwrap();
    std::fs::write(fleet.world.path("list.txt"), "in/missing.png\n").unwrap();
    let collector = fleet.start("ocelli-collector");
    let produced =
        fleet.world.ocelli(["produce", "in", "list.txt", "--json", "--log-level", LEVEL]).err;
    assert!(produced.contains("no such file") && produced.contains("passed over"), "{produced}");
    std::fs::remove_file(fleet.world.path("in").join(NOTE)).unwrap();
    let worker = fleet.start("ocelli-ocr-worker");
    until("it failed", || fleet.world.row("tesseract-ocr")["failed"] == 1);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let properties = json!({"message_id": "strange", "headers": {"traceparent": traceparent}});
    for queue in ["ocelli.results", "ocelli.jobs.tesseract-ocr"] {
        fleet.inject(queue, properties.clone(), b"no envelope");
    }
    let set_aside = |log: String| log.contains("set aside");
    until("both are set aside", || set_aside(collector.log()) && set_aside(worker.log()));
    for (program, log) in
        [("producer", produced), ("worker", worker.log()), ("collector", collector.log())]
    {
        let lines = about_one(&log);
        assert!(!lines.is_empty(), "{program}: {log}");
        for line in lines {
            assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{program}: {line}");
        }
        assert!(program == "producer" || log.contains(TRACE), "{program}: {log}");
    }
    // The way of one image is one search in all logs.
    let failed = about_one(&worker.log())
        .into_iter()
        .find(|line| line["message"].as_str().is_some_and(|said| said.contains("job failed")));
    let failed = failed.unwrap_or_else(|| panic!("{}", worker.log()));
    let record = fleet.world.json(["show", failed["digest"].as_str().unwrap(), "--format", "json"]);
    let named = format!("\"trace\":\"{}\"", failed["trace_id"].as_str().unwrap());
    assert!(record.to_string().contains(&named), "{failed} {record}");
    assert_eq!((worker.stop(), collector.stop()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_the_trace_of_an_image_too() {
    let mut world = crate::world::World::new();
    world.settings("[log]\nformat = \"pretty\"");
    std::fs::write(world.path("list.txt"), "missing.png\n").unwrap();
    let said = world.ocelli(["run", "list.txt", "--log-level", "info"]).err;
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("INFO image: ")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(" trace_id=")), "{said}");
}
