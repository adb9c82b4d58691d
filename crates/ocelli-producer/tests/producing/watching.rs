//! Watched folders.

use std::io::Write;
use std::time::Duration;

use ocelli_core::Digest;
use ocelli_producer::{ProducerError, Progress, Source, Summary, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, Sent, World, png};

struct Watch {
    world: World,
    shutdown: CancellationToken,
    running: JoinHandle<Result<Summary, ProducerError>>,
}

impl Watch {
    async fn begin(mut world: World) -> Self {
        world.options.settle = Duration::from_secs(1);
        world.options.rescan = Duration::from_secs(3600);
        let shutdown = CancellationToken::new();
        let parts = world.parts(vec![Source::Path(world.images())]);
        let running = tokio::spawn(watch(parts, shutdown.clone()));
        let watch = Self { world, shutdown, running };
        watch.until(|progress| progress.all_listed).await;
        watch
    }

    async fn until(&self, condition: impl FnMut(&Progress) -> bool) {
        let mut progress = self.world.progress.subscribe();
        let waited = tokio::time::timeout(PATIENCE, progress.wait_for(condition)).await;
        if waited.is_err() {
            panic!("never came: {:?}", self.world.progress.borrow());
        }
    }

    async fn end(self) -> (Summary, Sent) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await.unwrap();
        let sent = self.world.collect().await;
        (ended.unwrap().unwrap(), sent)
    }
}

#[tokio::test]
async fn new_and_moved_in_files_are_enqueued_once_and_in_whole() {
    let world = World::new().await;
    world.put_image("old.png", 1);
    let outside = tempfile::tempdir_in(world.images().parent().unwrap()).unwrap();
    let watch = Watch::begin(world).await;
    watch.until(|progress| progress.enqueued == 1).await;

    // In two pieces, with a pause in which the file is there but not whole.
    let image = png(2);
    let (head, tail) = image.split_at(40);
    let mut file = std::fs::File::create(watch.world.at("slow.png")).unwrap();
    file.write_all(head).unwrap();
    file.flush().unwrap();
    std::fs::write(outside.path().join("moved.png"), png(3)).unwrap();
    std::fs::rename(outside.path().join("moved.png"), watch.world.at("moved.png")).unwrap();
    watch.until(|progress| progress.enqueued == 2).await;
    file.write_all(tail).unwrap();
    drop(file);
    watch.until(|progress| progress.enqueued == 3).await;

    // A whole folder, new and moved in, with folders in it.
    std::fs::create_dir_all(watch.world.at("new/deep")).unwrap();
    watch.world.put_image("new/deep/4.png", 4);
    std::fs::create_dir(outside.path().join("folder")).unwrap();
    std::fs::write(outside.path().join("folder/5.png"), png(5)).unwrap();
    std::fs::rename(outside.path().join("folder"), watch.world.at("folder")).unwrap();
    watch.until(|progress| progress.enqueued == 5).await;

    let (summary, sent) = watch.end().await;
    assert!(sent.refusals().is_empty(), "a file was read before it was whole: {sent:?}");
    let digests: Vec<_> = sent.intakes.iter().map(|intake| intake.image.digest).collect();
    for n in 1..=5 {
        let count = digests.iter().filter(|digest| **digest == Digest::of(&png(n))).count();
        assert_eq!(count, 1, "image {n}");
    }
    assert_eq!(summary.jobs, 10);
}

#[tokio::test]
async fn changed_files_are_new_images_and_files_left_out_stay_out() {
    let mut world = World::new().await;
    world.options.exclude = vec!["*.part".to_owned()];
    world.put_image("a.png", 1);
    let watch = Watch::begin(world).await;
    watch.until(|progress| progress.enqueued == 1).await;
    watch.world.put_image(".hidden.png", 7);
    watch.world.put_image("b.png.part", 2);
    std::fs::rename(watch.world.at("b.png.part"), watch.world.at("b.png")).unwrap();
    watch.world.put_image("a.png", 3);
    watch.until(|progress| progress.enqueued == 3).await;
    let (summary, _) = watch.end().await;
    assert_eq!((summary.accepted, summary.skipped), (3, 0));
}
