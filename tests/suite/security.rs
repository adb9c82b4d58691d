//! Who may do what, who is believed, and what is told to nobody.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ocelli_testkit::ports;
use ocelli_testkit::servers::{OwnPostgres, OwnRabbitmq, Place, PostgresServer};
use ocelli_testkit::tls::{self, EXPIRED, TlsServer, VALID};
use serde_json::json;

use crate::deploy_rules::checked;
use crate::health::get;
use crate::services::{Database, Fleet};
use crate::world::{NOTE, Said, Service, World, sample_folder, until};

/// What is promised of bad addresses.
const SOON: Duration = Duration::from_secs(5);

/// A certificate that vouches for itself, and its key, also as files.
struct Certificate {
    made: tls::Certificate,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn make(world: &World, file: &str, name: &str, until_year: i32) -> Self {
        let made = tls::Certificate::new(name, until_year);
        let certificate = world.path(format!("{file}.pem"));
        let key = world.path(format!("{file}.key"));
        std::fs::write(&certificate, made.pem()).unwrap();
        std::fs::write(&key, made.key_pem()).unwrap();
        Self { made, certificate, key }
    }
}

/// The collector of a world, which trusts these authorities.
fn collector(world: &World, trusted: &Path, more: &[&str]) -> Command {
    let mut command = world.command("ocelli-collector");
    command.env("SSL_CERT_FILE", trusted).args(more);
    command
}

