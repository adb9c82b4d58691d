//! What is remembered of files.

use ocelli_catalog::{FileStamp, NotedFile};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, Sighting};

use crate::words::*;
use crate::world::World;

fn stamp(size: u64) -> FileStamp {
    FileStamp { size, modified: i64::MAX - 1, changed: -5, inode: u64::MAX }
}

fn noted(path: &str, image: &str, size: u64) -> NotedFile {
    NotedFile { source: source(path), digest: Digest::of(image.as_bytes()), stamp: stamp(size) }
}

fn seen(image: &str, path: &str) -> Message {
    let sighting: Sighting = sighting(path, 0, 1);
    Message::Intake(Intake { sighting: Some(sighting), ..intake(image, &[OCR]) })
}

pub(crate) async fn a_file_is_remembered_once_its_image_was_seen_there(world: World) {
    let catalog = world.open().await;
    let files = [noted("a", "a", 1), noted("b", "a", 2), noted("c", "c", 3)];
    catalog.note_files(&files).await.unwrap();
    let places: Vec<_> = ["b", "a", "nowhere", "c", "a"].map(source).into();
    let sizes = async || -> Vec<Option<u64>> {
        let found = catalog.remembered_files(&places).await.unwrap();
        found.iter().map(|one| one.as_ref().map(|one| one.stamp.size)).collect()
    };
    assert_eq!(sizes().await, [None; 5], "nobody has seen them");
    catalog.apply(&[seen("a", "a")]).await.unwrap();
    assert_eq!(sizes().await, [None, Some(1), None, None, Some(1)]);
    let refused = Intake { refusal: Some("broken".to_owned()), ..intake("c", &[]) };
    let refused = Intake { sighting: Some(sighting("c", 0, 1)), ..refused };
    catalog.apply(&[seen("a", "b"), Message::Intake(refused)]).await.unwrap();
    assert_eq!(sizes().await, [Some(2), Some(1), None, Some(3), Some(1)]);
    let found = catalog.remembered_files(&places).await.unwrap();
    assert_eq!(found[1].as_ref().unwrap().stamp, stamp(1));
    assert_eq!(found[1].as_ref().unwrap().image, facts("a"));
    assert_eq!(found[3].as_ref().unwrap().refusal.as_deref(), Some("broken"));
    assert_eq!(catalog.remembered_files(&[]).await.unwrap(), []);
}

pub(crate) async fn the_latter_state_of_a_file_counts(world: World) {
    let catalog = world.open().await;
    catalog.note_files(&[]).await.unwrap();
    catalog.apply(&[seen("a", "a"), seen("b", "a")]).await.unwrap();
    catalog.note_files(&[noted("a", "a", 1), noted("a", "b", 2)]).await.unwrap();
    let found =
        || async { catalog.remembered_files(&[source("a")]).await.unwrap().remove(0).unwrap() };
    assert_eq!((found().await.stamp, found().await.image), (stamp(2), facts("b")));
    catalog.note_files(&[noted("a", "a", 3)]).await.unwrap();
    assert_eq!((found().await.stamp, found().await.image), (stamp(3), facts("a")));
}

pub(crate) async fn many_files_are_remembered_at_once(world: World) {
    let catalog = world.open().await;
    let names: Vec<String> = (0..3000).map(|number| format!("{number}.png")).collect();
    let messages: Vec<Message> = names.iter().map(|name| seen("a", name)).collect();
    catalog.apply(&messages).await.unwrap();
    let files: Vec<NotedFile> = names.iter().map(|name| noted(name, "a", 1)).collect();
    catalog.note_files(&files).await.unwrap();
    let places: Vec<_> = names.iter().map(|name| source(name)).collect();
    let found = catalog.remembered_files(&places).await.unwrap();
    assert_eq!(found.iter().flatten().count(), names.len());
}
