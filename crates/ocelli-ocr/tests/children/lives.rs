//! How children live and die: what they may not do, what ends them, and what that costs.

use std::path::Path;
use std::time::Duration;

use image::{Rgb, RgbImage};
use ocelli_ocr::OcrOptions;
use ocelli_ocr::pool::{ReadError, StartError};
use ocelli_ocr::sandbox::Layer;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::{far, noise, options, picture, png, pool, reads, signal};

#[tokio::test(flavor = "multi_thread")]
async fn a_child_can_open_no_socket_and_no_file_and_start_no_program() {
    let pool = pool(options(1));
    let ready = pool.warm_up().await.expect("started");
    assert_eq!(ready.sandbox.limits, Layer::Active);
    assert_eq!(ready.sandbox.dies_with_parent, Layer::Active);
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("written-by-child");
    let test = pool.self_test(file.clone()).await.expect("answered");
    assert!(!test.wrote_file && !file.exists());
    assert!(!test.opened_socket && !test.read_file && !test.started_program, "{test:?}");
    reads(&pool).await;
}

/// ABORT is what an assertion of the engine does, KILL what the kernel does when memory is short.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_at_work_costs_its_own_job_and_no_other_and_says_how_it_died() {
    for (how, word) in [(Signal::KILL, "killed"), (Signal::ABORT, "aborted")] {
        let pool = pool(options(1));
        pool.warm_up().await.expect("started");
        let pid = pool.idle_pids()[0];
        let job = pool.read(noise(2000), far());
        let killer = async {
            // The child is at work once it is no longer idle.
            while !pool.idle_pids().is_empty() {
                tokio::task::yield_now().await;
            }
            signal(pid, how);
        };
        let (result, ()) = tokio::join!(job, killer);
        let Err(ReadError::Died(reason)) = result else { panic!("{how:?}: {result:?}") };
        assert!(reason.contains(word), "{how:?}: {reason}");
        reads(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_died_while_idle_costs_no_job() {
    let pool = pool(options(1));
    pool.warm_up().await.expect("started");
    let pid = pool.idle_pids()[0];
    signal(pid, Signal::KILL);
    let gone = || !Path::new(&format!("/proc/{pid}/statm")).exists() || zombie(pid);
    let give_up = Instant::now() + Duration::from_secs(10);
    while !gone() && Instant::now() < give_up {
        tokio::task::yield_now().await;
    }
    reads(&pool).await;
}

pub(crate) fn zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_child_is_killed_at_the_hard_deadline_while_its_neighbour_reads_on() {
    let pool = pool(OcrOptions { hard_deadline: Duration::from_secs(3), ..options(2) });
    pool.warm_up().await.expect("started");
    // The last one in is the next one out.
    let stopped = *pool.idle_pids().last().expect("two children");
    signal(stopped, Signal::STOP);
    let started = Instant::now();
    let hanging = pool.read(png(&picture("HELLO")), far());
    let (result, ()) = tokio::join!(hanging, reads(&pool));
    assert!(matches!(result, Err(ReadError::Deadline(_))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    reads(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_deadline_keeps_what_was_read_and_says_so() {
    let mut page = RgbImage::from_pixel(1100, 4800, Rgb([255; 3]));
    for row in 0..40 {
        image::imageops::overlay(&mut page, &picture("THE HOTEL TO TELL FILE"), 20, row * 120);
    }
    let soft_deadline = Duration::from_millis(60);
    let pool = pool(OcrOptions { soft_deadline, ..options(1) });
    let transcript = pool.read(png(&page), far()).await.expect("an answer, not a failure");
    assert!(transcript.partial, "{:?}", transcript.steps);
    assert!(transcript.words.len() < 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worn_child_is_replaced() {
    let pool = pool(OcrOptions { images_per_child: 2, ..options(1) });
    pool.warm_up().await.expect("started");
    let first = pool.idle_pids();
    reads(&pool).await;
    assert_eq!(pool.idle_pids(), first);
    reads(&pool).await;
    assert!(pool.idle_pids().is_empty());
    reads(&pool).await;
    assert_ne!(pool.idle_pids(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_ocr_child_is_an_error_and_never_a_hang() {
    for (program, silent) in [("/bin/true", true), ("/bin/cat", true), ("/no/such/program", false)]
    {
        let options = OcrOptions {
            child_program: Some(program.into()),
            start_deadline: Duration::from_secs(5),
            ..options(1)
        };
        let error = pool(options).warm_up().await.expect_err("no child");
        assert_eq!(matches!(error, StartError::Silent { .. }), silent, "{program}: {error}");
        assert_eq!(matches!(error, StartError::Spawn { .. }), !silent, "{program}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_language_data_is_a_reason_and_never_a_hang() {
    let pool = pool(OcrOptions { languages: "xyz".to_owned(), ..options(1) });
    let error = pool.warm_up().await.expect_err("no data");
    assert!(matches!(&error, StartError::NotReady(reason) if reason.contains("xyz")), "{error}");
}
