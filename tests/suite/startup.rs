//! What cannot work is said at the start, soon, with the way out.

use std::time::{Duration, Instant};

use ocelli_testkit::servers::OwnRabbitmq;

use crate::services::{Database, Fleet};
use crate::world::World;

/// What is promised of a start that cannot succeed.
const SOON: Duration = Duration::from_secs(5);

/// Every program of a fleet, with what it needs on its command line.
const PROGRAMS: [(&str, &[&str]); 6] = [
    ("ocelli-collector", &["--listen", "off"]),
    ("ocelli-ocr-worker", &["--listen", "off"]),
    ("ocelli-llm-worker", &["--listen", "off"]),
    ("ocelli-web", &["--listen", "off"]),
    ("ocelli-producer", &["in"]),
    ("ocelli", &["status"]),
];

fn refused(world: &World, program: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let started = Instant::now();
    let said = world.run(program, arguments);
    assert_eq!(said.code, code, "{program}: {said:?}");
    for word in words {
        assert!(said.err.contains(word), "{program}, '{word}': {said:?}");
    }
    assert!(!said.err.contains("hunter2"), "{program}: {said:?}");
    assert!(started.elapsed() < SOON, "{program}: {:?}", started.elapsed());
}

#[test]
fn a_secret_file_that_cannot_be_read_ends_every_program_with_the_file_and_the_way_out() {
    let mut world = World::new();
    let missing = world.path("missing-secret");
    let missing = missing.to_str().unwrap();
    std::fs::create_dir(world.path("folder")).unwrap();
    let folder = world.path("folder");
    let folder = folder.to_str().unwrap();
    for key in ["broker.url_file", "catalog.url_file", "web.token_file"] {
        for (program, first) in PROGRAMS {
            let set = format!("{key}={missing}");
            let words = [key, missing, "No such file", "check the path"];
            refused(&world, program, &[first, &["--set", &set]].concat(), 2, &words);
        }
        let set = format!("{key}={folder}");
        let words = [key, folder, "Is a directory", "a text file that holds the secret"];
        refused(&world, "ocelli-collector", &["--set", &set], 2, &words);
    }
    world.settings(&format!(
        "[analyzers.\"llama3.2-vision\"]\nendpoints = [{{ url = \"http://m:1\", api_key_file = \"{missing}\" }}]"
    ));
    for (program, first) in PROGRAMS {
        let words = ["ocelli.toml line 2", "api_key_file", missing, "check the path"];
        refused(&world, program, first, 2, &words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_server_a_broker_that_was_left_at_its_old_features_ends_the_programs_with_the_way_out()
{
    let mut world = World::new();
    world.settings(&format!("[catalog]\nurl = \"sqlite:{}\"", world.path("c.db").display()));
    let words = ["RabbitMQ 3.10", "rabbitmqctl enable_feature_flag all"];
    let old = OwnRabbitmq::start_with_flags("").await.unwrap();
    let set = format!("broker.url={}/%2f", old.url());
    for (program, first) in &PROGRAMS[..3] {
        refused(&world, program, &[*first, &["--set", &set]].concat(), 4, &words);
    }
    drop(old);
    // It takes our queues, and would lose what dies in them.
    let old =
        OwnRabbitmq::start_with_flags("quorum_queue,implicit_default_bindings").await.unwrap();
    let set = format!("broker.url={}/%2f", old.url());
    let more = [&words[..], &["stream_queue"]].concat();
    refused(&world, "ocelli-collector", &["--listen", "off", "--set", &set], 4, &more);
    let doctor = world.ocelli(["doctor", "--set", &set]);
    assert!(doctor.out.contains("FAIL  broker") && doctor.out.contains(words[1]), "{doctor:?}");
    old.control(&["enable_feature_flag", "all"]).await.unwrap();
    let doctor = world.ocelli(["doctor", "--set", &set]);
    assert!(doctor.out.contains("ok    broker"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_database_does_not_know_ends_every_program_with_its_name_and_the_way_out() {
    let mut fleet = Fleet::new(Database::Postgres).await;
    // The site listens before it opens the catalog, and other tests have theirs.
    fleet.world.settings("[web]\nlisten = \"127.0.0.1:0\"");
    fleet.world.many("in", 1);
    let url = fleet.postgres.as_ref().unwrap().url.clone();
    let (role, host) = url.split_once('@').unwrap();
    let set = format!("catalog.url=postgres://nobody-here:hunter2@{host}");
    let way_out = "check user, password and database name";
    for (program, first) in PROGRAMS {
        let words = ["refuses the login as 'nobody-here'", way_out];
        refused(&fleet.world, program, &[first, &["--set", &set]].concat(), 4, &words);
    }
    let server = host.rsplit_once('/').unwrap().0;
    let set = format!("catalog.url={role}@{server}/no_such_database");
    let words = ["no_such_database", way_out];
    let arguments = ["--listen", "off", "--set", &set];
    refused(&fleet.world, "ocelli-collector", &arguments, 4, &words);
}
