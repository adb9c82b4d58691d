//! Whoever listens is told of every record that is complete: over queues of their own, and over webhooks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ocelli_failpoint::Failpoint;
use ocelli_testkit::ports;
use serde_json::{Value, json};

use crate::health::get;
use crate::metrics::value;
use crate::services::{Database, Fleet};
use crate::world::{NOTE, Service, World, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Pauses and leases short enough for a test.
const QUICK: &str = "[events]\nretry_first = \"100ms\"\nretry_longest = \"500ms\"\nlease = \"1s\"";

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Fails,
    Redirects,
    Hangs,
}

/// What came.
#[derive(Debug, Clone)]
struct Request {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver of webhooks.
struct Receiver {
    address: String,
    mood: Arc<Mutex<Mood>>,
    came: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mood, came) = (Arc::new(Mutex::new(mood)), Arc::new(Mutex::new(Vec::new())));
        let (moods, all) = (Arc::clone(&mood), Arc::clone(&came));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mood, all) = (*moods.lock().unwrap(), Arc::clone(&all));
                std::thread::spawn(move || answer(stream, mood, &all));
            }
        });
        Self { address, mood, came }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn came(&self) -> Vec<Request> {
        self.came.lock().unwrap().clone()
    }

    /// Digests of the records it was told of and took.
    fn digests(&self) -> BTreeSet<String> {
        let digest = |one: &Request| one.json()["digest"].as_str().unwrap().to_owned();
        self.came().iter().map(digest).collect()
    }

    fn webhook(&self, name: &str, more: &str) -> String {
        format!(
            "[[webhook]]\nname = \"{name}\"\nurl = \"http://{}/told\"\nsecret = \"{SECRET}\"\n\
             timeout = \"500ms\"\nallow_private = true\n{more}",
            self.address
        )
    }
}

/// Notes what it takes, and says so.
fn answer(stream: TcpStream, mood: Mood, all: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let status = match mood {
        Mood::Takes => "204 No Content\r\n",
        Mood::Fails => "500 Internal Server Error\r\n",
        Mood::Redirects => "302 Found\r\nLocation: http://169.254.169.254/\r\n",
        Mood::Hangs => {
            // Until the other side gives up.
            let mut rest = [0];
            let _gone = reader.read(&mut rest);
            return None;
        }
    };
    if mood == Mood::Takes {
        all.lock().unwrap().push(Request { headers, body: String::from_utf8(body).ok()? });
    }
    let head = format!("HTTP/1.1 {status}Content-Length: 0\r\nConnection: close\r\n\r\n");
    reader.get_mut().write_all(head.as_bytes()).ok()
}

