//! Outages spend nothing, poison is bounded, and other endpoints do not notice.

use std::time::Duration;

use futures_util::future::join_all;
use ocelli_core::FailureClass;
use ocelli_llm::{EndpointOptions, InFlight, LlmOptions, Patience, Protocol};
use ocelli_testkit::models::{Behaviour, ModelServer};
use ocelli_worker::Analyzer;
use tokio::time::Instant;

use crate::harness::{
    BOTH, analyzer, counted_analyzer, failed_calls, failure, job, options, reading, server,
    server_with, until,
};

#[tokio::test]
async fn a_server_that_is_away_spends_no_attempt_and_its_return_is_noticed_inside_the_call() {
    for protocol in BOTH {
        let mut server = server(protocol, Behaviour::Answer).await;
        server.go_down();
        let patient =
            Patience { outage: Duration::from_secs(8), ..options(protocol, &[]).patience };
        let mut options = options(protocol, &[&server]);
        let error = analyzer(options.clone()).analyze(job(1)).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
        assert!(error.reason.contains("cannot connect"), "{}", error.reason);

        options.patience = patient;
        let (analyzer, registry) = counted_analyzer(options);
        let (answer, ()) = tokio::join!(analyzer.analyze(job(1)), async {
            until("a request failed", || failed_calls(&registry) > 0).await;
            server.come_back().await;
        });
        assert_eq!(reading(&answer.unwrap()).flags, []);
        assert_eq!(server.calls(), 1);
    }
}

#[tokio::test]
async fn an_outage_ends_at_the_deadline_of_the_job_at_the_latest() {
    let server = server(Protocol::Ollama, Behaviour::Loading).await;
    let mut options = options(Protocol::Ollama, &[&server]);
    options.patience.outage = Duration::from_secs(600);
    let mut job = job(1);
    // Enough for a busy machine to ask several times, so that the last pause is long beside a request.
    job.deadline = Instant::now() + Duration::from_secs(10);
    let error = analyzer(options).analyze(job).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage);
    assert!(error.reason.contains("Loading model"), "{}", error.reason);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_said_so() {
    for protocol in BOTH {
        let in_two_seconds = || {
            // A date has whole seconds: two from now are at least one.
            let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
            at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
        };
        let cases: [(&'static str, &dyn Fn() -> String, u64); 3] = [
            ("retry-after", &|| "1".to_owned(), 900),
            ("retry-after-ms", &|| "250".to_owned(), 240),
            ("retry-after", &in_two_seconds, 900),
        ];
        for (header, value, least) in cases {
            let server = server(protocol, Behaviour::Answer).await;
            server.script([Behaviour::TooMany(vec![(header, value())])]);
            let mut options = options(protocol, &[&server]);
            options.patience.outage = Duration::from_secs(8);
            let begun = Instant::now();
            analyzer(options).analyze(job(1)).await.unwrap();
            let waited = begun.elapsed();
            assert!(waited >= Duration::from_millis(least), "{header} {waited:?}");
            assert_eq!(server.calls(), 2);
        }
    }
}

#[tokio::test]
async fn busy_loading_and_a_dead_proxy_are_outages() {
    for protocol in BOTH {
        for behaviour in [Behaviour::Loading, Behaviour::BadGateway, Behaviour::TooMany(Vec::new())]
        {
            let (class, reason, calls) = failure(protocol, behaviour).await;
            assert_eq!(class, FailureClass::Outage, "{reason}");
            assert!(calls >= 2, "asked again inside the attempt: {calls} {reason}");
        }
    }
}

#[tokio::test]
async fn a_waiting_job_does_not_stop_another_endpoint() {
    for protocol in BOTH {
        let busy =
            server(protocol, Behaviour::TooMany(vec![("retry-after", "60".to_owned())])).await;
        let broken = server(protocol, Behaviour::ServerError).await;
        let good = server(protocol, Behaviour::Answer).await;
        let analyzer = analyzer(options(protocol, &[&busy, &broken, &good]));
        let begun = Instant::now();
        let answers = join_all((0..20).map(|n| analyzer.analyze(job(n)))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(busy.calls() <= 4, "one round at most: {}", busy.calls());
        assert!(good.calls() >= 20);
    }
}

#[tokio::test]
async fn one_poisonous_image_is_transient_while_its_neighbours_succeed() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let analyzer = analyzer(options(Protocol::Ollama, &[&server]));
    analyzer.analyze(job(7)).await.unwrap();
    server.set_behaviour_for(&server.received()[0].digest, Behaviour::ServerError);
    let results = join_all((0..12).map(|n| analyzer.analyze(job(n)))).await;
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(n, 7),
            Err(error) => assert_eq!((n, error.class), (7, FailureClass::Transient)),
        }
    }
}

