//! Buckets over the protocols of Google and Azure, from servers that others test with, too.

use bytes::Bytes;
use ocelli_core::{Digest, FailureClass, SourceUri};
use ocelli_media::{FetchError, FetchLimits, Fetcher, Kept, ObjectOptions, Trouble};
use ocelli_testkit::clouds::{ACCOUNT, ACCOUNT_KEY, Azure, Google, SERVICE_KEY};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn source(text: &str) -> SourceUri {
    text.parse().unwrap()
}

fn fetcher(objects: ObjectOptions) -> Fetcher {
    let kept = Some(Kept::Bucket(source("az://pictures/copies/").object().unwrap()));
    Fetcher::new(FetchLimits { objects, kept, bytes: 1000, ..FetchLimits::default() }).unwrap()
}

fn of_google(endpoint: String, key: &str) -> Fetcher {
    let (gs_endpoint, gs_key) = (Some(endpoint), Some(key.to_owned()));
    fetcher(ObjectOptions { gs_endpoint, gs_key, ..ObjectOptions::default() })
}

fn of_azure(endpoint: String, key: &str) -> Fetcher {
    fetcher(ObjectOptions {
        az_endpoint: Some(endpoint),
        az_account: Some(ACCOUNT.to_owned()),
        az_key: Some(key.to_owned()),
        ..ObjectOptions::default()
    })
}

/// Lists a prefix, reads what is below it, and nothing else.
async fn reads(fetcher: &Fetcher, scheme: &str) {
    let mut listing = fetcher.list(&source(&format!("{scheme}://pictures/2024/"))).unwrap();
    let mut found = Vec::new();
    while let Some(object) = listing.next().await.unwrap() {
        let object = object.unwrap();
        assert!(object.tag.is_some() && object.modified.is_some(), "{object:?}");
        found.push((object.source.to_string(), object.size));
    }
    let uri = |key: &str| format!("{scheme}://pictures/2024/{key}");
    assert_eq!(found, [(uri("a%20b.png"), 5), (uri("large.png"), 1001)]);
    let bytes = fetcher.fetch(&source(&uri("a b.png"))).await.unwrap();
    assert_eq!(bytes, "hello");
    let error = fetcher.fetch(&source(&uri("large.png"))).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1000, .. }), "{error}");
    let error = fetcher.fetch(&source(&uri("gone.png"))).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(error.to_string().contains("no such bucket or object"), "{error}");
}

/// The error says this, and nothing of a key.
async fn says(fetcher: &Fetcher, uri: &str, reason: &str, key: &str) {
    let read = fetcher.fetch(&source(uri)).await.unwrap_err();
    let prefix = source(&uri[..=uri.rfind('/').unwrap()]);
    let listed = match fetcher.list(&prefix) {
        Ok(mut listing) => listing.next().await.unwrap_err(),
        Err(error) => error,
    };
    for error in [read, listed] {
        let said = format!("{error} {error:?} {fetcher:?}");
        assert!(said.contains(reason), "{said}");
        assert!(key.is_empty() || !said.contains(key), "{said}");
    }
}

#[tokio::test]
async fn a_bucket_of_google_is_listed_and_read_and_errors_are_in_our_words() {
    let google = Google::start("pictures").await;
    google.put("2024/a b.png", b"hello").await;
    google.put("2024/large.png", &[7; 1001]).await;
    google.put("2023/other.png", b"other").await;
    let ours = of_google(google.endpoint(), SERVICE_KEY);
    reads(&ours, "gs").await;
    let broken = r#"{"private_key":"a-secret-of-this-test"}"#;
    for key in [broken, "a-secret-of-this-test"] {
        let theirs = of_google(google.endpoint(), key);
        says(&theirs, "gs://pictures/a.png", "objects.gs_key_file", "a-secret-of-this-test").await;
    }
    // The server of tests checks no key; one that refuses every key stands for Google's.
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", refusing.local_addr().unwrap());
    let _serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = refusing.accept().await {
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            let answer =
                b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            drop(stream.write_all(answer).await);
        }
    });
    let refused = of_google(endpoint, SERVICE_KEY);
    says(&refused, "gs://pictures/a.png", "the server refuses these credentials", "").await;
    let error = ours.prefix(&source("gs://pictures/out/").object().unwrap()).unwrap_err();
    assert_eq!(error.trouble, Trouble::Closed, "what no test has written is not written: {error}");
}

#[tokio::test]
async fn a_container_of_azure_is_listed_read_and_written_and_errors_are_in_our_words() {
    let azure = Azure::start("pictures").await;
    azure.put("2024/a b.png", b"hello").await;
    azure.put("2024/large.png", &[7; 1001]).await;
    azure.put("2023/other.png", b"other").await;
    let ours = of_azure(azure.endpoint(), ACCOUNT_KEY);
    reads(&ours, "az").await;
    let wrong = "d3Jvbmcta2V5LW9mLXRoaXMtdGVzdA==";
    let theirs = of_azure(azure.endpoint(), wrong);
    says(&theirs, "az://pictures/2024/a.png", "objects.az_key_file", wrong).await;
    let broken = of_azure(azure.endpoint(), "no-base64-of-this-test!");
    says(&broken, "az://pictures/2024/a.png", "objects.az_key_file", "no-base64-of").await;
    let error = ours.fetch(&source("az://nowhere/a.png")).await.unwrap_err();
    assert!(error.to_string().contains("no such bucket"), "{error}");

    // Copies are written once, and objects in parts appear whole.
    let digest = Digest::of(b"pixels");
    let pixels = || Bytes::from_static(b"pixels");
    assert!(ours.kept(&digest).await.unwrap().is_none());
    let both = tokio::join!(ours.keep(digest, pixels()), ours.keep(digest, pixels()));
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert!(!ours.keep(digest, pixels()).await.unwrap());
    assert_eq!(ours.kept(&digest).await.unwrap().unwrap(), "pixels");
    let prefix = ours.prefix(&source("az://pictures/out/").object().unwrap()).unwrap();
    let bytes = vec![9; 12_000_000];
    let mut upload = prefix.upload("large", 1).unwrap();
    upload.write(&bytes).await.unwrap();
    assert!(prefix.names(None).await.unwrap().is_empty(), "nothing is seen of it");
    upload.finish().await.unwrap();
    assert!(prefix.get("large", 1 << 30).await.unwrap().unwrap() == bytes);
    let mut given_up = prefix.upload("other", 1).unwrap();
    given_up.write(&bytes).await.unwrap();
    given_up.abort().await.unwrap();
    assert_eq!(prefix.names(None).await.unwrap(), ["large"]);
}
