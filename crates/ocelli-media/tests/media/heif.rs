//! AVIF and HEIC through the real `heif-convert`, locked in as everywhere. `heif-enc` of the same package makes them of drawings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage, Rgba, RgbaImage, imageops};
use ocelli_core::FailureClass;
use ocelli_media::{
    ConvertError, ConvertLimits, Converter, DecodeError, DecodeLimits, Encoding, Prepare, decode,
    inspect, prepare,
};

use crate::drawing::{encode, picture};
use crate::mutations::{Random, mutate};

const BOTH: [&str; 2] = ["avif", "heic"];
/// Per format.
const MUTATIONS: usize = 250;

fn far() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

/// Drawings in one file, by the ending of its name.
fn encoded(drawings: &[DynamicImage], ending: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("out.{ending}"));
    let mut command = Command::new("heif-enc");
    if ending == "avif" {
        command.arg("-A");
    }
    command.args(["-q", "90", "-o"]).arg(&file);
    for (index, drawing) in drawings.iter().enumerate() {
        let png = folder.path().join(format!("{index}.png"));
        fs::write(&png, encode(drawing, ImageFormat::Png)).unwrap();
        command.arg(png);
    }
    let output = command.output().expect("heif-enc is installed (Debian: libheif-examples)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(file).unwrap()
}

fn drawn(width: u32, height: u32, ending: &str) -> Vec<u8> {
    encoded(&[DynamicImage::ImageRgb8(picture(width, height))], ending)
}

fn readable(bytes: &[u8]) -> Result<Bytes, ConvertError> {
    let bytes = Bytes::copy_from_slice(bytes);
    Converter::default().readable(bytes, &DecodeLimits::default(), far())
}

fn pixels(bytes: &[u8]) -> RgbImage {
    let png = readable(bytes).unwrap();
    decode(&png, &DecodeLimits::default()).unwrap().remove(0).pixels
}

/// How far two pictures are apart on average, in steps of 255.
fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let apart = one.as_raw().iter().zip(other.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b)));
    apart.sum::<u64>() as f64 / one.as_raw().len() as f64
}

/// The place of these bytes.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|part| part == wanted).expect("they are there")
}

/// The same image, to be turned by so many quarters against the clock: the property that tells the bits of its channels becomes one.
fn turned(mut bytes: Vec<u8>, quarters: u8) -> Vec<u8> {
    let at = find(&bytes, b"pixi");
    bytes[at..at + 4].copy_from_slice(b"irot");
    bytes[at + 4] = quarters;
    bytes
}

/// A Perl script that is called as `heif-convert` is. Put there by a program that has ended: nobody has it open for writing when it is
/// run.
fn script(folder: &Path, text: &str) -> PathBuf {
    let (source, program) = (folder.join("script.txt"), folder.join("script"));
    fs::write(&source, format!("#!/usr/bin/perl\n{text}\n")).unwrap();
    let installed = Command::new("install").args(["-m", "755"]).arg(source).arg(&program).status();
    assert!(installed.unwrap().success());
    program
}

fn with(program: PathBuf, limits: ConvertLimits) -> Converter {
    Converter::with(vec![program], limits)
}

/// What became of a small image with this script in the place of the program.
fn ran(text: &str, limits: ConvertLimits) -> ConvertError {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Bytes::from(drawn(40, 24, "heic"));
    let converter = with(script(folder.path(), text), limits);
    converter.readable(bytes, &DecodeLimits::default(), far()).unwrap_err()
}

#[test]
fn what_was_drawn_comes_out_of_avif_and_heic_and_its_size_is_known_before() {
    for ending in BOTH {
        for (width, height) in [(160, 96), (161, 97), (64, 300)] {
            let bytes = drawn(width, height, ending);
            let told = inspect(&bytes, &DecodeLimits::default()).unwrap();
            assert_eq!((told.format.name(), told.width, told.height), (ending, width, height));
            let apart = difference(&picture(width, height), &pixels(&bytes));
            assert!(apart < 2.5, "{ending} {width}x{height}: {apart}");
        }
    }
}

#[test]
fn turns_of_the_container_are_followed_once() {
    for ending in BOTH {
        for (quarters, expected) in [
            (1, imageops::rotate270(&picture(160, 96))),
            (2, imageops::rotate180(&picture(160, 96))),
            (3, imageops::rotate90(&picture(160, 96))),
        ] {
            let bytes = turned(drawn(160, 96, ending), quarters);
            let told = inspect(&bytes, &DecodeLimits::default()).unwrap();
            assert_eq!((told.width, told.height), expected.dimensions(), "{ending} {quarters}");
            let apart = difference(&expected, &pixels(&bytes));
            assert!(apart < 2.5, "{ending} {quarters}: {apart}");
        }
    }
}

