//! Rates and the number of requests at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ocelli_llm::{InFlight, LlmOptions, Protocol};
use ocelli_testkit::models::Behaviour;
use ocelli_worker::Analyzer;
use tokio::time::Instant;

use crate::harness::{analyzer, job, job_of, options, server, server_with};

#[tokio::test]
async fn requests_a_minute_are_bounded() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let limited =
        LlmOptions { requests_per_minute: Some(600), ..options(Protocol::Ollama, &[&server]) };
    let analyzer = analyzer(limited);
    let begun = Instant::now();
    let answers = join_all((0..20).map(|n| analyzer.analyze(job(n)))).await;
    assert!(answers.iter().all(Result::is_ok));
    // Ten a second, of which the first ten may come at once.
    assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn tokens_a_minute_are_bounded_by_what_answers_really_took() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    // An answer of the double takes about 800 tokens: one of them is worth about half a second.
    let mut limited =
        LlmOptions { tokens_per_minute: Some(100_000), ..options(Protocol::Ollama, &[&server]) };
    limited.endpoints[0].in_flight = InFlight::Fixed(1);
    let analyzer = analyzer(limited);
    let begun = Instant::now();
    let answers = join_all((0..5).map(|n| analyzer.analyze(job(n)))).await;
    let tokens: u64 = answers
        .iter()
        .map(|answer| &answer.as_ref().unwrap().provenance)
        .map(|p| p.tokens_in.unwrap() + p.tokens_out.unwrap())
        .sum();
    // All but the last answer's tokens were paid for, apart from one second's worth at the start.
    let least = tokens as f64 * 0.8 / (100_000.0 / 60.0) - 1.0;
    assert!(begun.elapsed().as_secs_f64() >= least, "{tokens} tokens in {:?}", begun.elapsed());
}

#[tokio::test]
async fn the_number_of_slots_is_found_by_measuring() {
    let server = server_with(Protocol::Ollama, |options| {
        options.slots = 8;
        options.latency = Duration::from_millis(40);
    })
    .await;
    let mut options = options(Protocol::Ollama, &[&server]);
    options.endpoints[0].in_flight = InFlight::Adaptive { min: 1, max: 32 };
    options.timeouts.first_byte = Duration::from_secs(5);
    options.timeouts.total = Duration::from_secs(5);
    let analyzer = Arc::new(analyzer(options));
    let begun = Instant::now();
    let workers = (0..33).map(|worker: u8| {
        let analyzer = Arc::clone(&analyzer);
        async move {
            for _ in 0..8 {
                analyzer.analyze(job(worker)).await.unwrap();
            }
        }
    });
    join_all(workers).await;
    assert_eq!(server.stats().most_worked_on, 8, "every slot was used");
    // 264 answers in 8 slots of 40 ms take 1.3 s; with one slot they would take more than 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn many_large_images_at_once_stay_within_the_memory() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let mut options = options(Protocol::Ollama, &[&server]);
    options.endpoints[0].in_flight = InFlight::Fixed(64);
    options.timeouts.first_byte = Duration::from_secs(60);
    options.timeouts.total = Duration::from_secs(60);
    let analyzer = analyzer(options);
    let jobs = (0..5).map(|n| {
        let mut job = job_of(twelve_megapixels(n));
        job.deadline = Instant::now() + Duration::from_secs(100);
        job
    });
    let jobs: Vec<_> = jobs.collect();
    let before = resident_peak();
    // Without a bound five of them would already hold more than 200 MiB of pixels.
    let answers = join_all(jobs.into_iter().map(|job| analyzer.analyze(job))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let peak = resident_peak();
    assert!(peak <= 160, "{peak} MiB at most, {before} MiB before");
}

fn twelve_megapixels(number: u8) -> bytes::Bytes {
    let image = image::RgbImage::from_pixel(4000, 3000, image::Rgb([number, 100, 200]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner().into()
}

/// The most memory this process ever held, in MiB. Each test is a process of its own.
fn resident_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}
