//! The references of a batch that failed, as a source: those that may be there by now.

use std::ops::ControlFlow;
use std::sync::Arc;

use ocelli_catalog::{Catalog, Reference as Outcome, ReferenceCursor, ReferenceOutcome};
use ocelli_core::wire::BatchReport;
use ocelli_core::{BatchId, chain};
use tokio::runtime::Handle;

use crate::clock;
use crate::listing::{Listed, Out, Reference};
use crate::source::SourceError;

/// References asked of the catalog at once.
const PAGE: u32 = 1000;

/// The catalog, for threads that may block.
#[derive(Clone)]
pub(crate) struct Records {
    catalog: Catalog,
    runtime: Handle,
}

impl Records {
    /// Within a tokio runtime.
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self { catalog, runtime: Handle::current() }
    }

    /// For whoever waits for something that needs the runtime.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Finds the batch of this name or id. Blocks.
    pub(crate) fn open(&self, name: &str) -> Result<Again, SourceError> {
        let found = self.runtime.block_on(self.catalog.find_batches(name, 1));
        let found = found.map_err(|error| SourceError::Batches { reason: chain(&error) })?;
        match found.first() {
            None => Err(SourceError::NoBatch { name: crate::source::clip(name) }),
            Some(BatchReport { batch, .. }) => Ok(Again { records: self.clone(), batch: *batch }),
        }
    }
}

/// A batch whose failed references are listed.
pub(crate) struct Again {
    records: Records,
    batch: BatchId,
}

impl Again {
    /// Lists them page by page. Blocks.
    pub(crate) fn list(&self, out: &Out) -> ControlFlow<()> {
        let list: Arc<str> = format!("the failed ones of batch {}", self.batch).into();
        let Records { catalog, runtime } = &self.records;
        let mut after: Option<ReferenceCursor> = None;
        loop {
            let asking = catalog.references(self.batch, after.as_ref(), true, PAGE);
            let page = match runtime.block_on(asking) {
                Ok(page) => page,
                Err(error) => {
                    let reason = format!("they cannot be listed to the end: {}", chain(&error));
                    return out.problem(list.to_string(), reason);
                }
            };
            let failed = page.references.into_iter();
            for one in failed.filter(|one| one.outcome == ReferenceOutcome::Failed) {
                reference(one, out)?;
            }
            after = page.next;
            if after.is_none() {
                return ControlFlow::Continue(());
            }
        }
    }
}

/// Says of it again what its list said.
fn reference(failed: Outcome, out: &Out) -> ControlFlow<()> {
    let Some(source) = failed.source else {
        let reason = "it cannot be tried again alone; produce the list that names it again";
        return out.problem(failed.reference, reason.to_owned());
    };
    let told = failed.told.unwrap_or_default();
    out.send(Listed::Reference(Box::new(Reference {
        seen_at: told.first_seen.unwrap_or_else(clock::now),
        dated: told.first_seen.is_some(),
        digest: told.digest,
        meta: told.meta,
        ..Reference::named(source)
    })))
}
