//! Which address is answered by whom.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use ocelli_catalog::Catalog;
use ocelli_media::Fetcher;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::failure::WebError;
use crate::hands::Hands;
use crate::live::Live;
use crate::options::WebOptions;
use crate::pages;
use crate::pictures::Pictures;
use crate::rate::Rate;
use crate::session::Session;
use crate::{api, assets, feeds, guard, live, taken};

/// What the site is made of.
pub struct Parts {
    /// What it shows.
    pub catalog: Catalog,
    /// Where images are read from.
    pub fetcher: Fetcher,
    /// What it may set in motion.
    pub hands: Hands,
    /// How.
    pub options: WebOptions,
}

/// Uploads at once: each writes to the disk as fast as it comes.
const UPLOADS: usize = 4;

/// What a form has around the file in it.
const FORM_BYTES: usize = 64 * 1024;

/// Shared by all requests.
pub(crate) struct Site {
    pub(crate) catalog: Catalog,
    pub(crate) pictures: Pictures,
    pub(crate) hands: Hands,
    pub(crate) options: WebOptions,
    pub(crate) session: Session,
    pub(crate) rate: Rate,
    pub(crate) live: Live,
    /// Uploads at once.
    pub(crate) uploads: Semaphore,
    /// Exports and batch searches at once.
    pub(crate) streams: Arc<Semaphore>,
    /// Host names that are answered; none: all of them.
    pub(crate) hosts: Option<Vec<String>>,
    /// Ends what would go on for ever.
    pub(crate) shutdown: CancellationToken,
}

pub(crate) type App = Arc<Site>;

/// The site behind all its guards.
pub(crate) fn router(parts: Parts, address: SocketAddr, shutdown: &CancellationToken) -> Router {
    let Parts { catalog, fetcher, hands, options } = parts;
    // A list of queries, and what a form has around it.
    let queries = DefaultBodyLimit::max(options.batch_bytes.saturating_add(FORM_BYTES));
    let site = Arc::new(Site {
        pictures: Pictures::open(catalog.clone(), fetcher, &options),
        live: Live::new(catalog.clone(), hands.clone(), &options),
        session: Session::new(options.token.clone()),
        rate: Rate::new(options.rate),
        uploads: Semaphore::new(UPLOADS),
        streams: Arc::new(Semaphore::new(options.exports)),
        hosts: guard::hosts(&options.hosts, address),
        shutdown: shutdown.clone(),
        catalog,
        hands,
        options,
    });
    Router::new()
        .route("/", get(pages::gallery::page))
        .route("/gallery.json", get(pages::gallery::page))
        .route("/search", get(pages::search::page))
        .route("/search.json", get(pages::search::page))
        .route("/search.atom", get(feeds::atom))
        .route("/search.feed.json", get(feeds::json_feed))
        .route(
            "/search/batch",
            get(pages::batch_search::page).post(pages::batch_search::take).layer(queries),
        )
        .route("/search/batch.json", get(pages::batch_search::page))
        .route("/search/save", post(pages::saved::save))
        .route("/search/forget", post(pages::saved::forget))
        .route("/record/{name}", get(pages::record::page))
        .route("/record/{digest}/{format}", get(taken::record))
        .route("/disagreements", get(pages::agreement::page))
        .route("/disagreements.json", get(pages::agreement::page))
        .route("/attempts/{name}", get(pages::attempts::page))
        .route("/compare/{name}", get(pages::compare::page))
        .route("/fleet", get(pages::fleet::page))
        .route("/fleet.json", get(pages::fleet::page))
        .route("/fleet/live", get(live::fleet))
        .route("/fleet/pause", post(pages::fleet::pause))
        .route("/fleet/resume", post(pages::fleet::resume))
        .route("/failures", get(pages::failures::page))
        .route("/failures.json", get(pages::failures::page))
        .route("/failures/retry", post(pages::failures::retry))
        .route("/failures/discard", post(pages::failures::discard))
        .route(
            "/bring",
            get(pages::bring::page).post(pages::bring::take).layer(DefaultBodyLimit::disable()),
        )
        .route("/bring.json", get(pages::bring::page))
        .route("/batch/{name}", get(pages::batch::page))
        .route("/batch/{id}/live", get(live::batch))
        .route("/log", get(pages::log::page))
        .route("/log.json", get(pages::log::page))
        .route("/help", get(pages::help::page))
        .route("/help.json", get(pages::help::page))
        .route("/sign-in.json", get(pages::sign_in::page))
        .route("/sign-in", get(pages::sign_in::page).post(pages::sign_in::take))
        .route("/sign-out", post(pages::sign_in::leave))
        .route("/image/{digest}/{kind}", get(pages::image::image))
        .route("/assets/{tag}/{name}", get(assets::asset))
        .route("/robots.txt", get(assets::robots))
        .merge(api::router(queries))
        .fallback(|| async { WebError::Unknown })
        .method_not_allowed_fallback(|| async { WebError::Method })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&site), guard::guard))
        .with_state(site)
}
