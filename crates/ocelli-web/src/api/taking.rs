//! What programs take out: exports, hits of many queries, records as files, disagreements, kept searches.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Trouble;
use crate::app::App;
use crate::call::{Allowed, Call, Change, Named};
use crate::failure::WebError;
use crate::pages::{agreement, batch_search, saved};
use crate::reply::Answer;
use crate::taken;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(export))
        .routes(routes!(hits))
        .routes(routes!(file))
        .routes(routes!(disagreements))
        .routes(routes!(searches))
        .routes(routes!(keep, forget))
}

/// Takes records out, as one stream in the order of first sightings. It ends where the archive ended when it was asked: the
/// header `ocelli-cursor` says where, and `since` goes on there. A stream that cannot be finished is broken off.
#[utoipa::path(
    get,
    path = "/api/v1/export",
    params(
        ("format" = Option<String>, Query, description = "jsonl, csv or text"),
        ("where" = Option<String>, Query, description = "A query; without one all records"),
        ("since" = Option<String>, Query, description = "Only what was first seen behind this cursor of an export"),
        ("older" = Option<String>, Query, description = "Anything: answers of older revisions, too"),
    ),
    responses(
        (status = 200, description = "The records", content(
            (String = "application/x-ndjson"), (String = "text/csv"), (String = "text/plain"),
        )),
        (status = 304, description = "Nothing has changed since the answer whose tag was given in 'if-none-match'"),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
        (status = 503, description = "The catalog does not answer, or too many exports are under way", body = Trouble),
    )
)]
async fn export(call: Call) -> Answer {
    taken::export(&call).await
}

/// Asks many queries, one in a line of the body, and answers with all their hits as one stream.
#[utoipa::path(
    post,
    path = "/api/v1/hits",
    params(
        ("format" = Option<String>, Query, description = "ndjson or csv"),
        ("sort" = Option<String>, Query, description = "relevance, newest or oldest"),
    ),
    request_body(content = String, content_type = "text/plain"),
    responses(
        (status = 200, description = "A line for each answer that matches", content(
            (String = "application/x-ndjson"), (String = "text/csv"),
        )),
        (status = 400, description = "A line is no query", body = Trouble),
        (status = 403, description = "Another site asked", body = Trouble),
        (status = 413, description = "Too many bytes", body = Trouble),
        (status = 503, description = "The catalog does not answer, or too many exports are under way", body = Trouble),
    )
)]
async fn hits(call: Call, list: Body) -> Answer {
    if crate::session::is_elsewhere(&call.head) {
        return Err(WebError::Foreign);
    }
    let app = &call.app;
    let list = axum::body::to_bytes(list, app.options.batch_bytes).await;
    let list = list.map_err(|_| batch_search::too_large(app))?;
    taken::hits(app, batch_search::queries(app, &list)?, &call.asked)
}

/// A record as a file, or the words in it with their boxes.
#[utoipa::path(
    get,
    path = "/api/v1/records/{digest}/as/{format}",
    params(
        ("digest" = String, Path, description = "SHA-256 of the image's bytes, 64 hexadecimal characters"),
        ("format" = String, Path, description = "hocr, alto, tsv, text, markdown or json"),
        ("analyzer" = Option<String>, Query, description = "Whose words; those of the first that read some"),
    ),
    responses(
        (status = 200, description = "The file", content(
            (String = "application/xhtml+xml"), (String = "application/xml"), (String = "text/tab-separated-values"),
            (String = "text/plain"), (String = "text/markdown"), (serde_json::Value = "application/json"),
        )),
        (status = 400, description = "Not a digest, or not a name", body = Trouble),
        (status = 404, description = "No such image or format, or nobody read words in it", body = Trouble),
    )
)]
async fn file(call: Call, path: Named<(String, String)>) -> Answer {
    taken::record(call, path).await
}

/// Where analyzers disagree: pairs of answers about one image, the lowest agreement first.
#[utoipa::path(
    get,
    path = "/api/v1/disagreements",
    params(
        ("pair" = Option<String>, Query, description = "Only of these two: ANALYZER@ANALYZER"),
        ("limit" = Option<u32>, Query, description = "Pairs on the page, 1 to 200"),
        ("cursor" = Option<String>, Query, description = "The cursor that the page before ended with"),
    ),
    responses(
        (status = 200, description = "A page of pairs", body = serde_json::Value),
        (status = 400, description = "A parameter makes no sense", body = Trouble),
    )
)]
async fn disagreements(call: Call) -> Answer {
    agreement::page(call).await
}

/// Searches that are kept, by name.
#[utoipa::path(
    get,
    path = "/api/v1/searches",
    responses((status = 200, description = "All of them", body = Vec<serde_json::Value>))
)]
async fn searches(call: Call) -> Answer {
    call.json(&call.app.catalog.saved_searches().await?)
}

/// What is kept under a name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The query, as it is typed into the search field.
    query: String,
}

/// Keeps a search; one of the same name is replaced.
#[utoipa::path(
    put,
    path = "/api/v1/searches/{name}",
    params(("name" = String, Path, description = "What it is called: 1 to 80 characters")),
    request_body = Kept,
    security(("token" = [])),
    responses(
        (status = 200, description = "It is kept", body = serde_json::Value),
        (status = 400, description = "The body cannot be read, or it is no query", body = Trouble),
        (status = 401, description = "No token, or a wrong one", body = Trouble),
        (status = 403, description = "The archive is read-only", body = Trouble),
        (status = 413, description = "Too many are kept", body = Trouble),
    )
)]
async fn keep(
    State(app): State<App>,
    Named(name): Named<String>,
    Change(kept): Change<Kept>,
) -> Answer {
    let name = saved::keep(&app, &name, &kept.query).await?;
    Ok(Json(serde_json::json!({ "name": name, "query": kept.query.trim() })).into_response())
}

/// Forgets a search.
#[utoipa::path(
    delete,
    path = "/api/v1/searches/{name}",
    params(("name" = String, Path, description = "What it is called")),
    security(("token" = [])),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 401, description = "No token, or a wrong one", body = Trouble),
        (status = 403, description = "The archive is read-only", body = Trouble),
        (status = 404, description = "None is called so", body = Trouble),
    )
)]
async fn forget(State(app): State<App>, _: Allowed, Named(name): Named<String>) -> Answer {
    saved::drop_search(&app, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
