//! Brokers that cannot be used: a clear word and an end, within seconds.

use std::time::{Duration, Instant};

use ocelli_testkit::servers::OwnRabbitmq;

use super::Lab;
use super::fleet::Fleet;
use super::row::{Fallible, Row};

/// `broker.connect_timeout` is 5 s; the rest is starting and ending a process.
const LIMIT: Duration = Duration::from_millis(6_500);

pub(super) async fn refused(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let cases = [
        ("silent", format!("amqp://guest:guest@{}", silent.local_addr()?), "no AMQP answer"),
        (
            "wrong password",
            broker.url().replace("guest:guest", "guest:hunter2"),
            "refused the user",
        ),
        ("no virtual host", format!("{}/nowhere", broker.url()), "virtual host"),
    ];
    let mut row = Row::default();
    for (name, url, words) in cases {
        for program in ["ocelli-collector", "ocelli-ocr-worker", "ocelli"] {
            let log = fleet.path(&format!("{program}.log"));
            // One case after the other: only its own words count.
            drop(std::fs::remove_file(&log));
            let set = format!("broker.url={url}");
            let mut words_of = vec!["--set".to_owned(), set];
            match program {
                "ocelli" => {
                    words_of.splice(0..0, ["produce".to_owned(), ".".to_owned()]).for_each(drop);
                }
                "ocelli-ocr-worker" => words_of.extend([
                    "--set".to_owned(),
                    "analyzers.tesseract-ocr.enabled=true".to_owned(),
                ]),
                _ => {}
            }
            let started = Instant::now();
            let code = fleet.start(program, &words_of)?.ended(LIMIT * 4).await;
            let took = started.elapsed();
            let said = std::fs::read_to_string(&log)?;
            row = row
                .must(
                    &format!("{name}: {program} ends with exit code 4 (was {code:?})"),
                    code == Some(4),
                )
                .must(
                    &format!("{name}: {program} ends within {LIMIT:?} (took {took:?})"),
                    took <= LIMIT,
                )
                .must(&format!("{name}: {program} says '{words}'"), said.contains(words))
                .must(
                    &format!("{name}: {program} keeps the password to itself"),
                    !said.contains("hunter2"),
                );
            row = row.took(&format!("{name}, {program}"), took);
        }
    }
    Ok(row)
}
