//! The same for programs, under `/api/v1`, described by OpenAPI 3.1 that is made from this code.
//!
//! What may be read needs nothing; what changes something needs the token: `Authorization: Bearer TOKEN`. What is taken out as
//! a stream or file, what is searched for, and kept searches are in `taking`.

mod taking;

use axum::Json;
use axum::extract::multipart::{Multipart, MultipartRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use jiff::Timestamp;
use ocelli_catalog::{FailureCursor, FailureFilter, NoCursor};
use ocelli_core::{AnalyzerName, BatchId, Digest, FailureClass};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::call::{Call, Change, Named};
use crate::failure::WebError;
use crate::pages::cards::Wish;
use crate::pages::{self, failures, fleet};
use crate::reply::{self, Answer, with_next};
use crate::shown::link;

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
        .routes(routes!(similar))
        .routes(routes!(compare))
        .routes(routes!(status))
        .routes(routes!(failed))
        .routes(routes!(retry))
        .routes(routes!(discard))
        .routes(routes!(one_batch))
        .routes(routes!(deeds))
        .routes(routes!(pause))
        .routes(routes!(attempts))
        .merge(
            OpenApiRouter::new().routes(routes!(batches, bring)).layer(DefaultBodyLimit::disable()),
        )
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
async fn records(call: Call) -> Answer {
    let wish = Wish::of(&call.asked, PAGE, &call.app.options.query)?;
    call.json(&wish.ask(&call.app.catalog).await?)
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
async fn one_record(call: Call, Named(digest): Named<String>) -> Answer {
    let record = pages::record(&call.app, &pages::digest(&digest)?).await?;
    pages::record::twin(&call, &record).await
}

/// An image that looks like another one.
#[derive(Serialize, ToSchema)]
struct Near {
    /// Which image.
    #[schema(value_type = String)]
    digest: Digest,
    /// In how many of 64 bits the two differ.
    distance: u32,
}

/// The images that look most like it, nearest first.
#[utoipa::path(
    get,
    path = "/api/v1/records/{digest}/similar",
    params(
        ("digest" = String, Path, description = "SHA-256 of the image's bytes, 64 hexadecimal characters"),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000"),
    ),
    responses(
        (status = 200, description = "The images; none while it is not known what it looks like", body = Vec<Near>),
        (status = 400, description = "Not a digest, or a parameter makes no sense", body = Trouble),
        (status = 404, description = "No such image", body = Trouble),
    )
)]
async fn similar(call: Call, Named(digest): Named<String>) -> Answer {
    let digest = pages::digest(&digest)?;
    let limit = pages::limit(&call.asked, PAGE, MOST)?;
    let Some(nearest) = call.app.catalog.nearest(&digest, limit as usize).await? else {
        pages::record(&call.app, &digest).await?;
        return call.json(&Vec::<Near>::new());
    };
    let near = nearest.into_iter().map(|(distance, digest)| Near { digest, distance });
    call.json(&near.collect::<Vec<_>>())
}

/// Answers side by side, with the words that only one of them has, and how far they agree.
#[utoipa::path(
    get,
    path = "/api/v1/records/{digest}/compare",
    params(
        ("digest" = String, Path, description = "SHA-256 of the image's bytes, 64 hexadecimal characters"),
        ("with" = Option<Vec<String>>, Query, description = "ANALYZER or ANALYZER@REVISION, up to six; without any the current answers"),
    ),
    responses(
        (status = 200, description = "The answers", body = serde_json::Value),
        (status = 400, description = "Not a digest, or too many answers", body = Trouble),
        (status = 404, description = "No such image, or it has no such answer", body = Trouble),
    )
)]
async fn compare(call: Call, digest: Named<String>) -> Answer {
    pages::compare::page(call, digest).await
}

/// How far each analyzer is, how fast, and who works for it.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    responses((status = 200, description = "The state of the fleet", body = serde_json::Value))
)]
async fn status(call: Call) -> Answer {
    fleet::page(call).await
}

