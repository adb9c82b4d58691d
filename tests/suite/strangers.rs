//! What others put into our queues, and queues that others made: each ends as a row that people see or as an error at
//! the start, within five seconds, and costs nothing else.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ocelli_core::wire::{Announcement, Intake, Message, Partial};
use ocelli_core::{
    Analysis, BatchId, Digest, ImageFacts, Outcome, Provenance, RevisionBuilder, Sighting, Want,
};
use serde_json::{Value, json};

use crate::services::{Database, Fleet};
use crate::world::{Service, until};

/// What is promised.
const SOON: Duration = Duration::from_secs(5);

/// A collector and a worker, both at work.
fn services(fleet: &Fleet) -> [Service; 2] {
    let services = [fleet.start("ocelli-collector"), fleet.null_worker("", &[])];
    until("the worker has announced itself", || {
        fleet.world.ocelli(["status", "--json"]).out.contains("\"workers\": 1")
    });
    services
}

/// It comes true within the promised time.
fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    until(what, &mut condition);
    assert!(started.elapsed() < SOON, "{what}: {:?}", started.elapsed());
}

/// Dead messages, as `failures list` shows them.
fn letters(fleet: &Fleet) -> Vec<Value> {
    let said = fleet.world.ocelli(["failures", "list", "--json"]);
    let lines = said.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["what"] == "message").collect()
}

/// Nothing goes round in circles: whoever meets bad input says so a few times at most.
fn calm(services: &[Service]) {
    for service in services {
        let lines = service.log().lines().count();
        assert!(lines < 100, "{lines} lines:\n{}", service.log());
    }
}

