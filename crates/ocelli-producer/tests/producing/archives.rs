//! Archives: members as references, read where they are, and archives that lie.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use ocelli_core::Digest;
use ocelli_core::member::ArchiveKind;
use ocelli_media::Fetcher;
use ocelli_producer::{ProducerError, Source, SourceError};

use crate::world::{Sent, World, png};

/// Builds a tar; entries of any kind and any name.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, name: &[u8], bytes: &[u8]) -> Self {
        self.push(name, tar::EntryType::Regular, bytes, bytes.len() as u64);
        self
    }

    fn push(&mut self, name: &[u8], kind: tar::EntryType, bytes: &[u8], size: u64) {
        let mut header = tar::Header::new_ustar();
        // Not by its setter, which refuses what an attacker would write.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// A zip with these members: name, bytes, whether they are deflated.
fn zip(members: &[(&[u8], &[u8], bool)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, is_deflated) in members {
        let packed = if *is_deflated { deflate(bytes) } else { bytes.to_vec() };
        let at = u32::try_from(file.len()).unwrap();
        let mut shared = Vec::new();
        shared.extend(20_u16.to_le_bytes());
        shared.extend(0_u16.to_le_bytes());
        shared.extend((if *is_deflated { 8_u16 } else { 0 }).to_le_bytes());
        shared.extend([0; 8]);
        shared.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        shared.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        shared.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        shared.extend(0_u16.to_le_bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&shared);
        file.extend(*name);
        file.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&shared);
        directory.extend([0; 6]);
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(*name);
    }
    let (at, count) = (u32::try_from(file.len()).unwrap(), u16::try_from(members.len()).unwrap());
    let size = u32::try_from(directory.len()).unwrap();
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(size.to_le_bytes());
    file.extend(at.to_le_bytes());
    file.extend(0_u16.to_le_bytes());
    file
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As a worker does: from the source alone.
async fn assert_fetched(world: &World, sent: &Sent) {
    let fetcher = Fetcher::new(world.options.fetch.clone()).unwrap();
    for intake in &sent.intakes {
        let bytes = fetcher.fetch(&intake.sources[0]).await.unwrap();
        assert_eq!(Digest::of(&bytes), intake.image.digest, "{}", intake.sources[0]);
    }
}

fn archives(world: &World) -> [PathBuf; 3] {
    let plain = Tar::new()
        .file(b"shard/000.png", &png(1))
        .file(b"shard/000.json", b"{\"caption\": \"a cat\"}")
        .file(b"shard/001.png", &png(2))
        .bytes();
    let zipped = zip(&[
        (b"a.png", &png(3), true),
        (b"a.txt", b"a text", true),
        (b"folder/", b"", false),
        (b"b.png", &png(4), false),
    ]);
    let packed = Tar::new().file(b"x.png", &png(5)).file(b"y.png", &png(6)).bytes();
    [
        world.put("../shard.tar", &plain),
        world.put("../some.zip", &zipped),
        world.put("../packed.tgz", &gzip(&packed)),
    ]
}

#[tokio::test]
async fn members_of_tar_zip_and_packed_tar_are_enqueued_and_read_where_they_are() {
    let world = World::new().await;
    let all = archives(&world);
    let paths: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
    let (summary, sent) = world.produce(&paths).await;
    assert_eq!((summary.enqueued, summary.skipped, summary.problems), (6, 2, 0), "{sent:?}");
    assert_fetched(&world, &sent).await;
    let kinds: Vec<_> =
        sent.intakes.iter().filter_map(|intake| intake.sources[0].member()).collect();
    for kind in ArchiveKind::ALL {
        assert_eq!(kinds.iter().filter(|member| member.kind == kind).count(), 2, "{kind:?}");
    }
    // Run again, nothing is enqueued.
    let (summary, _) = world.produce(&paths).await;
    assert_eq!((summary.known, summary.enqueued), (6, 0));
}

#[tokio::test]
async fn one_member_can_be_named_and_globs_choose_among_all() {
    let mut world = World::new().await;
    let [plain, zipped, packed] = archives(&world);
    for (archive, member) in [(&plain, "shard/001.png"), (&zipped, "b.png"), (&packed, "y.png")] {
        let name = format!("tar:{}!{member}", archive.display());
        let (summary, sent) = world.produce(&[Path::new(&name)]).await;
        assert_eq!((summary.accepted, summary.problems), (1, 0), "{name}");
        assert!(sent.intakes[0].sources[0].to_string().ends_with(&format!("!{member}")));
    }
    let missing = format!("zip:{}!none.png", zipped.display());
    let (summary, sent) = world.produce(&[Path::new(&missing)]).await;
    assert_eq!((summary.accepted, summary.problems), (0, 1));
    assert!(sent.problem("!none.png").reason.contains("no such member"));
    world.options.include = vec!["000.*".to_owned()];
    world.options.exclude = vec!["*.json".to_owned()];
    let (summary, _) = world.produce(&[&plain]).await;
    assert_eq!((summary.accepted, summary.skipped), (1, 0));
}

#[tokio::test]
async fn names_that_climb_links_and_doubles_are_only_names() {
    let mut world = World::new().await;
    world.options.hidden = true;
    let mut hostile = Tar::new()
        .file(b"../../etc/a.png", &png(1))
        .file(b"/etc/b.png", &png(2))
        .file(b"a\n\xff.png", &png(3))
        .file(b"same.png", &png(4))
        .file(b"same.png", &png(5));
    hostile.push(b"link.png", tar::EntryType::Symlink, b"", 0);
    hostile.push(b"hard.png", tar::EntryType::Link, b"", 0);
    hostile.push(b"pipe.png", tar::EntryType::Fifo, b"", 0);
    let path = world.put("../hostile.tar", &hostile.bytes());
    let (summary, sent) = world.produce(&[&path]).await;
    assert_eq!((summary.enqueued, summary.skipped, summary.problems), (5, 3, 0), "{sent:?}");
    assert_fetched(&world, &sent).await;
    let record = world.catalog.record(&Digest::of(&png(1))).await.unwrap().unwrap();
    let shown = record.sightings.keys().next().unwrap().to_string();
    assert!(shown.ends_with("hostile.tar!../../etc/a.png"), "{shown}");
}

#[tokio::test]
async fn lies_about_sizes_cost_their_member_and_the_good_ones_are_read() {
    let world = World::new().await;
    let mut long = Tar::new().file(b"good.png", &png(1));
    long.push(b"long.png", tar::EntryType::Regular, &png(2), 1 << 40);
    let long = world.put("../long.tar", &long.bytes());
    let bomb = vec![0; 100_000_000];
    let bomb = zip(&[(b"bomb.png", &bomb, true), (b"fine.png", &png(3), true)]);
    assert!(bomb.len() < 1_000_000);
    let bomb = world.put("../bomb.zip", &bomb);
    // The directory says less than there is.
    let mut liar = zip(&[(b"liar.png", &png(4), true)]);
    let at = liar.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    liar[at + 24..at + 28].copy_from_slice(&10_u32.to_le_bytes());
    let liar = world.put("../liar.zip", &liar);
    // Another member stands where the directory points.
    let mut swapped = zip(&[(b"one.png", &png(5), true)]);
    let name = swapped.windows(7).position(|seven| seven == b"one.png").unwrap();
    swapped[name] = b'X';
    let swapped = world.put("../swapped.zip", &swapped);
    let (summary, sent) = world.produce(&[&long, &bomb, &liar, &swapped]).await;
    assert_eq!((summary.enqueued, summary.problems), (2, 4), "{:?}", sent.problems);
    assert!(sent.problem("!long.png").reason.contains("the archive ends before"));
    assert!(sent.problem("!bomb.png").reason.contains("limits.image_bytes"));
    assert!(sent.problem("!liar.png").reason.contains("more than the 10 bytes"));
    assert!(sent.problem("!one.png").reason.contains("another member"));
    assert_fetched(&world, &sent).await;
}

#[tokio::test]
async fn long_members_that_are_no_images_are_left_at_their_beginning() {
    let world = World::new().await;
    let film = [b"FLV\x01".as_slice(), &[7_u8; 100_000]].concat();
    let plain = Tar::new().file(b"a.flv", &film).file(b"b.png", &film).file(b"c.png", &png(1));
    let plain = world.put("../plain.tar", &plain.bytes());
    let zipped =
        zip(&[(b"a.flv", &film, true), (b"b.png", &film, true), (b"c.png", &png(2), true)]);
    let zipped = world.put("../zipped.zip", &zipped);
    let (summary, sent) = world.produce(&[&plain, &zipped]).await;
    assert_eq!((summary.enqueued, summary.skipped, summary.problems), (2, 2, 2), "{sent:?}");
    for skipped in &sent.passed_over {
        assert_eq!(skipped.rule.as_deref(), Some("type"));
        assert_eq!(skipped.reason, "not an image: it looks like a video (Flash)");
    }
    // Their names promise an image, and of a part there is no digest that a refusal could stand under.
    for problem in &sent.problems {
        assert!(problem.reason.contains("only its beginning was read"), "{problem:?}");
    }
    assert_fetched(&world, &sent).await;
}

#[tokio::test]
async fn what_is_cut_off_or_has_too_many_members_is_read_as_far_as_it_goes() {
    let mut world = World::new().await;
    let plain = Tar::new().file(b"1.png", &png(1)).file(b"2.png", &png(2)).bytes();
    let half = plain.len() - 2048 - 100;
    let cut = world.put("../cut.tar", &plain[..half]);
    let packed = gzip(&plain);
    let torn = world.put("../torn.tar.gz", &packed[..packed.len() / 2]);
    let no_end = zip(&[(b"3.png", &png(3), false)]);
    let no_end = world.put("../end.zip", &no_end[..no_end.len() - 30]);
    let (summary, sent) = world.produce(&[&cut, &torn, &no_end]).await;
    assert!(summary.finished && summary.accepted >= 1, "{sent:?}");
    assert!(sent.problem("cut.tar").reason.contains("is cut off"));
    assert!(sent.problem("torn.tar.gz").reason.contains("cannot be read behind member"));
    assert!(sent.problem("end.zip").reason.contains("its directory is missing"));
    world.options.archive_members = 1;
    let whole = world.put("../whole.tar", &plain);
    let other = world.put_image("other.png", 9);
    let (summary, sent) = world.produce(&[&whole, &other]).await;
    assert_eq!((summary.accepted, summary.problems), (2, 1), "the next source goes on");
    assert!(sent.problem("whole.tar").reason.contains("limits.archive_members"));
}

#[tokio::test]
async fn a_packed_tar_without_end_is_left_at_the_limit() {
    let mut world = World::new().await;
    world.options.fetch.archive_bytes = 10_000_000;
    let mut endless = Tar::new().file(b"good.png", &png(1));
    endless.push(b"zeroes.bin", tar::EntryType::Regular, &vec![0; 50_000_000], 50_000_000);
    world.options.exclude = vec!["*.bin".to_owned()];
    let path = world.put("../endless.tgz", &gzip(&endless.bytes()));
    let (summary, sent) = world.produce(&[&path]).await;
    assert_eq!((summary.accepted, summary.problems), (1, 1));
    assert!(sent.problem("endless.tgz").reason.contains("limits.archive_bytes"));
}

#[tokio::test]
async fn a_tar_with_a_name_of_gigabytes_is_left_after_its_head() {
    let world = World::new().await;
    let mut hostile = Tar::new().file(b"good.png", &png(1));
    hostile.push(b"././@LongLink", tar::EntryType::GNULongName, &vec![b'a'; 3 << 20], 3 << 20);
    let hostile = hostile.file(b"named.png", &png(2));
    let path = world.put("../name.tar", &hostile.bytes());
    let (summary, sent) = world.produce(&[&path]).await;
    assert_eq!((summary.accepted, summary.problems), (1, 1));
    assert!(sent.problem("name.tar").reason.contains("too long"), "{:?}", sent.problems);
}

#[tokio::test]
async fn what_is_no_archive_ends_the_command_before_anything_is_enqueued() {
    let world = World::new().await;
    let image = world.put_image("a.png", 1);
    let text = world.put("notes.tar", b"no archive at all");
    let error = world.try_produce(&[&image, &text]).await.unwrap_err();
    assert!(
        matches!(&error, ProducerError::Source(SourceError::NotAnArchive { path }) if *path == text)
    );
    assert!(world.collect().await.intakes.is_empty());
    let empty = world.put("empty.tar", &Tar::new().bytes());
    let (summary, _) = world.produce(&[&empty]).await;
    assert_eq!((summary.accepted, summary.problems), (0, 0));
    let folder = world.at("folder.zip");
    std::fs::create_dir(&folder).unwrap();
    world.put_image("folder.zip/b.png", 2);
    assert_eq!(Source::parse(folder.as_os_str()).unwrap(), Source::Archive(folder.clone(), None));
    let (summary, _) = world.produce(&[&folder]).await;
    assert_eq!(summary.accepted, 1, "a folder is a folder, whatever its name");
}