/// Failed analyses, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/failures",
    params(
        ("analyzer" = Option<String>, Query, description = "Only of this analyzer"),
        ("class" = Option<String>, Query, description = "transient, permanent, crash, quality or outage"),
        ("contains" = Option<String>, Query, description = "Only with this text in the reason"),
        ("limit" = Option<u32>, Query, description = "Failures on the page, 1 to 1000"),
        ("cursor" = Option<String>, Query, description = "The cursor in the address of the next page, which the header 'link' names"),
    ),
    responses(
        (status = 200, description = "Failures", body = Vec<serde_json::Value>),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
    )
)]
async fn failed(call: Call) -> Answer {
    let asked = &call.asked;
    let limit = pages::limit(asked, FAILURES, MOST)?;
    let bad = |error: NoCursor| WebError::Bad(error.to_string());
    let behind: Option<FailureCursor> = match asked.get("cursor") {
        "" => None,
        text => Some(text.parse().map_err(bad)?),
    };
    let filter = FailureFilter { limit: limit + 1, behind, ..failures::chosen(asked)? };
    let mut failures = call.app.catalog.failures(&filter).await?;
    let more = failures.len() > limit as usize;
    failures.truncate(limit as usize);
    let next = failures.last().filter(|_| more).map(|last| FailureCursor::from(last).to_string());
    let next = next.map(|next| {
        let of = |name: &'static str| (name, asked.get(name));
        let limit = limit.to_string();
        let same = [of("analyzer"), of("class"), of("contains")];
        link(&call.path, &[&same[..], &[("limit", &limit), ("cursor", &next)]].concat())
    });
    Ok(with_next(call.json(&failures)?, next))
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
async fn retry(State(app): State<App>, Change(which): Change<Which>) -> Answer {
    let (count, enqueued) = failures::open_again(&app, &which.filter()).await?;
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
async fn discard(State(app): State<App>, Change(which): Change<Which>) -> Answer {
    let count = failures::settle(&app, &which.filter()).await?;
    Ok(Json(Done { count, enqueued: None }).into_response())
}

/// Runs of producers, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/batches",
    params(
        ("limit" = Option<u32>, Query, description = "Batches on the page, 1 to 1000"),
        ("cursor" = Option<String>, Query, description = "The cursor in the address of the next page, which the header 'link' names"),
    ),
    responses(
        (status = 200, description = "Batches", body = Vec<serde_json::Value>),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
    )
)]
async fn batches(call: Call) -> Answer {
    let limit = pages::limit(&call.asked, PAGE, MOST)?;
    let behind = match call.asked.get("cursor") {
        "" => None,
        text => Some(place(text).ok_or_else(|| WebError::Bad(NoCursor.to_string()))?),
    };
    let mut batches = call.app.catalog.batches_behind(behind, limit + 1).await?;
    let more = batches.len() > limit as usize;
    batches.truncate(limit as usize);
    let next = batches.last().filter(|_| more).map(|last| {
        let cursor = format!("b1.{}.{}", last.started_at.as_microsecond(), last.batch);
        link(&call.path, &[("limit", &limit.to_string()), ("cursor", &cursor)])
    });
    Ok(with_next(call.json(&batches)?, next))
}

/// Behind which batch a list goes on: when that began, and which it is.
fn place(cursor: &str) -> Option<(Timestamp, BatchId)> {
    let (at, id) = cursor.strip_prefix("b1.")?.split_once('.')?;
    Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.parse().ok()?))
}

/// What is brought in: at least one of the first two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is only described")]
struct Brought {
    /// Images, and lists of images (.ndjson, .csv, .txt) that came along or have addresses.
    #[schema(value_type = Vec<String>, format = Binary)]
    files: Option<Vec<Vec<u8>>>,
    /// Addresses of images, one in a line.
    urls: Option<String>,
    /// The name of the batch.
    name: Option<String>,
}

/// Brings images in. The answer names the batch, which says how far they are.
#[utoipa::path(
    post,
    path = "/api/v1/batches",
    request_body(content = Brought, content_type = "multipart/form-data"),
    security(("token" = [])),
    responses(
        (status = 200, description = "They are being read", body = serde_json::Value),
        (status = 400, description = "The form cannot be read, or there is nothing in it", body = Trouble),
        (status = 401, description = "No token, or a wrong one", body = Trouble),
        (status = 403, description = "The archive is read-only", body = Trouble),
        (status = 413, description = "Too many bytes, files or addresses", body = Trouble),
        (status = 429, description = "Others bring images in at the moment", body = Trouble),
        (status = 503, description = "Nobody reads images here, or the catalog does not answer", body = Trouble),
        (status = 504, description = "It took too long", body = Trouble),
    )
)]
async fn bring(call: Call, parts: Result<Multipart, MultipartRejection>) -> Answer {
    pages::bring::take(call, parts).await
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
async fn one_batch(call: Call, batch: Named<String>) -> Answer {
    pages::batch::page(call, batch).await
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
async fn deeds(call: Call) -> Answer {
    pages::log::page(call).await
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
    Named(name): Named<String>,
    Change(pause): Change<Pause>,
) -> Answer {
    let name = fleet::known(&app, &name)?;
    if pause.paused {
        fleet::set_pause(&app, &name, pause.reason.as_deref().unwrap_or_default()).await?;
    } else {
        fleet::let_go_on(&app, &name).await?;
    }
    Ok(Json(json!({ "analyzer": name, "paused": pause.paused, "at": Timestamp::now() }))
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
async fn attempts(call: Call, digest: Named<String>) -> Answer {
    pages::attempts::page(call, digest).await
}
