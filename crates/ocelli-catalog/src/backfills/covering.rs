//! What a worker is told about a job that a backfill asked for: who pays, and whether it may be done.

use std::collections::BTreeMap;

use ocelli_core::claim::{ClaimRequest, JobKey};
use ocelli_core::{BatchId, Limit};

use super::{BackfillState, budget, limit};
use crate::claims::Claiming;
use crate::error::Fault;
use crate::rows::{Read, batch};

/// The backfill that asked for a job.
#[derive(Debug, Clone)]
pub(crate) struct Cover {
    pub(crate) batch: BatchId,
    name: String,
    state: BackfillState,
    cap: Option<Limit>,
    /// It was taken back, and nobody else wants it.
    pub(crate) withdrawn: bool,
    /// Why it may not be done at the moment.
    pub(crate) paused: Option<String>,
}

/// Batch, name, state, currency and cap of a backfill; whether the job was taken back, and whether it is wanted.
pub(crate) type CoverColumns = (Vec<u8>, String, String, Option<String>, Option<i64>, i64, bool);

/// Columns for [`cover`]: `$job` is an alias with digest, analyzer and revision.
macro_rules! covers {
    ($digest:literal, $analyzer:literal, $revision:literal) => {
        concat!(
            "f.batch, f.name, f.state, f.currency, f.cap, j.withdrawn, EXISTS (SELECT 1 FROM images i JOIN wants w \
             ON w.image = i.id WHERE i.digest = j.digest AND w.analyzer = f.analyzer AND w.state = 'open' \
             AND (w.revision IS NULL OR w.revision = f.revision)) \
             FROM backfill_jobs j JOIN backfills f ON f.batch = j.batch WHERE j.digest = ",
            $digest, " AND f.analyzer = ", $analyzer, " AND f.revision = ", $revision
        )
    };
}
pub(crate) use covers;

pub(crate) fn cover(row: CoverColumns) -> Read<Cover> {
    let (id, name, state, currency, cap, withdrawn, wanted) = row;
    Ok(Cover {
        batch: batch(&id)?,
        name,
        state: BackfillState::read(&state)?,
        cap: limit(currency, cap)?,
        withdrawn: withdrawn != 0 && !wanted,
        paused: None,
    })
}

impl Cover {
    fn look(&mut self, is_over: bool) {
        let name = &self.name;
        self.paused = if self.state == BackfillState::Paused {
            Some(format!(
                "the backfill '{name}' is paused; 'ocelli backfill resume {name}' lets it go on"
            ))
        } else if is_over {
            Some(format!(
                "the cap of the backfill '{name}' is used up; it goes on when it is begun again with a higher one"
            ))
        } else {
            None
        };
    }
}

/// The backfills behind those requests that came with no batch of their own.
pub(crate) async fn covering<U: Claiming>(
    unit: &mut U,
    requests: &[ClaimRequest],
) -> Result<BTreeMap<JobKey, Cover>, Fault> {
    let jobs: Vec<&JobKey> = requests
        .iter()
        .filter(|request| request.batch.is_none())
        .map(|request| &request.job)
        .collect();
    if jobs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut found = unit.covering(&jobs).await?;
    let mut over: BTreeMap<BatchId, bool> = BTreeMap::new();
    for cover in found.values_mut() {
        let is_over = match (&cover.cap, over.get(&cover.batch)) {
            (_, Some(known)) => *known,
            (None, None) => false,
            (Some(cap), None) => {
                let reached = unit.sum(&budget(&cover.name, cap)).await?.reaches(cap);
                over.insert(cover.batch, reached);
                reached
            }
        };
        cover.look(is_over);
    }
    Ok(found)
}
