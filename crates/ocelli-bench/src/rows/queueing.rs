//! Queueing: how many images go through the whole pipeline when reading them costs nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::bare;
use crate::cpu::{self, Used};
use crate::fleet::{Fleet, NULLS, folder, images};
use crate::lab::{Fallible, Lab};
use crate::peer::{self, Peer, Running};
use crate::report::{Goal, Row};
use crate::series::{Series, alternate};
use crate::stored::Rows;

/// Images of a round: each contender has enough of them for some seconds.
const OCELLI: u64 = 4_000;
const BARE: u64 = 10_000;
const BOTH: u64 = 5_000;
const PEER: u64 = 500;
/// Images that go before, so that connections stand and code is loaded.
const WARM: u64 = 50;
/// Slots of each null analyzer in each worker.
const SLOTS: usize = 32;
/// Bytes of an image: what matters here is their number.
const BYTES: usize = 100;

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let peers: &[Peer] = if lab.python().is_some() { &peer::QUEUEING } else { &[] };
    let mut contenders = vec![
        Series::new(
            "ocelli",
            "images/s",
            "producer, one null worker per core and a collector, each a process; records complete, audit clean",
        ),
        Series::new(
            "bare client",
            "images/s",
            "the same messages through the same queues, confirmed and acked, by one process that does nothing else: no file, no database, no record",
        ),
    ];
    contenders.push(Series::new(
        "bare client and bare COPY",
        "images/s",
        "the bare client while PostgreSQL copies in the rows of as many complete records, in one transaction; what takes longer of the two",
    ));
    contenders.extend(peers.iter().map(|peer| Series::new(peer.name, "images/s", peer.note)));
    let both = lab.count(BOTH);
    let rows = Rows::of(lab, both).await?;
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    let mut series = alternate(lab, contenders, async |index| match index {
        0 => ocelli(lab, &mut ours).await,
        1 => {
            let (count, before) = (lab.count(BARE), Used::now());
            let took = bare::moved(lab, count).await?;
            bares.push(Used::now().each(&before, count));
            Ok(count as f64 / took.as_secs_f64())
        }
        2 => {
            let target = rows.target(lab).await?;
            let (moved, copied) = tokio::try_join!(bare::moved(lab, both), target.copy())?;
            Ok(both as f64 / moved.as_secs_f64().max(copied))
        }
        _ => beside(lab, &peers[index - 3]).await,
    })
    .await;
    let (ocelli, ceiling) = (&series[0], &series[1]);
    let best = series[3..].iter().filter(|peer| peer.failed.is_none());
    let best = best.max_by(|a, b| a.median().unwrap_or(0.0).total_cmp(&b.median().unwrap_or(0.0)));
    let beside = best.map_or("queueing beside the best peer".to_owned(), |best| {
        format!("queueing beside the best peer ({})", best.name)
    });
    let goals = vec![
        Goal::at_least(&beside, 20.0, "×", best.and_then(|best| ocelli.ratio(best))),
        Goal::at_least("queueing beside the bare client", 0.5, "×", ocelli.ratio(ceiling)),
        Goal::at_least(
            "queueing beside bare client and bare COPY",
            0.5,
            "×",
            ocelli.ratio(&series[2]),
        ),
    ];
    series.extend(cpu::series("ocelli", &ours));
    series.extend(cpu::series("the bare client", &bares));
    let how = vec![
        format!(
            "a round: {} images for ocelli, {} for the bare client, {both} for it beside COPY, {} for each peer, on a fresh virtual host and database; \
             {WARM} images before the clock starts. Time from the start of the producer (of peers: from the moment in which it has \
             loaded its code and connected) to the last committed row",
            lab.count(OCELLI),
            lab.count(BARE),
            lab.count(PEER)
        ),
        format!("ocelli: {} workers with {SLOTS} slots for each of three analyzers", lab.cores),
        "CPU time: of all processes, from the start of the producer to the last committed row; of the bare client from its queues' \
         declaration to the end; of two cores there are 2,000,000 µs in a second"
            .to_owned(),
        peer::SETTINGS.to_owned(),
    ];
    Ok(Row { series, goals, how, ..Row::default() })
}

/// Images per second of a fleet; what its programs used goes into `cpu`.
async fn ocelli(lab: &Lab, cpu: &mut Vec<BTreeMap<String, f64>>) -> Fallible<f64> {
    let fleet = Fleet::null(lab, &NULLS, SLOTS).await?;
    let (count, analyzers) = (lab.count(OCELLI), NULLS.len() as u64);
    images(&fleet.path("warm"), 0..WARM, BYTES)?;
    images(&fleet.path("in"), WARM..WARM + count, BYTES)?;
    let _collector = fleet.collector()?;
    let _workers = fleet.null_workers(lab.cores)?;
    fleet.consumed_by(&NULLS, lab.cores).await?;
    fleet.produce("warm").await?;
    fleet.analyses(0, WARM * analyzers).await?;
    let (started, before) = (Instant::now(), Used::now());
    fleet.produce("in").await?;
    fleet.analyses(0, (WARM + count) * analyzers).await?;
    let took = started.elapsed();
    cpu.push(Used::now().each(&before, count));
    fleet.check(WARM + count, analyzers).await?;
    Ok(count as f64 / took.as_secs_f64())
}

/// Images per second of a peer.
async fn beside(lab: &Lab, peer: &Peer) -> Fallible<f64> {
    let (place, count, analyzers) = (folder()?, lab.count(PEER), NULLS.len() as u64);
    let (warm, within) = (place.path().join("warm"), place.path().join("in"));
    images(&warm, 0..WARM, BYTES)?;
    images(&within, WARM..WARM + count, BYTES)?;
    let mut running = Running::start(lab, peer, place.path()).await?;
    running.work(&warm, WARM * analyzers).await?;
    let took = running.work(&within, (WARM + count) * analyzers).await?;
    running.check(WARM + count, (WARM + count) * analyzers).await?;
    Ok(count as f64 / took.as_secs_f64())
}
