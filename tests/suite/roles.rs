//! A user of RabbitMQ for each role, with no more rights than the role needs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ocelli_broker::{
    Broker, ConsumeError, Consumer, Outgoing, PublishError, RabbitOptions, TopologyError,
};
use ocelli_core::routing::Queue;
use ocelli_testkit::models::{ModelServer, ModelServerOptions};
use ocelli_testkit::ports;
use ocelli_testkit::servers::Management;
use serde_json::{Value, json};

use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, PATIENCE, Service, World, sample_folder, until};

const PASSWORD: &str = "hunter2";
const TOKEN: &str = "correct-horse-battery-staple";
/// What is promised of a start that cannot succeed.
const SOON: Duration = Duration::from_secs(5);
const USERS: [&str; 6] = [
    "ocelli-collector",
    "ocelli-producer",
    "ocelli-ocr-worker",
    "ocelli-llm-worker",
    "ocelli-web",
    "ocelli-monitoring",
];

#[test]
fn the_shipped_roles_are_those_that_the_program_prints() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq/roles.json");
    let printed = World::new().ocelli(["config", "roles"]).out;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &printed).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), printed, "UPDATE_DOCS=1 writes it anew");
}

/// The users of this fleet's virtual host, who go with the test.
struct Users<'a>(&'a Fleet);

impl Drop for Users<'_> {
    fn drop(&mut self) {
        for user in USERS {
            drop(self.0.rabbitmq.api().delete(&format!("users/{user}")));
        }
    }
}

impl<'a> Users<'a> {
    fn import(fleet: &'a Fleet) -> Self {
        let vhost = fleet.rabbitmq.vhost.as_str();
        let roles = fleet.world.json(["config", "roles", "--vhost", vhost]);
        fleet.rabbitmq.api().post("definitions", &roles).unwrap();
        Self(fleet)
    }

    /// As `rabbitmqctl change_password` does it.
    fn give_passwords(&self) {
        for user in USERS {
            let tags = if user.ends_with("monitoring") { "monitoring" } else { "" };
            let account = json!({"password": PASSWORD, "tags": tags});
            self.0.rabbitmq.api().put(&format!("users/{user}"), &account).unwrap();
        }
    }

    fn url(&self, user: &str) -> String {
        let host = self.0.rabbitmq.url.split_once('@').unwrap().1;
        format!("amqp://{user}:{PASSWORD}@{host}")
    }

    fn set(&self, user: &str) -> String {
        format!("broker.url={}", self.url(user))
    }

    fn start(&self, program: &str, more: &[&str]) -> Service {
        let set = self.set(program);
        let first = ["--listen", "off", "--set", set.as_str()];
        self.0.world.start(program, [&first[..], more].concat())
    }

    async fn broker(&self, user: &str) -> Broker {
        Broker::rabbitmq(RabbitOptions::new(self.url(user))).await.unwrap()
    }

    /// The program ends soon with exit code 4 and these words.
    fn refused(&self, program: &str, user: &str, words: &[&str]) {
        let started = Instant::now();
        let said = self.0.world.run(program, ["--listen", "off", "--set", &self.set(user)]);
        assert_eq!(said.code, 4, "{said:?}");
        for word in words {
            assert!(said.err.contains(word), "'{word}': {said:?}");
        }
        assert!(!said.err.contains(PASSWORD), "{said:?}");
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    }
}

fn jobs(analyzer: &str) -> Queue {
    Queue::Jobs(analyzer.parse().unwrap())
}

fn message(queue: &Queue) -> Outgoing {
    Outgoing {
        id: "m".to_owned(),
        body: b"body".as_slice().into(),
        routes: vec![queue.clone()],
        attempts: 0,
        traceparent: None,
    }
}

async fn next(consumer: &mut Consumer) -> ocelli_broker::Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap()
}

/// Every way that a message goes, each step by the user who goes it.
async fn all_ways(users: &Users<'_>) {
    let (queue, bulk) = (jobs("tesseract-ocr"), Queue::Bulk("tesseract-ocr".parse().unwrap()));
    let (producer, worker) =
        (users.broker("ocelli-producer").await, users.broker("ocelli-ocr-worker").await);
    let collector = users.broker("ocelli-collector").await;
    for queue in [&queue, &bulk] {
        producer.publish(message(queue)).await.unwrap();
        let mut consumer = worker.consume(queue, 1).await.unwrap();
        next(&mut consumer).await.retry(Duration::from_secs(1), 1).await.unwrap();
        let again = next(&mut consumer).await;
        assert_eq!(again.attempts, 1, "it came through the delay queue");
        again.reject("enough").await.unwrap();
        consumer.cancel().await;
    }
    worker.publish(message(&Queue::Results)).await.unwrap();
    for (queue, count) in [(Queue::Dead, 2), (Queue::Results, 1)] {
        let mut consumer = collector.consume(&queue, 1).await.unwrap();
        for _ in 0..count {
            next(&mut consumer).await.ack().await.unwrap();
        }
        consumer.cancel().await;
    }
    for broker in [producer, worker, collector] {
        broker.close().await;
    }
}

