//! The analyzer as the pipe uses it: probe, then one job after the other.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use image::{Rgb, RgbImage};
use ocelli_core::{Digest, FailureClass, Flag, ImageFacts, ImageFormat, Outcome};
use ocelli_ocr::pool::ReadError;
use ocelli_ocr::{Effort, OcrMetrics, OcrOptions, PageMode, TesseractAnalyzer, data, diagnose};
use ocelli_worker::{Analyzer as _, Job};
use rustix::process::{Pid, Signal, kill_process};

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ocelli-ocr-worker"))
}

fn analyzer(change: impl FnOnce(&mut OcrOptions)) -> TesseractAnalyzer {
    let mut options =
        OcrOptions { children: 1, child_program: Some(program()), ..OcrOptions::default() };
    change(&mut options);
    TesseractAnalyzer::new(options, OcrMetrics::unregistered().expect("metrics"))
}

fn job(bytes: Bytes) -> Job {
    Job {
        image: ImageFacts {
            digest: Digest::of(&bytes),
            format: Some(ImageFormat::Png),
            width: None,
            height: None,
            bytes: bytes.len() as u64,
        },
        bytes,
        sources: Vec::new(),
        needed: Vec::new(),
        deadline: tokio::time::Instant::now() + Duration::from_secs(120),
        meter: ocelli_worker::Meter::default(),
    }
}

fn png(image: &RgbImage) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    bytes.into_inner().into()
}