#[test]
fn transparency_is_flattened_on_what_contrasts() {
    let half = |colour: u8| {
        let image = RgbaImage::from_fn(160, 96, |x, _| {
            Rgba([colour, colour, colour, if x < 80 { 0 } else { 255 }])
        });
        DynamicImage::ImageRgba8(image)
    };
    for ending in BOTH {
        for (letters, ground) in [(0_u8, 255_u8), (255, 0)] {
            let image = pixels(&encoded(&[half(letters)], ending));
            for (x, expected) in [(20, ground), (140, letters)] {
                let got = image.get_pixel(x, 48).0;
                let near = got.iter().all(|channel| channel.abs_diff(expected) <= 6);
                assert!(near, "{ending} {letters} at {x}: {got:?}");
            }
        }
    }
}

#[test]
fn of_several_images_the_first_is_read_and_what_is_neither_is_left_alone() {
    let two = [picture(160, 96), picture(80, 48)].map(DynamicImage::ImageRgb8);
    assert_eq!(pixels(&encoded(&two, "heic")).dimensions(), (160, 96));
    let nobody = with("/nowhere/heif-convert".into(), ConvertLimits::default());
    for bytes in [encode(&two[0], ImageFormat::Png), b"<html>".to_vec(), Vec::new()] {
        let bytes = Bytes::from(bytes);
        let same = nobody.readable(bytes.clone(), &DecodeLimits::default(), far()).unwrap();
        assert_eq!(same, bytes);
    }
}

#[test]
fn an_avif_is_prepared_for_a_model_as_anything_else_is() {
    let png = readable(&drawn(160, 96, "avif")).unwrap();
    let how = Prepare { longest_side: 80, encoding: Encoding::Jpeg { quality: 85 }, hash: true };
    let prepared = prepare(&png, &DecodeLimits::default(), &how).unwrap();
    assert_eq!((prepared.width, prepared.height), (80, 48));
    assert!(prepared.hash.is_some());
}

#[test]
fn a_missing_program_is_named_with_its_package_and_the_way_back() {
    let nobody = with("/nowhere/heif-convert".into(), ConvertLimits::default());
    assert_eq!(nobody.introduce().unwrap(), None);
    for ending in BOTH {
        let bytes = Bytes::from(drawn(40, 24, ending));
        let error = nobody.readable(bytes, &DecodeLimits::default(), far()).unwrap_err();
        assert!(matches!(error, ConvertError::Image(DecodeError::Unsupported { .. })), "{error}");
        assert_eq!(error.class(), FailureClass::Permanent);
        let text = error.to_string();
        for words in
            [ending.to_uppercase().as_str(), "not supported", "libheif-examples", "--retry failed"]
        {
            assert!(text.contains(words), "'{words}' is not in: {text}");
        }
    }
}

#[test]
fn the_program_says_what_it_is_and_what_it_decodes() {
    let found = Converter::default().introduce().unwrap().expect("it is installed");
    assert!(found.version.is_some() && found.avif.is_some() && found.heic.is_some(), "{found:?}");
}

#[test]
fn sizes_beyond_the_limits_are_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let sleeper = with(script(folder.path(), "sleep 100;"), ConvertLimits::default());
    for ending in BOTH {
        let mut bytes = drawn(160, 96, ending);
        let at = find(&bytes, b"ispe") + 8;
        for (side, setting) in [(60_000_u32, "limits.image_side"), (15_000, "limits.image_pixels")]
        {
            bytes[at..at + 4].copy_from_slice(&side.to_be_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&side.to_be_bytes());
            let begun = Instant::now();
            let bytes = Bytes::from(bytes.clone());
            let told = inspect(&bytes, &DecodeLimits::default()).unwrap_err();
            let error = sleeper.readable(bytes, &DecodeLimits::default(), far()).unwrap_err();
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
            assert_eq!(told.to_string(), error.to_string());
            assert!(error.to_string().contains(setting), "{error}");
        }
    }
    let few = DecodeLimits { bytes: 100, ..DecodeLimits::default() };
    let error = sleeper.readable(Bytes::from(drawn(160, 96, "avif")), &few, far()).unwrap_err();
    assert!(error.to_string().contains("limits.image_bytes"), "{error}");
}

