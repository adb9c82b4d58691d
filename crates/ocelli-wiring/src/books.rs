//! The ledger that the catalog keeps: claims, renewals and ends of all jobs of a process, many in one transaction.
//!
//! While one transaction runs, what is said meanwhile gathers for the next. So hundreds of slots cost the database no more
//! transactions than it can do, and a slow one makes each larger instead of the queue before it longer.

use std::sync::Arc;
use std::time::Duration;

use async_recursion::async_recursion;
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

/// How long the last notes may take at the end.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

enum Said {
    Claim(ClaimRequest, Answer<Claim>),
    Paid(Paid, Answer<()>),
    Note(Note),
    Close,
}

type Look = (ClaimRequest, Answer<Claim>);

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
        let (looks, looked) = mpsc::unbounded_channel();
        // Ends with the last ledger.
        drop(tokio::spawn(looker(catalog.clone(), looked)));
        let book = CatalogBook { catalog, budgets, said: said.clone(), looks };
        Self { ledger: Ledger::kept_by(book), said, clerk }
    }

    /// What workers ask.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Writes down what was said so far: claims that are not given back keep others waiting.
    #[async_recursion]
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

/// Answers for jobs that nobody claims: questions that hold no writer up.
async fn looker(catalog: Catalog, mut looks: mpsc::UnboundedReceiver<Look>) {
    let mut buffer = Vec::with_capacity(AT_ONCE);
    while looks.recv_many(&mut buffer, AT_ONCE).await > 0 {
        let (requests, answers): (Vec<_>, Vec<_>) = buffer.drain(..).unzip();
        match catalog.look(requests.clone()).await {
            Ok(claims) => {
                for (answer, claim) in answers.into_iter().zip(claims) {
                    drop(answer.send(Ok(claim)));
                }
            }
            // One of them is the reason. It must not keep the others from being answered.
            Err(error) if !error.is_temporary() && requests.len() > 1 => {
                for (request, answer) in requests.into_iter().zip(answers) {
                    let claim = catalog.look(vec![request]).await;
                    let claim = claim.map_err(|error| away(&error)).map(|mut one| one.remove(0));
                    drop(answer.send(claim));
                }
            }
            Err(error) => {
                let error = away(&error);
                answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
            }
        }
    }
}

fn closed<T>() -> Result<T, LedgerError> {
    Err(LedgerError("it is being closed".to_owned()))
}

fn away(error: &CatalogError) -> LedgerError {
    LedgerError(chain(error))
}

struct CatalogBook {
    catalog: Catalog,
    budgets: Arc<[Budget]>,
    said: mpsc::UnboundedSender<Said>,
    looks: mpsc::UnboundedSender<Look>,
}

impl CatalogBook {
    /// Says something and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(Answer<T>) -> Said,
    ) -> BoxFuture<'static, Result<T, LedgerError>> {
        let (answer, heard) = oneshot::channel();
        drop(self.said.send(what(answer)));
        async move { heard.await.unwrap_or_else(|_| closed()) }.boxed()
    }
}

impl Book for CatalogBook {
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'static, Result<Claim, LedgerError>> {
        if request.lease.is_none() {
            let (answer, heard) = oneshot::channel();
            drop(self.looks.send((request, answer)));
            return async move { heard.await.unwrap_or_else(|_| closed()) }.boxed();
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

/// Why no job of this analyzer may be done at the moment: people, or a budget that is used up.
///
/// # Errors
/// When the catalog does not answer.
#[async_recursion]
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
