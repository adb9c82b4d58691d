//! How the fleet is at the moment, looked up once for everybody who looks, and told to browsers as it changes.
//!
//! What is sent are texts by name; the script of the page puts each into its place and moves no focus.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use ocelli_catalog::{BudgetState, Catalog, Heard, Status};
use ocelli_core::{AnalyzerName, Budget};
use tokio::sync::Mutex;

use crate::app::App;
use crate::call::Named;
use crate::failure::WebError;
use crate::hands::{Hands, QueueDepth};
use crate::options::WebOptions;
use crate::pages::{batch, batch_id, fleet};
use crate::shown::line;

/// Browsers that are told at once.
const LISTENERS: usize = 64;
/// How often something is told.
const EVERY: Duration = Duration::from_secs(2);
/// A look may cost at most this part of the time: of a large archive it is taken more seldom.
const SHARE: u32 = 10;
/// How long a look waits for the broker.
const BROKER_PATIENCE: Duration = Duration::from_secs(2);
/// How long one browser is told without coming back.
const LIFE: Duration = Duration::from_secs(10 * 60);
/// The sparkline: half an hour, minute by minute.
pub(crate) const SPANS: u32 = 30;
const SPAN: SignedDuration = SignedDuration::from_secs(60);

/// What is known about the fleet at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) at: Timestamp,
    pub(crate) status: Status,
    pub(crate) workers: Vec<Heard>,
    pub(crate) pauses: BTreeMap<AnalyzerName, String>,
    pub(crate) budgets: Vec<BudgetState>,
    pub(crate) pulse: BTreeMap<AnalyzerName, Vec<u64>>,
    /// Queues of the broker; none where there is no broker.
    pub(crate) queues: Option<Vec<QueueDepth>>,
    /// Why nothing is known of them.
    pub(crate) broker_away: Option<String>,
}

/// The last look, shared.
pub(crate) struct Live {
    catalog: Catalog,
    hands: Hands,
    analyzers: Vec<AnalyzerName>,
    budgets: Vec<Budget>,
    silence: SignedDuration,
    last: Mutex<Option<(Instant, Duration, Arc<Look>)>>,
    listeners: Arc<AtomicUsize>,
}

impl Live {
    pub(crate) fn new(catalog: Catalog, hands: Hands, options: &WebOptions) -> Self {
        let asked = options.analyzers.iter().filter(|line| !line.off);
        Self {
            catalog,
            hands,
            analyzers: asked.map(|line| line.name.clone()).collect(),
            budgets: options.budgets.clone(),
            silence: options.silence,
            last: Mutex::new(None),
            listeners: Arc::default(),
        }
    }

    /// A look that is not older than what it costs allows. Whoever comes while somebody looks waits for that look.
    pub(crate) async fn look(&self) -> Result<Arc<Look>, WebError> {
        let mut last = self.last.lock().await;
        if let Some((at, took, look)) = &*last
            && at.elapsed() < (*took * SHARE).max(EVERY / 2)
        {
            return Ok(Arc::clone(look));
        }
        let started = Instant::now();
        let now = Timestamp::now();
        // Beside the catalog: a broker that is away makes nobody wait for long.
        let queues = self.hands.0.queues(self.analyzers.clone());
        let queues = tokio::time::timeout(BROKER_PATIENCE, queues).await;
        let (queues, broker_away) = match queues {
            Ok(Ok(queues)) => (queues, None),
            Ok(Err(reason)) => (None, Some(line(&reason, 300))),
            Err(_) => (None, Some("the broker does not answer".to_owned())),
        };
        let look = Arc::new(Look {
            at: now,
            queues,
            broker_away,
            status: self.catalog.status(now).await?,
            workers: self.catalog.workers(self.silence).await?,
            pauses: self.catalog.pauses().await?,
            budgets: self.catalog.budgets(&self.budgets).await?,
            pulse: self.catalog.pulse(now, SPANS, SPAN).await?,
        });
        *last = Some((Instant::now(), started.elapsed(), Arc::clone(&look)));
        Ok(look)
    }

    /// The next look is a new one: somebody has just changed something.
    pub(crate) async fn forget(&self) {
        *self.last.lock().await = None;
    }

    fn listen(&self) -> Option<Listener> {
        let counted = self.listeners.fetch_add(1, Ordering::Relaxed);
        let listener = Listener(Arc::clone(&self.listeners));
        (counted < LISTENERS).then_some(listener)
    }
}

/// A browser that is told.
struct Listener(Arc<AtomicUsize>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Texts by the name of their place.
pub(crate) type Texts = BTreeMap<String, String>;

/// `GET /fleet/live`
pub(crate) async fn fleet(State(app): State<App>) -> Result<Response, WebError> {
    tell(app, |app| async move {
        let look = app.live.look().await.ok()?;
        Some((fleet::texts(&app, &look), false))
    })
}

/// `GET /batch/ID/live`
pub(crate) async fn batch(
    State(app): State<App>,
    Named(id): Named<String>,
) -> Result<Response, WebError> {
    let id = batch_id(&id)?;
    tell(app, move |app| async move {
        let view = app.catalog.batch(id, 0).await.ok()??;
        Some((batch::texts(&view), batch::is_over(&view)))
    })
}

/// Tells what `look` says, until it says that nothing will change any more. What it cannot say at the moment is left out.
fn tell<F, Fut>(app: App, look: F) -> Result<Response, WebError>
where
    F: Fn(App) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<(Texts, bool)>> + Send + 'static,
{
    let listener = app
        .live
        .listen()
        .ok_or_else(|| WebError::Away("too many pages are being kept up to date".to_owned()))?;
    let began = Instant::now();
    let state = (app, listener, look, Texts::new(), false, true);
    let told =
        stream::unfold(state, move |(app, listener, look, mut said, over, first)| async move {
            if over || began.elapsed() > LIFE {
                return None;
            }
            if !first {
                tokio::select! {
                    () = app.shutdown.cancelled() => return None,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
            let (texts, over) = look(Arc::clone(&app)).await.unwrap_or_default();
            let new: Texts =
                texts.into_iter().filter(|(name, text)| said.get(name) != Some(text)).collect();
            said.extend(new.clone());
            let event = if new.is_empty() && !over {
                Event::default().comment("")
            } else {
                let name = if over { "over" } else { "message" };
                Event::default().event(name).json_data(&new).unwrap_or_default()
            };
            Some((Ok::<_, Infallible>(event), (app, listener, look, said, over, false)))
        });
    let mut response = Sse::new(told).keep_alive(KeepAlive::default()).into_response();
    let buffering = axum::http::HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(buffering, axum::http::HeaderValue::from_static("no"));
    Ok(response)
}
