//! What keeps the accounts small and whole without anybody asking: attempts that were never heard of again are written down,
//! and payments that are older than anybody looks at them one by one are taken out, their sums kept.
//!
//! A payment is the memory of which attempts were counted, so taking one out could let a late message count it again.
//! Therefore the horizon moves behind what is taken out, in the same transaction: what ended before it is counted for good,
//! and messages about it change nothing. A transaction that counts reads the horizon and keeps it where it is until it
//! ends. It follows the payments and not a clock, so that a clock that was wrong once hides nothing that is paid later.

use std::time::Duration;

use crate::catalog::{Catalog, transact};
use crate::claims::span;
use crate::error::{CatalogError, Fault};
use crate::payments::{Lost, Paying, write_off};
use crate::unit::Unit;
use async_recursion::async_recursion;

/// Rows of one transaction: others that count wait for it.
const AT_ONCE: u32 = 2000;

/// What was tidied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Attempts whose cost was written down as lost.
    pub lost: u64,
    /// Payments that were taken out.
    pub taken_out: u64,
}

/// The part of a write transaction that tidies.
pub(crate) trait Tidying {
    /// Takes claims out whose attempts cost something and were not heard of for long.
    async fn take_out_old(&mut self, most: u32) -> Result<Vec<Lost>, Fault>;
    /// Takes the oldest payments out that ended longer ago than this, adds them to the old sums and moves the horizon
    /// behind them; answers how many.
    async fn archive(&mut self, keep: i64, most: u32) -> Result<u64, Fault>;
}

impl Catalog {
    /// Writes down what lost attempts cost, and takes payments out that ended longer ago than `keep`, by the clock of the
    /// database. Sums stay what they are.
    ///
    /// # Errors
    /// When the database does not take it; what was done by then stays done.
    #[async_recursion]
    pub async fn tidy_accounts(&self, keep: Duration) -> Result<Tidied, CatalogError> {
        let mut tidied = Tidied::default();
        loop {
            let lost = transact!(self, "write off lost attempts", unit => lose(unit))?;
            tidied.lost += lost;
            if lost < u64::from(AT_ONCE) {
                break;
            }
        }
        loop {
            let keep = span(keep);
            let gone = transact!(self, "take old payments out", unit => archive(unit, keep))?;
            tidied.taken_out += gone;
            if gone < u64::from(AT_ONCE) {
                return Ok(tidied);
            }
        }
    }
}

async fn lose<U: Unit + Paying + Tidying>(mut unit: U) -> Result<u64, Fault> {
    let lost = unit.take_out_old(AT_ONCE).await?;
    let count = lost.len() as u64;
    write_off(&mut unit, lost).await?;
    unit.commit().await?;
    Ok(count)
}

async fn archive<U: Unit + Tidying>(mut unit: U, keep: i64) -> Result<u64, Fault> {
    let count = unit.archive(keep, AT_ONCE).await?;
    unit.commit().await?;
    Ok(count)
}
