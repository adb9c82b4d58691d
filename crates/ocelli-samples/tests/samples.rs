//! The samples are what they claim to be.

use std::path::{Path, PathBuf};

use ocelli_samples::{Drawn, draw, samples};

/// A new, empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("samples-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn drawing_twice_gives_the_same_bytes_and_files_that_exist_are_kept() {
    let (one, two) = (folder("one"), folder("two"));
    let all = samples().len();
    assert_eq!(draw(&one).unwrap(), Drawn { written: all, kept: 0 });
    std::fs::create_dir_all(&two).unwrap();
    std::fs::write(two.join(samples()[0].file), b"mine").unwrap();
    assert_eq!(draw(&two).unwrap(), Drawn { written: all - 1, kept: 1 });
    assert_eq!(std::fs::read(two.join(samples()[0].file)).unwrap(), b"mine");
    let mut total = 0;
    for sample in &samples()[1..] {
        let bytes = std::fs::read(one.join(sample.file)).unwrap();
        assert!(bytes == std::fs::read(two.join(sample.file)).unwrap(), "{}", sample.file);
        total += bytes.len();
    }
    assert!(total < 6_000_000, "the samples take {total} bytes");
    assert_eq!(std::fs::read_dir(&one).unwrap().count(), all, "nothing else is left in the folder");
    for folder in [one, two] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn every_format_is_there_and_every_file_decodes_as_what_its_name_says() {
    let folder = folder("formats");
    draw(&folder).unwrap();
    let mut formats = std::collections::BTreeSet::new();
    for sample in samples() {
        let path = folder.join(sample.file);
        let reader = image::ImageReader::open(&path).unwrap().with_guessed_format().unwrap();
        assert_eq!(reader.format(), image::ImageFormat::from_path(&path).ok(), "{}", sample.file);
        formats.insert(format!("{:?}", reader.format().unwrap()));
        let picture = reader.decode().unwrap();
        assert!(picture.width() >= 400 && picture.height() >= 300, "{}", sample.file);
    }
    assert_eq!(formats.len(), 6, "{formats:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_turned_photo_says_so_in_its_exif_block() {
    let folder = folder("turned");
    draw(&folder).unwrap();
    let bytes = std::fs::read(folder.join("photo-shop-sign-turned.jpg")).unwrap();
    let mut decoder = image::ImageReader::new(std::io::Cursor::new(bytes))
        .with_guessed_format()
        .unwrap()
        .into_decoder()
        .unwrap();
    let turn = image::ImageDecoder::orientation(&mut decoder).unwrap();
    assert_eq!(turn, image::metadata::Orientation::Rotate90);
    std::fs::remove_dir_all(folder).unwrap();
}
