//! What people ordered about a batch: to wait, to go on, to end.
//!
//! An order is a row that others carry out. Workers hear of it when they ask whether they may do a job (`claims`, and
//! [`Catalog::ordered`] where nothing is claimed), the producer of the batch when it looks, and the collector takes back what a
//! cancelled batch still waits for, and enqueues what waited when a batch goes on.
//!
//! Several batches may have seen one image. Its jobs wait only while all of these are paused or cancelled, and are taken back only
//! when all are cancelled: what one batch gives up is not missing in another. What people tried again by hand stays asked.
//!
//! | module | room for |
//! |---|---|
//! | this | [`BatchOrder`], and what changes one |
//! | `obeying` | what an order means for a job: a pure decision, and the rows it needs |
//! | `withdrawing` | the transactions that take jobs back |

mod obeying;
mod withdrawing;

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::BatchId;
use serde::Serialize;

pub(crate) use obeying::{
    ORDERS, Obeying, REASON, SEEN_BY, TRIED_AGAIN, Verdict, batches, holding, obeying, orders,
    verdicts,
};
pub use withdrawing::Withdrawn;
pub(crate) use withdrawing::leave_out_withdrawn;

use crate::catalog::{Catalog, ask, change};
use crate::error::CatalogError;
use crate::gather::micros;
use crate::rows::{Read, batch, number, time, unreadable};

/// What was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOrder {
    /// Nothing of it begins until it is resumed.
    Paused,
    /// It goes on; what waited is being enqueued again.
    Resumed,
    /// What had not begun is taken back. This is final: another run over the same sources asks anew.
    Cancelled,
}

impl BatchOrder {
    const ALL: [Self; 3] = [Self::Paused, Self::Resumed, Self::Cancelled];

    /// As in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Cancelled => "cancelled",
        }
    }

    fn read(name: &str) -> Read<Self> {
        let found = Self::ALL.into_iter().find(|order| order.name() == name);
        found.ok_or_else(|| unreadable("order of a batch", name))
    }
}

/// An order as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Order {
    /// What was ordered.
    pub state: BatchOrder,
    /// When.
    pub at: Timestamp,
    /// Jobs that were taken back so far.
    pub withdrawn: u64,
}

impl Catalog {
    /// Orders something about a batch. `false` when it changes nothing: it is ordered already, the batch was not paused, or it
    /// was cancelled, which is final.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn order_batch(
        &self,
        id: BatchId,
        order: BatchOrder,
        at: Timestamp,
    ) -> Result<bool, CatalogError> {
        let sql = match order {
            BatchOrder::Paused => {
                "INSERT INTO batch_orders (batch, state, at) VALUES ($1, 'paused', $2) ON CONFLICT (batch) \
                 DO UPDATE SET state = 'paused', at = excluded.at WHERE batch_orders.state = 'resumed'"
            }
            BatchOrder::Resumed => {
                "UPDATE batch_orders SET state = 'resumed', at = $2 WHERE batch = $1 AND state = 'paused'"
            }
            BatchOrder::Cancelled => {
                "INSERT INTO batch_orders (batch, state, at) VALUES ($1, 'cancelled', $2) ON CONFLICT (batch) \
                 DO UPDATE SET state = 'cancelled', at = excluded.at WHERE batch_orders.state <> 'cancelled'"
            }
        };
        let changed = change!(
            self,
            "order something about a batch",
            sqlx::query(sql)
                .bind(id.uuid().into_bytes().to_vec())
                .bind(micros(at).as_microsecond())
        );
        Ok(changed > 0)
    }

    /// All orders.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn batch_orders(&self) -> Result<BTreeMap<BatchId, Order>, CatalogError> {
        let rows: Vec<(Vec<u8>, String, i64, i64)> = ask!(self, "list orders about batches", pool => {
            sqlx::query_as("SELECT batch, state, at, withdrawn FROM batch_orders").fetch_all(pool)
        })?;
        let read = |(id, state, at, withdrawn): (Vec<u8>, String, i64, i64)| {
            let state = BatchOrder::read(&state)?;
            let withdrawn = number("count", withdrawn)?;
            Ok((batch(&id)?, Order { state, at: time(at)?, withdrawn }))
        };
        rows.into_iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// What is ordered about one batch, for whoever works for it.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn batch_order(&self, id: BatchId) -> Result<Option<BatchOrder>, CatalogError> {
        let state: Option<String> = ask!(self, "look for an order about a batch", pool => {
            sqlx::query_scalar("SELECT state FROM batch_orders WHERE batch = $1")
                .bind(id.uuid().into_bytes().to_vec())
                .fetch_optional(pool)
        })?;
        let read = state.as_deref().map(BatchOrder::read).transpose();
        read.map_err(|error| self.unreadable(error))
    }

    /// Forgets that a batch was resumed: what waited has been enqueued.
    ///
    /// # Errors
    /// When the database does not take it: it will be enqueued once more.
    #[async_recursion]
    pub async fn forget_resumed(&self, id: BatchId) -> Result<(), CatalogError> {
        change!(
            self,
            "forget that a batch was resumed",
            sqlx::query("DELETE FROM batch_orders WHERE batch = $1 AND state = 'resumed'")
                .bind(id.uuid().into_bytes().to_vec())
        );
        Ok(())
    }
}