fn intake(image: &str, analyzer: &str) -> Intake {
    let source: ocelli_core::SourceUri = format!("file:///nowhere/{image}").parse().unwrap();
    let now = Timestamp::now();
    Intake {
        image: ImageFacts {
            digest: Digest::of(image.as_bytes()),
            bytes: 5,
            format: None,
            width: None,
            height: None,
        },
        sources: vec![source.clone()],
        sighting: Some(Sighting {
            source,
            seen_at: now,
            batch: BatchId::new("01a20a25-49e9-73db-a842-492d346cd29c".parse().unwrap()),
        }),
        wants: vec![Want { analyzer: analyzer.parse().unwrap(), revision: None }],
        refusal: None,
        enqueued_at: now,
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_versions_of_the_future_in_any_queue_are_shown_within_five_seconds() {
    let fleet = Fleet::new(Database::Postgres).await;
    let services = services(&fleet);
    // An envelope `{v: 2, kind: "intake", body: …}` in MessagePack.
    let future = b"\x83\xa1v\x02\xa4kind\xa6intake\xa4body\xc4\x01\x00";
    let mut expected = 0;
    for queue in
        ["ocelli.results", "ocelli.jobs.tesseract-ocr", "ocelli.bulk.tesseract-ocr", "ocelli.dead"]
    {
        for payload in [&b"no envelope"[..], &future[..], b""] {
            let properties = json!({"message_id": format!("{queue} {}", payload.len())});
            fleet.inject(queue, properties, payload);
            expected += 1;
        }
    }
    // The delay queue gives it back to where it came from.
    let delayed = json!({
        "properties": {"message_id": "delayed"}, "routing_key": "ocelli.jobs.tesseract-ocr",
        "payload": "from the delay queue", "payload_encoding": "string",
    });
    let exchange = format!("exchanges/{}/ocelli.delay.1000ms/publish", fleet.rabbitmq.vhost);
    fleet.rabbitmq.api().post(&exchange, &delayed).unwrap();
    expected += 1;
    soon("all are rows", || letters(&fleet).len() == expected);
    let listed = fleet.world.ocelli(["failures", "list", "--limit", "100"]).out;
    assert!(listed.contains("version 2") && listed.contains("not an ocelli envelope"), "{listed}");
    for queue in ["results", "jobs", "bulk", "dead", "delay"] {
        assert_eq!(fleet.messages(queue), 0, "{queue}");
    }
    calm(&services);
    fleet.world.audit();
    // And the fleet works as before.
    fleet.world.many("in", 2);
    assert_eq!(fleet.produce("in")["jobs"], 2);
    until("they are complete", || fleet.world.row("tesseract-ocr")["done"] == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_an_id_is_worth_as_much_as_one_with_an_id() {
    let fleet = Fleet::new(Database::Postgres).await;
    let services = services(&fleet);
    let job = Message::Intake(intake("a", "tesseract-ocr")).encode().unwrap();
    fleet.inject("ocelli.results", json!({}), &job);
    fleet.inject("ocelli.jobs.tesseract-ocr", json!({}), &job);
    // Its source does not exist: the job fails, as a row.
    soon("the job has its outcome", || fleet.world.row("tesseract-ocr")["failed"] == 1);
    assert!(letters(&fleet).is_empty());
    calm(&services);
    fleet.world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_an_analyzer_that_nobody_knows_is_shown_and_keeps_nobody_busy() {
    let fleet = Fleet::new(Database::Postgres).await;
    let services = services(&fleet);
    let lost = Message::Intake(intake("a", "nobody")).encode().unwrap();
    // In the queue of another analyzer it is a dead message; what is wanted of it waits in sight of everybody.
    fleet.inject("ocelli.jobs.tesseract-ocr", json!({"message_id": "lost"}), &lost);
    fleet.inject("ocelli.results", json!({"message_id": "lost"}), &lost);
    soon("the job is a row", || {
        let rows = letters(&fleet);
        rows.len() == 1 && rows[0]["reason"].to_string().contains("tesseract-ocr")
    });
    soon("its want is counted", || {
        let status = fleet.world.json(["status", "--json"]);
        let rows = status["analyzers"].as_array().unwrap();
        rows.iter()
            .any(|row| row["analyzer"] == "nobody" && row["waiting"] == 1 && row["workers"] == 0)
    });
    // The sweeper has tried several times to enqueue it by now.
    fleet.world.many("in", 2);
    assert_eq!(fleet.produce("in")["jobs"], 2);
    until("others are done", || fleet.world.row("tesseract-ocr")["done"] == 2);
    calm(&services);
    fleet.world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_an_image_that_nobody_registered_is_a_difference_of_the_audit() {
    let fleet = Fleet::new(Database::Postgres).await;
    let services = services(&fleet);
    let partial = Message::Partial(Box::new(Partial {
        digest: Digest::of(b"nobody's"),
        analysis: Analysis {
            analyzer: "tesseract-ocr".parse().unwrap(),
            revision: RevisionBuilder::new("test").build(),
            outcome: Outcome::Empty,
            attempts: 1,
            finished_at: Timestamp::now(),
            provenance: Provenance::default(),
        },
        hash: None,
        image: None,
    }));
    fleet.inject("ocelli.results", json!({"message_id": "m"}), &partial.encode().unwrap());
    soon("the audit names it", || {
        let said = fleet.world.ocelli(["audit"]);
        said.code == 1 && said.out.contains("1 images have analyses, but their intake")
    });
    calm(&services);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_database_refuses_is_a_row_within_five_seconds() {
    let fleet = Fleet::new(Database::Postgres).await;
    let services = services(&fleet);
    let database = fleet.postgres.as_ref().unwrap();
    database.execute("ALTER TABLE sightings ADD CHECK (source NOT LIKE '%bad%')").await;
    for image in ["good-1", "bad", "good-2"] {
        let message = Message::Intake(intake(image, "nobody")).encode().unwrap();
        fleet.inject("ocelli.results", json!({"message_id": image}), &message);
    }
    soon("the others are written and it is shown", || {
        letters(&fleet).len() == 1 && fleet.world.json(["status", "--json"])["images"] == 2
    });
    assert_eq!(fleet.messages("results") + fleet.messages("dead"), 0);
    calm(&services);
}

/// The word of a worker whose clock is ahead by so much.
fn word(worker: &str, ahead: SignedDuration) -> Message {
    Message::Announcement(Announcement {
        analyzer: "tesseract-ocr".parse().unwrap(),
        revision: None,
        kind: "ocr".to_owned(),
        description: "from afar".to_owned(),
        worker: worker.to_owned(),
        slots: 1,
        in_progress: 0,
        waiting: None,
        paused: false,
        leaving: false,
        at: Timestamp::now().checked_add(ahead).unwrap(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_clocks_are_an_hour_off_are_counted_as_long_as_they_live_and_it_is_said() {
    let fleet = Fleet::new(Database::Postgres).await;
    let collector = fleet
        .world
        .start("ocelli-collector", ["--listen", "off", "--set", "collector.count_every=1s"]);
    until("the queues are there", || fleet.has_queue("ocelli.dead"));
    let hour = SignedDuration::from_hours(1);
    let say = || {
        for (worker, ahead) in [("fast:1", hour), ("slow:1", -hour)] {
            let said = word(worker, ahead);
            let properties = json!({"message_id": said.id()});
            fleet.inject("ocelli.results", properties, &said.encode().unwrap());
        }
    };
    let both = |text: &str| text.contains("min ahead") && text.contains("min behind");
    until("the status says it", || {
        say();
        let status = fleet.world.json(["status", "--json"]);
        status["analyzers"][0]["workers"] == 2 && both(&status["clocks"].to_string())
    });
    until("people read it", || {
        say();
        both(&fleet.world.ocelli(["status"]).out)
            && both(&fleet.world.ocelli(["top", "--once"]).out)
    });
    let warnings = || {
        let log = collector.log();
        log.lines().filter(|line| line.contains("a worker's clock")).count()
    };
    until("the collector has warned of each", || {
        say();
        warnings() >= 2
    });
    assert_eq!(warnings(), 2, "once each:\n{}", collector.log());
    let site = crate::site::Site::program(&fleet.world, "ocelli-web", &["--listen", "off"]);
    until("the site shows it", || {
        say();
        let fleet_page = site.get("/fleet.json").json();
        let workers = fleet_page["workers"].as_array().unwrap();
        workers.len() == 2
            && workers.iter().all(|one| one["clock"].is_string())
            && both(&site.get("/fleet").body)
    });
    // Silent ones are gone, whatever time it is for them.
    until("they are gone", || site.get("/fleet.json").json()["workers"] == json!([]));
    assert_eq!(site.service.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_others_declared_differently_ends_every_program_with_its_name() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let queue = format!("queues/{}/ocelli.results", fleet.rabbitmq.vhost);
    let classic = json!({"durable": true, "arguments": {}});
    fleet.rabbitmq.api().put(&queue, &classic).unwrap();
    refused(&fleet, &[], &["'ocelli.results'", "other arguments", "delete it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_permissions_and_a_wrong_virtual_host_end_every_program_with_the_way_out() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let (api, vhost) = (fleet.rabbitmq.api(), &fleet.rabbitmq.vhost);
    let user = format!("user-{vhost}");
    api.put(&format!("users/{user}"), &json!({"password": "hunter2", "tags": ""})).unwrap();
    let host = fleet.rabbitmq.url.split_once('@').unwrap().1;
    let set = format!("broker.url=amqp://{user}:hunter2@{host}");
    refused(&fleet, &["--set", &set], &["set_permissions"]);
    let nothing = json!({"configure": "^$", "write": "^$", "read": "^$"});
    api.put(&format!("permissions/{vhost}/{user}"), &nothing).unwrap();
    refused(&fleet, &["--set", &set], &["lacks the permission", "set_permissions"]);
    let server = fleet.rabbitmq.url.rsplit_once('/').unwrap().0;
    let set = format!("broker.url={server}/no-such-vhost");
    refused(&fleet, &["--set", &set], &["no-such-vhost", "add_vhost"]);
    api.delete(&format!("users/{user}")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_whose_broker_refuses_it_shows_the_archive_and_says_why() {
    let fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.many("in", 1);
    assert_eq!(fleet.world.ocelli(["run", "in", "--set", "broker.url=memory:"]).code, 0);
    let host = fleet.rabbitmq.url.split_once('@').unwrap().1;
    let broker = format!("broker.url=amqp://nobody:hunter2@{host}");
    let site = crate::site::Site::program(
        &fleet.world,
        "ocelli-web",
        &["--listen", "off", "--set", &broker],
    );
    assert!(site.get("/").body.contains("note-00000.png"));
    let fleet_page = site.get("/fleet.json");
    let away = fleet_page.json()["broker_away"].as_str().unwrap_or_default().to_owned();
    assert!(away.contains("refused") || away.contains("does not answer"), "{away}");
    let page = site.get("/fleet");
    assert!(page.status == 200 && page.body.contains("Queues"), "{page:?}");
    let told = format!("{}{}{}", fleet_page.body, page.body, site.service.log());
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(site.service.stop(), 0);
}

/// Every program of a fleet that cannot work without its broker ends with exit code 4, soon, and says these words and no password.
fn refused(fleet: &Fleet, more: &[&str], words: &[&str]) {
    fleet.world.many("in", 1);
    for (program, first) in [
        ("ocelli-collector", &["--listen", "off"][..]),
        ("ocelli-ocr-worker", &["--listen", "off"]),
        ("ocelli-llm-worker", &["--listen", "off"]),
        ("ocelli-producer", &["in"]),
        ("ocelli", &["produce", "in"]),
    ] {
        let started = Instant::now();
        let said = fleet.world.run(program, [first, more].concat());
        assert_eq!(said.code, 4, "{program}: {said:?}");
        for word in words {
            assert!(said.err.contains(word), "{program}, '{word}': {said:?}");
        }
        assert!(!said.err.contains("hunter2"), "{program}: {said:?}");
        assert!(started.elapsed() < SOON, "{program}: {:?}", started.elapsed());
    }
}
