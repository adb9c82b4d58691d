//! The same for programs, under `/api/v1`, described by OpenAPI 3.1 that is made from this code.
//!
//! What may be read needs nothing; what changes something needs the token: `Authorization: Bearer TOKEN`. What is taken out as
//! a stream or file, what is searched for, and kept searches are in `taking`.

mod taking;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use jiff::Timestamp;
use ocelli_catalog::FailureFilter;
use ocelli_core::{AnalyzerName, BatchId, FailureClass};
use serde::{Deserialize, Serialize};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::failure::WebError;
use crate::pages::cards::Wish;
use crate::pages::{failures, fleet};
use crate::reply::{self, Answer};
use crate::shown::Asked;

/// Records on a page, when nobody asks for another number.
const PAGE: u32 = 50;
/// Failures on a page, likewise.
const FAILURES: u32 = 100;
/// The most that may be asked for.
const MOST: u32 = 1_000;

#[derive(OpenApi)]
#[openapi(
    info(title = "ocelli", description = "An archive of images: when each was first seen, and what every analyzer read in it."),
    modifiers(&Token),
    components(schemas(Trouble))
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Why a request has no answer.
#[derive(Serialize, ToSchema)]
struct Trouble {
    /// What happened.
    error: String,
    /// What to do about it.
    hint: String,
}

/// The routes, and the description of them.
pub(crate) fn router(queries: DefaultBodyLimit) -> axum::Router<App> {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(records))
        .routes(routes!(one_record))
        .routes(routes!(status))
        .routes(routes!(failed))
        .routes(routes!(retry))
        .routes(routes!(discard))
        .routes(routes!(batches))
        .routes(routes!(one_batch))
        .routes(routes!(deeds))
        .routes(routes!(pause))
        .routes(routes!(attempts))
        .merge(taking::router().layer(queries))
        .split_for_parts();
    let document = serde_json::to_value(&document).unwrap_or_default();
    router.route(
        "/api/v1/openapi.json",
        axum::routing::get(move |head: HeaderMap| async move { reply::json(&head, &document) }),
    )
}

/// Searches the archive; without a query all records, the latest first. The answer names the cursor of the next page.
#[utoipa::path(
    get,
    path = "/api/v1/records",
    params(
        ("q" = Option<String>, Query, description = "The query, as it is typed into the search field"),
        ("sort" = Option<String>, Query, description = "relevance, newest or oldest"),
        ("limit" = Option<u32>, Query, description = "Records on the page, 1 to 200"),
        ("cursor" = Option<String>, Query, description = "The cursor that the page before ended with"),
        ("facets" = Option<String>, Query, description = "Anything: count by analyzer, outcome, format, month and batch"),
    ),
    responses(
        (status = 200, description = "A page of records", body = serde_json::Value),
        (status = 400, description = "The query cannot be read", body = Trouble),
        (status = 503, description = "The catalog does not answer", body = Trouble),
    )
)]
async fn records(State(app): State<App>, head: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let wish = Wish::of(&Asked::of(query.as_deref()), PAGE, &app.options.query)?;
    reply::json(&head, &wish.ask(&app.catalog).await?)
}

/// The record of one image: everything that is known about it.
#[utoipa::path(
    get,
    path = "/api/v1/records/{digest}",
    params(("digest" = String, Path, description = "SHA-256 of the image's bytes, 64 hexadecimal characters")),
    responses(
        (status = 200, description = "The record", body = serde_json::Value),
        (status = 400, description = "Not a digest", body = Trouble),
        (status = 404, description = "No such image", body = Trouble),
    )
)]
async fn one_record(
    State(app): State<App>,
    digest: Result<Path<String>, PathRejection>,
    head: HeaderMap,
) -> Answer {
    let digest = crate::pages::digest(&named(digest)?)?;
    let record = crate::pages::record(&app, &digest).await?;
    crate::pages::record::twin(&app, &head, &record).await
}

/// How far each analyzer is, how fast, and who works for it.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    responses((status = 200, description = "The state of the fleet", body = serde_json::Value))
)]
async fn status(State(app): State<App>, head: HeaderMap) -> Answer {
    fleet::twin(State(app), head).await
}

/// Failed analyses, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/failures",
    params(
        ("analyzer" = Option<String>, Query, description = "Only of this analyzer"),
        ("class" = Option<String>, Query, description = "transient, permanent, crash, quality or outage"),
        ("contains" = Option<String>, Query, description = "Only with this text in the reason"),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000"),
    ),
    responses(
        (status = 200, description = "Failures", body = Vec<serde_json::Value>),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
    )
)]
async fn failed(State(app): State<App>, head: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let asked = Asked::of(query.as_deref());
    let limit = crate::pages::number(&asked, "limit", FAILURES, MOST)?;
    let filter = FailureFilter { limit, ..failures::chosen(&asked)? };
    reply::json(&head, &app.catalog.failures(&filter).await?)
}

/// Which failures something is done with. Without any field: all of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Which {
    /// Only of this analyzer.
    #[schema(value_type = Option<String>)]
    analyzer: Option<AnalyzerName>,
    /// Only of this class.
    #[schema(value_type = Option<String>)]
    class: Option<FailureClass>,
    /// Only with this text in the reason.
    contains: Option<String>,
}

impl Which {
    fn filter(self) -> FailureFilter {
        FailureFilter {
            analyzer: self.analyzer,
            class: self.class,
            reason_contains: self.contains.filter(|text| !text.is_empty()),
            limit: failures::MOST,
            ..FailureFilter::default()
        }
    }
}

/// What was done.
#[derive(Serialize, ToSchema)]
struct Done {
    /// Failures that were opened again or settled.
    count: u64,
    /// Jobs that were given to workers, where there are any.
    enqueued: Option<u64>,
}

