//! The ledger that the catalog keeps: claims, renewals and ends of all jobs of a process, many in one transaction.
//!
//! While one transaction runs, what is said meanwhile gathers for the next. So hundreds of slots cost the database no more
//! transactions than it can do, and a slow one makes each larger instead of the queue before it longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ocelli_catalog::{Catalog, CatalogError};
use ocelli_core::claim::{Bookings, Claim, ClaimRequest, Paid};
use ocelli_core::{AnalyzerName, Budget};
use ocelli_worker::{Book, Ledger, LedgerError, Note};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::fault::chain;

/// What one transaction takes on.
const AT_ONCE: usize = 512;

/// How long what people paused may be remembered, for analyzers whose jobs are not claimed.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How long the last notes may take at the end.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

enum Said {
    Claim(ClaimRequest, Answer<Claim>),
    Paid(Paid, Answer<()>),
    Note(Note),
    Close,
}

/// The books of one process.
#[derive(Debug)]
pub struct Books {
    ledger: Ledger,
    said: mpsc::UnboundedSender<Said>,
    clerk: JoinHandle<()>,
}

impl Books {
    /// Opens them. Within a tokio runtime.
    #[must_use]
    pub fn open(catalog: Catalog, budgets: Vec<Budget>) -> Self {
        // Bounded by the jobs in hand: each waits for one answer, or says one thing in a third of its lease.
        let (said, heard) = mpsc::unbounded_channel();
        let budgets: Arc<[Budget]> = budgets.into();
        let clerk = tokio::spawn(clerk(catalog.clone(), Arc::clone(&budgets), heard));
        let book = CatalogBook { catalog, budgets, said: said.clone(), paused: Arc::default() };
        Self { ledger: Ledger::kept_by(book), said, clerk }
    }

    /// What workers ask.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Writes down what was said so far: claims that are not given back keep others waiting.
    pub async fn close(self) {
        drop(self.said.send(Said::Close));
        if tokio::time::timeout(PATIENCE, self.clerk).await.is_err() {
            tracing::warn!("the catalog was too slow to take claims back; they end by themselves");
        }
    }
}

async fn clerk(catalog: Catalog, budgets: Arc<[Budget]>, mut heard: mpsc::UnboundedReceiver<Said>) {
    let mut buffer = Vec::with_capacity(AT_ONCE);
    let mut open = true;
    while open && heard.recv_many(&mut buffer, AT_ONCE).await > 0 {
        let mut bookings = Bookings::default();
        let (mut answers, mut noted) = (Vec::new(), Vec::new());
        for said in buffer.drain(..) {
            match said {
                Said::Claim(request, answer) => {
                    bookings.claims.push(request);
                    answers.push(answer);
                }
                Said::Paid(paid, answer) => {
                    bookings.paid.push(paid);
                    noted.push(answer);
                }
                Said::Note(Note::Paid(paid)) => bookings.paid.push(paid),
                Said::Note(Note::Renewal(renewal)) => bookings.renewals.push(renewal),
                Said::Note(Note::Ended(ended)) => bookings.ended.push(ended),
                Said::Close => open = false,
            }
        }
        match catalog.book(&bookings, &budgets).await {
            Ok(claims) => {
                for (answer, claim) in answers.into_iter().zip(claims) {
                    // Whoever does not wait any more has given its job back, and will give back its claim as well.
                    drop(answer.send(Ok(claim)));
                }
                noted.into_iter().for_each(|answer| drop(answer.send(Ok(()))));
            }
            Err(error) => {
                let error = away(&error);
                tracing::debug!(%error, "claims were not written; those that were held end by themselves");
                for answer in answers {
                    drop(answer.send(Err(error.clone())));
                }
                noted.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
            }
        }
    }
}

fn away(error: &CatalogError) -> LedgerError {
    LedgerError(chain(error))
}

type Pauses = BTreeMap<AnalyzerName, String>;

struct CatalogBook {
    catalog: Catalog,
    budgets: Arc<[Budget]>,
    said: mpsc::UnboundedSender<Said>,
    paused: Arc<Mutex<Option<(Instant, Pauses)>>>,
}

impl CatalogBook {
    /// Says something and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(Answer<T>) -> Said,
    ) -> BoxFuture<'static, Result<T, LedgerError>> {
        let (answer, heard) = oneshot::channel();
        drop(self.said.send(what(answer)));
        async move {
            heard.await.unwrap_or_else(|_| Err(LedgerError("it is being closed".to_owned())))
        }
        .boxed()
    }
}

impl Book for CatalogBook {
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'static, Result<Claim, LedgerError>> {
        if request.lease.is_none() {
            let (catalog, paused) = (self.catalog.clone(), Arc::clone(&self.paused));
            return look(catalog, paused, request).boxed();
        }
        self.ask(|answer| Said::Claim(request, answer))
    }

    fn paid(&self, paid: Paid) -> BoxFuture<'static, Result<(), LedgerError>> {
        self.ask(|answer| Said::Paid(paid, answer))
    }

    fn note(&self, note: Note) {
        drop(self.said.send(Said::Note(note)));
    }

    fn paused(
        &self,
        analyzer: AnalyzerName,
    ) -> BoxFuture<'static, Result<Option<String>, LedgerError>> {
        let (catalog, budgets) = (self.catalog.clone(), Arc::clone(&self.budgets));
        async move { paused(&catalog, &budgets, &analyzer).await.map_err(|error| away(&error)) }
            .boxed()
    }
}

/// Whether a job may be done that nobody claims: a question that holds no writer up.
async fn look(
    catalog: Catalog,
    remembered: Arc<Mutex<Option<(Instant, Pauses)>>>,
    request: ClaimRequest,
) -> Result<Claim, LedgerError> {
    let job = &request.job;
    let done = catalog.is_done(&job.digest, &job.analyzer, &job.revision).await;
    if done.map_err(|error| away(&error))? {
        return Ok(Claim::Done);
    }
    if let Some(claim) = catalog.backfilled(&request).await.map_err(|error| away(&error))? {
        return Ok(claim);
    }
    let known = {
        let remembered = remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered
            .as_ref()
            .filter(|(at, _)| at.elapsed() < REMEMBERED)
            .map(|(_, known)| known.clone())
    };
    let known = match known {
        Some(known) => known,
        None => {
            let known = catalog.pauses().await.map_err(|error| away(&error))?;
            let now = Some((Instant::now(), known.clone()));
            *remembered.lock().unwrap_or_else(PoisonError::into_inner) = now;
            known
        }
    };
    if let Some(reason) = known.get(&job.analyzer) {
        return Ok(Claim::Paused { reason: reason.clone(), all: true });
    }
    let ordered = catalog.ordered(&request).await.map_err(|error| away(&error))?;
    Ok(ordered.unwrap_or(Claim::Free { batch: request.batch }))
}

/// Why no job of this analyzer may be done at the moment: people, or a budget that is used up.
///
/// # Errors
/// When the catalog does not answer.
pub async fn paused(
    catalog: &Catalog,
    budgets: &[Budget],
    analyzer: &AnalyzerName,
) -> Result<Option<String>, CatalogError> {
    if let Some(reason) = catalog.pauses().await?.remove(analyzer) {
        return Ok(Some(reason));
    }
    let covering: Vec<Budget> = budgets
        .iter()
        .filter(|budget| budget.batch.is_none() && budget.covers(analyzer))
        .cloned()
        .collect();
    let states = catalog.budgets(&covering).await?;
    Ok(states.iter().find(|state| state.is_reached()).map(ocelli_catalog::BudgetState::reason))
}
