//! What a claim costs: claims per second of a catalog, by how many are booked in one transaction. Each claim is taken,
//! renewed and ended with an answer, as a worker does it, with a budget to be looked at.
//!
//! `cargo run --release -p ocelli-catalog --example bench-claims -- sqlite:/tmp/bench.db` (or `postgres://…`; the database
//! is written to).

use std::time::{Duration, Instant};

use ocelli_catalog::{Catalog, CatalogError, CatalogOptions};
use ocelli_core::claim::{Bookings, Claim, ClaimRequest, Ended, JobKey, Renewal};
use ocelli_core::{AnalyzerName, AttemptId, Budget, Digest, Limit, Period, RevisionBuilder};

/// How long each size is measured.
const SPAN: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), CatalogError> {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: bench-claims URL");
        std::process::exit(2);
    };
    let catalog = Catalog::open(&url, CatalogOptions::default()).await?;
    let analyzer: AnalyzerName = "bench".parse().expect("a name");
    let revision = RevisionBuilder::new("bench").build();
    let budget = Budget {
        analyzer: None,
        batch: None,
        period: Period::Month,
        limit: Limit::Tokens(u64::MAX),
    };
    println!("claims at once   claims/s   ms per transaction");
    let mut number: u128 = u128::from(std::process::id()) << 64;
    for at_once in [1, 8, 64, 256] {
        let (mut claimed, mut transactions) = (0_u32, 0_u32);
        let started = Instant::now();
        let mut before: Vec<ClaimRequest> = Vec::new();
        while started.elapsed() < SPAN {
            let claims: Vec<ClaimRequest> = (0..at_once)
                .map(|_| {
                    number += 1;
                    let digest = Digest::of(&number.to_be_bytes());
                    let (analyzer, revision) = (analyzer.clone(), revision.clone());
                    ClaimRequest {
                        job: JobKey { digest, analyzer, revision },
                        attempt: AttemptId::new(number),
                        holder: "bench:1".to_owned(),
                        batch: Some(ocelli_core::BatchId::new(uuid::Uuid::nil())),
                        lease: Some(LEASE),
                    }
                })
                .collect();
            let renewals = before.iter().map(|one| Renewal {
                job: one.job.clone(),
                attempt: one.attempt,
                lease: LEASE,
            });
            let ended = before.iter().map(|one| Ended {
                job: one.job.clone(),
                attempt: one.attempt,
                answered: None,
            });
            let bookings = Bookings {
                renewals: renewals.collect(),
                ended: ended.collect(),
                claims: claims.clone(),
                ..Bookings::default()
            };
            let answers = catalog.book(&bookings, std::slice::from_ref(&budget)).await?;
            assert!(answers.iter().all(|one| matches!(one, Claim::Free { .. })), "all are new");
            claimed += at_once;
            transactions += 1;
            before = claims;
        }
        let took = started.elapsed().as_secs_f64();
        println!(
            "{at_once:>14} {:>10.0} {:>20.2}",
            f64::from(claimed) / took,
            took * 1000.0 / f64::from(transactions)
        );
    }
    catalog.close().await;
    Ok(())
}
