//! A fleet of separate programs on the RabbitMQ and PostgreSQL of the test run.

use base64::Engine as _;
use ocelli_testkit::models::ModelServer;
use ocelli_testkit::servers::{PostgresServer, RabbitmqServer, postgres, rabbitmq};
use serde_json::Value;

use crate::world::{Service, World, until};

pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) rabbitmq: RabbitmqServer,
    pub(crate) postgres: Option<PostgresServer>,
}

/// Which database a fleet writes to.
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

impl Fleet {
    pub(crate) async fn new(database: Database) -> Self {
        let rabbitmq = rabbitmq().await;
        let mut world = World::new();
        world.settings(&format!(
            "[broker]\nurl = \"{}\"\ndelay_steps = [\"1s\", \"2s\"]\nheartbeat = \"2s\"",
            rabbitmq.url
        ));
        world.settings("[worker]\nannounce_every = \"1s\"\nprobe_every = \"1s\"\ndrain = \"5s\"");
        world.settings(
            "[collector]\nsweep_every = \"1s\"\njob_reserve = \"1s\"\nclock_skew = \"500ms\"\n\
             fence_patience = \"3s\"\ndispatch_lease = \"3s\"",
        );
        let postgres = match database {
            Database::Postgres => {
                let server = postgres().await;
                world.settings(&format!("[catalog]\nurl = \"{}\"", server.url));
                Some(server)
            }
            Database::Sqlite => {
                world.settings(&format!(
                    "[catalog]\nurl = \"sqlite:{}\"",
                    world.path("c.db").display()
                ));
                None
            }
        };
        Self { world, rabbitmq, postgres }
    }

    pub(crate) fn start(&self, program: &str) -> Service {
        self.world.start(program, ["--listen", "127.0.0.1:0"])
    }

    /// A worker that reads nothing, for every analyzer of kind 'ocr'; it ends at this failpoint, or at none ("").
    pub(crate) fn null_worker(&self, failpoint: &str, more: &[&str]) -> Service {
        let calls = self.world.path("calls");
        std::fs::create_dir_all(&calls).unwrap();
        let calls = calls.into_os_string().into_string().unwrap();
        let arguments = ["null-worker", "--listen", "off", "--latency", "5", "--calls", &calls];
        self.world.start_dying("ocelli-chaos", [&arguments[..], more].concat(), failpoint)
    }

    /// One model is asked, about what OCR has read.
    pub(crate) fn needs_ocr(&mut self, models: &ModelServer) {
        for name in ["gemma3-27b-vision", "llama3.2-vision"] {
            self.world.settings(&format!("[analyzers.\"{name}\"]\nenabled = false"));
        }
        self.world.settings(&format!(
            "[analyzers.with-text]\nkind = \"llm\"\nenabled = true\nmodel = \"llama3.2-vision\"\n\
             prompt = \"explain-with-text\"\nneeds = [\"tesseract-ocr\"]\nendpoints = [\"{}\"]",
            models.url()
        ));
    }

    /// Puts a message into a queue through the exchange of all programs, as anybody could.
    pub(crate) fn inject(&self, queue: &str, properties: Value, payload: &[u8]) {
        let exchange = format!("exchanges/{}/ocelli/publish", self.rabbitmq.vhost);
        let message = serde_json::json!({
            "properties": properties, "routing_key": queue, "payload_encoding": "base64",
            "payload": base64::engine::general_purpose::STANDARD.encode(payload),
        });
        let answer = self.rabbitmq.api().post(&exchange, &message).unwrap();
        assert!(answer.contains("true"), "{queue}: {answer}");
    }

    pub(crate) fn produce(&self, source: &str) -> Value {
        self.world.json(["produce", source, "--json"])
    }

    /// Waits until nothing is open, and checks that each of `images` was read exactly once.
    pub(crate) fn finished(&self, images: u64, analyzers: usize) {
        until("every record is complete", || {
            let status = self.world.json(["status", "--json"]);
            status["images"] == images
                && status["complete"] == images
                && status["analyzers"].as_array().is_some_and(|rows| {
                    rows.iter().filter(|row| settled(row) == images).count() == analyzers
                })
        });
        self.world.audit();
    }

    /// Whether the broker has a queue of this name.
    pub(crate) fn has_queue(&self, name: &str) -> bool {
        self.rabbitmq.api().get(&format!("queues/{}/{name}", self.rabbitmq.vhost)).is_ok()
    }

    /// Messages in all queues whose name contains `part`, as the broker counts them.
    pub(crate) fn messages(&self, part: &str) -> u64 {
        let queues = self.rabbitmq.api().get(&format!("queues/{}", self.rabbitmq.vhost)).unwrap();
        queues
            .as_array()
            .unwrap()
            .iter()
            .filter(|queue| queue["name"].as_str().is_some_and(|name| name.contains(part)))
            .filter_map(|queue| queue["messages"].as_u64())
            .sum()
    }
}

fn settled(row: &Value) -> u64 {
    ["done", "empty", "skipped", "failed"].iter().filter_map(|key| row[key].as_u64()).sum()
}
