//! Buckets of a server that speaks the protocol of Amazon S3.

use std::path::Path;

use ocelli_core::Digest;
use ocelli_media::ObjectOptions;
use ocelli_producer::{ProducerError, Source};
use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};

use crate::world::{World, png};

/// One more than a page of a listing has.
const OBJECTS: u32 = 1001;

async fn world(buckets: &Buckets, secret: &str) -> World {
    let mut world = World::new().await;
    world.options.fetch.objects = ObjectOptions {
        endpoint: Some(buckets.endpoint()),
        region: Some("us-east-1".to_owned()),
        credentials: Some((ACCESS_KEY.to_owned(), secret.to_owned())),
        ..ObjectOptions::default()
    };
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_below_a_prefix_are_read_once_and_again_when_they_change() {
    let buckets = Buckets::start(&["pictures"]).await;
    for number in 0..OBJECTS {
        std::fs::write(buckets.file("pictures", &format!("2024/ä {number}.png")), png(number))
            .unwrap();
    }
    std::fs::write(buckets.file("pictures", "2024/README"), "no image").unwrap();
    std::fs::write(buckets.file("pictures", "2024/empty"), "").unwrap();
    std::fs::write(buckets.file("pictures", "2023/other.png"), png(5_000_000)).unwrap();
    let world = world(&buckets, SECRET_KEY).await;
    let prefix = Path::new("s3://pictures/2024/");
    let (first, sent) = world.produce(&[prefix]).await;
    assert_eq!((first.enqueued, first.skipped, first.problems), (OBJECTS.into(), 2, 0));
    let source =
        &sent.intakes.iter().find(|one| one.image.digest == Digest::of(&png(7))).unwrap().sources
            [0];
    assert_eq!(source.as_str(), "s3://pictures/2024/%C3%A4%207.png");

    std::fs::write(buckets.file("pictures", "2024/ä 7.png"), png(6_000_000)).unwrap();
    let (second, sent) = world.produce(&[prefix]).await;
    assert_eq!((second.enqueued, second.known), (1, u64::from(OBJECTS) - 1));
    assert_eq!(second.unread, u64::from(OBJECTS) - 1, "their tags are as they were");
    assert_eq!(sent.intakes[0].image.digest, Digest::of(&png(6_000_000)));
}

#[tokio::test]
async fn single_objects_and_those_of_lists_are_read() {
    let buckets = Buckets::start(&["pictures"]).await;
    std::fs::write(buckets.file("pictures", "a.png"), png(1)).unwrap();
    std::fs::write(buckets.file("pictures", "b c.png"), png(2)).unwrap();
    let world = world(&buckets, SECRET_KEY).await;
    let (one, _) = world.produce(&[Path::new("s3://pictures/a.png")]).await;
    assert_eq!(one.enqueued, 1);
    let list = world.put(
        "list.txt",
        b"s3://pictures/b c.png\ns3://pictures/gone.png\ns3://pictures/b/\ns3://nowhere/a.png\n",
    );
    let (listed, sent) = world.produce(&[&list]).await;
    assert_eq!((listed.enqueued, listed.problems), (1, 3));
    for problem in &sent.problems {
        assert!(problem.reference.starts_with("s3://"), "{problem:?}");
        assert!(
            !problem.reason.contains(SECRET_KEY) && !problem.reason.contains(ACCESS_KEY),
            "{problem:?}"
        );
    }
    assert!(sent.problem("gone.png").reason.contains("no such bucket or object"), "{sent:?}");
}

#[tokio::test]
async fn globs_are_about_keys_as_they_are_about_files() {
    let buckets = Buckets::start(&["pictures"]).await;
    for (number, key) in (0..).zip(["a.png", "thumbs/a.png", ".hidden/a.png", "x/b.png"]) {
        std::fs::write(buckets.file("pictures", key), png(number)).unwrap();
    }
    let mut world = world(&buckets, SECRET_KEY).await;
    world.options.exclude = vec!["thumbs/".to_owned()];
    let (summary, _) = world.produce(&[Path::new("s3://pictures")]).await;
    assert_eq!((summary.enqueued, summary.skipped), (2, 0));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_listed_ends_the_run_before_it_begins_and_tells_no_secret() {
    let buckets = Buckets::start(&["pictures"]).await;
    let wrong = "another-secret-that-is-shown-nowhere";
    let refused = world(&buckets, wrong).await;
    let mut closed = world(&buckets, SECRET_KEY).await;
    closed.options.fetch.objects.buckets = vec!["others".to_owned()];
    let missing = world(&buckets, SECRET_KEY).await;
    for (world, bucket, reason) in [
        (&refused, "s3://pictures/", "refuses these credentials"),
        (&closed, "s3://pictures/", "objects.buckets"),
        (&missing, "s3://nowhere/", "no such bucket"),
    ] {
        let error = world.try_produce(&[Path::new(bucket)]).await.unwrap_err();
        let text = ocelli_core::chain(&error);
        assert!(matches!(error, ProducerError::Source(_)) && text.contains(reason), "{text}");
        for secret in [wrong, SECRET_KEY, ACCESS_KEY] {
            assert!(!text.contains(secret), "{text}");
        }
        let sent = world.collect().await;
        assert!(sent.reports.is_empty(), "nothing began: {sent:?}");
    }
}

#[tokio::test]
async fn a_prefix_with_nothing_below_it_is_told() {
    let buckets = Buckets::start(&["pictures"]).await;
    let world = world(&buckets, SECRET_KEY).await;
    let (summary, sent) = world.produce(&[Path::new("s3://pictures/2042/")]).await;
    assert_eq!((summary.accepted, summary.problems), (0, 1));
    assert!(sent.problems[0].reason.contains("nothing below it"), "{sent:?}");
}

#[tokio::test]
async fn a_list_from_elsewhere_reaches_no_bucket() {
    let buckets = Buckets::start(&["pictures"]).await;
    std::fs::write(buckets.file("pictures", "a.png"), png(1)).unwrap();
    let mut world = world(&buckets, SECRET_KEY).await;
    world.options.within = Some(world.images());
    let list = world.put("list.txt", b"s3://pictures/a.png\n");
    let (summary, sent) = world.produce_sources(vec![Source::Manifest(list)]).await;
    assert_eq!((summary.accepted, summary.problems), (0, 1));
    assert!(sent.problems[0].reason.contains("came along"), "{sent:?}");
}