#[test]
fn a_program_that_does_not_end_is_killed_at_its_deadline_or_that_of_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = Bytes::from(drawn(40, 24, "heic"));
    let sleeper = script(folder.path(), "$SIG{TERM} = 'IGNORE'; sleep 100;");
    let short = ConvertLimits { deadline: Duration::from_millis(300), ..ConvertLimits::default() };
    for (limits, patience) in
        [(short, Duration::from_secs(120)), (ConvertLimits::default(), Duration::from_millis(300))]
    {
        let begun = Instant::now();
        let ends = begun + patience;
        let converter = with(sleeper.clone(), limits);
        let limits = DecodeLimits::default();
        let error = converter.readable(bytes.clone(), &limits, ends).unwrap_err();
        assert!(matches!(error, ConvertError::Deadline { .. }), "{error}");
        assert_eq!(error.class(), FailureClass::Crash);
        assert!(error.to_string().contains("limits.convert_deadline"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_converter_has_no_network_no_other_files_no_processes_and_no_environment() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside.txt");
    let text = r#"
        use Socket;
        my @can;
        push @can, "socket" if socket(my $socket, PF_INET, SOCK_STREAM, 0);
        push @can, "local" if socket(my $local, PF_UNIX, SOCK_STREAM, 0);
        push @can, "beside" if open(my $beside, ">", "beside.png");
        push @can, "outside" if open(my $outside, ">", "OUTSIDE");
        push @can, "change" if open(my $change, ">>", $ARGV[0]);
        push @can, "rights" if chmod(0777, $ARGV[0]);
        push @can, "remove" if unlink($ARGV[0]);
        push @can, "link" if symlink("/etc/passwd", "link.png");
        push @can, "secrets" if open(my $secrets, "<", "/etc/passwd");
        push @can, "processes" if opendir(my $processes, "/proc");
        push @can, "signal" if kill(0, getppid());
        push @can, "group" if setpgrp(0, 0);
        my $child = fork();
        exit 0 if defined $child && $child == 0;
        push @can, "fork" if defined $child;
        push @can, "READ" if open(my $image, "<", $ARGV[0]);
        push @can, "WRITE" if open(my $output, ">", $ARGV[1]);
        print STDERR "can @can, has @{[sort keys %ENV]}\n";
        exit 3;
    "#;
    let text = text.replace("OUTSIDE", &outside.display().to_string());
    let error = ran(&text, ConvertLimits::default());
    assert_eq!(error.class(), FailureClass::Permanent);
    let said = error.to_string();
    assert!(said.contains("(can READ WRITE, has LC_ALL MALLOC_ARENA_MAX)"), "{said}");
    assert!(!outside.exists());
}

#[test]
fn memory_and_what_is_written_are_bounded_and_a_death_is_told() {
    let little = ConvertLimits { memory: 256 * 1024 * 1024, ..ConvertLimits::default() };
    let greedy = r#"my $all = "x" x (1 << 30); print STDERR "had it\n"; exit 3;"#;
    let error = ran(greedy, little).to_string();
    assert!(!error.contains("had it"), "{error}");
    let endless = r#"
        $SIG{XFSZ} = "DEFAULT";
        open(my $out, ">", $ARGV[1]);
        print $out "x" x 65536 while 1;
    "#;
    let crash = "require POSIX; POSIX::abort();";
    for (text, words) in [(endless, "wrote more"), (crash, "aborted")] {
        let error = ran(text, ConvertLimits::default());
        assert!(matches!(error, ConvertError::Died { .. }), "{error}");
        assert_eq!(error.class(), FailureClass::Crash);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn damaged_avifs_and_heics_end_in_pixels_or_a_refusal_hundreds_of_times() {
    let limits = DecodeLimits { side: 4096, pixels: 1 << 20, ..DecodeLimits::default() };
    let small = ConvertLimits { deadline: Duration::from_secs(20), memory: 512 << 20 };
    let converter = Converter::find(small);
    let mut random = Random(0x0ce1_1107);
    for ending in BOTH {
        let original = drawn(96, 64, ending);
        let (mut decoded, mut refused) = (0, 0);
        for round in 0..MUTATIONS {
            let mut bytes = original.clone();
            mutate(&mut bytes, &mut random);
            let told = inspect(&bytes, &limits);
            let converted = converter.readable(Bytes::from(bytes), &limits, far());
            let text = match converted {
                Ok(png) => match decode(&png, &limits) {
                    Ok(_) => {
                        decoded += 1;
                        assert!(told.is_ok(), "{ending} {round}: {told:?}");
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            };
            refused += 1;
            assert!(!text.is_empty() && text.len() < 2000, "{ending} {round}: {text}");
        }
        println!("{ending}: {decoded} decoded, {refused} refused");
        assert!(decoded > 0 && refused > 0, "{ending}: {decoded} and {refused}");
    }
}