/// It ends soon, with exit code 4 and these words.
fn refused(command: &mut Command, words: &[&str]) {
    let started = Instant::now();
    let said = Said::from(command.args(["--listen", "off"]).output().unwrap());
    assert_eq!(said.code, 4, "{said:?}");
    for word in words {
        assert!(said.err.to_lowercase().contains(word), "'{word}': {said:?}");
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

/// It starts, and says that it is ready.
fn accepted(command: &mut Command, world: &World) {
    let address = format!("127.0.0.1:{}", ports::free());
    let service = Service::start(command.args(["--listen", &address]), world.path("accepted.log"));
    until("it is ready", || get(&address, "/readyz").0 == 200);
    assert_eq!(service.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_server_a_broker_is_believed_by_its_certificate_alone() {
    let mut world = World::new();
    let good = Certificate::make(&world, "good", "localhost", VALID);
    let other = Certificate::make(&world, "other", "localhost", VALID);
    let old = Certificate::make(&world, "old", "localhost", EXPIRED);
    let (port, old_port) = (ports::free(), ports::free());
    let conf = |port: u16, certificate: &Certificate| {
        let Certificate { certificate, key, .. } = certificate;
        let (certificate, key) = (certificate.display(), key.display());
        format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
             ssl_options.cacertfile = {certificate}\nssl_options.verify = verify_none"
        )
    };
    let broker = OwnRabbitmq::start_with(&conf(port, &good), &Place::temporary()).await.unwrap();
    world.settings(&format!("[catalog]\nurl = \"sqlite:{}\"", world.path("c.db").display()));
    let at = |host: &str, port: u16| format!("broker.url=amqps://guest:guest@{host}:{port}/%2f");
    accepted(&mut collector(&world, &good.certificate, &["--set", &at("localhost", port)]), &world);
    // One that nobody vouches for, and one for another name.
    refused(
        &mut collector(&world, &other.certificate, &["--set", &at("localhost", port)]),
        &["certificate"],
    );
    refused(
        &mut collector(&world, &good.certificate, &["--set", &at("127.0.0.1", port)]),
        &["certificate"],
    );
    // Without TLS on a port that wants it, and the other way round.
    let plain = at("localhost", port).replace("amqps", "amqp");
    refused(&mut collector(&world, &good.certificate, &["--set", &plain]), &["localhost"]);
    let tls = at("localhost", broker.address().port());
    refused(&mut collector(&world, &good.certificate, &["--set", &tls]), &["tls"]);
    drop(broker);
    let _expired =
        OwnRabbitmq::start_with(&conf(old_port, &old), &Place::temporary()).await.unwrap();
    refused(
        &mut collector(&world, &old.certificate, &["--set", &at("localhost", old_port)]),
        &["expired"],
    );
}

/// A host of images, which answers every request over TLS with the same one; its port.
fn image_host(certificate: &Certificate, image: &[u8]) -> u16 {
    let length = image.len();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    TlsServer::start(&certificate.made, [head.as_bytes(), image].concat()).address().port()
}

#[test]
fn a_host_of_images_is_believed_by_its_certificate_alone() {
    let mut world = World::new();
    world.settings(
        "[limits]\nallow_private_hosts = true\n[producer]\nfetch_attempts = 1\nobey_robots = false",
    );
    let good = Certificate::make(&world, "good", "localhost", VALID);
    let other = Certificate::make(&world, "other", "localhost", VALID);
    let old = Certificate::make(&world, "old", "localhost", EXPIRED);
    let image = std::fs::read(sample_folder().join(NOTE)).unwrap();
    let (port, old_port) = (image_host(&good, &image), image_host(&old, &image));
    let fetched = |trusted: &Certificate, host: &str, port: u16, batch: &str| {
        let url = format!("https://{host}:{port}/note.png");
        let mut command = world.command("ocelli");
        command.env("SSL_CERT_FILE", &trusted.certificate);
        command.args(["run", &url, "--batch", batch]);
        let said = Said::from(command.output().unwrap());
        (said.code, world.ocelli(["batch", "show", batch, "--references"]).out)
    };
    for (trusted, host, port, batch, reason) in [
        (&other, "localhost", port, "unknown", "UnknownIssuer"),
        (&good, "127.0.0.1", port, "misnamed", "not valid for name"),
        (&old, "localhost", old_port, "expired", "certificate expired"),
    ] {
        let (code, references) = fetched(trusted, host, port, batch);
        assert_eq!(code, 3, "{batch}: {references}");
        assert!(references.contains("\"failed\"") && references.contains(reason), "{references}");
    }
    let (code, references) = fetched(&good, "localhost", port, "good");
    assert_eq!(code, 0, "{references}");
    assert!(references.contains("\"accepted\""), "{references}");
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn own_server_a_database_is_believed_by_its_certificate_alone() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let world = &fleet.world;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.path(""), open).unwrap();
    let good = Certificate::make(world, "good", "localhost", VALID);
    let other = Certificate::make(world, "other", "localhost", VALID);
    let old = Certificate::make(world, "old", "localhost", EXPIRED);
    let postgres = OwnPostgres::start().await;
    let database = postgres.database().await;
    show(&database, &good).await;
    let url = |host: &str, root: &Certificate| {
        let url = database.url.replace("127.0.0.1", host);
        format!("catalog.url={url}?sslmode=verify-full&sslrootcert={}", root.certificate.display())
    };
    let none = world.path("none.pem");
    let status = |root: &Certificate| world.ocelli(["status", "--set", &url("localhost", root)]);
    until("the server speaks TLS", || status(&good).code == 0);
    accepted(&mut collector(world, &none, &["--set", &url("localhost", &good)]), world);
    refused(&mut collector(world, &none, &["--set", &url("localhost", &other)]), &["certificate"]);
    refused(&mut collector(world, &none, &["--set", &url("127.0.0.1", &good)]), &["certificate"]);
    show(&database, &old).await;
    until("the server shows the other certificate", || status(&good).code != 0);
    refused(&mut collector(world, &none, &["--set", &url("localhost", &old)]), &["expired"]);
}

/// Lets the server show this certificate, from its next look at its settings on.
async fn show(database: &PostgresServer, shown: &Certificate) {
    // The server reads a key that is its own, and nobody else's.
    let key = shown.key.with_extension("server-key");
    let mut install = Command::new("install");
    install.args(["-m", "600"]).arg(&shown.key).arg(&key);
    if rustix::process::geteuid().is_root() {
        install.args(["-o", "postgres"]);
    }
    checked(&mut install);
    for (name, value) in [
        ("ssl_cert_file", shown.certificate.display().to_string()),
        ("ssl_key_file", key.display().to_string()),
        ("ssl", "on".to_owned()),
    ] {
        database.execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
    database.execute("SELECT pg_reload_conf()").await;
}

/// Words that stand in settings and nowhere else.
const PLANTED: [&str; 9] = [
    "planted-broker-password",
    "planted-database-password",
    "planted-model-key",
    "planted-token-of-the-site",
    "planted-secret-of-the-webhook",
    "planted-name-of-the-s3-key",
    "planted-secret-of-the-s3-key",
    "planted-key-of-gs",
    "planted-key-of-az",
];

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_log_no_metric_no_error_and_no_list_of_processes() {
    let fleet = Fleet::new(Database::Postgres).await;
    let (api, vhost) = (fleet.rabbitmq.api(), fleet.rabbitmq.vhost.clone());
    let user = format!("planted-{vhost}");
    api.put(&format!("users/{user}"), &json!({"password": PLANTED[0], "tags": ""})).unwrap();
    let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
    api.put(&format!("permissions/{vhost}/{user}"), &everything).unwrap();
    let broker =
        format!("amqp://{user}:{}@{}", PLANTED[0], fleet.rabbitmq.url.split_once('@').unwrap().1);
    let database = fleet
        .postgres
        .as_ref()
        .unwrap()
        .url
        .replace("postgres@", &format!("postgres:{}@", PLANTED[1]));
    let settings = format!(
        "[broker]\nurl = \"{broker}\"\n[catalog]\nurl = \"{database}\"\n[log]\nlevel = \"info,ocelli=trace,ocelli_broker=trace\"\n\
         [analyzers.\"llama3.2-vision\"]\nenabled = true\n\
         endpoints = [{{ url = \"http://127.0.0.1:1\", api_key = \"{}\" }}]\n\
         [web]\ntoken = \"{}\"\n\
         [[webhook]]\nname = \"nobody\"\nurl = \"http://127.0.0.1:1/\"\nallow_private = true\nsecret = \"{}\"\n\
         [objects]\nendpoint = \"http://127.0.0.1:1\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n\
         gs_endpoint = \"http://127.0.0.1:1\"\ngs_key = \"{}\"\n\
         az_endpoint = \"http://127.0.0.1:1/account\"\naz_account = \"account\"\naz_key = \"{}\"\n",
        PLANTED[2], PLANTED[3], PLANTED[4], PLANTED[5], PLANTED[6], PLANTED[7], PLANTED[8]
    );
    std::fs::write(fleet.world.path("ocelli.toml"), settings).unwrap();
    let mut told = String::new();
    let mut services = Vec::new();
    let site = format!("127.0.0.1:{}", ports::free());
    let listen = format!("web.listen={site}");
    for program in ["ocelli-collector", "ocelli-ocr-worker", "ocelli-llm-worker", "ocelli-web"] {
        let address = format!("127.0.0.1:{}", ports::free());
        let service = fleet.world.start(program, ["--listen", &address, "--set", &listen]);
        until("it is ready", || get(&address, "/readyz").0 == 200);
        services.push((address, service));
    }
    fleet.world.samples("in", &[NOTE]);
    fleet.world.ocelli(["produce", "in"]);
    until("it is read", || fleet.world.row("tesseract-ocr")["done"] == 1);
    for path in
        ["/fleet.json", "/sign-in", "/sign-in.json", "/bring", "/log.json", "/api/v1/status"]
    {
        let (status, page) = get(&site, path);
        assert_eq!(status, 200, "{path}");
        told.push_str(&page);
    }
    for (address, service) in &services {
        for path in ["/metrics", "/readyz", "/healthz"] {
            told.push_str(&get(address, path).1);
        }
        told.push_str(&std::fs::read_to_string(format!("/proc/{}/cmdline", service.id())).unwrap());
    }
    for arguments in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["doctor"],
        &["status", "--json"],
        &["top", "--once"],
        &["events", "list"],
        &["show", "in/note-transparent.png", "--format", "json"],
        // Errors name the address, not what is in it.
        &["doctor", "--set", "broker.operation_timeout=soon"],
        &["produce", "in", "--set", "broker.namespace=NO"],
        &["produce", "in", "--set", "broker.connect_timeout=1ms"],
        // One bucket whose server is away, and two with keys that are none.
        &["produce", "s3://pictures/"],
        &["produce", "gs://pictures/"],
        &["produce", "az://pictures/"],
    ] {
        let said = fleet.world.ocelli(arguments);
        told.push_str(&said.out);
        told.push_str(&said.err);
    }
    api.put(&format!("users/{user}"), &json!({"password": "another", "tags": ""})).unwrap();
    for program in ["ocelli-collector", "ocelli-llm-worker"] {
        let said = fleet.world.run(program, ["--listen", "off"]);
        assert_eq!(said.code, 4, "{said:?}");
        told.push_str(&said.err);
    }
    for (_, service) in services {
        told.push_str(&service.log());
    }
    api.delete(&format!("users/{user}")).unwrap();
    assert!(told.len() > 20_000, "only {} bytes were looked at", told.len());
    for planted in PLANTED {
        let found = told.lines().find(|line| line.contains(planted));
        assert_eq!(found, None, "{planted}");
    }
}
