//! Copies of what URLs named, in a bucket that the programs of several machines share.

use std::fs;
use std::sync::Arc;

use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::services::{Database, Fleet};
use crate::site::Site;
use crate::world::{NOTE, World, sample_folder};

/// Serves `/N.png`, each another image of the same note, until it is dropped.
struct Origin {
    address: String,
    serving: JoinHandle<()>,
}

impl Origin {
    async fn start() -> Self {
        let note = Arc::new(fs::read(sample_folder().join(NOTE)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let note = Arc::clone(&note);
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let count = stream.read(&mut request).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&request[..count]).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    let (status, body) = match path.strip_suffix(".png") {
                        Some(name) => ("200 OK", [&note[..], name.as_bytes()].concat()),
                        None => ("404 Not Found", Vec::new()),
                    };
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                    );
                    // A client that goes away is its own business.
                    drop(stream.write_all(&[head.as_bytes(), &body].concat()).await);
                });
            }
        });
        Self { address, serving }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn settings(world: &mut World, buckets: &Buckets) {
    fs::write(world.path("secret"), SECRET_KEY).unwrap();
    world.settings(&format!(
        "[objects]\nendpoint = \"{}\"\naccess_key = \"{ACCESS_KEY}\"\nsecret_key_file = \"{}\"\nbuckets = [\"pictures\"]",
        buckets.endpoint(),
        world.path("secret").display()
    ));
    world.settings("[data]\nkept = \"s3://shared/copies/\"\n[limits]\nallow_private_hosts = true");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_urls_named_is_read_shown_and_verified_from_a_bucket_when_it_is_gone() {
    const IMAGES: usize = 6;
    let buckets = Buckets::start(&["shared"]).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    settings(&mut fleet.world, &buckets);
    let origin = Origin::start().await;
    let list: String =
        (0..IMAGES).map(|n| format!("http://{}/{n}.png\n", origin.address)).collect();
    fs::write(fleet.world.path("list.txt"), list).unwrap();
    // Two producers at once, as on two machines.
    let produce = ["list.txt", "--listen", "off"];
    let mut both = [0, 1].map(|_| fleet.world.start("ocelli-producer", produce));
    for producer in &mut both {
        assert_eq!(producer.wait(), 0, "{}", producer.log());
    }
    let copies = buckets.objects("shared", "copies");
    assert_eq!(copies.len(), IMAGES, "each once, and nothing half: {:?}", copies.keys());
    drop(origin);

    let services = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    fleet.finished(IMAGES as u64, 1);
    let site = Site::program(&fleet.world, "ocelli-web", &["--listen", "off"]);
    let digest = site.digest("/3.png");
    for size in ["thumb", "view", "original"] {
        let shown = site.get(&format!("/image/{digest}/{size}"));
        assert_eq!(shown.status, 200, "{size}: {}", shown.head);
        assert!(shown.header("content-type").starts_with("image/"), "{}", shown.head);
    }
    let verified = fleet.world.ocelli(["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.out.contains(&format!("{IMAGES} sources are as they were")), "{verified:?}");

    let names: Vec<&String> = copies.keys().collect();
    fs::write(buckets.file("shared", &format!("copies/{}", names[0])), "other bytes").unwrap();
    fs::remove_file(buckets.file("shared", &format!("copies/{}", names[1]))).unwrap();
    let verified = fleet.world.ocelli(["verify"]);
    assert_eq!(verified.code, 1, "{verified:?}");
    assert!(verified.out.contains("1 changed, 1 missing, 0 not looked at"), "{verified:?}");
    let line = |what: &str, name: &str| {
        let digest = name.replace('/', "");
        let mut lines = verified.out.lines();
        lines.find(|line| line.starts_with(what) && line.contains(&digest[..8])).map(str::to_owned)
    };
    assert!(line("changed", names[0]).is_some_and(|line| line.contains("its kept copy is")));
    assert!(line("missing", names[1]).is_some_and(|line| line.contains("no copy of it is kept")));
    // A bucket that nobody can read is not one that has lost its copies: it says why.
    fs::write(fleet.world.path("secret"), "another-secret-of-this-test").unwrap();
    let refused = fleet.world.ocelli(["verify"]);
    assert!(refused.code == 1 && refused.out.contains("refuses these credentials"), "{refused:?}");
    assert!(!format!("{refused:?}").contains("another-secret"), "{refused:?}");
    for service in services {
        assert_eq!(service.stop(), 0);
    }
}