#[tokio::test]
async fn when_every_image_fails_the_server_is_to_blame_and_no_more_attempts_are_spent() {
    let server = server(Protocol::Ollama, Behaviour::ServerError).await;
    let analyzer = analyzer(options(Protocol::Ollama, &[&server]));
    let mut classes = Vec::new();
    for n in 0..5 {
        classes.push(analyzer.analyze(job(n)).await.unwrap_err().class);
    }
    use FailureClass::{Outage, Transient};
    assert_eq!(classes, [Transient, Transient, Outage, Outage, Outage]);
    server.set_behaviour(Behaviour::Answer);
    analyzer.analyze(job(9)).await.unwrap();
}

#[tokio::test]
async fn an_image_that_kills_its_server_each_time_is_found_out() {
    let mut server = server(Protocol::Ollama, Behaviour::Break).await;
    let mut options = options(Protocol::Ollama, &[&server]);
    // The server is away right after the connection broke, as when it is being restarted.
    options.patience.server_error_retries = 1;
    options.patience.pause_floor = Duration::from_millis(400);
    options.patience.pause_cap = Duration::from_millis(400);
    options.patience.outage = Duration::from_secs(1);
    let analyzer = analyzer(options);
    let mut classes = Vec::new();
    for _ in 0..3 {
        let before = server.calls();
        let (result, ()) = tokio::join!(analyzer.analyze(job(1)), async {
            until("the call arrives", || server.calls() > before).await;
            server.go_down();
        });
        classes.push(result.unwrap_err().class);
        server.come_back().await;
    }
    use FailureClass::{Crash, Outage};
    assert_eq!(classes, [Outage, Outage, Crash]);
}

#[tokio::test]
async fn places_are_respected_and_filled() {
    let server = server_with(Protocol::Ollama, |options| {
        options.latency = Duration::from_millis(60);
        options.slots = 2;
    })
    .await;
    let mut options = options(Protocol::Ollama, &[&server]);
    options.endpoints[0].in_flight = InFlight::Fixed(3);
    options.timeouts.first_byte = Duration::from_secs(5);
    options.timeouts.total = Duration::from_secs(5);
    let analyzer = analyzer(options);
    assert_eq!(analyzer.slots(), 4);
    let answers = join_all((0..12).map(|n| analyzer.analyze(job(n)))).await;
    assert!(answers.iter().all(Result::is_ok));
    let stats = server.stats();
    assert_eq!((stats.most_open, stats.most_worked_on), (3, 2));
}

#[tokio::test]
async fn work_goes_to_the_faster_endpoint_in_proportion() {
    let slow = server_with(Protocol::Ollama, |options| {
        options.latency = Duration::from_millis(200);
    })
    .await;
    let fast = server_with(Protocol::Ollama, |options| {
        options.latency = Duration::from_millis(50);
    })
    .await;
    let options = options(Protocol::Ollama, &[&slow, &fast]);
    let analyzer = analyzer(LlmOptions { ..options });
    let answers = join_all((0..100).map(|n| analyzer.analyze(job(n)))).await;
    assert!(answers.iter().all(Result::is_ok));
    let part = fast.calls() as f64 / 100.0;
    assert!(
        (0.72..=0.88).contains(&part),
        "{part} of the work went to the endpoint of speed 4 : 1"
    );
}

