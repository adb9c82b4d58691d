//! A fleet that goes to the next version and back, one program after the other, while its queues are full.

use std::time::Duration;

use rustix::process::Signal;

use super::fleet::{ANALYZERS, Fleet};
use super::lab::Lab;
use super::processes::{PATIENCE, WORKERS, busy};
use super::row::{Fallible, Row};

pub(super) async fn update(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let fleet = Fleet::null(lab, &vhost.url).await?;
    let images = lab.count(6_000, 4_000);
    fleet.images(images)?;
    // A part for the producer of the next version.
    std::fs::create_dir(fleet.path("next"))?;
    let half = images / 1000 / 2;
    for folder in 0..half {
        let name = folder.to_string();
        std::fs::rename(fleet.path("in").join(&name), fleet.path("next").join(&name))?;
    }
    let (mut collector, mut workers) = busy(&fleet).await?;
    let mut next_producer = fleet.start("ocelli-chaos", ["next-producer", "next"])?;
    fleet.produce().await?;
    let next_ended = next_producer.ended(PATIENCE).await;
    let (mut steps, mut collectors, mut unclean) = (0_usize, 0, 0);
    let every = Duration::from_millis(700);
    let took = fleet
        .complete(images, PATIENCE, every, async |_| {
            // First all to the next version, then all back, each time behind the collector: there is one version of that
            // here, which reads what both write.
            if steps == WORKERS * collectors && collectors < 2 {
                collector.signal(Signal::TERM);
                let code = collector.ended(Duration::from_secs(40)).await;
                unclean += usize::from(code != Some(0));
                collector = fleet.collector()?;
                collectors += 1;
            }
            if steps < WORKERS * 2 {
                let worker = steps % WORKERS;
                workers[worker].signal(Signal::TERM);
                let code = workers[worker].ended(Duration::from_secs(40)).await;
                unclean += usize::from(code != Some(0));
                workers[worker] = match steps < WORKERS {
                    true => fleet.start("ocelli-chaos", ["next-worker"])?,
                    false => fleet.null_worker()?,
                };
                steps += 1;
            }
            Ok(())
        })
        .await?;
    let (calls, different) = fleet.calls()?;
    let by_next = images * ANALYZERS - different;
    let row = Row::default()
        .figure("enqueued by the next version", half * 1000)
        .figure("replaced workers", steps)
        .figure("replaced collectors", collectors)
        .figure("analyzed by this version", different)
        .figure("by the next", by_next)
        .figure("twice", calls - different)
        .took("drained in", took)
        .must("the next version's producer ends well", next_ended == Some(0))
        .must("all went to the next version and back under load", steps == WORKERS * 2)
        .must("the collector went before them, both times", collectors == 2)
        .must("every stop ends with exit code 0", unclean == 0)
        .must("both versions had work", by_next > 0 && different > 0);
    fleet.verdict(row, images, ANALYZERS).await
}
