//! Objects of a bucket, from and on a server that checks signatures.

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, SourceUri};
use ocelli_media::{FetchError, FetchLimits, Fetcher, Kept, ObjectOptions, Trouble};
use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};

fn fetcher(endpoint: String, secret: &str) -> Fetcher {
    let objects = ObjectOptions {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        credentials: Some((ACCESS_KEY.to_owned(), secret.to_owned())),
        ..ObjectOptions::default()
    };
    Fetcher::new(FetchLimits { objects, bytes: 1000, ..FetchLimits::default() }).unwrap()
}

/// One that keeps copies below `s3://bucket/copies/`.
fn keeper(endpoint: &str, secret: &str) -> Fetcher {
    let limits = fetcher(endpoint.to_owned(), secret).limits().clone();
    let kept = Some(Kept::Bucket(source("s3://bucket/copies/").object().unwrap()));
    // The bucket of copies is a setting, and none that sources may name.
    let buckets = vec!["pictures".to_owned()];
    let objects = ObjectOptions { buckets, ..limits.objects.clone() };
    Fetcher::new(FetchLimits { kept, objects, bytes: 1 << 24, ..limits }).unwrap()
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
async fn an_object_that_is_no_image_is_left_at_its_beginning() {
    let buckets = Buckets::start(&["bucket"]).await;
    let film = [b"FLV\x01".as_slice(), &[7_u8; 100_000]].concat();
    std::fs::write(buckets.file("bucket", "film"), film).unwrap();
    let limits = fetcher(buckets.endpoint(), SECRET_KEY).limits().clone();
    let of = |images_only| {
        let limits = FetchLimits { bytes: 1 << 20, images_only, ..limits.clone() };
        Fetcher::new(limits).unwrap()
    };
    let error = of(true).fetch(&source("s3://bucket/film")).await.unwrap_err();
    assert!(
        matches!(error, FetchError::NotAnImage { looks_like: "a video (Flash)", .. }),
        "{error}"
    );
    assert_eq!(of(false).fetch(&source("s3://bucket/film")).await.unwrap().len(), 100_004);
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

#[tokio::test]
async fn an_object_that_is_written_in_parts_appears_whole_or_not_at_all() {
    let buckets = Buckets::start(&["bucket"]).await;
    let fetcher = fetcher(buckets.endpoint(), SECRET_KEY);
    // The slash at the end may be missing.
    let prefix = fetcher.prefix(&source("s3://bucket/out").object().unwrap()).unwrap();
    let bytes: Vec<u8> =
        (0..23_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut upload = prefix.upload("large", 1).unwrap();
    for piece in bytes.chunks(700_001) {
        upload.write(piece).await.unwrap();
    }
    assert!(upload.id().is_some() && buckets.parts() > 0);
    assert!(buckets.objects("bucket", "").is_empty(), "nothing is seen of it");
    upload.finish().await.unwrap();
    assert!(buckets.objects("bucket", "out")["large"] == bytes, "byte for byte");
    assert_eq!((upload.id(), buckets.parts()), (None, 0));

    let mut given_up = prefix.upload("large", 1).unwrap();
    given_up.write(&vec![1; 12_000_000]).await.unwrap();
    let id = given_up.id().unwrap().to_owned();
    given_up.abort().await.unwrap();
    assert_eq!(buckets.parts(), 0, "no part is left that costs");
    prefix.abort("large", &id).await.unwrap();
    assert!(buckets.objects("bucket", "out")["large"] == bytes, "what was there is there");

    let mut small = prefix.upload("small", 1).unwrap();
    small.write(b"a few bytes").await.unwrap();
    assert_eq!(small.id(), None, "one request is enough");
    small.finish().await.unwrap();
    assert_eq!(prefix.names(None).await.unwrap(), ["large", "small"]);
    assert_eq!(prefix.names(Some("large")).await.unwrap(), ["small"]);
    assert_eq!(prefix.get("small", 100).await.unwrap().unwrap(), "a few bytes");
    prefix.remove("small").await.unwrap();
    prefix.remove("small").await.unwrap();
    assert!(prefix.get("small", 100).await.unwrap().is_none());
}

#[tokio::test]
async fn a_bucket_that_takes_nothing_says_why_and_no_secret() {
    let buckets = Buckets::start(&["bucket", "closed"]).await;
    let ours = fetcher(buckets.endpoint(), SECRET_KEY);
    let theirs = fetcher(buckets.endpoint(), "a-wrong-secret");
    let prefix = |fetcher: &Fetcher, text: &str| fetcher.prefix(&source(text).object().unwrap());
    let refused = prefix(&theirs, "s3://bucket/a/").unwrap();
    let missing = prefix(&ours, "s3://nowhere/a/").unwrap();
    let full = prefix(&ours, "s3://bucket/a/").unwrap();
    buckets.fill(true);
    for (prefix, trouble) in
        [(&refused, Trouble::Refused), (&missing, Trouble::NoBucket), (&full, Trouble::Full)]
    {
        let small = prefix.put("small", Bytes::from_static(b"a")).await.unwrap_err();
        let mut upload = prefix.upload("large", 1).unwrap();
        let large = upload.write(&vec![0; 12_000_000]).await.unwrap_err();
        for error in [small, large] {
            assert_eq!(error.trouble, trouble, "{error}");
            let said = format!("{error} {error:?}");
            for secret in [SECRET_KEY, "a-wrong-secret", ACCESS_KEY, "<"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
    let error = prefix(&keeper(&buckets.endpoint(), SECRET_KEY), "s3://closed/a/").unwrap_err();
    assert_eq!(error.trouble, Trouble::Closed, "{error}");
    assert!(error.to_string().contains("objects.buckets"), "{error}");
    assert!(buckets.objects("bucket", "").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_in_a_bucket_are_written_once_also_by_many_at_once() {
    let buckets = Buckets::start(&["bucket"]).await;
    let image = Bytes::from(vec![7; 3_000_000]);
    let digest = Digest::of(&image);
    let name = digest.to_string();
    let (shard, rest) = name.split_at(2);
    let key = format!("{shard}/{rest}");
    let keepers: Vec<Fetcher> = (0..8).map(|_| keeper(&buckets.endpoint(), SECRET_KEY)).collect();
    assert!(keepers[0].kept(&digest).await.unwrap().is_none());
    let writing = keepers.iter().map(|one| {
        tokio::spawn({
            let (one, image) = (one.clone(), image.clone());
            async move { one.keep(digest, image).await }
        })
    });
    for written in writing.collect::<Vec<_>>() {
        written.await.unwrap().unwrap();
    }
    assert!(!keepers[0].keep(digest, image.clone()).await.unwrap(), "it is there");
    let all = buckets.objects("bucket", "copies");
    assert_eq!(all.keys().collect::<Vec<_>>(), [&key], "one object, and nothing half");
    assert!(all[&key] == image);
    assert!(keepers[1].kept(&digest).await.unwrap().unwrap() == image);
    let wrong = keepers[0].keep(digest, Bytes::from_static(b"other")).await.unwrap_err();
    assert_eq!(wrong.kind(), std::io::ErrorKind::InvalidInput);

    // One that was cut off by whatever is written anew, and a server that knows no conditions is written to all the same.
    std::fs::write(buckets.file("bucket", &format!("copies/{key}")), b"cut").unwrap();
    assert!(keepers[0].keep(digest, image.clone()).await.unwrap());
    buckets.forget_conditions();
    let (other, pixels) = (Digest::of(b"pixels"), Bytes::from_static(b"pixels"));
    assert!(keepers[2].keep(other, pixels).await.unwrap());
    assert_eq!(keepers[3].kept(&other).await.unwrap().unwrap(), "pixels");
    assert!(buckets.objects("bucket", "copies")[&key] == image);
}

#[tokio::test]
async fn a_store_that_nobody_can_read_has_lost_nothing() {
    let buckets = Buckets::start(&["pictures"]).await;
    let digest = Digest::of(b"pixels");
    let pixels = || Bytes::from_static(b"pixels");
    for (keeper, reason) in [
        (keeper("http://127.0.0.1:1", SECRET_KEY), "s3://bucket/copies/"),
        (keeper(&buckets.endpoint(), "a-wrong-secret"), "refuses these credentials"),
        (keeper(&buckets.endpoint(), SECRET_KEY), "there is no such bucket"),
    ] {
        let error = keeper.kept(&digest).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        let error = keeper.keep(digest, pixels()).await.unwrap_err();
        assert!(error.to_string().contains("s3://bucket/copies/"), "{error}");
    }
}
