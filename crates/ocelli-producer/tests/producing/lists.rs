//! Manifests.

use ocelli_core::Digest;
use ocelli_producer::{ProducerError, Source, SourceError};

use crate::world::{World, png};

#[tokio::test]
async fn the_earliest_time_of_a_manifest_is_first_seen() {
    let world = World::new().await;
    world.put_image("a.png", 1);
    world.produce(&[&world.images()]).await;
    let digest = Digest::of(&png(1));
    let first_seen = async || {
        let record = world.catalog.record(&digest).await.unwrap().unwrap();
        record.first_seen().unwrap().to_string()
    };
    let line = |time: &str| format!("{{\"path\":\"a.png\",\"first_seen\":\"{time}\"}}\n");
    let list = world.put("list.ndjson", line("2024-05-04T09:00:51+00:00").as_bytes());
    let (summary, _) = world.produce(&[&list]).await;
    assert_eq!((summary.known, summary.jobs), (1, 0));
    assert_eq!(first_seen().await, "2024-05-04T09:00:51Z");
    world.put("list.ndjson", line("2025-01-01T00:00:00Z").as_bytes());
    world.produce(&[&list]).await;
    assert_eq!(first_seen().await, "2024-05-04T09:00:51Z", "it never grows");
    world.put("list.ndjson", line("2023-05-04T11:00:51+02:00").as_bytes());
    world.produce(&[&list]).await;
    assert_eq!(first_seen().await, "2023-05-04T09:00:51Z");
}

#[tokio::test]
async fn broken_lines_of_csv_and_ndjson_are_problems_with_their_number() {
    let world = World::new().await;
    for n in 1..=3 {
        world.put_image(format!("{n}.png"), n);
    }
    let other = Digest::of(&png(2));
    let csv = world.put(
        "list.csv",
        format!(
            "first_seen,path,digest,note\n2024-05-04T09:00:51Z,1.png,{},hello\n2024-05-04,2.png,,a date\n\
             ,2.png,,\"with, a comma\"\n,3.png,{other},another digest\n,missing.png,,\n,,,nothing\n",
            Digest::of(&png(1)),
        )
        .as_bytes(),
    );
    let ndjson = world.put("list.jsonl", b"{\"path\":\"3.png\"}\n{oops\n");
    let (summary, sent) = world.produce(&[&csv, &ndjson]).await;
    assert_eq!(summary.name, "list.csv and 1 more");
    assert_eq!((summary.accepted, summary.problems), (3, 5));
    assert!(sent.problem("list.csv:3").reason.contains("a date without time"));
    assert!(sent.problem("list.csv:7").reason.contains("neither uri nor path"));
    assert!(sent.problem("list.jsonl:2").reason.contains("not a JSON object"));
    assert!(sent.problem("missing.png").reason.contains("list.csv:6"));
    assert!(sent.problem("3.png").reason.contains("another digest"));
}

#[tokio::test]
async fn a_source_that_cannot_be_opened_ends_the_run_before_anything_is_enqueued() {
    let world = World::new().await;
    world.put_image("a.png", 1);
    let missing = world.at("missing");
    let error = world.try_produce(&[&world.images(), &missing]).await.unwrap_err();
    assert!(
        matches!(error, ProducerError::Source(SourceError::Missing { path }) if path == missing)
    );
    let csv = world.put("x.csv", b"name,size\na.png,1\n");
    let error = world.try_produce(&[&world.images(), &csv]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("name,size"), "{text}");
    // A file where a folder should be stands for every refusal of the system: root is refused nothing else.
    let below_a_file = world.at("a.png/b.png");
    let error = world.try_produce(&[&below_a_file]).await.unwrap_err();
    assert!(matches!(error, ProducerError::Source(SourceError::Open { .. })), "{error}");
    let sent = world.collect().await;
    assert!(sent.intakes.is_empty() && sent.reports.is_empty());
}

#[tokio::test]
async fn a_text_list_names_paths_and_its_folder_is_where_they_begin() {
    let world = World::new().await;
    world.put_image("deep/a.png", 1);
    let list = world.put("deep/list.txt", b"a.png\n./a.png\n../deep/a.png\n..\n");
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.accepted, summary.enqueued, summary.problems), (3, 1, 1));
    let record = world.catalog.record(&Digest::of(&png(1))).await.unwrap().unwrap();
    assert_eq!(record.sightings.len(), 1, "one file has one name");
    assert!(sent.problems[0].reason.contains("it is a folder"));
    assert_eq!(Source::parse(list.as_os_str()).unwrap(), Source::Manifest(list));
}
