//! Images in a bucket, read by the program of one machine.

use std::fs;

use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};
use ocelli_testkit::clouds::{ACCOUNT, ACCOUNT_KEY, Azure, Google, SERVICE_KEY};

use crate::world::{NOTE, World, sample_folder};

#[test]
fn a_bucket_is_read_with_a_key_that_is_shown_nowhere() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let buckets = runtime.block_on(Buckets::start(&["pictures"]));
    let _entered = runtime.enter();
    fs::copy(sample_folder().join(NOTE), buckets.file("pictures", "2024/a note.png")).unwrap();
    let mut world = World::new();
    fs::write(world.path("secret"), format!("{SECRET_KEY}\n")).unwrap();
    let (endpoint, secret) = (buckets.endpoint(), world.path("secret"));
    world.settings(&format!(
        "[objects]\nendpoint = \"{endpoint}\"\naccess_key = \"{ACCESS_KEY}\"\nsecret_key_file = \"{}\"",
        secret.display()
    ));
    let first = world.ocelli(["run", "s3://pictures/2024/", "--json"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(world.row("tesseract-ocr")["done"], 1);
    let shown = world.ocelli(["show", "s3://pictures/2024/a%20note.png", "--format", "json"]);
    assert!(shown.out.contains("s3://pictures/2024/a%20note.png"), "{shown:?}");
    let again = world.ocelli(["run", "s3://pictures/2024/", "--json"]);
    assert!(again.out.contains("\"unread\": 1"), "{again:?}");
    let verified = world.ocelli(["verify", "--urls"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let settings = world.ocelli(["config", "show"]);
    assert!(settings.out.contains("secret_key"), "{settings:?}");
    fs::write(world.path("secret"), "another-secret-of-this-test").unwrap();
    let refused = world.ocelli(["run", "s3://pictures/2024/"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("objects.secret_key"), "{refused:?}");
    for said in [first, shown, again, verified, settings, refused] {
        for secret in [SECRET_KEY, "another-secret-of-this-test"] {
            assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
        }
    }
    world.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_of_google_and_azure_are_read_with_keys_that_are_shown_nowhere() {
    let (google, azure) = (Google::start("pictures").await, Azure::start("pictures").await);
    let note = fs::read(sample_folder().join(NOTE)).unwrap();
    google.put("2024/a note.png", &note).await;
    azure.put("2024/a note.png", &[&note[..], b"of azure"].concat()).await;
    let mut world = World::new();
    fs::write(world.path("gs.json"), SERVICE_KEY).unwrap();
    fs::write(world.path("az.key"), format!("{ACCOUNT_KEY}\n")).unwrap();
    world.settings(&format!(
        "[objects]\ngs_endpoint = \"{}\"\ngs_key_file = \"{}\"\naz_endpoint = \"{}\"\naz_account = \"{ACCOUNT}\"\n\
         az_key_file = \"{}\"\nbuckets = [\"gs://pictures\", \"az://pictures\"]",
        google.endpoint(),
        world.path("gs.json").display(),
        azure.endpoint(),
        world.path("az.key").display()
    ));
    let both = ["gs://pictures/2024/", "az://pictures/2024/"];
    let first = world.ocelli(["run", both[0], both[1], "--json"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(world.row("tesseract-ocr")["done"], 2);
    let again = world.ocelli(["run", both[0], both[1], "--json"]);
    assert!(again.out.contains("\"unread\": 2"), "{again:?}");
    let verified = world.ocelli(["verify"]);
    assert!(verified.out.contains("2 sources are as they were"), "{verified:?}");
    let exported = world.ocelli(["export", "--format", "jsonl", "--out", "az://pictures/out/"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let unread = world.ocelli(["export", "--format", "jsonl", "--out", "gs://pictures/out/"]);
    assert!(unread.code == 2 && unread.err.contains("are only read"), "{unread:?}");
    let closed = world.ocelli(["run", "s3://pictures/2024/"]);
    assert!(closed.code == 2 && closed.err.contains("objects.buckets"), "{closed:?}");
    let settings = world.ocelli(["config", "show"]);
    fs::write(world.path("az.key"), "d3Jvbmcta2V5LW9mLXRoaXMtdGVzdA==").unwrap();
    let refused = world.ocelli(["run", both[1]]);
    assert!(refused.code == 2 && refused.err.contains("objects.az_key_file"), "{refused:?}");
    for said in [first, again, verified, exported, unread, closed, settings, refused] {
        for secret in [ACCOUNT_KEY, "d3Jvbmcta2V5", "client_email"] {
            assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
        }
    }
    world.audit();
}
