//! Objects of a bucket, from a server that checks signatures.

use ocelli_core::{FailureClass, SourceUri};
use ocelli_media::{FetchError, FetchLimits, Fetcher, ObjectOptions};
use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};

fn fetcher(endpoint: String, secret: &str) -> Fetcher {
    let objects = ObjectOptions {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        credentials: Some((ACCESS_KEY.to_owned(), secret.to_owned())),
        buckets: Vec::new(),
    };
    Fetcher::new(FetchLimits { objects, bytes: 1000, ..FetchLimits::default() }).unwrap()
}

fn source(text: &str) -> SourceUri {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_object_is_read_as_a_whole_and_within_the_limit() {
    let buckets = Buckets::start(&["bucket"]).await;
    std::fs::write(buckets.file("bucket", "a/b c+d.bin"), [7; 1000]).unwrap();
    std::fs::write(buckets.file("bucket", "large"), [7; 1001]).unwrap();
    let fetcher = fetcher(buckets.endpoint(), SECRET_KEY);
    let bytes = fetcher.fetch(&source("s3://bucket/a/b c+d.bin")).await.unwrap();
    assert_eq!(bytes, [7; 1000].as_slice());
    let error = fetcher.fetch(&source("s3://bucket/large")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1000, .. }), "{error}");
}

#[tokio::test]
async fn each_refusal_says_whether_trying_again_helps_and_no_secret() {
    let buckets = Buckets::start(&["bucket"]).await;
    let ours = fetcher(buckets.endpoint(), SECRET_KEY);
    let theirs = fetcher(buckets.endpoint(), "a-wrong-secret");
    let nowhere = fetcher("http://127.0.0.1:1".to_owned(), SECRET_KEY);
    for (fetcher, text, class) in [
        (&ours, "s3://bucket/gone", FailureClass::Permanent),
        (&ours, "s3://bucket/a/", FailureClass::Permanent),
        (&theirs, "s3://bucket/gone", FailureClass::Transient),
        (&nowhere, "s3://bucket/gone", FailureClass::Transient),
    ] {
        let error = fetcher.fetch(&source(text)).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        let said = format!("{error} {error:?}");
        for secret in [SECRET_KEY, "a-wrong-secret", "<"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}
