//! One measurement each.

use std::time::Duration;

use anyhow::Context;
use ocelli_llm::InFlight;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Line;
use crate::double::Double;
use crate::fleet::{Fleet, options};

/// What a client may lose.
const LEAST: f64 = 0.97;
/// How long an endpoint that is back may be left alone: the longest pause between two looks, and the time of an answer.
const RETURN: Duration = Duration::from_secs(5);
/// How long finding the number of places may take; less than the minute that is promised.
const SEARCH: Duration = Duration::from_secs(45);

fn ratio(measured: f64, possible: f64) -> String {
    format!("{measured:.2}/s = {:.3}", measured / possible)
}

/// One endpoint, whose number of places the worker is told or has to find.
pub(crate) async fn steady(
    places: usize,
    latency: Duration,
    told: bool,
) -> anyhow::Result<Vec<Line>> {
    let double = Double::start(latency, places).await?;
    // One more hides the network.
    let in_flight =
        if told { InFlight::Fixed(places + 1) } else { InFlight::Adaptive { min: 1, max: 512 } };
    let fleet = Fleet::start(options(&[&double.url], in_flight)).await?;
    let begun = Instant::now();
    let what = format!("{places} places x {latency:?}");
    let mut found = None;
    if told {
        sleep(latency * 4).await;
    } else {
        // Found from the moment on after which it never was far fewer: a little less is tried now and then.
        while begun.elapsed() < SEARCH {
            sleep(Duration::from_millis(100)).await;
            match fleet.analyzer.places() {
                now if now * 4 < places * 3 => found = None,
                now if now < places => {}
                _ => _ = found.get_or_insert(begun.elapsed()),
            }
        }
    }
    let (from, window) = (Instant::now(), (latency * 20).max(Duration::from_secs(12)));
    // More is tried for some seconds now and then: what counts is where it rests most of the time.
    let mut levels = Vec::new();
    while from.elapsed() < window {
        sleep(Duration::from_millis(100)).await;
        levels.push(fleet.analyzer.places());
    }
    let to = Instant::now();
    // The window ends with an answer.
    sleep(latency * 2).await;
    let possible = places as f64 / latency.as_secs_f64();
    let rate = fleet.rate(from, to, None)?;
    let mut lines = Vec::new();
    if !told {
        levels.sort_unstable();
        let level = levels.get(levels.len() / 2).copied().unwrap_or_default();
        let measured = found.map_or_else(
            || format!("{level} after 45 s"),
            |after| format!("{level} at once, {:.0} s", after.as_secs_f64()),
        );
        let met = found.is_some() && level <= places * 3 / 2 + 2;
        lines.push(Line::new(&format!("{what}, found"), measured, "<= 60 s", met));
    }
    let how = if told { "told" } else { "after finding it" };
    let met = rate / possible >= LEAST && fleet.failed() == 0;
    lines.push(Line::new(
        &format!("{what}, {how}: of C/L"),
        ratio(rate, possible),
        ">= 0.970",
        met,
    ));
    fleet.stop().await;
    Ok(lines)
}

/// Two endpoints with as many places each, one of them four times as fast.
pub(crate) async fn shares() -> anyhow::Result<Vec<Line>> {
    let slow = Double::start(Duration::from_millis(1000), 8).await?;
    let fast = Double::start(Duration::from_millis(250), 8).await?;
    let in_flight = InFlight::Adaptive { min: 1, max: 32 };
    let fleet = Fleet::start(options(&[&slow.url, &fast.url], in_flight)).await?;
    sleep(SEARCH).await;
    let from = Instant::now();
    sleep(Duration::from_secs(30)).await;
    let to = Instant::now();
    sleep(Duration::from_secs(2)).await;
    let rate_slow = fleet.rate(from, to, Some(&slow.url))?;
    let rate_fast = fleet.rate(from, to, Some(&fast.url))?;
    let share = rate_fast / rate_slow;
    let lines = vec![
        Line::new(
            "two endpoints of speed 1 and 4: load 1 to",
            format!("{share:.2}"),
            "4.00 +- 10 %",
            (3.6..=4.4).contains(&share),
        ),
        Line::new(
            "the same together: of C/L",
            ratio(rate_slow + rate_fast, 40.0),
            ">= 0.970",
            (rate_slow + rate_fast) / 40.0 >= LEAST && fleet.failed() == 0,
        ),
    ];
    fleet.stop().await;
    Ok(lines)
}

/// Two endpoints, one of which is away for a minute.
pub(crate) async fn outage() -> anyhow::Result<Vec<Line>> {
    let latency = Duration::from_millis(500);
    let mut first = Double::start(latency, 8).await?;
    let second = Double::start(latency, 8).await?;
    let fleet = Fleet::start(options(&[&first.url, &second.url], InFlight::Fixed(9))).await?;
    sleep(Duration::from_secs(10)).await;
    let down = Instant::now();
    first.tell("down").await?;
    sleep_until(down + Duration::from_secs(60)).await;
    first.tell("up").await?;
    let up = Instant::now();
    let again = fleet.answer_after(up, &first.url, RETURN).await;
    // The first answer of a trial; then all of its places fill.
    sleep(Duration::from_secs(12)).await;
    let possible = 8.0 / latency.as_secs_f64();
    let during = fleet.rate(down, up, Some(&second.url)).context("of the one that stayed")?;
    let filled = Instant::now() - Duration::from_secs(10);
    let after =
        fleet.rate(filled, Instant::now(), Some(&first.url)).context("of the one that returned")?;
    let failed = fleet.failed();
    let lines = vec![
        Line::new(
            "60 s without one endpoint: the other's, of C/L",
            ratio(during, possible),
            ">= 0.970",
            during / possible >= LEAST,
        ),
        Line::new(
            "its first answer after its return",
            again
                .map_or_else(|| "none".to_owned(), |after| format!("{:.1} s", after.as_secs_f64())),
            "<= 5 s",
            again.is_some(),
        ),
        Line::new(
            "then: its own, of C/L",
            ratio(after, possible),
            ">= 0.970",
            after / possible >= LEAST,
        ),
        Line::new("attempts lost in all that", failed.to_string(), "0", failed == 0),
    ];
    fleet.stop().await;
    Ok(lines)
}
