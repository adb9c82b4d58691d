//! Images in a bucket, read by the program of one machine.

use std::fs;

use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};

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
