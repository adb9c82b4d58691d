//! Files that are not what they seem.

use ocelli_core::{Digest, ImageFormat};

use crate::world::{ANALYZERS, World, png};

#[tokio::test]
async fn empty_lying_and_undecodable_files_are_refused_with_their_reason() {
    let world = World::new().await;
    world.put("empty.png", b"");
    world.put("page.png", b"<!DOCTYPE html><html><body>404</body></html>");
    world.put("photo.avif", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B");
    world.put("cut.png", &png(1)[..20]);
    world.put_image("good.png", 2);
    let (summary, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.accepted, summary.refused, summary.enqueued), (5, 4, 1));
    let refusal = |name: &str| {
        let intake = sent
            .intakes
            .iter()
            .find(|intake| intake.sources[0].path().unwrap().ends_with(name))
            .unwrap();
        (intake.refusal.clone().unwrap_or_default(), intake.image.format)
    };
    assert!(refusal("empty.png").0.contains("empty"), "{:?}", refusal("empty.png"));
    assert!(refusal("page.png").0.contains("HTML"), "{:?}", refusal("page.png"));
    assert_eq!(refusal("photo.avif").1, Some(ImageFormat::Avif));
    assert!(refusal("photo.avif").0.contains("broken AVIF"), "{:?}", refusal("photo.avif"));
    assert_eq!(refusal("cut.png").1, Some(ImageFormat::Png));
    assert!(!refusal("cut.png").0.is_empty());
    assert_eq!(world.waiting(ANALYZERS[0]).await, 1);
    let (again, _) = world.produce(&[&world.images()]).await;
    assert_eq!((again.refused, again.known, again.jobs), (4, 1, 0));
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_by_the_name_of_the_setting_and_keeps_its_digest() {
    let mut world = World::new().await;
    world.options.decode.bytes = 10_000;
    world.options.hash_bytes = 50_000;
    let mut large = png(1);
    large.resize(20_000, 7);
    world.put("large.png", &large);
    world.put("enormous.png", &vec![7; 60_000]);
    world.put("film.mkv", &vec![7; 60_000]);
    let (summary, sent) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.refused, summary.problems, summary.skipped), (1, 1, 1));
    assert_eq!(sent.intakes[0].image.digest, Digest::of(&large));
    assert_eq!(sent.intakes[0].image.bytes, 20_000);
    for reason in [sent.refusals()[0], &sent.problem("enormous.png").reason] {
        assert!(reason.contains("limits.image_bytes"), "{reason}");
    }
    assert!(summary.bytes < 40_000, "{} bytes read", summary.bytes);
}

#[tokio::test]
async fn a_file_that_vanishes_after_it_was_listed_is_a_problem() {
    let world = World::new().await;
    world.put_image("stays.png", 1);
    let list = world.put("list.txt", b"stays.png\nvanished.png\n");
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!((summary.enqueued, summary.problems), (1, 1));
    assert!(sent.problem("vanished.png").reason.contains("no such file"));
}

#[tokio::test]
async fn a_pipe_that_is_named_is_a_problem_and_does_not_block() {
    let world = World::new().await;
    let _listener = std::os::unix::net::UnixListener::bind(world.at("socket.png")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.at("pipe.png"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let list = world.put("list.txt", b"pipe.png\nsocket.png\n");
    let (summary, sent) = world.produce(&[&list]).await;
    assert_eq!(summary.problems, 2);
    assert!(sent.problem("pipe.png").reason.contains("it is a pipe"));
    let (summary, _) = world.produce(&[&world.images()]).await;
    assert_eq!((summary.skipped, summary.problems), (3, 0), "in a folder nobody named them");
}

#[tokio::test]
async fn own_data_is_not_walked_and_not_accepted_as_a_source() {
    let mut world = World::new().await;
    world.put_image("data/thumb.png", 1);
    world.put_image("a.png", 2);
    world.options.exclude_dirs = vec![world.at("data"), world.at("not there")];
    let (summary, _) = world.produce(&[&world.images()]).await;
    assert_eq!(summary.accepted, 1);
    assert!(world.try_produce(&[&world.at("data")]).await.is_err());
}