#[tokio::test]
async fn an_abandoned_job_gives_its_place_back_and_ends_its_request() {
    let server = server(Protocol::Ollama, Behaviour::Hang).await;
    let mut options = options(Protocol::Ollama, &[&server]);
    options.endpoints[0].in_flight = InFlight::Fixed(1);
    options.timeouts.first_byte = Duration::from_secs(30);
    options.timeouts.total = Duration::from_secs(30);
    let analyzer = analyzer(options);
    let hanging = analyzer.analyze(job(1));
    tokio::select! {
        _ = hanging => panic!("a hanging server does not answer"),
        () = until("it hangs", || server.stats().open == 1) => {}
    }
    until("the request ended", || server.stats().open == 0).await;
    server.set_behaviour(Behaviour::Answer);
    analyzer.analyze(job(1)).await.unwrap();
}

#[tokio::test]
async fn keys_and_headers_are_sent_and_never_shown() {
    for protocol in BOTH {
        let server = server_with(protocol, |o| o.api_key = Some("secret-key".to_owned())).await;
        let mut options = options(protocol, &[&server]);
        options.endpoints[0] = EndpointOptions {
            api_key: Some("secret-key\n".into()),
            headers: [("x-team".to_owned(), "secret-team".into())].into(),
            ..EndpointOptions::new(server.url())
        };
        let shown = format!("{options:?}");
        let analyzer = analyzer(options);
        analyzer.probe().await.unwrap();
        let answer = analyzer.analyze(job(1)).await.unwrap();
        let received = &server.received()[0];
        assert_eq!(received.headers["x-team"], "secret-team");
        let all = format!("{shown} {analyzer:?} {answer:?} {}", analyzer.description());
        assert!(!all.contains("secret"), "{all}");
    }
}

#[tokio::test]
async fn a_server_is_taken_back_after_an_outage_without_a_word_to_the_other() {
    let mut first = server(Protocol::Ollama, Behaviour::Answer).await;
    let second = server(Protocol::Ollama, Behaviour::Answer).await;
    let analyzer = analyzer(options(Protocol::Ollama, &[&first, &second]));
    analyzer.probe().await.unwrap();
    first.go_down();
    let answers = join_all((0..8).map(|n| analyzer.analyze(job(n)))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(first.calls(), 0);
    first.come_back().await;
    let served = async |server: &ModelServer| server.calls() > 0;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut n = 8;
    while !served(&first).await {
        assert!(Instant::now() < deadline, "it is asked again");
        analyzer.analyze(job(n)).await.unwrap();
        n = n.wrapping_add(1);
    }
}

/// A server that was given up for as long as it takes.
fn given_up(mut options: LlmOptions) -> LlmOptions {
    options.patience.pause_floor = Duration::from_secs(600);
    options.patience.pause_cap = Duration::from_secs(600);
    options.patience.return_cap = Duration::from_millis(50);
    options.patience.outage = Duration::from_secs(8);
    options
}

#[tokio::test]
async fn an_endpoint_that_is_back_is_found_by_looking_while_there_is_work() {
    for protocol in BOTH {
        let mut first = server(protocol, Behaviour::Answer).await;
        let second = server(protocol, Behaviour::Answer).await;
        let analyzer = analyzer(given_up(options(protocol, &[&first, &second])));
        analyzer.probe().await.unwrap();
        first.go_down();
        let answers = join_all((0..8).map(|n| analyzer.analyze(job(n)))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!((first.calls(), second.calls()), (0, 8), "no job was risked twice");
        first.come_back().await;
        let back = Instant::now();
        let mut n = 8;
        while first.calls() == 0 {
            assert!(back.elapsed() < Duration::from_secs(5), "it is in use again");
            analyzer.analyze(job(n)).await.unwrap();
            n = n.wrapping_add(1);
        }
    }
}

#[tokio::test]
async fn the_only_endpoint_is_found_by_looking_while_a_job_waits_for_it() {
    for protocol in BOTH {
        let mut server = server(protocol, Behaviour::Answer).await;
        server.go_down();
        let (analyzer, registry) = counted_analyzer(given_up(options(protocol, &[&server])));
        let (answer, ()) = tokio::join!(analyzer.analyze(job(1)), async {
            until("a request failed", || failed_calls(&registry) > 0).await;
            server.come_back().await;
        });
        assert_eq!(reading(&answer.unwrap()).flags, []);
        assert_eq!((server.calls(), failed_calls(&registry)), (1, 1));
    }
}
