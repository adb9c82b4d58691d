use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard};

use ocelli_catalog::query::Query;
use serde_json::Value;

use super::*;
use crate::Format;

/// A bucket in memory.
#[derive(Clone, Default)]
struct Bucket {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Whether it takes no parts, and does not let them be taken back.
    stubborn: bool,
}

impl Bucket {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap()
    }

    fn with(names: impl IntoIterator<Item = String>) -> Self {
        let bucket = Self::default();
        bucket.objects().extend(names.into_iter().map(|name| (name, Vec::new())));
        bucket
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&self.objects()[MANIFEST]).unwrap()
    }

    async fn open(&self) -> Result<Remote, ExportError> {
        Remote::open(Box::new(self.clone()), &options(), None).await
    }
}

fn options() -> Options {
    Options {
        format: Format::Jsonl,
        query: Query::parse("").unwrap(),
        older: false,
        file_bytes: 1,
        text: Box::new(|_| String::new()),
        hocr: Box::new(|_| Vec::new()),
    }
}

fn refused() -> ObjectsError {
    ObjectsError { reason: "not here".to_owned(), full: false, settings: false }
}

impl Objects for Bucket {
    fn shown(&self) -> String {
        "s3://bucket/out/".to_owned()
    }

    fn names<'a>(&'a self, after: Option<&'a str>) -> Doing<'a, Vec<String>> {
        let names = self.objects().keys().cloned().collect::<Vec<_>>().into_iter();
        let behind = names.filter(|name| after.is_none_or(|after| name.as_str() > after));
        Box::pin(ready(Ok(behind.collect())))
    }

    fn read<'a>(&'a self, name: &'a str) -> Doing<'a, Option<Vec<u8>>> {
        Box::pin(ready(Ok(self.objects().get(name).cloned())))
    }

    fn write<'a>(&'a self, name: &'a str, bytes: Vec<u8>) -> Doing<'a, ()> {
        self.objects().insert(name.to_owned(), bytes);
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, name: &'a str) -> Doing<'a, ()> {
        self.objects().remove(name);
        Box::pin(ready(Ok(())))
    }

    fn abort<'a>(&'a self, _name: &'a str, _upload: &'a str) -> Doing<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn begin(&self, name: &str) -> Result<Box<dyn Upload>, ObjectsError> {
        Ok(Box::new(Parts { bucket: self.clone(), name: name.to_owned(), id: None }))
    }
}

struct Parts {
    bucket: Bucket,
    name: String,
    id: Option<String>,
}

impl Upload for Parts {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn write<'a>(&'a mut self, _bytes: &'a [u8]) -> Doing<'a, ()> {
        self.id = Some("upload-1".to_owned());
        Box::pin(ready(if self.bucket.stubborn { Err(refused()) } else { Ok(()) }))
    }

    fn finish(&mut self) -> Doing<'_, ()> {
        self.bucket.objects().insert(self.name.clone(), Vec::new());
        Box::pin(ready(Ok(())))
    }

    fn abort(&mut self) -> Doing<'_, ()> {
        if self.bucket.stubborn {
            return Box::pin(ready(Err(refused())));
        }
        self.id = None;
        Box::pin(ready(Ok(())))
    }
}

#[tokio::test]
async fn nothing_goes_before_it_is_known_that_the_prefix_is_ours() {
    let foreign = ["records-00000.jsonl", "zebra.png"].map(str::to_owned).to_vec();
    let many = (0..101).map(|number| format!("records-{number:05}.jsonl")).collect();
    for (names, reason) in
        [(foreign, "holds 'zebra.png', which is of no export"), (many, "holds more than 100 files")]
    {
        let bucket = Bucket::with(names.clone());
        let error = bucket.open().await.err().unwrap();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(bucket.objects().keys().cloned().collect::<Vec<_>>(), names);
    }
    let ours = Bucket::with(["records-00000.jsonl".to_owned()]);
    assert!(ours.open().await.is_ok());
    assert_eq!(ours.objects().keys().collect::<Vec<_>>(), [MANIFEST]);
}

#[tokio::test]
async fn of_two_runs_the_later_one_goes_on_and_the_other_one_stops() {
    let bucket = Bucket::default();
    let place: Place = format!("p1.0.{}", "0".repeat(64)).parse().unwrap();
    let (mut first, mut second) = (bucket.open().await.unwrap(), bucket.open().await.unwrap());
    let body = first.begin(&options()).unwrap();
    let error = first.close(Some(body), place).await.unwrap_err();
    assert!(error.to_string().contains("is being exported to by another run"), "{error}");
    assert_eq!(bucket.objects().len(), 1, "it writes no file over that of the other one");
    second.close(None, place).await.unwrap();
    let before = bucket.manifest();
    first.give_up().await;
    assert_eq!(bucket.manifest(), before);
    second.complete().await.unwrap();
    let done = bucket.manifest();
    assert_eq!((&done["complete"], done.get("run")), (&Value::Bool(true), None), "{done}");
    // Also when the other one has come to its end.
    assert!(first.close(None, place).await.is_err());
    assert_eq!(bucket.manifest(), done);
}

#[tokio::test]
async fn parts_that_cannot_be_taken_back_are_noted_also_when_the_first_one_failed() {
    let bucket = Bucket { stubborn: true, ..Bucket::default() };
    let mut remote = bucket.open().await.unwrap();
    let _body = remote.begin(&options()).unwrap();
    assert!(remote.send().await.is_err());
    remote.give_up().await;
    let left = bucket.manifest();
    let expected = serde_json::json!({ "name": "records-00000.jsonl", "upload": "upload-1" });
    assert_eq!((&left["unfinished"], left.get("run")), (&expected, None), "{left}");
    // The next run takes them back.
    let taken = Bucket { stubborn: false, ..bucket };
    assert!(taken.open().await.unwrap().left.is_none());
    assert_eq!(taken.manifest().get("unfinished"), None);
}
