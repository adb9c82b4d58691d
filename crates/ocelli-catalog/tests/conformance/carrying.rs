//! A whole archive into another database or a file, and back: nothing is lost, whatever is killed in between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ocelli_catalog::search::Sort;
use ocelli_catalog::{CarryError, Catalog, CatalogError, CatalogOptions};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, FailureClass, Outcome};

use crate::searching::ask;
use crate::words::*;
use crate::world::World;

const IMAGES: usize = 1_300;

/// An archive with something in every corner.
async fn filled(world: &World) -> Catalog {
    let catalog = world.open().await;
    for part in (0..IMAGES).collect::<Vec<_>>().chunks(400) {
        let messages = part.iter().flat_map(|number| {
            let image = format!("image {number}");
            let outcome = match number % 5 {
                0 => Outcome::Done(full_reading()),
                1 => Outcome::Empty,
                2 => Outcome::Skipped { rule: "r".into(), reason: "too \0small".into() },
                3 => failed(FailureClass::Crash, "killed"),
                _ => done(&format!("scaling {number} caf\u{e9}")),
            };
            let said = [("author".to_owned(), format!("caf\u{e9} {number}"))];
            [
                Message::Intake(Intake {
                    meta: said.into_iter().collect(),
                    ..intake(&image, &[OCR, LLM])
                }),
                partial(&image, OCR, outcome, 5),
                paid(&image, done("two of them"), *number as u128 + 1, 6, 10),
            ]
        });
        catalog.apply(&messages.collect::<Vec<_>>()).await.unwrap();
    }
    catalog
        .apply(&[
            deferred("image 9", OCR, 1, 100),
            Message::Announcement(announcement(OCR, "host:1", 0)),
            Message::Batch(report(1, 0, IMAGES as u64)),
            problem(1, "/b.png", 1),
        ])
        .await
        .unwrap();
    catalog
}

/// Everything that is asked of an archive in one value.
async fn all(catalog: &Catalog) -> (BTreeMap<String, u64>, Vec<String>, Vec<String>) {
    let audit = catalog.audit().await.unwrap();
    let mut rows = audit.rows;
    // Not of the archive but of its database.
    rows.remove("transfers");
    let mut records = Vec::new();
    for number in 0..IMAGES {
        let digest = Digest::of(format!("image {number}").as_bytes());
        records.push(format!("{:?}", catalog.record(&digest).await.unwrap()));
    }
    records.push(format!("{:?}", catalog.status(at(50)).await.unwrap()));
    for query in
        ["scaling", "*ali*", "cafe -is:older", "is:failed", "two", "meta:\"author=caf\u{e9} 7\""]
    {
        let page = ask(catalog, query, Sort::Relevance).await;
        records.push(format!("{query}: {page:?}"));
    }
    (rows, records, audit.problems)
}