/// What each user may not.
async fn no_other_way(users: &Users<'_>) {
    let theirs = [
        ("ocelli-producer", vec![Queue::Results, Queue::Dead, jobs("tesseract-ocr")]),
        ("ocelli-ocr-worker", vec![Queue::Results, Queue::Dead, jobs("llama3.2-vision")]),
        ("ocelli-llm-worker", vec![Queue::Results, Queue::Dead, jobs("tesseract-ocr")]),
        ("ocelli-web", vec![Queue::Results, Queue::Dead, jobs("tesseract-ocr")]),
        ("ocelli-monitoring", vec![Queue::Results, Queue::Dead, jobs("tesseract-ocr")]),
    ];
    for (user, queues) in theirs {
        let broker = users.broker(user).await;
        for queue in queues {
            let consumed = broker.consume(&queue, 1).await;
            assert!(matches!(consumed, Err(ConsumeError::Forbidden { .. })), "{user} {queue}");
        }
        let declared = broker.declare(&[jobs("new")]).await;
        assert!(matches!(declared, Err(TopologyError::Forbidden { .. })), "{user} {declared:?}");
        if user == "ocelli-monitoring" {
            let published = broker.publish(message(&Queue::Results)).await;
            assert!(matches!(published, Err(PublishError::Refused { .. })), "{published:?}");
        }
        broker.close().await;
    }
    // Who looks sees the queues, and changes nothing.
    let fleet = users.0;
    let login = format!("ocelli-monitoring:{PASSWORD}");
    let api = Management::new(&fleet.rabbitmq.management.replace("guest:guest", &login)).unwrap();
    let queues = api.get(&format!("queues/{}", fleet.rabbitmq.vhost)).unwrap();
    assert!(queues.as_array().is_some_and(|queues| queues.len() > 6), "{queues}");
    let contents = format!("queues/{}/ocelli.results/contents", fleet.rabbitmq.vhost);
    assert!(api.delete(&contents).is_err() && api.put("users/me", &json!({"tags": ""})).is_err());
}

/// Brings an image in through the site.
fn bring(address: &str, image: &[u8]) -> String {
    let mut body =
        b"--xx\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.png\"\r\n\
          Content-Type: image/png\r\n\r\n"
            .to_vec();
    body.extend_from_slice(image);
    body.extend_from_slice(b"\r\n--xx--\r\n");
    let head = format!(
        "POST /bring HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nAccept: application/json\r\n\
         Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_its_part_with_a_user_of_its_own_that_can_do_nothing_else() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        fleet
            .world
            .settings(&format!("[analyzers.\"{name}\"]\nendpoints = [\"{}\"]", models.url()));
    }
    let site = format!("127.0.0.1:{}", ports::free());
    fleet.world.settings(&format!("[web]\nlisten = \"{site}\"\ntoken = \"{TOKEN}\""));
    let users = Users::import(&fleet);
    // Imported users cannot log in before somebody gives them a password; and nobody else is known.
    for user in ["ocelli-ocr-worker", "nobody"] {
        users.refused("ocelli-ocr-worker", user, &["refused the user", user]);
    }
    users.give_passwords();
    // Only the collector makes queues: before it, or imported definitions, the others say what is missing.
    users.refused("ocelli-ocr-worker", "ocelli-ocr-worker", &["'ocelli.results'", "a collector"]);
    let owner = users.broker("ocelli-collector").await;
    let analyzers = ["gemma3-27b-vision", "llama3.2-vision", "tesseract-ocr"];
    let analyzers = analyzers.map(|name| name.parse().unwrap());
    let delays = [1, 2].map(Duration::from_secs);
    owner.provide(&ocelli_core::routing::queues(&analyzers, &delays)).await.unwrap();
    owner.check_dead_lettering().await.unwrap();
    owner.close().await;
    all_ways(&users).await;
    no_other_way(&users).await;
    // A program with the rights of another role ends, or waits and says why.
    users.refused("ocelli-collector", "ocelli-producer", &["may not read", "set_permissions"]);

    let collector = users.start("ocelli-collector", &[]);
    let workers = [users.start("ocelli-ocr-worker", &[]), users.start("ocelli-llm-worker", &[])];
    let web = users.start("ocelli-web", &[]);
    until("all three analyzers are ready", || {
        let status = fleet.world.ocelli(["status", "--json"]).out;
        status.matches("\"workers\": 1").count() == 3 && !status.contains("starting")
    });
    fleet.world.samples("in", &[NOTE, CHART]);
    let set = users.set("ocelli-producer");
    let produced: Value = fleet.world.json(["produce", "in", "--json", "--set", &set]);
    assert_eq!(produced["jobs"], 6, "{produced}");
    fleet.finished(2, 3);
    until("the site is there", || TcpStream::connect(&site).is_ok());
    let image = std::fs::read(sample_folder().join("poster.gif")).unwrap();
    let brought = bring(&site, &image);
    assert!(brought.contains("\"batch\""), "{brought} {}", web.log());
    fleet.finished(3, 3);
    for service in workers.into_iter().chain([web, collector]) {
        assert_eq!(service.stop(), 0);
    }
}
