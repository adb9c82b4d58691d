//! Brokers that cannot be used: a clear word and an end, within seconds.

use std::time::{Duration, Instant};

use ocelli_broker::topology::definitions;
use ocelli_core::routing::queues;
use ocelli_testkit::servers::RabbitmqServer;
use serde_json::{Value, json};

use super::fleet::Fleet;
use super::lab::Lab;
use super::row::{Fallible, Row};

const LIMIT: Duration = Duration::from_secs(5);
const PROGRAMS: [&str; 3] = ["ocelli-collector", "ocelli-ocr-worker", "ocelli"];

pub(super) async fn refused(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let (missing, drifted) = (lab.vhost().await?, lab.vhost().await?);
    may_not_configure(&missing).await?;
    drift(&drifted).await?;
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let cases = [
        ("silent", format!("amqp://guest:guest@{}", silent.local_addr()?), "no AMQP answer"),
        ("wrong password", vhost.url.replace("guest:guest", "guest:hunter2"), "refused the user"),
        ("no virtual host", format!("{}nowhere", vhost.url), "virtual host"),
        ("queue missing", missing.url.replace("guest:guest", "chaos:hunter2"), "ocelli"),
        ("other queue", drifted.url.clone(), "ocelli.results"),
    ];
    let mut row = Row::default();
    for (name, url, words) in cases {
        let fleet = Fleet::null(lab, &vhost.url).await?;
        let mut running = Vec::new();
        for program in PROGRAMS {
            let mut arguments = match program {
                "ocelli" => vec!["produce", "."],
                "ocelli-ocr-worker" => vec!["--set", "analyzers.tesseract-ocr.enabled=true"],
                _ => Vec::new(),
            };
            let url = format!("broker.url={url}");
            arguments.extend(["--set", &url]);
            running.push((program, Instant::now(), fleet.start(program, &arguments)?));
        }
        let (mut slowest, mut wrong) = (Duration::ZERO, Vec::new());
        for (program, started, process) in &mut running {
            let code = process.ended(LIMIT * 4).await;
            slowest = slowest.max(started.elapsed());
            let said = std::fs::read_to_string(fleet.path(&format!("{program}.log")))?;
            let error = said.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
            if code != Some(4) {
                wrong.push(format!("{program} ends with {code:?}"));
            }
            if !error.contains(words) {
                wrong.push(format!("{program} does not say '{words}': {error}"));
            }
            if said.contains("hunter2") {
                wrong.push(format!("{program} prints the password"));
            }
        }
        let clear = format!("{name}: three programs say why and end with code 4");
        row = match wrong.is_empty() {
            true => row.must(&clear, true),
            false => row.must(&format!("{clear}: {}", wrong.join(", ")), false),
        };
        row = row.within(&format!("{name}: slowest"), slowest, LIMIT);
        row = fleet.noted(row);
    }
    Ok(row)
}

/// Only a user who may not make queues can miss one.
async fn may_not_configure(vhost: &RabbitmqServer) -> Fallible<()> {
    let (api, vhost) = (vhost.api(), vhost.vhost.clone());
    tokio::task::spawn_blocking(move || {
        api.put("users/chaos", &json!({"password": "hunter2", "tags": ""}))?;
        let permissions = json!({"configure": "^$", "write": ".*", "read": ".*"});
        api.put(&format!("permissions/{vhost}/chaos"), &permissions)
    })
    .await??;
    Ok(())
}

/// All queues, one of them with another argument.
async fn drift(vhost: &RabbitmqServer) -> Fallible<()> {
    let analyzers: [&str; 3] = ["null-a", "null-b", "tesseract-ocr"];
    let analyzers = analyzers.map(str::parse).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut wanted = definitions("ocelli", &queues(&analyzers, &[]));
    let results = wanted["queues"]
        .as_array_mut()
        .and_then(|queues| queues.iter_mut().find(|queue| queue["name"] == "ocelli.results"));
    results.ok_or("no results queue")?["arguments"]["x-max-length"] = json!(7);
    import(vhost, wanted).await
}

async fn import(vhost: &RabbitmqServer, definitions: Value) -> Fallible<()> {
    let (api, vhost) = (vhost.api(), vhost.vhost.clone());
    let path = format!("definitions/{vhost}");
    tokio::task::spawn_blocking(move || api.post(&path, &definitions)).await??;
    Ok(())
}