async fn half_open(world: &World) -> Catalog {
    let options = CatalogOptions { half_carried: true, ..CatalogOptions::default() };
    Catalog::open(&world.url, options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_carried_between_all_databases_and_is_the_same() {
    let sqlite = World::sqlite();
    let source = filled(&sqlite).await;
    let expected = all(&source).await;
    assert_eq!(expected.2, Vec::<String>::new());
    let postgres = World::postgres().await;
    let target = half_open(&postgres).await;
    let carried = source.carry_to(&target, |_, _| {}).await.unwrap();
    assert_eq!(carried.rows["images"], IMAGES as u64);
    assert_eq!(carried.written, carried.rows.values().sum::<u64>());
    target.close().await;
    let target = postgres.open().await;
    assert_eq!(all(&target).await, expected);
    // It goes on as an archive of its own.
    let news = [
        partial("image 1", "guest", done("a guest"), 7),
        Message::Intake(intake("a new image", &[OCR])),
    ];
    target.apply(&news).await.unwrap();
    assert_eq!(ask(&target, "guest", Sort::Newest).await.total.records, 1);
    let back = World::sqlite();
    let again = half_open(&back).await;
    target.carry_to(&again, |_, _| {}).await.unwrap();
    assert_eq!(all(&again).await, all(&target).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ended_half_way_is_opened_by_nobody_and_goes_on() {
    let sqlite = World::sqlite();
    let source = filled(&sqlite).await;
    for world in [World::sqlite(), World::postgres().await] {
        let target = half_open(&world).await;
        // A process that vanishes between two transactions.
        let mut calls = 0;
        let vanish = |_: &str, _: u64| {
            calls += 1;
            assert!(calls < 6, "vanished");
        };
        let killed = std::panic::AssertUnwindSafe(source.carry_to(&target, vanish));
        let killed = futures_util::FutureExt::catch_unwind(killed).await;
        assert!(killed.is_err(), "it was ended");
        target.close().await;
        let error = Catalog::open(&world.url, CatalogOptions::default()).await.unwrap_err();
        assert!(matches!(error, CatalogError::HalfCarried { .. }), "{error:?}");
        assert!(error.to_string().contains(source.place()), "{error}");
        let target = half_open(&world).await;
        let carried = source.carry_to(&target, |_, _| {}).await.unwrap();
        assert!(carried.written < carried.rows.values().sum(), "it went on");
        target.close().await;
        let target = world.open().await;
        assert_eq!(all(&target).await, all(&source).await);
        // Once it is whole it is an archive like any other.
        let error = source.carry_to(&target, |_, _| {}).await.unwrap_err();
        assert!(matches!(error, CarryError::Target(CatalogError::NotEmpty { .. })), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_differ_at_the_end_are_carried_again() {
    let (sqlite, other) = (World::sqlite(), World::sqlite());
    let source = filled(&sqlite).await;
    let target = half_open(&other).await;
    let carried = source.carry_to(&target, |_, _| {}).await.unwrap();
    assert!(carried.written > 0);
    other.execute("UPDATE transfers SET finished = 0").await;
    other.execute("UPDATE analyses SET text = 'something else' WHERE id = 5").await;
    other.execute("DELETE FROM sightings WHERE source LIKE '%image 5%'").await;
    let again = source.carry_to(&target, |_, _| {}).await.unwrap();
    assert_eq!(again.rows, carried.rows);
    assert_eq!(all(&target).await, all(&source).await);
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

pub(crate) async fn a_backup_that_is_made_while_others_write_is_whole_and_is_restored(
    world: World,
) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = filled(&world).await;
    let before = all(&catalog).await;
    let writer = {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            for number in 0..200 {
                let image = format!("later {number}");
                catalog.apply(&[Message::Intake(intake(&image, &[OCR]))]).await.unwrap();
            }
        })
    };
    let to = file(&folder, "backup.db");
    let written = catalog.back_up(&to, |_, _| {}).await;
    writer.await.unwrap();
    written.unwrap();
    let error = catalog.back_up(&to, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, CarryError::Target(CatalogError::Exists { .. })), "{error:?}");
    // Never over an archive.
    let error = Catalog::restore(&to, &world.url, CatalogOptions::default(), |_, _| {}).await;
    let error = error.unwrap_err();
    assert!(matches!(error, CarryError::Target(CatalogError::NotEmpty { .. })), "{error:?}");
    for target in [World::sqlite(), World::postgres().await] {
        Catalog::restore(&to, &target.url, CatalogOptions::default(), |_, _| {}).await.unwrap();
        let restored = target.open().await;
        let images = restored.status(at(0)).await.unwrap().images;
        assert!((IMAGES as u64..=IMAGES as u64 + 200).contains(&images), "{images}");
        let (_, records, problems) = all(&restored).await;
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(records[..IMAGES], before.1[..IMAGES]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_damaged_or_none_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::sqlite();
    let catalog = filled(&world).await;
    let to = file(&folder, "backup.db");
    catalog.back_up(&to, |_, _| {}).await.unwrap();
    let mut bytes = std::fs::read(&to).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40_000].fill(0xa5);
    let damaged = file(&folder, "damaged.db");
    std::fs::write(&damaged, &bytes).unwrap();
    let picture = file(&folder, "holiday.jpg");
    std::fs::write(&picture, vec![0xff; 100_000]).unwrap();
    for from in [damaged, picture, file(&folder, "missing.db")] {
        let target = World::sqlite();
        let error =
            Catalog::restore(&from, &target.url, CatalogOptions::default(), |_, _| {}).await;
        let error = error.unwrap_err();
        assert!(matches!(error, CarryError::Source(_)), "{error:?}");
        assert!(error.to_string().contains(from.file_name().unwrap().to_str().unwrap()), "{error}");
        assert!(!std::path::Path::new(target.url.strip_prefix("sqlite:").unwrap()).exists());
    }
}
