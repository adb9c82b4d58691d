//! What a child is given, what replaces it before it dies, and what is counted when it does.

use std::time::Duration;

use ocelli_ocr::OcrOptions;
use ocelli_ocr::pool::ReadError;
use prometheus::Registry;
use rustix::process::Signal;

use crate::lives::zombie;
use crate::{counted, far, options, picture, png, pool, reads, resident, signal, until, watched};

#[tokio::test(flavor = "multi_thread")]
async fn a_child_has_one_thread_and_nothing_of_its_parents_environment() {
    let pool = pool(options(1));
    reads(&pool).await;
    let pid = pool.idle_pids()[0];
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("our child's");
    let variables: Vec<&str> = environment.split_terminator('\0').collect();
    assert!(variables.contains(&"OMP_THREAD_LIMIT=1"), "{variables:?}");
    let given = ["OMP_THREAD_LIMIT", "LC_ALL", "LD_LIBRARY_PATH"];
    for variable in &variables {
        let name = variable.split('=').next().unwrap_or_default();
        assert!(given.contains(&name), "{variable}");
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("our child's");
    assert!(status.lines().any(|line| line == "Threads:\t1"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_with_more_memory_than_its_bound_is_replaced_after_its_image_and_counted() {
    let unbounded = pool(options(1));
    reads(&unbounded).await;
    let child = unbounded.idle_pids();
    let taken = resident(child[0]) * 1024;
    reads(&unbounded).await;
    assert_eq!(unbounded.idle_pids(), child, "{taken} bytes are far below the bound by default");

    let registry = Registry::new();
    let replaced = |why: &str| {
        counted(&registry, &format!("ocelli_ocr_children_replaced_total{{reason=\"{why}\"}}"))
    };
    let pool = watched(OcrOptions { recycle_memory: taken / 2, ..options(1) }, &registry);
    pool.warm_up().await.expect("started");
    assert_eq!((pool.idle_pids().len(), replaced("memory")), (1, 0.0));
    reads(&pool).await;
    assert_eq!((pool.idle_pids().len(), replaced("memory")), (0, 1.0));
    reads(&pool).await;
    assert_eq!((replaced("memory"), replaced("images")), (2.0, 0.0));
    assert_eq!(counted(&registry, "ocelli_ocr_children_started_total"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_death_of_a_child_is_counted_with_its_reason() {
    let registry = Registry::new();
    let lost = || {
        ["died", "deadline", "idle"].map(|reason| {
            counted(&registry, &format!("ocelli_ocr_children_lost_total{{reason=\"{reason}\"}}"))
        })
    };
    let pool = watched(options(1), &registry);
    pool.warm_up().await.expect("started");
    assert_eq!(lost(), [0.0, 0.0, 0.0]);
    let pid = pool.idle_pids()[0];
    // Stopped, so that it is at work until it dies.
    signal(pid, Signal::STOP);
    let death = async {
        until("the child is at work", || pool.idle_pids().is_empty()).await;
        signal(pid, Signal::KILL);
    };
    let (result, ()) = tokio::join!(pool.read(png(&picture("HELLO")), far()), death);
    assert!(matches!(result, Err(ReadError::Died(_))), "{result:?}");
    assert_eq!(lost(), [1.0, 0.0, 0.0]);

    pool.warm_up().await.expect("started");
    let pid = pool.idle_pids()[0];
    signal(pid, Signal::KILL);
    until("the child is dead", || zombie(pid)).await;
    reads(&pool).await;
    assert_eq!(lost(), [1.0, 0.0, 1.0]);

    let registry = Registry::new();
    let options = OcrOptions { hard_deadline: Duration::from_secs(1), ..options(1) };
    let hasty = watched(options, &registry);
    hasty.warm_up().await.expect("started");
    signal(hasty.idle_pids()[0], Signal::STOP);
    let result = hasty.read(png(&picture("HELLO")), far()).await;
    assert!(matches!(result, Err(ReadError::Deadline(_))), "{result:?}");
    let metric = "ocelli_ocr_children_lost_total{reason=\"deadline\"}";
    assert_eq!(counted(&registry, metric), 1.0);
}