/// The signature as Python's own library computes it.
fn signature(id: &str, time: &str, body: &str) -> String {
    let script = "import base64, hashlib, hmac, sys\n\
         key = base64.b64decode(sys.argv[1].removeprefix('whsec_'))\n\
         said = f'{sys.argv[2]}.{sys.argv[3]}.'.encode() + sys.stdin.buffer.read()\n\
         print('v1,' + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode())";
    let mut python = Command::new("python3")
        .args(["-c", script, SECRET, id, time])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn listener(world: &World, name: &str) -> Value {
    let all = world.json(["events", "list", "--json"]);
    let found = all.as_array().unwrap().iter().find(|one| one["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("no {name} in {all}"))
}

fn start(fleet: &Fleet) -> Service {
    fleet.start("ocelli-collector")
}

/// A queue of somebody's own, bound to the exchange of events.
fn bind(fleet: &Fleet) {
    let (api, vhost) = (fleet.rabbitmq.api(), &fleet.rabbitmq.vhost);
    let topic = json!({"type": "topic", "durable": true});
    api.put(&format!("exchanges/{vhost}/ocelli.events"), &topic).unwrap();
    api.put(&format!("queues/{vhost}/mine"), &json!({"durable": true})).unwrap();
    let key = json!({"routing_key": "record.completed"});
    api.post(&format!("bindings/{vhost}/e/ocelli.events/q/mine"), &key).unwrap();
}

/// What lies in that queue.
fn heard(fleet: &Fleet) -> Vec<Value> {
    let ask = json!({"count": 1000, "ackmode": "ack_requeue_true", "encoding": "auto"});
    let path = format!("queues/{}/mine/get", fleet.rabbitmq.vhost);
    let got: Value =
        serde_json::from_str(&fleet.rabbitmq.api().post(&path, &ask).unwrap()).unwrap();
    let payload = |one: &Value| serde_json::from_str(one["payload"].as_str().unwrap()).unwrap();
    got.as_array().unwrap().iter().map(payload).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_told_to_queues_and_webhooks_signed_and_only_to_those_that_asked() {
    let mut fleet = Fleet::new(Database::Postgres).await;
    let (all, none) = (Receiver::start(Mood::Takes), Receiver::start(Mood::Takes));
    fleet.world.settings(&format!("{QUICK}\npublish = true"));
    fleet.world.settings(&all.webhook("all", "where = \"is:complete\""));
    fleet.world.settings(&none.webhook("none", "where = \"is:refused\""));
    fleet.world.many("in", 12);
    bind(&fleet);
    let address = format!("127.0.0.1:{}", ports::free());
    let collector = fleet.world.start("ocelli-collector", ["--listen", &address]);
    let worker = fleet.null_worker("", &[]);
    assert_eq!(fleet.produce("in")["jobs"], 12);
    fleet.finished(12, 1);
    until("everybody was told", || {
        all.digests().len() == 12
            && heard(&fleet).len() == 12
            && listener(&fleet.world, "none")["waiting"] == 0
    });
    assert!(none.came().is_empty(), "{:?}", none.came());
    for request in all.came() {
        let header = |name: &str| request.headers[name].as_str();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        assert_eq!(header("webhook-signature"), signature(id, time, &request.body), "{request:?}");
        assert_eq!(header("content-type"), "application/json");
    }
    let sorted = |mut told: Vec<Value>| {
        told.sort_by_key(|one| one["digest"].to_string());
        told
    };
    let (told, heard) =
        (sorted(all.came().iter().map(Request::json).collect()), sorted(heard(&fleet)));
    let exported = fleet.world.ocelli(["export", "--format", "jsonl"]);
    let mut records: Vec<Value> =
        exported.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort_by_key(|one| one["digest"].to_string());
    for ((told, heard), record) in told.iter().zip(&heard).zip(&records) {
        assert_eq!(
            (&told["schema"], &told["type"]),
            (&"ocelli.event/1".into(), &"record.completed".into())
        );
        assert_eq!((&told["data"], &told["digest"]), (record, &record["digest"]));
        assert_eq!(told["data"], heard["data"], "the same to everybody");
    }
    let count = |series: &str| value(&get(&address, "/metrics").1, series);
    assert_eq!(count("ocelli_events_total{listener=\"all\",outcome=\"told\"}"), Some(12.0));
    assert_eq!(count("ocelli_events_total{listener=\"none\",outcome=\"left_out\"}"), Some(12.0));
    assert_eq!(count("ocelli_events_total{listener=\"exchange\",outcome=\"told\"}"), Some(12.0));
    // A record that is larger than events may be is told of all the same.
    drop(worker);
    assert_eq!(collector.stop(), 0);
    let folder = fleet.world.many("more", 13);
    for place in 0..20 {
        let copy = folder.join(format!("another-place-{place}.png"));
        std::fs::copy(folder.join("note-00012.png"), copy).unwrap();
    }
    assert_eq!(fleet.produce("more")["accepted"], 33);
    let small = ["--listen", "off", "--set", "events.record_bytes=1KiB"];
    let _collector = fleet.world.start("ocelli-collector", small);
    until("all places are known", || {
        fleet.world.json(["status", "--json"])["sightings"].as_u64() >= Some(12 + 12 + 21)
    });
    let _worker = fleet.null_worker("", &[]);
    until("the large one was told", || all.digests().len() == 13);
    let large = all.came().into_iter().map(|one| one.json()).find(|one| one["data"].is_null());
    assert!(large.is_some_and(|one| one["digest"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_killed_between_completing_and_telling_leaves_no_record_untold() {
    let mut fleet = Fleet::new(Database::Postgres).await;
    let receiver = Receiver::start(Mood::Takes);
    fleet.world.settings(&format!("{QUICK}\npublish = true"));
    fleet.world.settings(&receiver.webhook("site", ""));
    bind(&fleet);
    let _worker = fleet.null_worker("", &[]);
    let mut images = 0;
    for point in [Failpoint::CollectorCommitted, Failpoint::EventsTaken, Failpoint::EventsTold] {
        images += 5;
        fleet.world.many("in", images);
        fleet.produce("in");
        // Five sightings and five answers: all of it is in the first batch that it writes.
        until("the answers wait", || {
            fleet.messages("results") >= 10 && fleet.messages("jobs.tesseract-ocr") == 0
        });
        let dying = fleet.world.start_dying("ocelli-collector", ["--listen", "off"], point.name());
        dying.dies_at(point.name());
        let collector = start(&fleet);
        fleet.finished(images as u64, 1);
        until(&format!("{}: all are told", point.name()), || {
            let told = heard(&fleet);
            let ids: BTreeSet<String> = told.iter().map(|one| one["digest"].to_string()).collect();
            receiver.digests().len() == images && ids.len() == images
        });
        until("nothing waits", || {
            ["site", "exchange"].iter().all(|name| listener(&fleet.world, name)["waiting"] == 0)
        });
        assert_eq!(collector.stop(), 0);
    }
    // What was told twice can be recognised.
    let ids: BTreeSet<String> =
        receiver.came().iter().map(|one| one.headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), images);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_redirects_or_hangs_is_told_later_also_after_a_restart() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    let receiver = Receiver::start(Mood::Fails);
    fleet.world.settings(QUICK);
    fleet.world.settings(&receiver.webhook("site", ""));
    fleet.world.many("in", 1);
    let _worker = fleet.null_worker("", &[]);
    let mut collector = start(&fleet);
    fleet.produce("in");
    fleet.finished(1, 1);
    for (mood, words) in [
        (Mood::Fails, "answered HTTP 500"),
        (Mood::Redirects, "redirects (HTTP 302)"),
        (Mood::Hangs, "no answer within"),
    ] {
        receiver.set(mood);
        until(words, || {
            let found = listener(&fleet.world, "site");
            found["waiting"] == 1 && found["reason"].as_str().is_some_and(|why| why.contains(words))
        });
        assert!(fleet.world.ocelli(["status"]).out.contains(words));
        assert_eq!(collector.stop(), 0);
        collector = start(&fleet);
    }
    assert!(receiver.came().is_empty());
    receiver.set(Mood::Takes);
    until("it was told", || receiver.digests().len() == 1);
    until("nothing waits", || listener(&fleet.world, "site")["waiting"] == 0);
    assert_eq!(collector.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_for_too_long_is_given_up_visibly_until_people_say_otherwise() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    let receiver = Receiver::start(Mood::Takes);
    fleet.world.settings(&format!("{QUICK}\ngive_up_after = \"1s\""));
    // The guard: nobody said that its address may be a private one.
    let webhook = receiver.webhook("site", "").replace("allow_private = true", "");
    fleet.world.settings(&webhook);
    fleet.world.many("in", 2);
    let address = format!("127.0.0.1:{}", ports::free());
    let collector = fleet.world.start("ocelli-collector", ["--listen", &address]);
    let _worker = fleet.null_worker("", &[]);
    fleet.produce("in");
    fleet.finished(2, 1);
    until("it is given up", || listener(&fleet.world, "site")["dead"] == 2);
    let reason = listener(&fleet.world, "site")["reason"].to_string();
    assert!(reason.contains("not public") && reason.contains("allow_private"), "{reason}");
    assert!(receiver.came().is_empty());
    let given_up = "ocelli_events_total{listener=\"site\",outcome=\"given_up\"}";
    assert_eq!(value(&get(&address, "/metrics").1, given_up), Some(2.0));
    let status = fleet.world.ocelli(["status"]).out;
    assert!(status.contains("site: 0 events wait, 2 were given up"), "{status}");
    assert_eq!(collector.stop(), 0);

    let settings = std::fs::read_to_string(fleet.world.path("ocelli.toml")).unwrap();
    let allowed = settings.replace("name = \"site\"", "name = \"site\"\nallow_private = true");
    std::fs::write(fleet.world.path("ocelli.toml"), &allowed).unwrap();
    let collector = start(&fleet);
    let said = fleet.world.ocelli(["events", "retry", "site"]);
    assert!(said.code == 0 && said.out.contains("2 records"), "{said:?}");
    until("it was told after all", || receiver.digests().len() == 2);
    let said = fleet.world.ocelli(["events", "forget", "site"]);
    assert!(said.code == 2 && said.err.contains("in these settings"), "{said:?}");
    assert_eq!(collector.stop(), 0);
    let without = allowed.split("[[webhook]]").next().unwrap();
    std::fs::write(fleet.world.path("ocelli.toml"), without).unwrap();
    let listed = fleet.world.ocelli(["events", "list"]).out;
    assert!(listed.contains("events forget site"), "{listed}");
    assert_eq!(fleet.world.ocelli(["events", "forget", "site"]).code, 0);
    assert_eq!(fleet.world.json(["events", "list", "--json"]), json!([]));
    assert_eq!(fleet.world.ocelli(["events", "retry", "site"]).code, 2);
}

#[test]
fn a_run_on_one_machine_tells_its_webhooks_before_it_ends() {
    let mut world = World::new();
    let receiver = Receiver::start(Mood::Takes);
    world.settings(&receiver.webhook("site", ""));
    world.settings("[analyzers.tesseract-ocr]\nchildren = 1");
    world.samples("in", &[NOTE]);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(receiver.digests().len(), 1, "{said:?}");
    let told = receiver.came()[0].json();
    assert!(told["data"]["analyses"][0]["outcome"].to_string().contains("done"), "{told}");
}

#[test]
fn webhooks_that_cannot_be_meant_are_refused_with_the_way_out_and_no_secret() {
    let good = "name = \"site\"\nurl = \"https://example.org/\"\nsecret = \"hunter2-hunter2-hunter2-hunter2\"";
    for (wrong, words) in [
        (good.replace("name = \"site\"", ""), "missing field `name`"),
        (good.replace("\"site\"", "\"My Site\""), "expected 1 to 64 of a-z"),
        (good.replace("\"site\"", "\"exchange\""), "choose another one"),
        (good.replace("https:", "ftp:"), "expected http://host"),
        (format!("{good}\nevents = [\"record.lost\"]"), "there is only \"record.completed\""),
        (format!("{good}\nin_flight = 0"), "expected 1 to 64"),
        (format!("{good}\nwhen = \"is:failed\""), "unknown field `when`"),
        (format!("{good}\ntimeout = \"5m\""), "more than the timeout of the webhook 'site'"),
        (format!("{good}\nsecret_file = \"/x\""), "are both set"),
        (format!("{good}\n[[webhook]]\n{good}"), "another webhook of this name"),
        (good.replace("secret =", "secret_file ="), "cannot be read"),
    ] {
        let mut world = World::new();
        world.settings(&format!("[[webhook]]\n{wrong}"));
        let said = world.ocelli(["config", "check"]);
        assert_eq!(said.code, 2, "{wrong}: {said:?}");
        assert!(said.err.contains(words), "'{words}': {said:?}");
        assert!(!said.err.contains("secret = \"hunter2"), "{said:?}");
    }
    for (wrong, words) in [
        (good.replace("hunter2-hunter2-hunter2-hunter2", "hunter2"), "openssl rand"),
        (format!("{good}\nwhere = \"is:red\""), "where of the webhook 'site'"),
    ] {
        let mut world = World::new();
        world.settings(&format!("[[webhook]]\n{wrong}"));
        world.samples("in", &[NOTE]);
        let said = world.ocelli(["run", "in"]);
        assert_eq!(said.code, 2, "{wrong}: {said:?}");
        assert!(said.err.contains(words) && !said.err.contains("hunter2"), "'{words}': {said:?}");
    }
    let mut world = World::new();
    world.settings(&format!("[[webhook]]\n{good}"));
    let shown = world.ocelli(["config", "show"]);
    assert!(shown.code == 0 && !shown.out.contains("hunter2"), "{shown:?}");
    let said = world.ocelli(["config", "check", "--set", "events.publish=true"]);
    assert!(said.code == 2 && said.err.contains("[[webhook]]"), "{said:?}");
}
