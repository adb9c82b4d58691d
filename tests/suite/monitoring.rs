//! `make up` as its user runs it: every part starts, and a real Prometheus sees all of them and counts what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ocelli_testkit::{bin, ports};
use serde_json::{Value, json};

use crate::deploy_dashboards::{expressions, rules, unknown};
use crate::deploy_rules::{checked, folder};
use crate::health::get;
use crate::objectives::ALERTS;
use crate::world::{Service, World, until};

/// What `deploy/local/up.sh` started; stopped when dropped, and also when the test is killed: then the pipe closes.
struct Up {
    world: World,
    guard: Child,
    prometheus: String,
    exporter: String,
}

fn script(name: &str) -> PathBuf {
    folder().join("../local").join(name)
}

impl Up {
    fn start() -> Self {
        let world = World::new();
        // PostgreSQL may run as another user, who has to get in.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(world.path(""), open).unwrap();
        let mut ports: Vec<(&str, u16)> = Vec::new();
        for name in [
            "AMQP",
            "MANAGEMENT",
            "DISTRIBUTION",
            "EPMD",
            "POSTGRES",
            "OCR",
            "LLM",
            "COLLECTOR",
            "WEB",
            "SITE",
            "EXPORTER",
            "PROMETHEUS",
        ] {
            ports.push((name, ports::free()));
        }
        let address = |back: usize| format!("127.0.0.1:{}", ports[ports.len() - back].1);
        let (exporter, prometheus) = (address(2), address(1));
        let home = world.path("up");
        let mut guard = world.here(Command::new("bash"));
        guard.args(["-c", "cat >/dev/null; exec \"$0\""]).arg(script("down.sh"));
        guard.env("OCELLI_UP_DIR", &home).stdin(Stdio::piped()).process_group(0);
        let guard = guard.stdout(Stdio::null()).spawn().unwrap();
        let mut up = world.here(Command::new("bash"));
        up.arg(script("up.sh")).env("OCELLI_UP_DIR", &home).env("OCELLI_UP_SCRAPE_EVERY", "1s");
        up.env("OCELLI_UP_PROGRAMS", bin("ocelli").parent().unwrap());
        for (name, port) in ports {
            up.env(format!("OCELLI_UP_{name}_PORT"), port.to_string());
        }
        let this = Self { world, guard, prometheus, exporter };
        checked(&mut up);
        this
    }

    fn api(&self, path: &str) -> Value {
        let answer = get(&self.prometheus, &format!("/api/v1/{path}")).1;
        serde_json::from_str::<Value>(&answer).map_or(Value::Null, |mut all| all["data"].take())
    }

    /// The one value that an expression has now.
    fn ask(&self, expression: &str) -> Option<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let result = &self.api(&format!("query?query={encoded}"))["result"];
        let only = result.as_array().filter(|all| all.len() == 1)?;
        only[0]["value"][1].as_str()?.parse().ok()
    }

    /// What dashboards and rules name of the broker's metrics is what its exporter serves.
    fn names_of_the_broker(&self) {
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let paths = [
            "/metrics",
            "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count",
        ];
        for path in paths {
            let exposition = get(&self.exporter, path).1;
            for line in exposition.lines().filter(|line| line.starts_with("rabbitmq_")) {
                let series = line.rsplit_once(' ').unwrap().0;
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels =
                    labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
                known.entry(name.to_owned()).or_default().extend(labels);
            }
        }
        let mut wrong = Vec::new();
        for (file, expression) in expressions().into_iter().chain(rules()) {
            let found = unknown(&expression, &known, |metric| metric.starts_with("rabbitmq_"));
            wrong.extend(
                found.into_iter().map(|problem| format!("{file}: {problem}: {expression}")),
            );
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    /// A producer that lives as long as the list that is written to it, and is one more target.
    fn producer(&self) -> (Service, PipeWriter) {
        let (read, list) = std::io::pipe().unwrap();
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = self.world.command("ocelli-producer");
        command.arg("--config").arg(self.world.path("up/ocelli.toml"));
        command.args(["--listen", &address, "-"]).stdin(read);
        let service = Service::start(&mut command, self.world.path("producer.log"));
        // Prometheus looks at a file of targets when it changes.
        let targets = self.world.path("up/prometheus/targets");
        let known = std::fs::read_to_string(targets.join("ocelli.json")).unwrap();
        let mut all: Vec<Value> = serde_json::from_str(&known).unwrap();
        all.push(json!({"targets": [address], "labels": {"program": "ocelli-producer"}}));
        std::fs::write(targets.join("new"), serde_json::to_string(&all).unwrap()).unwrap();
        std::fs::rename(targets.join("new"), targets.join("ocelli.json")).unwrap();
        (service, list)
    }

    fn ocelli(&self, arguments: &[&str]) -> i32 {
        let config = self.world.path("up/ocelli.toml");
        let config = config.to_str().unwrap();
        self.world.ocelli([&["--config", config], arguments].concat()).code
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

#[test]
fn own_server_make_up_starts_everything_and_prometheus_counts_what_is_done() {
    let up = Up::start();
    let folder = up.world.many("in", 4);
    let (mut producer, mut list) = up.producer();
    for image in std::fs::read_dir(folder).unwrap() {
        writeln!(list, "{}", image.unwrap().path().display()).unwrap();
    }
    // Five programs, Prometheus itself, and RabbitMQ as a whole and by its queues.
    until("every target is up", || {
        up.ask("sum(up)") == Some(8.0) && up.ask("count(up)") == Some(8.0)
    });
    let programs = "count(group by (program) (ocelli_build_info))";
    until("five programs are seen", || up.ask(programs) == Some(5.0));
    let enqueued =
        "sum(ocelli_producer_references_total{program=\"ocelli-producer\",outcome=\"enqueued\"})";
    until("four images were enqueued", || up.ask(enqueued) == Some(4.0));
    let done = "sum(ocelli_jobs_total{analyzer=\"tesseract-ocr\",outcome=\"done\"})";
    until("four jobs are counted", || up.ask(done) == Some(4.0));
    until("so are records", || up.ask("sum(ocelli_records_completed_total)") == Some(4.0));
    let late = "sum(ocelli_record_completion_seconds_bucket{le=\"3600\"})";
    assert_eq!(up.ask(late), Some(4.0));
    let consumers = "sum(rabbitmq_detailed_queue_consumers{queue=\"ocelli.results\"})";
    until("the broker tells of its queues", || up.ask(consumers) == Some(1.0));
    let waiting =
        "sum(rabbitmq_detailed_queue_messages{queue=~\"ocelli[.](jobs|bulk|results).*\"})";
    until("nothing waits any more", || up.ask(waiting) == Some(0.0));
    until("its disk is watched", || up.ask("rabbitmq_disk_space_available_bytes").is_some());
    let groups = up.api("rules?type=alert");
    let rules =
        groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array());
    assert!(rules.flatten().count() > ALERTS.len(), "{groups}");
    up.names_of_the_broker();
    assert_eq!(up.ask("count(ALERTS{alertstate=\"firing\"})"), None, "{}", up.api("alerts"));
    drop(list);
    assert_eq!(producer.wait(), 0, "{}", producer.log());
    assert_eq!(up.ocelli(&["audit"]), 0);
}

#[test]
fn prometheus_takes_the_shipped_configuration() {
    let config = ["check", "config", "prometheus.yml"];
    checked(Command::new("promtool").args(config).current_dir(folder()));
}