/// Opens failed analyses again and gives their jobs to the workers.
#[utoipa::path(
    post,
    path = "/api/v1/failures/retry",
    request_body = Which,
    security(("token" = [])),
    responses(
        (status = 200, description = "What was done", body = Done),
        (status = 400, description = "The body cannot be read", body = Trouble),
        (status = 401, description = "No token, or a wrong one", body = Trouble),
        (status = 403, description = "The archive is read-only", body = Trouble),
    )
)]
async fn retry(
    State(app): State<App>,
    head: HeaderMap,
    which: Result<Json<Which>, JsonRejection>,
) -> Answer {
    app.session.allow(&head, None)?;
    let (count, enqueued) = failures::open_again(&app, &body(which)?.filter()).await?;
    Ok(Json(Done { count, enqueued }).into_response())
}

/// Settles failed analyses without another attempt.
#[utoipa::path(
    post,
    path = "/api/v1/failures/discard",
    request_body = Which,
    security(("token" = [])),
    responses(
        (status = 200, description = "What was done", body = Done),
        (status = 400, description = "The body cannot be read", body = Trouble),
        (status = 401, description = "No token, or a wrong one", body = Trouble),
        (status = 403, description = "The archive is read-only", body = Trouble),
    )
)]
async fn discard(
    State(app): State<App>,
    head: HeaderMap,
    which: Result<Json<Which>, JsonRejection>,
) -> Answer {
    app.session.allow(&head, None)?;
    let filter = body(which)?.filter();
    let count = failures::settle(&app, &filter).await?;
    Ok(Json(Done { count, enqueued: None }).into_response())
}

/// Runs of producers, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/batches",
    params(("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000")),
    responses(
        (status = 200, description = "Batches", body = Vec<serde_json::Value>),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
    )
)]
async fn batches(State(app): State<App>, head: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let limit = crate::pages::number(&Asked::of(query.as_deref()), "limit", PAGE, MOST)?;
    reply::json(&head, &app.catalog.batches(limit).await?)
}

/// One run of a producer, and how far its images are.
#[utoipa::path(
    get,
    path = "/api/v1/batches/{batch}",
    params(("batch" = String, Path, description = "The id of the batch, a UUID")),
    responses(
        (status = 200, description = "The batch", body = serde_json::Value),
        (status = 400, description = "Not an id", body = Trouble),
        (status = 404, description = "No such batch", body = Trouble),
    )
)]
async fn one_batch(
    State(app): State<App>,
    batch: Result<Path<String>, PathRejection>,
    head: HeaderMap,
) -> Answer {
    let id: BatchId = named(batch)?
        .parse()
        .map_err(|error: ocelli_core::ids::IdError| WebError::Bad(error.to_string()))?;
    crate::pages::batch::twin(&app, &head, id).await
}

/// What people did, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/log",
    params(("before" = Option<i64>, Query, description = "Only below this number: that of the last one of the page before")),
    responses(
        (status = 200, description = "Actions", body = Vec<serde_json::Value>),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
    )
)]
async fn deeds(State(app): State<App>, head: HeaderMap, query: RawQuery) -> Answer {
    crate::pages::log::twin(State(app), head, query).await
}

/// Whether an analyzer works.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Pause {
    /// Whether it shall take no more jobs.
    paused: bool,
    /// Why, for whoever looks at the fleet.
    reason: Option<String>,
}

/// Pauses an analyzer, or lets it go on.
#[utoipa::path(
    put,
    path = "/api/v1/analyzers/{name}/pause",
    params(("name" = String, Path, description = "The name of the analyzer")),
    request_body = Pause,
    security(("token" = [])),
    responses(
        (status = 200, description = "Done", body = serde_json::Value),
        (status = 400, description = "The body cannot be read", body = Trouble),
        (status = 401, description = "No token, or a wrong one", body = Trouble),
        (status = 403, description = "The archive is read-only", body = Trouble),
        (status = 404, description = "No such analyzer", body = Trouble),
    )
)]
async fn pause(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    head: HeaderMap,
    pause: Result<Json<Pause>, JsonRejection>,
) -> Answer {
    app.session.allow(&head, None)?;
    let (name, pause) = (fleet::known(&app, &named(name)?)?, body(pause)?);
    if pause.paused {
        fleet::set_pause(&app, &name, pause.reason.as_deref().unwrap_or_default()).await?;
    } else {
        fleet::let_go_on(&app, &name).await?;
    }
    Ok(Json(
        serde_json::json!({ "analyzer": name, "paused": pause.paused, "at": Timestamp::now() }),
    )
    .into_response())
}

/// How the job of one analyzer about one image went.
#[utoipa::path(
    get,
    path = "/api/v1/records/{digest}/attempts",
    params(
        ("digest" = String, Path, description = "SHA-256 of the image's bytes, 64 hexadecimal characters"),
        ("analyzer" = String, Query, description = "The name of the analyzer"),
    ),
    responses(
        (status = 200, description = "What happened, in its order, with the trace", body = serde_json::Value),
        (status = 400, description = "Not a digest, or not a name", body = Trouble),
        (status = 404, description = "No such image", body = Trouble),
    )
)]
async fn attempts(
    State(app): State<App>,
    digest: Result<Path<String>, PathRejection>,
    head: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    crate::pages::attempts::twin(&app, &head, &named(digest)?, &Asked::of(query.as_deref())).await
}

fn named(name: Result<Path<String>, PathRejection>) -> Result<String, WebError> {
    name.map(|Path(name)| name).map_err(|error| WebError::Bad(error.body_text()))
}

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, WebError> {
    body.map(|Json(value)| value).map_err(|error| WebError::Bad(error.body_text()))
}