/// "HILL", as bars.
fn hill() -> RgbImage {
    let mut image = RgbImage::from_pixel(420, 180, Rgb([250; 3]));
    let mut bar = |x: u32, y: u32, w: u32, h: u32| {
        for (x, y) in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
            image.put_pixel(x, y, Rgb([10; 3]));
        }
    };
    for (x, y, w, h) in [
        (60, 60, 9, 60),
        (96, 60, 9, 60),
        (60, 85, 45, 9),  // H
        (125, 60, 9, 60), // I
        (154, 60, 9, 60),
        (154, 111, 36, 9), // L
        (208, 60, 9, 60),
        (208, 111, 36, 9), // L
    ] {
        bar(x, y, w, h);
    }
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_done_with_its_provenance_and_a_blank_image_is_empty() {
    let analyzer = analyzer(|_| ());
    analyzer.probe().await.expect("can work");
    let answer = analyzer.analyze(job(png(&hill()))).await.expect("an answer");
    let Outcome::Done(reading) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!(reading.text, "HILL");
    assert_eq!(reading.languages.as_deref(), Some("eng"));
    assert!(answer.provenance.engine.starts_with("tesseract 5"));
    assert_eq!(answer.provenance.model.as_deref(), Some("eng"));
    assert_eq!(answer.provenance.steps[0].name, "page");
    let blank = png(&RgbImage::from_pixel(64, 64, Rgb([255; 3])));
    let answer = analyzer.analyze(job(blank)).await.expect("an answer");
    assert_eq!(answer.outcome, Outcome::Empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_failures_name_the_language_data_by_its_hash() {
    let analyzer = analyzer(|_| ());
    analyzer.probe().await.expect("can work");
    let folder = data::folder(None, None).expect("language data is installed");
    let hashes = data::hashes(&folder, &["eng".to_owned()]).expect("readable");
    let expected = format!("eng {}", hashes["eng"]);
    assert_eq!(expected.len(), "eng ".len() + 16);
    let answer = analyzer.analyze(job(png(&hill()))).await.expect("an answer");
    assert_eq!(answer.provenance.model_digest.as_ref(), Some(&expected));
    let error = analyzer.analyze(job(Bytes::from_static(b"<html>"))).await.expect_err("no image");
    let how = error.provenance.expect("it is known who tried");
    assert_eq!(how.model_digest, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_fails_for_good_with_a_reason() {
    let analyzer = analyzer(|_| ());
    analyzer.probe().await.expect("can work");
    let error = analyzer.analyze(job(Bytes::from_static(b"<html>"))).await.expect_err("no image");
    assert_eq!(error.class, FailureClass::Permanent);
    assert!(!error.reason.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_come_to_an_end_is_a_crash() {
    let analyzer = analyzer(|options| options.hard_deadline = Duration::from_millis(1));
    analyzer.probe().await.expect("can work");
    let error = analyzer.analyze(job(png(&hill()))).await.expect_err("too late");
    assert_eq!(error.class, FailureClass::Crash);
    assert!(error.reason.contains("killed"), "{}", error.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_time_at_all_is_a_partial_reading_and_not_an_empty_image() {
    let analyzer = analyzer(|options| options.soft_deadline = Duration::ZERO);
    analyzer.probe().await.expect("can work");
    let answer = analyzer.analyze(job(png(&hill()))).await.expect("an answer");
    let Outcome::Done(reading) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!(reading.flags, [Flag::Partial]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_language_data_names_the_package_to_install() {
    let analyzer = analyzer(|options| options.languages = "eng+tlh".to_owned());
    let reason = analyzer.probe().await.expect_err("no Klingon").reason;
    assert!(reason.contains("install tesseract-ocr-tlh"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revision_changes_with_what_can_change_an_answer_and_with_nothing_else() {
    let of = async |change: fn(&mut OcrOptions)| analyzer(change).probe().await.expect("works");
    let plain = of(|_| ()).await;
    assert_eq!(plain, of(|options| options.children = 2).await);
    assert_eq!(plain, of(|options| options.recycle_memory = 1 << 30).await);
    assert_ne!(plain, of(|options| options.effort = Effort::Page).await);
    assert_ne!(plain, of(|options| options.sufficient_confidence = 80.0).await);
    assert_ne!(plain, of(|options| options.page_mode = PageMode::Block).await);
    assert_ne!(plain, of(|options| options.frames = 2).await);
    assert_ne!(plain, of(|options| options.languages = "osd+eng".to_owned()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_diagnosis_names_data_missing_packages_and_the_sandbox() {
    let diagnosis = diagnose("eng+tlh", None, Some(program())).await;
    assert!(diagnosis.data_path.is_ok());
    assert!(diagnosis.present.contains(&"eng".to_owned()));
    assert_eq!(diagnosis.missing, ["tlh"]);
    assert_eq!(data::advice(&diagnosis.missing), "install tesseract-ocr-tlh");
    assert!(diagnosis.sandbox.is_ok(), "{diagnosis:?}");
    let nowhere = diagnose("eng", Some("/nowhere".as_ref()), Some(program())).await;
    assert!(nowhere.data_path.is_err_and(|reason| reason.contains("/nowhere")));
    let folder = tempfile::tempdir().expect("temporary folder");
    let circle = circle(folder.path(), "eng.traineddata");
    let unreadable = diagnose("eng", Some(folder.path()), Some(program())).await;
    let reason = unreadable.data_path.expect_err("a file that cannot be read");
    assert!(reason.contains(&circle.display().to_string()), "{reason}");
    assert!(unreadable.missing.is_empty(), "it is there");
}

/// A link to itself, which nobody can follow, whoever runs this.
fn circle(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::os::unix::fs::symlink(&path, &path).expect("linked");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn language_data_that_cannot_be_loaded_is_named_and_nothing_hangs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("eng.traineddata"), b"no data").expect("written");
    let data_path = Some(folder.path().to_owned());
    let broken = analyzer(|options| options.data_path.clone_from(&data_path));
    let reason = broken.probe().await.expect_err("broken data").reason;
    assert!(reason.contains("could not load 'eng'"), "{reason}");
    assert!(reason.contains("install tesseract-ocr-eng again"), "{reason}");
    // A folder where the file should be.
    std::fs::remove_file(folder.path().join("eng.traineddata")).expect("removed");
    std::fs::create_dir(folder.path().join("eng.traineddata")).expect("made");
    let missing = analyzer(|options| options.data_path.clone_from(&data_path));
    let reason = missing.probe().await.expect_err("no data").reason;
    assert!(reason.contains("install tesseract-ocr-eng"), "{reason}");
    let unreadable = circle(folder.path(), "closed");
    let closed = analyzer(|options| options.data_path = Some(unreadable));
    let reason = closed.probe().await.expect_err("no way in").reason;
    assert!(reason.contains("cannot be read") && reason.contains("set data_path"), "{reason}");
    let nowhere = analyzer(|options| options.data_path = Some("/nowhere/at/all".into()));
    let reason = nowhere.probe().await.expect_err("no folder").reason;
    assert!(reason.contains("/nowhere/at/all"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_finds_no_free_child_in_time_is_put_off_and_not_failed() {
    let analyzer = analyzer(|_| ());
    analyzer.probe().await.expect("can work");
    let pool = analyzer.pool().expect("started");
    // Stopped, so that it is at work until it is told to go on, however long that takes.
    let child = Pid::from_raw(pool.idle_pids()[0] as i32).expect("a pid");
    kill_process(child, Signal::STOP).expect("the child is there");
    // Asks first and keeps the only child from the second.
    let first = pool.read(png(&hill()), tokio::time::Instant::now() + Duration::from_secs(60));
    let second = async {
        let late = Job { deadline: tokio::time::Instant::now(), ..job(png(&hill())) };
        let answer = analyzer.analyze(late).await;
        kill_process(child, Signal::CONT).expect("the child is there");
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok(), "{first:?}");
    let error = second.expect_err("no child was free");
    assert_eq!(error.class, FailureClass::Outage);
    assert!(error.reason.contains("became free"), "{}", error.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_time_went_by_while_it_waited_for_a_child_is_put_off_and_no_crash() {
    let analyzer = analyzer(|_| ());
    analyzer.probe().await.expect("can work");
    let pool = analyzer.pool().expect("started");
    let child = Pid::from_raw(pool.idle_pids()[0] as i32).expect("a pid");
    kill_process(child, Signal::STOP).expect("the child is there");
    let now = tokio::time::Instant::now();
    // Holds the child for nearly all of the time that the other one has.
    let first = pool.read(png(&hill()), now + Duration::from_millis(1_500));
    let late = Job { deadline: now + Duration::from_millis(1_501), ..job(png(&hill())) };
    let (first, second) = tokio::join!(first, analyzer.analyze(late));
    assert!(matches!(first, Err(ReadError::Deadline(_))), "{first:?}");
    let error = second.expect_err("a child cannot start and read within a millisecond");
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
}
